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

// The table of `fn`: gelu, gelu_tanh, gelu_sigmoid (the forms of op gelu) or
// silu; false for any other name.
bool vq_piecewise_of(vq_str fn, vq_piecewise *out);

// The value at `x`.
float vq_piecewise_at(const vq_piecewise *p, float x);

#endif
