// attention_int: the attention of floats (emit_attention.c) in codes.
//
// Both products are tiles of codes (tile.h): u8 queries times i8 keys, then u8
// probability codes times i8 values. Keys and values that are u8 with zero point
// 128 become i8 when they are packed; what the zero point of the queries takes
// away is the same for all of them, one number per key, with which its sums
// start. Scores wait in scratch as floats for the largest of their row.
//
// With AMX queries, keys, probabilities and values are filled up to whole steps, of
// which the packed ones are zero, so both products share a configuration.
//
// Where tiles want codes of i16 (tile.h), all four become that as they are packed: queries
// and keys in the order of widen.h, probabilities and values in their own.
#include "amx.h"
#include "heads_int.h"
#include "loop.h"
#include "tile.h"
#include "widen.h"

#define SCRATCH_MAX (4 << 20)
#define ROWS VQ_AMX_ROWS  // more than VQ_HEADS_BLOCK_ROWS

bool match_attention_int(const vq_func *kernel, vq_kernel_plan *plan);
vq_status emit_attention_int(vq_emit *e);

typedef struct attention {
  vq_heads_int h;
  int64_t d4, m4;  // elements of four codes: of a query, of a row of P
  // while emitting
  int64_t d_row, m_row;  // elements of d4 and m4, with what fills the last step
  // parts of scratch
  LLVMValueRef k_panel, v_panel, k_init, queries, sums, tile, zeros;
  LLVMValueRef config;
  LLVMValueRef rows;  // of the current block
} attention;

static bool describe(const vq_func *kernel, attention *a) {
  memset(a, 0, sizeof *a);
  if (!vq_heads_int_match(kernel, &a->h)) return false;
  a->d_row = a->d4 = a->h.s.d / 4, a->m_row = a->m4 = (a->h.s.m + 3) / 4;
  return a->h.s.d % 4 == 0 && a->h.attrs->levels <= UINT8_MAX;
}

enum { K, V, INIT, Q, SCORES, CODES, SUMS, TILE, ZEROS, CONFIG, N_PART };

static int64_t whole_steps(int64_t n) {
  return (n + VQ_AMX_STEP - 1) / VQ_AMX_STEP * VQ_AMX_STEP;
}

// Offsets of the parts of scratch in elements of four bytes, for variants that are wide
// or for others; returns its size in bytes. Codes are stored in whole vectors.
static int64_t scratch_parts(const attention *a, bool wide, int64_t *part) {
  int64_t d = wide ? 2 * a->d4 : whole_steps(a->d4);
  int64_t m = wide ? 2 * a->m4 : whole_steps(a->m4);
  int64_t rows = wide ? VQ_HEADS_BLOCK_ROWS : ROWS;
  const int64_t size[N_PART] = {
      [K] = a->h.s.m_pad * d,         [V] = a->h.s.e_pad * m, [INIT] = a->h.s.m_pad,
      [Q] = rows * d,                 [SCORES] = rows * a->h.s.m_pad,
      [CODES] = rows * (wide ? a->h.s.m_pad / 2 : m) + VQ_PANEL,
      [SUMS] = rows,                [TILE] = VQ_AMX_SUMS,
      [ZEROS] = VQ_TILE_COLS,       [CONFIG] = VQ_AMX_CONFIG};
  int64_t at = 0;
  for (unsigned i = 0; i < N_PART; i++) {
    part[i] = at;
    at += (size[i] + VQ_PANEL - 1) / VQ_PANEL * VQ_PANEL;
  }
  return at * 4;
}

bool match_attention_int(const vq_func *kernel, vq_kernel_plan *plan) {
  attention a;
  int64_t part[N_PART];
  if (!describe(kernel, &a)) return false;
  int64_t bytes = scratch_parts(&a, false, part), wide = scratch_parts(&a, true, part);
  if (wide > bytes) bytes = wide;
  if (bytes > SCRATCH_MAX) return false;
  plan->n_task = a.h.s.batch * a.h.s.heads * a.h.s.n_task;
  plan->scratch_bytes = (uint32_t)bytes;
  plan->n_product = 2;
  plan->product[0] = a.h.s.score;
  plan->product[1] = a.h.s.value;
  return true;
}

// ---- packing -----------------------------------------------------------------

static LLVMTypeRef ints(const vq_emit *e, const attention *a) {
  return vq_vec_type(e->i32, a->h.lanes);
}

// Reads a square of `lanes` keys x `lanes` elements and writes it transposed:
// element i of key c to to[i * 16 + c].
static void pack_square(const vq_emit *e, const attention *a, LLVMValueRef from,
                        LLVMValueRef to, unsigned keys, unsigned elements) {
  LLVMValueRef row[VQ_PANEL];
  for (unsigned c = 0; c < a->h.lanes; c++) {
    row[c] = LLVMConstNull(ints(e, a));
    if (c >= keys) continue;
    LLVMValueRef p = vq_atk(e, e->i8, from, c * a->h.s.k.row);
    row[c] = vq_heads_int_as(e, a->h.s.k.base->type->dtype, VQ_i8,
                     vq_load_n(e, ints(e, a), p, 1, elements));
  }
  vq_transpose(e, row, a->h.lanes);
  for (unsigned i = 0; i < elements; i++) {
    LLVMValueRef p = vq_atk(e, e->i32, to, i * VQ_PANEL);
    vq_halves h = {row[i], NULL};
    if (a->h.wide) {
      h = vq_halves_i8(e, row[i]);
      vq_store(e, h.odd, vq_atk(e, e->i32, p, a->d4 * VQ_PANEL), 4);
    }
    vq_store(e, h.even, p, 4);
  }
}

// As many keys from `from` as there are lanes, of which `keys` exist, to columns of a panel.
static void pack_keys(const vq_emit *e, const attention *a, LLVMValueRef from,
                      LLVMValueRef to, unsigned keys) {
  unsigned lanes = a->h.lanes, rest = (unsigned)(a->d4 % lanes);
  if (a->d4 > rest) {
    vq_loop l;
    vq_loop_range(e, &l, a->d4 - rest, lanes);
    pack_square(e, a, vq_at(e, e->i32, from, l.i),
                vq_at(e, e->i32, to, vq_mulk(e, l.i, VQ_PANEL)), keys, lanes);
    vq_loop_end(e, &l);
  }
  if (rest)
    pack_square(e, a, vq_atk(e, e->i32, from, a->d4 - rest),
                vq_atk(e, e->i32, to, (a->d4 - rest) * VQ_PANEL), keys, rest);
}

// One panel of k: 16 keys from `from`, of which `keys` exist. A square is long: those of a
// whole panel are the same code.
static void pack_k_panel(const vq_emit *e, const attention *a, LLVMValueRef from,
                         LLVMValueRef to, unsigned keys) {
  unsigned lanes = a->h.lanes;
  if (keys == VQ_PANEL && lanes < VQ_PANEL) {
    vq_loop c;
    vq_loop_range(e, &c, VQ_PANEL, lanes);
    pack_keys(e, a, vq_at(e, e->i8, from, vq_mulk(e, c.i, a->h.s.k.row)),
              vq_at(e, e->i32, to, c.i), lanes);
    vq_loop_end(e, &c);
    return;
  }
  for (unsigned c = 0; c < VQ_PANEL; c += lanes)
    pack_keys(e, a, vq_atk(e, e->i8, from, c * a->h.s.k.row), vq_atk(e, e->i32, to, c),
              keys > c ? keys - c : 0);
}

static void pack_k(const vq_emit *e, const attention *a) {
  int64_t whole = a->h.s.m - a->h.s.m % VQ_PANEL;
  vq_loop l;
  vq_loop_range(e, &l, whole, VQ_PANEL);
  pack_k_panel(e, a, vq_heads_token(e, &a->h.s, &a->h.s.k, l.i, a->h.s.d),
               vq_at(e, e->i32, a->k_panel, vq_mulk(e, l.i, a->d_row)), VQ_PANEL);
  vq_loop_end(e, &l);
  if (whole < a->h.s.m)
    pack_k_panel(e, a, vq_heads_token(e, &a->h.s, &a->h.s.k, vq_k64(e, whole), a->h.s.d),
                 vq_atk(e, e->i32, a->k_panel, whole * a->d_row),
                 (unsigned)(a->h.s.m - whole));
}

// What the sums of each key start with: -zero * sum of the key, where zero is
// that of the queries as u8.
static void start_scores(const vq_emit *e, const attention *a) {
  bool is_u8 = a->h.s.q.base->type->dtype == VQ_u8;
  int64_t zero = a->h.attrs->q_zero + (is_u8 ? 0 : 128);
  LLVMValueRef ones = vq_ki_like(ints(e, a), a->h.wide ? 0x00010001 : 0x01010101);
  vq_loop panel, k;
  vq_loop_range(e, &panel, a->h.s.m_pad, VQ_PANEL);
  for (unsigned c = 0; c < VQ_PANEL; c += a->h.lanes) {
    LLVMValueRef from = vq_at(e, e->i32, a->k_panel, vq_mulk(e, panel.i, a->d_row));
    LLVMValueRef none = LLVMConstNull(ints(e, a));
    vq_loop_begin(e, &k, vq_k64(e, 0), vq_k64(e, a->h.wide ? a->d_row : a->d4), 1, 1, &none);
    LLVMValueRef at = vq_addk(e, vq_mulk(e, k.i, VQ_PANEL), c);
    LLVMValueRef b = vq_load(e, ints(e, a), vq_at(e, e->i32, from, at), 4);
    vq_tile_add_codes(e, a->h.wide ? VQ_TILE_I16 : VQ_TILE_U8, ones, &b, 1, k.v);
    vq_loop_end(e, &k);
    LLVMValueRef start = LLVMBuildMul(e->b, k.v[0], vq_ki_like(ints(e, a), -zero), "");
    vq_store(e, start, vq_at(e, e->i32, a->k_init, vq_addk(e, panel.i, c)), 4);
  }
  vq_loop_end(e, &panel);
}

static LLVMValueRef interleave(const vq_emit *e, LLVMValueRef a, LLVMValueRef b,
                               unsigned group) {
  LLVMValueRef idx[64];
  unsigned n = vq_lanes_of(LLVMTypeOf(a));
  for (unsigned i = 0; i < 2 * n; i++) {
    unsigned pair = i / (2 * group), in = i % (2 * group);
    unsigned at = pair * group + in % group;
    idx[i] = LLVMConstInt(e->i32, in < group ? at : n + at, false);
  }
  return LLVMBuildShuffleVector(e->b, a, b, LLVMConstVector(idx, 2 * n), "");
}

static LLVMValueRef words(const vq_emit *e, LLVMValueRef codes) {
  LLVMTypeRef word = LLVMInt16TypeInContext(e->lc);
  return vq_quant_widen(e, VQ_i8, codes, word);
}

// Columns [c, c + VQ_PANEL) of four tokens at `from`, of which `tokens` and `n` columns
// exist, to the panel at `to`.
static void pack_v_panel(const vq_emit *e, const attention *a, LLVMValueRef from,
                         LLVMValueRef to, unsigned tokens, unsigned n) {
  LLVMTypeRef type = vq_vec_type(e->i8, VQ_PANEL);
  LLVMValueRef row[4];
  for (unsigned i = 0; i < 4; i++) {
    row[i] = LLVMConstNull(type);
    if (i >= tokens) continue;
    LLVMValueRef p = vq_atk(e, e->i8, from, i * a->h.s.v.row);
    row[i] = vq_heads_int_as(e, a->h.s.v.base->type->dtype, VQ_i8,
                             vq_load_n(e, type, p, 1, n));
  }
  LLVMValueRef low = interleave(e, row[0], row[1], 1);
  LLVMValueRef high = interleave(e, row[2], row[3], 1);
  if (a->h.wide) {
    vq_store(e, words(e, low), to, 4);
    vq_store(e, words(e, high), vq_atk(e, e->i32, to, VQ_PANEL), 4);
  } else {
    vq_store(e, interleave(e, low, high, 2), to, 4);
  }
}

// Four tokens from `m`, of which `tokens` exist, to one element of all panels, or two.
static void pack_v_step(const vq_emit *e, const attention *a, LLVMValueRef m,
                        unsigned tokens) {
  LLVMValueRef from = vq_heads_token(e, &a->h.s, &a->h.s.v, m, a->h.s.e);
  LLVMValueRef to = vq_at(e, e->i32, a->v_panel,
                          vq_mulk(e, vq_divk(e, m, a->h.wide ? 2 : 4), VQ_PANEL));
  int64_t whole = a->h.s.e - a->h.s.e % VQ_PANEL;
  if (whole) {
    vq_loop l;
    vq_loop_range(e, &l, whole, VQ_PANEL);
    pack_v_panel(e, a, vq_at(e, e->i8, from, l.i),
                 vq_at(e, e->i32, to, vq_mulk(e, l.i, a->m_row)), tokens, VQ_PANEL);
    vq_loop_end(e, &l);
  }
  if (whole < a->h.s.e)
    pack_v_panel(e, a, vq_atk(e, e->i8, from, whole),
                 vq_atk(e, e->i32, to, whole * a->m_row), tokens,
                 (unsigned)(a->h.s.e - whole));
}

static void pack_v(const vq_emit *e, const attention *a) {
  int64_t whole = a->h.s.m - a->h.s.m % 4;
  vq_loop l;
  vq_loop_range(e, &l, whole, 4);
  pack_v_step(e, a, l.i, 4);
  vq_loop_end(e, &l);
  if (whole < a->h.s.m) pack_v_step(e, a, vq_k64(e, whole), (unsigned)(a->h.s.m - whole));
}

static void pack(const vq_emit *e, void *user) {
  pack_k(e, user);
  start_scores(e, user);
  pack_v(e, user);
}

// ---- one block of queries ----------------------------------------------------

static unsigned vectors(const attention *a, unsigned cols) {
  return (cols + a->h.lanes - 1) / a->h.lanes;
}

typedef struct query_copy {
  const attention *a;
  LLVMValueRef from, to;
} query_copy;

static void query_step(const vq_emit *e, void *user, LLVMValueRef col,
                       unsigned lanes, unsigned n, LLVMValueRef *v) {
  const query_copy *c = user;
  (void)v, (void)lanes;
  LLVMTypeRef type = ints(e, c->a);
  LLVMValueRef x = vq_load_n(e, type, vq_at(e, e->i32, c->from, col), 1, n);
  x = vq_heads_int_as(e, c->a->h.s.q.base->type->dtype, VQ_u8, x);
  LLVMValueRef to = vq_at(e, e->i32, c->to, col);
  vq_halves h = {x, NULL};
  if (c->a->h.wide) {
    h = vq_halves_u8(e, x);
    vq_store_n(e, h.odd, vq_atk(e, e->i32, to, c->a->d4), 4, n);
  }
  vq_store_n(e, h.even, to, 4, n);
}

static void copy_queries(const vq_emit *e, const attention *a) {
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), a->rows, 1, 0, NULL);
  query_copy c = {a, vq_heads_token(e, &a->h.s, &a->h.s.q, vq_add(e, a->h.row, l.i), a->h.s.d),
                  vq_at(e, e->i32, a->queries, vq_mulk(e, l.i, a->d_row))};
  vq_row_each(e, a->d4, a->h.lanes, query_step, &c, 0, NULL);
  vq_loop_end(e, &l);
}

static void score_group(const vq_emit *e, void *user, LLVMValueRef col,
                        unsigned cols) {
  const attention *a = user;
  vq_tile t = {.a = a->queries, .lda = a->d_row, .b = a->k_panel, .k = a->d_row,
               .init = vq_at(e, e->i32, a->k_init, col),
               .c = vq_at(e, e->i32, a->h.scores, col), .config = a->config,
               .ldc = a->h.s.m_pad, .col = col, .vecs = vectors(a, cols)};
  vq_tile_call(e, &a->h.s.score, &t, a->rows);
}

// The largest score of each row, in the place of its sum. A loop of its own: no row
// then waits for the lanes of its largest to be compared.
static void max_rows(const vq_emit *e, const attention *a) {
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), a->rows, 1, 0, NULL);
  vq_store(e, vq_heads_int_max(e, &a->h, l.i), vq_at(e, e->f32, a->sums, l.i), 4);
  vq_loop_end(e, &l);
}

// Scores to codes, and 1 / their sum.
static void code_rows(const vq_emit *e, const attention *a) {
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), a->rows, 1, 0, NULL);
  LLVMValueRef p = vq_at(e, e->f32, a->sums, l.i);
  LLVMValueRef sum = vq_heads_int_code(e, &a->h, l.i, vq_load(e, e->f32, p, 4));
  sum = LLVMBuildSIToFP(e->b, sum, e->f32, "");
  vq_store(e, LLVMBuildFDiv(e->b, vq_kf32(e, 1), sum, ""), p, 4);
  vq_loop_end(e, &l);
}

static void value_group(const vq_emit *e, void *user, LLVMValueRef col,
                        unsigned cols) {
  const attention *a = user;
  vq_tile t = {.a = a->h.codes, .lda = a->h.code_row, .b = a->v_panel, .k = a->m_row,
               .init = a->zeros, .c = a->tile, .config = a->config, .col = col,
               .vecs = vectors(a, cols)};
  t.ldc = vq_tile_width(e->target, &a->h.s.value, cols);
  vq_tile_call(e, &a->h.s.value, &t, a->rows);
  LLVMTypeRef type = vq_vec_type(e->f32, a->h.lanes);
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), a->rows, 1, 0, NULL);
  LLVMValueRef row = vq_add(e, vq_mulk(e, a->h.s.b, a->h.s.n), vq_add(e, a->h.row, l.i));
  LLVMValueRef from = vq_at(e, e->i32, a->tile, vq_mulk(e, l.i, t.ldc));
  LLVMValueRef inv = vq_load(e, e->f32, vq_at(e, e->f32, a->sums, l.i), 4);
  inv = vq_splat(e, inv, a->h.lanes);
  col = vq_add(e, col, vq_mulk(e, a->h.s.h, a->h.s.e));
  for (unsigned c = 0; c < cols; c += a->h.lanes) {
    LLVMValueRef v = vq_load(e, ints(e, a), vq_atk(e, e->i32, from, c), 4);
    v = LLVMBuildFMul(e->b, LLVMBuildSIToFP(e->b, v, type, ""), inv, "");
    unsigned left = cols - c;
    vq_chain_store(e, &a->h.s.chain, v, row, vq_addk(e, col, c), a->h.lanes,
                   left < a->h.lanes ? left : a->h.lanes);
  }
  vq_loop_end(e, &l);
}

static void emit_block(const vq_emit *e, void *user, LLVMValueRef row,
                       LLVMValueRef rows) {
  attention *a = user;
  LLVMValueRef zero = vq_k64(e, 0);
  a->h.row = row, a->rows = rows;
  copy_queries(e, a);
  vq_each_group(e, zero, vq_k64(e, a->h.s.m_pad), a->h.s.m_pad,
                vq_heads_width(e, &a->h.s.score), score_group, a);
  max_rows(e, a);
  code_rows(e, a);
  vq_each_group(e, zero, vq_k64(e, a->h.s.e), a->h.s.e, vq_heads_width(e, &a->h.s.value),
                value_group, a);
}

// `n` is a multiple of all lanes.
static void clear(const vq_emit *e, const attention *a, LLVMValueRef p, int64_t n) {
  vq_loop l;
  vq_loop_range(e, &l, n, a->h.lanes);
  vq_store(e, LLVMConstNull(ints(e, a)), vq_at(e, e->i32, p, l.i), 4);
  vq_loop_end(e, &l);
}

static void set_scratch(const vq_emit *e, attention *a) {
  int64_t part[N_PART];
  LLVMValueRef *at[N_PART] = {
      [K] = &a->k_panel, [V] = &a->v_panel,    [INIT] = &a->k_init,
      [Q] = &a->queries, [SCORES] = &a->h.scores, [CODES] = &a->h.codes,
      [SUMS] = &a->sums, [TILE] = &a->tile,    [ZEROS] = &a->zeros,
      [CONFIG] = &a->config};
  a->h.wide = vq_tile_kind_of(e->target, &a->h.s.score) == VQ_TILE_I16;
  scratch_parts(a, a->h.wide, part);
  for (unsigned i = 0; i < N_PART; i++)
    *at[i] = vq_atk(e, e->i32, e->scratch, part[i]);
  clear(e, a, a->zeros, VQ_TILE_COLS);
  a->h.code_row = a->m_row;
  if (a->h.wide) {
    a->d_row = 2 * a->d4, a->m_row = 2 * a->m4;
    a->h.code_row = a->h.s.m_pad / 2;
  }
  if (!vq_amx_takes(e->target, &a->h.s.score)) {
    a->config = NULL;
    return;
  }
  a->d_row = whole_steps(a->d4), a->h.code_row = a->m_row = whole_steps(a->m4);
  if (a->d_row > a->d4) clear(e, a, a->k_panel, a->h.s.m_pad * a->d_row);
  if (a->m_row > a->m4) clear(e, a, a->v_panel, a->h.s.e_pad * a->m_row);
}

vq_status emit_attention_int(vq_emit *e) {
  attention a;
  if (!describe(e->kernel, &a)) VQ_BUG("attention_int does not take this kernel");
  vq_heads_int_begin(e, &a.h);
  set_scratch(e, &a);
  vq_heads_walk w = {&a.h.s, pack, emit_block, &a, .config = a.config};
  vq_heads_each(e, &w);
  return VQ_OK;
}
