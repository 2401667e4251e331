// Where the generic emitter keeps values, and how it computes one element.
#include "nest.h"

#include "elt.h"
#include "loop.h"
#include "vq/eval.h"

typedef LLVMValueRef val;

static bool is_nibble(vq_dtype t) { return t == VQ_i4 || t == VQ_u4; }

static int64_t round_up(int64_t n) { return (n + 63) & ~INT64_C(63); }

// An inline value is computed exactly as often as a stored one would be.
bool vq_nest_inline(const vq_value *v) {
  if (v->kind != VQ_VALUE_RESULT || vq_nest_op_of(v->def->code)) return false;
  if (!vq_has_one_use(v)) return false;
  const vq_op *user = v->uses->user;
  if (vq_has_trait(user, VQ_TRAIT_TERM) || vq_nest_op_of(user->code)) return false;
  return user->code == VQ_OP_pad ||
         vq_type_count(user->out[0].type) <= vq_type_count(v->type);
}

// ---- memory of values ------------------------------------------------------------

// Which kernel result holds `v`, or -1. Packed nibbles cannot be written one
// at a time, so they are stored apart and packed at the end.
static int result_of(const vq_func *f, const vq_value *v) {
  if (is_nibble(v->type->dtype)) return -1;
  for (uint32_t i = 0; i < f->n_result; i++)
    if (vq_in(f->last, i) == v) return (int)i;
  return -1;
}

static int64_t temp_size(const vq_type *t) {
  return round_up(is_nibble(t->dtype) ? vq_type_count(t) : vq_type_bytes(t));
}

int64_t vq_nest_temp_bytes(const vq_func *kernel, const vq_value *stop) {
  int64_t at = 0;
  vq_each_op(kernel, op) {
    if (op->n_out != 1) continue;
    const vq_value *v = &op->out[0];
    if (v == stop) return at;
    if (!vq_nest_inline(v) && result_of(kernel, v) < 0) at += temp_size(v->type);
  }
  return at;
}

// A constant used inside a kernel gets a symbol of its own.
static val constant(const vq_emit *e, const vq_value *v) {
  vq_const *c = (vq_const *)v;
  char *name = vq_arena_alloc(e->temp, v->name.n + 11, 1);
  memcpy(name, "vqk_const.", 10);
  memcpy(name + 10, v->name.p, v->name.n);
  val g = LLVMGetNamedGlobal(e->mod, name);
  if (g) return g;
  // Without data it has no elements, or vq_layout_build would have refused it.
  const char *bytes = vq_const_bytes(c);
  size_t n = bytes ? (size_t)vq_type_bytes(v->type) : 0;
  val init = LLVMConstStringInContext2(e->lc, bytes ? bytes : "", n, true);
  g = LLVMAddGlobal(e->mod, LLVMTypeOf(init), name);
  LLVMSetInitializer(g, init);
  LLVMSetGlobalConstant(g, true);
  LLVMSetLinkage(g, LLVMInternalLinkage);
  LLVMSetAlignment(g, 64);
  return g;
}

val vq_nest_ptr(const vq_emit *e, const vq_value *v) {
  switch (v->kind) {
    case VQ_VALUE_ARG: return e->operand[v->idx];
    case VQ_VALUE_CONST: return constant(e, v);
    case VQ_VALUE_RESULT: break;
  }
  int r = result_of(e->kernel, v);
  if (r >= 0) return e->result[r];
  return vq_atk(e, e->i8, e->scratch, vq_nest_temp_bytes(e->kernel, v));
}

val vq_nest_load(const vq_emit *e, const vq_value *v, val flat) {
  vq_dtype t = v->type->dtype;
  bool loose = is_nibble(t) && v->kind == VQ_VALUE_RESULT;
  return vq_elt_load(e, loose ? VQ_i8 : t, vq_nest_ptr(e, v), flat, 1, 1);
}

void vq_nest_store(const vq_emit *e, const vq_value *v, val flat, val x) {
  vq_dtype t = v->type->dtype;
  vq_elt_store(e, is_nibble(t) ? VQ_i8 : t, x, vq_nest_ptr(e, v), flat, 1);
}

// ---- indices ---------------------------------------------------------------------

void vq_nest_unflatten(const vq_emit *e, const vq_type *t, unsigned n, val flat,
                       val *idx) {
  for (unsigned k = n; k-- > 0;) {
    idx[k] = t->dim[k] == 1 ? vq_k64(e, 0)
             : k == 0       ? flat
                            : vq_modk(e, flat, t->dim[k]);
    if (k && t->dim[k] != 1) flat = vq_divk(e, flat, t->dim[k]);
  }
}

val vq_nest_flatten(const vq_emit *e, const vq_type *t, val const *idx,
                    unsigned rank) {
  int64_t stride[VQ_MAX_RANK];
  vq_type_strides(t, stride);
  val at = vq_k64(e, 0);
  for (unsigned k = 0; k < t->rank; k++)
    if (t->dim[k] != 1)
      at = vq_add(e, at, vq_mulk(e, idx[rank - t->rank + k], stride[k]));
  return at;
}

val vq_nest_mac(const vq_emit *e, vq_dtype t, val a, val b, val c) {
  if (t == VQ_f32) return vq_fma(e, a, b, c);
  val sum = LLVMBuildAdd(e->b, LLVMBuildMul(e->b, a, b, ""), c, "");
  if (!is_nibble(t)) return sum;
  val four = LLVMConstInt(e->i8, 4, false);
  val up = LLVMBuildShl(e->b, sum, four, "");
  return t == VQ_u4 ? LLVMBuildLShr(e->b, up, four, "")
                    : LLVMBuildAShr(e->b, up, four, "");
}

// ---- elements ----------------------------------------------------------------------

static val select_in(const vq_emit *e, const vq_value *v, val inside, val *idx,
                     val otherwise) {
  if (vq_type_count(v->type) == 0) return otherwise;
  return LLVMBuildSelect(e->b, inside, vq_nest_elem(e, v, idx), otherwise, "");
}

// An index clamped to 0 <= i < dim.
static val clamp(const vq_emit *e, val i, int64_t dim) {
  val zero = vq_k64(e, 0);
  val low = LLVMBuildICmp(e->b, LLVMIntSLT, i, zero, "");
  return vq_min64(e, LLVMBuildSelect(e->b, low, zero, i, ""),
                  vq_k64(e, dim > 0 ? dim - 1 : 0));
}

static val in_range(const vq_emit *e, val i, int64_t dim) {
  return LLVMBuildICmp(e->b, LLVMIntULT, i, vq_k64(e, dim), "");
}

static val elem_eltwise(const vq_emit *e, const vq_op *op, val const *idx) {
  unsigned rank = op->out[0].type->rank;
  val *in = VQ_NEW_N(e->temp, val, op->n_in);
  for (unsigned i = 0; i < op->n_in; i++) {
    const vq_type *t = vq_in(op, i)->type;
    val own[VQ_MAX_RANK];
    for (unsigned k = 0; k < t->rank; k++)
      own[k] = t->dim[k] == 1 ? vq_k64(e, 0) : idx[rank - t->rank + k];
    in[i] = vq_nest_elem(e, vq_in(op, i), own);
  }
  return vq_elt_emit(e, op, in);
}

static val elem_pad(const vq_emit *e, const vq_op *op, val const *idx) {
  const vq_attrs_pad *a = VQ_ATTRS(op, pad);
  const vq_value *x = vq_in(op, 0);
  val own[VQ_MAX_RANK], inside = LLVMConstInt(e->i1, 1, false);
  for (unsigned k = 0; k < x->type->rank; k++) {
    val i = vq_addk(e, idx[k], -a->lo.p[k]);
    own[k] = i;
    if (!a->lo.p[k] && !a->hi.p[k]) continue;
    inside = LLVMBuildAnd(e->b, inside, in_range(e, i, x->type->dim[k]), "");
    own[k] = clamp(e, i, x->type->dim[k]);
  }
  return select_in(e, x, inside, own, vq_elt_const(e, x->type->dtype, a->value));
}

// Indices out of range would be undefined; clamping keeps reads inside x.
static val elem_gather(const vq_emit *e, const vq_op *op, val const *idx) {
  const vq_value *x = vq_in(op, 0), *index = vq_in(op, 1);
  unsigned axis = vq_nest_axis(VQ_ATTRS(op, gather)->axis, x->type->rank);
  unsigned n = index->type->rank;
  val own[VQ_MAX_RANK];
  for (unsigned k = 0; k < axis; k++) own[k] = idx[k];
  for (unsigned k = axis + 1; k < x->type->rank; k++) own[k] = idx[k + n - 1];
  bool is_signed = index->type->dtype != VQ_u8 && index->type->dtype != VQ_u4;
  val i = LLVMBuildIntCast2(e->b, vq_nest_elem(e, index, idx + axis), e->i64,
                            is_signed, "");
  own[axis] = clamp(e, i, x->type->dim[axis]);
  return vq_nest_elem(e, x, own);
}

// As gather; with pad a negative entry is a row of `value`.
static val elem_gather_rows(const vq_emit *e, const vq_op *op, val const *idx) {
  const vq_attrs_gather_rows *a = VQ_ATTRS(op, gather_rows);
  const vq_value *x = vq_in(op, 0), *table = vq_in(op, 1);
  int64_t n = table->type->dim[0], cols = op->out[0].type->dim[1];
  int64_t m = vq_type_count(x->type) / cols / a->groups;
  val entry = vq_modk(e, idx[0], n), own[VQ_MAX_RANK];
  val i = LLVMBuildSExt(e->b, vq_nest_elem(e, table, &entry), e->i64, "");
  val row = vq_add(e, vq_mulk(e, vq_divk(e, idx[0], n), m), clamp(e, i, m));
  vq_nest_unflatten(e, x->type, x->type->rank - 1u, row, own);
  own[x->type->rank - 1] = idx[1];
  if (!a->pad) return vq_nest_elem(e, x, own);
  val known = LLVMBuildICmp(e->b, LLVMIntSGE, i, vq_k64(e, 0), "");
  return select_in(e, x, known, own, vq_elt_const(e, x->type->dtype, a->value));
}

static val elem_pack_weight(const vq_emit *e, const vq_op *op, val const *idx) {
  const vq_value *w = vq_in(op, 0);
  const int64_t *dim = w->type->dim;
  val row = vq_add(e, vq_mulk(e, idx[0], 16), idx[2]), col = idx[1];
  unsigned rank = op->out->type->rank;
  if (rank == 4) col = vq_add(e, vq_mulk(e, col, op->out->type->dim[3]), idx[3]);
  if (rank == 5) {
    col = vq_add(e, vq_mulk(e, col, 8), vq_mulk(e, idx[4], 4));
    col = vq_add(e, col, idx[3]);
  }
  val inside = LLVMBuildAnd(e->b, in_range(e, row, dim[0]), in_range(e, col, dim[1]), "");
  val own[] = {clamp(e, row, dim[0]), clamp(e, col, dim[1])};
  return select_in(e, w, inside, own, vq_elt_const(e, w->type->dtype, 0));
}

static val elem_slice(const vq_emit *e, const vq_op *op, val const *idx) {
  const vq_attrs_slice *a = VQ_ATTRS(op, slice);
  val own[VQ_MAX_RANK];
  for (unsigned k = 0; k < vq_in(op, 0)->type->rank; k++) {
    int64_t step = a->step.n ? a->step.p[k] : 1;
    own[k] = vq_addk(e, vq_mulk(e, idx[k], step), a->begin.p[k]);
  }
  return vq_nest_elem(e, vq_in(op, 0), own);
}

static val elem_reshape(const vq_emit *e, const vq_op *op, val const *idx) {
  const vq_type *t = op->out[0].type;
  const vq_value *x = vq_in(op, 0);
  val flat = vq_nest_flatten(e, t, idx, t->rank), own[VQ_MAX_RANK];
  if (!vq_nest_inline(x)) return vq_nest_load(e, x, flat);
  vq_nest_unflatten(e, x->type, x->type->rank, flat, own);
  return vq_nest_elem(e, x, own);
}

val vq_nest_value(const vq_emit *e, const vq_op *op, val const *idx) {
  const vq_value *x = vq_in(op, 0);
  val own[VQ_MAX_RANK];
  if (vq_has_trait(op, VQ_TRAIT_ELTWISE)) return elem_eltwise(e, op, idx);
  switch (op->code) {
    case VQ_OP_copy: return vq_nest_elem(e, x, idx);
    case VQ_OP_reshape: return elem_reshape(e, op, idx);
    case VQ_OP_slice: return elem_slice(e, op, idx);
    case VQ_OP_pad: return elem_pad(e, op, idx);
    case VQ_OP_gather: return elem_gather(e, op, idx);
    case VQ_OP_gather_rows: return elem_gather_rows(e, op, idx);
    case VQ_OP_pack_weight: return elem_pack_weight(e, op, idx);
    case VQ_OP_transpose:
      for (unsigned k = 0; k < x->type->rank; k++)
        own[VQ_ATTRS(op, transpose)->perm.p[k]] = idx[k];
      return vq_nest_elem(e, x, own);
    case VQ_OP_expand:
      for (unsigned k = 0; k < x->type->rank; k++)
        own[k] = x->type->dim[k] == 1
                     ? vq_k64(e, 0)
                     : idx[op->out[0].type->rank - x->type->rank + k];
      return vq_nest_elem(e, x, own);
    default: VQ_BUG("no element expression for %s", vq_op_info(op->code)->name);
  }
}

val vq_nest_elem(const vq_emit *e, const vq_value *v, val const *idx) {
  if (vq_nest_inline(v)) return vq_nest_value(e, v->def, idx);
  return vq_nest_load(e, v, vq_nest_flatten(e, v->type, idx, v->type->rank));
}
