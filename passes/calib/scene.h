// Random scenes: pictures with the statistics of photographs, out of nothing.
#ifndef VQ_PASSES_SCENE_H
#define VQ_PASSES_SCENE_H

#include "passes.h"
#include "vq/rng.h"

// Where a scene is painted to: planes of height * width numbers from lo to hi.
typedef struct vq_canvas {
  int64_t channels, height, width;  // at most 4 channels
  const float *lo, *hi;             // per channel
} vq_canvas;

// Paints a scene; all that is random about it comes from `rng`. The same bytes on every
// machine: nothing but sums, products, quotients and square roots of binary64.
void vq_scene_paint(const vq_canvas *to, vq_rng *rng, float *x);

#endif
