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
// come between a linear and its epilogue. But queries, keys and values come from one
// linear, and queries alone are read in few rows. So a linear, with the elementwise
// ops behind it, is divided between outputs that are read in few rows and others;
// each part has its rows of the weights:
//
//   y = linear(x, w, b)           linear(x, rows of w, of b) in place of slice(y),
//                                 linear(x, other rows of w, of b) of other slices
#include "canon/fold.h"
#include "lower/span.h"
#include "passes.h"
#include "vq/rewrite.h"

#define MOST_EPILOGUE 16  // ops between a linear and where its result is divided

typedef struct dropper {
  vq_pass_ctx *pc;
  vq_fold_budget budget;  // for slices of constants
  vq_builder b;           // before the op that shall compute less
} dropper;

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
static bool wanted(const vq_op *op, vq_span *s) {
  if (op->n_out != 1 || !vq_span_read(op->out, s)) return false;
  const vq_type *t = op->out->type;
  int64_t n = 1;
  for (unsigned k = 0; k < t->rank; k++) {
    if (!works_along(op, k)) s->lo[k] = 0, s->size[k] = t->dim[k];
    n *= s->size[k];
  }
  return n <= vq_type_count(t) / 2;
}

// ---- what can be divided ---------------------------------------------------------

static bool has_data(const vq_value *v) {
  return v->kind == VQ_VALUE_CONST && ((const vq_const *)v)->init != VQ_INIT_MISSING;
}

// A constant, or an elementwise op of constants, as the quantizer of weights is.
static bool is_parameter(const vq_value *v) {
  if (v->kind != VQ_VALUE_RESULT) return has_data(v);
  if (!vq_has_trait(v->def, VQ_TRAIT_ELTWISE)) return false;
  for (unsigned i = 0; i < v->def->n_in; i++)
    if (!has_data(vq_in(v->def, i))) return false;
  return true;
}

// Parts of weights that something else reads would be copies.
static bool has_one_reader(const vq_value *weight) {
  if (!vq_has_one_use(weight)) return false;
  return weight->kind == VQ_VALUE_CONST || has_one_reader(vq_in(weight->def, 0));
}

static bool is_divisible(const dropper *d, const vq_op *linear) {
  for (unsigned i = 1; i < linear->n_in; i++)
    if (!is_parameter(vq_in(linear, i))) return false;
  const vq_value *w = vq_in(linear, 1);
  return vq_str_is(VQ_ATTRS(linear, linear)->layout, "oi") && has_one_reader(w) &&
         (uint64_t)vq_type_count(w->type) <= d->budget.left / 4;
}

// The operand of an elementwise op whose others are parameters; NULL if there is none of
// its shape, or the result are codes of a quant entry, which has a scale per channel.
static vq_value *only_operand(const vq_op *op) {
  const vq_type *t = op->out->type;
  vq_value *x = NULL;
  if (!vq_has_trait(op, VQ_TRAIT_ELTWISE) || op->n_out != 1 || t->q) return NULL;
  for (unsigned i = 0; i < op->n_in; i++) {
    if (is_parameter(vq_in(op, i))) continue;
    if (x) return NULL;
    x = vq_in(op, i);
  }
  bool same = x && x->type->rank == t->rank &&
              !memcmp(x->type->dim, t->dim, t->rank * sizeof *t->dim);
  return same ? x : NULL;
}

// True when `op` is a linear that can be divided, or of its epilogue.
static bool ends_linear(const dropper *d, const vq_op *op) {
  for (unsigned n = 0; op->code != VQ_OP_linear; n++) {
    const vq_value *x = n < MOST_EPILOGUE ? only_operand(op) : NULL;
    if (!x || x->kind != VQ_VALUE_RESULT || !vq_has_one_use(x)) return false;
    op = x->def;
  }
  return is_divisible(d, op);
}

// ---- rewriting -------------------------------------------------------------------

static vq_value *sliced(vq_builder *b, vq_value *x, const vq_span *s, vq_str name) {
  vq_attrs_slice a = vq_default_slice();
  a.begin = (vq_ints){s->lo, x->type->rank};
  a.size = (vq_ints){s->size, x->type->rank};
  return vq_build1(b, VQ_OP_slice, &x, 1, &a, name);
}

static vq_value *compute_less(dropper *d, vq_op *op, const vq_span *s);

// The part `s` of an operand; of a constant with data a constant.
static vq_value *part(dropper *d, vq_value *x, const vq_span *s) {
  vq_span all = vq_span_whole(x->type);
  size_t bytes = x->type->rank * sizeof *s->lo;
  if (!memcmp(s->lo, all.lo, bytes) && !memcmp(s->size, all.size, bytes)) return x;
  if (x->kind == VQ_VALUE_RESULT && is_parameter(x)) return compute_less(d, x->def, s);
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
static vq_span operand_span(const vq_op *op, unsigned i, const vq_span *s) {
  const vq_type *t = vq_in(op, i)->type, *to = op->out->type;
  vq_span x = vq_span_whole(t);
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
  } else if (s->size[to->rank - 1] != to->dim[to->rank - 1]) {  // rows of w and b
    x.lo[0] = s->lo[to->rank - 1], x.size[0] = s->size[to->rank - 1];
  }
  return x;
}

// slice of slice: one slice of the same operand.
static vq_value *slice_less(vq_builder *b, vq_op *op, const vq_span *s) {
  vq_attrs_slice a = *VQ_ATTRS(op, slice);
  vq_value *x = vq_in(op, 0);
  int64_t begin[VQ_MAX_RANK];
  for (unsigned k = 0; k < x->type->rank; k++)
    begin[k] = a.begin.p[k] + s->lo[k] * vq_span_step(&a, k);
  a.begin.p = begin, a.size.p = s->size;
  return vq_build1(b, VQ_OP_slice, &x, 1, &a, VQ_LIT(""));
}

static vq_value *compute_less(dropper *d, vq_op *op, const vq_span *s) {
  if (op->code == VQ_OP_slice) return slice_less(&d->b, op, s);
  vq_value **in = VQ_NEW_N(d->pc->temp, vq_value *, op->n_in);
  for (unsigned i = 0; i < op->n_in; i++) {
    vq_span x = operand_span(op, i, s);
    in[i] = part(d, vq_in(op, i), &x);
    if (!in[i]) return NULL;
  }
  return vq_build1(&d->b, op->code, in, op->n_in, op->attrs, VQ_LIT(""));
}

static vq_value *reader_slice(vq_builder *b, const vq_op *reader, vq_value *y,
                              const vq_span *s) {
  vq_attrs_slice a = *VQ_ATTRS(reader, slice);
  int64_t begin[VQ_MAX_RANK];
  if (reader->out->type == y->type) return y;
  for (unsigned k = 0; k < a.begin.n; k++) begin[k] = a.begin.p[k] - s->lo[k];
  a.begin.p = begin;
  return vq_build1(b, VQ_OP_slice, &y, 1, &a, VQ_LIT(""));
}

// Row `row` of `from`, in rows of the part `s` of it; dimensions before `first`
// are no part of the number.
static int64_t row_within(const vq_type *from, const vq_span *s, unsigned first,
                          int64_t row) {
  int64_t at = 0, size = 1;
  for (unsigned k = from->rank - 1; k-- > first; row /= from->dim[k]) {
    at += (row % from->dim[k] - s->lo[k]) * size;
    size *= s->size[k];
  }
  return at;
}

static vq_value *reader_rows(vq_builder *b, vq_pass_ctx *pc, const vq_op *reader,
                             vq_value *y, const vq_span *s) {
  const vq_type *from = vq_in(reader, 0)->type, *to = reader->out->type;
  vq_const *table = vq_const_of(vq_in(reader, 1));
  int64_t n = vq_type_count(table->value.type);
  int32_t *row = VQ_NEW_N(pc->temp, int32_t, (size_t)n);
  bool same = vq_type_count(y->type) == vq_type_count(to);
  for (int64_t i = 0; i < n; i++) {
    row[i] = (int32_t)row_within(from, s, vq_span_first_picked(reader), vq_const_i64(table, i));
    same &= row[i] == i;
  }
  if (same) return vq_build_reshape(b, y, to->rank, to->dim, VQ_LIT(""));
  vq_module *m = b->func->module;
  vq_value *in[] = {y, &vq_const_new_copy(m, VQ_LIT("rows"), table->value.type, row)->value};
  return vq_build1(b, VQ_OP_gather_rows, in, 2, reader->attrs, VQ_LIT(""));
}

static bool sees(const vq_op *reader, const vq_span *s) {
  if (reader->code != VQ_OP_slice) return true;
  unsigned last = vq_in(reader, 0)->type->rank - 1;
  int64_t column = VQ_ATTRS(reader, slice)->begin.p[last];
  return column >= s->lo[last] && column < s->lo[last] + s->size[last];
}

// Lets the readers of the part `s` of op's result read `y`, which is this part.
static vq_status redirect(vq_op *op, vq_value *y, const vq_span *s, vq_pass_ctx *pc) {
  for (vq_use *u = op->out->uses, *next; u; u = next) {
    vq_op *reader = u->user;
    next = u->next;
    if (!sees(reader, s)) continue;
    vq_builder b = {op->func, reader, reader->loc, pc->diag};
    vq_value *v = reader->code == VQ_OP_slice ? reader_slice(&b, reader, y, s)
                                              : reader_rows(&b, pc, reader, y, s);
    if (!v) return VQ_ERR;
    vq_replace_op(reader, v);
  }
  return VQ_OK;
}

static vq_status drop(dropper *d, vq_op *op, const vq_span *s) {
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

// Makes two ops of one, for columns before and from `column`, and is back at the last of
// them in `*at`: the one that is read in few rows computes these, as any other op.
static vq_status divide(dropper *d, vq_op *op, int64_t column, vq_op **at) {
  vq_span all = vq_span_whole(op->out->type);
  unsigned last = op->out->type->rank - 1;
  d->b = (vq_builder){op->func, op, op->loc, d->pc->diag};
  for (unsigned i = 0; i < 2; i++) {
    vq_span s = all;
    s.lo[last] = i ? column : 0;
    s.size[last] = i ? all.size[last] - column : column;
    vq_value *y = compute_less(d, op, &s);
    if (!y || redirect(op, y, &s, d->pc)) return VQ_ERR;
    if (!y->name.n && op->out->name.n) vq_rename_value(op->func, y, op->out->name);
  }
  if (op->code == VQ_OP_linear) vq_stat(d->pc, "linears divided", 1);
  *at = op->prev;
  vq_erase_op(op);
  return VQ_OK;
}

vq_status vq_pass_drop_rows(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_module_func(m, VQ_LIT("main"));
  dropper d = {.pc = pc, .budget = vq_fold_allow(m, 0, 1 << 24)};
  for (vq_op *op = f ? f->last : NULL, *next; op; op = next) {
    vq_span s;
    int64_t column;
    next = op->prev;
    if (wanted(op, &s)) {
      if (drop(&d, op, &s)) return VQ_ERR;
    } else if (op->n_out == 1 && vq_span_divide(op->out, &column) && ends_linear(&d, op)) {
      if (divide(&d, op, column, &next)) return VQ_ERR;
    }
  }
  return VQ_OK;
}
