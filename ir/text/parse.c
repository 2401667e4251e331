// Parser, module level: the statements, tokens' meaning, error recovery.
//
// Recovery is by lines: a statement that fails is dropped with the rest of its
// line. Function bodies are read only when the module level is right, since
// everything in them depends on it.
#include "text/parser.h"
#include "vq/strbuf.h"
#include "vq/text.h"
#include "vq/verify.h"

// ---- messages -------------------------------------------------------------

vq_loc vq_parser_loc(vq_parser *p, const vq_tok *t) {
  uint32_t col;
  vq_str line = vq_lex_line(&p->lx, t, &col);
  return vq_loc_text(p->ctx, p->path.n ? p->path : VQ_LIT("model.vq"), t->line, col, line);
}

bool vq_parser_fail(vq_parser *p, vq_code code, const vq_tok *at,
                    const char *fmt, ...) {
  if (p->n_error++ >= VQ_PARSER_MAX_ERROR) return false;
  vq_strbuf text = {0};
  va_list ap;
  va_start(ap, fmt);
  vq_strbuf_vprintf(&text, fmt, ap);
  va_end(ap);
  vq_error(p->diag, code, vq_parser_loc(p, at), "%s", vq_strbuf_z(&text));
  vq_strbuf_release(&text);
  return false;
}

bool vq_parser_expected(vq_parser *p, const char *what) {
  const vq_tok *t = &p->tok;
  switch (t->kind) {
    case VQ_TOK_BAD:
      return vq_parser_fail(p, VQ_E_parse, t, "%.*s", VQ_FMT(t->text));
    case VQ_TOK_EOF:
      return vq_parser_fail(p, VQ_E_parse, t,
                            "expected %s, found end of file", what);
    case VQ_TOK_EOL:
      return vq_parser_fail(p, VQ_E_parse, t,
                            "expected %s, found end of line", what);
    case VQ_TOK_WORD:
    case VQ_TOK_STRING:
    case VQ_TOK_LOCAL:
    case VQ_TOK_GLOBAL:
    case VQ_TOK_ARROW:
    case VQ_TOK_PUNCT:
      break;
  }
  vq_str raw = t->raw;
  if (raw.n > 40) raw.n = 40;
  return vq_parser_fail(p, VQ_E_parse, t, "expected %s, found '%.*s'", what,
                        VQ_FMT(raw));
}

const char *vq_parser_z(vq_parser *p, char sigil, vq_str name) {
  vq_strbuf b = {0};
  vq_print_name(&b, sigil, name);
  vq_str copy = vq_arena_str(&p->temp, vq_strbuf_view(&b));
  vq_strbuf_release(&b);
  return copy.p;
}

// ---- tokens ---------------------------------------------------------------

void vq_parser_next(vq_parser *p) { p->tok = vq_lex_next(&p->lx); }

bool vq_parser_at(const vq_parser *p, char punct) {
  return p->tok.kind == VQ_TOK_PUNCT && p->tok.punct == punct;
}

bool vq_parser_at_word(const vq_parser *p, const char *word) {
  return p->tok.kind == VQ_TOK_WORD && vq_str_is(p->tok.text, word);
}

bool vq_parser_take(vq_parser *p, char punct) {
  if (!vq_parser_at(p, punct)) return false;
  vq_parser_next(p);
  return true;
}

bool vq_parser_want(vq_parser *p, char punct) {
  return vq_parser_take(p, punct) ||
         vq_parser_expected(p, (char[]){'\'', punct, '\'', '\0'});
}

bool vq_parser_want_word(vq_parser *p, const char *word) {
  if (!vq_parser_at_word(p, word)) return vq_parser_expected(p, word);
  vq_parser_next(p);
  return true;
}

bool vq_parser_key(vq_parser *p, const char *key) {
  return vq_parser_want_word(p, key) && vq_parser_want(p, '=');
}

static bool at_end(const vq_parser *p) {
  return p->tok.kind == VQ_TOK_EOL || p->tok.kind == VQ_TOK_EOF;
}

bool vq_parser_end(vq_parser *p) {
  if (!at_end(p)) return vq_parser_expected(p, "end of line");
  vq_parser_next(p);
  return true;
}

void vq_parser_skip_line(vq_parser *p) {
  while (!at_end(p)) vq_parser_next(p);
  vq_parser_next(p);
}

// ---- module level -----------------------------------------------------------

// A function whose signature has been read; the body comes in the second round.
typedef struct pending {
  vq_func *func;
  const vq_tok *arg;  // the arguments' names as written
  vq_lex body;        // between the braces
} pending;
typedef VQ_VEC(pending) pending_vec;

// What stands between a function's name and its body.
typedef struct signature {
  VQ_VEC(const vq_type *) arg, res;
  VQ_VEC(vq_tok) arg_name;
  VQ_VEC(vq_str) res_name;
} signature;

static void signature_release(signature *s) {
  vq_vec_release(&s->arg);
  vq_vec_release(&s->res);
  vq_vec_release(&s->arg_name);
  vq_vec_release(&s->res_name);
}

static bool parse_module(vq_parser *p) {
  vq_str name;
  if (!vq_parser_string(p, &name)) return false;
  p->m->name = vq_arena_str(&p->m->arena, name);
  return true;
}

static bool parse_meta(vq_parser *p) {
  vq_tok at = p->tok;
  vq_str key, value;
  if (!vq_parser_string(p, &key) || !vq_parser_want(p, '=') ||
      !vq_parser_string(p, &value))
    return false;
  if (key.n == 0 || memchr(key.p, 0, key.n))
    return vq_parser_fail(p, VQ_E_parse, &at, "empty or binary metadata key");
  for (const vq_meta *e = p->m->meta; e; e = e->next)
    if (vq_str_eq(e->key, key))
      return vq_parser_fail(p, VQ_E_name, &at, "metadata %s is given twice",
                            vq_parser_z(p, 0, key));
  vq_meta_set(p->m, vq_intern(p->ctx, key).p, value);
  return true;
}

static bool parse_properties(vq_parser *p) {
  do {
    unsigned prop = 1;
    while (vq_prop_name(prop) && !vq_parser_at_word(p, vq_prop_name(prop)))
      prop <<= 1;
    if (!vq_prop_name(prop)) return vq_parser_expected(p, "a property");
    p->m->props |= prop;
    vq_parser_next(p);
  } while (vq_parser_take(p, ','));
  return true;
}

static bool parse_arena(vq_parser *p) {
  return vq_parser_u64(p, &p->m->arena_size);
}

// (%x: T, ...)
static bool parse_params(vq_parser *p, signature *s) {
  if (!vq_parser_want(p, '(')) return false;
  while (!vq_parser_at(p, ')')) {
    const vq_type *type;
    if (s->arg.n && !vq_parser_want(p, ',')) return false;
    if (p->tok.kind != VQ_TOK_LOCAL)
      return vq_parser_expected(p, "an argument such as %x");
    vq_vec_push(&s->arg_name, p->tok);
    vq_parser_next(p);
    if (!vq_parser_want(p, ':') || !vq_parser_type(p, &type)) return false;
    vq_vec_push(&s->arg, type);
  }
  vq_parser_next(p);
  return true;
}

// (name: T, T, ...)
static bool parse_results(vq_parser *p, signature *s) {
  if (p->tok.kind != VQ_TOK_ARROW) return vq_parser_expected(p, "'->'");
  vq_parser_next(p);
  if (!vq_parser_want(p, '(')) return false;
  while (!vq_parser_at(p, ')')) {
    const vq_type *type;
    if (s->res.n && !vq_parser_want(p, ',')) return false;
    vq_str name = VQ_LIT("");
    vq_lex ahead = p->lx;
    vq_tok after = vq_lex_next(&ahead);
    if (after.kind == VQ_TOK_PUNCT && after.punct == ':') {
      if (p->tok.kind != VQ_TOK_WORD && p->tok.kind != VQ_TOK_STRING)
        return vq_parser_expected(p, "a result name");
      name = p->tok.text;
      vq_parser_next(p);
      vq_parser_next(p);
    }
    if (!vq_parser_type(p, &type)) return false;
    vq_vec_push(&s->res, type);
    vq_vec_push(&s->res_name, name);
  }
  vq_parser_next(p);
  return true;
}

static vq_func *make_func(vq_parser *p, vq_func_kind kind, vq_str name,
                          const signature *s) {
  vq_arena *a = &p->m->arena;
  vq_str *names = VQ_NEW_N(&p->temp, vq_str, s->arg.n);
  for (size_t i = 0; i < s->arg.n; i++)
    if (!vq_parser_is_number(&s->arg_name.p[i]))
      names[i] = s->arg_name.p[i].text;
  vq_func *f = vq_func_create(p->m, kind, name, (unsigned)s->arg.n, s->arg.p,
                              names);
  f->n_result = (uint32_t)s->res.n;
  f->result = VQ_NEW_N(a, const vq_type *, s->res.n);
  f->result_name = VQ_NEW_N(a, vq_str, s->res.n);
  for (uint32_t i = 0; i < f->n_result; i++) {
    f->result[i] = s->res.p[i];
    f->result_name[i] = vq_arena_str(a, s->res_name.p[i]);
  }
  return f;
}

// Skips to behind the brace that closes a body, which ends at `out_end`; the
// current token is the opening brace.
static bool skip_body(vq_parser *p, const char **out_end) {
  vq_tok open = p->tok;
  unsigned depth = 0;
  do {
    if (p->tok.kind == VQ_TOK_EOF)
      return vq_parser_fail(p, VQ_E_parse, &open, "this brace is never closed");
    if (vq_parser_at(p, '{')) depth++;
    if (vq_parser_at(p, '}')) depth--;
    if (p->tok.kind == VQ_TOK_EOL) depth = 1;  // attributes end with their line
    *out_end = p->tok.raw.p;
    vq_parser_next(p);
  } while (depth);
  return true;
}

static bool parse_func(vq_parser *p, vq_func_kind kind, pending_vec *todo) {
  signature s = {0};
  vq_str name;
  vq_tok at = p->tok;
  bool ok = vq_parser_global(p, &name) && parse_params(p, &s) &&
            parse_results(p, &s);
  if (ok && !vq_parser_at(p, '{')) ok = vq_parser_want(p, '{');
  // A broken signature still has a body to skip.
  while (!at_end(p) && !vq_parser_at(p, '{')) vq_parser_next(p);
  pending one = {.body = p->lx};
  bool closed = at_end(p) || skip_body(p, &one.body.end);
  if (ok && closed && vq_module_func(p->m, name))
    ok = vq_parser_fail(p, VQ_E_name, &at, "function %s is defined twice",
                        vq_parser_z(p, '@', name));
  if (ok && closed) {
    one.func = make_func(p, kind, name, &s);
    one.arg = vq_arena_copy(&p->temp, s.arg_name.p,
                            s.arg_name.n * sizeof *s.arg_name.p,
                            _Alignof(vq_tok));
    vq_vec_push(todo, one);
  }
  signature_release(&s);
  return ok && closed;
}

static bool parse_statement(vq_parser *p, pending_vec *todo) {
  static const struct {
    const char *word;
    bool (*parse)(vq_parser *);
  } simple[] = {{"module", parse_module},         {"meta", parse_meta},
                {"properties", parse_properties}, {"arena", parse_arena},
                {"quant", vq_parser_quant},       {"const", vq_parser_const},
                {"loc", vq_parser_loc_entry}};
  for (size_t i = 0; i < VQ_COUNT(simple); i++)
    if (vq_parser_at_word(p, simple[i].word)) {
      vq_parser_next(p);
      return simple[i].parse(p);
    }
  if (vq_parser_at_word(p, "func") || vq_parser_at_word(p, "kernel")) {
    bool is_kernel = vq_parser_at_word(p, "kernel");
    vq_parser_next(p);
    return parse_func(p, is_kernel ? VQ_KERNEL : VQ_FUNC, todo);
  }
  return vq_parser_expected(p, "a statement (module, meta, properties, arena, "
                            "quant, const, func, kernel or loc)");
}

static bool parse_header(vq_parser *p) {
  uint64_t version;
  if (!vq_parser_at_word(p, "vq")) return vq_parser_expected(p, "'vq 1'");
  vq_parser_next(p);
  vq_tok at = p->tok;
  if (!vq_parser_u64(p, &version)) return false;
  if (version != 1)
    return vq_parser_fail(p, VQ_E_parse, &at,
                          "text form version %llu, this compiler reads 1",
                          (unsigned long long)version);
  return vq_parser_end(p);
}

static void parse_all(vq_parser *p) {
  pending_vec todo = {0};
  vq_parser_next(p);
  if (p->tok.kind == VQ_TOK_EOL) vq_parser_next(p);
  if (!parse_header(p)) return;
  while (p->tok.kind != VQ_TOK_EOF && p->n_error < VQ_PARSER_MAX_ERROR)
    if (!parse_statement(p, &todo) || !vq_parser_end(p))
      vq_parser_skip_line(p);
  if (p->n_error > 0) todo.n = 0;
  for (size_t i = 0; i < todo.n && p->n_error < VQ_PARSER_MAX_ERROR; i++) {
    p->lx = todo.p[i].body;
    vq_parser_next(p);
    vq_parser_body(p, todo.p[i].func, todo.p[i].arg);
  }
  vq_vec_release(&todo);
}

vq_status vq_parse(vq_ctx *ctx, vq_str text, const char *path, vq_diag *diag,
                   vq_module **out) {
  vq_parser p = {.ctx = ctx, .diag = diag, .path = vq_str_of(path)};
  p.lx = (vq_lex){text.p, text.p, text.p + text.n, 1, &p.temp};
  p.m = vq_module_create(ctx, VQ_LIT("model"));
  parse_all(&p);
  vq_map_release(&p.locs);
  vq_map_release(&p.named);
  vq_map_release(&p.numbered);
  vq_arena_release(&p.temp);
  if (p.n_error == 0 && vq_verify(p.m, diag) == VQ_OK) {
    *out = p.m;
    return VQ_OK;
  }
  vq_module_destroy(p.m);
  *out = NULL;
  return VQ_ERR;
}
