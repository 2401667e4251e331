// drop-rows: rows that nothing reads are not computed.
//
// A classifier reads the class token of the last block, one row of 197, and a
// distilled one two. What happens to the other rows behind the last attention is
// work for nothing. The pass walks the ops backwards. Where all readers of a
// result are slices, or take rows by a table, and together span at most half of its
// rows, an op that works row by row is replaced by one that computes this span, of
// slices of its operands (less.h). So the span moves up until something needs all rows.
//
// Spans are along dimensions other than the last: cutting that one would only
// come between a linear and its epilogue. But queries, keys and values come from one
// linear, and queries alone are read in few rows. So a linear, with the elementwise
// ops behind it, is divided between outputs that are read in few rows and others;
// each part has its rows of the weights:
//
//   y = linear(x, w, b)           linear(x, rows of w, of b) in place of slice(y),
//                                 linear(x, other rows of w, of b) of other slices
#include "lower/less.h"
#include "vq/rewrite.h"

#define MOST_EPILOGUE 16  // ops between a linear and where its result is divided

// The span of its result that `op` shall compute; false when that saves little.
static bool wanted(const vq_op *op, vq_span *s) {
  if (op->n_out != 1 || !vq_span_read(op->out, s)) return false;
  const vq_type *t = op->out->type;
  int64_t n = 1;
  for (unsigned k = 0; k < t->rank; k++) {
    if (!vq_less_along(op, k)) s->lo[k] = 0, s->size[k] = t->dim[k];
    n *= s->size[k];
  }
  return n <= vq_type_count(t) / 2;
}

// ---- what can be divided ---------------------------------------------------------

// Parts of weights that something else reads would be copies.
static bool has_one_reader(const vq_value *weight) {
  if (!vq_has_one_use(weight)) return false;
  return weight->kind == VQ_VALUE_CONST || has_one_reader(vq_in(weight->def, 0));
}

static bool is_divisible(const vq_less *d, const vq_op *linear) {
  for (unsigned i = 1; i < linear->n_in; i++)
    if (!vq_less_parameter(vq_in(linear, i))) return false;
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
    if (vq_less_parameter(vq_in(op, i))) continue;
    if (x) return NULL;
    x = vq_in(op, i);
  }
  bool same = x && x->type->rank == t->rank &&
              !memcmp(x->type->dim, t->dim, t->rank * sizeof *t->dim);
  return same ? x : NULL;
}

// True when `op` is a linear that can be divided, or of its epilogue.
static bool ends_linear(const vq_less *d, const vq_op *op) {
  for (unsigned n = 0; op->code != VQ_OP_linear; n++) {
    const vq_value *x = n < MOST_EPILOGUE ? only_operand(op) : NULL;
    if (!x || x->kind != VQ_VALUE_RESULT || !vq_has_one_use(x)) return false;
    op = x->def;
  }
  return is_divisible(d, op);
}

// ---- rewriting -------------------------------------------------------------------

static bool sees(const void *user, const vq_op *reader, const vq_span *s) {
  (void)user;
  if (reader->code != VQ_OP_slice) return true;
  unsigned last = vq_in(reader, 0)->type->rank - 1;
  int64_t column = VQ_ATTRS(reader, slice)->begin.p[last];
  return column >= s->lo[last] && column < s->lo[last] + s->size[last];
}

static vq_status drop(vq_less *d, vq_op *op, const vq_span *s) {
  vq_func *f = op->func;
  d->b = (vq_builder){f, op, op->loc, d->pc->diag};
  vq_value *y = vq_less_compute(d, op, s);
  if (!y) return VQ_ERR;
  vq_stat(d->pc, "ops on fewer rows", 1);
  vq_stat(d->pc, "MACs saved", vq_op_macs(op) - vq_op_macs(y->def));
  if (vq_less_redirect(d, op, y, s, sees, NULL)) return VQ_ERR;
  vq_str name = op->out->name;
  vq_erase_op(op);
  if (name.n) vq_rename_value(f, y, name);
  return VQ_OK;
}

// Makes two ops of one, for columns before and from `column`, and is back at the last of
// them in `*at`: the one that is read in few rows computes these, as any other op.
static vq_status divide(vq_less *d, vq_op *op, int64_t column, vq_op **at) {
  vq_span all = vq_span_whole(op->out->type);
  unsigned last = op->out->type->rank - 1;
  d->b = (vq_builder){op->func, op, op->loc, d->pc->diag};
  for (unsigned i = 0; i < 2; i++) {
    vq_span s = all;
    s.lo[last] = i ? column : 0;
    s.size[last] = i ? all.size[last] - column : column;
    vq_value *y = vq_less_compute(d, op, &s);
    if (!y || vq_less_redirect(d, op, y, &s, sees, NULL)) return VQ_ERR;
    if (!y->name.n && op->out->name.n) vq_rename_value(op->func, y, op->out->name);
  }
  if (op->code == VQ_OP_linear) vq_stat(d->pc, "linears divided", 1);
  *at = op->prev;
  vq_erase_op(op);
  return VQ_OK;
}

vq_status vq_pass_drop_rows(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_module_func(m, VQ_LIT("main"));
  vq_less d = {.pc = pc, .budget = vq_fold_allow(m, 0, 1 << 24)};
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
