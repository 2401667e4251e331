// vitqc: compiler for vision transformers, the command around libvitqc.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bar.h"
#include "signals.h"
#include "vitqc.h"

static void message(void *user, const vitqc_message *m) {
  bar_clear(user);
  fputs(m->rendered, stderr);
}

static void print(void *user, int is_log, const char *text, size_t n) {
  bar_clear(user);
  fwrite(text, 1, n, is_log ? stderr : stdout);
}

static int progress(void *user, const char *what, int64_t done, int64_t total) {
  bar_show(user, what, done, total);
  return 0;
}

static void temporary(void *user, const char *path, int live) {
  (void)user;
  if (live)
    signals_add(path);
  else
    signals_drop(path);
}

static int wants_color(void) {
  const char *term = getenv("TERM");
  return !getenv("NO_COLOR") && term && strcmp(term, "dumb") != 0;
}

int main(int argc, char **argv) {
  bar b = {.terminal = isatty(STDERR_FILENO)};
  vitqc_host host = {.size = sizeof host, .user = &b, .message = message, .print = print,
                     .progress = progress, .temporary = temporary};
  if (b.terminal) host.flags = VITQC_SUMMARY | (wants_color() ? VITQC_COLOR : 0);
  signals_install();
  size_t n = argc > 1 ? (size_t)argc - 1 : 0;
  int code = vitqc_command((const char *const *)argv + 1, n, &host);
  bar_clear(&b);
  if ((ferror(stdout) || fflush(stdout) != 0) && code == VITQC_GOOD) {
    perror("vitqc: cannot write to standard output");
    code = VITQC_ERROR;
  }
  return code;
}
