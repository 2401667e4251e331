// attention_grad on token-major operands, read through strides.
//
// A task is a head of a sample. For a block of queries at a time g v^T is made and, with
// the softmax p, turned into the scores' gradient ds, and ds k is what the queries get.
// ds of all queries stays in scratch; then p^T g and ds^T q are the gradients of v and k,
// of which tiles read the left operand across. The scale is in k and q.
#include "elt.h"
#include "heads.h"
#include "loop.h"
#include "panels.h"

#define SCRATCH_MAX (4 << 20)
#define BLOCK_ROWS 72  // queries at a time, at most

bool match_attention_grad(const vq_func *kernel, vq_kernel_plan *plan);
vq_status emit_attention_grad(vq_emit *e);

enum { V_ACROSS, K_ROWS, Q_ROWS, G_ROWS, DS, TILE, ZEROS, N_PART };

typedef struct grad {
  vq_heads s;
  const vq_value *p;
  vq_product scores, of_q, of_k, of_v;
  int64_t at[N_PART + 1];  // parts of scratch, in floats
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
  g->p = vq_in(s->op, 4);
  if (g->p->kind != VQ_VALUE_ARG) return false;
  int64_t parts = (s->n + BLOCK_ROWS - 1) / BLOCK_ROWS, d_pad = round_up(s->d, VQ_PANEL);
  g->scores = (vq_product){.m = s->n, .parts = parts, .n = s->m};
  g->of_q = (vq_product){.m = s->n, .parts = parts, .n = s->d};
  g->of_k = (vq_product){.m = s->m, .parts = 1, .n = s->d, .across = true};
  g->of_v = (vq_product){.m = s->m, .parts = 1, .n = s->e, .across = true};
  int64_t size[N_PART] = {
      [V_ACROSS] = s->m_pad * s->e, [K_ROWS] = s->m * d_pad,   [Q_ROWS] = s->n * d_pad,
      [G_ROWS] = s->n * s->e_pad,   [DS] = s->n * s->m_pad,    [TILE] = VQ_TILE_FLOATS,
      [ZEROS] = VQ_TILE_COLS};
  for (unsigned i = 0; i < N_PART; i++)
    g->at[i + 1] = g->at[i] + round_up(size[i], VQ_PANEL);
  return g->at[N_PART] * 4 <= SCRATCH_MAX;
}

bool match_attention_grad(const vq_func *kernel, vq_kernel_plan *plan) {
  grad g = {.lanes = 0};
  if (!describe(kernel, &g)) return false;
  plan->n_task = g.s.batch * g.s.heads;
  plan->scratch_bytes = (uint32_t)(g.at[N_PART] * 4);
  plan->n_product = 4;
  plan->product[0] = g.scores, plan->product[1] = g.of_q;
  plan->product[2] = g.of_k, plan->product[3] = g.of_v;
  return true;
}

static vq_panels product(const grad *g, const vq_product *p, LLVMValueRef rows) {
  return (vq_panels){.p = p, .rows = rows, .zeros = g->part[ZEROS], .tile = g->part[TILE]};
}

// ---- one block of queries ----------------------------------------------------

typedef struct score_row {
  LLVMValueRef p, ds;  // rows
  LLVMValueRef mean;
} score_row;

static void mean_step(const vq_emit *e, void *user, LLVMValueRef col, unsigned lanes,
                      unsigned n, LLVMValueRef *v) {
  const score_row *r = user;
  LLVMTypeRef type = vq_vec_type(e->f32, lanes);
  LLVMValueRef p = vq_load_n(e, type, vq_at(e, e->f32, r->p, col), 4, n);
  v[0] = vq_fma(e, p, vq_load(e, type, vq_at(e, e->f32, r->ds, col), 4), v[0]);
}

// ds stays where g v^T was.
static void ds_step(const vq_emit *e, void *user, LLVMValueRef col, unsigned lanes,
                    unsigned n, LLVMValueRef *v) {
  const score_row *r = user;
  LLVMTypeRef type = vq_vec_type(e->f32, lanes);
  LLVMValueRef p = vq_load_n(e, type, vq_at(e, e->f32, r->p, col), 4, n);
  LLVMValueRef to = vq_at(e, e->f32, r->ds, col), ds = vq_load(e, type, to, 4);
  ds = LLVMBuildFSub(e->b, ds, vq_splat(e, r->mean, lanes), "");
  vq_store(e, LLVMBuildFMul(e->b, p, ds, ""), to, 4);
  (void)v;
}

static LLVMValueRef ds_row(const vq_emit *e, const grad *g, LLVMValueRef row) {
  return vq_at(e, e->f32, g->part[DS], vq_mulk(e, row, g->s.m_pad));
}

static void make_ds(const vq_emit *e, const grad *g) {
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), g->rows, 1, 0, NULL);
  LLVMValueRef row = vq_add(e, g->row, l.i);
  score_row r = {.p = vq_heads_softmax(e, &g->s, vq_arg_ptr(e, g->p), row),
                 .ds = ds_row(e, g, row)};
  LLVMValueRef sum = LLVMConstNull(vq_vec_type(e->f32, g->lanes));
  vq_row_each(e, g->s.m, g->lanes, mean_step, &r, 1, &sum);
  r.mean = vq_reduce(e, sum, vq_combine_add);
  vq_row_each(e, g->s.m, g->lanes, ds_step, &r, 0, NULL);
  vq_loop_end(e, &l);
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

// A block of queries. Its rows of p are not in the cache yet.
static void queries(const vq_emit *e, grad *g, LLVMValueRef part) {
  const vq_heads *s = &g->s;
  g->rows = vq_part_rows(e, &g->scores, part, &g->row);
  LLVMValueRef ds = ds_row(e, g, g->row);
  vq_panels dp = product(g, &g->scores, g->rows);
  dp.a = vq_heads_token(e, s, &s->g, g->row, s->e), dp.lda = s->g.row, dp.k = s->e;
  dp.b = g->part[V_ACROSS], dp.c = ds, dp.ldc = s->m_pad;
  dp.fetch = vq_heads_softmax(e, s, vq_arg_ptr(e, g->p), g->row);
  vq_panels_multiply(e, &dp);
  make_ds(e, g);
  int64_t width = s->heads * s->d;
  vq_panels dq = product(g, &g->of_q, g->rows);
  dq.a = ds, dq.lda = s->m_pad, dq.k = s->m, dq.b = g->part[K_ROWS], dq.exact = true;
  dq.c = vq_at(e, e->f32, result_at(e, g, 0, s->d), vq_mulk(e, g->row, width));
  dq.ldc = width;
  vq_panels_multiply(e, &dq);
}

// ---- a head ------------------------------------------------------------------

static void pack(const vq_emit *e, const grad *g) {
  const vq_heads *s = &g->s;
  double scale = (double)VQ_ATTRS(s->op, attention_grad)->scale;
  vq_heads_pack_across(e, s, (vq_tokens){&s->v, s->m, s->e, 1}, g->part[V_ACROSS]);
  vq_heads_pack_rows(e, s, (vq_tokens){&s->k, s->m, s->d, scale}, g->part[K_ROWS]);
  vq_heads_pack_rows(e, s, (vq_tokens){&s->q, s->n, s->d, scale}, g->part[Q_ROWS]);
  vq_heads_pack_rows(e, s, (vq_tokens){&s->g, s->n, s->e, 1}, g->part[G_ROWS]);
}

static void keys_and_values(const vq_emit *e, const grad *g) {
  const vq_heads *s = &g->s;
  LLVMValueRef all = vq_k64(e, s->m), zero = vq_k64(e, 0);
  vq_panels dk = product(g, &g->of_k, all);
  dk.a = g->part[DS], dk.lda = s->m_pad, dk.k = s->n, dk.b = g->part[Q_ROWS];
  dk.c = result_at(e, g, s->n, s->d), dk.ldc = s->heads * s->d, dk.exact = true;
  vq_panels_multiply(e, &dk);
  vq_panels dv = product(g, &g->of_v, all);
  dv.a = vq_heads_softmax(e, s, vq_arg_ptr(e, g->p), zero), dv.lda = s->m, dv.k = s->n;
  dv.b = g->part[G_ROWS], dv.exact = true;
  dv.c = result_at(e, g, s->n + s->m, s->e), dv.ldc = s->heads * s->e;
  vq_panels_multiply(e, &dv);
}

static void set_scratch(const vq_emit *e, grad *g) {
  for (unsigned i = 0; i < N_PART; i++)
    g->part[i] = vq_atk(e, e->f32, e->scratch, g->at[i]);
  vq_panels_clear(e, g->part[ZEROS]);
}

vq_status emit_attention_grad(vq_emit *e) {
  grad g = {.lanes = 0};
  if (!describe(e->kernel, &g)) VQ_BUG("attention_grad does not take this kernel");
  g.lanes = vq_f32_lanes(e->target);
  set_scratch(e, &g);
  vq_loop head, part;
  vq_loop_begin(e, &head, e->begin, e->end, 1, 0, NULL);
  g.s.b = vq_divk(e, head.i, g.s.heads), g.s.h = vq_modk(e, head.i, g.s.heads);
  pack(e, &g);
  vq_loop_range(e, &part, g.scores.parts, 1);
  queries(e, &g, part.i);
  vq_loop_end(e, &part);
  keys_and_values(e, &g);
  vq_loop_end(e, &head);
  return VQ_OK;
}
