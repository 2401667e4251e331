// What every command shares: context, diagnostics, options, exit codes.
#ifndef VQ_DRIVER_DRIVER_H
#define VQ_DRIVER_DRIVER_H

#include <stdio.h>

#include "options.h"
#include "vq/strbuf.h"
#include "vq/type.h"

enum {
  EXIT_GOOD = 0,
  EXIT_ERROR = 1,
  EXIT_USAGE = 2,
  EXIT_FAULT = 70
};

typedef struct driver {
  vq_ctx *ctx;
  vq_arena arena;
  vq_diag diag;
  options opt;
  bool color;     // of standard error
  bool terminal;  // standard error is one
  struct recipe_origin *origin;  // of options' texts (recipe.h)
} driver;

// Commands; each returns an exit code after having reported its errors.
int do_compile(driver *d);
int do_run(driver *d);
int do_eval(driver *d);
int do_bench(driver *d);
int do_inspect(driver *d);
int do_diff(driver *d);
int do_view(driver *d);
int do_reduce(driver *d);
int do_merge(driver *d);

// Answers --help, --version and the lists; false when none was asked for.
bool do_lists(driver *d);

// A location that prints as `path`.
vq_loc at_path(const driver *d, const char *path);

// Reports a wrong command line and returns EXIT_USAGE.
int usage_error(driver *d, const char *fmt, ...) VQ_PRINTF(2, 3);

static inline int exit_code(vq_status s) {
  return s == VQ_OK ? EXIT_GOOD : EXIT_ERROR;
}

double now_seconds(void);

#endif
