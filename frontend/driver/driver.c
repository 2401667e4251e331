// Diagnostics to standard error, and other things all commands share.
#include "driver.h"

#include <time.h>

vq_loc at_path(const driver *d, const char *path) {
  return vq_loc_path(d->ctx, vq_str_of(path));
}

int usage_error(driver *d, const char *fmt, ...) {
  vq_strbuf text = {0};
  va_list ap;
  va_start(ap, fmt);
  vq_strbuf_vprintf(&text, fmt, ap);
  va_end(ap);
  vq_error(&d->diag, VQ_E_usage, at_path(d, "vitqc"), "%s", vq_strbuf_z(&text));
  const char *c = d->opt.command->name;
  vq_note(&d->diag, (vq_loc){0}, "vitqc %s%s--help lists the options", c,
          *c ? " " : "");
  vq_strbuf_release(&text);
  return EXIT_USAGE;
}

vq_status driver_progress(driver *d, const char *what, int64_t done, int64_t total) {
  if (!d->host.progress) return VQ_OK;
  if (opt_given(&d->opt, OPT_quiet)) what = "";
  if (!d->host.progress(d->host.user, what, done, total)) return VQ_OK;
  d->interrupted = true;
  return vq_error(&d->diag, VQ_E_interrupted, at_path(d, "vitqc"), "stopped by the caller");
}

double now_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
