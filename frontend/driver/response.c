// Expanding @FILE.
#include "response.h"

#include <stdlib.h>

#include "vq/image.h"
#include "vq/strbuf.h"
#include "vq/vec.h"

enum { MAX_DEPTH = 8 };

typedef VQ_VEC(const char *) words;

static bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

// Appends the next word of *p to `out`; returns false at the end.
static bool next_word(const char **p, const char *end, vq_strbuf *out) {
  while (*p < end && is_blank(**p)) ++*p;
  if (*p == end) return false;
  for (char quote = 0; *p < end && (quote || !is_blank(**p)); ++*p) {
    char c = **p;
    if (c == '\\' && *p + 1 < end)
      vq_strbuf_putc(out, *++*p);
    else if (quote ? c == quote : c == '\'' || c == '"')
      quote = quote ? 0 : c;
    else
      vq_strbuf_putc(out, c);
  }
  return true;
}

const char **response_split(vq_str text, vq_arena *arena, unsigned *n) {
  words list = {0};
  vq_strbuf word = {0};
  for (const char *p = text.p, *end = p + text.n; next_word(&p, end, &word);
       vq_strbuf_clear(&word))
    vq_vec_push(&list, vq_arena_str(arena, vq_strbuf_view(&word)).p);
  const char **out = VQ_NEW_N(arena, const char *, list.n + 1);
  if (list.n) memcpy(out, list.p, list.n * sizeof *out);
  *n = (unsigned)list.n;
  vq_vec_release(&list);
  vq_strbuf_release(&word);
  return out;
}

static vq_status add_word(words *out, const char *word, unsigned depth,
                          vq_arena *arena, vq_diag *diag);

static vq_status add_file(words *out, const char *path, unsigned depth,
                          vq_arena *arena, vq_diag *diag) {
  if (depth == MAX_DEPTH)
    return vq_error(diag, VQ_E_option, vq_loc_path(diag->ctx, vq_str_of(path)),
                    "response files are nested more than %d deep", MAX_DEPTH);
  uint8_t *text;
  size_t n;
  if (vq_read_file(path, diag, &text, &n)) return VQ_ERR;
  unsigned n_word;
  const char **word = response_split((vq_str){(const char *)text, n}, arena, &n_word);
  vq_status s = VQ_OK;
  for (unsigned i = 0; i < n_word && !s; i++)
    s = add_word(out, word[i], depth + 1, arena, diag);
  free(text);
  return s;
}

static vq_status add_word(words *out, const char *word, unsigned depth,
                          vq_arena *arena, vq_diag *diag) {
  if (word[0] == '@' && word[1])
    return add_file(out, word + 1, depth, arena, diag);
  vq_vec_push(out, word);
  return VQ_OK;
}

vq_status response_expand(int n_in, char **in, vq_arena *arena, vq_diag *diag,
                          const char ***out, unsigned *n_out) {
  words list = {0};
  vq_status s = VQ_OK;
  for (int i = 0; i < n_in && !s; i++)
    s = add_word(&list, in[i], 0, arena, diag);
  *n_out = (unsigned)list.n;
  *out = VQ_NEW_N(arena, const char *, list.n + 1);
  if (list.n) memcpy(*out, list.p, list.n * sizeof *list.p);
  vq_vec_release(&list);
  return s;
}
