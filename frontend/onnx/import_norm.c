// Normalizations, all in terms of the IR's layer_norm over the last dimension
// or of plain arithmetic.
#include "import.h"

#include "vq/eval.h"

static const char no_statistics[] =
    "the statistics of a normalization are not computed";

// A vector of n from something that broadcasts to `shape`, n elements.
static vq_ox_val *as_vector(vq_ox_node *nd, vq_ox_val *v, unsigned rank,
                            const int64_t *shape) {
  int64_t n = 1;
  for (unsigned k = 0; k < rank; k++)
    n *= shape[k];
  return vq_ox_reshape(nd, vq_ox_expand_to(nd, v, rank, shape), 1, &n);
}

vq_ox_val *vq_ox_norm_last(vq_ox_node *nd, vq_ox_val *x, vq_ox_val *gamma,
                           vq_ox_val *beta, float eps) {
  vq_attrs_layer_norm attrs = {.eps = eps};
  vq_ox_val *in[] = {x, gamma, beta};
  if (!x)
    return NULL;
  if (beta && !gamma) {
    const vq_type *t = x->type;
    in[1] = vq_ox_fill(nd, vq_type_tensor(nd->ox->ctx, VQ_f32, 1,
                                          &t->dim[t->rank - 1], NULL), 1.0);
  }
  return vq_ox_emit(nd, VQ_OP_layer_norm, &attrs, beta ? 3 : gamma ? 2 : 1,
                    in);
}

// The shape [product before axis, product from axis on].
static void rows_of(const vq_type *t, int64_t axis, int64_t dim[2]) {
  dim[0] = dim[1] = 1;
  for (unsigned k = 0; k < t->rank; k++)
    dim[k >= axis] *= t->dim[k];
}

// Results 1 and 2, if the node names them: mean and 1 / sqrt(var + eps) over
// the dimensions from `axis` on. Exporters may name them without using them.
static vq_status statistics(vq_ox_node *nd, vq_ox_val *x, int64_t axis,
                            float eps) {
  int64_t axes[VQ_MAX_RANK];
  uint32_t n = 0;
  bool named = false;
  for (unsigned i = 1; i < nd->n_out; i++)
    named |= *nd->proto->output[i] != '\0';
  if (!named)
    return VQ_OK;
  for (unsigned k = (unsigned)axis; k < x->type->rank; k++)
    axes[n++] = k;
  vq_ints over = {axes, n};
  vq_ox_val *mean = vq_ox_reduce(nd, VQ_OP_reduce_mean, x, over, true);
  vq_ox_val *d = vq_ox_op2(nd, VQ_OP_sub, x, mean);
  vq_ox_val *var = vq_ox_reduce(nd, VQ_OP_reduce_mean,
                                vq_ox_op2(nd, VQ_OP_mul, d, d), over, true);
  vq_ox_val *root = vq_ox_op1(
      nd, VQ_OP_sqrt, vq_ox_op2(nd, VQ_OP_add, var, vq_ox_f32(nd, eps)));
  if (vq_ox_result(nd, 1, mean))
    return VQ_ERR;
  return vq_ox_result(nd, 2,
                      vq_ox_op2(nd, VQ_OP_div, vq_ox_f32(nd, 1), root));
}

vq_status vq_onnx_layer_norm(vq_ox_node *nd) {
  int64_t axis = -1, stash = 1, rows[2];
  float eps = 1e-5f;
  vq_ox_val *x = nd->in[0];
  if (vq_ox_ready(nd->ox, nd->loc, x) || vq_ox_attr_i64(nd, "axis", &axis) ||
      vq_ox_attr_f32(nd, "epsilon", &eps) ||
      vq_ox_attr_i64(nd, "stash_type", &stash) ||
      vq_ox_axis(nd, &axis, x->type->rank))
    return VQ_ERR;
  const vq_type *t = x->type;
  unsigned tail = t->rank - (unsigned)axis;
  vq_ox_val *gamma = as_vector(nd, nd->in[1], tail, t->dim + axis), *beta = NULL;
  if (!gamma)
    return VQ_ERR;
  if (vq_ox_has(nd, 2) &&
      !(beta = as_vector(nd, nd->in[2], tail, t->dim + axis)))
    return VQ_ERR;
  if (statistics(nd, x, axis, eps))
    return VQ_ERR;
  rows_of(t, axis, rows);
  if (tail > 1)
    x = vq_ox_reshape(nd, x, 2, rows);
  vq_ox_val *y = vq_ox_norm_last(nd, x, gamma, beta, eps);
  return vq_ox_result(nd, 0, vq_ox_reshape(nd, y, t->rank, t->dim));
}

vq_status vq_onnx_rms_norm(vq_ox_node *nd) {
  int64_t axis = -1, stash = 1, axes[VQ_MAX_RANK];
  float eps = 1e-5f;
  vq_ox_val *x = nd->in[0];
  if (vq_ox_ready(nd->ox, nd->loc, x) || vq_ox_attr_i64(nd, "axis", &axis) ||
      vq_ox_attr_f32(nd, "epsilon", &eps) ||
      vq_ox_attr_i64(nd, "stash_type", &stash) ||
      vq_ox_axis(nd, &axis, x->type->rank))
    return VQ_ERR;
  uint32_t n = 0;
  for (unsigned k = (unsigned)axis; k < x->type->rank; k++)
    axes[n++] = k;
  vq_ox_val *square = vq_ox_reduce(nd, VQ_OP_reduce_mean,
                                   vq_ox_op2(nd, VQ_OP_mul, x, x),
                                   (vq_ints){axes, n}, true);
  vq_ox_val *root = vq_ox_op1(
      nd, VQ_OP_sqrt, vq_ox_op2(nd, VQ_OP_add, square, vq_ox_f32(nd, eps)));
  vq_ox_val *y = vq_ox_op2(nd, VQ_OP_div, x, root);
  vq_ox_no_result(nd, 1, no_statistics);
  return vq_ox_result(nd, 0, vq_ox_op2(nd, VQ_OP_mul, y, nd->in[1]));
}

// com.microsoft: norm(x + skip + bias) * gamma + beta; result 3 is the sum.
vq_status vq_onnx_skip_layer_norm(vq_ox_node *nd) {
  float eps = 1e-12f;
  if (vq_ox_attr_f32(nd, "epsilon", &eps))
    return VQ_ERR;
  vq_ox_val *sum = vq_ox_op2(nd, VQ_OP_add, nd->in[0], nd->in[1]);
  if (vq_ox_has(nd, 4))
    sum = vq_ox_op2(nd, VQ_OP_add, sum, nd->in[4]);
  vq_ox_no_result(nd, 1, no_statistics);
  vq_ox_no_result(nd, 2, no_statistics);
  if (vq_ox_result(nd, 3, sum))
    return VQ_ERR;
  return vq_ox_result(nd, 0, vq_ox_norm_last(
      nd, sum, nd->in[2], vq_ox_has(nd, 3) ? nd->in[3] : NULL, eps));
}

// ---- per channel ---------------------------------------------------------------

// A value per channel of [N, C, ...] in a shape that broadcasts to it.
static vq_ox_val *per_channel(vq_ox_node *nd, vq_ox_val *v, const vq_type *x) {
  int64_t dim[VQ_MAX_RANK] = {1, x->dim[1], 1, 1, 1, 1, 1, 1};
  return vq_ox_reshape(nd, v, x->rank, dim);
}

static vq_status channels(vq_ox_node *nd, unsigned least) {
  if (vq_ox_ready(nd->ox, nd->loc, nd->in[0]))
    return VQ_ERR;
  if (nd->in[0]->type->rank < least)
    return vq_ox_fail(nd, VQ_E_shape, "found rank %u, expected at least %u",
                      nd->in[0]->type->rank, least);
  return VQ_OK;
}

// Normalizes [N, group, rest] and applies scale and bias per channel; before
// opset 21 GroupNormalization had one of each per group.
static vq_ox_val *grouped(vq_ox_node *nd, int64_t group, float eps,
                          bool per_group) {
  const vq_type *t = nd->in[0]->type;
  int64_t n = 1;
  for (unsigned k = 1; k < t->rank; k++)
    n *= t->dim[k];
  int64_t dim[3] = {t->dim[0], group, n / group};
  vq_ox_val *y = vq_ox_reshape(nd, nd->in[0], 3, dim);
  y = vq_ox_norm_last(nd, y, NULL, NULL, eps);
  vq_ox_val *scale = nd->in[1], *bias = nd->in[2];
  if (per_group) {
    int64_t vec[3] = {1, group, 1};
    y = vq_ox_op2(nd, VQ_OP_mul, y, vq_ox_reshape(nd, scale, 3, vec));
    y = vq_ox_op2(nd, VQ_OP_add, y, vq_ox_reshape(nd, bias, 3, vec));
    return vq_ox_reshape(nd, y, t->rank, t->dim);
  }
  y = vq_ox_reshape(nd, y, t->rank, t->dim);
  y = vq_ox_op2(nd, VQ_OP_mul, y, per_channel(nd, scale, t));
  return vq_ox_op2(nd, VQ_OP_add, y, per_channel(nd, bias, t));
}

vq_status vq_onnx_group_norm(vq_ox_node *nd) {
  int64_t group = 0, stash = 1;
  float eps = 1e-5f;
  if (channels(nd, 2) || vq_ox_attr_i64(nd, "num_groups", &group) ||
      vq_ox_attr_f32(nd, "epsilon", &eps) ||
      vq_ox_attr_i64(nd, "stash_type", &stash))
    return VQ_ERR;
  int64_t c = nd->in[0]->type->dim[1];
  if (group < 1 || c % group)
    return vq_ox_fail(nd, VQ_E_op_attribute, "%lld channels do not divide into "
                      "%lld groups", (long long)c, (long long)group);
  return vq_ox_result(nd, 0, grouped(nd, group, eps, nd->opset < 21));
}

vq_status vq_onnx_instance_norm(vq_ox_node *nd) {
  float eps = 1e-5f;
  if (channels(nd, 3) || vq_ox_attr_f32(nd, "epsilon", &eps))
    return VQ_ERR;
  int64_t c = nd->in[0]->type->dim[1];
  if (c < 1)
    return vq_ox_fail(nd, VQ_E_shape, "there are no channels");
  return vq_ox_result(nd, 0, grouped(nd, c, eps, false));
}

// y = x * a + (b - mean * a) with a = scale / sqrt(var + eps): two constants.
vq_status vq_onnx_batch_norm(vq_ox_node *nd) {
  float eps = 1e-5f, momentum = 0;
  bool training = false;
  if (channels(nd, 2) || vq_ox_attr_f32(nd, "epsilon", &eps) ||
      vq_ox_attr_f32(nd, "momentum", &momentum) ||
      vq_ox_attr_flag(nd, "training_mode", &training))
    return VQ_ERR;
  if (training)
    return vq_ox_fail(nd, VQ_E_unsupported, "training mode is not accepted");
  const vq_type *t = nd->in[0]->type;
  vq_ox_val *deviation = vq_ox_op1(
      nd, VQ_OP_sqrt,
      vq_ox_op2(nd, VQ_OP_add, nd->in[4], vq_ox_f32(nd, eps)));
  vq_ox_val *a = vq_ox_op2(nd, VQ_OP_div, nd->in[1], deviation);
  vq_ox_val *b = vq_ox_op2(nd, VQ_OP_sub, nd->in[2],
                           vq_ox_op2(nd, VQ_OP_mul, nd->in[3], a));
  vq_ox_val *y = vq_ox_op2(nd, VQ_OP_mul, nd->in[0], per_channel(nd, a, t));
  for (unsigned i = 1; i < nd->n_out; i++)
    vq_ox_no_result(nd, i, no_statistics);
  return vq_ox_result(nd, 0,
                      vq_ox_op2(nd, VQ_OP_add, y, per_channel(nd, b, t)));
}

// What has size 0 stays 0.
vq_status vq_onnx_lp_norm(vq_ox_node *nd) {
  int64_t axis = -1, p = 2;
  vq_ox_val *x = nd->in[0];
  if (vq_ox_ready(nd->ox, nd->loc, x) || vq_ox_attr_i64(nd, "axis", &axis) ||
      vq_ox_attr_i64(nd, "p", &p) || vq_ox_axis(nd, &axis, x->type->rank))
    return VQ_ERR;
  if (p != 1 && p != 2)
    return vq_ox_fail(nd, VQ_E_op_attribute, "attribute 'p' is %lld, expected "
                      "1 or 2", (long long)p);
  vq_ox_val *size = p == 1 ? vq_ox_op1(nd, VQ_OP_abs, x)
                           : vq_ox_op2(nd, VQ_OP_mul, x, x);
  size = vq_ox_reduce(nd, VQ_OP_reduce_sum, size, (vq_ints){&axis, 1}, true);
  if (p == 2)
    size = vq_ox_op1(nd, VQ_OP_sqrt, size);
  vq_ox_val *none = vq_ox_op2(nd, VQ_OP_equal, size, vq_ox_f32(nd, 0));
  size = vq_ox_select(nd, none, vq_ox_f32(nd, 1), size);
  return vq_ox_result(nd, 0, vq_ox_op2(nd, VQ_OP_div, x, size));
}
