// The linears that an attention's q, k and v come from, with something between.
//
// Norms and rotary positions stand between q, k and the linear that made them,
// where vq_rule_attention_pack does not see it. Whichever way an exporter wrote
// that linear (over rows or tokens; one for q, k and v, or three), it becomes
// one over tokens [B, N, C], q's features first.
#include "canon/rewriter.h"

enum { MAX_STEPS = 128 };

// True for what may stand between a linear and the attention it belongs to.
static bool is_between(const vq_op *op) {
  if (op->n_out != 1) return false;
  switch ((int)op->code) {
    case VQ_OP_layer_norm:
    case VQ_OP_concat:
    case VQ_OP_expand:
    case VQ_OP_reduce_sum:
    case VQ_OP_reduce_mean:
      return true;
    default:
      return vq_is_movement(op) || vq_has_trait(op, VQ_TRAIT_ELTWISE);
  }
}

static bool only_attention(const vq_value *v, bool direct, unsigned *steps) {
  vq_each_use(v, u) {
    if (u->user->code == VQ_OP_attention) continue;
    if (!*steps || !(direct ? u->user->code == VQ_OP_slice : is_between(u->user)))
      return false;
    --*steps;
    if (!only_attention(&u->user->out[0], direct, steps)) return false;
  }
  return v->uses != NULL;
}

bool vq_feeds_attention(const vq_value *v, bool direct) {
  unsigned steps = MAX_STEPS;
  return only_attention(v, direct, &steps);
}

typedef struct sources {
  vq_value *lin[VQ_MAX_PARTS];  // in the order of q, k, v
  unsigned n, steps;
} sources;

static bool find_sources(vq_value *v, sources *s) {
  if (vq_const_of(v)) return true;
  if (v->kind != VQ_VALUE_RESULT || !s->steps) return false;
  s->steps--;
  vq_op *op = v->def;
  if (op->code == VQ_OP_linear) {
    for (unsigned i = 0; i < s->n; i++)
      if (s->lin[i] == v) return true;
    if (s->n == VQ_MAX_PARTS) return false;
    s->lin[s->n++] = v;
    return true;
  }
  if (!is_between(op)) return false;
  for (unsigned i = 0; i < op->n_in; i++)
    if (!find_sources(vq_in(op, i), s)) return false;
  return true;
}

// The first op that may read `x`.
static vq_op *behind(const vq_rw *rw, const vq_value *x) {
  return x->kind == VQ_VALUE_RESULT ? x->def->next : rw->func->first;
}

// Replaces the linears by one over tokens, as `lead` has them.
static bool pack_sources(vq_rw *rw, const sources *s, const vq_type *lead) {
  vq_value *v[VQ_MAX_PARTS];
  memcpy(v, s->lin, sizeof v);
  rw->b.before = behind(rw, vq_rw_plain_input(s->lin[0]->def));
  if (!vq_rw_pack(rw, v, s->n, lead, true)) return false;
  for (unsigned i = 0; i < s->n; i++) {
    const vq_type *t = s->lin[i]->type;
    v[i] = vq_rw_reshape(rw, v[i], t->rank, t->dim);
  }
  for (unsigned i = 0; i < s->n; i++)
    vq_rw_replace(rw, s->lin[i]->def, v[i], i == 1 ? "packed_qkv" : NULL);
  return true;
}

// True when the rows of `t` are the tokens of `q`, [B, N, ..], in this order as
// far as its shape tells: [N, B, ..] has them in another.
static bool has_tokens_of(const vq_type *t, const vq_type *q) {
  int64_t batch = q->dim[0];
  return vq_type_count(t) / t->dim[t->rank - 1] == batch * q->dim[1] &&
         (t->rank != 3 || batch == 1 || t->dim[0] == batch);
}

// The linears behind `n` operands from `first` on.
static bool group(vq_rw *rw, const vq_op *op, unsigned first, unsigned n) {
  sources s = {.steps = MAX_STEPS};
  const vq_type *lead = vq_in(op, first)->type;
  for (unsigned i = first; i < first + n; i++)
    if (!find_sources(vq_in(op, i), &s)) return false;
  for (unsigned i = 0; i < s.n; i++)
    if (!has_tokens_of(s.lin[i]->type, lead) ||
        !vq_feeds_attention(s.lin[i], false))
      return false;
  return s.n && pack_sources(rw, &s, lead);
}

// q, k and v of one tensor, or q of one and k and v of another.
bool vq_rule_attention_source(vq_rw *rw, vq_op *op) {
  bool alike = vq_in(op, 0)->type->dim[1] == vq_in(op, 1)->type->dim[1];
  return (alike && group(rw, op, 0, 3)) || group(rw, op, 0, 1) ||
         group(rw, op, 1, 2);
}
