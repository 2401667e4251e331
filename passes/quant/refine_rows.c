// refine-rows: rows that results are read from are computed beside all others, of finer codes.
//
// A classifier reads one row of tokens of many (read_rows.h). What codes of that row cost is
// not averaged with the errors of others, and what is cut off at the end of their range, which
// is that of all rows, costs most. So this row is computed twice. As one of all it gives keys
// and values, as before. Beside them it goes the whole way from the first block to the
// results by itself, queries excepted:
//
//   x1 = add(x, proj(fq(attention(q, k, v))))           all rows
//   r1 = add(r, proj(fq'(attention(slice q, k, v))))    rows that are read
//
// Quantizers of the second kind have some bits more, behind the point, and a range that goes
// on at both ends, as far as sums of products stay within 32 bits. All constants are those of
// the first kind. One row of 197 costs little: it is the weights read once more.
//
// The pass walks the ops backwards. Slices and tables that take such rows alone are readers
// of them: these get an op of their own (less.h), of slices of its operands, which the pass
// meets next. It ends at the model's inputs, at what does not work row by row, and at a linear
// of which only some columns are read, as that of queries, keys and values.
#include "lower/less.h"
#include "quant/quantizer.h"
#include "quant/read_rows.h"
#include "vq/exp2.h"
#include "vq/fixed.h"
#include "vq/rewrite.h"

enum { SHARE = 8 };  // of rows, at most one of so many is computed twice

typedef struct refiner {
  vq_less less;
  vq_pass_ctx *pc;
  vq_read_rows rows;
  int64_t bits;
} refiner;

static unsigned row_dim(const vq_type *t) { return t->rank - 2u; }

// Whether the part `s` of `x`, with all rows, is of rows that are read, all of them whole but
// for columns.
static bool is_read(const refiner *r, const vq_type *x, const vq_span *s) {
  if (x->rank < 2 || x->dim[row_dim(x)] != r->rows.n) return false;
  for (unsigned k = 0; k < row_dim(x); k++)
    if (s->size[k] != x->dim[k]) return false;
  unsigned k = row_dim(x);
  for (int64_t i = s->lo[k]; i < s->lo[k] + s->size[k]; i++)
    if (!r->rows.read[i]) return false;
  return s->size[k] > 0;
}

static bool reads_rows(const refiner *r, const vq_use *u, vq_span *s) {
  *s = (vq_span){{0}, {0}};
  return vq_span_add_reader(u, s) && is_read(r, u->val->type, s);
}

static bool picks(const refiner *r, const vq_op *reader) {
  vq_span s;
  const vq_use u = {.val = vq_in(reader, 0), .user = (vq_op *)reader};
  return reads_rows(r, &u, &s);
}

static bool takes(const void *user, const vq_op *reader, const vq_span *s) {
  (void)s;
  return picks(user, reader);
}

// What readers of such rows see of `v`; false when there is none.
static bool span_of(const refiner *r, const vq_value *v, vq_span *s) {
  bool any = false;
  *s = (vq_span){{0}, {0}};
  vq_each_use(v, u) {
    vq_span one;
    if (!reads_rows(r, u, &one)) continue;
    vq_span_add_reader(u, s), any = true;
  }
  return any;
}

// Columns are not cut: operands of an epilogue would be other constants.
static bool is_whole(const vq_type *t, const vq_span *s) {
  return s->size[t->rank - 1] == t->dim[t->rank - 1];
}

// ---- finer codes -------------------------------------------------------------------

// The most that codes may be, so that a sum of products stays within 32 bits; 0: `linear` has
// no codes as weights.
static int64_t most_code(const vq_op *linear) {
  const vq_op *w = vq_quant_def(vq_in(linear, 1), VQ_OP_fake_quant);
  if (!w) return 0;
  const vq_attrs_fake_quant *a = VQ_ATTRS(w, fake_quant);
  int64_t k = w->out->type->dim[1], most = -a->lo > a->hi ? -a->lo : a->hi;
  int64_t code = k > 0 && most > 0 ? (INT32_MAX - (1 << VQ_MAX_FINE)) / (k * most) : 0;
  return code < INT16_MAX ? code : INT16_MAX;
}

// Of all readers of a quantizer; 0: one is no linear.
static int64_t most_of_readers(const vq_op *fq) {
  int64_t most = fq->out->uses ? INT16_MAX : 0;
  vq_each_use(fq->out, u) {
    int64_t one = u->user->code == VQ_OP_linear && u->idx == 0 ? most_code(u->user) : 0;
    if (one < most) most = one;
  }
  return most;
}

// Gives a quantizer as many bits behind the point as its readers can take, and a range that
// is three times as wide, or what they can take of that.
static void refine(const refiner *r, vq_op *fq) {
  vq_attrs_fake_quant a = *VQ_ATTRS(fq, fake_quant);
  int64_t most = most_of_readers(fq);
  if (a.fine || !vq_quant_known(fq) || vq_type_count(vq_in(fq, VQ_FQ_SCALE)->type) > 1) return;
  while (a.fine < r->bits && (a.hi + 1) << (a.fine + 1) <= most + 1) a.fine++;
  if (!a.fine) return;
  int64_t unit = INT64_C(1) << a.fine, wide = (a.hi - a.lo + 1) * unit;
  a.lo = a.lo * unit - wide, a.hi = (a.hi + 1) * unit - 1 + wide;
  a.lo = a.lo > -most ? a.lo : -most, a.hi = a.hi < most ? a.hi : most;
  vq_set_attrs(fq, &a);
  vq_stat(r->pc, "finer activations", 1);
}

// Probabilities of codes get so many levels that their sum is still exact in 24 bits.
static void refine_attention(const refiner *r, vq_op *op) {
  vq_attrs_attention a = *VQ_ATTRS(op, attention);
  int64_t keys = vq_in(op, 1)->type->dim[1], bits = VQ_EXP2_BITS;
  if (!a.probability_bits) return;
  while (bits > 8 && ((INT64_C(1) << bits) - 1) * keys > 1 << 24) bits--;
  if (bits <= a.probability_bits) return;
  a.probability = VQ_LIT("uniform"), a.probability_bits = bits;
  vq_set_attrs(op, &a);
  vq_stat(r->pc, "finer probabilities", 1);
}

static bool has_norm(const vq_value *v) {
  vq_each_use(v, u) {
    const vq_op *op = u->user;
    if (op->code == VQ_OP_layer_norm || op->code == VQ_OP_reduce_mean) return true;
    if (vq_quant_moves(op) && has_norm(op->out)) return true;
  }
  return false;
}

// The residual stream has codes for norms, which queries of such rows do not come from.
static void refine_codes(const refiner *r, vq_op *fq) {
  if (!vq_quant_is(fq, "residual"))
    refine(r, fq);
  else if (!has_norm(fq->out))
    vq_replace_op(fq, vq_in(fq, VQ_FQ_X));
}

// ---- the rows beside -----------------------------------------------------------------

// Where rows of several tensors follow each other, the one that has all of these.
static vq_value *operand_with(vq_op *concat, vq_span *s) {
  unsigned k = row_dim(concat->out->type);
  int64_t axis = VQ_ATTRS(concat, concat)->axis;
  if ((axis < 0 ? axis + concat->out->type->rank : axis) != k) return NULL;
  for (unsigned i = 0; i < concat->n_in; i++) {
    vq_value *x = vq_in(concat, i);
    if (s->lo[k] < x->type->dim[k])
      return s->lo[k] + s->size[k] <= x->type->dim[k] ? x : NULL;
    s->lo[k] -= x->type->dim[k];
  }
  return NULL;
}

// Behind `op` and its codes, so that kernels of rows beside follow those of all rows, which
// wait less for weights that nothing has read yet.
static vq_op *behind(const vq_op *op) {
  vq_op *at = op->next;
  while (at->code == VQ_OP_fake_quant && vq_in(at, VQ_FQ_X) == op->out) at = at->next;
  return at;
}

// The rows of `op` by themselves; NULL where they cannot be, or, with *st, after a diagnostic.
static vq_value *beside(refiner *r, vq_op *op, const vq_span *s, vq_status *st) {
  r->less.b = (vq_builder){op->func, behind(op), op->loc, r->pc->diag};
  vq_span part = *s;
  vq_value *x = op->code == VQ_OP_concat ? operand_with(op, &part) : NULL, *y;
  if (!x && (op->code == VQ_OP_concat || !vq_less_along(op, row_dim(op->out->type)) ||
             (op->code == VQ_OP_linear && !is_whole(op->out->type, s))))
    return NULL;
  y = x ? vq_less_part(&r->less, x, &part) : vq_less_compute(&r->less, op, s);
  *st = y ? VQ_OK : VQ_ERR;
  return y;
}

static vq_status visit(refiner *r, vq_op *op) {
  vq_span s;
  vq_status st = VQ_OK;
  if (op->n_out != 1 || !span_of(r, op->out, &s)) return VQ_OK;
  vq_value *y = beside(r, op, &s, &st);
  if (!y) return st;
  if (vq_less_redirect(&r->less, op, y, &s, takes, r)) return VQ_ERR;
  if (y->kind != VQ_VALUE_RESULT) return VQ_OK;
  vq_stat(r->pc, "ops on rows beside", 1);
  if (y->def->code == VQ_OP_fake_quant) refine_codes(r, y->def);
  if (y->def->code == VQ_OP_attention) refine_attention(r, y->def);
  return VQ_OK;
}

static bool is_dead(const vq_op *op) {
  return op->n_out == 1 && !op->out->uses && vq_has_trait(op, VQ_TRAIT_PURE);
}

// Quantizers between the rows that are read and the results: their rows are alone already.
// `scratch` marks what follows from such rows.
static void refine_heads(refiner *r, vq_func *f) {
  vq_each_op(f, op) {
    bool any = op->n_in > 0 && picks(r, op);
    for (unsigned i = 0; i < op->n_in; i++) {
      const vq_value *x = vq_in(op, i);
      any |= x->kind == VQ_VALUE_RESULT && x->def->scratch;
    }
    op->scratch = any ? r : NULL;
    if (any && op->code == VQ_OP_fake_quant) refine(r, op);
  }
  vq_each_op(f, op) op->scratch = NULL;
}

vq_status vq_pass_refine_rows(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_quant_main(m);
  refiner r = {.less = {.pc = pc, .suffix = ".row",
                        .budget = vq_fold_allow(m, 0, 1 << 24)},
               .pc = pc,
               .bits = VQ_OPTS(pc, vq_pass_refine_rows)->bits};
  if (r.bits < 0 || r.bits > VQ_MAX_FINE)
    return vq_error(pc->diag, VQ_E_option, (vq_loc){0}, "bits is %lld, expected 0 to %d",
                    (long long)r.bits, VQ_MAX_FINE);
  if (!f || r.bits == 0 || !vq_read_rows_find(f, pc->temp, &r.rows) ||
      r.rows.n_read * SHARE > r.rows.n)
    return VQ_OK;
  refine_heads(&r, f);
  vq_status st = VQ_OK;
  for (vq_op *op = f->last, *next; op && !st; op = next) {
    if (!is_dead(op)) st = visit(&r, op);
    next = op->prev;
    if (is_dead(op)) vq_erase_op(op);
  }
  return st;
}
