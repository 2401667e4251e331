// Reading widths of codes.
#include "vq/bits.h"

static bool take(vq_str *s, const char *word) {
  size_t n = strlen(word);
  if (s->n < n || memcmp(s->p, word, n) != 0) return false;
  s->p += n, s->n -= n;
  return true;
}

// A number without sign or leading zero, or "float"; 0: neither.
static int take_width(vq_str *s) {
  if (take(s, "float")) return VQ_BITS_FLOAT;
  int v = 0;
  for (; s->n && s->p[0] >= '0' && s->p[0] <= '9' && v < 100; s->p++, s->n--) {
    if (v == 0 && s->p[0] == '0') return 0;
    v = 10 * v + s->p[0] - '0';
  }
  return v;
}

// wN, aM, wNaM or float; what is not given stays 0.
static bool read_widths(vq_str s, vq_widths *out) {
  *out = (vq_widths){0, 0};
  if (vq_str_is(s, "float")) {
    *out = (vq_widths){VQ_BITS_FLOAT, VQ_BITS_FLOAT};
    return true;
  }
  if (!s.n || (take(&s, "w") && !(out->w = take_width(&s)))) return false;
  if (take(&s, "a") && !(out->a = take_width(&s))) return false;
  return s.n == 0;
}

static bool is_width(int v) { return (v >= 3 && v <= 8) || v == VQ_BITS_FLOAT; }

// NULL, or what is wrong with the widths of a rule.
static const char *wrong_widths(const vq_rule *r, vq_widths *out) {
  static const char range[] = "expected wN, aM, wNaM or float; N, M: 3 to 8 or float";
  bool residual = r->has_role && r->role == VQ_ROLE_RESIDUAL;
  if (!read_widths(r->value, out)) return range;
  if (out->a && !is_width(out->a) && !(residual && out->a == 16))
    return residual ? "expected aM or float; M: 3 to 8, 16 or float" : range;
  if (out->w && !is_width(out->w)) return range;
  bool all = out->w == VQ_BITS_FLOAT && out->a == VQ_BITS_FLOAT;
  if (r->has_role && !vq_role_has_weights(r->role) && out->w && !all)
    return "there are no weights, expected aM or float";
  return NULL;
}

vq_status vq_bits_parse(vq_arena *arena, vq_str text, vq_diag *diag, vq_bits *out) {
  *out = (vq_bits){0};
  if (vq_rules_parse(arena, "bits", text, diag, &out->rules)) return VQ_ERR;
  vq_rules *r = &out->rules;
  if (!read_widths(r->all, &out->all) || !is_width(out->all.w) || !is_width(out->all.a))
    return vq_error(diag, VQ_E_option, vq_rules_loc(r, diag->ctx, 0),
                    "bits: '%.*s' is no width of all layers, expected wNaM or float; N, M: 3 "
                    "to 8 or float", VQ_FMT(r->all));
  out->of = VQ_NEW_N(arena, vq_widths, r->n);
  for (unsigned i = 0; i < r->n; i++) {
    const char *wrong = wrong_widths(&r->rule[i], &out->of[i]);
    if (wrong)
      return vq_error(diag, VQ_E_option,
                      vq_rules_loc(r, diag->ctx, r->rule[i].at_value),
                      "bits: '%.*s' is no width of '%.*s': %s", VQ_FMT(r->rule[i].value),
                      VQ_FMT(r->rule[i].selector), wrong);
  }
  return VQ_OK;
}

// What no rule is about.
static vq_widths default_of(const vq_bits *b, vq_role role) {
  int least = role == VQ_ROLE_PATCH || role == VQ_ROLE_HEAD ? 8 : 0;
  vq_widths v = {b->all.w > least ? b->all.w : least, b->all.a > least ? b->all.a : least};
  if (role == VQ_ROLE_RESIDUAL && v.a != VQ_BITS_FLOAT) v.a = 16;
  return v;
}

vq_widths vq_bits_of(const vq_bits *b, const vq_layer *l) {
  vq_widths v = default_of(b, l->role);
  for (unsigned i = 0; i < b->rules.n; i++) {
    const vq_rule *r = &b->rules.rule[i];
    if (l->role == VQ_ROLE_RESIDUAL && !r->has_role) continue;
    if (!vq_rule_matches(r, l)) continue;
    if (b->of[i].w) v.w = b->of[i].w;
    if (b->of[i].a) v.a = b->of[i].a;
  }
  return v;
}
