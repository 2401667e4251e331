// Tokens of a head in panels, as the right operand of a product of floats.
#include "heads.h"
#include "loop.h"
#include "tile.h"

static LLVMValueRef load(const vq_emit *e, LLVMValueRef from, vq_tokens t, unsigned n) {
  LLVMTypeRef type = vq_vec_type(e->f32, vq_f32_lanes(e->target));
  LLVMValueRef v = vq_load_n(e, type, from, 4, n);
  return t.scale == 1 ? v : LLVMBuildFMul(e->b, v, vq_kf_like(type, t.scale), "");
}

// Reads a square of `lanes` tokens x `lanes` elements and writes it transposed:
// element i of token c to to[i * ld + c].
static void pack_square(const vq_emit *e, vq_tokens t, LLVMValueRef from, LLVMValueRef to,
                        int64_t ld, unsigned tokens, unsigned elements) {
  unsigned lanes = vq_f32_lanes(e->target);
  LLVMValueRef row[VQ_PANEL];
  for (unsigned c = 0; c < lanes; c++)
    row[c] = c < tokens ? load(e, vq_atk(e, e->f32, from, c * t.view->row), t, elements)
                        : LLVMConstNull(vq_vec_type(e->f32, lanes));
  vq_transpose(e, row, lanes);
  for (unsigned i = 0; i < elements; i++)
    vq_store(e, row[i], vq_atk(e, e->f32, to, i * ld), 4);
}

// Tokens lie apart, so that the processor does not see which lines come next: fetches those
// of `n` tokens that are AHEAD tokens behind `from`.
#define AHEAD 16

static void fetch_tokens(const vq_emit *e, vq_tokens t, LLVMValueRef from, unsigned n) {
  for (unsigned c = 0; c < n; c++)
    for (int64_t i = 0; i < t.size; i += VQ_CACHE_LINE / 4)
      vq_prefetch(e, vq_atk(e, e->f32, from, (AHEAD + c) * t.view->row + i), 1);
}

// The elements of `tokens` tokens from `from`, at most a vector of them, to columns at `to`.
static void pack_columns(const vq_emit *e, vq_tokens t, LLVMValueRef from, LLVMValueRef to,
                         int64_t ld, unsigned tokens) {
  unsigned lanes = vq_f32_lanes(e->target), rest = (unsigned)(t.size % lanes);
  fetch_tokens(e, t, from, tokens);
  if (t.size > rest) {
    vq_loop l;
    vq_loop_range(e, &l, t.size - rest, lanes);
    pack_square(e, t, vq_at(e, e->f32, from, l.i),
                vq_at(e, e->f32, to, vq_mulk(e, l.i, ld)), ld, tokens, lanes);
    vq_loop_end(e, &l);
  }
  if (rest)
    pack_square(e, t, vq_atk(e, e->f32, from, t.size - rest),
                vq_atk(e, e->f32, to, (t.size - rest) * ld), ld, tokens, rest);
}

// One panel: 16 tokens from `from`, of which `tokens` exist.
static void pack_panel(const vq_emit *e, vq_tokens t, LLVMValueRef from, LLVMValueRef to,
                       unsigned tokens) {
  unsigned lanes = vq_f32_lanes(e->target);
  for (unsigned c = 0; c < VQ_PANEL; c += lanes)
    pack_columns(e, t, vq_atk(e, e->f32, from, c * t.view->row), vq_atk(e, e->f32, to, c),
                 VQ_PANEL, tokens > c ? tokens - c : 0);
}

void vq_heads_pack_across(const vq_emit *e, const vq_heads *s, vq_tokens t,
                          LLVMValueRef to) {
  int64_t whole = t.n - t.n % VQ_PANEL;
  vq_loop l;
  vq_loop_range(e, &l, whole, VQ_PANEL);
  pack_panel(e, t, vq_heads_token(e, s, t.view, l.i, t.size),
             vq_at(e, e->f32, to, vq_mulk(e, l.i, t.size)), VQ_PANEL);
  vq_loop_end(e, &l);
  if (whole < t.n)
    pack_panel(e, t, vq_heads_token(e, s, t.view, vq_k64(e, whole), t.size),
               vq_atk(e, e->f32, to, whole * t.size), (unsigned)(t.n - whole));
}

void vq_heads_pack_rows(const vq_emit *e, const vq_heads *s, vq_tokens t,
                        LLVMValueRef to) {
  unsigned lanes = vq_f32_lanes(e->target);
  vq_loop l;
  vq_loop_range(e, &l, t.n, 1);
  LLVMValueRef from = vq_heads_token(e, s, t.view, l.i, t.size);
  LLVMValueRef row = vq_at(e, e->f32, to, vq_mulk(e, l.i, VQ_PANEL));
  fetch_tokens(e, t, from, 1);
  for (int64_t c = 0; c < (t.size + VQ_PANEL - 1) / VQ_PANEL * VQ_PANEL; c += lanes) {
    unsigned n = t.size - c < lanes ? (unsigned)(t.size - c) : lanes;
    LLVMValueRef v = c < t.size ? load(e, vq_atk(e, e->f32, from, c), t, n)
                                : LLVMConstNull(vq_vec_type(e->f32, lanes));
    int64_t at = c / VQ_PANEL * t.n * VQ_PANEL + c % VQ_PANEL;
    vq_store(e, v, vq_atk(e, e->f32, row, at), 4);
  }
  vq_loop_end(e, &l);
}
