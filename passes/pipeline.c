// Pipelines as text: pass[{key=value ...}], ...
//
// Options are typed by the pass's table and stored both as its option struct,
// which the pass reads, and as canonical text, which the printer compares with
// the default.
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "vq/suggest.h"

#include "manager.h"

typedef struct parser {
  vq_pipeline *p;
  vq_str text;
  size_t at;
  vq_diag *diag;
} parser;

static vq_loc here(parser *ps, size_t at) {
  return vq_loc_text(ps->p->ctx, VQ_LIT("pipeline"), 1, (uint32_t)at + 1,
                     vq_intern(ps->p->ctx, ps->text));
}

// ---- scanning -----------------------------------------------------------------

static bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// The next significant character, or 0 at the end.
static char peek(parser *ps) {
  while (ps->at < ps->text.n && is_space(ps->text.p[ps->at])) ps->at++;
  return ps->at < ps->text.n ? ps->text.p[ps->at] : '\0';
}

static bool accept(parser *ps, char c) {
  if (ps->at >= ps->text.n || peek(ps) != c) return false;
  ps->at++;
  return true;
}

static bool ends_word(char c) {
  return is_space(c) || memchr(",{}='\"", c, 6) != NULL;
}

// A run of ordinary characters; may be empty.
static vq_str word(parser *ps) {
  peek(ps);
  size_t start = ps->at;
  while (ps->at < ps->text.n && !ends_word(ps->text.p[ps->at])) ps->at++;
  return (vq_str){ps->text.p + start, ps->at - start};
}

static vq_status expected(parser *ps, const char *what) {
  if (peek(ps))
    return vq_error(ps->diag, VQ_E_pass, here(ps, ps->at),
                    "expected %s, found '%c'", what, ps->text.p[ps->at]);
  return vq_error(ps->diag, VQ_E_pass, here(ps, ps->at),
                  "expected %s, found the end of the pipeline", what);
}

// A word, or anything between two equal quotes.
static vq_status value(parser *ps, vq_str *out) {
  char quote = peek(ps);
  if (quote != '\'' && quote != '"') {
    *out = word(ps);
    return out->n ? VQ_OK : expected(ps, "a value");
  }
  size_t start = ++ps->at;
  while (ps->at < ps->text.n && ps->text.p[ps->at] != quote) ps->at++;
  if (ps->at == ps->text.n)
    return vq_error(ps->diag, VQ_E_pass, here(ps, start - 1),
                    "this quote is never closed");
  *out = (vq_str){ps->text.p + start, ps->at++ - start};
  return VQ_OK;
}

// ---- options ------------------------------------------------------------------

static bool is_choice(const char *choices, vq_str v) {
  for (const char *c = choices;;) {
    const char *end = strchrnul(c, '|');
    if (vq_str_eq(v, (vq_str){c, (size_t)(end - c)})) return true;
    if (!*end) return false;
    c = end + 1;
  }
}

// Stores `text` in `field` and, as it prints, in `*canonical`; returns NULL or, in
// words, what was expected.
static const char *parse_option(vq_arena *arena, const vq_opt_desc *o, vq_str text,
                                void *field, vq_str *canonical) {
  *canonical = vq_arena_str(arena, text);
  const char *z = canonical->p;
  char *end;
  errno = 0;
  switch (o->kind) {
    case VQ_OPT_I64: {
      int64_t v = strtoll(z, &end, 10);
      if (end == z || *end || errno) return "an integer";
      memcpy(field, &v, sizeof v);
      vq_strbuf plain = {0};
      vq_strbuf_printf(&plain, "%lld", (long long)v);
      *canonical = vq_arena_str(arena, vq_strbuf_view(&plain));
      vq_strbuf_release(&plain);
      return NULL;
    }
    case VQ_OPT_F64: {
      double v = strtod(z, &end);
      if (end == z || *end || !isfinite(v)) return "a number";
      memcpy(field, &v, sizeof v);
      return NULL;
    }
    case VQ_OPT_FLAG: {
      bool v = vq_str_is(text, "true");
      if (!v && !vq_str_is(text, "false")) return "true or false";
      memcpy(field, &v, sizeof v);
      return NULL;
    }
    case VQ_OPT_STR:
      if (o->choices && !is_choice(o->choices, text)) return o->choices;
      memcpy(field, canonical, sizeof *canonical);
      return NULL;
  }
  return NULL;
}

const char *vq_pass_option_set(vq_pipeline *p, vq_pass_item *it, unsigned i,
                               vq_str text) {
  const vq_opt_desc *o = &it->pass->opts[i];
  return parse_option(&p->arena, o, text, (char *)it->opts + o->offset, &it->value[i]);
}

const char *vq_pass_option_check(vq_ctx *ctx, const vq_opt_desc *o, vq_str text) {
  vq_str canonical, field;  // as wide as any kind's
  return parse_option(vq_ctx_arena(ctx), o, text, &field, &canonical);
}

static vq_status unknown_option(parser *ps, const vq_pass *pass, vq_str key,
                                vq_loc loc) {
  vq_suggest s = vq_suggest_start(key);
  for (unsigned i = 0; i < pass->n_opts; i++)
    vq_suggest_offer(&s, pass->opts[i].name);
  vq_status st = vq_error(ps->diag, VQ_E_option, loc,
                          "pass '%s' has no option '%.*s'", pass->name,
                          VQ_FMT(key));
  if (s.best) vq_note(ps->diag, loc, "did you mean '%s'?", s.best);
  return st;
}

// key = value
static vq_status option(parser *ps, vq_pass_item *it, uint64_t *seen) {
  vq_str key = word(ps), v = {0};
  vq_loc loc = here(ps, ps->at - key.n);
  if (!key.n) return expected(ps, "an option or '}'");
  unsigned i = 0;
  while (i < it->pass->n_opts && !vq_str_is(key, it->pass->opts[i].name)) i++;
  if (i == it->pass->n_opts) return unknown_option(ps, it->pass, key, loc);
  if (*seen & UINT64_C(1) << i)
    return vq_error(ps->diag, VQ_E_option, loc, "option '%.*s' is given twice",
                    VQ_FMT(key));
  *seen |= UINT64_C(1) << i;
  if (!accept(ps, '=')) return expected(ps, "'='");
  if (value(ps, &v)) return VQ_ERR;
  const char *want = vq_pass_option_set(ps->p, it, i, v);
  if (!want) return VQ_OK;
  return vq_error(ps->diag, VQ_E_option, loc,
                  "option '%.*s' of pass '%s' is '%.*s', expected %s",
                  VQ_FMT(key), it->pass->name, VQ_FMT(v), want);
}

// ---- passes -------------------------------------------------------------------

vq_status vq_pass_unknown(vq_diag *diag, vq_loc loc, vq_str name) {
  unsigned n;
  const vq_pass *list = vq_pass_list(&n);
  vq_suggest s = vq_suggest_start(name);
  for (unsigned i = 0; i < n; i++) vq_suggest_offer(&s, list[i].name);
  const vq_pass *p;
  for (unsigned i = 0; (p = vq_plugin_pass_at(diag->ctx, i)); i++)
    vq_suggest_offer(&s, p->name);
  vq_status st =
      vq_error(diag, VQ_E_pass, loc, "unknown pass '%.*s'", VQ_FMT(name));
  if (s.best) vq_note(diag, loc, "did you mean '%s'?", s.best);
  return st;
}

static void set_defaults(vq_pipeline *p, vq_pass_item *it, const vq_pass *pass) {
  it->pass = pass;
  it->opts = vq_arena_alloc(&p->arena, pass->opts_size, 16);
  it->value = VQ_NEW_N(&p->arena, vq_str, pass->n_opts);
  for (unsigned i = 0; i < pass->n_opts; i++)
    if (vq_pass_option_set(p, it, i, vq_str_of(pass->opts[i].def)))
      VQ_BUG("bad default of option %s", pass->opts[i].name);
}

static vq_status pass_item(parser *ps, vq_pass_item *it) {
  vq_str name = word(ps);
  vq_loc loc = here(ps, ps->at - name.n);
  if (!name.n) return expected(ps, "the name of a pass");
  const vq_pass *pass = vq_pass_find(ps->p->ctx, name);
  if (!pass) return vq_pass_unknown(ps->diag, loc, name);
  set_defaults(ps->p, it, pass);
  uint64_t seen = 0;
  if (!accept(ps, '{')) return VQ_OK;
  while (!accept(ps, '}'))
    if (option(ps, it, &seen)) return VQ_ERR;
  return VQ_OK;
}

static vq_status items(parser *ps) {
  unsigned cap = 1;
  for (size_t i = 0; i < ps->text.n; i++) cap += ps->text.p[i] == ',';
  ps->p->item = VQ_NEW_N(&ps->p->arena, vq_pass_item, cap);
  if (!peek(ps)) return VQ_OK;
  do
    if (pass_item(ps, &ps->p->item[ps->p->n++])) return VQ_ERR;
  while (accept(ps, ','));
  return peek(ps) ? expected(ps, "',' between passes") : VQ_OK;
}

vq_status vq_pipeline_parse(vq_ctx *ctx, vq_str text, vq_diag *diag,
                            vq_pipeline **out) {
  vq_pipeline *p = calloc(1, sizeof *p);
  if (!p) vq_oom(sizeof *p);
  p->ctx = ctx;
  parser ps = {.p = p, .text = text, .diag = diag};
  *out = p;
  if (items(&ps) == VQ_OK) return VQ_OK;
  vq_pipeline_destroy(p);
  *out = NULL;
  return VQ_ERR;
}

void vq_pipeline_destroy(vq_pipeline *p) {
  if (!p) return;
  vq_arena_release(&p->arena);
  free(p);
}

// ---- printing -----------------------------------------------------------------

static bool is_plain(vq_str v) {
  for (size_t i = 0; i < v.n; i++)
    if (ends_word(v.p[i])) return false;
  return v.n > 0;
}

void vq_pass_item_print(vq_strbuf *out, const vq_pass_item *it) {
  vq_strbuf_puts(out, it->pass->name);
  char before = '{';
  for (unsigned i = 0; i < it->pass->n_opts; i++) {
    vq_str v = it->value[i];
    if (vq_str_is(v, it->pass->opts[i].def)) continue;
    const char *quote = is_plain(v) ? "" : memchr(v.p, '"', v.n) ? "'" : "\"";
    vq_strbuf_printf(out, "%c%s=%s%.*s%s", before, it->pass->opts[i].name,
                     quote, VQ_FMT(v), quote);
    before = ' ';
  }
  if (before == ' ') vq_strbuf_putc(out, '}');
}

void vq_pipeline_print(vq_strbuf *out, const vq_pipeline *p) {
  for (unsigned i = 0; i < p->n; i++) {
    if (i) vq_strbuf_putc(out, ',');
    vq_pass_item_print(out, &p->item[i]);
  }
}

void vq_pipeline_print_pass(vq_strbuf *out, const vq_pipeline *p, unsigned i) {
  vq_pass_item_print(out, &p->item[i]);
}

unsigned vq_pipeline_length(const vq_pipeline *p) { return p->n; }

const vq_pass *vq_pipeline_pass(const vq_pipeline *p, unsigned i) {
  return p->item[i].pass;
}

unsigned vq_pipeline_find(const vq_pipeline *p, const char *name) {
  unsigned i = 0;
  while (i < p->n && strcmp(p->item[i].pass->name, name) != 0) i++;
  return i;
}

vq_status vq_pipeline_set(vq_pipeline *p, unsigned at, vq_str options, vq_diag *diag) {
  assert(at < p->n);
  parser ps = {.p = p, .text = options, .diag = diag};
  uint64_t seen = 0;
  while (peek(&ps))
    if (option(&ps, &p->item[at], &seen)) return VQ_ERR;
  return VQ_OK;
}

void vq_pipeline_trim(vq_pipeline *p, unsigned first, unsigned last) {
  assert(first <= last && last <= p->n);
  p->item += first;
  p->n = last - first;
}

void vq_pipeline_insert(vq_pipeline *p, unsigned at, const vq_pass *pass) {
  assert(at <= p->n);
  vq_pass_item *item = VQ_NEW_N(&p->arena, vq_pass_item, p->n + 1);
  memcpy(item, p->item, at * sizeof *item);
  memcpy(item + at + 1, p->item + at, (p->n - at) * sizeof *item);
  set_defaults(p, &item[at], pass);
  p->item = item;
  p->n++;
}
