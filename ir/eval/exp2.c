// Powers of two in words. See vq/exp2.h.
#include "vq/exp2.h"

#include <math.h>

vq_exp2 vq_exp2_of(int64_t levels) {
  static const double of_f[4] = {1, 0.34664144, 0.06055275, 0.00687614};
  vq_exp2 p = {.top = 15};
  int64_t most = levels;
  for (; 2 * most <= 1 << 14; most *= 2) p.top--;
  for (unsigned i = 0; i < 4; i++) p.c[i] = (int32_t)nearbyint((double)most * of_f[i]);
  return p;
}

static int32_t mulhrs(int32_t a, int32_t b) {
  return (a * b + (1 << 14)) >> 15;
}

int32_t vq_exp2_code(const vq_exp2 *p, int32_t d) {
  int32_t n = (d + VQ_EXP2_STEPS / 2) >> 11, f = (d - n * VQ_EXP2_STEPS) * 32;
  int32_t e = p->c[2] + mulhrs(f, p->c[3]);
  e = p->c[0] + mulhrs(f, p->c[1] + mulhrs(f, e));
  return p->top + n < 0 ? 0 : mulhrs(e, 1 << (p->top + n));
}
