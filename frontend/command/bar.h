// A bar for a person who waits.
#ifndef VITQC_BAR_H
#define VITQC_BAR_H

#include <stdint.h>

typedef struct bar {
  int terminal;         // standard error is one; else nothing is shown
  int shown;            // the bar stands in the last line
  double begun, drawn;  // seconds
  int64_t done;
  char what[32];        // whose rate it is
} bar;

// Draws at most every tenth of a second. `what` "": nothing is to be shown.
void bar_show(bar *b, const char *what, int64_t done, int64_t total);
void bar_clear(bar *b);

#endif
