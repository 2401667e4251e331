// Arithmetic of fractions with 15 bits behind the point.
#ifndef VQ_FIXED_H
#define VQ_FIXED_H

#include "vq/base.h"

// a * b / 2^15, rounded half up, in two's complement: what pmulhrsw gives.
static inline int16_t vq_mulhrs(int16_t a, int16_t b) {
  return (int16_t)(uint16_t)((uint32_t)((int32_t)a * b + (1 << 14)) >> 15);
}

// Most bits that codes of i16 have behind the point.
#define VQ_MAX_FINE 8

// What rescale takes away before it moves words by `shift`, where codes keep `fine` bits: the
// words carry half of a whole code, of which half of the last bit is to stay.
static inline int vq_fine_less(int shift, int fine) {
  int whole = 1 << (shift + fine) >> 1, last = 1 << shift >> 1;
  return fine ? whole - last : 0;
}

#endif
