// Temporary files: written beside their place, renamed when complete.
#include "temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vq/strbuf.h"

// ---- those that are there ---------------------------------------------------------

static void tell(const driver *d, const char *path, bool live) {
  if (d->host.temporary) d->host.temporary(d->host.user, path, live);
}

void temporary_add(driver *d, const char *path) {
  char *copy = strdup(path);
  if (!copy) vq_oom(strlen(path));
  vq_vec_push(&d->temporary, copy);
  tell(d, path, true);
}

void temporary_drop(driver *d, const char *path) {
  for (size_t i = 0; i < d->temporary.n; i++) {
    if (strcmp(d->temporary.p[i], path) != 0) continue;
    free(d->temporary.p[i]);
    d->temporary.p[i] = d->temporary.p[--d->temporary.n];
    break;
  }
  tell(d, path, false);
}

// Files, then the folders that held them.
void temporary_remove_all(driver *d) {
  for (size_t i = 0; i < d->temporary.n; i++) unlink(d->temporary.p[i]);
  for (size_t i = 0; i < d->temporary.n; i++) {
    rmdir(d->temporary.p[i]);
    tell(d, d->temporary.p[i], false);
    free(d->temporary.p[i]);
  }
  vq_vec_release(&d->temporary);
}

vq_status temporary_folder(driver *d, vq_strbuf *out) {
  const char *tmp = getenv("TMPDIR");
  vq_strbuf_printf(out, "%s/vitqc-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  if (!mkdtemp(out->p)) {
    int code = errno;
    return vq_error(&d->diag, VQ_E_io, at_path(d, out->p), "cannot make a folder: %s",
                    strerror(code));
  }
  temporary_add(d, out->p);
  return VQ_OK;
}

// ---- files ----------------------------------------------------------------------

static vq_status fail(out_file *o, const char *what) {
  int code = errno;
  out_abort(o);
  return vq_error(&o->d->diag, VQ_E_io, at_path(o->d, o->path), "cannot %s: %s", what,
                  strerror(code));
}

// Pipes, devices and links are written in place: renaming would replace them.
static bool is_special(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

static int open_temp(out_file *o) {
  for (unsigned i = 0; i < 100; i++) {
    vq_strbuf name = {0};
    vq_strbuf_printf(&name, "%s.%ld.%u.tmp", o->path, (long)getpid(), i);
    temporary_add(o->d, name.p);  // before it exists: an interrupt may come between
    int fd = open(name.p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) {
      o->temp = name.p;
      return fd;
    }
    int code = errno;
    temporary_drop(o->d, name.p);
    vq_strbuf_release(&name);
    errno = code;
    if (code != EEXIST) break;
  }
  return -1;
}

vq_status out_open(out_file *o, const char *path, driver *d) {
  *o = (out_file){.path = path, .d = d};
  struct stat st;
  if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
    errno = EISDIR;
    return fail(o, "write");
  }
  int fd = is_special(path)
               ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)
               : open_temp(o);
  if (fd < 0) return fail(o, "create");
  o->file = fdopen(fd, "wb");
  if (o->file) return VQ_OK;
  close(fd);
  return fail(o, "create");
}

vq_status out_commit(out_file *o) {
  bool bad = ferror(o->file);
  FILE *file = o->file;
  o->file = NULL;
  if (fclose(file) != 0 || bad) return fail(o, "write");
  if (o->temp && rename(o->temp, o->path) != 0) return fail(o, "rename to");
  if (o->temp) temporary_drop(o->d, o->temp);
  free(o->temp);
  return VQ_OK;
}

void out_abort(out_file *o) {
  if (o->file) fclose(o->file);
  if (o->temp) {
    unlink(o->temp);
    temporary_drop(o->d, o->temp);
  }
  free(o->temp);
  o->file = NULL;
  o->temp = NULL;
}

vq_status out_write(const char *path, const void *p, size_t n, driver *d) {
  out_file o;
  if (out_open(&o, path, d)) return VQ_ERR;
  if (n) fwrite(p, 1, n, o.file);
  return out_commit(&o);
}
