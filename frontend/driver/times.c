// Times of kernels that passes ran, slowest first.
#include "times.h"

#include <stdlib.h>

static int slower_first(const void *a, const void *b) {
  const vq_kernel_time *x = a, *y = b;
  if (x->least != y->least) return x->least < y->least ? 1 : -1;
  return strcmp(x->kernel, y->kernel);
}

static void print(void *user, vq_str func, int64_t runs, const vq_kernel_time *time,
                  size_t n) {
  driver *d = user;
  vq_kernel_time *k = VQ_NEW_N(&d->arena, vq_kernel_time, n);
  double least = 0, mean = 0;
  if (n) memcpy(k, time, n * sizeof *k);
  qsort(k, n, sizeof *k, slower_first);
  for (size_t i = 0; i < n; i++) least += k[i].least, mean += k[i].mean;
  fprintf(d->log, "@%.*s, %lld runs: each step's fastest %.3f ms, mean %.3f ms\n",
          VQ_FMT(func), (long long)runs, 1e3 * least, 1e3 * mean);
  fprintf(d->log, "%10s %10s  %5s %8s %6s  kernel\n", "least ms", "mean ms", "%", "GFLOP/s",
          "steps");
  for (size_t i = 0; i < n; i++) {
    fprintf(d->log, "%10.3f %10.3f  %5.1f ", 1e3 * k[i].least, 1e3 * k[i].mean,
            least > 0 ? 100 * k[i].least / least : 0);
    if (k[i].macs && k[i].least > 0)
      fprintf(d->log, "%8.1f", 2e-9 * (double)k[i].macs / k[i].least);
    else
      fprintf(d->log, "%8s", "");
    fprintf(d->log, " %6u  %s\n", k[i].n_step, k[i].kernel);
  }
}

vq_time_sink kernel_times(driver *d) { return (vq_time_sink){print, d}; }
