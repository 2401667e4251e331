// Ranges, histograms and codes of values, for reports.
#ifndef VQ_PASSES_MEASURE_CODES_H
#define VQ_PASSES_MEASURE_CODES_H

#include "quant/quantizer.h"
#include "vq/measure.h"

// What was seen of channels.
typedef struct vq_seen_range {
  float *lo, *hi;
  int64_t n;  // channels
} vq_seen_range;

vq_seen_range vq_seen_range_new(int64_t n, vq_arena *arena);
// Values whose last dimension are the channels.
void vq_seen_range_add(vq_seen_range *r, const float *x, int64_t count);
// Ends of all channels, and the largest over the median one's: least, most and spread.
void vq_seen_range_close(const vq_seen_range *r, vq_arena *temp, vq_measured_codes *to);

// Counts values, channels last, into the cells of a closed range; what a quantizer
// would make of them into saturated, still a number, and `used`. `fq`: NULL for floats.
void vq_codes_add(vq_measured_codes *to, bool *used, const vq_op *fq, const float *x,
                  int64_t count, int64_t n_channel);
// One flag for each code of `fq`.
bool *vq_codes_flags(const vq_op *fq, vq_arena *arena);
// Makes shares of what was counted.
void vq_codes_close(vq_measured_codes *c, const bool *used, const vq_op *fq);

// The weights of one layer: `real` with floats, `kept` with what codes were chosen for.
void vq_measure_weights(const vq_op *real, const vq_op *kept, vq_arena *temp,
                        vq_measured *to);

#endif
