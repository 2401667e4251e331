// Inside of the parser: its state and what its files share.
//
// Functions return false after a diagnostic. The text is read twice: first the
// module level, with function bodies skipped, then the bodies, so that calls
// and constants may stand before what they name.
#ifndef VQ_TEXT_PARSER_H
#define VQ_TEXT_PARSER_H

#include "text/blob.h"
#include "text/lex.h"
#include "vq/build.h"
#include "vq/diag.h"
#include "vq/rewrite.h"
#include "vq/strbuf.h"
#include "vq/vec.h"

typedef struct vq_parser {
  vq_ctx *ctx;
  vq_diag *diag;
  vq_module *m;
  vq_str path;
  vq_lex lx;
  vq_tok tok;      // the current token
  vq_arena temp;   // unescaped names, attribute structs
  uint32_t n_error;
  vq_map locs;     // number -> vq_loc*
  vq_side_file *sides;
  uint64_t made;   // bytes of constants that the text does not hold
  // Of the function being read: values by name and by number. An entry with a
  // NULL value stands for the result of an op that failed.
  vq_map named, numbered;
} vq_parser;

enum { VQ_PARSER_MAX_ERROR = 20 };

vq_loc vq_parser_loc(vq_parser *p, const vq_tok *t);
bool vq_parser_fail(vq_parser *p, vq_code code, const vq_tok *at,
                    const char *fmt, ...) VQ_PRINTF(4, 5);
// "expected <what>, found ..." at the current token.
bool vq_parser_expected(vq_parser *p, const char *what);
// `name` with sigil, quoted when needed, for messages; in the temp arena.
const char *vq_parser_z(vq_parser *p, char sigil, vq_str name);

void vq_parser_next(vq_parser *p);
bool vq_parser_at(const vq_parser *p, char punct);
bool vq_parser_at_word(const vq_parser *p, const char *word);
bool vq_parser_take(vq_parser *p, char punct);     // consumes it if it is there
bool vq_parser_want(vq_parser *p, char punct);     // fails otherwise
bool vq_parser_want_word(vq_parser *p, const char *word);
bool vq_parser_key(vq_parser *p, const char *key);  // `key =`
bool vq_parser_end(vq_parser *p);                   // end of line or file
void vq_parser_skip_line(vq_parser *p);
// %12: the number of an unnamed value.
bool vq_parser_is_number(const vq_tok *t);

// Token to value. Integers are decimal or 0x hex.
bool vq_parser_string(vq_parser *p, vq_str *out);
bool vq_parser_global(vq_parser *p, vq_str *out);
bool vq_parser_i64(vq_parser *p, int64_t *out);
bool vq_parser_u64(vq_parser *p, uint64_t *out);
bool vq_parser_f32(vq_parser *p, float *out);
bool vq_parser_flag(vq_parser *p, bool *out);
bool vq_parser_dtype(vq_parser *p, vq_dtype *out);
bool vq_parser_type(vq_parser *p, const vq_type **out);
// @name of a quant entry that stands above.
bool vq_parser_quant_name(vq_parser *p, const vq_quant **out);
typedef VQ_VEC(int64_t) vq_i64_vec;
typedef VQ_VEC(int32_t) vq_i32_vec;
typedef VQ_VEC(float) vq_f32_vec;
bool vq_parser_ints(vq_parser *p, vq_i64_vec *out);  // [1, 2]

// One statement each, from behind its keyword to the end of its line.
bool vq_parser_quant(vq_parser *p);
bool vq_parser_const(vq_parser *p);
bool vq_parser_loc_entry(vq_parser *p);

// {name = value, ...} or nothing, into a new attribute struct of op `code`.
bool vq_parser_attrs(vq_parser *p, vq_opcode code, vq_str callee, void **out);
// The ops of `f` up to the end of its body. `arg`: its arguments as written.
void vq_parser_body(vq_parser *p, vq_func *f, const vq_tok *arg);

#endif
