// lower-int: dequantize and quantize meeting data movement and each other.
#include <math.h>

#include "quant/lower_int.h"
#include "vq/eval.h"

// ---- dequantize moves down ---------------------------------------------------------

// What `op` (vq_quant_moves) makes of the codes `q` of its operand; `zero` is the
// code of the zeros it adds.
static vq_value *moved(vq_lowering *lo, const vq_op *op, vq_value *q, double zero) {
  vq_value *in[2] = {q, vq_in_opt(op, 1)};
  vq_attrs_gather_rows rows;
  vq_attrs_pad pad;
  const void *attrs = op->attrs;
  if (op->code == VQ_OP_gather_rows) {
    rows = *VQ_ATTRS(op, gather_rows);
    rows.value = rows.pad ? (float)zero : 0, attrs = &rows;
  } else if (op->code == VQ_OP_pad) {
    pad = *VQ_ATTRS(op, pad);
    pad.value = (float)zero, attrs = &pad;
  }
  return q ? vq_build1(&lo->b, op->code, in, op->n_in, attrs, VQ_LIT("")) : NULL;
}

bool vq_lower_move(vq_lowering *lo, vq_op *op) {
  vq_coded x;
  if (!vq_quant_moves(op) || !vq_lower_scalar_code(vq_in(op, 0), &x)) return false;
  vq_value *y = moved(lo, op, x.q, vq_lower_zero(&x));
  return vq_lower_replace(lo, op, vq_lower_dequantize(lo, y, x.scale, x.zero));
}

// concat of codes with equal scales.
bool vq_lower_concat(vq_lowering *lo, vq_op *op) {
  vq_coded first, x;
  vq_value **in = VQ_NEW_N(lo->pc->temp, vq_value *, op->n_in);
  for (unsigned i = 0; i < op->n_in; i++) {
    if (!vq_lower_scalar_code(vq_in(op, i), &x)) return false;
    if (i == 0) first = x;
    if (x.q->type->dtype != first.q->type->dtype ||
        vq_lower_scale(&x) != vq_lower_scale(&first) ||
        vq_lower_zero(&x) != vq_lower_zero(&first) ||
        !vq_quant_equal(x.q->type->q, first.q->type->q))
      return false;
    in[i] = x.q;
  }
  if (!op->n_in) return false;
  vq_value *y = vq_build1(&lo->b, op->code, in, op->n_in, op->attrs, VQ_LIT(""));
  return vq_lower_replace(lo, op, vq_lower_dequantize(lo, y, first.scale, first.zero));
}

// ---- quantize moves up -------------------------------------------------------------

// The quantize or requantize with attributes `a`.
static vq_value *quantize_with(vq_lowering *lo, const vq_attrs_quantize *a, vq_opcode code,
                               vq_value *x, vq_value *mult, vq_value *zero) {
  vq_value *in[] = {x, mult, zero};
  vq_attrs_requantize r = {a->to, a->lo, a->hi, a->q, a->folded, 0};
  return vq_build1(&lo->b, code, in, zero ? 3 : 2,
                   code == VQ_OP_requantize ? (const void *)&r : a,
                   vq_quant_codes(lo->m, x));
}

static vq_value *requantize_like(vq_lowering *lo, const vq_op *q, vq_opcode code,
                                 vq_value *x, vq_value *mult, vq_value *zero) {
  return quantize_with(lo, VQ_ATTRS(q, quantize), code, x, mult, zero);
}

// The same quantize where `mult` has taken in other factors.
static vq_value *folded_like(vq_lowering *lo, const vq_op *q, vq_value *x,
                             vq_value *mult, vq_value *zero) {
  vq_attrs_quantize a = *VQ_ATTRS(q, quantize);
  a.folded = a.q != NULL;
  return quantize_with(lo, &a, VQ_OP_quantize, x, mult, zero);
}

static bool is_scalar_quantize(const vq_op *q) {
  return vq_const_of(vq_in(q, 1)) && vq_type_count(vq_in(q, 1)->type) == 1 &&
         (q->n_in < 3 || (vq_const_of(vq_in(q, 2)) &&
                          vq_type_count(vq_in(q, 2)->type) == 1));
}

// One element, or one for each of `n` channels.
static bool is_factor(vq_value *v, int64_t n) {
  int64_t k = vq_type_count(v->type);
  return vq_const_of(v) && (k == 1 || (k == n && v->type->rank == 1));
}

// Data movement that leaves rows, the last dimension, whole.
static bool keeps_channels(const vq_op *op) {
  const vq_type *x = vq_in(op, 0)->type, *y = op->out->type;
  return (op->code == VQ_OP_copy || op->code == VQ_OP_reshape ||
          op->code == VQ_OP_gather_rows) &&
         x->rank && y->rank && x->dim[x->rank - 1] == y->dim[y->rank - 1];
}

// One factor, or one for each channel and a movement that keeps channels.
static bool may_move(const vq_op *q, const vq_op *move) {
  int64_t n = vq_type_count(vq_in(q, 1)->type);
  if (is_scalar_quantize(q)) return true;
  return keeps_channels(move) && is_factor(vq_in(q, 1), n) &&
         (q->n_in < 3 || vq_quant_even(vq_in(q, 2)));
}

// quantize(move(x)): move(quantize(x)), where nothing else reads them.
bool vq_lower_quantize_move(vq_lowering *lo, vq_op *op) {
  const vq_value *y = vq_in(op, 0);
  const vq_attrs_quantize *a = VQ_ATTRS(op, quantize);
  if (y->kind != VQ_VALUE_RESULT || !vq_quant_moves(y->def) || !vq_has_one_use(y) ||
      !may_move(op, y->def))
    return false;
  vq_value *x = vq_in(y->def, 0);
  if (x->kind != VQ_VALUE_RESULT || !vq_has_one_use(x)) return false;
  vq_value *q = requantize_like(lo, op, VQ_OP_quantize, x, vq_in(op, 1), vq_in_opt(op, 2));
  double zero = op->n_in > 2 ? vq_const_f64(vq_const_of(vq_in(op, 2)), 0) : 0;
  zero = fmin(fmax(ldexp(zero, (int)a->fine), (double)a->lo), (double)a->hi);
  return vq_lower_replace(lo, op, moved(lo, y->def, q, zero));
}

bool vq_lower_quantize_concat(vq_lowering *lo, vq_op *op) {
  const vq_op *cat = vq_quant_def(vq_in(op, 0), VQ_OP_concat);
  if (!cat || !vq_has_one_use(cat->out) || !is_scalar_quantize(op)) return false;
  vq_value **in = VQ_NEW_N(lo->pc->temp, vq_value *, cat->n_in);
  for (unsigned i = 0; i < cat->n_in; i++) {
    in[i] = requantize_like(lo, op, VQ_OP_quantize, vq_in(cat, i), vq_in(op, 1),
                            vq_in_opt(op, 2));
    if (!in[i]) return vq_lower_replace(lo, op, NULL);
  }
  return vq_lower_replace(lo, op, vq_build1(&lo->b, VQ_OP_concat, in, cat->n_in,
                                            cat->attrs, VQ_LIT("")));
}

bool vq_lower_quantize_const(vq_lowering *lo, vq_op *op) {
  vq_tensor in[3];
  for (unsigned i = 0; i < op->n_in; i++) {
    vq_const *c = vq_const_of(vq_in(op, i));
    if (!c || !vq_const_bytes(c)) return false;
    in[i] = (vq_tensor){c->value.type, (void *)vq_const_bytes(c)};
  }
  const vq_type *t = op->out->type;
  vq_tensor out = {t, vq_arena_alloc(&lo->m->arena, (size_t)vq_type_bytes(t), 64)};
  if (vq_eval_op(op, in, &out, lo->pc->diag)) return vq_lower_replace(lo, op, NULL);
  return vq_lower_replace(
      lo, op, &vq_const_new(lo->m, vq_in(op, 0)->name, t, out.data)->value);
}

// The part of the last dimension that a slice takes, of all rows or of some.
static bool last_part(const vq_op *slice, int64_t *begin, int64_t *size) {
  const vq_attrs_slice *s = VQ_ATTRS(slice, slice);
  const vq_type *x = vq_in(slice, 0)->type;
  if (x->rank < 1) return false;
  for (unsigned k = 0; k < s->step.n; k++)
    if (s->step.p[k] != 1) return false;
  *begin = s->begin.p[x->rank - 1], *size = s->size.p[x->rank - 1];
  return true;
}

typedef struct parts {
  float *mult;  // 0: not known
  int16_t *zero;
  float *scale;  // of quant entries
  int64_t covered;
  bool folded;
  vq_strbuf name;  // of the entry of all
} parts;

// False when the channel has another factor already, of other rows.
static bool note_part(parts *p, int64_t c, float mult, int16_t zero, float scale) {
  if (mult == 0 || (p->mult[c] != 0 && (p->mult[c] != mult || p->zero[c] != zero ||
                                        p->scale[c] != scale)))
    return false;
  p->covered += p->mult[c] == 0;
  p->mult[c] = mult, p->zero[c] = zero, p->scale[c] = scale;
  return true;
}

// b0.q, b0.k and b0.v make b0.qkv.
static void note_name(parts *p, vq_str name) {
  size_t dot = name.n;
  while (dot > 0 && name.p[dot - 1] != '.') dot--;
  if (p->name.n) name = (vq_str){name.p + dot, name.n - dot};
  vq_strbuf_add(&p->name, name.p, name.n);
}

// True when every reader of `x` is a slice of its last dimension whose only
// reader is a quantize like `like`; notes their factors channel by channel.
static bool read_parts(const vq_value *x, const vq_op *like, parts *p) {
  const vq_attrs_quantize *a = VQ_ATTRS(like, quantize);
  vq_each_use(x, u) {
    int64_t begin, size;
    const vq_op *s = u->user;
    if (s->code != VQ_OP_slice || !vq_has_one_use(s->out) ||
        !last_part(s, &begin, &size))
      return false;
    const vq_op *q = s->out->uses->user;
    if (q->code != VQ_OP_quantize || s->out->uses->idx != 0 ||
        !is_factor(vq_in(q, 1), size) || (q->n_in > 2 && !is_factor(vq_in(q, 2), size)))
      return false;
    const vq_attrs_quantize *b = VQ_ATTRS(q, quantize);
    if (!vq_str_eq(a->to, b->to) || a->lo != b->lo || a->hi != b->hi || !a->q != !b->q)
      return false;
    for (int64_t c = 0; c < size; c++)
      if (!note_part(p, begin + c, vq_quant_at(vq_in(q, 1), c),
                     q->n_in > 2 ? (int16_t)vq_quant_at(vq_in(q, 2), c) : 0,
                     b->q ? b->q->scale[b->q->n == 1 ? 0 : c] : 0))
        return false;
    if (b->q) note_name(p, b->q->name);
    p->folded |= b->folded;
  }
  return true;
}

// The quant entry of all parts, a scale for each channel.
static const vq_quant *entry_of_parts(vq_lowering *lo, const parts *p, int64_t n,
                                      const vq_quant *part) {
  int32_t *zero = VQ_NEW_N(lo->pc->temp, int32_t, (size_t)n);
  for (int64_t c = 0; c < n; c++) zero[c] = p->zero[c];
  vq_quant q = {.name = vq_strbuf_view(&p->name), .store = part->store, .lo = part->lo,
                .hi = part->hi, .axis = VQ_AXIS_LAST, .n = (uint32_t)n,
                .scale = p->scale, .zero = zero, .of = VQ_LIT("parts of one product")};
  return vq_module_quant_like(lo->m, &q);
}

// The slices of `x` that are quantized become slices of codes `q`.
static bool slice_codes(vq_lowering *lo, vq_value *x, vq_value *q) {
  for (vq_use *u = x->uses, *next; u; u = next) {
    next = u->next;
    if (u->user->code != VQ_OP_slice) continue;
    vq_op *old = u->user, *user = old->out->uses->user;
    vq_attrs_slice a = *VQ_ATTRS(old, slice);
    a.q = VQ_ATTRS(user, quantize)->q;
    lo->b.before = old;
    vq_value *y = vq_build1(&lo->b, VQ_OP_slice, &q, 1, &a, VQ_LIT(""));
    if (!vq_lower_replace(lo, user, y)) return false;
    vq_erase_op(old);
  }
  return true;
}

static bool all_equal(const int16_t *x, int64_t n) {
  for (int64_t i = 1; i < n; i++)
    if (x[i] != x[0]) return false;
  return true;
}

// quantize(slice(x)) for all parts of x: slice(quantize(x)), one factor and zero
// point per channel. q, k and v of a packed projection are quantized in its
// epilogue that way.
bool vq_lower_slices(vq_lowering *lo, vq_op *op) {
  vq_op *slice = vq_quant_def(vq_in(op, 0), VQ_OP_slice);
  vq_value *x = slice ? vq_in(slice, 0) : NULL;
  if (!x || x->kind != VQ_VALUE_RESULT || x->type->rank < 1 || VQ_ATTRS(op, quantize)->fine)
    return false;
  int64_t n = x->type->dim[x->type->rank - 1];
  parts p = {.mult = VQ_NEW_N(lo->pc->temp, float, (size_t)n),
             .zero = VQ_NEW_N(lo->pc->temp, int16_t, (size_t)n),
             .scale = VQ_NEW_N(lo->pc->temp, float, (size_t)n)};
  bool whole = read_parts(x, op, &p) && p.covered == n;
  if (whole) {
    vq_attrs_quantize a = *VQ_ATTRS(op, quantize);
    if (a.q) a.q = entry_of_parts(lo, &p, n, a.q);
    a.folded = p.folded;
    lo->b.before = x->def->next;
    vq_value *mult = vq_quant_const(lo->m, x->name, "mult", VQ_f32, 1, &n, p.mult);
    unsigned rank = !all_equal(p.zero, n);
    vq_value *zero = vq_quant_const(lo->m, x->name, "zero", VQ_i16, rank, &n, p.zero);
    vq_value *q = quantize_with(lo, &a, VQ_OP_quantize, x, mult, zero);
    if (!q)
      vq_lower_replace(lo, op, NULL);
    else
      slice_codes(lo, x, q);
  }
  vq_strbuf_release(&p.name);
  return whole && !lo->failed;
}

// A constant operand of `sum` with an element for each of its own; NULL: none.
static vq_value *table_of(const vq_op *sum, unsigned *at) {
  enum { LEAST = 1024 };  // of less there is nothing to gain
  int64_t n = vq_type_count(sum->out->type);
  for (*at = 0; *at < 2; ++*at) {
    vq_value *c = vq_in(sum, *at);
    if (n >= LEAST && vq_const_of(c) && vq_const_bytes(vq_const_of(c)) &&
        vq_type_count(c->type) == n)
      return c;
  }
  return NULL;
}

// The quant entry of a table of codes with `scale` that `sum` is added to.
static const vq_quant *table_entry(vq_lowering *lo, const vq_value *table, float scale,
                                   const vq_quant *sum) {
  if (!sum) return NULL;
  vq_strbuf name = {0}, of = {0};
  int32_t zero = 0;
  vq_strbuf_printf(&name, "%.*s.table", VQ_FMT(sum->name));
  vq_strbuf_printf(&of, "table %.*s", VQ_FMT(table->name));
  vq_quant q = {.name = vq_strbuf_view(&name), .store = VQ_i16, .lo = -INT16_MAX,
                .hi = INT16_MAX, .axis = VQ_AXIS_NONE, .n = 1, .scale = &scale,
                .zero = &zero, .of = vq_strbuf_view(&of)};
  const vq_quant *made = vq_module_quant_like(lo->m, &q);
  vq_strbuf_release(&name);
  vq_strbuf_release(&of);
  return made;
}

// Codes of `table` with `scale`, shaped as `like`; NULL if some do not fit.
static vq_value *table_codes(vq_lowering *lo, vq_value *table, float scale,
                             const vq_type *like, const vq_quant *sum) {
  double mult = 1 / (double)scale;
  int64_t n = vq_type_count(like);
  const float *x = vq_quant_floats(lo->pc, table);
  int16_t *q = VQ_NEW_N(lo->pc->temp, int16_t, (size_t)n);
  for (int64_t i = 0; x && i < n; i++) {
    double v = nearbyint((double)x[i] * mult);
    if (!(fabs(v) <= INT16_MAX)) return NULL;
    q[i] = (int16_t)v;
  }
  if (!x) return NULL;
  vq_value *y = vq_quant_const(lo->m, table->name, "codes", VQ_i16, like->rank, like->dim, q);
  vq_set_const_quant(vq_const_of(y), table_entry(lo, table, scale, sum));
  return y;
}

// quantize(x + table) to 16 bits, as where positions are added: the table is kept as
// codes of the result, which take half the memory.
bool vq_lower_quantize_table(vq_lowering *lo, vq_op *op) {
  const vq_op *sum = vq_quant_def(vq_in(op, 0), VQ_OP_add);
  unsigned at;
  vq_value *table = sum ? table_of(sum, &at) : NULL;
  if (!table || op->out->type->dtype != VQ_i16 || VQ_ATTRS(op, quantize)->fine ||
      !is_scalar_quantize(op))
    return false;
  vq_value *mult = vq_in(op, 1);
  float scale = 1 / vq_quant_at(mult, 0);
  vq_value *codes = table_codes(lo, table, scale, sum->out->type,
                                VQ_ATTRS(op, quantize)->q);
  if (!codes) return false;
  vq_value *in[] = {vq_in(sum, 0), vq_in(sum, 1)};
  in[at] = vq_lower_dequantize(
      lo, codes, vq_quant_const(lo->m, table->name, "scale", VQ_f32, 0, NULL, &scale), NULL);
  vq_value *y = in[at] ? vq_build_binary(&lo->b, VQ_OP_add, in[0], in[1], VQ_LIT("")) : NULL;
  if (y) y = requantize_like(lo, op, VQ_OP_quantize, y, mult, vq_in_opt(op, 2));
  return vq_lower_replace(lo, op, y);
}

// ---- quantize meets what makes its operand -----------------------------------------

// a * b, element by element, where one of them may have a single element; NULL
// if their counts do not fit.
static vq_value *product(vq_lowering *lo, vq_value *a, vq_value *b) {
  int64_t n = vq_type_count(a->type), k = vq_type_count(b->type);
  if (n < k) return product(lo, b, a);
  if (k != 1 && (k != n || a->type->rank != 1 || b->type->rank != 1)) return NULL;
  float *v = VQ_NEW_N(lo->pc->temp, float, (size_t)n);
  for (int64_t i = 0; i < n; i++)
    v[i] = (float)((double)vq_quant_at(a, i) * (double)vq_quant_at(b, i));
  return vq_quant_const(lo->m, a->name, "mult", VQ_f32, a->type->rank, a->type->dim, v);
}

// quantize(dequantize(x)): one requantize, if x has no zero point.
bool vq_lower_requantize(vq_lowering *lo, vq_op *op) {
  vq_coded x;
  if (!vq_lower_code(vq_in(op, 0), &x) || x.zero || !vq_const_of(vq_in(op, 1)) ||
      VQ_ATTRS(op, quantize)->fine)
    return false;
  vq_value *mult = product(lo, x.scale, vq_in(op, 1));
  if (!mult) return false;
  return vq_lower_replace(lo, op, requantize_like(lo, op, VQ_OP_requantize, x.q, mult,
                                                  vq_in_opt(op, 2)));
}

// quantize(x * c): c joins the factor.
bool vq_lower_factor(vq_lowering *lo, vq_op *op) {
  const vq_op *mul = vq_quant_def(vq_in(op, 0), VQ_OP_mul);
  if (!mul || !vq_const_of(vq_in(mul, 1)) || !vq_const_of(vq_in(op, 1))) return false;
  vq_value *mult = product(lo, vq_in(mul, 1), vq_in(op, 1));
  if (!mult) return false;
  return vq_lower_replace(
      lo, op, folded_like(lo, op, vq_in(mul, 0), mult, vq_in_opt(op, 2)));
}

// quantize(layer_norm(codes)): the factor joins gamma and beta.
bool vq_lower_norm_scale(vq_lowering *lo, vq_op *op) {
  const vq_op *norm = vq_quant_def(vq_in(op, 0), VQ_OP_layer_norm);
  if (!norm || vq_in(norm, 0)->type->dtype != VQ_i16 || norm->n_in != 3 ||
      !vq_has_one_use(norm->out) || !is_scalar_quantize(op) ||
      vq_quant_at(vq_in(op, 1), 0) == 1)
    return false;
  if (!vq_const_of(vq_in(norm, 1)) || !vq_const_of(vq_in(norm, 2))) return false;
  float one = 1;
  vq_value *in[] = {vq_in(norm, 0), product(lo, vq_in(norm, 1), vq_in(op, 1)),
                    product(lo, vq_in(norm, 2), vq_in(op, 1))};
  vq_value *y = vq_build1(&lo->b, VQ_OP_layer_norm, in, 3, norm->attrs, VQ_LIT(""));
  vq_value *unit = vq_quant_const(lo->m, VQ_LIT("one"), "mult", VQ_f32, 0, NULL, &one);
  if (!y) return vq_lower_replace(lo, op, NULL);
  return vq_lower_replace(
      lo, op, folded_like(lo, op, y, unit, vq_in_opt(op, 2)));
}
