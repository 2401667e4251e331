// How the compiler dies: out of memory, or through a fault of its own.
#include "vq/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

// The only mutable state of the library: vq_bug has no context to find it in.
static struct {
  void (*run)(void *user);
  void *user;
} bug_hook;

void vq_oom(size_t bytes) {
  fprintf(stderr, "vitqc: out of memory (%zu bytes)\n", bytes);
  exit(70);
}

void vq_bug_hook(void (*hook)(void *user), void *user) {
  bug_hook.run = hook;
  bug_hook.user = user;
}

void vq_bug(const char *file, int line, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  fprintf(stderr, "vitqc: internal error at %s:%d: ", file, line);
  vfprintf(stderr, fmt, ap);
  fputc('\n', stderr);
  va_end(ap);
  void (*run)(void *user) = bug_hook.run;
  bug_hook.run = NULL;  // a fault inside the hook must not call it again
  if (run) run(bug_hook.user);
  abort();
}
