// Arithmetic of fractions with 15 bits behind the point.
#ifndef VQ_FIXED_H
#define VQ_FIXED_H

#include "vq/base.h"

// a * b / 2^15, rounded half up, in two's complement: what pmulhrsw gives.
static inline int16_t vq_mulhrs(int16_t a, int16_t b) {
  return (int16_t)(uint16_t)((uint32_t)((int32_t)a * b + (1 << 14)) >> 15);
}

#endif
