// What a module states about its pictures, for passes.
#ifndef VQ_PASSES_PIXELS_H
#define VQ_PASSES_PIXELS_H

#include "vq/ir.h"

// A model's input is (p * scale - mean_c) / std_c for a pixel p of 8 bits.
typedef struct vq_pixel_range {
  double scale, mean, std;
  float lo, hi;  // what 0 and 255 become
} vq_pixel_range;

// Of each of 1 to 4 channels; false when the module does not say (--preprocess), or
// says what is no number.
bool vq_pixel_ranges(const vq_module *m, int64_t n_channel, vq_pixel_range *out);

#endif
