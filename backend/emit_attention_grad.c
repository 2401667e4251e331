// attention_grad on token-major operands, read through strides.
//
// A task is a head of a sample. k, v, q and g go into panels in scratch. Then, for a
// block of queries at a time, scores q k^T and g v^T are made, turned into the softmax p
// and the scores' gradient ds, and ds k is what the queries get. p and ds are also kept
// for all queries, transposed, so that one product each gives the gradients of v and k:
// p^T g and ds^T q. The scale is in the panels of k and q.
#include "elt.h"
#include "heads.h"
#include "loop.h"
#include "tile.h"
#include "vmath.h"

#define SCRATCH_MAX (4 << 20)
#define BLOCK_ROWS 48  // queries at a time, at most

bool match_attention_grad(const vq_func *kernel, vq_kernel_plan *plan);
vq_status emit_attention_grad(vq_emit *e);

enum { K_ACROSS, V_ACROSS, K_ROWS, Q_ROWS, G_ROWS, P_ALL, DS_ALL, SCORE, DS, INVERSE,
       MEAN, TILE, ZEROS, N_PART };

typedef struct grad {
  vq_heads s;
  vq_product score, of_q, of_k, of_v;
  int64_t at[N_PART + 1];  // parts of scratch, in floats
  int64_t ld;              // of p and ds, transposed
  // while emitting
  unsigned lanes;
  LLVMValueRef part[N_PART];
  LLVMValueRef row, rows;  // of the block at hand
} grad;

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static bool describe(const vq_func *kernel, grad *g) {
  if (!vq_heads_match(kernel, VQ_OP_attention_grad, &g->s) || !vq_chain_empty(&g->s.chain) ||
      g->s.n < 1)
    return false;
  const vq_heads *s = &g->s;
  int64_t parts = (s->n + BLOCK_ROWS - 1) / BLOCK_ROWS, d_pad = round_up(s->d, VQ_PANEL);
  int64_t rows = BLOCK_ROWS + VQ_PANEL;  // whole squares, whatever the vectors
  g->score = (vq_product){.m = s->n, .parts = parts, .n = s->m_pad};
  g->of_q = (vq_product){.m = s->n, .parts = parts, .n = s->d};
  g->of_k = (vq_product){.m = s->m, .parts = 1, .n = s->d};
  g->of_v = (vq_product){.m = s->m, .parts = 1, .n = s->e};
  g->ld = s->n + VQ_PANEL;
  int64_t size[N_PART] = {
      [K_ACROSS] = s->m_pad * s->d, [V_ACROSS] = s->m_pad * s->e,
      [K_ROWS] = s->m * d_pad,      [Q_ROWS] = s->n * d_pad,
      [G_ROWS] = s->n * s->e_pad,   [P_ALL] = s->m_pad * g->ld,
      [DS_ALL] = s->m_pad * g->ld,  [SCORE] = rows * s->m_pad,
      [DS] = rows * s->m_pad,       [INVERSE] = rows,
      [MEAN] = rows,                [TILE] = VQ_TILE_FLOATS,
      [ZEROS] = VQ_TILE_COLS};
  for (unsigned i = 0; i < N_PART; i++)
    g->at[i + 1] = g->at[i] + round_up(size[i], VQ_PANEL);
  return g->at[N_PART] * 4 <= SCRATCH_MAX;
}

bool match_attention_grad(const vq_func *kernel, vq_kernel_plan *plan) {
  grad g = {.ld = 0};
  if (!describe(kernel, &g)) return false;
  plan->n_task = g.s.batch * g.s.heads;
  plan->scratch_bytes = (uint32_t)(g.at[N_PART] * 4);
  plan->n_product = 4;
  plan->product[0] = g.score, plan->product[1] = g.of_q;
  plan->product[2] = g.of_k, plan->product[3] = g.of_v;
  return true;
}

// ---- products ----------------------------------------------------------------

// One product: rows of `a`, panels `b`, to `c`, or with `to_result` by way of a tile in
// scratch to the result.
typedef struct task {
  const grad *g;
  const vq_product *p;
  LLVMValueRef a, b, c;
  int64_t lda, ldc, k;
  bool to_result;
  LLVMValueRef col, rows;  // of the group, of all
  unsigned cols;
} task;

static void copy_tile(const vq_emit *e, const task *t, LLVMValueRef row,
                      LLVMValueRef rows, unsigned width) {
  unsigned lanes = t->g->lanes;
  LLVMTypeRef type = vq_vec_type(e->f32, lanes);
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), rows, 1, 0, NULL);
  LLVMValueRef from = vq_at(e, e->f32, t->g->part[TILE], vq_mulk(e, l.i, width));
  LLVMValueRef at = vq_add(e, vq_mulk(e, vq_add(e, row, l.i), t->ldc), t->col);
  LLVMValueRef to = vq_at(e, e->f32, t->c, at);
  for (unsigned c = 0; c < t->cols; c += lanes) {
    unsigned n = t->cols - c < lanes ? t->cols - c : lanes;
    LLVMValueRef v = vq_load(e, type, vq_atk(e, e->f32, from, c), 4);
    vq_store_n(e, v, vq_atk(e, e->f32, to, c), 4, n);
  }
  vq_loop_end(e, &l);
}

static void block(const vq_emit *e, void *user, LLVMValueRef row, LLVMValueRef rows) {
  const task *t = user;
  unsigned vecs = (t->cols + t->g->lanes - 1) / t->g->lanes, width = vecs * t->g->lanes;
  LLVMValueRef at = vq_add(e, vq_mulk(e, row, t->ldc), t->col);
  bool direct = !t->to_result || t->cols == width;
  vq_tile tile = {.a = vq_at(e, e->f32, t->a, vq_mulk(e, row, t->lda)), .lda = t->lda,
                  .b = t->b, .k = t->k, .init = t->g->part[ZEROS],
                  .c = direct ? vq_at(e, e->f32, t->c, at) : t->g->part[TILE],
                  .ldc = direct ? t->ldc : width, .col = t->col, .vecs = vecs};
  vq_tile_call(e, t->p, &tile, rows);
  if (!direct) copy_tile(e, t, row, rows, width);
}

static void group(const vq_emit *e, void *user, LLVMValueRef col, unsigned cols) {
  task *t = user;
  t->col = col, t->cols = cols;
  vq_each_block(e, t->p, t->rows, block, t);
}

static void multiply(const vq_emit *e, task *t) {
  vq_each_group(e, vq_k64(e, 0), vq_k64(e, t->p->n), t->p->n,
                vq_heads_width(e, t->p), group, t);
}

// ---- one block of queries ----------------------------------------------------

typedef struct score_row {
  LLVMValueRef p, ds, bias, max;
} score_row;

static void max_step(const vq_emit *e, void *user, LLVMValueRef col, unsigned lanes,
                     unsigned n, LLVMValueRef *v) {
  const score_row *r = user;
  LLVMTypeRef type = vq_vec_type(e->f32, lanes);
  LLVMValueRef at = vq_at(e, e->f32, r->p, col), s = vq_load(e, type, at, 4);
  if (r->bias) {
    LLVMValueRef b = vq_load_n(e, type, vq_at(e, e->f32, r->bias, col), 4, n);
    s = LLVMBuildFAdd(e->b, s, b, "");
    vq_store(e, s, at, 4);
  }
  if (n < lanes)
    s = LLVMBuildSelect(e->b, vq_lane_mask(e, lanes, n), s,
                        vq_kf_like(type, -INFINITY), "");
  v[0] = vq_combine_max(e, v[0], s);
}

// v: sum of the exponentials, and of their products with g v^T.
static void exp_step(const vq_emit *e, void *user, LLVMValueRef col, unsigned lanes,
                     unsigned n, LLVMValueRef *v) {
  const score_row *r = user;
  LLVMTypeRef type = vq_vec_type(e->f32, lanes);
  LLVMValueRef at = vq_at(e, e->f32, r->p, col);
  LLVMValueRef s = LLVMBuildFSub(e->b, vq_load(e, type, at, 4),
                                 vq_splat(e, r->max, lanes), "");
  s = vq_vexp(e, s);
  vq_store(e, s, at, 4);
  LLVMValueRef d = vq_load(e, type, vq_at(e, e->f32, r->ds, col), 4);
  if (n < lanes) {
    LLVMValueRef mask = vq_lane_mask(e, lanes, n), zero = LLVMConstNull(type);
    s = LLVMBuildSelect(e->b, mask, s, zero, "");
    d = LLVMBuildSelect(e->b, mask, d, zero, "");
  }
  v[0] = LLVMBuildFAdd(e->b, v[0], s, "");
  v[1] = vq_fma(e, s, d, v[1]);
}

// Scores become exponentials; their inverse sums and the means of g v^T are kept.
static void soften_rows(const vq_emit *e, const grad *g) {
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), g->rows, 1, 0, NULL);
  LLVMValueRef at = vq_mulk(e, l.i, g->s.m_pad);
  score_row r = {.p = vq_at(e, e->f32, g->part[SCORE], at),
                 .ds = vq_at(e, e->f32, g->part[DS], at),
                 .bias = vq_heads_bias(e, &g->s, vq_add(e, g->row, l.i))};
  LLVMTypeRef type = vq_vec_type(e->f32, g->lanes);
  LLVMValueRef max = vq_kf_like(type, -INFINITY);
  LLVMValueRef sum[2] = {LLVMConstNull(type), LLVMConstNull(type)};
  vq_row_each(e, g->s.m, g->lanes, max_step, &r, 1, &max);
  r.max = vq_reduce(e, max, vq_combine_max);
  vq_row_each(e, g->s.m, g->lanes, exp_step, &r, 2, sum);
  LLVMValueRef inv = LLVMBuildFDiv(e->b, vq_kf32(e, 1),
                                   vq_reduce(e, sum[0], vq_combine_add), "");
  LLVMValueRef mean = LLVMBuildFMul(e->b, vq_reduce(e, sum[1], vq_combine_add), inv, "");
  vq_store(e, inv, vq_at(e, e->f32, g->part[INVERSE], l.i), 4);
  vq_store(e, mean, vq_at(e, e->f32, g->part[MEAN], l.i), 4);
  vq_loop_end(e, &l);
}

// A square of p and ds at rows from `i`, columns from `j` of the block: ds stays where
// g v^T was, both go transposed to those of all queries. Rows that the block does not
// have are overwritten there by the next one.
static void finish_square(const vq_emit *e, const grad *g, LLVMValueRef i,
                          LLVMValueRef j) {
  LLVMTypeRef type = vq_vec_type(e->f32, g->lanes);
  LLVMValueRef p[VQ_PANEL], ds[VQ_PANEL];
  for (unsigned r = 0; r < g->lanes; r++) {
    LLVMValueRef row = vq_addk(e, i, r);
    LLVMValueRef at = vq_add(e, vq_mulk(e, row, g->s.m_pad), j);
    LLVMValueRef to = vq_at(e, e->f32, g->part[DS], at);
    LLVMValueRef inv = vq_load(e, e->f32, vq_at(e, e->f32, g->part[INVERSE], row), 4);
    LLVMValueRef mean = vq_load(e, e->f32, vq_at(e, e->f32, g->part[MEAN], row), 4);
    p[r] = vq_load(e, type, vq_at(e, e->f32, g->part[SCORE], at), 4);
    p[r] = LLVMBuildFMul(e->b, p[r], vq_splat(e, inv, g->lanes), "");
    ds[r] = LLVMBuildFSub(e->b, vq_load(e, type, to, 4), vq_splat(e, mean, g->lanes), "");
    ds[r] = LLVMBuildFMul(e->b, p[r], ds[r], "");
    vq_store(e, ds[r], to, 4);
  }
  vq_transpose(e, p, g->lanes);
  vq_transpose(e, ds, g->lanes);
  for (unsigned c = 0; c < g->lanes; c++) {
    LLVMValueRef at = vq_mulk(e, vq_addk(e, j, c), g->ld);
    at = vq_add(e, at, vq_add(e, g->row, i));
    vq_store(e, p[c], vq_at(e, e->f32, g->part[P_ALL], at), 4);
    vq_store(e, ds[c], vq_at(e, e->f32, g->part[DS_ALL], at), 4);
  }
}

static void finish_squares(const vq_emit *e, const grad *g) {
  vq_loop i, j;
  vq_loop_begin(e, &i, vq_k64(e, 0), g->rows, g->lanes, 0, NULL);
  vq_loop_range(e, &j, g->s.m_pad, g->lanes);
  finish_square(e, g, i.i, j.i);
  vq_loop_end(e, &j);
  vq_loop_end(e, &i);
}

// Where the gradients of the head begin that lie behind `before` tokens' ones of width
// d, for tokens of `size` elements.
static LLVMValueRef result_at(const vq_emit *e, const grad *g, int64_t before,
                              int64_t size) {
  const vq_heads *s = &g->s;
  LLVMValueRef at = vq_mulk(e, s->b, (s->n + s->m) * s->heads * s->d + s->m * s->heads * s->e);
  at = vq_add(e, vq_addk(e, at, before * s->heads * s->d), vq_mulk(e, s->h, size));
  return vq_at(e, e->f32, e->result[0], at);
}

static void queries(const vq_emit *e, grad *g, LLVMValueRef part) {
  const vq_heads *s = &g->s;
  g->rows = vq_part_rows(e, &g->score, part, &g->row);
  task score = {.g = g, .p = &g->score, .rows = g->rows, .lda = s->q.row, .k = s->d,
                .a = vq_heads_token(e, s, &s->q, g->row, s->d), .b = g->part[K_ACROSS],
                .c = g->part[SCORE], .ldc = s->m_pad};
  multiply(e, &score);
  task dp = {.g = g, .p = &g->score, .rows = g->rows, .lda = s->g.row, .k = s->e,
             .a = vq_heads_token(e, s, &s->g, g->row, s->e), .b = g->part[V_ACROSS],
             .c = g->part[DS], .ldc = s->m_pad};
  multiply(e, &dp);
  soften_rows(e, g);
  finish_squares(e, g);
  int64_t row = s->heads * s->d;
  task dq = {.g = g, .p = &g->of_q, .rows = g->rows, .lda = s->m_pad, .k = s->m,
             .a = g->part[DS], .b = g->part[K_ROWS], .ldc = row, .to_result = true,
             .c = vq_at(e, e->f32, result_at(e, g, 0, s->d), vq_mulk(e, g->row, row))};
  multiply(e, &dq);
}

// ---- a head ------------------------------------------------------------------

static void pack(const vq_emit *e, const grad *g) {
  const vq_heads *s = &g->s;
  double scale = (double)VQ_ATTRS(s->op, attention_grad)->scale;
  vq_tokens k = {&s->k, s->m, s->d, scale}, v = {&s->v, s->m, s->e, 1};
  vq_heads_pack_across(e, s, k, g->part[K_ACROSS]);
  vq_heads_pack_across(e, s, v, g->part[V_ACROSS]);
  vq_heads_pack_rows(e, s, k, g->part[K_ROWS]);
  vq_heads_pack_rows(e, s, (vq_tokens){&s->q, s->n, s->d, scale}, g->part[Q_ROWS]);
  vq_heads_pack_rows(e, s, (vq_tokens){&s->g, s->n, s->e, 1}, g->part[G_ROWS]);
}

static void keys_and_values(const vq_emit *e, const grad *g) {
  const vq_heads *s = &g->s;
  task dk = {.g = g, .p = &g->of_k, .rows = vq_k64(e, s->m), .lda = g->ld, .k = s->n,
             .a = g->part[DS_ALL], .b = g->part[Q_ROWS], .ldc = s->heads * s->d,
             .to_result = true, .c = result_at(e, g, s->n, s->d)};
  multiply(e, &dk);
  task dv = {.g = g, .p = &g->of_v, .rows = vq_k64(e, s->m), .lda = g->ld, .k = s->n,
             .a = g->part[P_ALL], .b = g->part[G_ROWS], .ldc = s->heads * s->e,
             .to_result = true, .c = result_at(e, g, s->n + s->m, s->e)};
  multiply(e, &dv);
}

static void set_scratch(const vq_emit *e, grad *g) {
  for (unsigned i = 0; i < N_PART; i++)
    g->part[i] = vq_atk(e, e->f32, e->scratch, g->at[i]);
  vq_loop l;
  vq_loop_range(e, &l, VQ_TILE_COLS, g->lanes);
  vq_store(e, LLVMConstNull(vq_vec_type(e->f32, g->lanes)),
           vq_at(e, e->f32, g->part[ZEROS], l.i), 4);
  vq_loop_end(e, &l);
}

vq_status emit_attention_grad(vq_emit *e) {
  grad g = {.ld = 0};
  if (!describe(e->kernel, &g)) VQ_BUG("attention_grad does not take this kernel");
  g.lanes = vq_f32_lanes(e->target);
  set_scratch(e, &g);
  vq_loop head, part;
  vq_loop_begin(e, &head, e->begin, e->end, 1, 0, NULL);
  g.s.b = vq_divk(e, head.i, g.s.heads), g.s.h = vq_modk(e, head.i, g.s.heads);
  pack(e, &g);
  vq_loop_range(e, &part, g.score.parts, 1);
  queries(e, &g, part.i);
  vq_loop_end(e, &part);
  keys_and_values(e, &g);
  vq_loop_end(e, &head);
  return VQ_OK;
}
