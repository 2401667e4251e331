// Elementwise operators and reductions.
#include "import.h"

#include <math.h>

#include "vq/eval.h"

vq_status vq_onnx_unary(vq_ox_node *nd) {
  vq_opcode code = (vq_opcode)vq_ox_arg(nd);
  return vq_ox_result(nd, 0, vq_ox_op1(nd, code, nd->in[0]));
}

vq_status vq_onnx_binary(vq_ox_node *nd) {
  vq_opcode code = (vq_opcode)vq_ox_arg(nd);
  return vq_ox_result(nd, 0, vq_ox_op2(nd, code, nd->in[0], nd->in[1]));
}

vq_status vq_onnx_swapped(vq_ox_node *nd) {
  vq_opcode code = (vq_opcode)vq_ox_arg(nd);
  return vq_ox_result(nd, 0, vq_ox_op2(nd, code, nd->in[1], nd->in[0]));
}

vq_status vq_onnx_variadic(vq_ox_node *nd) {
  vq_opcode code = (vq_opcode)vq_ox_arg(nd);
  vq_ox_val *y = nd->in[0];
  for (unsigned i = 1; i < nd->n_in; i++)
    y = vq_ox_op2(nd, code, y, nd->in[i]);
  return vq_ox_result(nd, 0, y);
}

vq_status vq_onnx_mean(vq_ox_node *nd) {
  vq_ox_val *y = nd->in[0];
  for (unsigned i = 1; i < nd->n_in; i++)
    y = vq_ox_op2(nd, VQ_OP_add, y, nd->in[i]);
  return vq_ox_result(nd, 0, vq_ox_scale(nd, y, 1.0f / (float)nd->n_in));
}

vq_status vq_onnx_where(vq_ox_node *nd) {
  return vq_ox_result(nd, 0,
                      vq_ox_select(nd, nd->in[0], nd->in[1], nd->in[2]));
}

vq_status vq_onnx_reciprocal(vq_ox_node *nd) {
  return vq_ox_result(
      nd, 0, vq_ox_op2(nd, VQ_OP_div, vq_ox_f32(nd, 1.0f), nd->in[0]));
}

vq_status vq_onnx_mod(vq_ox_node *nd) {
  vq_attrs_mod attrs = vq_default_mod();
  if (vq_ox_attr_flag(nd, "fmod", &attrs.fmod))
    return VQ_ERR;
  return vq_ox_result(nd, 0, vq_ox_emit(nd, VQ_OP_mod, &attrs, 2, nd->in));
}

// The exponent may have any type; integers go through f32.
vq_status vq_onnx_pow(vq_ox_node *nd) {
  if (vq_ox_ready(nd->ox, nd->loc, nd->in[0]))
    return VQ_ERR;
  vq_dtype dtype = nd->in[0]->type->dtype;
  vq_ox_val *x = vq_ox_to_dtype(nd, nd->in[0], VQ_f32);
  vq_ox_val *y = vq_ox_to_dtype(nd, nd->in[1], VQ_f32);
  vq_ox_val *p = vq_ox_op2(nd, VQ_OP_pow, x, y);
  return vq_ox_result(nd, 0, vq_ox_to_dtype(nd, p, dtype));
}

vq_status vq_onnx_is_inf(vq_ox_node *nd) {
  bool negative = true, positive = true;
  if (vq_ox_attr_flag(nd, "detect_negative", &negative) ||
      vq_ox_attr_flag(nd, "detect_positive", &positive))
    return VQ_ERR;
  vq_ox_val *x = nd->in[0];
  if (negative && positive)
    x = vq_ox_op1(nd, VQ_OP_abs, x);
  float edge = positive ? INFINITY : negative ? -INFINITY : NAN;
  return vq_ox_result(nd, 0,
                      vq_ox_op2(nd, VQ_OP_equal, x, vq_ox_f32(nd, edge)));
}

// ---- activations ---------------------------------------------------------------

static vq_ox_val *gelu(vq_ox_node *nd, vq_ox_val *x, const char *form) {
  vq_attrs_gelu attrs = {.form = vq_str_of(form)};
  return vq_ox_emit(nd, VQ_OP_gelu, &attrs, 1, &x);
}

vq_status vq_onnx_gelu(vq_ox_node *nd) {
  vq_str form = VQ_LIT("none");
  if (vq_ox_attr_str(nd, "approximate", &form))
    return VQ_ERR;
  bool tanh_form = vq_str_is(form, "tanh");
  if (!tanh_form && !vq_str_is(form, "none"))
    return vq_ox_fail(nd, VQ_E_op_attribute, "attribute 'approximate' must be "
                      "none or tanh");
  return vq_ox_result(nd, 0, gelu(nd, nd->in[0], tanh_form ? "tanh" : "erf"));
}

// BiasGelu is exact, FastGelu the tanh form with an optional bias.
vq_status vq_onnx_bias_gelu(vq_ox_node *nd) {
  vq_ox_val *x = nd->in[0];
  if (vq_ox_has(nd, 1))
    x = vq_ox_op2(nd, VQ_OP_add, x, nd->in[1]);
  return vq_ox_result(nd, 0, gelu(nd, x, vq_ox_arg(nd) ? "tanh" : "erf"));
}

static vq_ox_val *swish(vq_ox_node *nd, vq_ox_val *x, float alpha) {
  if (alpha == 1.0f)
    return vq_ox_op1(nd, VQ_OP_silu, x);
  vq_ox_val *s = vq_ox_op1(nd, VQ_OP_sigmoid, vq_ox_scale(nd, x, alpha));
  return vq_ox_op2(nd, VQ_OP_mul, x, s);
}

vq_status vq_onnx_swish(vq_ox_node *nd) {
  float alpha = 1.0f;
  if (vq_ox_attr_f32(nd, "alpha", &alpha))
    return VQ_ERR;
  return vq_ox_result(nd, 0, swish(nd, nd->in[0], alpha));
}

vq_status vq_onnx_quick_gelu(vq_ox_node *nd) {
  float alpha = 1.702f;
  if (vq_ox_attr_f32(nd, "alpha", &alpha))
    return VQ_ERR;
  return vq_ox_result(nd, 0, swish(nd, nd->in[0], alpha));
}

static vq_ox_val *hard_sigmoid(vq_ox_node *nd, vq_ox_val *x, float alpha,
                               float beta) {
  vq_attrs_clip attrs = {.lo = 0, .hi = 1};
  vq_ox_val *y = vq_ox_op2(nd, VQ_OP_add, vq_ox_scale(nd, x, alpha),
                           vq_ox_f32(nd, beta));
  return vq_ox_emit(nd, VQ_OP_clip, &attrs, 1, &y);
}

vq_status vq_onnx_hard_sigmoid(vq_ox_node *nd) {
  float alpha = 0.2f, beta = 0.5f;
  if (vq_ox_attr_f32(nd, "alpha", &alpha) || vq_ox_attr_f32(nd, "beta", &beta))
    return VQ_ERR;
  return vq_ox_result(nd, 0, hard_sigmoid(nd, nd->in[0], alpha, beta));
}

vq_status vq_onnx_hard_swish(vq_ox_node *nd) {
  vq_ox_val *s = hard_sigmoid(nd, nd->in[0], 1.0f / 6.0f, 0.5f);
  return vq_ox_result(nd, 0, vq_ox_op2(nd, VQ_OP_mul, nd->in[0], s));
}

// max(x, 0) + slope * min(x, 0)
static vq_ox_val *two_slopes(vq_ox_node *nd, vq_ox_val *x, vq_ox_val *slope) {
  vq_ox_val *zero = vq_ox_f32(nd, 0);
  vq_ox_val *low = vq_ox_op2(nd, VQ_OP_mul,
                             vq_ox_op2(nd, VQ_OP_min, x, zero), slope);
  return vq_ox_op2(nd, VQ_OP_add, vq_ox_op2(nd, VQ_OP_max, x, zero), low);
}

vq_status vq_onnx_leaky_relu(vq_ox_node *nd) {
  float alpha = 0.01f;
  if (vq_ox_attr_f32(nd, "alpha", &alpha))
    return VQ_ERR;
  return vq_ox_result(nd, 0,
                      two_slopes(nd, nd->in[0], vq_ox_f32(nd, alpha)));
}

vq_status vq_onnx_prelu(vq_ox_node *nd) {
  return vq_ox_result(nd, 0, two_slopes(nd, nd->in[0], nd->in[1]));
}

// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), which cannot overflow.
vq_status vq_onnx_softplus(vq_ox_node *nd) {
  vq_ox_val *x = nd->in[0];
  vq_ox_val *e = vq_ox_op1(
      nd, VQ_OP_exp,
      vq_ox_op1(nd, VQ_OP_neg, vq_ox_op1(nd, VQ_OP_abs, x)));
  vq_ox_val *l = vq_ox_op1(
      nd, VQ_OP_log, vq_ox_op2(nd, VQ_OP_add, e, vq_ox_f32(nd, 1.0f)));
  return vq_ox_result(
      nd, 0, vq_ox_op2(nd, VQ_OP_add, vq_ox_op1(nd, VQ_OP_relu, x), l));
}

// ---- clip and cast -------------------------------------------------------------

// Bounds known now become attributes when x is float; integers, whose bounds
// may not fit f32, and other bounds become max and min.
static vq_ox_val *bound(vq_ox_node *nd, vq_ox_val *x, unsigned i,
                        vq_opcode code) {
  return vq_ox_has(nd, i) ? vq_ox_op2(nd, code, x, nd->in[i]) : x;
}

vq_status vq_onnx_clip(vq_ox_node *nd) {
  vq_ox_val *x = nd->in[0];
  vq_attrs_clip attrs = vq_default_clip();
  if (vq_ox_ready(nd->ox, nd->loc, x) ||
      vq_ox_attr_f32(nd, "min", &attrs.lo) ||
      vq_ox_attr_f32(nd, "max", &attrs.hi))
    return VQ_ERR;
  bool known = x->type->dtype == VQ_f32;
  for (unsigned i = 1; i < 3; i++)
    known &= !vq_ox_has(nd, i) || vq_ox_is_const(nd->in[i]);
  if (!known) {
    x = bound(nd, x, 1, VQ_OP_max);
    return vq_ox_result(nd, 0, bound(nd, x, 2, VQ_OP_min));
  }
  if ((vq_ox_has(nd, 1) && vq_ox_scalar_f32(nd, 1, "min", &attrs.lo)) ||
      (vq_ox_has(nd, 2) && vq_ox_scalar_f32(nd, 2, "max", &attrs.hi)))
    return VQ_ERR;
  return vq_ox_result(nd, 0, vq_ox_emit(nd, VQ_OP_clip, &attrs, 1, &x));
}

vq_status vq_onnx_cast(vq_ox_node *nd) {
  int64_t to = 0;
  vq_dtype dtype;
  if (vq_ox_attr_i64(nd, "to", &to))
    return VQ_ERR;
  if (to < 0 || to > 64 || !vq_ox_dtype((int32_t)to, &dtype))
    return vq_ox_fail(nd, VQ_E_dtype, "target type %lld (%s) is not accepted",
                      (long long)to,
                      vq_ox_data_type_name(to < 0 || to > 64 ? -1
                                                             : (int32_t)to));
  return vq_ox_result(nd, 0, vq_ox_to_dtype(nd, nd->in[0], dtype));
}

vq_status vq_onnx_cast_like(vq_ox_node *nd) {
  if (vq_ox_ready(nd->ox, nd->loc, nd->in[1]))
    return VQ_ERR;
  return vq_ox_result(
      nd, 0, vq_ox_to_dtype(nd, nd->in[0], nd->in[1]->type->dtype));
}

// ---- reductions ----------------------------------------------------------------

typedef struct reduction {
  vq_ints axes;  // ascending
  bool keep;
  bool none;  // nothing is reduced
} reduction;

// Axes come as an attribute, later as an operand; none at all means all,
// unless noop_with_empty_axes.
static vq_status read_reduction(vq_ox_node *nd, reduction *r) {
  bool found, noop = false, hit[VQ_MAX_RANK] = {false};
  vq_ints axes;
  r->keep = true;
  if (vq_ox_ready(nd->ox, nd->loc, nd->in[0]) ||
      vq_ox_ints_either(nd, "axes", 1, &axes, &found) ||
      vq_ox_attr_flag(nd, "keepdims", &r->keep) ||
      vq_ox_attr_flag(nd, "noop_with_empty_axes", &noop))
    return VQ_ERR;
  unsigned rank = nd->in[0]->type->rank;
  for (unsigned i = 0; i < axes.n; i++) {
    int64_t axis = axes.p[i];
    if (vq_ox_axis(nd, &axis, rank))
      return VQ_ERR;
    if (hit[axis])
      return vq_ox_fail(nd, VQ_E_op_attribute, "axis %lld is given twice",
                        (long long)axis);
    hit[axis] = true;
  }
  int64_t *p = VQ_NEW_N(&nd->ox->tmp, int64_t, VQ_MAX_RANK);
  uint32_t n = 0;
  for (unsigned k = 0; k < rank; k++)
    if (!axes.n || hit[k])
      p[n++] = k;
  r->axes = (vq_ints){p, n};
  r->none = (!axes.n && noop) || rank == 0;
  return VQ_OK;
}

static vq_ox_val *reduce(vq_ox_node *nd, vq_opcode code, vq_ox_val *x,
                         const reduction *r) {
  return r->none ? x : vq_ox_reduce(nd, code, x, r->axes, r->keep);
}

// The mean of integers and extremes of booleans go through a type that has
// them.
vq_status vq_onnx_reduce(vq_ox_node *nd) {
  reduction r;
  vq_opcode code = (vq_opcode)vq_ox_arg(nd);
  if (read_reduction(nd, &r))
    return VQ_ERR;
  vq_dtype dtype = nd->in[0]->type->dtype, via = dtype;
  if (dtype == VQ_bool)
    via = VQ_u8;
  else if (code == VQ_OP_reduce_mean)
    via = VQ_f32;
  vq_ox_val *x = vq_ox_to_dtype(nd, nd->in[0], via);
  return vq_ox_result(nd, 0,
                      vq_ox_to_dtype(nd, reduce(nd, code, x, &r), dtype));
}

vq_status vq_onnx_reduce_l1(vq_ox_node *nd) {
  reduction r;
  if (read_reduction(nd, &r))
    return VQ_ERR;
  vq_ox_val *x = vq_ox_op1(nd, VQ_OP_abs, nd->in[0]);
  return vq_ox_result(nd, 0, reduce(nd, VQ_OP_reduce_sum, x, &r));
}

vq_status vq_onnx_reduce_l2(vq_ox_node *nd) {
  reduction r;
  if (read_reduction(nd, &r))
    return VQ_ERR;
  vq_dtype dtype = nd->in[0]->type->dtype;
  vq_ox_val *x = vq_ox_op2(nd, VQ_OP_mul, nd->in[0], nd->in[0]);
  vq_ox_val *y = reduce(nd, VQ_OP_reduce_sum, x, &r);
  if (vq_ox_arg(nd))
    y = vq_ox_op1(nd, VQ_OP_sqrt, vq_ox_to_dtype(nd, y, VQ_f32));
  return vq_ox_result(nd, 0, vq_ox_to_dtype(nd, y, dtype));
}

// log(sum(x)), or log(sum(e^x)) with the largest x taken out first.
vq_status vq_onnx_reduce_log(vq_ox_node *nd) {
  reduction r;
  if (read_reduction(nd, &r))
    return VQ_ERR;
  vq_ox_val *x = nd->in[0], *top = NULL;
  if (vq_ox_arg(nd)) {
    reduction kept = r;
    kept.keep = true;
    x = vq_ox_op2(nd, VQ_OP_sub, x, reduce(nd, VQ_OP_reduce_max, x, &kept));
    x = vq_ox_op1(nd, VQ_OP_exp, x);
    top = reduce(nd, VQ_OP_reduce_max, nd->in[0], &r);
  }
  vq_ox_val *y = vq_ox_op1(nd, VQ_OP_log,
                           reduce(nd, VQ_OP_reduce_sum, x, &r));
  if (vq_ox_arg(nd))
    y = vq_ox_op2(nd, VQ_OP_add, y, top);
  return vq_ox_result(nd, 0, y);
}

vq_status vq_onnx_global_pool(vq_ox_node *nd) {
  vq_ox_val *x = nd->in[0];
  if (vq_ox_ready(nd->ox, nd->loc, x))
    return VQ_ERR;
  unsigned rank = x->type->rank;
  if (rank < 3)
    return vq_ox_fail(nd, VQ_E_shape, "found rank %u, expected at least 3",
                      rank);
  int64_t axes[VQ_MAX_RANK];
  for (unsigned k = 2; k < rank; k++)
    axes[k - 2] = k;
  return vq_ox_result(nd, 0, vq_ox_reduce(nd, (vq_opcode)vq_ox_arg(nd), x,
                                          (vq_ints){axes, rank - 2}, true));
}
