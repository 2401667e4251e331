// Tokens of the text form. One statement per line, so line ends are tokens.
#ifndef VQ_TEXT_LEX_H
#define VQ_TEXT_LEX_H

#include "vq/arena.h"

typedef enum vq_tok_kind {
  VQ_TOK_EOF,
  VQ_TOK_EOL,     // one for any number of line ends, blanks and comments
  VQ_TOK_WORD,    // keyword, number or dimensions: [A-Za-z0-9_.$+-]+
  VQ_TOK_STRING,  // "..."
  VQ_TOK_LOCAL,   // %name
  VQ_TOK_GLOBAL,  // @name
  VQ_TOK_ARROW,   // ->
  VQ_TOK_PUNCT,   // one of ( ) { } [ ] < > , : = #
  VQ_TOK_BAD      // `text` says what is wrong
} vq_tok_kind;

typedef struct vq_tok {
  vq_tok_kind kind;
  char punct;
  bool quoted;  // LOCAL, GLOBAL: the name stood in quotes
  vq_str text;  // word, unescaped string, or name without sigil and quotes
  vq_str raw;   // as written
  uint32_t line;
} vq_tok;

// Reads `p` to `end`; strings with escapes are unescaped into `arena`.
typedef struct vq_lex {
  const char *begin, *p, *end;
  uint32_t line;
  vq_arena *arena;
} vq_lex;

vq_tok vq_lex_next(vq_lex *lx);

// The source line that holds `tok`, and the token's column in it, from 1.
vq_str vq_lex_line(const vq_lex *lx, const vq_tok *tok, uint32_t *out_col);

// True for names that need no quotes.
bool vq_lex_is_bare(vq_str name);

#endif
