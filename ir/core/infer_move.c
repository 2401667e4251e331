// Type inference of structure and data movement.
#include "core/infer.h"

#define ATTRS(op) const vq_attrs_##op *a = r->attrs

// `axis` must name a dimension of `rank`.
static vq_status check_axis(vq_rule *r, int64_t axis, unsigned rank) {
  if (axis >= 0 && axis < rank) return VQ_OK;
  return vq_rule_bad_attr(r, "axis", "is %lld, expected 0 to %d",
                          (long long)axis, (int)rank - 1);
}

vq_status vq_infer_return(vq_rule *r) {
  (void)r;
  return VQ_OK;
}

vq_status vq_infer_call(vq_rule *r) {
  ATTRS(call);
  const vq_func *f = vq_module_func(r->m, a->callee);
  if (!f)
    return vq_error(r->diag, VQ_E_name, r->loc,
                    "'call' names '%.*s', which is not a function",
                    VQ_FMT(a->callee));
  if (r->n_in != f->n_arg)
    return vq_error(r->diag, VQ_E_op_operand, r->loc,
                    "'call' has %u operands, expected %u for '%.*s'", r->n_in,
                    f->n_arg, VQ_FMT(f->name));
  for (unsigned i = 0; i < f->n_arg; i++) {
    const vq_type *t = f->arg[i].type;
    const vq_type *x = vq_rule_in(r, i);
    if (x == t || (!t->q && vq_type_with(r->m->ctx, x, NULL) == t)) continue;
    if (vq_rule_dtype(r, i, t->dtype) ||
        vq_rule_shape(r, i, t->rank, t->dim))
      return VQ_ERR;
    return vq_rule_bad(r, VQ_E_type, i, "expected another quantization");
  }
  if (a->offsets.n && a->offsets.n != f->n_result)
    return vq_rule_bad_attr(r, "offsets", "has %u entries, expected %u",
                            a->offsets.n, f->n_result);
  for (unsigned i = 0; i < f->n_result; i++)
    vq_rule_result_type(r, f->result[i]);
  return VQ_OK;
}

vq_status vq_infer_copy(vq_rule *r) {
  return vq_rule_result_type(r, vq_rule_in(r, 0));
}

// The axis of the quant entry of x, -1 when there is none.
static int axis_of(const vq_type *x) {
  int axis = x->q ? vq_quant_axis(x->q, x->rank) : -1;
  return axis < x->rank ? axis : -1;
}

// A shape attribute; the element count is checked by who makes the type.
static vq_status check_dims(vq_rule *r, const char *attr, vq_ints v) {
  if (v.n > VQ_MAX_RANK)
    return vq_rule_bad_attr(r, attr, "has %u entries, expected at most %d",
                            v.n, VQ_MAX_RANK);
  return vq_rule_ints(r, attr, v, v.n, 0, (int64_t)1 << 40);
}

vq_status vq_infer_reshape(vq_rule *r) {
  ATTRS(reshape);
  const vq_type *x = vq_rule_in(r, 0);
  if (check_dims(r, "shape", a->shape)) return VQ_ERR;
  int axis = axis_of(x);
  if (axis >= 0 && x->q->axis == VQ_AXIS_LAST) {
    axis = (int)a->shape.n - 1;  // rows stay whole where they are as long
  } else {
    for (int k = 0; k < axis; k++)
      if (k >= (int)a->shape.n || a->shape.p[k] != x->dim[k]) axis = -1;
    if (axis >= (int)a->shape.n) axis = -1;
  }
  if (vq_rule_moved(r, a->shape.n, a->shape.p, axis)) return VQ_ERR;
  const vq_type *y =
      vq_type_tensor(r->m->ctx, x->dtype, a->shape.n, a->shape.p, NULL);
  if (vq_type_count(x) != vq_type_count(y))
    return vq_rule_bad(r, VQ_E_shape, 0,
                       "which has %lld elements, expected %lld as in attribute"
                       " shape",
                       (long long)vq_type_count(x),
                       (long long)vq_type_count(y));
  return VQ_OK;
}

vq_status vq_infer_transpose(vq_rule *r) {
  ATTRS(transpose);
  const vq_type *x = vq_rule_in(r, 0);
  if (vq_rule_ints(r, "perm", a->perm, x->rank, 0, (int64_t)x->rank - 1))
    return VQ_ERR;
  int64_t dim[VQ_MAX_RANK];
  unsigned seen = 0;
  int axis = -1;
  for (unsigned i = 0; i < x->rank; i++) {
    unsigned from = (unsigned)a->perm.p[i];
    if (seen & 1u << from)
      return vq_rule_bad_attr(r, "perm", "names dimension %u twice", from);
    seen |= 1u << from;
    dim[i] = x->dim[from];
    if ((int)from == axis_of(x)) axis = (int)i;
  }
  return vq_rule_moved(r, x->rank, dim, axis);
}

// The entry that a slice states must be the part it takes of that of x.
static vq_status sliced(vq_rule *r, const vq_attrs_slice *a) {
  const vq_type *x = vq_rule_in(r, 0);
  int axis = axis_of(x);
  if (!a->q) {
    bool forward = axis < 0 || !a->step.n || a->step.p[axis] == 1;
    return vq_rule_moved(r, x->rank, a->size.p, forward ? axis : -1);
  }
  const vq_quant *of = x->q, *q = a->q;
  int to = vq_quant_axis(q, x->rank);
  if (axis < 0 || of->n != x->dim[axis] || q->store != x->dtype || q->lo != of->lo ||
      q->hi != of->hi || !(to < 0 || (to == axis && q->n == a->size.p[axis])))
    return vq_rule_bad(r, VQ_E_type, 0, "no part of which has entry @%.*s",
                       VQ_FMT(q->name));
  for (int64_t i = 0; i < a->size.p[axis]; i++) {
    int64_t k = a->begin.p[axis] + (a->step.n ? i * a->step.p[axis] : i), n = to < 0 ? 0 : i;
    if (q->scale[n] != of->scale[k] || q->zero[n] != of->zero[k])
      return vq_rule_bad(r, VQ_E_type, 0,
                         "whose scale or zero point %lld is another than %lld of @%.*s",
                         (long long)k, (long long)n, VQ_FMT(q->name));
  }
  const vq_type *t = vq_type_tensor(r->m->ctx, x->dtype, x->rank, a->size.p, q);
  return vq_rule_result_type(r, t);
}

vq_status vq_infer_slice(vq_rule *r) {
  ATTRS(slice);
  const vq_type *x = vq_rule_in(r, 0);
  const int64_t max = (int64_t)1 << 40;
  if (vq_rule_ints(r, "begin", a->begin, x->rank, 0, max) ||
      vq_rule_ints(r, "size", a->size, x->rank, 0, max) ||
      (a->step.n && vq_rule_ints(r, "step", a->step, x->rank, -max, max)))
    return VQ_ERR;
  for (unsigned i = 0; i < x->rank; i++) {
    int64_t size = a->size.p[i], begin = a->begin.p[i];
    int64_t step = a->step.n ? a->step.p[i] : 1, span, last;
    if (step == 0)
      return vq_rule_bad_attr(r, "step", "is 0 in dimension %u", i);
    if (size == 0) continue;
    if (__builtin_mul_overflow(size - 1, step, &span) ||
        __builtin_add_overflow(begin, span, &last) || begin >= x->dim[i] ||
        last < 0 || last >= x->dim[i])
      return vq_rule_bad(r, VQ_E_shape, 0,
                         "too small in dimension %u for begin %lld, size %lld,"
                         " step %lld",
                         i, (long long)begin, (long long)size,
                         (long long)step);
  }
  return sliced(r, a);
}

vq_status vq_infer_concat(vq_rule *r) {
  ATTRS(concat);
  if (r->n_in == 0)
    return vq_error(r->diag, VQ_E_op_operand, r->loc,
                    "'concat' has 0 operands, expected 1 or more");
  const vq_type *first = vq_rule_in(r, 0);
  if (check_axis(r, a->axis, first->rank)) return VQ_ERR;
  int64_t dim[VQ_MAX_RANK], sum = 0;
  memcpy(dim, first->dim, sizeof dim);
  for (unsigned i = 0; i < r->n_in; i++) {
    const vq_type *x = vq_rule_in(r, i);
    if (vq_rule_dtype(r, i, first->dtype) || vq_rule_rank(r, i, first->rank))
      return VQ_ERR;
    dim[a->axis] = x->dim[a->axis];
    if (vq_rule_shape(r, i, first->rank, dim)) return VQ_ERR;
    if (!vq_quant_equal(x->q, first->q)) {
      if (!first->q) return vq_rule_bad(r, VQ_E_type, i, "expected plain numbers as before");
      return vq_rule_bad(r, VQ_E_type, i, "expected codes of @%.*s: requantize them",
                         VQ_FMT(first->q->name));
    }
    if (__builtin_add_overflow(sum, x->dim[a->axis], &sum)) sum = INT64_MAX;
  }
  dim[a->axis] = sum;
  return vq_rule_moved(r, first->rank, dim, axis_of(first));
}

vq_status vq_infer_expand(vq_rule *r) {
  ATTRS(expand);
  const vq_type *x = vq_rule_in(r, 0);
  if (check_dims(r, "shape", a->shape)) return VQ_ERR;
  for (unsigned k = 1; k <= x->rank; k++) {  // from the last dimension
    int64_t d = x->dim[x->rank - k];
    if (k > a->shape.n || (d != 1 && d != a->shape.p[a->shape.n - k]))
      return vq_rule_bad(r, VQ_E_shape, 0,
                         "which does not broadcast to attribute shape in"
                         " dimension %u",
                         x->rank - k);
  }
  int axis = axis_of(x);
  if (axis >= 0) axis += (int)a->shape.n - x->rank;
  return vq_rule_moved(r, a->shape.n, a->shape.p, axis);
}

vq_status vq_infer_gather(vq_rule *r) {
  ATTRS(gather);
  const vq_type *x = vq_rule_in(r, 0), *index = vq_rule_in(r, 1);
  if (vq_rule_min_rank(r, 0, 1) || check_axis(r, a->axis, x->rank))
    return VQ_ERR;
  int64_t dim[2 * VQ_MAX_RANK];
  unsigned n = 0;
  for (unsigned i = 0; i < a->axis; i++) dim[n++] = x->dim[i];
  for (unsigned i = 0; i < index->rank; i++) dim[n++] = index->dim[i];
  for (unsigned i = (unsigned)a->axis + 1; i < x->rank; i++)
    dim[n++] = x->dim[i];
  int axis = axis_of(x);
  if (axis == a->axis) axis = -1;
  if (axis > a->axis) axis += index->rank - 1;
  return vq_rule_moved(r, n, dim, axis);
}

vq_status vq_infer_gather_rows(vq_rule *r) {
  ATTRS(gather_rows);
  const vq_type *x = vq_rule_in(r, 0), *table = vq_rule_in(r, 1);
  if (vq_rule_min_rank(r, 0, 1) || vq_rule_dtype(r, 1, VQ_i32) ||
      vq_rule_rank(r, 1, 1))
    return VQ_ERR;
  int64_t cols = x->dim[x->rank - 1], rows = 1, n;
  for (unsigned k = 0; k + 1 < x->rank; k++) rows *= x->dim[k];
  if (a->groups < 1 || rows % a->groups)
    return vq_rule_bad_attr(r, "groups", "is %lld, expected a divisor of the"
                            " %lld rows of x",
                            (long long)a->groups, (long long)rows);
  if (__builtin_mul_overflow(table->dim[0], a->groups, &n)) n = INT64_MAX;
  return vq_rule_moved(r, 2, (int64_t[]){n, cols}, axis_of(x) + 1 == x->rank ? 1 : -1);
}

vq_status vq_infer_pad(vq_rule *r) {
  ATTRS(pad);
  const vq_type *x = vq_rule_in(r, 0);
  const int64_t max = (int64_t)1 << 40;
  if (vq_rule_ints(r, "lo", a->lo, x->rank, 0, max) ||
      vq_rule_ints(r, "hi", a->hi, x->rank, 0, max))
    return VQ_ERR;
  int64_t dim[VQ_MAX_RANK];
  for (unsigned i = 0; i < x->rank; i++)
    dim[i] = a->lo.p[i] + x->dim[i] + a->hi.p[i];
  return vq_rule_moved(r, x->rank, dim, axis_of(x));
}

vq_status vq_infer_cast(vq_rule *r) {
  ATTRS(cast);
  const vq_type *x = vq_rule_in(r, 0);
  vq_dtype to;
  if (!vq_dtype_parse(a->to, &to))
    return vq_rule_bad_attr(r, "to", "is '%.*s', expected an element type",
                            VQ_FMT(a->to));
  if ((to == VQ_bf16) != (x->dtype == VQ_bf16) && x->dtype != VQ_f32 && to != VQ_f32)
    return vq_rule_bad_attr(r, "to", "is %s, but bf16 becomes f32 only, and f32 bf16",
                            vq_dtype_name(to));
  return vq_rule_result(r, to, x->rank, x->dim);
}
