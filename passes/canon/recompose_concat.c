// Concat: class, distillation and register tokens; slices put side by side.
//
// Tokens that are constants merge with their neighbours, and a constant added
// to the whole (the position table) is added to the parts, so that it does not
// matter on which side of the concat an exporter added it. A concat of views
// of one source that step regularly (patch merging) is a view itself.
#include "canon/rewriter.h"

static unsigned axis_of(const vq_op *op) {
  int64_t axis = VQ_ATTRS(op, concat)->axis;
  return (unsigned)(axis < 0 ? axis + op->out[0].type->rank : axis);
}

static bool is_float_const(vq_value *v) {
  vq_const *c = vq_const_of(v);
  return c && v->type->dtype == VQ_f32 && !v->type->q &&
         c->init != VQ_INIT_MISSING;
}

// A concat inside a concat along the same axis, and constants side by side.
bool vq_rule_concat(vq_rw *rw, vq_op *op) {
  enum { MAX_IN = 64 };
  vq_value *in[MAX_IN];
  unsigned n = 0, axis = axis_of(op);
  bool any = false;
  for (unsigned i = 0; i < op->n_in; i++) {
    vq_value *v = vq_in(op, i);
    const vq_op *inner = vq_def(v, VQ_OP_concat);
    bool open = inner && vq_has_one_use(v) && axis_of(inner) == axis;
    for (unsigned k = 0; k < (open ? inner->n_in : 1); k++) {
      vq_value *x = open ? vq_in(inner, k) : v, *both = NULL;
      if (n && is_float_const(x) && is_float_const(in[n - 1]))
        both = vq_rw_fold(rw, VQ_OP_concat, (vq_value *[]){in[n - 1], x}, 2,
                          op->attrs);
      if (n + !both > MAX_IN) return false;
      in[both ? n - 1 : n++] = both ? both : x;
      any |= open || both;
    }
  }
  return any && vq_rw_replace(
      rw, op, vq_rw_build(rw, VQ_OP_concat, in, n, op->attrs), NULL);
}

// v + p[begin : begin + size], a constant when v is one.
static vq_value *plus_part(vq_rw *rw, vq_value *v, vq_value *p, int64_t *begin,
                           int64_t *size) {
  unsigned r = p->type->rank;
  vq_attrs_slice cut = {.begin = {begin, r}, .size = {size, r}};
  vq_value *in[] = {v, vq_rw_fold(rw, VQ_OP_slice, &p, 1, &cut)};
  if (!in[1]) return NULL;
  return is_float_const(v) ? vq_rw_fold(rw, VQ_OP_add, in, 2, NULL)
                           : vq_rw_build(rw, VQ_OP_add, in, 2, NULL);
}

// concat(constants, x) + p, p as long as the result: p is added to the parts.
bool vq_rule_concat_add(vq_rw *rw, vq_op *op) {
  enum { MAX_IN = 8 };
  vq_value *x, *p, *in[MAX_IN];
  bool swapped, any = false;
  if (!vq_with_const(op, &x, &p, &swapped) || !is_float_const(p)) return false;
  vq_op *cat = vq_def(x, VQ_OP_concat);
  if (!cat || cat->n_in > MAX_IN || !vq_has_one_use(x) ||
      x->type != op->out[0].type)
    return false;
  unsigned skipped = x->type->rank - p->type->rank, axis = axis_of(cat);
  if (axis < skipped || p->type->dim[axis - skipped] != x->type->dim[axis])
    return false;
  for (unsigned i = 0; i < cat->n_in; i++) any |= is_float_const(vq_in(cat, i));
  if (!any) return false;
  int64_t begin[VQ_MAX_RANK] = {0}, size[VQ_MAX_RANK];
  memcpy(size, p->type->dim, sizeof size);
  axis -= skipped;
  for (unsigned i = 0; i < cat->n_in; begin[axis] += size[axis], i++) {
    size[axis] = vq_in(cat, i)->type->dim[axis + skipped];
    in[i] = plus_part(rw, vq_in(cat, i), p, begin, size);
    if (!in[i]) return false;
  }
  return vq_rw_replace(
      rw, op, vq_rw_build(rw, VQ_OP_concat, in, cat->n_in, cat->attrs), NULL);
}

// Views of one source at regular distances, side by side, are one view.
bool vq_rule_concat_view(vq_rw *rw, vq_op *op) {
  enum { MAX_IN = 64 };
  int64_t offset[MAX_IN];
  vq_view first, v;
  vq_atom digit[VQ_MAX_DIGITS];
  vq_value *root = NULL;
  if (op->n_in < 2 || op->n_in > MAX_IN) return false;
  for (unsigned i = 0; i < op->n_in; i++) {
    vq_value *r = vq_view_root(vq_in(op, i), &v);
    if (!r || vq_const_of(r) || (i && r != root)) return false;
    root = r;
    offset[i] = v.offset;
    if (i == 0) first = v;
    v.offset = first.offset;
    if (!vq_view_equal(&v, &first)) return false;
  }
  vq_view_simplify(&first);
  int n = vq_digits(offset, op->n_in, digit);
  if (n < 1 || !vq_view_stack(&first, axis_of(op), digit, (unsigned)n))
    return false;
  return vq_rw_replace(rw, op, vq_rw_view(rw, root, &first), NULL);
}

// A gather of k, k + 1, .., n - 1, 0, .., k - 1 of n is a cyclic shift, which
// has the form of two slices and a concat.
bool vq_rule_roll(vq_rw *rw, vq_op *op) {
  vq_value *x = vq_in(op, 0), *half[2];
  vq_const *index = vq_const_of(vq_in(op, 1));
  int64_t axis = VQ_ATTRS(op, gather)->axis;
  if (axis < 0) axis += x->type->rank;
  int64_t n = x->type->dim[axis];
  if (!index || index->init == VQ_INIT_MISSING || n < 2 ||
      index->value.type->rank != 1 || index->value.type->dim[0] != n)
    return false;
  int64_t k = vq_const_i64(index, 0);
  for (int64_t i = 0; i < n; i++)
    if (vq_const_i64(index, i) != (i + k) % n) return false;
  if (k <= 0 || k >= n) return false;
  int64_t begin[VQ_MAX_RANK] = {0}, size[VQ_MAX_RANK];
  memcpy(size, x->type->dim, sizeof size);
  vq_attrs_slice cut = {.begin = {begin, x->type->rank},
                        .size = {size, x->type->rank}};
  for (unsigned i = 0; i < 2; i++) {
    begin[axis] = i ? 0 : k;
    size[axis] = i ? k : n - k;
    half[i] = vq_rw_build(rw, VQ_OP_slice, &x, 1, &cut);
    if (!half[i]) return false;
  }
  vq_attrs_concat both = {.axis = axis};
  return vq_rw_replace(rw, op, vq_rw_build(rw, VQ_OP_concat, half, 2, &both),
                       NULL);
}
