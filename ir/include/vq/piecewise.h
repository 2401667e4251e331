// Activation functions as piecewise quadratics, the form integer kernels use.
//
// An activation between an accumulator and a code needs no more than the
// code's precision, but must be the same number everywhere. So it is a table:
// VQ_PIECES quadratics in x, the first and the last being the asymptotes 0 and
// x, the others interpolating the function at the Chebyshev nodes of equal
// intervals of [-4, 4]. Against the function itself the error of gelu is below
// 1.5e-4 (tests/unit/test_quant.c), a hundredth of a typical step of 8 bits.
//
//   i = trunc(clamp(x * VQ_PIECE_MULT + VQ_PIECE_ADD, 0, VQ_PIECES - 1))
//   y = c[0][i] + x (c[1][i] + x c[2][i])
//
// with every operation rounded to binary32, none fused; a NaN takes piece 0.
#ifndef VQ_PIECEWISE_H
#define VQ_PIECEWISE_H

#include "vq/base.h"

#define VQ_PIECES 32
#define VQ_PIECE_MULT 3.75f
#define VQ_PIECE_ADD 16.0f

typedef struct vq_piecewise {
  float c[3][VQ_PIECES];
} vq_piecewise;

// Of codes of 16 bits there is a form in fixed point, which vectors hold twice as many of.
// Each of the functions is x or 0 far from 0, and near it less by a bump that is even:
// f(x) = max(x, 0) - b(|x|). The bump is VQ_CURVE_PIECES quadratics around centres at equal
// distances, in eighths of a code with scale `step`; behind the last one it is constant.
// Channels may have codes of larger scales, `gain` = step / scale in Q12 times the eighths.
//
//   p = min((min(|x|, limit) * scale * mult) >> 16, VQ_CURVE_LAST)
//   i = (p + 2^11) >> 12,  d = 16 (p - 4096 i)      -1 to 1 in Q15
//   b = c[0][i] + mulhrs(d, c[1][i] + mulhrs(d, c[2][i]))
//   y = sat(max(x, 0) + mulhrs(b, gain))
//
// in words, of which those of the first line and i have no sign; sums wrap but for the last
// one. From one centre to the next there are 4096 positions p. Against gelu the error is
// below 7e-4 and three steps of a code (tests/unit/test_curve.c).
#define VQ_CURVE_PIECES 8
#define VQ_CURVE_LAST (4096 * VQ_CURVE_PIECES - 2049)  // position
#define VQ_CURVE_TERMS 3
typedef struct vq_curve {
  int16_t c[VQ_CURVE_TERMS][VQ_CURVE_PIECES];
} vq_curve;
typedef struct vq_curve_channel {
  uint16_t limit, scale, mult;  // limit * scale < 2^16
  int16_t gain;
} vq_curve_channel;

// The coefficients of `fn` (as vq_piecewise_of) for codes with scale `step`; false for another
// name or such a step as vq_curve_steps excludes.
bool vq_curve_of(vq_str fn, float step, vq_curve *out);
// Scales that words of such a channel may have: 16 bits reach where fn differs from x or 0,
// and at least 64 codes do. False: no such function.
bool vq_curve_steps(vq_str fn, double *least, double *most);
// Of a channel with codes of scale `own` >= step, both within these bounds; its `scale` is the
// given one, which fits the channel if vq_curve_scale_fits, or with 0 one that does.
vq_curve_channel vq_curve_channel_of(vq_str fn, double step, double own, uint16_t scale);
bool vq_curve_scale_fits(vq_str fn, double own, uint16_t scale);
int16_t vq_curve_at(const vq_curve *c, const vq_curve_channel *ch, int16_t x);

// The table of `fn`: gelu, gelu_tanh, gelu_sigmoid (the forms of op gelu) or
// silu; false for any other name.
bool vq_piecewise_of(vq_str fn, vq_piecewise *out);

// The value at `x`.
float vq_piecewise_at(const vq_piecewise *p, float x);

#endif
