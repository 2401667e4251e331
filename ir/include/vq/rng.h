// Deterministic random numbers: splitmix64, the only randomness here.
#ifndef VQ_RNG_H
#define VQ_RNG_H

#include "vq/base.h"

typedef struct vq_rng {
  uint64_t state;
} vq_rng;

uint64_t vq_rng_next(vq_rng *r);

// Normally distributed with mean 0 and deviation 1, as the sum of twelve
// uniforms less six: the same bits everywhere, where log and cos are not.
double vq_rng_normal(vq_rng *r);

#endif
