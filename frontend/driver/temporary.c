// Temporary files: written beside their place, renamed when complete.
#include "temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vq/strbuf.h"

// ---- signals --------------------------------------------------------------------
// A handler can reach nothing but statics. A slot is in use while its first byte
// is set, which is written last.
enum { SLOTS = 8 };
static volatile char slot[SLOTS][PATH_MAX];

void temporary_add(const char *path) {
  size_t n = strlen(path);
  if (n == 0 || n >= PATH_MAX) return;
  for (unsigned i = 0; i < SLOTS; i++) {
    if (slot[i][0]) continue;
    for (size_t k = n + 1; k-- > 0;) slot[i][k] = path[k];
    return;
  }
}

void temporary_drop(const char *path) {
  for (unsigned i = 0; i < SLOTS; i++)
    if (strcmp((const char *)slot[i], path) == 0) slot[i][0] = '\0';
}

// A linker that still runs would make its file again: it ends first.
static void clean_up(int number) {
  while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) continue;
  for (unsigned i = 0; i < SLOTS; i++)
    if (slot[i][0]) unlink((const char *)slot[i]);
  for (unsigned i = 0; i < SLOTS; i++)
    if (slot[i][0]) rmdir((const char *)slot[i]);
  _exit(number == SIGABRT ? 70 : 128 + number);
}

void temporary_on_signals(void) {
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGABRT};
  for (size_t i = 0; i < VQ_COUNT(numbers); i++) {
    struct sigaction old, act = {.sa_handler = clean_up};
    if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
      sigaction(numbers[i], &act, NULL);
  }
}

// ---- files ----------------------------------------------------------------------

static vq_status fail(out_file *o, const char *what) {
  int code = errno;
  out_abort(o);
  vq_loc loc = vq_loc_path(o->diag->ctx, vq_str_of(o->path));
  return vq_error(o->diag, VQ_E_io, loc, "cannot %s: %s", what, strerror(code));
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
    temporary_add(name.p);  // before it exists: an interrupt may come between
    int fd = open(name.p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) {
      o->temp = name.p;
      return fd;
    }
    int code = errno;
    temporary_drop(name.p);
    vq_strbuf_release(&name);
    errno = code;
    if (code != EEXIST) break;
  }
  return -1;
}

vq_status out_open(out_file *o, const char *path, vq_diag *diag) {
  *o = (out_file){.path = path, .diag = diag};
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
  if (o->temp) temporary_drop(o->temp);
  free(o->temp);
  return VQ_OK;
}

void out_abort(out_file *o) {
  if (o->file) fclose(o->file);
  if (o->temp) {
    unlink(o->temp);
    temporary_drop(o->temp);
  }
  free(o->temp);
  o->file = NULL;
  o->temp = NULL;
}

vq_status out_write(const char *path, const void *p, size_t n, vq_diag *diag) {
  out_file o;
  if (out_open(&o, path, diag)) return VQ_ERR;
  if (n) fwrite(p, 1, n, o.file);
  return out_commit(&o);
}
