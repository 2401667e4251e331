// attention_grad on token-major operands, read through strides.
//
// A task is a head of a sample. For a block of queries at a time g v^T is made and, with
// the softmax p, turned into the scores' gradient ds, and ds k is what the queries get. p
// and ds are also kept for all queries as panels, so that one product each gives the
// gradients of v and k, transposed: g^T p and q^T ds. So the N x M matrices are never
// transposed themselves, only operands and results. The scale is in k and q.
#include "elt.h"
#include "heads.h"
#include "loop.h"
#include "tile.h"

#define SCRATCH_MAX (4 << 20)
#define BLOCK_ROWS 72  // queries at a time, at most

bool match_attention_grad(const vq_func *kernel, vq_kernel_plan *plan);
vq_status emit_attention_grad(vq_emit *e);

enum { V_ACROSS, K_ROWS, Q_TURNED, G_TURNED, P_ALL, DS_ALL, DS, TURNED, TILE, ZEROS, N_PART };

typedef struct grad {
  vq_heads s;
  const vq_value *p;
  vq_product scores, of_q, of_k, of_v;
  int64_t at[N_PART + 1];  // parts of scratch, in floats
  int64_t ld;              // of q and g, transposed
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
  int64_t widest = s->e_pad > d_pad ? s->e_pad : d_pad;
  g->scores = (vq_product){.m = s->n, .parts = parts, .n = s->m};
  g->of_q = (vq_product){.m = s->n, .parts = parts, .n = s->d};
  g->of_k = (vq_product){.m = s->d, .parts = 1, .n = s->m};
  g->of_v = (vq_product){.m = s->e, .parts = 1, .n = s->m};
  g->ld = round_up(s->n, VQ_PANEL) + VQ_PANEL;
  int64_t size[N_PART] = {
      [V_ACROSS] = s->m_pad * s->e, [K_ROWS] = s->m * d_pad,
      [Q_TURNED] = d_pad * g->ld,   [G_TURNED] = s->e_pad * g->ld,
      [P_ALL] = s->m_pad * s->n,    [DS_ALL] = s->m_pad * s->n,
      [DS] = BLOCK_ROWS * s->m_pad, [TURNED] = widest * s->m_pad,
      [TILE] = VQ_TILE_FLOATS,      [ZEROS] = VQ_TILE_COLS};
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
  plan->product[0] = g.scores, plan->product[1] = g.of_q;
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
  LLVMValueRef fetch;      // what its tiles fetch meanwhile; NULL: nothing
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

// Lines of memory that the tile at `row` fetches: those behind the lines of the tile before.
// Rows share in them evenly.
static void choose_fetch(const vq_emit *e, const task *t, LLVMValueRef row, vq_tile *tile) {
  if (!t->fetch || !vq_tile_fetches(e->target, t->p)) return;
  vq_tile_shape shape = vq_tile_choose(e->target, t->p);
  int64_t width = vq_heads_width(e, t->p), bytes = t->k / VQ_TILE_STEPS * VQ_CACHE_LINE;
  LLVMValueRef nth = vq_mul(e, vq_divk(e, t->col, width), t->rows);
  nth = vq_mulk(e, vq_add(e, nth, row), bytes / shape.rows);
  tile->fetch = vq_at(e, e->i8, t->fetch, nth);
  tile->stride = vq_k64(e, VQ_CACHE_LINE);
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
  choose_fetch(e, t, row, &tile);
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
  LLVMValueRef p, ds;           // rows
  LLVMValueRef p_all, ds_all;   // where they begin in panels
  LLVMValueRef mean;
  const grad *g;
} score_row;

static void mean_step(const vq_emit *e, void *user, LLVMValueRef col, unsigned lanes,
                      unsigned n, LLVMValueRef *v) {
  const score_row *r = user;
  LLVMTypeRef type = vq_vec_type(e->f32, lanes);
  LLVMValueRef p = vq_load_n(e, type, vq_at(e, e->f32, r->p, col), 4, n);
  v[0] = vq_fma(e, p, vq_load(e, type, vq_at(e, e->f32, r->ds, col), 4), v[0]);
}

// ds stays where g v^T was; it and p go to the panels of all queries, too.
static void ds_step(const vq_emit *e, void *user, LLVMValueRef col, unsigned lanes,
                    unsigned n, LLVMValueRef *v) {
  const score_row *r = user;
  LLVMTypeRef type = vq_vec_type(e->f32, lanes);
  LLVMValueRef p = vq_load_n(e, type, vq_at(e, e->f32, r->p, col), 4, n);
  LLVMValueRef to = vq_at(e, e->f32, r->ds, col), ds = vq_load(e, type, to, 4);
  ds = LLVMBuildFSub(e->b, ds, vq_splat(e, r->mean, lanes), "");
  ds = LLVMBuildFMul(e->b, p, ds, "");
  LLVMValueRef at = vq_mulk(e, vq_divk(e, col, VQ_PANEL), r->g->s.n * VQ_PANEL);
  at = vq_add(e, at, vq_modk(e, col, VQ_PANEL));
  vq_store(e, ds, to, 4);
  vq_store(e, p, vq_at(e, e->f32, r->p_all, at), 4);
  vq_store(e, ds, vq_at(e, e->f32, r->ds_all, at), 4);
  (void)v;
}

static void make_ds(const vq_emit *e, const grad *g) {
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), g->rows, 1, 0, NULL);
  LLVMValueRef row = vq_add(e, g->row, l.i), panel = vq_mulk(e, row, VQ_PANEL);
  score_row r = {.p = vq_heads_softmax(e, &g->s, vq_arg_ptr(e, g->p), row),
                 .ds = vq_at(e, e->f32, g->part[DS], vq_mulk(e, l.i, g->s.m_pad)),
                 .p_all = vq_at(e, e->f32, g->part[P_ALL], panel),
                 .ds_all = vq_at(e, e->f32, g->part[DS_ALL], panel), .g = g};
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

static void queries(const vq_emit *e, grad *g, LLVMValueRef part) {
  const vq_heads *s = &g->s;
  g->rows = vq_part_rows(e, &g->scores, part, &g->row);
  task dp = {.g = g, .p = &g->scores, .rows = g->rows, .lda = s->g.row, .k = s->e,
             .a = vq_heads_token(e, s, &s->g, g->row, s->e), .b = g->part[V_ACROSS],
             .c = g->part[DS], .ldc = s->m_pad,
             .fetch = vq_heads_softmax(e, s, vq_arg_ptr(e, g->p), g->row)};
  multiply(e, &dp);
  make_ds(e, g);
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
  vq_heads_pack_across(e, s, (vq_tokens){&s->v, s->m, s->e, 1}, g->part[V_ACROSS]);
  vq_heads_pack_rows(e, s, (vq_tokens){&s->k, s->m, s->d, scale}, g->part[K_ROWS]);
  vq_heads_turn(e, s, (vq_tokens){&s->q, s->n, s->d, scale}, g->part[Q_TURNED], g->ld);
  vq_heads_turn(e, s, (vq_tokens){&s->g, s->n, s->e, 1}, g->part[G_TURNED], g->ld);
}

// Column `j` of what is in TURNED, `size` rows of it, to row `j` from `to`. LANES rows and
// columns at a time; `cols` and `rows` of them exist.
static void turn_square(const vq_emit *e, const grad *g, LLVMValueRef from, LLVMValueRef to,
                        int64_t ld, unsigned rows, unsigned cols) {
  LLVMTypeRef type = vq_vec_type(e->f32, g->lanes);
  LLVMValueRef v[VQ_PANEL];
  for (unsigned r = 0; r < g->lanes; r++)
    v[r] = r < rows ? vq_load(e, type, vq_atk(e, e->f32, from, r * g->s.m_pad), 4)
                    : LLVMConstNull(type);
  vq_transpose(e, v, g->lanes);
  for (unsigned c = 0; c < cols; c++)
    vq_store_n(e, v[c], vq_atk(e, e->f32, to, c * ld), 4, rows);
}

static void turn_columns(const vq_emit *e, const grad *g, LLVMValueRef col, LLVMValueRef to,
                         int64_t size, int64_t ld, unsigned cols) {
  LLVMValueRef from = vq_at(e, e->f32, g->part[TURNED], col);
  int64_t whole = size - size % g->lanes;
  to = vq_at(e, e->f32, to, vq_mulk(e, col, ld));
  if (whole) {
    vq_loop l;
    vq_loop_range(e, &l, whole, g->lanes);
    turn_square(e, g, vq_at(e, e->f32, from, vq_mulk(e, l.i, g->s.m_pad)),
                vq_at(e, e->f32, to, l.i), ld, g->lanes, cols);
    vq_loop_end(e, &l);
  }
  if (whole < size)
    turn_square(e, g, vq_atk(e, e->f32, from, whole * g->s.m_pad),
                vq_atk(e, e->f32, to, whole), ld, (unsigned)(size - whole), cols);
}

// The `size` x m gradient that is in TURNED, as rows of tokens.
static void turn_back(const vq_emit *e, const grad *g, LLVMValueRef to, int64_t size) {
  int64_t m = g->s.m, whole = m - m % g->lanes, ld = g->s.heads * size;
  if (whole) {
    vq_loop l;
    vq_loop_range(e, &l, whole, g->lanes);
    turn_columns(e, g, l.i, to, size, ld, g->lanes);
    vq_loop_end(e, &l);
  }
  if (whole < m) turn_columns(e, g, vq_k64(e, whole), to, size, ld, (unsigned)(m - whole));
}

static void keys_and_values(const vq_emit *e, const grad *g) {
  const vq_heads *s = &g->s;
  task dk = {.g = g, .p = &g->of_k, .rows = vq_k64(e, s->d), .lda = g->ld, .k = s->n,
             .a = g->part[Q_TURNED], .b = g->part[DS_ALL], .ldc = s->m_pad,
             .c = g->part[TURNED]};
  multiply(e, &dk);
  turn_back(e, g, result_at(e, g, s->n, s->d), s->d);
  task dv = {.g = g, .p = &g->of_v, .rows = vq_k64(e, s->e), .lda = g->ld, .k = s->n,
             .a = g->part[G_TURNED], .b = g->part[P_ALL], .ldc = s->m_pad,
             .c = g->part[TURNED]};
  multiply(e, &dv);
  turn_back(e, g, result_at(e, g, s->n + s->m, s->e), s->e);
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
  vq_loop_range(e, &part, g.scores.parts, 1);
  queries(e, &g, part.i);
  vq_loop_end(e, &part);
  keys_and_values(e, &g);
  vq_loop_end(e, &head);
  return VQ_OK;
}
