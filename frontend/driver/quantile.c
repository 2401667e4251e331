// Order statistics of measurements.
#include "quantile.h"

#include <stdlib.h>

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double quantile(double *v, int64_t n, double q) {
  qsort(v, (size_t)n, sizeof *v, by_value);
  return v[(int64_t)(q * (double)(n - 1) + 0.5)];
}
