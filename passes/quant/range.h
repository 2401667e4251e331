// From what a quantizer's tensor looked like to its scale and zero point.
#ifndef VQ_PASSES_RANGE_H
#define VQ_PASSES_RANGE_H

#include <stdbool.h>
#include <stdint.h>

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

// The range with the least expected squared error, widened by `margin`.
void vq_range_fit(const vq_levels *q, const vq_histogram *h, double margin,
                 float *scale, float *zero);

#endif
