// Atomic output files.
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vq/strbuf.h"

static vq_status fail(vq_output *o, const char *what) {
  int code = errno;
  vq_output_abort(o);
  return vq_error(o->diag, VQ_E_io, (vq_loc){0}, "cannot %s '%s': %s", what,
                  o->path, strerror(code));
}

static void tell(vq_output *o, bool live) {
  if (o->opt->temp_file) o->opt->temp_file(o->opt->user, o->temp, live);
}

static void forget(vq_output *o) {
  if (o->temp) tell(o, false);
  free(o->temp);
  o->temp = NULL;
}

// The mode of a new file is left to the user's umask, which mkstemp would not
// do; the name is only made unique among running processes. It is told before
// the file exists: an interrupt in between would leave the file otherwise.
static int open_temp(vq_output *o) {
  for (unsigned i = 0; i < 100; i++) {
    vq_strbuf name = {0};
    vq_strbuf_printf(&name, "%s.%ld.%u.tmp", o->path, (long)getpid(), i);
    o->temp = name.p;
    tell(o, true);
    int fd = open(o->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) return fd;
    int code = errno;
    forget(o);
    errno = code;
    if (code != EEXIST) break;
  }
  return -1;
}

vq_status vq_output_open(vq_output *o, const char *path,
                         const vq_backend_options *opt, vq_diag *diag) {
  *o = (vq_output){.path = path, .fd = -1, .opt = opt, .diag = diag};
  struct stat st;
  // A link such as /dev/stdout must be written through, not replaced.
  bool exists = lstat(path, &st) == 0;
  if (exists && S_ISDIR(st.st_mode)) {
    errno = EISDIR;
    return fail(o, "write");
  }
  o->direct = exists && !S_ISREG(st.st_mode);
  o->fd = o->direct ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)
                    : open_temp(o);
  return o->fd < 0 ? fail(o, "create") : VQ_OK;
}

vq_status vq_output_write(vq_output *o, const void *p, size_t n) {
  const char *at = p;
  while (n) {
    ssize_t done = write(o->fd, at, n);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return fail(o, "write");
    at += done;
    n -= (size_t)done;
  }
  return VQ_OK;
}

vq_status vq_output_commit(vq_output *o) {
  int fd = o->fd;
  o->fd = -1;
  if (fd >= 0 && close(fd)) return fail(o, "write");
  if (o->temp && rename(o->temp, o->path)) return fail(o, "rename a file to");
  forget(o);
  return VQ_OK;
}

void vq_output_abort(vq_output *o) {
  int code = errno;
  if (o->fd >= 0) close(o->fd);
  o->fd = -1;
  if (o->temp) unlink(o->temp);
  forget(o);
  errno = code;
}

vq_status vq_output_file(const char *path, const void *p, size_t n,
                         const vq_backend_options *opt, vq_diag *diag) {
  vq_output o;
  if (vq_output_open(&o, path, opt, diag) || vq_output_write(&o, p, n))
    return VQ_ERR;
  return vq_output_commit(&o);
}
