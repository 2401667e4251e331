// Opening a model's files without being led elsewhere.
//
// External data is named by the model, which may come from anywhere. The name
// is therefore walked one directory at a time from the model's own directory,
// with openat and O_NOFOLLOW: neither "..", nor an absolute path, nor a link
// planted at any level can leave it. Model hubs keep data files as links into
// a store, so a user may allow a link in the last place. FIFOs and devices are
// opened without blocking, seen by fstat, and refused.
//
// Files up to a gigabyte are read, so that nothing that happens to the file
// later can matter (a shrinking mapped file means SIGBUS). Larger ones are
// mapped: two copies of such weights would not fit small machines.
#include "datafile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vq/strbuf.h"

static const size_t MAX_READ = (size_t)1 << 30;

// Reads exactly `n` bytes; false (with errno 0 at end of file) otherwise.
static bool read_all(int fd, uint8_t *p, size_t n) {
  for (size_t done = 0; done < n;) {
    ssize_t got = pread(fd, p + done, n - done, (off_t)done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got <= 0) {
      errno = got ? errno : 0;
      return false;
    }
    done += (size_t)got;
  }
  return true;
}

// Takes over `fd`. `what` is the file's name for messages.
static vq_status load(vq_module *m, vq_diag *diag, vq_code code, vq_loc loc,
                      const char *what, int fd, vq_datafile *out) {
  struct stat st;
  void *p = MAP_FAILED;
  const char *why = NULL;
  if (fstat(fd, &st))
    why = strerror(errno);
  else if (!S_ISREG(st.st_mode))
    why = S_ISDIR(st.st_mode) ? "is a directory" : "is not a regular file";
  else if (st.st_size == 0)
    why = "is empty";
  size_t n = why ? 0 : (size_t)st.st_size;
  if (!why) {
    bool copy = n <= MAX_READ;
    p = copy ? mmap(NULL, n, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
             : mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p != MAP_FAILED)
      (void)madvise(p, n, MADV_HUGEPAGE);
    if (p == MAP_FAILED)
      why = strerror(errno);
    else if (copy && !read_all(fd, p, n))
      why = errno ? strerror(errno) : "became shorter while it was read";
  }
  close(fd);
  if (why) {
    if (p != MAP_FAILED)
      munmap(p, n);
    return vq_error(diag, code, loc, "cannot read '%s': %s", what, why);
  }
  vq_module_own(m, p, n, true);
  out->p = p;
  out->n = n;
  return VQ_OK;
}

vq_status vq_datafile_model(vq_module *m, vq_diag *diag, const char *path,
                            vq_datafile *out) {
  vq_loc loc = vq_loc_path(m->ctx, vq_str_of(path));
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0)
    return vq_error(diag, VQ_E_io, loc, "cannot open the model: %s",
                    strerror(errno));
  return load(m, diag, VQ_E_io, loc, path, fd, out);
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

vq_status vq_datafile_external(vq_module *m, vq_diag *diag, vq_loc loc,
                               const char *model_path, vq_str location,
                               bool follow, vq_datafile *out) {
  vq_strbuf shown = {0};
  vq_strbuf_escaped(&shown, location);
  const char *name = vq_strbuf_z(&shown);
  const char *why = location_problem(location);
  if (!why && !model_path)
    why = "cannot be used by a model that is not a file";
  int fd = -1;
  if (!why) {
    vq_str z = vq_arena_str(&m->arena, location);
    fd = open_below(open_parent(model_path), z.p, follow);
    if (fd == -2)
      why = "leaves the model's directory or has an empty part";
    else if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
      why = "leads through a symbolic link or something that is no directory";
    else if (fd < 0)
      why = strerror(errno);
  }
  vq_status status = VQ_ERR;
  if (why) {
    status = vq_error(diag, VQ_E_external, loc, "external data '%s': %s", name,
                      why);
    if (fd == -1 && errno == ELOOP)
      vq_note(diag, loc, "--follow-data-symlinks accepts a link to the data "
              "file itself");
  } else {
    status = load(m, diag, VQ_E_external, loc, name, fd, out);
    out->location = location;
  }
  vq_strbuf_release(&shown);
  return status;
}
