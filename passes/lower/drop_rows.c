// drop-rows: rows that nothing reads are not computed.
//
// A classifier reads the class token of the last block, one row of 197, and a
// distilled one two. What happens to the other rows behind the last attention is
// work for nothing. The pass walks the ops backwards. Where all readers of a
// result are slices, or take rows by a table, and together span at most half of its
// rows, an op that works row by row is replaced by one that computes this span, of
// slices of its operands:
//
//   slice(add(x, y))              add(slice(x), slice(y))
//   slice(linear(x, w, b))        linear(slice(x), w, b)
//   slice(attention(q, k, v, m))  attention(slice(q), k, v, slice(m))
//
// The slices that appear are readers of what comes before, which is visited next:
// so the span moves up until something needs all rows. Every row that stays is
// computed as before, bit for bit.
//
// Spans are along dimensions other than the last: cutting that one would only
// come between a linear and its epilogue.
#include "canon/fold.h"
#include "passes.h"
#include "vq/rewrite.h"

typedef struct span {
  int64_t lo[VQ_MAX_RANK], size[VQ_MAX_RANK];
} span;

typedef struct dropper {
  vq_pass_ctx *pc;
  vq_fold_budget budget;  // for slices of constants
  vq_builder b;           // before the op that shall compute less
} dropper;

// ---- what is read ---------------------------------------------------------------

static span whole(const vq_type *t) {
  span s = {{0}, {0}};
  memcpy(s.size, t->dim, t->rank * sizeof *t->dim);
  return s;
}

static int64_t step_of(const vq_attrs_slice *a, unsigned k) {
  return a->step.n ? a->step.p[k] : 1;
}

static void include(span *s, unsigned k, int64_t from, int64_t to) {
  int64_t end = s->lo[k] + s->size[k];
  if (s->size[k] == 0 || from < s->lo[k]) s->lo[k] = from;
  if (s->size[k] == 0 || to > end) end = to;
  s->size[k] = end - s->lo[k];
}

static bool read_slice(const vq_op *op, span *s) {
  const vq_attrs_slice *a = VQ_ATTRS(op, slice);
  if (vq_type_count(op->out->type) == 0) return false;
  for (unsigned k = 0; k < a->begin.n; k++) {
    if (step_of(a, k) < 0) return false;
    include(s, k, a->begin.p[k],
            a->begin.p[k] + (a->size.p[k] - 1) * step_of(a, k) + 1);
  }
  return true;
}

// The first dimension of its operand in which a table picks rows: groups are whole
// entries of dimension 0, or there is one.
static unsigned first_picked(const vq_op *op) {
  return VQ_ATTRS(op, gather_rows)->groups > 1;
}

static bool read_rows(const vq_op *op, span *s) {
  const vq_attrs_gather_rows *a = VQ_ATTRS(op, gather_rows);
  const vq_type *x = vq_in(op, 0)->type;
  vq_const *table = vq_const_of(vq_in(op, 1));
  unsigned first = first_picked(op), last = x->rank - 1;
  if (!table || !vq_const_bytes(table) || a->pad ||
      (a->groups > 1 && a->groups != x->dim[0]))
    return false;
  if (first) include(s, 0, 0, x->dim[0]);
  include(s, last, 0, x->dim[last]);
  for (int64_t i = 0; i < vq_type_count(table->value.type); i++) {
    int64_t row = vq_const_i64(table, i);
    if (row < 0) return false;
    for (unsigned k = last; k-- > first; row /= x->dim[k])
      include(s, k, row % x->dim[k], row % x->dim[k] + 1);
    if (row) return false;
  }
  return true;
}

// The span of `v` that its readers see; false when one of them sees all of it.
static bool find_span(const vq_value *v, span *s) {
  memset(s, 0, sizeof *s);
  if (!v->uses || v->type->rank < 2 || vq_type_count(v->type) == 0) return false;
  vq_each_use(v, u) {
    const vq_op *op = u->user;
    bool part = op->code == VQ_OP_slice ? read_slice(op, s)
                : op->code == VQ_OP_gather_rows && u->idx == 0 ? read_rows(op, s)
                                                               : false;
    if (!part) return false;
  }
  return true;
}

// False when `op` mixes the elements of dimension k.
static bool works_along(const vq_op *op, unsigned k) {
  unsigned rank = op->out->type->rank;
  if (k + 1 >= rank) return false;
  switch ((int)op->code) {
    case VQ_OP_slice:
    case VQ_OP_layer_norm:
    case VQ_OP_linear: return true;
    case VQ_OP_softmax: {
      int64_t axis = VQ_ATTRS(op, softmax)->axis;
      return k != (axis < 0 ? axis + rank : axis);
    }
    case VQ_OP_attention: return k == 1;
    default: return vq_has_trait(op, VQ_TRAIT_ELTWISE);
  }
}

// The span of its result that `op` shall compute; false when that saves little.
static bool wanted(const vq_op *op, span *s) {
  if (op->n_out != 1 || !find_span(op->out, s)) return false;
  const vq_type *t = op->out->type;
  int64_t n = 1;
  for (unsigned k = 0; k < t->rank; k++) {
    if (!works_along(op, k)) s->lo[k] = 0, s->size[k] = t->dim[k];
    n *= s->size[k];
  }
  return n <= vq_type_count(t) / 2;
}

// ---- rewriting -------------------------------------------------------------------

static vq_value *sliced(vq_builder *b, vq_value *x, const span *s, vq_str name) {
  vq_attrs_slice a = vq_default_slice();
  a.begin = (vq_ints){s->lo, x->type->rank};
  a.size = (vq_ints){s->size, x->type->rank};
  return vq_build1(b, VQ_OP_slice, &x, 1, &a, name);
}

// The part `s` of an operand; of a constant with data a constant.
static vq_value *part(dropper *d, vq_value *x, const span *s) {
  span all = whole(x->type);
  size_t bytes = x->type->rank * sizeof *s->lo;
  if (!memcmp(s->lo, all.lo, bytes) && !memcmp(s->size, all.size, bytes)) return x;
  const vq_const *from = vq_const_of(x);
  vq_value *y = sliced(&d->b, x, s, from ? x->name : VQ_LIT("")), *c;
  if (!y || !from || from->init == VQ_INIT_MISSING ||
      !vq_fold_spend(&d->budget, y->def, d->pc))
    return y;
  if (vq_fold_op(y->def, d->pc, &c)) return NULL;
  vq_replace_op(y->def, c);
  return c;
}

// What operand `i` must be for the part `s` of the result: operands of
// elementwise ops are aligned at their last dimensions, and broadcast.
static span operand_span(const vq_op *op, unsigned i, const span *s) {
  const vq_type *t = vq_in(op, i)->type, *to = op->out->type;
  span x = whole(t);
  if (op->code == VQ_OP_attention) {
    unsigned k = i == 0 ? 1 : 2;  // tokens of q, rows of the bias
    if (i == 0 || i == 3) x.lo[k] = s->lo[1], x.size[k] = s->size[1];
  } else if (vq_has_trait(op, VQ_TRAIT_ELTWISE)) {
    unsigned skip = to->rank - t->rank;
    for (unsigned k = 0; k < t->rank; k++)
      if (t->dim[k] != 1) x.lo[k] = s->lo[k + skip], x.size[k] = s->size[k + skip];
  } else if (i == 0) {  // the others are parameters of the last dimension
    for (unsigned k = 0; k + 1 < t->rank; k++)
      x.lo[k] = s->lo[k], x.size[k] = s->size[k];
  }
  return x;
}

// slice of slice: one slice of the same operand.
static vq_value *slice_less(vq_builder *b, vq_op *op, const span *s) {
  vq_attrs_slice a = *VQ_ATTRS(op, slice);
  vq_value *x = vq_in(op, 0);
  int64_t begin[VQ_MAX_RANK];
  for (unsigned k = 0; k < x->type->rank; k++)
    begin[k] = a.begin.p[k] + s->lo[k] * step_of(&a, k);
  a.begin.p = begin, a.size.p = s->size;
  return vq_build1(b, VQ_OP_slice, &x, 1, &a, VQ_LIT(""));
}

static vq_value *compute_less(dropper *d, vq_op *op, const span *s) {
  if (op->code == VQ_OP_slice) return slice_less(&d->b, op, s);
  vq_value **in = VQ_NEW_N(d->pc->temp, vq_value *, op->n_in);
  for (unsigned i = 0; i < op->n_in; i++) {
    span x = operand_span(op, i, s);
    in[i] = part(d, vq_in(op, i), &x);
    if (!in[i]) return NULL;
  }
  return vq_build1(&d->b, op->code, in, op->n_in, op->attrs, VQ_LIT(""));
}

static vq_value *reader_slice(vq_builder *b, const vq_op *reader, vq_value *y,
                              const span *s) {
  vq_attrs_slice a = *VQ_ATTRS(reader, slice);
  int64_t begin[VQ_MAX_RANK];
  if (reader->out->type == y->type) return y;
  for (unsigned k = 0; k < a.begin.n; k++) begin[k] = a.begin.p[k] - s->lo[k];
  a.begin.p = begin;
  return vq_build1(b, VQ_OP_slice, &y, 1, &a, VQ_LIT(""));
}

// Row `row` of `from`, in rows of the part `s` of it; dimensions before `first`
// are no part of the number.
static int64_t row_within(const vq_type *from, const span *s, unsigned first,
                          int64_t row) {
  int64_t at = 0, size = 1;
  for (unsigned k = from->rank - 1; k-- > first; row /= from->dim[k]) {
    at += (row % from->dim[k] - s->lo[k]) * size;
    size *= s->size[k];
  }
  return at;
}

static vq_value *reader_rows(vq_builder *b, vq_pass_ctx *pc, const vq_op *reader,
                             vq_value *y, const span *s) {
  const vq_type *from = vq_in(reader, 0)->type, *to = reader->out->type;
  vq_const *table = vq_const_of(vq_in(reader, 1));
  int64_t n = vq_type_count(table->value.type);
  int32_t *row = VQ_NEW_N(pc->temp, int32_t, (size_t)n);
  bool same = vq_type_count(y->type) == vq_type_count(to);
  for (int64_t i = 0; i < n; i++) {
    row[i] = (int32_t)row_within(from, s, first_picked(reader), vq_const_i64(table, i));
    same &= row[i] == i;
  }
  if (same) return vq_build_reshape(b, y, to->rank, to->dim, VQ_LIT(""));
  vq_module *m = b->func->module;
  vq_value *in[] = {y, &vq_const_new_copy(m, VQ_LIT("rows"), table->value.type, row)->value};
  return vq_build1(b, VQ_OP_gather_rows, in, 2, reader->attrs, VQ_LIT(""));
}

// Lets the readers of op's result read `y`, which is the part `s` of it.
static vq_status redirect(vq_op *op, vq_value *y, const span *s, vq_pass_ctx *pc) {
  while (op->out->uses) {
    vq_op *reader = op->out->uses->user;
    vq_builder b = {op->func, reader, reader->loc, pc->diag};
    vq_value *v = reader->code == VQ_OP_slice ? reader_slice(&b, reader, y, s)
                                              : reader_rows(&b, pc, reader, y, s);
    if (!v) return VQ_ERR;
    vq_replace_op(reader, v);
  }
  return VQ_OK;
}

static vq_status drop(dropper *d, vq_op *op, const span *s) {
  vq_func *f = op->func;
  d->b = (vq_builder){f, op, op->loc, d->pc->diag};
  vq_value *y = compute_less(d, op, s);
  if (!y) return VQ_ERR;
  vq_stat(d->pc, "ops on fewer rows", 1);
  vq_stat(d->pc, "MACs saved", vq_op_macs(op) - vq_op_macs(y->def));
  if (redirect(op, y, s, d->pc)) return VQ_ERR;
  vq_str name = op->out->name;
  vq_erase_op(op);
  if (name.n) vq_rename_value(f, y, name);
  return VQ_OK;
}

vq_status vq_pass_drop_rows(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_module_func(m, VQ_LIT("main"));
  dropper d = {.pc = pc, .budget = vq_fold_allow(m, 0, 1 << 24)};
  for (vq_op *op = f ? f->last : NULL, *next; op; op = next) {
    span s;
    next = op->prev;
    if (wanted(op, &s) && drop(&d, op, &s)) return VQ_ERR;
  }
  return VQ_OK;
}
