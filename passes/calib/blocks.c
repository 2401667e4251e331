// The blocks that gradients and losses are built from.
#include "calib/blocks.h"

#include <stdio.h>

#include "vq/strbuf.h"

static const vq_str unnamed = {"", 0};

// One constant of each number, named after it.
vq_value *vq_make_k(vq_builder *b, double v) {
  float x = (float)v;
  char name[32];
  snprintf(name, sizeof name, "k%g", v);
  vq_const *c = vq_module_const(b->func->module, vq_str_of(name));
  const void *bytes = NULL;
  if (c && vq_type_is(c->value.type, VQ_f32, 0)) bytes = vq_const_bytes(c);
  if (!bytes || memcmp(bytes, &x, sizeof x) != 0)
    c = vq_const_scalar_f32(b->func->module, vq_str_of(name), x);
  return &c->value;
}

vq_value *vq_make_1(vq_builder *b, vq_opcode code, vq_value *x) {
  return vq_build_unary(b, code, x, unnamed);
}

vq_value *vq_make_2(vq_builder *b, vq_opcode code, vq_value *x, vq_value *y) {
  return vq_build_binary(b, code, x, y, unnamed);
}

vq_value *vq_make_select(vq_builder *b, vq_value *c, vq_value *x, vq_value *y) {
  return vq_build1(b, VQ_OP_select, (vq_value *[]){c, x, y}, 3, NULL, unnamed);
}

static bool same_dims(const vq_type *t, unsigned rank, const int64_t *dim) {
  return t->rank == rank && !memcmp(t->dim, dim, rank * sizeof *dim);
}

vq_value *vq_make_reshape(vq_builder *b, vq_value *x, unsigned rank, const int64_t *dim) {
  if (!x || same_dims(x->type, rank, dim)) return x;
  return vq_build_reshape(b, x, rank, dim, unnamed);
}

vq_value *vq_make_transpose(vq_builder *b, vq_value *x, const int64_t *perm) {
  return vq_build_transpose(b, x, perm, unnamed);
}

// A constant's is named after it, as fold will make it a constant, too.
vq_value *vq_make_swap(vq_builder *b, vq_value *x) {
  if (!x) return NULL;
  int64_t perm[VQ_MAX_RANK], n = x->type->rank;
  for (int64_t k = 0; k < n; k++) perm[k] = k < n - 2 ? k : 2 * n - 3 - k;
  vq_strbuf name = {0};
  if (vq_const_of(x)) vq_strbuf_printf(&name, "%.*s.t", VQ_FMT(x->name));
  vq_value *y = vq_build_transpose(b, x, perm, vq_strbuf_view(&name));
  vq_strbuf_release(&name);
  return y;
}

vq_value *vq_make_slice(vq_builder *b, vq_value *x, const int64_t *begin,
                        const int64_t *size, const int64_t *step_or_null) {
  if (!x) return NULL;
  unsigned rank = x->type->rank;
  if (!step_or_null && same_dims(x->type, rank, size)) return x;
  vq_attrs_slice a = {.begin = {begin, rank}, .size = {size, rank}};
  if (step_or_null) a.step = (vq_ints){step_or_null, rank};
  return vq_build1(b, VQ_OP_slice, &x, 1, &a, unnamed);
}

vq_value *vq_make_pad(vq_builder *b, vq_value *x, const int64_t *lo, const int64_t *hi) {
  if (!x) return NULL;
  vq_attrs_pad a = {.lo = {lo, x->type->rank}, .hi = {hi, x->type->rank}};
  return vq_build1(b, VQ_OP_pad, &x, 1, &a, unnamed);
}

vq_value *vq_make_sum(vq_builder *b, vq_value *x, unsigned axes, bool keep) {
  if (!x || !axes) return x;
  int64_t axis[VQ_MAX_RANK];
  unsigned n = 0;
  for (unsigned k = 0; k < x->type->rank; k++)
    if (axes & 1u << k) axis[n++] = k;
  vq_attrs_reduce_sum a = {.axes = {axis, n}, .keep = keep};
  return vq_build1(b, VQ_OP_reduce_sum, &x, 1, &a, unnamed);
}

vq_value *vq_make_matmul(vq_builder *b, vq_value *x, vq_value *y, bool transpose_y) {
  vq_attrs_matmul at = {.transpose_b = transpose_y};
  return vq_build1(b, VQ_OP_matmul, (vq_value *[]){x, y}, 2, &at, unnamed);
}

vq_value *vq_make_linear(vq_builder *b, vq_value *x, vq_value *w) {
  return vq_build_binary(b, VQ_OP_linear, x, w, unnamed);
}
