// Operators whose result is a constant, and those understood but refused.
#include "import.h"

#include <math.h>

#include "vq/eval.h"

// ---- Constant ------------------------------------------------------------------

static vq_ox_val *tensor_attr(vq_ox_node *nd, const char *name) {
  const Onnx__AttributeProto *a = vq_ox_attr(nd, name);
  if (!a->t) {
    vq_ox_fail(nd, VQ_E_op_attribute, "attribute '%s' holds no tensor", name);
    return NULL;
  }
  vq_ox_val *v = vq_ox_tensor_declare(nd->ox, nd->loc, a->t);
  if (v)
    v->name.n = 0;  // the result's name is the one that is unique
  return v;
}

static vq_ox_val *floats_attr(vq_ox_node *nd) {
  const Onnx__AttributeProto *a = vq_ox_attr(nd, "value_floats");
  int64_t n = (int64_t)a->n_floats;
  void *data;
  vq_ox_val *v = vq_ox_const(nd, VQ_f32, 1, &n, &data);
  if (v && n)
    memcpy(data, a->floats, (size_t)n * sizeof(float));
  return v;
}

vq_status vq_onnx_constant(vq_ox_node *nd) {
  vq_ox_val *v = NULL;
  int64_t i = 0;
  float f = 0;
  vq_ints ints = VQ_NO_INTS;
  if (nd->proto->n_attribute != 1)
    return vq_ox_fail(nd, VQ_E_op_attribute, "found %zu attributes, expected "
                      "one", nd->proto->n_attribute);
  if (vq_ox_attr_i64(nd, "value_int", &i) ||
      vq_ox_attr_f32(nd, "value_float", &f) ||
      vq_ox_attr_ints(nd, "value_ints", &ints))
    return VQ_ERR;
  if (vq_ox_attr(nd, "value"))
    v = tensor_attr(nd, "value");
  else if (vq_ox_attr(nd, "value_int"))
    v = vq_ox_reshape(nd, vq_ox_vec_i64(nd, 1, &i), 0, NULL);
  else if (vq_ox_attr(nd, "value_float"))
    v = vq_ox_f32(nd, f);
  else if (vq_ox_attr(nd, "value_ints"))
    v = vq_ox_vec_i64(nd, ints.n, ints.p);
  else if (vq_ox_attr(nd, "value_floats"))
    v = floats_attr(nd);
  else
    return vq_ox_fail(nd, VQ_E_dtype, "strings are not accepted");
  return vq_ox_result(nd, 0, v);
}

// Without `value` the schema says one float32 zero.
vq_status vq_onnx_constant_of_shape(vq_ox_node *nd) {
  vq_ints shape;
  vq_dtype dtype = VQ_f32;
  double value = 0;
  if (vq_ox_ints(nd, 0, "input", &shape))
    return VQ_ERR;
  if (shape.n > VQ_MAX_RANK)
    return vq_ox_fail(nd, VQ_E_shape, "the rank is %u, expected at most %d",
                      shape.n, VQ_MAX_RANK);
  if (vq_ox_attr(nd, "value")) {
    vq_ox_val *v = tensor_attr(nd, "value");
    if (!v || vq_ox_ready(nd->ox, nd->loc, v))
      return VQ_ERR;
    if (vq_type_count(v->type) != 1)
      return vq_ox_fail(nd, VQ_E_op_attribute, "attribute 'value' has %lld "
                        "elements, expected one",
                        (long long)vq_type_count(v->type));
    dtype = v->type->dtype;
    value = vq_load_f64(dtype, v->data, 0);
    if (dtype == VQ_i64) {  // beyond 2^53 only this is exact
      int64_t exact = vq_load_i64(dtype, v->data, 0);
      void *data;
      v = vq_ox_const(nd, dtype, shape.n, shape.p, &data);
      for (int64_t i = 0; v && i < vq_type_count(v->type); i++)
        vq_store_i64(dtype, data, i, exact);
      return vq_ox_result(nd, 0, v);
    }
  }
  const vq_type *type =
      vq_type_tensor(nd->ox->ctx, dtype, shape.n, shape.p, NULL);
  if (!type)
    return vq_ox_fail(nd, VQ_E_shape, "the shape has a negative or enormous "
                      "dimension");
  return vq_ox_result(nd, 0, vq_ox_fill(nd, type, value));
}

// ---- generated -----------------------------------------------------------------

vq_status vq_onnx_range(vq_ox_node *nd) {
  static const char *const names[] = {"start", "limit", "delta"};
  double v[3];
  vq_dtype dtype = VQ_f32;
  for (unsigned i = 0; i < 3; i++) {
    float ignored;
    if (vq_ox_scalar_f32(nd, i, names[i], &ignored))
      return VQ_ERR;
    dtype = nd->in[0]->type->dtype;
    v[i] = vq_load_f64(nd->in[i]->type->dtype, nd->in[i]->data, 0);
  }
  double count = v[2] == 0 ? NAN : ceil((v[1] - v[0]) / v[2]);
  if (!(count < 0x1p40))
    return vq_ox_fail(nd, VQ_E_op_operand, "a range from %g to %g by %g has no "
                      "end", v[0], v[1], v[2]);
  int64_t n = count > 0 ? (int64_t)count : 0;
  void *data;
  vq_ox_val *r = vq_ox_const(nd, dtype, 1, &n, &data);
  for (int64_t i = 0; r && i < n; i++)
    vq_store_f64(dtype, data, i, v[0] + (double)i * v[2]);
  return vq_ox_result(nd, 0, r);
}

// Result [rank, n]: the positions of the nonzero elements in order.
vq_status vq_onnx_non_zero(vq_ox_node *nd) {
  if (vq_ox_need_const(nd, 0, "X"))
    return VQ_ERR;
  const vq_ox_val *x = nd->in[0];
  const vq_type *t = x->type;
  int64_t count = vq_type_count(t), n = 0, stride[VQ_MAX_RANK];
  if (vq_ox_spend(nd, (uint64_t)count * 2 * VQ_OX_FILL_WORK))
    return VQ_ERR;
  for (int64_t i = 0; i < count; i++)
    n += vq_load_f64(t->dtype, x->data, i) != 0;
  void *data;
  vq_ox_val *y = vq_ox_const(nd, VQ_i64, 2, (int64_t[]){t->rank, n}, &data);
  vq_type_strides(t, stride);
  for (int64_t i = 0, k = 0; y && i < count; i++) {
    if (vq_load_f64(t->dtype, x->data, i) == 0)
      continue;
    for (unsigned d = 0; d < t->rank; d++)
      vq_store_i64(VQ_i64, data, d * n + k, i / stride[d] % t->dim[d]);
    k++;
  }
  return vq_ox_result(nd, 0, y);
}

vq_status vq_onnx_eye_like(vq_ox_node *nd) {
  int64_t k = 0, number = 0;
  const vq_type *t = nd->in[0]->type;
  if (!t || t->rank != 2)
    return vq_ox_fail(nd, VQ_E_shape, "operand 0 must have rank 2");
  vq_dtype dtype = t->dtype;
  if (vq_ox_attr_i64(nd, "k", &k) || vq_ox_attr_i64(nd, "dtype", &number))
    return VQ_ERR;
  if (number && (number < 0 || number > 64 ||
                 !vq_ox_dtype((int32_t)number, &dtype)))
    return vq_ox_fail(nd, VQ_E_dtype, "type %lld is not accepted",
                      (long long)number);
  void *data;
  vq_ox_val *y = vq_ox_const(nd, dtype, 2, t->dim, &data);
  for (int64_t i = 0; y && i < t->dim[0]; i++)
    if (k >= -i && k < t->dim[1] - i)
      vq_store_i64(dtype, data, i * t->dim[1] + i + k, 1);
  return vq_ox_result(nd, 0, y);
}

// ---- refused -------------------------------------------------------------------

vq_status vq_onnx_refuse(vq_ox_node *nd) {
  static const char *const why[] = {
    [VQ_REFUSE_QUANTIZED] = "quantized models are not accepted yet; give the "
                            "float model, quantizing is this compiler's work",
    [VQ_REFUSE_POOL] = "windowed pooling is not accepted; only global pooling "
                       "and ReduceMean are",
    [VQ_REFUSE_LOOP] = "loops are not accepted; export the model with loops "
                       "unrolled",
    [VQ_REFUSE_RANDOM] = "random operators are not accepted; export the model "
                         "for inference",
  };
  return vq_ox_fail(nd, VQ_E_unsupported, "%s", why[vq_ox_arg(nd)]);
}
