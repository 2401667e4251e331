// Powers of two in words. See vq/exp2.h.
#include "vq/exp2.h"

#include <math.h>

#include "vq/fixed.h"

vq_exp2 vq_exp2_of(int64_t levels) {
  static const double of_f[4] = {1, 0.34664144, 0.06055275, 0.00687614};
  vq_exp2 p = {.top = 15};
  int64_t most = levels;
  for (; 2 * most <= 1 << 14; most *= 2) p.top--;
  for (unsigned i = 0; i < 4; i++) p.c[i] = (int32_t)nearbyint((double)most * of_f[i]);
  return p;
}

int32_t vq_exp2_code(const vq_exp2 *p, int32_t d) {
  int32_t n = (d + VQ_EXP2_STEPS / 2) >> 11;
  int16_t f = (int16_t)((d - n * VQ_EXP2_STEPS) * 32), e = (int16_t)p->c[3];
  for (unsigned i = 3; i-- > 0;) e = (int16_t)(p->c[i] + vq_mulhrs(f, e));
  return p->top + n < 0 ? 0 : vq_mulhrs(e, (int16_t)(1 << (p->top + n)));
}
