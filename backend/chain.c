// The elementwise ops of a kernel, run on one vector of its result at a time.
//
// Operands are found by their broadcast strides: along a row an operand is
// contiguous or one element, across rows any mixture, taken apart by division
// where dimensions cannot be merged. All divisors are constants.
#include "chain.h"

#include "elt.h"
#include "loop.h"

// Element stride of `t` along dimension `k` of a shape of `rank` dimensions.
static int64_t stride_at(const vq_type *t, unsigned rank, unsigned k) {
  int64_t own[VQ_MAX_RANK];
  unsigned skip = rank - t->rank;
  vq_type_strides(t, own);
  return k < skip || t->dim[k - skip] == 1 ? 0 : own[k - skip];
}

// True when dimensions [split, rank) of `full` are one run in `t`: contiguous
// or a single element.
static bool is_run(const vq_type *full, const vq_type *t, unsigned split) {
  int64_t inner = 1, unit = -1;
  for (unsigned k = full->rank; k-- > split; inner *= full->dim[k]) {
    if (full->dim[k] == 1) continue;
    int64_t s = stride_at(t, full->rank, k);
    if (unit < 0) unit = s;
    if (unit > 1 || s != unit * inner) return false;
  }
  return true;
}

static bool same_shape(const vq_type *a, const vq_type *b) {
  return a->rank == b->rank && memcmp(a->dim, b->dim, a->rank * sizeof *a->dim) == 0;
}

static bool usable(const vq_type *t) { return vq_dtype_bits(t->dtype) >= 8; }

static bool in_chain(const vq_chain *c, const vq_op *def) {
  const vq_op *op = c->first;
  while (op && op != def) op = op->next;
  return op || (c->anchor && def == c->anchor);
}

// An operand is an argument, the anchor's result or an op of the chain.
static bool fits(const vq_chain *c, const vq_op *op) {
  if (!vq_has_trait(op, VQ_TRAIT_ELTWISE) ||
      !same_shape(op->out->type, c->type) || !usable(op->out->type))
    return false;
  for (unsigned i = 0; i < op->n_in; i++) {
    const vq_value *v = vq_in(op, i);
    if (!usable(v->type) || v->kind == VQ_VALUE_CONST) return false;
    if (v->kind == VQ_VALUE_ARG ? !is_run(c->type, v->type, c->split)
                                : !in_chain(c, v->def))
      return false;
  }
  return true;
}

// The smallest split at which every argument used by the ops is a run.
static unsigned widest_split(const vq_chain *c) {
  unsigned split = c->type->rank ? c->type->rank - 1 : 0;
  for (unsigned s = split; s-- > 0; split = s)
    for (const vq_op *op = c->first; op->next; op = op->next)
      for (unsigned i = 0; i < op->n_in; i++) {
        const vq_value *v = vq_in(op, i);
        if (v->kind == VQ_VALUE_ARG && !is_run(c->type, v->type, s)) return split;
      }
  return split;
}

bool vq_chain_match(const vq_func *kernel, const vq_op *anchor, vq_chain *c) {
  const vq_op *ret = kernel->last;
  if (ret->n_in < 1 || (anchor && ret->n_in > 1)) return false;
  *c = (vq_chain){.anchor = anchor, .first = anchor ? anchor->next : kernel->first,
                  .last = ret, .type = vq_in(ret, 0)->type};
  if (vq_type_count(c->type) == 0) return false;
  for (unsigned i = 0; i < ret->n_in; i++) {
    const vq_value *v = vq_in(ret, i);
    if (v->kind != VQ_VALUE_RESULT || !usable(v->type) || !same_shape(v->type, c->type))
      return false;
  }
  if (anchor && !same_shape(anchor->out->type, c->type)) return false;
  if (anchor && c->type->rank == 0) return false;
  c->split = anchor ? c->type->rank - 1u : widest_split(c);
  for (const vq_op *op = c->first; op != ret; op = op->next)
    if (!fits(c, op)) return false;
  c->rows = c->cols = 1;
  for (unsigned k = 0; k < c->type->rank; k++)
    *(k < c->split ? &c->rows : &c->cols) *= c->type->dim[k];
  return true;
}

bool vq_chain_empty(const vq_chain *c) { return c->first == c->last; }

LLVMValueRef vq_arg_ptr(const vq_emit *e, const vq_value *v) {
  assert(v->kind == VQ_VALUE_ARG);
  return e->operand[v->idx];
}

// Element offset of row `row` of the full shape in `t`.
static LLVMValueRef row_offset(const vq_emit *e, const vq_chain *c,
                               const vq_type *t, LLVMValueRef row) {
  LLVMValueRef off = vq_k64(e, 0);
  unsigned rank = c->type->rank;
  for (unsigned k = c->split; k-- > 0;) {
    int64_t dim = c->type->dim[k], s = stride_at(t, rank, k);
    while (k > 0 && (c->type->dim[k - 1] == 1 ||
                     stride_at(t, rank, k - 1) == s * dim))
      dim *= c->type->dim[--k];
    if (s) {
      LLVMValueRef i = k ? vq_modk(e, row, dim) : row;
      off = vq_add(e, off, vq_mulk(e, i, s));
    }
    if (k) row = vq_divk(e, row, dim);
  }
  return off;
}

// One element of `v` for all columns.
static bool is_one(const vq_chain *c, const vq_type *t) {
  bool one = true;
  for (unsigned k = c->split; k < c->type->rank; k++)
    if (c->type->dim[k] != 1) one = stride_at(t, c->type->rank, k) == 0;
  return one;
}

static LLVMValueRef load_arg(const vq_emit *e, const vq_chain *c,
                             const vq_value *v, LLVMValueRef row,
                             LLVMValueRef col, unsigned lanes, unsigned n) {
  LLVMValueRef p = vq_arg_ptr(e, v), off = row_offset(e, c, v->type, row);
  if (is_one(c, v->type))
    return vq_splat(e, vq_elt_load(e, v->type->dtype, p, off, 1, 1), lanes);
  return vq_elt_load(e, v->type->dtype, p, vq_add(e, off, col), lanes, n);
}

// The value computed by `def`; op i of the chain gave val[i].
static LLVMValueRef value_of(const vq_chain *c, const vq_op *def,
                             LLVMValueRef v, LLVMValueRef *val) {
  unsigned i = 0;
  if (def == c->anchor) return v;
  for (const vq_op *op = c->first; op != def; op = op->next) i++;
  return val[i];
}

// All ops; returns the value of each.
static LLVMValueRef *emit_ops(const vq_emit *e, const vq_chain *c, LLVMValueRef v,
                              LLVMValueRef row, LLVMValueRef col, unsigned lanes,
                              unsigned n) {
  unsigned n_op = 0, at = 0;
  for (const vq_op *op = c->first; op != c->last; op = op->next) n_op++;
  LLVMValueRef *val = VQ_NEW_N(e->temp, LLVMValueRef, n_op), in[5];
  for (const vq_op *op = c->first; op != c->last; op = op->next) {
    assert(op->n_in <= VQ_COUNT(in));
    for (unsigned i = 0; i < op->n_in; i++) {
      const vq_value *x = vq_in(op, i);
      in[i] = x->kind == VQ_VALUE_ARG ? load_arg(e, c, x, row, col, lanes, n)
                                      : value_of(c, x->def, v, val);
    }
    val[at++] = vq_elt_emit(e, op, in);
  }
  return val;
}

// Rows other than the first of `t` have elements of their own.
static bool has_rows(const vq_chain *c, const vq_type *t) {
  for (unsigned k = 0; k < c->split; k++)
    if (stride_at(t, c->type->rank, k)) return true;
  return false;
}

void vq_chain_fetch(const vq_emit *e, const vq_chain *c, LLVMValueRef row,
                    LLVMValueRef col, unsigned n) {
  for (const vq_op *op = c->first; op != c->last; op = op->next)
    for (unsigned i = 0; i < op->n_in; i++) {
      const vq_value *v = vq_in(op, i);
      if (v->kind != VQ_VALUE_ARG || is_one(c, v->type) || !has_rows(c, v->type))
        continue;
      LLVMValueRef at = vq_add(e, row_offset(e, c, v->type, row), col);
      unsigned bytes = vq_dtype_bits(v->type->dtype) / 8;
      for (unsigned k = 0; k < n * bytes; k += VQ_CACHE_LINE)
        vq_prefetch(e, vq_at(e, e->i8, vq_arg_ptr(e, v),
                             vq_addk(e, vq_mulk(e, at, bytes), k)), 1);
    }
}

void vq_chain_store(const vq_emit *e, const vq_chain *c, LLVMValueRef v,
                    LLVMValueRef row, LLVMValueRef col, unsigned lanes,
                    unsigned n) {
  LLVMValueRef *val = emit_ops(e, c, v, row, col, lanes, n);
  LLVMValueRef at = vq_add(e, vq_mulk(e, row, c->cols), col);
  for (unsigned i = 0; i < c->last->n_in; i++) {
    const vq_value *y = vq_in(c->last, i);
    vq_elt_store(e, y->type->dtype, value_of(c, y->def, v, val), e->result[i], at, n);
  }
}

void vq_row_each(const vq_emit *e, int64_t cols, unsigned lanes, vq_row_fn body,
                 void *user, unsigned n_carry, LLVMValueRef *v) {
  int64_t whole = cols - cols % lanes;
  if (whole) {
    vq_loop l;
    vq_loop_begin(e, &l, vq_k64(e, 0), vq_k64(e, whole), lanes, n_carry, v);
    body(e, user, l.i, lanes, lanes, l.v);
    vq_loop_end(e, &l);
    for (unsigned i = 0; i < n_carry; i++) v[i] = l.v[i];
  }
  if (whole < cols)
    body(e, user, vq_k64(e, whole), lanes, (unsigned)(cols - whole), v);
}
