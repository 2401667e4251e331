// What every command shares: context, diagnostics, options, exit codes.
#ifndef VQ_DRIVER_DRIVER_H
#define VQ_DRIVER_DRIVER_H

#include <stdio.h>

#include "options.h"
#include "vitqc.h"
#include "vq/strbuf.h"
#include "vq/type.h"
#include "vq/vec.h"

enum {
  EXIT_GOOD = VITQC_GOOD,
  EXIT_ERROR = VITQC_ERROR,
  EXIT_USAGE = VITQC_USAGE
};

typedef struct driver {
  vq_ctx *ctx;
  vq_arena arena;
  vq_diag diag;
  options opt;
  struct recipe_origin *origin;  // of options' texts (recipe.h)
  vitqc_host host;  // who called; its `size` is 0 in tests, where there is nobody
  FILE *out, *log;  // to host.print
  FILE *result;     // what "-o -" is
  bool interrupted;
  vitqc_source memory;  // `data` is that of the first file; NULL: it is a file
  bool to_memory;       // the caller takes the output, which has no name of its own
  VQ_VEC(char *) temporary;  // temporary.h
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

// Tells the caller how far something is. VQ_ERR, after a diagnostic, when it wants no more.
VQ_NODISCARD vq_status driver_progress(driver *d, const char *what, int64_t done,
                                       int64_t total);

double now_seconds(void);

#endif
