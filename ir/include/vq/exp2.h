// Powers of two in words of 16 bits, as attention_int computes codes of probabilities.
//
// An exponent is a word D, in steps of 1 / VQ_EXP2_STEPS: D = 2048 (n + f) with n the
// nearest integer, so f is in [-1/2, 1/2) and F = D << 5, as a word, is 2 f with 15 bits
// behind the point. With
//
//   mulhrs(a, b) = (a * b + 2^14) >> 15
//
// a cubic and a shift that rounds half up, itself a mulhrs, make the code:
//
//   E = c[0] + mulhrs(F, c[1] + mulhrs(F, c[2] + mulhrs(F, c[3])))
//   P = mulhrs(E, 2^(top + n)), 0 for top + n < 0
//
// where c[0] is `levels` times the largest power of two, 2^(15 - top), that leaves it at
// most 2^14, so E is a word. For D from -32768 to 0 P does not decrease, it is `levels` for
// 0, and it differs from levels * 2^(D / 2048) by at most 0.54, of more than 255 levels by
// 1.8 (tests/unit/test_eval_nn.c).
#ifndef VQ_EXP2_H
#define VQ_EXP2_H

#include "vq/base.h"

#define VQ_EXP2_STEPS 2048
#define VQ_EXP2_BITS 13  // most bits of codes

typedef struct vq_exp2 {
  int32_t c[4];
  int32_t top;  // 1 to 14
} vq_exp2;

// For 1 to 2^VQ_EXP2_BITS - 1 levels. The coefficients, c[0] times those of 2^(F / 2),
// minimise the largest relative error of a cubic that is 1 for f = 0: 1e-4.
vq_exp2 vq_exp2_of(int64_t levels);

// P of D <= 0.
int32_t vq_exp2_code(const vq_exp2 *p, int32_t d);

#endif
