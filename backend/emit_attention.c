// attention on token-major q, k, v, read through strides.
//
// k (times the scale) and v are packed into panels in scratch when the head
// changes; then, for each block of queries (heads.h), the scores go to scratch,
// are turned into exp(s - max) in place, and multiply v; 1 / sum is applied to
// the result. The scores of one block (at most 14 rows) are all that ever exists
// of the N x N matrix, unless the kernel has attention_softmax too: then that is divided
// by the sums, and multiplies v.
#include "elt.h"
#include "heads.h"
#include "loop.h"
#include "panels.h"
#include "vmath.h"

#define SCRATCH_MAX (4 << 20)

bool match_attention(const vq_func *kernel, vq_kernel_plan *plan);
vq_status emit_attention(vq_emit *e);

typedef struct attention {
  vq_heads s;
  // while emitting
  unsigned lanes;
  LLVMValueRef k_panel, v_panel, scores, sums, tile, zeros;  // parts of scratch
  LLVMValueRef a, row, rows;  // of the current block
  LLVMValueRef kept;          // its rows of the softmax that is a result
} attention;

// Offsets of the parts of scratch in floats; returns its size in bytes.
static int64_t scratch_parts(const attention *a, int64_t part[6]) {
  part[0] = 0;
  part[1] = part[0] + a->s.m_pad * a->s.d;
  part[2] = part[1] + a->s.e_pad * a->s.m;
  part[3] = part[2] + a->s.m_pad * VQ_HEADS_BLOCK_ROWS;
  part[4] = part[3] + VQ_PANEL;
  part[5] = part[4] + VQ_TILE_FLOATS;
  return (part[5] + VQ_TILE_COLS) * 4;
}

bool match_attention(const vq_func *kernel, vq_kernel_plan *plan) {
  attention a;
  int64_t part[6];
  if (!vq_heads_match(kernel, VQ_OP_attention, &a.s) ||
      scratch_parts(&a, part) > SCRATCH_MAX)
    return false;
  plan->n_task = a.s.batch * a.s.heads * a.s.n_task;
  plan->scratch_bytes = (uint32_t)scratch_parts(&a, part);
  plan->n_product = 2;
  plan->product[0] = a.s.score;
  plan->product[1] = a.s.value;
  return true;
}

// ---- one block of queries ----------------------------------------------------

static unsigned vectors(const attention *a, unsigned cols) {
  return (cols + a->lanes - 1) / a->lanes;
}

// The tiles of a block's scores fetch the lines that its softmax will go to.
static void fetch_kept(const vq_emit *e, const attention *a, vq_tile *t) {
  int64_t bytes = t->k / VQ_TILE_STEPS * VQ_CACHE_LINE;
  LLVMValueRef nth = vq_divk(e, t->col, vq_heads_width(e, &a->s.score));
  t->fetch = vq_at(e, e->i8, a->kept, vq_mulk(e, nth, bytes));
  t->stride = vq_k64(e, VQ_CACHE_LINE);
}

static void score_group(const vq_emit *e, void *user, LLVMValueRef col,
                        unsigned cols) {
  const attention *a = user;
  vq_tile t = {.a = a->a, .lda = a->s.q.row, .b = a->k_panel, .k = a->s.d,
               .init = a->zeros, .c = vq_at(e, e->f32, a->scores, col),
               .ldc = a->s.m_pad, .col = col, .vecs = vectors(a, cols)};
  if (a->s.softmax && vq_tile_fetches(e->target, &a->s.score)) fetch_kept(e, a, &t);
  vq_tile_call(e, &a->s.score, &t, a->rows);
}

// Where the result of query `row` of the block begins for the head at hand.
static LLVMValueRef y_row(const vq_emit *e, const attention *a, LLVMValueRef row) {
  row = vq_add(e, vq_mulk(e, a->s.b, a->s.n), row);
  LLVMValueRef at = vq_mulk(e, row, a->s.heads * a->s.e);
  at = vq_add(e, at, vq_mulk(e, a->s.h, a->s.e));
  return vq_at(e, e->f32, e->result[a->s.y_at], at);
}

// Of a softmax that is kept.
static void kept_group(const vq_emit *e, const attention *a, LLVMValueRef col,
                       unsigned cols) {
  vq_tile t = {.a = a->kept, .lda = a->s.m, .b = a->v_panel, .k = a->s.m, .init = a->zeros,
               .c = a->tile, .col = col, .vecs = vectors(a, cols)};
  LLVMValueRef to = vq_at(e, e->f32, y_row(e, a, a->row), col);
  bool direct = cols == t.vecs * a->lanes;
  t.ldc = t.vecs * a->lanes;
  if (direct) t.c = to, t.ldc = a->s.heads * a->s.e;
  vq_tile_call(e, &a->s.value, &t, a->rows);
  if (direct) return;
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), a->rows, 1, 0, NULL);
  LLVMValueRef from = vq_at(e, e->f32, a->tile, vq_mulk(e, l.i, t.ldc));
  to = vq_at(e, e->f32, to, vq_mulk(e, l.i, a->s.heads * a->s.e));
  vq_copy_run(e, e->f32, to, from, cols, a->lanes);
  vq_loop_end(e, &l);
}

static void value_group(const vq_emit *e, void *user, LLVMValueRef col,
                        unsigned cols) {
  const attention *a = user;
  if (a->s.softmax) {
    kept_group(e, a, col, cols);
    return;
  }
  vq_tile t = {.a = a->scores, .lda = a->s.m_pad, .b = a->v_panel, .k = a->s.m,
               .init = a->zeros, .c = a->tile, .col = col,
               .vecs = vectors(a, cols)};
  t.ldc = t.vecs * a->lanes;
  vq_tile_call(e, &a->s.value, &t, a->rows);
  LLVMTypeRef type = vq_vec_type(e->f32, a->lanes);
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), a->rows, 1, 0, NULL);
  LLVMValueRef row = vq_add(e, vq_mulk(e, a->s.b, a->s.n), a->row);
  row = vq_add(e, row, l.i);
  LLVMValueRef from = vq_at(e, e->f32, a->tile, vq_mulk(e, l.i, t.ldc));
  LLVMValueRef inv = vq_load(e, e->f32, vq_at(e, e->f32, a->sums, l.i), 4);
  inv = vq_splat(e, inv, a->lanes);
  col = vq_add(e, col, vq_mulk(e, a->s.h, a->s.e));
  for (unsigned c = 0; c < cols; c += a->lanes) {
    LLVMValueRef v = vq_load(e, type, vq_atk(e, e->f32, from, c), 4);
    unsigned left = cols - c;
    vq_chain_store(e, &a->s.chain, LLVMBuildFMul(e->b, v, inv, ""), row,
                   vq_addk(e, col, c), a->lanes,
                   left < a->lanes ? left : a->lanes);
  }
  vq_loop_end(e, &l);
}

// What the sweeps over one row of scores share.
typedef struct score_row {
  LLVMValueRef scores, bias, max;
  LLVMValueRef inv, kept;  // of a softmax that is kept
} score_row;

static void max_step(const vq_emit *e, void *user, LLVMValueRef col,
                     unsigned lanes, unsigned n, LLVMValueRef *v) {
  const score_row *r = user;
  LLVMTypeRef type = vq_vec_type(e->f32, lanes);
  LLVMValueRef p = vq_at(e, e->f32, r->scores, col);
  LLVMValueRef s = vq_load(e, type, p, 4);
  if (r->bias) {
    LLVMValueRef b =
        vq_load_n(e, type, vq_at(e, e->f32, r->bias, col), 4, n);
    s = LLVMBuildFAdd(e->b, s, b, "");
    vq_store(e, s, p, 4);
  }
  if (n < lanes)
    s = LLVMBuildSelect(e->b, vq_lane_mask(e, lanes, n), s,
                        vq_kf_like(type, -INFINITY), "");
  v[0] = vq_combine_max(e, v[0], s);
}

static void exp_step(const vq_emit *e, void *user, LLVMValueRef col,
                     unsigned lanes, unsigned n, LLVMValueRef *v) {
  const score_row *r = user;
  LLVMTypeRef type = vq_vec_type(e->f32, lanes);
  LLVMValueRef p = vq_at(e, e->f32, r->scores, col);
  LLVMValueRef s = LLVMBuildFSub(e->b, vq_load(e, type, p, 4),
                                 vq_splat(e, r->max, lanes), "");
  s = vq_vexp(e, s);
  vq_store(e, s, p, 4);
  if (n < lanes)
    s = LLVMBuildSelect(e->b, vq_lane_mask(e, lanes, n), s,
                        LLVMConstNull(type), "");
  v[0] = LLVMBuildFAdd(e->b, v[0], s, "");
}

static void keep_step(const vq_emit *e, void *user, LLVMValueRef col, unsigned lanes,
                      unsigned n, LLVMValueRef *v) {
  const score_row *r = user;
  LLVMTypeRef type = vq_vec_type(e->f32, lanes);
  LLVMValueRef s = vq_load(e, type, vq_at(e, e->f32, r->scores, col), 4);
  s = LLVMBuildFMul(e->b, s, vq_splat(e, r->inv, lanes), "");
  vq_store_n(e, s, vq_at(e, e->f32, r->kept, col), 4, n);
  (void)v;
}

static void soften_rows(const vq_emit *e, const attention *a) {
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), a->rows, 1, 0, NULL);
  score_row r = {.scores = vq_at(e, e->f32, a->scores,
                                 vq_mulk(e, l.i, a->s.m_pad))};
  r.bias = vq_heads_bias(e, &a->s, vq_add(e, a->row, l.i));
  LLVMTypeRef type = vq_vec_type(e->f32, a->lanes);
  LLVMValueRef max = vq_kf_like(type, -INFINITY), sum = LLVMConstNull(type);
  vq_row_each(e, a->s.m, a->lanes, max_step, &r, 1, &max);
  r.max = vq_reduce(e, max, vq_combine_max);
  vq_row_each(e, a->s.m, a->lanes, exp_step, &r, 1, &sum);
  LLVMValueRef inv = LLVMBuildFDiv(e->b, vq_kf32(e, 1),
                                   vq_reduce(e, sum, vq_combine_add), "");
  if (a->s.softmax) {
    r.inv = inv, r.kept = vq_at(e, e->f32, a->kept, vq_mulk(e, l.i, a->s.m));
    vq_row_each(e, a->s.m, a->lanes, keep_step, &r, 0, NULL);
  } else {
    vq_store(e, inv, vq_at(e, e->f32, a->sums, l.i), 4);
  }
  vq_loop_end(e, &l);
}

static void emit_block(const vq_emit *e, void *user, LLVMValueRef row,
                       LLVMValueRef rows) {
  attention *a = user;
  LLVMValueRef zero = vq_k64(e, 0);
  a->row = row, a->rows = rows;
  a->a = vq_heads_token(e, &a->s, &a->s.q, a->row, a->s.d);
  if (a->s.softmax) a->kept = vq_heads_softmax(e, &a->s, e->result[a->s.softmax_at], row);
  vq_each_group(e, zero, vq_k64(e, a->s.m), a->s.m, vq_heads_width(e, &a->s.score),
                score_group, a);
  soften_rows(e, a);
  vq_each_group(e, zero, vq_k64(e, a->s.e), a->s.e, vq_heads_width(e, &a->s.value),
                value_group, a);
}

static void pack(const vq_emit *e, void *user) {
  const attention *a = user;
  double scale = (double)VQ_ATTRS(a->s.op, attention)->scale;
  vq_heads_pack_across(e, &a->s, (vq_tokens){&a->s.k, a->s.m, a->s.d, scale}, a->k_panel);
  vq_heads_pack_rows(e, &a->s, (vq_tokens){&a->s.v, a->s.m, a->s.e, 1}, a->v_panel);
}

static void set_scratch(const vq_emit *e, attention *a) {
  int64_t part[6];
  scratch_parts(a, part);
  a->k_panel = vq_atk(e, e->f32, e->scratch, part[0]);
  a->v_panel = vq_atk(e, e->f32, e->scratch, part[1]);
  a->scores = vq_atk(e, e->f32, e->scratch, part[2]);
  a->sums = vq_atk(e, e->f32, e->scratch, part[3]);
  a->tile = vq_atk(e, e->f32, e->scratch, part[4]);
  a->zeros = vq_atk(e, e->f32, e->scratch, part[5]);
  vq_panels_clear(e, a->zeros);
}

vq_status emit_attention(vq_emit *e) {
  attention a;
  if (!vq_heads_match(e->kernel, VQ_OP_attention, &a.s))
    VQ_BUG("attention does not take this kernel");
  a.lanes = vq_f32_lanes(e->target);
  set_scratch(e, &a);
  vq_heads_walk w = {&a.s, pack, emit_block, &a, .config = NULL};
  vq_heads_each(e, &w);
  return VQ_OK;
}
