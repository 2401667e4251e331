// What is done, how fast, and how long it takes yet.
#include "bar.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { WIDTH = 20 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void draw(bar *b, const char *what, int64_t done, int64_t total) {
  double seconds = now() - b->begun, rate = (double)done / seconds;
  int full = total > 0 ? (int)(WIDTH * done / total) : 0;
  fprintf(stderr, "\r\033[K[%.*s%*s] %lld/%lld %s", full, "####################",
          WIDTH - full, "", (long long)done, (long long)total, what);
  long left = done ? (long)((double)(total - done) / rate) : 0;
  if (seconds > 1 && done)
    fprintf(stderr, ", %.3g/s, %ld:%02ld left ", rate, left / 60, left % 60);
  fflush(stderr);
  b->shown = 1;
  b->drawn = now();
}

// "synthesize, loss 0.2" is the same work as "synthesize, loss 0.1".
static void follow(bar *b, const char *what, int64_t done) {
  size_t n = strcspn(what, ",");
  if (n >= sizeof b->what) n = sizeof b->what - 1;
  int same = strlen(b->what) == n && memcmp(b->what, what, n) == 0 && done > b->done;
  b->done = done;
  if (same) return;
  memcpy(b->what, what, n);
  b->what[n] = '\0';
  b->begun = now();
}

void bar_show(bar *b, const char *what, int64_t done, int64_t total) {
  if (!b->terminal || !*what) return;
  follow(b, what, done);
  if (b->drawn == 0) b->drawn = now() + 0.2;  // what is over at once needs no bar
  if (now() - b->drawn > 0.1) draw(b, what, done, total);
}

void bar_clear(bar *b) {
  if (b->shown) fputs("\r\033[K", stderr);
  b->shown = 0;
}
