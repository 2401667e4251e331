// How the compiler ends: out of memory, or through a fault of its own.
#include "vq/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

// A call of vq_guarded that has not returned.
typedef struct guard {
  jmp_buf out;
  void (*tell)(void *user, vq_fault kind, const char *text);
  void *user;
  bool leaving;  // a fault while one is reported leaves at once
  void (*hook)(void *user);  // of the caller, put back at the end
  void *hook_user;
  struct guard *outer;
} guard;

// The only mutable state of the compiler: a fault has no context to find it in.
static _Thread_local struct {
  guard *guard;
  void (*hook)(void *user);
  void *hook_user;
} this_thread;

void vq_bug_hook(void (*hook)(void *user), void *user) {
  this_thread.hook = hook;
  this_thread.hook_user = user;
}

bool vq_guarded(void (*fn)(void *user), void *user,
                void (*tell)(void *user, vq_fault kind, const char *text)) {
  guard g = {.tell = tell,
             .user = user,
             .outer = this_thread.guard,
             .hook = this_thread.hook,
             .hook_user = this_thread.hook_user};
  this_thread.guard = &g;
  this_thread.hook = NULL;
  volatile bool whole = false;
  if (setjmp(g.out) == 0) {
    fn(user);
    whole = true;
  }
  guard *ended = this_thread.guard;
  vq_bug_hook(ended->hook, ended->hook_user);
  this_thread.guard = ended->outer;
  return whole;
}

static void run_hook(void) {
  void (*hook)(void *user) = this_thread.hook;
  this_thread.hook = NULL;  // a fault inside the hook must not call it again
  if (hook) hook(this_thread.hook_user);
}

void vq_fault_raise(vq_fault kind, const char *text) {
  guard *g = this_thread.guard;
  if (!g)
    fprintf(stderr, "vitqc: %s\n", text);
  else if (!g->leaving) {
    g->leaving = true;
    g->tell(g->user, kind, text);
  } else {
    longjmp(g->out, 1);
  }
  if (kind == VQ_FAULT_BUG) run_hook();
  if (g) longjmp(g->out, 1);
  if (kind == VQ_FAULT_BUG) abort();
  exit(70);
}

void vq_oom(size_t bytes) {
  char text[64];
  snprintf(text, sizeof text, "out of memory (%zu bytes)", bytes);
  vq_fault_raise(VQ_FAULT_MEMORY, text);
}

void vq_bug(const char *file, int line, const char *fmt, ...) {
  char text[1024];
  int n = snprintf(text, sizeof text, "internal error at %s:%d: ", file, line);
  va_list ap;
  va_start(ap, fmt);
  if (n > 0 && (size_t)n < sizeof text) vsnprintf(text + n, sizeof text - (size_t)n, fmt, ap);
  va_end(ap);
  vq_fault_raise(VQ_FAULT_BUG, text);
}
