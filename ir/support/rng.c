// splitmix64 (Steele, Lea, Flood 2014) and the Irwin-Hall normal.
#include "vq/rng.h"

uint64_t vq_rng_next(vq_rng *r) {
  uint64_t z = r->state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

double vq_rng_normal(vq_rng *r) {
  // Twelve 21-bit uniforms out of four draws; every sum is exact.
  int64_t sum = 0;
  for (int i = 0; i < 4; i++) {
    uint64_t z = vq_rng_next(r);
    sum += (int64_t)((z & 0x1fffff) + (z >> 21 & 0x1fffff) + (z >> 42 & 0x1fffff));
  }
  return (double)(2 * sum + 12 - (12 << 21)) / (double)(1 << 22);
}
