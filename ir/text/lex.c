// The tokenizer: no allocation but for strings with escapes, no lookahead
// beyond two bytes, every byte of hostile input is consumed once.
#include "text/lex.h"

// [A-Za-z0-9_.$-]: what names may hold without quotes.
static bool is_bare(unsigned char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '$' || c == '-';
}

bool vq_lex_is_bare(vq_str name) {
  for (size_t i = 0; i < name.n; i++)
    if (!is_bare((unsigned char)name.p[i])) return false;
  return name.n > 0;
}

static bool at_comment(const vq_lex *lx) {
  return lx->end - lx->p >= 2 && lx->p[0] == '/' && lx->p[1] == '/';
}

// Skips blanks and comments; returns whether a line end was among them.
static bool skip_space(vq_lex *lx) {
  bool crossed = false;
  while (lx->p < lx->end) {
    if (*lx->p == '\n') {
      crossed = true;
      lx->line++;
      lx->p++;
    } else if (*lx->p == ' ' || *lx->p == '\t' || *lx->p == '\r') {
      lx->p++;
    } else if (at_comment(lx)) {
      while (lx->p < lx->end && *lx->p != '\n') lx->p++;
    } else {
      break;
    }
  }
  return crossed;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Unescapes `body`; false when an escape is unknown.
static bool unescape(vq_arena *arena, vq_str body, vq_str *out) {
  char *to = vq_arena_alloc(arena, body.n, 1);
  size_t n = 0;
  for (size_t i = 0; i < body.n; i++) {
    char c = body.p[i];
    if (c == '\\') {
      c = body.p[++i];  // the closing quote's search made sure there is one
      if (c == 'x') {
        int hi = i + 1 < body.n ? hex_digit(body.p[i + 1]) : -1;
        int lo = i + 2 < body.n ? hex_digit(body.p[i + 2]) : -1;
        if (hi < 0 || lo < 0) return false;
        c = (char)(hi << 4 | lo);
        i += 2;
      } else if (c == 'n' || c == 't') {
        c = c == 'n' ? '\n' : '\t';
      } else if (c != '"' && c != '\\') {
        return false;
      }
    }
    to[n++] = c;
  }
  *out = (vq_str){to, n};
  return true;
}

static void make_bad(vq_tok *t, const char *what) {
  t->kind = VQ_TOK_BAD;
  t->text = vq_str_of(what);
}

// A quoted string at lx->p, which is at the opening quote.
static void lex_string(vq_lex *lx, vq_tok *t) {
  const char *body = ++lx->p;
  bool escaped = false, control = false;
  while (lx->p < lx->end && *lx->p != '"' && *lx->p != '\n') {
    if ((unsigned char)*lx->p < 0x20 || *lx->p == 0x7f) control = true;
    if (*lx->p == '\\') {
      escaped = true;
      if (lx->end - lx->p > 1 && lx->p[1] != '\n') lx->p++;
    }
    lx->p++;
  }
  if (lx->p == lx->end || *lx->p != '"') {
    make_bad(t, "string without closing quote");
    return;
  }
  t->text = (vq_str){body, (size_t)(lx->p++ - body)};
  if (control)
    make_bad(t, "control byte in string");
  else if (escaped && !unescape(lx->arena, t->text, &t->text))
    make_bad(t, "unknown escape in string");
}

static void lex_bare(vq_lex *lx, vq_tok *t) {
  const char *from = lx->p;
  while (lx->p < lx->end && is_bare((unsigned char)*lx->p)) lx->p++;
  t->text = (vq_str){from, (size_t)(lx->p - from)};
}

static void lex_name(vq_lex *lx, vq_tok *t) {
  t->kind = *lx->p++ == '%' ? VQ_TOK_LOCAL : VQ_TOK_GLOBAL;
  t->quoted = lx->p < lx->end && *lx->p == '"';
  if (t->quoted)
    lex_string(lx, t);
  else
    lex_bare(lx, t);
  if (t->kind != VQ_TOK_BAD && t->text.n == 0) make_bad(t, "empty name");
}

static void lex_word(vq_lex *lx, vq_tok *t) {
  const char *from = lx->p;
  t->kind = VQ_TOK_WORD;
  while (lx->p < lx->end && (is_bare((unsigned char)*lx->p) || *lx->p == '+'))
    lx->p++;
  t->text = (vq_str){from, (size_t)(lx->p - from)};
}

vq_tok vq_lex_next(vq_lex *lx) {
  vq_tok t = {.line = lx->line, .raw = {lx->p, 0}};
  if (skip_space(lx)) {  // stands right behind the token before
    t.kind = VQ_TOK_EOL;
    return t;
  }
  const char *from = lx->p;
  t.raw.p = from;
  if (lx->p == lx->end) return t;
  unsigned char c = (unsigned char)*lx->p;
  if (c == '"') {
    t.kind = VQ_TOK_STRING;
    lex_string(lx, &t);
  } else if (c == '%' || c == '@') {
    lex_name(lx, &t);
  } else if (c == '-' && lx->end - lx->p > 1 && lx->p[1] == '>') {
    t.kind = VQ_TOK_ARROW;
    lx->p += 2;
  } else if (is_bare(c) || c == '+') {
    lex_word(lx, &t);
  } else {
    t.kind = VQ_TOK_PUNCT;
    t.punct = (char)c;
    lx->p++;
    if (c == 0 || !strchr("(){}[]<>,:=#", c)) make_bad(&t, "unexpected byte");
  }
  t.raw = (vq_str){from, (size_t)(lx->p - from)};
  return t;
}

vq_str vq_lex_line(const vq_lex *lx, const vq_tok *tok, uint32_t *out_col) {
  const char *from = tok->raw.p, *to = tok->raw.p;
  while (from > lx->begin && from[-1] != '\n') from--;
  while (to < lx->end && *to != '\n') to++;
  *out_col = (uint32_t)(tok->raw.p - from) + 1;
  return (vq_str){from, (size_t)(to - from)};
}
