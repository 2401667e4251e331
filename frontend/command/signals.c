// Removing temporary files when a signal ends the process.
#include "signals.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// A handler can reach nothing but statics. A slot is in use while its first byte
// is set, which is written last.
enum { SLOTS = 8 };
static volatile char slot[SLOTS][PATH_MAX];

void signals_add(const char *path) {
  size_t n = strlen(path);
  if (n == 0 || n >= PATH_MAX) return;
  for (unsigned i = 0; i < SLOTS; i++) {
    if (slot[i][0]) continue;
    for (size_t k = n + 1; k-- > 0;) slot[i][k] = path[k];
    return;
  }
}

void signals_drop(const char *path) {
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

void signals_install(void) {
  static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGABRT};
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
    struct sigaction old, act = {.sa_handler = clean_up};
    if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
      sigaction(numbers[i], &act, NULL);
  }
}
