// Ops that only move elements: copies along strides, exact for every type.
#include "eval/eval_ops.h"

// Copies one row of `n` elements; steps may be anything, from 0 to negative.
static void copy_row(vq_dtype t, void *dst, int64_t to, int64_t to_step,
                     const void *src, int64_t from, int64_t from_step,
                     int64_t n) {
  int64_t size = vq_dtype_bits(t) / 8;
  if (size == 0) {
    for (int64_t i = 0; i < n; i++)
      vq_store_i64(t, dst, to + i * to_step,
                   vq_load_i64(t, src, from + i * from_step));
    return;
  }
  char *d = (char *)dst + to * size;
  const char *s = (const char *)src + from * size;
  if (to_step == 1 && from_step == 1) {
    memcpy(d, s, (size_t)(n * size));
    return;
  }
  for (int64_t i = 0; i < n; i++)
    memcpy(d + i * to_step * size, s + i * from_step * size, (size_t)size);
}

// Copies an index space: tensor 0 of the walk is `src`, tensor 1 is `dst`.
static void copy_walk(vq_walk *w, vq_dtype t, void *dst, const void *src) {
  for (bool more = vq_walk_rows(w); more; more = vq_walk_next(w))
    copy_row(t, dst, w->at[1], w->step[1], src, w->at[0], w->step[0], w->n);
}

// A walk over the shape of `t`, whose strides go to tensor `which`.
static vq_walk walk_over(const vq_type *t, unsigned which) {
  vq_walk w = {.rank = t->rank, .n_tensor = 2};
  memcpy(w.dim, t->dim, sizeof w.dim);
  vq_type_strides(t, w.stride[which]);
  return w;
}

vq_status vq_eval_copy(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                       vq_diag *diag) {
  (void)op, (void)diag;
  memcpy(out->data, in->data, (size_t)vq_type_bytes(out->type));
  return VQ_OK;
}

vq_status vq_eval_reshape(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                          vq_diag *diag) {
  return vq_eval_copy(op, in, out, diag);
}

vq_status vq_eval_transpose(const vq_op *op, const vq_tensor *in,
                            vq_tensor *out, vq_diag *diag) {
  (void)diag;
  vq_ints perm = VQ_ATTRS(op, transpose)->perm;
  int64_t stride[VQ_MAX_RANK];
  vq_type_strides(in->type, stride);
  vq_walk w = walk_over(out->type, 1);
  for (unsigned k = 0; k < w.rank; k++) w.stride[0][k] = stride[perm.p[k]];
  copy_walk(&w, out->type->dtype, out->data, in->data);
  return VQ_OK;
}

vq_status vq_eval_slice(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                        vq_diag *diag) {
  (void)diag;
  const vq_attrs_slice *a = VQ_ATTRS(op, slice);
  int64_t stride[VQ_MAX_RANK];
  vq_type_strides(in->type, stride);
  vq_walk w = walk_over(out->type, 1);
  for (unsigned k = 0; k < w.rank; k++) {
    w.stride[0][k] = stride[k] * (a->step.n ? a->step.p[k] : 1);
    w.at[0] += stride[k] * a->begin.p[k];
  }
  copy_walk(&w, out->type->dtype, out->data, in->data);
  return VQ_OK;
}

vq_status vq_eval_concat(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                         vq_diag *diag) {
  (void)diag;
  unsigned axis = (unsigned)VQ_ATTRS(op, concat)->axis;
  int64_t stride[VQ_MAX_RANK], at = 0;
  vq_type_strides(out->type, stride);
  for (unsigned i = 0; i < op->n_in; i++) {
    vq_walk w = walk_over(in[i].type, 0);
    memcpy(w.stride[1], stride, sizeof stride);
    w.at[1] = at * stride[axis];
    copy_walk(&w, out->type->dtype, out->data, in[i].data);
    at += in[i].type->dim[axis];
  }
  return VQ_OK;
}

vq_status vq_eval_expand(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                         vq_diag *diag) {
  (void)op, (void)diag;
  vq_walk w = walk_over(out->type, 1);
  vq_walk_broadcast(in->type, w.rank, w.stride[0]);
  copy_walk(&w, out->type->dtype, out->data, in->data);
  return VQ_OK;
}

vq_status vq_eval_gather(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                         vq_diag *diag) {
  const vq_type *x = in[0].type;
  unsigned axis = (unsigned)VQ_ATTRS(op, gather)->axis;
  int64_t n_index = vq_type_count(in[1].type), outer = 1, inner = 1;
  for (unsigned k = 0; k < axis; k++) outer *= x->dim[k];
  for (unsigned k = axis + 1; k < x->rank; k++) inner *= x->dim[k];
  for (int64_t i = 0; i < n_index; i++) {
    int64_t index = vq_load_i64(in[1].type->dtype, in[1].data, i);
    if (index < 0 || index >= x->dim[axis])
      return vq_error(diag, VQ_E_op_operand, op->loc,
                      "gather: index %lld is outside dimension %u of x, which "
                      "has %lld elements",
                      (long long)index, axis, (long long)x->dim[axis]);
    for (int64_t o = 0; o < outer; o++)
      copy_row(x->dtype, out->data, (o * n_index + i) * inner, 1, in[0].data,
               (o * x->dim[axis] + index) * inner, 1, inner);
  }
  return VQ_OK;
}

vq_status vq_eval_gather_rows(const vq_op *op, const vq_tensor *in,
                              vq_tensor *out, vq_diag *diag) {
  const vq_attrs_gather_rows *a = VQ_ATTRS(op, gather_rows);
  const vq_type *x = in[0].type;
  int64_t n = in[1].type->dim[0], cols = x->dim[x->rank - 1];
  int64_t m = vq_type_count(x) / (cols ? cols : 1) / a->groups;
  for (int64_t r = 0; r < out->type->dim[0]; r++) {
    int64_t from = vq_load_i64(VQ_i32, in[1].data, r % n);
    if (from == -1 && a->pad) {
      for (int64_t i = 0; i < cols; i++)
        vq_store_f64(x->dtype, out->data, r * cols + i, (double)a->value);
      continue;
    }
    if (from < 0 || from >= m)
      return vq_error(diag, VQ_E_op_operand, op->loc,
                      "gather_rows: entry %lld of the table is %lld, expected a"
                      " row number below %lld",
                      (long long)(r % n), (long long)from, (long long)m);
    copy_row(x->dtype, out->data, r * cols, 1, in[0].data,
             (r / n * m + from) * cols, 1, cols);
  }
  return VQ_OK;
}

vq_status vq_eval_pad(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                      vq_diag *diag) {
  (void)diag;
  const vq_attrs_pad *a = VQ_ATTRS(op, pad);
  int64_t n = vq_type_count(out->type);
  for (int64_t i = 0; i < n; i++)
    vq_store_f64(out->type->dtype, out->data, i, (double)a->value);
  vq_walk w = walk_over(in->type, 0);
  vq_type_strides(out->type, w.stride[1]);
  for (unsigned k = 0; k < w.rank; k++)
    w.at[1] += w.stride[1][k] * a->lo.p[k];
  copy_walk(&w, out->type->dtype, out->data, in->data);
  return VQ_OK;
}
