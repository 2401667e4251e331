// Matrix products, convolution, normalizations, softmax.
#include "import.h"

#include <math.h>

#include "vq/eval.h"

// ---- products ------------------------------------------------------------------

// numpy.matmul: a vector is a row on the left, a column on the right.
vq_status vq_onnx_matmul(vq_ox_node *nd) {
  vq_ox_val *a = nd->in[0], *b = nd->in[1];
  if (vq_ox_ready(nd->ox, nd->loc, a) || vq_ox_ready(nd->ox, nd->loc, b))
    return VQ_ERR;
  bool row = a->type->rank == 1, column = b->type->rank == 1;
  if (row)
    a = vq_ox_reshape(nd, a, 2, (int64_t[]){1, a->type->dim[0]});
  if (column)
    b = vq_ox_reshape(nd, b, 2, (int64_t[]){b->type->dim[0], 1});
  vq_ox_val *y = vq_ox_matmul(nd, a, b);
  if (!y || (!row && !column))
    return vq_ox_result(nd, 0, y);
  int64_t dim[VQ_MAX_RANK];
  unsigned n = 0, rank = y->type->rank;
  for (unsigned k = 0; k < rank; k++)
    if (!(row && k == rank - 2) && !(column && k == rank - 1))
      dim[n++] = y->type->dim[k];
  return vq_ox_result(nd, 0, vq_ox_reshape(nd, y, n, dim));
}

// a times b, or times b's transpose without moving it.
static vq_ox_val *product(vq_ox_node *nd, vq_ox_val *a, vq_ox_val *b,
                          bool transpose_b) {
  vq_attrs_matmul attrs = {.transpose_b = transpose_b};
  return vq_ox_emit(nd, VQ_OP_matmul, &attrs, 2, (vq_ox_val *[]){a, b});
}

// Rows that stand in front of the batch dimensions, back behind them.
static vq_ox_val *rows_last(vq_ox_node *nd, vq_ox_val *x) {
  int64_t perm[VQ_MAX_RANK] = {0};
  unsigned rank = x ? x->type->rank : 0;
  if (rank < 3)
    return x;
  for (unsigned k = 0; k < rank - 2; k++)
    perm[k] = k + 1;
  perm[rank - 1] = rank - 1;
  return vq_ox_transpose(nd, x, perm);
}

vq_status vq_onnx_fused_matmul(vq_ox_node *nd) {
  bool ta = false, tb = false, batch_a = false, batch_b = false;
  float alpha = 1.0f;
  if (vq_ox_attr_flag(nd, "transA", &ta) ||
      vq_ox_attr_flag(nd, "transB", &tb) ||
      vq_ox_attr_flag(nd, "transBatchA", &batch_a) ||
      vq_ox_attr_flag(nd, "transBatchB", &batch_b) ||
      vq_ox_attr_f32(nd, "alpha", &alpha) ||
      vq_ox_ready(nd->ox, nd->loc, nd->in[0]) ||
      vq_ox_ready(nd->ox, nd->loc, nd->in[1]))
    return VQ_ERR;
  vq_ox_val *a = batch_a ? rows_last(nd, nd->in[0]) : nd->in[0];
  vq_ox_val *b = batch_b ? rows_last(nd, nd->in[1]) : nd->in[1];
  vq_ox_val *y = product(nd, ta ? vq_ox_swap_last(nd, a) : a, b, tb);
  return vq_ox_result(nd, 0, vq_ox_scale(nd, y, alpha));
}

static vq_ox_val *gemm(vq_ox_node *nd) {
  bool ta = false, tb = false;
  float alpha = 1.0f, beta = 1.0f;
  if (vq_ox_attr_flag(nd, "transA", &ta) ||
      vq_ox_attr_flag(nd, "transB", &tb) ||
      vq_ox_attr_f32(nd, "alpha", &alpha) ||
      vq_ox_attr_f32(nd, "beta", &beta))
    return NULL;
  for (unsigned i = 0; i < 2; i++) {
    if (vq_ox_ready(nd->ox, nd->loc, nd->in[i]))
      return NULL;
    if (nd->in[i]->type->rank != 2) {
      vq_ox_fail(nd, VQ_E_shape, "operand %u has rank %u, expected 2", i,
                 nd->in[i]->type->rank);
      return NULL;
    }
  }
  vq_ox_val *a = ta ? vq_ox_swap_last(nd, nd->in[0]) : nd->in[0];
  vq_ox_val *y = vq_ox_scale(nd, product(nd, a, nd->in[1], tb), alpha);
  if (!y || !vq_ox_has(nd, 2))
    return y;
  const vq_type *type = y->type;
  y = vq_ox_op2(nd, VQ_OP_add, y, vq_ox_scale(nd, nd->in[2], beta));
  if (y && y->type != type) {
    vq_ox_fail(nd, VQ_E_shape, "operand 2 does not broadcast to the result");
    return NULL;
  }
  return y;
}

vq_status vq_onnx_gemm(vq_ox_node *nd) {
  return vq_ox_result(nd, 0, gemm(nd));
}

// Gemm and what follows it, as ONNX Runtime's optimiser writes them.
vq_status vq_onnx_fused_gemm(vq_ox_node *nd) {
  static const struct {
    const char *name;
    vq_opcode code;
  } known[] = {{"Relu", VQ_OP_relu}, {"Sigmoid", VQ_OP_sigmoid}, {"Tanh", VQ_OP_tanh}};
  vq_str activation = VQ_LIT("");
  if (vq_ox_attr_str(nd, "activation", &activation))
    return VQ_ERR;
  for (unsigned i = 0; i < VQ_COUNT(known); i++)
    if (vq_str_is(activation, known[i].name)) {
      vq_ox_val *y = gemm(nd);
      return vq_ox_result(nd, 0, y ? vq_ox_op1(nd, known[i].code, y) : NULL);
    }
  return vq_ox_fail(nd, VQ_E_unsupported, "activation '%.*s' is not accepted, only "
                    "Relu, Sigmoid and Tanh are",
                    VQ_FMT(vq_ox_clean_name(nd->ox, activation)));
}

// ---- convolution ---------------------------------------------------------------

typedef struct window {
  int64_t kernel[2], stride[2], dilation[2], pad[4];
  int64_t group;
} window;

// `n` numbers of an attribute for a convolution over `dims` dimensions, the
// last of which land at the end of out[].
static vq_status spatial(vq_ox_node *nd, const char *name, unsigned dims,
                         bool pairs, int64_t least, int64_t *out) {
  vq_ints v = VQ_NO_INTS;
  if (vq_ox_attr_ints(nd, name, &v))
    return VQ_ERR;
  if (!vq_ox_attr(nd, name))
    return VQ_OK;
  if (v.n != dims * (pairs ? 2 : 1))
    return vq_ox_fail(nd, VQ_E_op_attribute, "attribute '%s' has %u entries, "
                      "expected %u", name, v.n, dims * (pairs ? 2 : 1));
  for (unsigned i = 0; i < v.n; i++) {
    if (v.p[i] < least || v.p[i] > INT32_MAX)
      return vq_ox_fail(nd, VQ_E_op_attribute, "attribute '%s' has entry %lld",
                        name, (long long)v.p[i]);
    out[i / dims * 2 + 2 - dims + i % dims] = v.p[i];
  }
  return VQ_OK;
}

// SAME: as many outputs as strides fit; the odd one goes to the stated end.
static vq_status auto_pad(vq_ox_node *nd, const vq_type *x, window *w) {
  vq_str mode = VQ_LIT("NOTSET");
  if (vq_ox_attr_str(nd, "auto_pad", &mode))
    return VQ_ERR;
  bool upper = vq_str_is(mode, "SAME_UPPER"), none = vq_str_is(mode, "NOTSET");
  if (none)
    return VQ_OK;
  memset(w->pad, 0, sizeof w->pad);
  if (vq_str_is(mode, "VALID"))
    return VQ_OK;
  if (!upper && !vq_str_is(mode, "SAME_LOWER"))
    return vq_ox_fail(nd, VQ_E_op_attribute, "attribute 'auto_pad' is unknown");
  for (unsigned k = 0; k < 2; k++) {
    int64_t in = x->dim[2 + k], stride = w->stride[k];
    int64_t n = in / stride + (in % stride != 0), need;
    if (__builtin_mul_overflow(w->kernel[k] - 1, w->dilation[k], &need) ||
        __builtin_add_overflow(need, (n - 1) * stride + 1 - in, &need))
      return vq_ox_fail(nd, VQ_E_shape, "the kernel is too large");
    need = need < 0 ? 0 : need;
    w->pad[k] = upper ? need / 2 : need - need / 2;
    w->pad[2 + k] = need - w->pad[k];
  }
  return VQ_OK;
}

static vq_status read_window(vq_ox_node *nd, const vq_type *x,
                             const vq_type *weight, unsigned dims, window *w) {
  *w = (window){.stride = {1, 1}, .dilation = {1, 1}, .group = 1};
  w->kernel[0] = weight->dim[2];
  w->kernel[1] = weight->dim[3];
  int64_t stated[2] = {w->kernel[0], w->kernel[1]};
  if (spatial(nd, "kernel_shape", dims, false, 1, stated) ||
      spatial(nd, "strides", dims, false, 1, w->stride) ||
      spatial(nd, "dilations", dims, false, 1, w->dilation) ||
      spatial(nd, "pads", dims, true, 0, w->pad) ||
      vq_ox_attr_i64(nd, "group", &w->group))
    return VQ_ERR;
  if (stated[0] != w->kernel[0] || stated[1] != w->kernel[1])
    return vq_ox_fail(nd, VQ_E_op_attribute, "attribute 'kernel_shape' "
                      "contradicts the weights");
  return auto_pad(nd, x, w);
}

// One-dimensional convolutions get a height of 1.
static vq_ox_val *with_height(vq_ox_node *nd, vq_ox_val *x) {
  const int64_t *d = x->type->dim;
  return vq_ox_reshape(nd, x, 4, (int64_t[]){d[0], d[1], 1, d[2]});
}

vq_status vq_onnx_conv(vq_ox_node *nd) {
  vq_ox_val *x = nd->in[0], *weight = nd->in[1];
  window w;
  if (vq_ox_ready(nd->ox, nd->loc, x) || vq_ox_ready(nd->ox, nd->loc, weight))
    return VQ_ERR;
  unsigned rank = x->type->rank;
  if ((rank != 3 && rank != 4) || weight->type->rank != rank)
    return vq_ox_fail(nd, VQ_E_shape, "operands have rank %u and %u, expected "
                      "3 or 4 for both", rank, weight->type->rank);
  if (rank == 3) {
    x = with_height(nd, x);
    weight = with_height(nd, weight);
  }
  if (!x || !weight || read_window(nd, x->type, weight->type, rank - 2, &w))
    return VQ_ERR;
  vq_attrs_conv2d attrs = {.stride = {w.stride, 2}, .pad = {w.pad, 4},
                           .dilation = {w.dilation, 2}, .groups = w.group};
  vq_ox_val *y = vq_ox_emit(nd, VQ_OP_conv2d, &attrs, vq_ox_has(nd, 2) ? 3 : 2,
                            (vq_ox_val *[]){x, weight, nd->n_in > 2 ? nd->in[2]
                                                                    : NULL});
  if (y && rank == 3) {
    const int64_t *d = y->type->dim;
    y = vq_ox_reshape(nd, y, 3, (int64_t[]){d[0], d[1], d[3]});
  }
  return vq_ox_result(nd, 0, y);
}

// ---- softmax -------------------------------------------------------------------

vq_ox_val *vq_ox_softmax_axis(vq_ox_node *nd, vq_ox_val *x, int64_t axis) {
  vq_attrs_softmax attrs = {.axis = axis};
  return vq_ox_emit(nd, VQ_OP_softmax, &attrs, 1, &x);
}

// Before opset 13 everything from `axis` on was one dimension. Gives the
// operand in the shape in which the axis alone counts, and that axis.
static vq_ox_val *softmax_operand(vq_ox_node *nd, int64_t *axis) {
  vq_ox_val *x = nd->in[0];
  bool flat = nd->opset < 13;
  *axis = flat ? 1 : -1;
  if (vq_ox_ready(nd->ox, nd->loc, x) || vq_ox_attr_i64(nd, "axis", axis) ||
      vq_ox_axis(nd, axis, x->type->rank))
    return NULL;
  if (!flat || *axis == x->type->rank - 1)
    return x;
  int64_t dim[2] = {1, 1};
  for (unsigned k = 0; k < x->type->rank; k++)
    dim[k >= *axis] *= x->type->dim[k];
  *axis = 1;
  return vq_ox_reshape(nd, x, 2, dim);
}

static vq_status softmax_result(vq_ox_node *nd, vq_ox_val *y) {
  const vq_type *t = nd->in[0]->type;
  return vq_ox_result(nd, 0, vq_ox_reshape(nd, y, t->rank, t->dim));
}

vq_status vq_onnx_softmax(vq_ox_node *nd) {
  int64_t axis;
  vq_ox_val *x = softmax_operand(nd, &axis);
  if (!x)
    return VQ_ERR;
  return softmax_result(nd, vq_ox_softmax_axis(nd, x, axis));
}

vq_status vq_onnx_log_softmax(vq_ox_node *nd) {
  int64_t axis;
  vq_ox_val *x = softmax_operand(nd, &axis);
  if (!x)
    return VQ_ERR;
  vq_ints axes = {&axis, 1};
  vq_ox_val *top = vq_ox_reduce(nd, VQ_OP_reduce_max, x, axes, true);
  vq_ox_val *d = vq_ox_op2(nd, VQ_OP_sub, x, top);
  vq_ox_val *sum = vq_ox_reduce(nd, VQ_OP_reduce_sum,
                                vq_ox_op1(nd, VQ_OP_exp, d), axes, true);
  vq_ox_val *y = vq_ox_op2(nd, VQ_OP_sub, d, vq_ox_op1(nd, VQ_OP_log, sum));
  return y ? softmax_result(nd, y) : VQ_ERR;
}
