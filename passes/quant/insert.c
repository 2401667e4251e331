// insert-quantizers: a fake_quant where a value will be a code.
//
// Quantized are: inputs and weights of linear and patch_embed, operands of
// attention, and the residual stream, which is every value a layer_norm or a mean
// reads. Its quantizer sits where the value is computed, not where slices, windows
// or merged patches of it are read: one code then serves all its readers.
// Biases, position tables and norms' parameters stay float until lower-int folds
// them. Scales are 0, not known; until they are, a quantizer passes its input.
//
// --bits gives the widths, of all or by rules about layers (vq/bits.h). What is said to
// be float gets no quantizer. Codes of q, k and v lie around 128 whatever the width, so that
// the three parts of a packed projection share one range. Probabilities are no value
// of their own: attention is told how to code them. The first and the last layer
// keep at least 8 bits (methods of the field agree that less costs more there than it
// saves); the residual stream has 16.
#include "quant/places.h"
#include "vq/vec.h"

typedef struct inserter {
  vq_module *m;
  vq_func *f;
  vq_pass_ctx *pc;
  vq_bits bits;
  vq_rules probability;
  vq_places places;
  VQ_VEC(vq_layer) layer;    // all that rules may be about
  VQ_VEC(vq_layer) weighted; // of these, attentions that weigh v by probabilities
} inserter;

// Widths of a layer, which rules may be about from now on.
static vq_widths widths(inserter *s, const vq_op *op, vq_role role) {
  vq_layer l = vq_quant_layer(&s->places, op, role);
  vq_vec_push(&s->layer, l);
  if (role == VQ_ROLE_ATTN_AV) vq_vec_push(&s->weighted, l);
  vq_widths v = vq_bits_of(&s->bits, &l);
  if (VQ_OPTS(s->pc, vq_pass_insert_quantizers)->weights_only) v.a = VQ_BITS_FLOAT;
  return v;
}

static vq_value *zero_const(inserter *s, vq_str base, const char *suffix,
                            float v) {
  return vq_quant_const(s->m, base, suffix, VQ_f32, 0, NULL, &v);
}

// fake_quant of `x` with an unknown scale, before `before`.
static vq_value *quantizer(inserter *s, vq_value *x, vq_op *before,
                           const char *role, int64_t lo, int64_t hi,
                           float zero) {
  vq_builder b = {s->f, before, before ? before->loc : (vq_loc){0}, s->pc->diag};
  vq_attrs_fake_quant a = {.lo = lo, .hi = hi, .role = vq_str_of(role)};
  vq_value *in[] = {x, zero_const(s, x->name, "scale", 0),
                    zero_const(s, x->name, "zero", zero)};
  vq_stat(s->pc, role, 1);
  return vq_build1(&b, VQ_OP_fake_quant, in, 3, &a, VQ_LIT(""));
}

// Where the quantizer of `v` goes; constants may be quantized anywhere.
static vq_op *after(const inserter *s, const vq_value *v) {
  return v->kind == VQ_VALUE_RESULT ? v->def->next : s->f->first;
}

// What `v` is a copy or a part of.
static vq_value *source_of(vq_value *v) {
  while (v->kind == VQ_VALUE_RESULT && vq_quant_moves(v->def)) v = vq_in(v->def, 0);
  return v;
}

static const char *role_of(vq_value *x) {
  if (vq_quant_def(source_of(x), VQ_OP_attention)) return "o";
  if (x->kind != VQ_VALUE_RESULT) return "linear";
  switch ((int)x->def->code) {
    case VQ_OP_layer_norm: return "norm";
    case VQ_OP_gelu:
    case VQ_OP_silu: return "act";
    default: return "linear";
  }
}

// A quantizer of `x` with this range, if some earlier reader has one.
static vq_value *existing(const vq_value *x, const char *role, int64_t lo,
                          int64_t hi) {
  vq_each_use(x, u) {
    const vq_op *op = u->user;
    if (!vq_quant_is(op, role) || u->idx != VQ_FQ_X) continue;
    const vq_attrs_fake_quant *a = VQ_ATTRS(op, fake_quant);
    if (a->lo == lo && a->hi == hi) return op->out;
  }
  return NULL;
}

// Operand `i` of `op` through a quantizer; a residual gets one on top of its own.
static vq_status quantize_operand(inserter *s, vq_op *op, unsigned i,
                                  const char *role, int64_t lo, int64_t hi,
                                  float zero) {
  vq_value *x = vq_in(op, i);  // fold-pixels has made the input's quantizer
  const vq_op *def = vq_quant_def(x, VQ_OP_fake_quant);
  if (def && !vq_quant_is(def, "residual")) return VQ_OK;
  vq_value *y = existing(x, role, lo, hi);
  if (!y) y = quantizer(s, x, after(s, x), role, lo, hi, zero);
  if (!y) return VQ_ERR;
  vq_set_operand(op, i, y);
  return VQ_OK;
}

static vq_status quantize_weight(inserter *s, vq_op *op, int bits) {
  if (!vq_const_of(vq_in(op, 1)) || bits == VQ_BITS_FLOAT) return VQ_OK;
  // With few codes the one more that there is below zero counts.
  int64_t hi = (1 << (bits - 1)) - 1, lo = bits < 8 ? -hi - 1 : -hi;
  return quantize_operand(s, op, 1, "weight", lo, hi, 0);
}

static vq_status quantize_linear(inserter *s, vq_op *op) {
  vq_widths bits = widths(s, op, vq_quant_layer_role(op));
  if (quantize_weight(s, op, bits.w)) return VQ_ERR;
  if (bits.a == VQ_BITS_FLOAT) return VQ_OK;
  return quantize_operand(s, op, 0, role_of(vq_in(op, 0)), 0,
                          ((int64_t)1 << bits.a) - 1, 0);
}

// How the probabilities of an attention are coded with so many bits.
static vq_str probability(inserter *s, const vq_op *op, int bits) {
  vq_layer l = vq_quant_layer(&s->places, op, VQ_ROLE_ATTN_AV);
  vq_str v = s->probability.all;
  for (unsigned i = 0; i < s->probability.n; i++)
    if (vq_rule_matches(&s->probability.rule[i], &l)) v = s->probability.rule[i].value;
  return vq_str_is(v, "auto") ? vq_str_of(bits > 4 ? "uniform" : "log-sqrt2") : v;
}

static vq_status quantize_attention(inserter *s, vq_op *op) {
  static const char *const role[] = {"q", "k", "v"};
  int qk = widths(s, op, VQ_ROLE_ATTN_QK).a, av = widths(s, op, VQ_ROLE_ATTN_AV).a;
  for (unsigned i = 0; i < 3; i++) {
    int bits = i < 2 ? qk : av;
    int64_t half = (int64_t)1 << (bits - 1);
    if (bits != VQ_BITS_FLOAT &&
        quantize_operand(s, op, i, role[i], 128 - half, 127 + half, 128))
      return VQ_ERR;
  }
  if (av == VQ_BITS_FLOAT) return VQ_OK;
  vq_attrs_attention a = *VQ_ATTRS(op, attention);
  a.probability = probability(s, op, av);
  a.probability_bits = av;
  vq_set_attrs(op, &a);
  return VQ_OK;
}

// The residual stream: all readers of what a layer_norm reads see its code.
static vq_status quantize_residual(inserter *s, vq_op *op) {
  vq_value *x = source_of(vq_in(op, 0));
  if (x->kind != VQ_VALUE_RESULT || x->def->code == VQ_OP_fake_quant) return VQ_OK;
  int bits = widths(s, x->def, VQ_ROLE_RESIDUAL).a;
  if (bits == VQ_BITS_FLOAT) return VQ_OK;
  int64_t hi = ((int64_t)1 << (bits - 1)) - 1;
  vq_value *y = quantizer(s, x, x->def->next, "residual", -hi, hi, 0);
  if (!y) return VQ_ERR;
  vq_replace_uses_except(x, y, y->def);
  return VQ_OK;
}

static vq_status insert(inserter *s, vq_op *op) {
  switch ((int)op->code) {
    case VQ_OP_layer_norm:
    case VQ_OP_reduce_mean: return quantize_residual(s, op);
    case VQ_OP_linear:
    case VQ_OP_patch_embed: return quantize_linear(s, op);
    case VQ_OP_attention: return quantize_attention(s, op);
    default: return VQ_OK;
  }
}

// ---- rules ------------------------------------------------------------------------

static vq_status check_probability(const vq_rules *r, vq_str value, size_t at,
                                   vq_diag *diag) {
  static const char *const code[] = {"auto", "uniform", "log2", "log-sqrt2"};
  for (size_t i = 0; i < VQ_COUNT(code); i++)
    if (vq_str_is(value, code[i])) return VQ_OK;
  return vq_error(diag, VQ_E_option, vq_rules_loc(r, diag->ctx, at),
                  "probability: '%.*s' is no code, expected auto, uniform, log2 or log-sqrt2",
                  VQ_FMT(value));
}

static vq_status read_options(inserter *s) {
  const vq_pass_insert_quantizers_opts *o = VQ_OPTS(s->pc, vq_pass_insert_quantizers);
  vq_diag *diag = s->pc->diag;
  vq_rules *p = &s->probability;
  if (vq_bits_parse(s->pc->temp, o->bits, diag, &s->bits)) return VQ_ERR;
  if (vq_rules_parse(s->pc->temp, "probability", o->probability, diag, p)) return VQ_ERR;
  if (check_probability(p, p->all, 0, diag)) return VQ_ERR;
  for (unsigned i = 0; i < p->n; i++)
    if (check_probability(p, p->rule[i].value, p->rule[i].at_value, diag)) return VQ_ERR;
  if (!s->bits.rules.by_place && !p->by_place) return VQ_OK;
  return vq_places_open(&s->places, s->m, s->pc->temp, diag);
}

static vq_status check_rules(const inserter *s) {
  vq_diag *diag = s->pc->diag;
  vq_status a = vq_rules_check(&s->bits.rules, s->layer.p, s->layer.n, diag);
  vq_status b = vq_rules_check(&s->probability, s->weighted.p, s->weighted.n, diag);
  return a ? a : b;
}

vq_status vq_pass_insert_quantizers(vq_module *m, vq_pass_ctx *pc) {
  inserter s = {.m = m, .f = vq_quant_main(m), .pc = pc};
  if (!s.f) return VQ_OK;
  vq_status st = read_options(&s);
  for (vq_op *op = s.f->first; op && !st; op = op->next) st = insert(&s, op);
  if (!st) st = check_rules(&s);
  vq_places_close(&s.places);
  vq_vec_release(&s.layer);
  vq_vec_release(&s.weighted);
  return st;
}
