// From what a quantizer's tensor looked like to its scale and zero point.
#ifndef VQ_PASSES_RANGE_H
#define VQ_PASSES_RANGE_H

#include <stdint.h>

#include "vq/base.h"

// Counts of values in `n` equal cells from `least` to `most`; no cells: nothing
// is known but the ends.
typedef struct vq_histogram {
  double least, most;
  const uint32_t *bin;
  int n;
} vq_histogram;

// Codes lo..hi. A symmetric one keeps its zero point, others get theirs.
typedef struct vq_levels {
  double lo, hi;
  bool symmetric;
  float zero;
} vq_levels;

// How a range follows from a histogram.
typedef struct vq_observer {
  enum { VQ_OBSERVE_MSE, VQ_OBSERVE_MINMAX, VQ_OBSERVE_PERCENTILE } kind;
  double percentile;  // of the values that the range holds, above 0, at most 100
} vq_observer;

// Reads mse, minmax, percentile or percentile:P; the P of none is 99.99.
bool vq_observer_read(vq_str text, vq_observer *out);

// The range that `how` chooses, widened by `margin`.
void vq_range_fit(const vq_observer *how, const vq_levels *q, const vq_histogram *h,
                  double margin, float *scale, float *zero);

#endif
