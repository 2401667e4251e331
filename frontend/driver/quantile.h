// Order statistics of measurements.
#ifndef VQ_DRIVER_QUANTILE_H
#define VQ_DRIVER_QUANTILE_H

#include <stdint.h>

// The q-quantile of v[0..n), n > 0, which gets sorted.
double quantile(double *v, int64_t n, double q);

#endif
