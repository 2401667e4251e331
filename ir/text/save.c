// Writing a module to a file, with its side file.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "vq/text.h"

static bool write_all(int fd, vq_str s) {
  while (s.n) {
    ssize_t done = write(fd, s.p, s.n);
    if (done < 0 && errno != EINTR) return false;
    if (done < 0) continue;
    s.p += done;
    s.n -= (size_t)done;
  }
  return true;
}

// Through a temporary file beside `path`, renamed when complete.
static bool write_file(const char *path, vq_str text) {
  vq_strbuf temp = {0};
  vq_strbuf_printf(&temp, "%s.%ld.tmp", path, (long)getpid());
  int fd = open(vq_strbuf_z(&temp), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
                0666);
  bool ok = fd >= 0;
  if (ok) {
    ok = write_all(fd, text);
    ok &= close(fd) == 0;
    ok = ok && rename(vq_strbuf_z(&temp), path) == 0;
    int code = errno;
    if (!ok) unlink(vq_strbuf_z(&temp));
    errno = code;
  }
  vq_strbuf_release(&temp);
  return ok;
}

// Prints with a side file of its own when the caller brought none.
static vq_status print_with_side(vq_strbuf *out, const vq_module *m,
                                 const char *path, unsigned flags,
                                 vq_diag *diag) {
  vq_strbuf side = {0};
  vq_strbuf_printf(&side, "%sw", path);
  const char *slash = strrchr(vq_strbuf_z(&side), '/');
  vq_str name = vq_str_of(slash ? slash + 1 : vq_strbuf_z(&side));
  vq_blob_writer *w = vq_blob_open(m->ctx, diag, vq_strbuf_z(&side), name);
  vq_status st = w ? vq_print(out, m, flags, w) : VQ_ERR;
  if (w && st)
    vq_blob_abort(w);
  else if (w)
    st = vq_blob_commit(w);
  vq_strbuf_release(&side);
  return st;
}

vq_status vq_save(const vq_module *m, const char *path, vq_str head,
                  unsigned flags, vq_blob_writer *blobs, vq_diag *diag) {
  vq_strbuf out = {0};
  vq_strbuf_add(&out, head.p, head.n);
  vq_status st = blobs || (flags & VQ_PRINT_ELIDE)
                     ? vq_print(&out, m, flags, blobs)
                     : print_with_side(&out, m, path, flags, diag);
  if (st == VQ_OK && !write_file(path, vq_strbuf_view(&out)))
    st = vq_error(diag, VQ_E_io, vq_loc_path(m->ctx, vq_str_of(path)),
                  "cannot write: %s", strerror(errno));
  vq_strbuf_release(&out);
  return st;
}
