// Gradients of elementwise ops.
//
// At a kink the derivative is one of the two: that of relu at 0 and of sqrt at 0
// is 0 (so is then that of a norm), inside its bounds clip passes the gradient and
// on them too, and of two equal numbers min and max passed on the first.
#include "calib/grad_rule.h"

#define RULE1(name, d) \
  RULE(name) {         \
    ADD(0, d);         \
    return VQ_OK;      \
  }
#define RULE2(name, da, db) \
  RULE(name) {              \
    ADD(0, da);             \
    ADD(1, db);             \
    return VQ_OK;           \
  }
#define SQUARE(x) MUL(x, x)
#define SIGMOID(x) UNARY(sigmoid, x)

// ---- one operand -----------------------------------------------------------------

RULE1(copy, DY)
RULE1(cast, DY)  // of f32 to itself; other results carry no gradient
RULE1(neg, NEG(DY))
RULE1(abs, MUL(DY, UNARY(sign, A)))
RULE1(sqrt, SELECT(LESS(K(0), Y), DIV(MUL(DY, K(0.5)), Y), K(0)))
RULE1(exp, MUL(DY, Y))
RULE1(log, DIV(DY, A))
RULE1(erf, MUL(DY, MUL(EXP(NEG(SQUARE(A))), K(M_2_SQRTPI))))
RULE1(tanh, MUL(DY, SUB(K(1), SQUARE(Y))))
RULE1(sigmoid, MUL(DY, MUL(Y, SUB(K(1), Y))))
RULE1(sin, MUL(DY, UNARY(cos, A)))
RULE1(cos, NEG(MUL(DY, UNARY(sin, A))))
RULE1(relu, SELECT(LESS(K(0), A), DY, K(0)))

// lo <= x <= hi
static vq_value *inside(vq_grad *g, vq_value *x, vq_value *lo, vq_value *hi) {
  return BINARY(and, BINARY(less_equal, lo, x), BINARY(less_equal, x, hi));
}

RULE(clip) {
  const vq_attrs_clip *a = VQ_ATTRS(op, clip);
  ADD(0, SELECT(inside(g, A, K((double)a->lo), K((double)a->hi)), DY, K(0)));
  return VQ_OK;
}

// s (1 + x (1 - s)): of x s with s = sigmoid(x).
static vq_value *swish_slope(vq_grad *g, vq_value *x) {
  vq_value *s = SIGMOID(x);
  return MUL(s, PLUS(MUL(x, SUB(K(1), s)), K(1)));
}

RULE1(silu, MUL(DY, swish_slope(g, A)))

// The slope stands in front of the op, so that one kernel computes both (fuse).
RULE(gelu) {
  vq_attrs_gelu_slope a = {.form = VQ_ATTRS(op, gelu)->form};
  vq_builder b = {g->b.func, op->out->def, op->loc, g->b.diag};
  vq_value *x = A;
  ADD(0, MUL(DY, vq_build1(&b, VQ_OP_gelu_slope, &x, 1, &a, VQ_LIT(""))));
  return VQ_OK;
}

// ---- two and three operands --------------------------------------------------------

RULE2(add, DY, DY)
RULE2(sub, DY, NEG(DY))
RULE2(mul, MUL(DY, B), MUL(DY, A))
RULE2(div, DIV(DY, B), NEG(DIV(MUL(DY, Y), B)))
RULE2(min, SELECT(LESS(B, A), K(0), DY), SELECT(LESS(B, A), DY, K(0)))
RULE2(max, SELECT(LESS(A, B), K(0), DY), SELECT(LESS(A, B), DY, K(0)))
// y = a - b q with a quotient q that stays the same nearby.
RULE2(mod, DY, NEG(MUL(DY, UNARY(round, DIV(SUB(A, Y), B)))))

// b a^(b - 1) and, where a > 0, y ln a. With b = 0 the first is 0 even at a = 0.
RULE(pow) {
  ADD(0, MUL(DY, SELECT(EQUAL(B, K(0)), K(0),
                        MUL(B, BINARY(pow, A, SUB(B, K(1)))))));
  ADD(1, MUL(DY, SELECT(LESS(K(0), A), MUL(Y, UNARY(log, A)), K(0))));
  return VQ_OK;
}

RULE(select) {
  ADD(1, SELECT(A, DY, K(0)));
  ADD(2, SELECT(A, K(0), DY));
  return VQ_OK;
}

// Straight through: rounding counts as the identity, clamping does not. With
// t = rne(x / scale) + zero,
//   inside [lo, hi]  dy/dx = 1, dy/dscale = t - zero - x / scale, dy/dzero = 0
//   outside          dy/dx = 0, dy/dscale = clamped t - zero,     dy/dzero = -scale
// where the scale is still unknown, 0, the op is the identity.
RULE(fake_quant) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(op, fake_quant);
  vq_value *lo = K((double)a->lo), *hi = K((double)a->hi);
  vq_value *exact = DIV(A, B), *unknown = EQUAL(B, K(0));
  vq_value *t = PLUS(UNARY(round, exact), C);
  vq_value *in = inside(g, t, lo, hi);
  vq_value *passes = BINARY(or, unknown, in);
  ADD(0, SELECT(passes, DY, K(0)));
  if (vq_grad_wants(g, op, 1)) {
    vq_value *code = BINARY(min, BINARY(max, t, lo), hi);
    vq_value *d = SUB(SUB(code, C), SELECT(in, exact, K(0)));
    ADD(1, MUL(DY, SELECT(unknown, K(0), d)));
  }
  ADD(2, MUL(DY, SELECT(passes, K(0), NEG(B))));
  return VQ_OK;
}
