// LayerNorm and softmax from reductions and arithmetic.
//
// LayerNorm is (x - mean x) / sqrt(mean (x - mean x)^2 + eps) over the last
// dimension. Accepted: the square as pow or mul, the division as div, as mul by
// a reciprocal, or as a power of -1/2; the centered value computed once or
// twice; the scale anywhere in the product; the product distributed over the
// difference. Scale and shift are absorbed as they come.
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

// x when v = x * row, and x itself otherwise; at most one row a pattern.
static vq_value *without_row(vq_value *v, vq_value **row) {
  vq_value *x, *c;
  bool swapped;
  const vq_op *op = vq_def(v, VQ_OP_mul);
  if (*row || !op || !vq_with_const(op, &x, &c, &swapped)) return v;
  if (v->type->rank == 0 || vq_type_count(c->type) == 1) return v;
  int64_t n = c->type->rank ? c->type->dim[c->type->rank - 1] : 1;
  if (!vq_is_row(c, n)) return v;
  *row = c;
  return x;
}

// layer_norm(x) * row in place of `op`, or what `shift` adds to that.
static bool make_layer_norm(vq_rw *rw, vq_op *op, vq_value *x, double eps,
                            vq_value *row, vq_value *shift) {
  if (!x || x->type != op->out[0].type || !(eps >= 0 && eps < 1)) return false;
  int64_t n = x->type->dim[x->type->rank - 1];
  if ((row && !vq_is_row(row, n)) || (shift && !vq_is_row(shift, n)))
    return false;
  vq_attrs_layer_norm a = vq_default_layer_norm();
  a.eps = (float)eps;
  vq_value *y = vq_rw_build(rw, VQ_OP_layer_norm, &x, 1, &a);
  if (row) y = vq_build_binary(&rw->b, VQ_OP_mul, y, row, VQ_LIT(""));
  if (shift) y = vq_build_binary(&rw->b, VQ_OP_add, y, shift, VQ_LIT(""));
  return vq_rw_replace(rw, op, y, "layer_norm");
}

bool vq_rule_layer_norm(vq_rw *rw, vq_op *op) {
  double eps = 0;
  vq_value *x = NULL, *row = NULL;
  if (op->code == VQ_OP_div) {
    x = centered(without_row(vq_in(op, 0), &row));
    if (x && deviation(vq_in(op, 1), &eps) != x) x = NULL;
  } else {
    for (unsigned i = 0; i < 2 && !x; i++) {
      row = NULL;
      x = centered(without_row(vq_in(op, i), &row));
      vq_value *r = without_row(vq_in(op, 1 - i), &row);
      if (x && reciprocal_deviation(r, &eps) != x) x = NULL;
    }
  }
  return make_layer_norm(rw, op, x, eps, row, NULL);
}

// x * r + (shift - mean x * r), r a reciprocal deviation with or without a
// scale: Keras.
bool vq_rule_layer_norm_moments(vq_rw *rw, vq_op *op) {
  for (unsigned i = 0; i < 2; i++) {
    double eps = 0;
    vq_value *row = NULL, *shift;
    const vq_op *xr = vq_def(vq_in(op, i), VQ_OP_mul);
    const vq_op *rest = vq_def(vq_in(op, 1 - i), VQ_OP_sub);
    const vq_op *mr = rest ? vq_def(vq_in(rest, 1), VQ_OP_mul) : NULL;
    if (!xr || !mr || !vq_const_of(shift = vq_in(rest, 0))) continue;
    for (unsigned k = 0; k < 4; k++) {
      vq_value *r = vq_in(xr, k / 2), *x = vq_in(xr, 1 - k / 2);
      if (vq_in(mr, k % 2) != r || mean_of(vq_in(mr, 1 - k % 2)) != x) continue;
      if (reciprocal_deviation(without_row(r, &row), &eps) != x) continue;
      return make_layer_norm(rw, op, x, eps, row, shift);
    }
  }
  return false;
}

// A norm of channels that stand in front of rows and columns: the difference from
// their mean is taken where they are last, and moved instead of x.
bool vq_rule_center(vq_rw *rw, vq_op *op) {
  vq_value *x = vq_in(op, 0);
  const vq_op *moved = vq_def(x, VQ_OP_transpose);
  const vq_op *mean = vq_def(vq_in(op, 1), VQ_OP_reduce_mean);
  if (!moved || !mean || vq_in(mean, 0) != x) return false;
  const vq_attrs_reduce_mean *a = VQ_ATTRS(mean, reduce_mean);
  vq_ints perm = VQ_ATTRS(moved, transpose)->perm;
  int64_t last = x->type->rank - 1;
  if (!a->keep || a->axes.n != 1 || a->axes.p[0] == last ||
      perm.p[a->axes.p[0]] != last)
    return false;
  vq_value *root = vq_in(moved, 0);
  vq_attrs_reduce_mean r = {.axes = {&last, 1}, .keep = true};
  vq_value *m = vq_rw_build(rw, VQ_OP_reduce_mean, &root, 1, &r);
  vq_value *y = m ? vq_build_binary(&rw->b, VQ_OP_sub, root, m, VQ_LIT("")) : NULL;
  return y && vq_rw_replace(
                  rw, op, vq_build_transpose(&rw->b, y, perm.p, VQ_LIT("")), NULL);
}

// The row `c`, n wide, as new floats; NULL stands for all `otherwise`.
static float *row_floats(vq_rw *rw, vq_value *c, int64_t n, float otherwise) {
  vq_value *row = c ? vq_rw_row(rw, c, n) : NULL;
  if (row) return vq_rw_floats(rw, row);
  float *v = VQ_NEW_N(rw->pc->temp, float, (size_t)n);
  for (int64_t i = 0; i < n; i++) v[i] = otherwise;
  return v;
}

// a op b, element by element, as a new row; an absent `a` stands for `neutral`.
static vq_value *combined(vq_rw *rw, vq_opcode code, vq_value *a, vq_value *b,
                          int64_t n, float neutral) {
  float *x = row_floats(rw, a, n, neutral), *y = row_floats(rw, b, n, 0);
  if (!x || !y) return NULL;
  for (int64_t i = 0; i < n; i++)
    x[i] = code == VQ_OP_add   ? x[i] + y[i]
           : code == VQ_OP_sub ? x[i] - y[i]
           : code == VQ_OP_mul ? x[i] * y[i]
                               : x[i] / y[i];
  return vq_rw_const(rw, a ? a : b, 1, &n, x);
}

// layer_norm(x) and a row, multiplied, divided, added or subtracted: joins the
// scale and shift.
bool vq_rule_layer_norm_affine(vq_rw *rw, vq_op *op) {
  vq_value *x, *c;
  bool swapped;
  if (!vq_with_const(op, &x, &c, &swapped)) return false;
  vq_op *ln = vq_def(x, VQ_OP_layer_norm);
  int64_t n = x->type->rank ? x->type->dim[x->type->rank - 1] : 0;
  if (!ln || !vq_has_one_use(x) || x->type != op->out[0].type ||
      !vq_is_row(c, n))
    return false;
  vq_opcode code = op->code;
  bool shifts = code == VQ_OP_add || code == VQ_OP_sub;
  // A single factor may be attention's, behind a norm of q or k.
  if (!shifts && vq_type_count(c->type) == 1 && !rw->late) return false;
  if (swapped && (code == VQ_OP_sub || code == VQ_OP_div)) return false;
  vq_value *in[3] = {vq_in(ln, 0), vq_in_opt(ln, 1), vq_in_opt(ln, 2)};
  for (unsigned i = 1; i < 3; i++)
    if (in[i] && !vq_const_of(in[i])) return false;
  if (shifts) {
    const vq_type *t = vq_type_tensor(rw->module->ctx, VQ_f32, 1, &n, NULL);
    if (!in[1]) in[1] = &vq_const_fill(rw->module, c->name, t, 1)->value;
    in[2] = in[2] || code == VQ_OP_sub ? combined(rw, code, in[2], c, n, 0)
                                       : vq_rw_row(rw, c, n);
  } else {
    in[1] = in[1] || code == VQ_OP_div ? combined(rw, code, in[1], c, n, 1)
                                       : vq_rw_row(rw, c, n);
    if (in[2] && !(in[2] = combined(rw, code, in[2], c, n, 0))) return false;
  }
  if (!in[1] || (shifts && !in[2])) return false;
  return vq_rw_replace(
      rw, op,
      vq_rw_build(rw, VQ_OP_layer_norm, in, in[2] ? 3 : 2, ln->attrs), NULL);
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
