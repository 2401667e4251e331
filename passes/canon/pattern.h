// Reading dataflow: constants, scalings and polynomials behind values.
#ifndef VQ_CANON_PATTERN_H
#define VQ_CANON_PATTERN_H

#include "canon/identity.h"  // vq_const_uniform
#include "vq/ir.h"

// The op that computes `v` when its code is `code`, else NULL.
vq_op *vq_def(const vq_value *v, vq_opcode code);

// True when `v` is a float constant that varies along its last dimension only:
// shape [1, ..., 1, n], or one element (which broadcasts).
bool vq_is_row(vq_value *v, int64_t n);

// For an op with two operands of which one is a constant: the other operand
// and the constant. `swapped` tells that the constant came first.
bool vq_with_const(const vq_op *op, vq_value **x, vq_value **c, bool *swapped);

// One scalar factor off `v`: v = c * x, spelled as mul, div or neg. The type of
// x is v's. False when there is none.
bool vq_unscale(vq_value *v, vq_value **x, double *c);

// Writes `v` as a polynomial in `x` of degree at most VQ_POLY_MAX, through add,
// sub, mul, div by a constant, neg and pow by a small integer.
#define VQ_POLY_MAX 3
typedef struct vq_poly {
  double c[VQ_POLY_MAX + 1];
} vq_poly;
bool vq_poly_of(vq_value *v, const vq_value *x, vq_poly *p);

// |a - b| within 1e-4 of |b|: constants that exporters print or round.
bool vq_near(double a, double b);

#endif
