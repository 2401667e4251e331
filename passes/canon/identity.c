// What is exact: moving nothing, multiplying by 1, adding an exact zero.
//
// x + 0 is not an identity for floats, as -0 + 0 is 0; x - 0 and x + (-0) are.
// An operand is only yielded when its type is the result's, so broadcasting is
// never lost.
#include "canon/identity.h"

bool vq_const_uniform(vq_value *v, double *out) {
  vq_const *c = vq_const_of(v);
  if (!c || vq_type_count(v->type) == 0) return false;
  if (c->init == VQ_INIT_FILL) {
    *out = vq_const_f64(c, 0);
    return true;
  }
  if (c->init != VQ_INIT_BYTES) return false;
  *out = vq_const_f64(c, 0);
  int64_t n = vq_type_count(v->type);
  for (int64_t i = 1; i < n; i++) {
    double x = vq_const_f64(c, i);
    if (memcmp(&x, out, sizeof x) != 0) return false;
  }
  return true;
}

// ---- identities ---------------------------------------------------------------

static bool is_value(vq_value *v, double want) {
  double x;
  return vq_const_uniform(v, &x) && memcmp(&x, &want, sizeof x) == 0;
}

static bool all_are(vq_ints v, int64_t want) {
  for (uint32_t i = 0; i < v.n; i++)
    if (v.p[i] != want) return false;
  return true;
}

// True when the dimensions of more than one element keep their order.
static bool moves_nothing(vq_ints perm, const vq_type *x) {
  int64_t last = -1;
  for (uint32_t i = 0; i < perm.n; i++) {
    if (x->dim[perm.p[i]] == 1) continue;
    if (perm.p[i] < last) return false;
    last = perm.p[i];
  }
  return true;
}

// The zero that changes nothing when added to `x`.
static double zero_for(const vq_value *x) {
  return vq_dtype_class_of(x->type->dtype) == VQ_CLASS_FLOAT ? -0.0 : 0.0;
}

static vq_value *chosen(const vq_op *op) {
  double c;
  if (!vq_const_uniform(vq_in(op, 0), &c)) return NULL;
  return vq_in(op, c != 0 ? 1 : 2);
}

static vq_value *neutral(const vq_op *op) {
  vq_value *a = vq_in(op, 0), *b = op->n_in > 1 ? vq_in(op, 1) : NULL;
  switch (op->code) {
    case VQ_OP_copy:
    case VQ_OP_reshape:
    case VQ_OP_expand:
    case VQ_OP_cast:
    case VQ_OP_pad: return a;  // of the same type
    case VQ_OP_concat: return op->n_in == 1 ? a : NULL;
    case VQ_OP_slice:
      return all_are(VQ_ATTRS(op, slice)->step, 1) ? a : NULL;
    case VQ_OP_transpose:
      return moves_nothing(VQ_ATTRS(op, transpose)->perm, a->type) ? a : NULL;
    case VQ_OP_clip: {
      const vq_attrs_clip *at = VQ_ATTRS(op, clip);
      return at->lo == -INFINITY && at->hi == INFINITY ? a : NULL;
    }
    case VQ_OP_mul: return is_value(b, 1) ? a : is_value(a, 1) ? b : NULL;
    case VQ_OP_div: return is_value(b, 1) ? a : NULL;
    case VQ_OP_add:
      return is_value(b, zero_for(b))   ? a
             : is_value(a, zero_for(a)) ? b
                                        : NULL;
    case VQ_OP_sub: return is_value(b, 0) ? a : NULL;
    case VQ_OP_select: return chosen(op);
    default: return NULL;
  }
}

vq_value *vq_identity_of(const vq_op *op) {
  if (op->n_in == 0 || op->n_out != 1) return NULL;
  vq_value *v = neutral(op);
  return v && v->type == op->out->type ? v : NULL;
}

// ---- pairs --------------------------------------------------------------------

static vq_op *merged_slices(const vq_op *op, const vq_op *first,
                            vq_builder *b) {
  const vq_attrs_slice *outer = VQ_ATTRS(op, slice);
  const vq_attrs_slice *inner = VQ_ATTRS(first, slice);
  vq_value *x = vq_in(first, 0);
  int64_t begin[VQ_MAX_RANK], step[VQ_MAX_RANK];
  unsigned n = outer->begin.n;
  for (unsigned k = 0; k < n; k++) {
    int64_t s = inner->step.n ? inner->step.p[k] : 1;
    begin[k] = inner->begin.p[k] + s * outer->begin.p[k];
    step[k] = s * (outer->step.n ? outer->step.p[k] : 1);
  }
  vq_attrs_slice at = {.begin = {begin, n}, .size = outer->size};
  if (inner->step.n || outer->step.n) at.step = (vq_ints){step, n};
  return vq_build(b, VQ_OP_slice, &x, 1, &at, (vq_str){NULL, 0});
}

static vq_op *merged(vq_op *op, vq_op *first, vq_builder *b) {
  vq_value *x = vq_in(first, 0);
  if (op->code == VQ_OP_reshape)
    return vq_build(b, VQ_OP_reshape, &x, 1, op->attrs, (vq_str){NULL, 0});
  if (op->code == VQ_OP_slice) return merged_slices(op, first, b);
  vq_ints outer = VQ_ATTRS(op, transpose)->perm;
  vq_ints inner = VQ_ATTRS(first, transpose)->perm;
  int64_t perm[VQ_MAX_RANK];
  for (uint32_t i = 0; i < outer.n; i++) perm[i] = inner.p[outer.p[i]];
  vq_attrs_transpose at = vq_default_transpose();
  at.perm = (vq_ints){perm, outer.n};
  return vq_build(b, VQ_OP_transpose, &x, 1, &at, (vq_str){NULL, 0});
}

bool vq_identity_merge(vq_op *op, vq_diag *diag, vq_op **out) {
  *out = op;
  if (op->code != VQ_OP_reshape && op->code != VQ_OP_transpose &&
      op->code != VQ_OP_slice)
    return false;
  vq_op *first = vq_in(op, 0)->def;
  if (!first || first->code != op->code) return false;
  vq_builder b = {op->func, op, op->loc, diag};
  vq_op *both = merged(op, first, &b);
  if (!both || both->out->type != op->out->type) {
    if (both) vq_erase_op(both);
    return false;
  }
  vq_replace_op(op, both->out);
  *out = both;
  return true;
}
