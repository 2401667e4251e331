// Gradients of reductions, of what normalises by them, and of variation.
#include "calib/grad_rule.h"

// `v`, a result of reducing operand 0 over `axes`, with the reduced dimensions as 1.
static vq_value *kept(vq_grad *g, const vq_op *op, vq_ints axes, vq_value *v) {
  const vq_type *x = A->type;
  int64_t dim[VQ_MAX_RANK];
  memcpy(dim, x->dim, sizeof dim);
  for (unsigned i = 0; i < axes.n; i++) dim[axes.p[i]] = 1;
  return RESHAPE(v, x->rank, dim);
}

static unsigned mask_of(vq_ints axes) {
  unsigned mask = 0;
  for (unsigned i = 0; i < axes.n; i++) mask |= 1u << axes.p[i];
  return mask;
}

static vq_value *to_f32(vq_grad *g, vq_value *x) {
  if (!x) return NULL;
  vq_attrs_cast a = {.to = VQ_LIT("f32")};
  return vq_build1(&g->b, VQ_OP_cast, &x, 1, &a, VQ_LIT(""));
}

RULE(reduce_sum) {
  ADD(0, kept(g, op, VQ_ATTRS(op, reduce_sum)->axes, DY));
  return VQ_OK;
}

RULE(reduce_mean) {
  int64_t n = vq_type_count(A->type), n_result = vq_type_count(Y->type);
  double share = n ? (double)n_result / (double)n : 0;
  ADD(0, MUL(kept(g, op, VQ_ATTRS(op, reduce_mean)->axes, DY), K(share)));
  return VQ_OK;
}

// Equal extremes share the gradient.
static vq_value *to_extreme(vq_grad *g, const vq_op *op, vq_ints axes, vq_value *dy) {
  vq_value *is = to_f32(g, EQUAL(A, kept(g, op, axes, Y)));
  vq_value *n = SUM(is, mask_of(axes), true);
  return MUL(is, DIV(kept(g, op, axes, DY), n));
}

RULE(reduce_max) {
  ADD(0, to_extreme(g, op, VQ_ATTRS(op, reduce_max)->axes, DY));
  return VQ_OK;
}

RULE(reduce_min) {
  ADD(0, to_extreme(g, op, VQ_ATTRS(op, reduce_min)->axes, DY));
  return VQ_OK;
}

// The product of the others: y / x, but a single 0 has that of all the rest, and
// beside it, or beside several, there is nothing.
RULE(reduce_prod) {
  vq_ints axes = VQ_ATTRS(op, reduce_prod)->axes;
  vq_attrs_reduce_prod all = {.axes = axes, .keep = true};
  vq_value *is_0 = EQUAL(A, K(0)), *rest = SELECT(is_0, K(1), A);
  vq_value *n_0 = SUM(to_f32(g, is_0), mask_of(axes), true);
  if (!rest) return VQ_ERR;
  vq_value *product =
      vq_build1(&g->b, VQ_OP_reduce_prod, &rest, 1, &all, VQ_LIT(""));
  vq_value *others = SELECT(is_0, product, DIV(product, rest));
  vq_value *own = SELECT(is_0, K(1), K(0));
  vq_value *d = SELECT(EQUAL(n_0, own), others, K(0));
  ADD(0, MUL(kept(g, op, axes, DY), d));
  return VQ_OK;
}

RULE(softmax) {
  int64_t axis = VQ_ATTRS(op, softmax)->axis;
  unsigned mask = 1u << (axis < 0 ? axis + Y->type->rank : axis);
  ADD(0, MUL(Y, SUB(DY, SUM(MUL(DY, Y), mask, true))));
  return VQ_OK;
}

RULE(layer_norm) {
  vq_value *gamma = vq_in_opt(op, 1), *x = A;
  float eps = VQ_ATTRS(op, layer_norm)->eps;
  if (vq_grad_wants(g, op, 0)) {
    vq_attrs_layer_norm_grad a = {.eps = eps};
    vq_value *in[] = {x, gamma ? MUL(DY, gamma) : DY};
    ADD(0, vq_build1(&g->b, VQ_OP_layer_norm_grad, in, 2, &a, VQ_LIT("")));
  }
  if (vq_grad_wants(g, op, 1)) {
    vq_attrs_layer_norm a = {.eps = eps};
    ADD(1, MUL(DY, vq_build1(&g->b, VQ_OP_layer_norm, &x, 1, &a, VQ_LIT(""))));
  }
  ADD(2, DY);
  return VQ_OK;
}

RULE(variation) {
  vq_value *in[] = {A, DY};
  ADD(0, vq_build1(&g->b, VQ_OP_variation_grad, in, 2, NULL, VQ_LIT("")));
  return VQ_OK;
}
