// lower-int: activation functions.
//
// Between the sums of a linear and codes of 8 bits they work in fixed point: the sums become
// codes of 16 bits with a scale of their own, which a vector holds twice as many of as of
// floats. That scale is about the 128th part of the one behind, so nothing is rounded that the
// codes behind would notice. Elsewhere they are functions of floats.
#include <math.h>

#include "quant/lower_int.h"
#include "vq/piecewise.h"

// Of dequantized codes, or of parts of them.
bool vq_lower_act(vq_lowering *lo, vq_op *op) {
  vq_coded x;
  const vq_value *v = vq_in(op, 0);
  while (v->kind == VQ_VALUE_RESULT && vq_quant_moves(v->def)) v = vq_in(v->def, 0);
  if (!vq_lower_code(v, &x)) return false;
  vq_str form = op->code == VQ_OP_gelu ? VQ_ATTRS(op, gelu)->form : VQ_LIT("");
  vq_attrs_piecewise a = {.fn = VQ_LIT("gelu")};
  if (op->code == VQ_OP_silu) a.fn = VQ_LIT("silu");
  if (vq_str_is(form, "tanh")) a.fn = VQ_LIT("gelu_tanh");
  if (vq_str_is(form, "sigmoid")) a.fn = VQ_LIT("gelu_sigmoid");
  vq_value *in = vq_in(op, 0);
  return vq_lower_replace(
      lo, op, vq_build1(&lo->b, VQ_OP_piecewise, &in, 1, &a, VQ_LIT("")));
}

// ---- fixed point -------------------------------------------------------------------

// Codes in front of the function are about the 128th part of those behind, as far as 16 bits
// reach; no power of two, so that what is rounded between them is not the same few fractions.
#define FINER (1.01 * 0x1p-7)
#define SHIFT 5  // codes behind have so many bits more until they are moved and rounded

// What stands between an activation function and the quantize behind it: factors and
// offsets of channels (split-outliers).
typedef struct act {
  const vq_op *fn;
  vq_coded x;                    // sums of products
  vq_value *channels, *offsets;  // constants or NULL
  int64_t n;                     // channels
} act;

// Elements along the last dimension.
static bool is_of_channels(const vq_type *t, int64_t n) {
  return vq_type_count(t) == n && t->rank && t->dim[t->rank - 1] == n;
}

// Takes `v` as the factors, of which there may be one for each channel.
static bool take_factor(act *a, vq_value *v) {
  if (a->channels || !vq_const_of(v) || !is_of_channels(v->type, a->n)) return false;
  a->channels = v;
  return true;
}

static bool is_one_or_channels(vq_value *v, int64_t n) {
  return vq_const_of(v) && (vq_type_count(v->type) == 1 || is_of_channels(v->type, n));
}

// The operand of `v` where only one op reads it, and what is constant beside it.
static vq_value *through(vq_value *v, vq_opcode code, vq_value **beside) {
  const vq_op *op = vq_quant_def(v, code);
  if (!op || !vq_has_one_use(op->out) || !vq_const_of(vq_in(op, 1))) return NULL;
  *beside = vq_in(op, 1);
  return vq_in(op, 0);
}

static bool match(const vq_op *quantize, act *a) {
  vq_value *v = vq_in(quantize, 0), *mult = vq_in(quantize, 1), *c, *x;
  int64_t n = v->type->rank ? v->type->dim[v->type->rank - 1] : 0;
  *a = (act){.n = n};
  if (!vq_const_of(mult)) return false;
  if (vq_type_count(mult->type) > 1 && !take_factor(a, mult)) return false;
  if ((x = through(v, VQ_OP_add, &c))) {
    if (!is_of_channels(c->type, n) || vq_type_count(mult->type) > 1) return false;
    v = x, a->offsets = c;
  }
  if ((x = through(v, VQ_OP_mul, &c))) {
    if (!take_factor(a, c)) return false;
    v = x;
  }
  a->fn = vq_quant_def(v, VQ_OP_piecewise);
  return a->fn && vq_has_one_use(a->fn->out) && vq_lower_code(vq_in(a->fn, 0), &a->x) &&
         !a->x.zero && is_one_or_channels(a->x.scale, n) && a->x.q->type->dtype == VQ_i32 &&
         (quantize->n_in < 3 || is_one_or_channels(vq_in(quantize, 2), n)) &&
         (vq_dtype_bits(quantize->out->type->dtype) <= 8 || VQ_ATTRS(quantize, quantize)->fine);
}

static double at(vq_value *v, int64_t i, double otherwise) {
  return v ? (double)vq_quant_at(v, vq_type_count(v->type) == 1 ? 0 : i) : otherwise;
}

// Scales and how far results are from codes, of all channels.
typedef struct plan {
  double words;       // one of the words in front of the function, times a channel's factor
  double most, base;  // the largest factor of a channel; what a result times it is in codes
  int shift;
  uint16_t scale;  // of all channels (vq_curve_channel); 0: they differ
} plan;

static bool extremes(vq_value *v, double *least, double *most) {
  *least = *most = at(v, 0, 1);
  for (int64_t i = 0; v && i < vq_type_count(v->type); i++) {
    *least = fmin(*least, at(v, i, 1));
    *most = fmax(*most, at(v, i, 1));
  }
  return *least > 0 && *most < INFINITY;
}

// One scale for all channels, whose factors are from `least` to p->most, where larger words
// by a quarter at most allow one.
static void choose_scale(vq_str fn, double least, plan *p) {
  for (double words = p->words; words <= 1.25 * p->words; words *= 1.01)
    for (uint16_t scale = 1; scale < 64; scale++)
      if (vq_curve_scale_fits(fn, words / least, scale) &&
          vq_curve_scale_fits(fn, words / p->most, scale)) {
        p->words = words, p->scale = scale;
        return;
      }
}

static bool choose(const act *a, const vq_op *quantize, plan *p) {
  double least, from, to;
  vq_value *mult = vq_in(quantize, 1);
  bool scalar = vq_type_count(mult->type) == 1;
  if (!extremes(a->channels, &least, &p->most) ||
      !vq_curve_steps(VQ_ATTRS(a->fn, piecewise)->fn, &from, &to))
    return false;
  p->base = scalar ? (double)vq_quant_at(mult, 0) : 1;
  if (!(p->base > 0 && p->base < INFINITY)) return false;
  *p = (plan){fmax(FINER / p->base, from * p->most * 1.001), p->most, p->base, SHIFT, 0};
  choose_scale(VQ_ATTRS(a->fn, piecewise)->fn, least, p);
  while (p->shift && ldexp(p->words * p->base, p->shift) >= 1) p->shift--;
  return p->words / least <= to && p->words * p->base < 1 && (p->shift > 2 || !a->offsets) &&
         p->shift >= VQ_ATTRS(quantize, quantize)->fine;
}

// A word for each channel, or one if all are equal.
static vq_value *word_const(vq_lowering *lo, const act *a, const char *what, const int16_t *w) {
  int64_t equal = 1;
  while (equal < a->n && w[equal] == w[0]) equal++;
  return vq_quant_const(lo->m, a->fn->out->name, what, VQ_i16, equal < a->n, &a->n, w);
}

// The sums as words.
static vq_value *to_words(vq_lowering *lo, const act *a, const plan *p) {
  float *mult = VQ_NEW_N(lo->pc->temp, float, (size_t)a->n);
  for (int64_t c = 0; c < a->n; c++)
    mult[c] = (float)(at(a->x.scale, c, 1) * at(a->channels, c, 1) / p->words);
  vq_attrs_requantize attrs = {.to = VQ_LIT("i16"), .lo = INT16_MIN, .hi = INT16_MAX};
  vq_value *in[] = {a->x.q, vq_quant_const(lo->m, a->fn->out->name, "mult", VQ_f32, 1, &a->n,
                                           mult)};
  return vq_build1(&lo->b, VQ_OP_requantize, in, 2, &attrs, VQ_LIT(""));
}

static vq_value *function(vq_lowering *lo, const act *a, const plan *p, vq_value *x) {
  vq_attrs_piecewise_int attrs = {.fn = VQ_ATTRS(a->fn, piecewise)->fn,
                                  .step = (float)(p->words / p->most)};
  int16_t *w[4];
  for (unsigned k = 0; k < 4; k++) w[k] = VQ_NEW_N(lo->pc->temp, int16_t, (size_t)a->n);
  for (int64_t c = 0; c < a->n; c++) {
    vq_curve_channel ch = vq_curve_channel_of(attrs.fn, p->words / p->most,
                                              p->words / at(a->channels, c, 1), p->scale);
    w[0][c] = (int16_t)ch.limit, w[1][c] = (int16_t)ch.scale;
    w[2][c] = (int16_t)ch.mult, w[3][c] = ch.gain;
  }
  static const char *const what[] = {"limit", "scale", "mult", "gain"};
  vq_value *in[5] = {x};
  for (unsigned k = 0; k < 4; k++) in[k + 1] = word_const(lo, a, what[k], w[k]);
  return vq_build1(&lo->b, VQ_OP_piecewise_int, in, 5, &attrs, VQ_LIT(""));
}

// Words of the function to the codes that `quantize` makes.
static vq_value *to_codes(vq_lowering *lo, const act *a, const plan *p, const vq_op *quantize,
                          vq_value *x) {
  const vq_attrs_quantize *q = VQ_ATTRS(quantize, quantize);
  vq_attrs_rescale attrs = {.shift = p->shift - q->fine, .to = q->to, .lo = q->lo, .hi = q->hi,
                            .q = q->q, .fine = q->fine};
  vq_value *mult = vq_in(quantize, 1), *zero = vq_in_opt(quantize, 2);
  int16_t *offset = VQ_NEW_N(lo->pc->temp, int16_t, (size_t)a->n);
  double scalar = vq_type_count(mult->type) == 1 ? (double)vq_quant_at(mult, 0) : 1;
  double unit = ldexp(1, p->shift), half = p->shift ? unit / 2 : 0;
  int16_t m = (int16_t)fmin(nearbyint(p->words * scalar * unit * 0x1p15), INT16_MAX);
  for (int64_t c = 0; c < a->n; c++) {
    double v = (at(zero, c, 0) + at(a->offsets, c, 0) * scalar) * unit + half;
    offset[c] = (int16_t)fmin(fmax(nearbyint(v), INT16_MIN), INT16_MAX);
  }
  vq_value *in[] = {x, vq_quant_const(lo->m, a->fn->out->name, "q15", VQ_i16, 0, NULL, &m),
                    word_const(lo, a, "offset", offset)};
  return vq_build1(&lo->b, VQ_OP_rescale, in, 3, &attrs, VQ_LIT(""));
}

// quantize(... piecewise(dequantize(sums))) to codes of 8 bits, or finer ones.
bool vq_lower_quantize_act(vq_lowering *lo, vq_op *op) {
  act a;
  plan p;
  if (!match(op, &a) || !choose(&a, op, &p)) return false;
  vq_value *y = to_words(lo, &a, &p);
  if (y) y = function(lo, &a, &p, y);
  if (y) y = to_codes(lo, &a, &p, op, y);
  return vq_lower_replace(lo, op, y);
}
