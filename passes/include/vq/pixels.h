// What a module states about its pictures.
#ifndef VQ_PIXELS_H
#define VQ_PIXELS_H

#include "vq/ir.h"

// A model's input is (p * scale - mean_c) / std_c for a pixel p of 8 bits.
typedef struct vq_pixel_range {
  double scale, mean, std;
  float lo, hi;  // what 0 and 255 become
} vq_pixel_range;

// Of each of 1 to 4 channels; false when the module does not say (--preprocess), or
// says what is no number.
bool vq_pixel_ranges(const vq_module *m, int64_t n_channel, vq_pixel_range *out);
// The same; a module that does not say has what normalised pictures have, -2.5 to 2.5.
void vq_pixel_ranges_assumed(const vq_module *m, int64_t n_channel, vq_pixel_range *out);

// What pixel `p` becomes, and the pixel that becomes what is nearest to `x`.
float vq_pixel_value(const vq_pixel_range *r, uint8_t p);
uint8_t vq_pixel_nearest(const vq_pixel_range *r, float x);

#endif
