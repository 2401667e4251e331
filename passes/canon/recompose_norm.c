// LayerNorm and softmax from reductions and arithmetic.
//
// LayerNorm is (x - mean x) / sqrt(mean (x - mean x)^2 + eps) over the last
// dimension. Accepted: the square as pow or mul, the division as div, as mul by
// a reciprocal, or as a power of -1/2; the centered value computed once or
// twice. Scale and shift are absorbed as they come.
#include "canon/rewriter.h"

static bool over_last(const vq_ints *axes, bool keep, const vq_value *x) {
  return keep && axes->n == 1 && axes->p[0] == x->type->rank - 1;
}

static vq_value *mean_of(const vq_value *v) {
  const vq_op *op = vq_def(v, VQ_OP_reduce_mean);
  if (!op) return NULL;
  const vq_attrs_reduce_mean *a = VQ_ATTRS(op, reduce_mean);
  return over_last(&a->axes, a->keep, vq_in(op, 0)) ? vq_in(op, 0) : NULL;
}

// x when v = x - mean x.
static vq_value *centered(const vq_value *v) {
  const vq_op *op = vq_def(v, VQ_OP_sub);
  return op && mean_of(vq_in(op, 1)) == vq_in(op, 0) ? vq_in(op, 0) : NULL;
}

// d when v = d^2.
static vq_value *square_of(const vq_value *v) {
  double e;
  const vq_op *op = vq_def(v, VQ_OP_mul);
  if (op) return vq_in(op, 0) == vq_in(op, 1) ? vq_in(op, 0) : NULL;
  op = vq_def(v, VQ_OP_pow);
  return op && vq_const_uniform(vq_in(op, 1), &e) && e == 2 ? vq_in(op, 0) : NULL;
}

// x and eps when v = var x + eps.
static vq_value *variance(const vq_value *v, double *eps) {
  vq_value *var, *c;
  bool swapped;
  const vq_op *op = vq_def(v, VQ_OP_add);
  if (!op || !vq_with_const(op, &var, &c, &swapped) || !vq_const_uniform(c, eps))
    return NULL;
  vq_value *sq = mean_of(var), *d = sq ? square_of(sq) : NULL;
  return d ? centered(d) : NULL;
}

static vq_value *deviation(const vq_value *v, double *eps) {
  double e;
  const vq_op *op = vq_def(v, VQ_OP_sqrt);
  if (op) return variance(vq_in(op, 0), eps);
  op = vq_def(v, VQ_OP_pow);
  if (!op || !vq_const_uniform(vq_in(op, 1), &e) || e != 0.5) return NULL;
  return variance(vq_in(op, 0), eps);
}

// x and eps when v = 1 / sqrt(var x + eps).
static vq_value *reciprocal_deviation(const vq_value *v, double *eps) {
  double e;
  const vq_op *op = vq_def(v, VQ_OP_div);
  if (op)
    return vq_const_uniform(vq_in(op, 0), &e) && e == 1 ? deviation(vq_in(op, 1), eps)
                                                : NULL;
  op = vq_def(v, VQ_OP_pow);
  if (!op || !vq_const_uniform(vq_in(op, 1), &e)) return NULL;
  if (e == -1) return deviation(vq_in(op, 0), eps);
  return e == -0.5 ? variance(vq_in(op, 0), eps) : NULL;
}

bool vq_rule_layer_norm(vq_rw *rw, vq_op *op) {
  double eps = 0;
  vq_value *x = NULL;
  if (op->code == VQ_OP_div) {
    x = centered(vq_in(op, 0));
    if (x && deviation(vq_in(op, 1), &eps) != x) x = NULL;
  } else {
    for (unsigned i = 0; i < 2 && !x; i++) {
      x = centered(vq_in(op, i));
      if (x && reciprocal_deviation(vq_in(op, 1 - i), &eps) != x) x = NULL;
    }
  }
  if (!x || x->type != op->out[0].type || !(eps >= 0 && eps < 1)) return false;
  vq_attrs_layer_norm a = vq_default_layer_norm();
  a.eps = (float)eps;
  return vq_rw_replace(rw, op, vq_rw_build(rw, VQ_OP_layer_norm, &x, 1, &a),
                       "layer_norm");
}

// mul(layer_norm(x), row) and add(layer_norm(x), row).
bool vq_rule_layer_norm_affine(vq_rw *rw, vq_op *op) {
  vq_value *x, *c;
  bool swapped;
  if (!vq_with_const(op, &x, &c, &swapped)) return false;
  vq_op *ln = vq_def(x, VQ_OP_layer_norm);
  int64_t n = x->type->rank ? x->type->dim[x->type->rank - 1] : 0;
  if (!ln || !vq_has_one_use(x) || x->type != op->out[0].type ||
      !vq_is_row(c, n))
    return false;
  vq_value *in[3] = {vq_in(ln, 0), vq_in_opt(ln, 1), vq_in_opt(ln, 2)};
  unsigned n_in;
  if (op->code == VQ_OP_mul) {
    if (in[1]) return false;
    in[1] = vq_rw_row(rw, c, n);
    n_in = 2;
  } else {
    if (in[2]) return false;
    const vq_type *t = vq_type_tensor(rw->module->ctx, VQ_f32, 1, &n, NULL);
    if (!in[1]) in[1] = &vq_const_fill(rw->module, c->name, t, 1)->value;
    in[2] = vq_rw_row(rw, c, n);
    n_in = 3;
  }
  return vq_rw_replace(
      rw, op, vq_rw_build(rw, VQ_OP_layer_norm, in, n_in, ln->attrs), NULL);
}

// Drops a shift of zeros and, without a shift, a scale of ones.
bool vq_rule_layer_norm_trim(vq_rw *rw, vq_op *op) {
  double c;
  unsigned n = op->n_in;
  if (n == 3 && vq_const_uniform(vq_in(op, 2), &c) && c == 0) n = 2;
  if (n == 2 && vq_const_uniform(vq_in(op, 1), &c) && c == 1) n = 1;
  if (n == op->n_in) return false;
  vq_value *in[2] = {vq_in(op, 0), n == 2 ? vq_in(op, 1) : NULL};
  vq_set_operands(op, in, n);
  rw->n_changed++;
  return true;
}

// exp(s - max s) / sum, with or without the maximum.
bool vq_rule_softmax(vq_rw *rw, vq_op *op) {
  vq_value *e = vq_in(op, 0);
  const vq_op *sum = vq_def(vq_in(op, 1), VQ_OP_reduce_sum);
  const vq_op *ex = vq_def(e, VQ_OP_exp);
  if (!sum || !ex || vq_in(sum, 0) != e) return false;
  const vq_attrs_reduce_sum *a = VQ_ATTRS(sum, reduce_sum);
  if (a->axes.n != 1 || !a->keep) return false;
  vq_value *x = vq_in(ex, 0);
  const vq_op *sub = vq_def(x, VQ_OP_sub);
  const vq_op *max = sub ? vq_def(vq_in(sub, 1), VQ_OP_reduce_max) : NULL;
  if (max && vq_in(max, 0) == vq_in(sub, 0)) {
    const vq_attrs_reduce_max *b = VQ_ATTRS(max, reduce_max);
    if (b->keep && b->axes.n == 1 && b->axes.p[0] == a->axes.p[0])
      x = vq_in(sub, 0);
  }
  vq_attrs_softmax s = vq_default_softmax();
  s.axis = a->axes.p[0] == x->type->rank - 1 ? -1 : a->axes.p[0];
  return vq_rw_replace(rw, op, vq_rw_build(rw, VQ_OP_softmax, &x, 1, &s),
                       "softmax");
}
