// Reading rules about layers.
#include "vq/rules.h"

#include "vq/strbuf.h"
#include "vq/suggest.h"
#include "vq/type.h"

static const struct {
  const char *name;
  bool has_weights;
} roles[VQ_N_ROLES] = {
    [VQ_ROLE_QKV] = {"qkv", true},
    [VQ_ROLE_ATTN_QK] = {"attn.qk", false},
    [VQ_ROLE_ATTN_AV] = {"attn.av", false},
    [VQ_ROLE_PROJ] = {"proj", true},
    [VQ_ROLE_FC1] = {"fc1", true},
    [VQ_ROLE_FC2] = {"fc2", true},
    [VQ_ROLE_PATCH] = {"patch-embed", true},
    [VQ_ROLE_HEAD] = {"head", true},
    [VQ_ROLE_RESIDUAL] = {"residual", false},
    [VQ_ROLE_LINEAR] = {"linear", true},
};

const char *vq_role_name(vq_role r) { return roles[r].name; }
bool vq_role_has_weights(vq_role r) { return roles[r].has_weights; }

vq_loc vq_rules_loc(const vq_rules *r, vq_ctx *ctx, size_t at) {
  return vq_loc_text(ctx, vq_str_of(r->what), 1, (uint32_t)at + 1, vq_intern(ctx, r->text));
}

// ---- terms ------------------------------------------------------------------------

static bool take(vq_str *s, const char *word) {
  size_t n = strlen(word);
  if (s->n < n || memcmp(s->p, word, n) != 0) return false;
  s->p += n, s->n -= n;
  return true;
}

static bool take_number(vq_str *s, int64_t *out) {
  size_t n = 0;
  for (*out = 0; n < s->n && n < 6 && s->p[n] >= '0' && s->p[n] <= '9'; n++)
    *out = 10 * *out + s->p[n] - '0';
  s->p += n, s->n -= n;
  return n > 0;
}

static bool read_range(vq_str s, int64_t out[2]) {
  if (!take_number(&s, &out[0])) return false;
  out[1] = out[0];
  if (s.n && (!take(&s, "..") || !take_number(&s, &out[1]))) return false;
  return s.n == 0 && out[0] <= out[1];
}

static vq_status unknown_term(const vq_rules *r, vq_str term, vq_loc loc, vq_diag *diag) {
  vq_suggest s = vq_suggest_start(term);
  vq_strbuf names = {0};
  for (int i = 0; i < VQ_N_ROLES; i++) {
    vq_suggest_offer(&s, roles[i].name);
    vq_strbuf_printf(&names, "%s%s", i ? ", " : "", roles[i].name);
  }
  vq_error(diag, VQ_E_option, loc,
           "%s: '%.*s' selects no layers, expected block:N..M, stage:N..M, name:GLOB or a "
           "role: %s", r->what, VQ_FMT(term), vq_strbuf_z(&names));
  if (s.best) vq_note(diag, loc, "did you mean '%s'?", s.best);
  vq_strbuf_release(&names);
  return VQ_ERR;
}

static vq_status read_term(const vq_rules *r, vq_rule *to, vq_str term, size_t at,
                           vq_diag *diag) {
  vq_str s = term;
  vq_loc loc = vq_rules_loc(r, diag->ctx, at);
  bool block = take(&s, "block:");
  if (block || take(&s, "stage:")) {
    if (read_range(s, block ? to->block : to->stage)) return VQ_OK;
    return vq_error(diag, VQ_E_option, loc, "%s: '%.*s' is no number or range N..M",
                    r->what, VQ_FMT(s));
  }
  if (take(&s, "name:")) {
    to->name = s;
    return s.n ? VQ_OK : vq_error(diag, VQ_E_option, loc, "%s: name: names nothing", r->what);
  }
  for (int i = 0; i < VQ_N_ROLES; i++)
    if (vq_str_is(term, roles[i].name)) {
      to->has_role = true;
      to->role = (vq_role)i;
      return VQ_OK;
    }
  return unknown_term(r, term, loc, diag);
}

static vq_status read_rule(const vq_rules *r, vq_str part, vq_rule *to, vq_diag *diag) {
  size_t at = (size_t)(part.p - r->text.p), n = part.n;
  while (n > 0 && part.p[n - 1] != '=') n--;
  if (n < 2 || n == part.n)
    return vq_error(diag, VQ_E_option, vq_rules_loc(r, diag->ctx, at),
                    "%s: expected SELECTOR=VALUE, found '%.*s'", r->what, VQ_FMT(part));
  *to = (vq_rule){.block = {-1, -1}, .stage = {-1, -1}, .at = at,
                  .at_value = at + n, .selector = {part.p, n - 1},
                  .value = {part.p + n, part.n - n}};
  vq_str rest = to->selector;
  for (size_t i = 0, k; i <= rest.n; i += k + 1) {
    vq_str term = {rest.p + i, rest.n - i};
    for (k = 0; k < term.n && (term.p[k] != '+' || take(&(vq_str){term.p, term.n}, "name:"));)
      k++;
    term.n = k;
    if (read_term(r, to, term, at + i, diag)) return VQ_ERR;
  }
  return VQ_OK;
}

vq_status vq_rules_parse(vq_arena *arena, const char *what, vq_str text, vq_diag *diag,
                         vq_rules *out) {
  unsigned most = 0;
  for (size_t i = 0; i < text.n; i++) most += text.p[i] == ',';
  *out = (vq_rules){.what = what, .text = text, .rule = VQ_NEW_N(arena, vq_rule, most)};
  for (size_t i = 0, n; i <= text.n; i += n + 1) {
    for (n = 0; i + n < text.n && text.p[i + n] != ',';) n++;
    vq_str part = {text.p + i, n};
    if (i == 0) {
      out->all = part;
      continue;
    }
    vq_rule *r = &out->rule[out->n++];
    if (read_rule(out, part, r, diag)) return VQ_ERR;
    out->by_place |= r->block[0] >= 0 || r->stage[0] >= 0;
  }
  return VQ_OK;
}

// ---- matching ---------------------------------------------------------------------

// A star takes as little as it can; after a mismatch the last one takes more.
static bool glob_matches(vq_str glob, vq_str s) {
  size_t g = 0, i = 0, star = SIZE_MAX, from = 0;
  while (i < s.n) {
    if (g < glob.n && glob.p[g] == '*') {
      star = g++;
      from = i;
    } else if (g < glob.n && (glob.p[g] == '?' || glob.p[g] == s.p[i])) {
      g++, i++;
    } else if (star != SIZE_MAX) {
      g = star + 1;
      i = ++from;
    } else {
      return false;
    }
  }
  while (g < glob.n && glob.p[g] == '*') g++;
  return g == glob.n;
}

static bool in_range(const int64_t r[2], int64_t v) {
  return r[0] < 0 || (v >= r[0] && v <= r[1]);
}

bool vq_rule_matches(const vq_rule *r, const vq_layer *l) {
  if (r->has_role && r->role != l->role) return false;
  if (!in_range(r->block, l->block) || !in_range(r->stage, l->stage)) return false;
  return !r->name.n || glob_matches(r->name, l->result) || glob_matches(r->name, l->weights);
}

// ---- rules about nothing ------------------------------------------------------------

// What there is instead.
static void say_what_there_is(const vq_rule *r, const vq_layer *layer, size_t n,
                              vq_diag *diag) {
  int64_t block = -1, stage = -1;
  vq_suggest name = vq_suggest_start(r->name);
  bool role = false;
  for (size_t i = 0; i < n; i++) {
    const vq_layer *l = &layer[i];
    if (l->block > block) block = l->block;
    if (l->stage > stage) stage = l->stage;
    role |= l->role == r->role;
    if (l->weights.n) vq_suggest_offer(&name, vq_intern(diag->ctx, l->weights).p);
    if (l->result.n) vq_suggest_offer(&name, vq_intern(diag->ctx, l->result).p);
  }
  if (r->block[0] >= 0 && block < 0)
    vq_note(diag, (vq_loc){0}, "the network has no blocks");
  else if (r->block[1] > block)
    vq_note(diag, (vq_loc){0}, "the last block is %lld", (long long)block);
  if (r->stage[1] > stage)
    vq_note(diag, (vq_loc){0}, "the last stage is %lld", (long long)stage);
  if (r->has_role && !role)
    vq_note(diag, (vq_loc){0}, "no layer has the role '%s'", roles[r->role].name);
  if (r->name.n && name.best) vq_note(diag, (vq_loc){0}, "did you mean '%s'?", name.best);
}

vq_status vq_rules_check(const vq_rules *r, const vq_layer *layer, size_t n, vq_diag *diag) {
  vq_status s = VQ_OK;
  for (unsigned k = 0; k < r->n; k++) {
    bool used = false;
    for (size_t i = 0; i < n && !used; i++) used = vq_rule_matches(&r->rule[k], &layer[i]);
    if (used) continue;
    s = vq_error(diag, VQ_E_option, vq_rules_loc(r, diag->ctx, r->rule[k].at),
                 "%s: no layer of the network is '%.*s'", r->what,
                 VQ_FMT(r->rule[k].selector));
    say_what_there_is(&r->rule[k], layer, n, diag);
  }
  return s;
}
