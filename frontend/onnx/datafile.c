// Opening a model's files without being led elsewhere.
//
// External data is named by the model, which may come from anywhere. The name
// is therefore walked one directory at a time from the model's own directory,
// with openat and O_NOFOLLOW: neither "..", nor an absolute path, nor a link
// planted at any level can leave it. Model hubs keep data files as links into
// a store, so a user may allow a link in the last place. FIFOs and devices are
// opened without blocking, seen by fstat, and refused.
//
// Files are read, never mapped (vq/file.h says why): the model as a whole, of
// external data only the bytes of tensors that are used, so a small model
// beside a large file stays small.
#include "datafile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vq/file.h"
#include "vq/strbuf.h"

// No protobuf message is larger; large models keep their weights elsewhere.
static const uint64_t MAX_MODEL = (uint64_t)1 << 31;

vq_status vq_datafile_load(vq_module *m, vq_diag *diag, const char *path,
                           vq_datafile *out) {
  vq_loc loc = vq_loc_path(m->ctx, vq_str_of(path));
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
  if (fd < 0)
    return vq_error(diag, VQ_E_io, loc, "cannot open the model: %s",
                    strerror(errno));
  const char *why;
  uint64_t n;
  void *p = vq_fd_load(fd, MAX_MODEL, &n, &why);
  close(fd);
  if (!p)
    return vq_error(diag, VQ_E_io, loc, "cannot read the model: it %s", why);
  vq_module_own(m, p, (size_t)n, true);
  out->p = p;
  out->n = (size_t)n;
  return VQ_OK;
}

// NULL, or why `location` may not be used.
static const char *location_problem(vq_str location) {
  if (location.n == 0)
    return "is empty";
  if (location.n > 1024)
    return "is longer than 1024 bytes";
  if (location.p[0] == '/')
    return "is an absolute path";
  for (size_t i = 0; i < location.n; i++) {
    if (location.p[i] == '\\')
      return "contains a backslash";
    if ((unsigned char)location.p[i] < 32)
      return "contains a control character";
  }
  return NULL;
}

// Opens the directory that holds `path`.
static int open_parent(const char *path) {
  const char *slash = strrchr(path, '/');
  vq_strbuf dir = {0};
  vq_strbuf_puts(&dir, slash ? "" : ".");
  if (slash)
    vq_strbuf_add(&dir, path, (size_t)(slash - path) + 1);
  int fd = open(vq_strbuf_z(&dir), O_PATH | O_DIRECTORY | O_CLOEXEC);
  vq_strbuf_release(&dir);
  return fd;
}

// Walks `location` down from `dir`, which it closes. Returns a descriptor, or
// -1 with errno, or -2 for a part that is no plain name.
static int open_below(int dir, const char *location, bool follow) {
  char part[1025];
  while (dir >= 0) {
    size_t n = strcspn(location, "/");
    bool last = location[n] == 0;
    memcpy(part, location, n);
    part[n] = 0;
    int fd = -2;
    if (n && strcmp(part, ".") && strcmp(part, "..")) {
      int flags = last ? O_RDONLY | O_NONBLOCK : O_PATH | O_DIRECTORY;
      if (!last || !follow)
        flags |= O_NOFOLLOW;
      fd = openat(dir, part, flags | O_CLOEXEC);
    }
    int saved = errno;
    close(dir);
    errno = saved;
    if (last || fd < 0)
      return fd;
    dir = fd;
    location += n + 1;
  }
  return dir;
}

static vq_status fail(vq_diag *diag, vq_loc loc, vq_str location,
                      const char *why) {
  vq_strbuf shown = {0};
  vq_strbuf_escaped(&shown, location);
  vq_error(diag, VQ_E_external, loc, "external data '%s': %s",
           vq_strbuf_z(&shown), why);
  vq_strbuf_release(&shown);
  return VQ_ERR;
}

vq_status vq_external_open(vq_diag *diag, vq_loc loc, const char *model_path,
                           vq_str location, bool follow, vq_external *out) {
  const char *why = location_problem(location);
  *out = (vq_external){.location = location, .fd = -1};
  if (!why && !model_path)
    why = "cannot be used by a model that is not a file";
  if (why)
    return fail(diag, loc, location, why);
  vq_strbuf path = {0};
  vq_strbuf_add(&path, location.p, location.n);
  int fd = open_below(open_parent(model_path), vq_strbuf_z(&path), follow);
  int code = errno;
  vq_strbuf_release(&path);
  if (fd >= 0) {
    struct stat st = {0};
    if (fstat(fd, &st) || (why = vq_fd_check(fd, &out->n))) {
      close(fd);
      return fail(diag, loc, location, why ? why : strerror(errno));
    }
    out->fd = fd;
    out->device = st.st_dev;
    out->inode = st.st_ino;
    return VQ_OK;
  }
  if (fd == -2)
    return fail(diag, loc, location,
                "leaves the model's directory or has an empty part");
  if (code != ELOOP && code != ENOTDIR)
    return fail(diag, loc, location, strerror(code));
  fail(diag, loc, location,
       "leads through a symbolic link or something that is no directory");
  if (code == ELOOP)
    vq_note(diag, loc, "--follow-data-symlinks accepts a link to the data file "
            "itself");
  return VQ_ERR;
}

vq_status vq_external_read(const vq_external *e, vq_diag *diag, vq_loc loc,
                           uint64_t at, void *to, size_t n) {
  const char *why = vq_fd_read(e->fd, at, to, n);
  return why ? fail(diag, loc, e->location, why) : VQ_OK;
}

void vq_external_close(vq_external *e) {
  if (e->fd >= 0)
    close(e->fd);
  e->fd = -1;
}
