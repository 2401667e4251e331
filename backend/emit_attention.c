// attention on token-major q, k, v, read through strides.
//
// A task is a few blocks of queries of one head of one sample. k (times the scale)
// and v are packed into panels in scratch when the head changes; then, for each
// block of queries, the scores go to scratch, are turned into exp(s - max) in
// place, and multiply v; 1 / sum is applied to the result. The scores of one
// block (at most 14 rows) are all that ever exists of the N x N matrix.
//
// `slice` ops on the way to q, k and v become offsets and strides, so packed
// qkv projections are read where they lie.
#include "chain.h"
#include "elt.h"
#include "loop.h"
#include "tile.h"
#include "vmath.h"

#define BLOCK_ROWS 14
#define TASK_BLOCKS 4
#define SCRATCH_MAX (4 << 20)

bool match_attention(const vq_func *kernel, vq_kernel_plan *plan);
vq_status emit_attention(vq_emit *e);

// Element (b, n, c) of a rank 3 tensor at base[at + b * batch + n * row + c].
typedef struct view {
  const vq_value *base;
  int64_t at, batch, row;
} view;

typedef struct attention {
  vq_chain chain;
  view q, k, v;
  const vq_value *bias;
  int64_t batch, heads, n, m, d, e;  // d of q and k, e of v, per head
  int64_t m_pad, e_pad;              // to whole panels
  int64_t n_block, n_task;           // blocks of queries and tasks per head
  float scale;
  vq_product score, value;
  // while emitting
  unsigned lanes;
  LLVMValueRef k_panel, v_panel, scores, sums, tile, zeros;  // parts of scratch
  LLVMValueRef b, h, row0;
  LLVMValueRef a, row, rows;  // of the current block
} attention;

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static bool view_of(const vq_value *x, view *v) {
  *v = (view){.base = x};
  if (x->kind == VQ_VALUE_RESULT && x->def->code == VQ_OP_slice) {
    const vq_attrs_slice *s = VQ_ATTRS(x->def, slice);
    v->base = vq_in(x->def, 0);
    for (unsigned k = 0; k < s->step.n; k++)
      if (s->step.p[k] != 1) return false;
    int64_t stride[VQ_MAX_RANK];
    vq_type_strides(v->base->type, stride);
    for (unsigned k = 0; k < s->begin.n; k++) v->at += s->begin.p[k] * stride[k];
  }
  v->row = v->base->type->dim[2];
  v->batch = v->base->type->dim[1] * v->row;
  return v->base->kind == VQ_VALUE_ARG;
}

static bool describe(const vq_func *kernel, attention *a) {
  const vq_op *op = kernel->first;
  memset(a, 0, sizeof *a);
  while (op->code == VQ_OP_slice) op = op->next;
  if (op->code != VQ_OP_attention || !vq_chain_match(kernel, op, &a->chain))
    return false;
  const vq_type *q = vq_in(op, 0)->type, *v = vq_in(op, 2)->type;
  if (!view_of(vq_in(op, 0), &a->q) || !view_of(vq_in(op, 1), &a->k) ||
      !view_of(vq_in(op, 2), &a->v))
    return false;
  a->bias = vq_in_opt(op, 3);
  if (a->bias && a->bias->kind != VQ_VALUE_ARG) return false;
  a->heads = VQ_ATTRS(op, attention)->heads;
  a->scale = VQ_ATTRS(op, attention)->scale;
  a->batch = q->dim[0], a->n = q->dim[1], a->m = v->dim[1];
  a->d = q->dim[2] / a->heads, a->e = v->dim[2] / a->heads;
  a->m_pad = round_up(a->m, VQ_PANEL), a->e_pad = round_up(a->e, VQ_PANEL);
  a->n_block = (a->n + BLOCK_ROWS - 1) / BLOCK_ROWS;
  a->n_task = (a->n_block + TASK_BLOCKS - 1) / TASK_BLOCKS;
  a->score = (vq_product){a->n, a->n_block, a->m_pad, false};
  a->value = (vq_product){a->n, a->n_block, a->e, false};
  return a->m > 0;
}

// Offsets of the parts of scratch in floats; returns its size in bytes.
static int64_t scratch_parts(const attention *a, int64_t part[6]) {
  part[0] = 0;
  part[1] = part[0] + a->m_pad * a->d;
  part[2] = part[1] + a->e_pad * a->m;
  part[3] = part[2] + a->m_pad * BLOCK_ROWS;
  part[4] = part[3] + VQ_PANEL;
  part[5] = part[4] + VQ_TILE_FLOATS;
  return (part[5] + VQ_TILE_COLS) * 4;
}

bool match_attention(const vq_func *kernel, vq_kernel_plan *plan) {
  attention a;
  int64_t part[6];
  if (!describe(kernel, &a) || scratch_parts(&a, part) > SCRATCH_MAX)
    return false;
  plan->n_task = a.batch * a.heads * a.n_task;
  plan->scratch_bytes = (uint32_t)scratch_parts(&a, part);
  plan->n_product = 2;
  plan->product[0] = a.score;
  plan->product[1] = a.value;
  return true;
}

// ---- packing -----------------------------------------------------------------

// Address of token `n` (i64) of the current head.
static LLVMValueRef token(const vq_emit *e, const attention *a, const view *v,
                          LLVMValueRef n, int64_t head_size) {
  LLVMValueRef at = vq_addk(e, vq_mulk(e, a->b, v->batch), v->at);
  at = vq_add(e, at, vq_mulk(e, n, v->row));
  at = vq_add(e, at, vq_mulk(e, a->h, head_size));
  return vq_at(e, e->f32, vq_arg_ptr(e, v->base), at);
}

// Reads a square of `lanes` tokens x `lanes` elements of k and writes it
// transposed: element i of token c to to[i * 16 + c].
static void pack_square(const vq_emit *e, const attention *a, LLVMValueRef from,
                        LLVMValueRef to, unsigned tokens, unsigned elements) {
  LLVMValueRef row[VQ_PANEL];
  LLVMTypeRef type = vq_vec_type(e->f32, a->lanes);
  LLVMValueRef scale = vq_kf_like(type, (double)a->scale);
  for (unsigned c = 0; c < a->lanes; c++) {
    row[c] = LLVMConstNull(type);
    if (c >= tokens) continue;
    LLVMValueRef p = vq_atk(e, e->f32, from, c * a->k.row);
    row[c] = LLVMBuildFMul(e->b, vq_load_n(e, type, p, 4, elements), scale, "");
  }
  vq_transpose(e, row, a->lanes);
  for (unsigned i = 0; i < elements; i++)
    vq_store(e, row[i], vq_atk(e, e->f32, to, i * VQ_PANEL), 4);
}

// One panel of k: 16 tokens from `from`, of which `tokens` exist.
static void pack_k_panel(const vq_emit *e, const attention *a,
                         LLVMValueRef from, LLVMValueRef to, unsigned tokens) {
  unsigned lanes = a->lanes, rest = (unsigned)(a->d % lanes);
  for (unsigned c = 0; c < VQ_PANEL; c += lanes) {
    unsigned n = tokens > c ? tokens - c : 0;
    LLVMValueRef src = vq_atk(e, e->f32, from, c * a->k.row);
    LLVMValueRef dst = vq_atk(e, e->f32, to, c);
    if (a->d > rest) {
      vq_loop l;
      vq_loop_range(e, &l, a->d - rest, lanes);
      pack_square(e, a, vq_at(e, e->f32, src, l.i),
                  vq_at(e, e->f32, dst, vq_mulk(e, l.i, VQ_PANEL)), n, lanes);
      vq_loop_end(e, &l);
    }
    if (rest)
      pack_square(e, a, vq_atk(e, e->f32, src, a->d - rest),
                  vq_atk(e, e->f32, dst, (a->d - rest) * VQ_PANEL), n, rest);
  }
}

static void pack_k(const vq_emit *e, const attention *a) {
  int64_t whole = a->m - a->m % VQ_PANEL;
  vq_loop l;
  vq_loop_range(e, &l, whole, VQ_PANEL);
  pack_k_panel(e, a, token(e, a, &a->k, l.i, a->d),
               vq_at(e, e->f32, a->k_panel, vq_mulk(e, l.i, a->d)), VQ_PANEL);
  vq_loop_end(e, &l);
  if (whole < a->m)
    pack_k_panel(e, a, token(e, a, &a->k, vq_k64(e, whole), a->d),
                 vq_atk(e, e->f32, a->k_panel, whole * a->d),
                 (unsigned)(a->m - whole));
}

// Token m of v to row m of every panel; the last panel is filled with zeros.
static void pack_v(const vq_emit *e, const attention *a) {
  vq_loop l;
  vq_loop_range(e, &l, a->m, 1);
  LLVMValueRef from = token(e, a, &a->v, l.i, a->e);
  LLVMValueRef to = vq_at(e, e->f32, a->v_panel, vq_mulk(e, l.i, VQ_PANEL));
  LLVMTypeRef type = vq_vec_type(e->f32, a->lanes);
  for (int64_t c = 0; c < a->e_pad; c += a->lanes) {
    LLVMValueRef v = LLVMConstNull(type);
    unsigned n = a->e - c < a->lanes ? (unsigned)(a->e - c) : a->lanes;
    if (c < a->e) v = vq_load_n(e, type, vq_atk(e, e->f32, from, c), 4, n);
    int64_t at = c / VQ_PANEL * a->m * VQ_PANEL + c % VQ_PANEL;
    vq_store(e, v, vq_atk(e, e->f32, to, at), 4);
  }
  vq_loop_end(e, &l);
}

// ---- one block of queries ----------------------------------------------------

static unsigned vectors(const attention *a, unsigned cols) {
  return (cols + a->lanes - 1) / a->lanes;
}

static void score_group(const vq_emit *e, void *user, LLVMValueRef col,
                        unsigned cols) {
  const attention *a = user;
  vq_tile t = {.a = a->a, .lda = a->q.row, .b = a->k_panel, .k = a->d,
               .init = a->zeros, .c = vq_at(e, e->f32, a->scores, col),
               .ldc = a->m_pad, .col = col, .vecs = vectors(a, cols)};
  vq_tile_call(e, &a->score, &t, a->rows);
}

static void value_group(const vq_emit *e, void *user, LLVMValueRef col,
                        unsigned cols) {
  const attention *a = user;
  vq_tile t = {.a = a->scores, .lda = a->m_pad, .b = a->v_panel, .k = a->m,
               .init = a->zeros, .c = a->tile, .col = col,
               .vecs = vectors(a, cols)};
  t.ldc = t.vecs * a->lanes;
  vq_tile_call(e, &a->value, &t, a->rows);
  LLVMTypeRef type = vq_vec_type(e->f32, a->lanes);
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), a->rows, 1, 0, NULL);
  LLVMValueRef row = vq_add(e, vq_mulk(e, a->b, a->n), a->row);
  row = vq_add(e, row, l.i);
  LLVMValueRef from = vq_at(e, e->f32, a->tile, vq_mulk(e, l.i, t.ldc));
  LLVMValueRef inv = vq_load(e, e->f32, vq_at(e, e->f32, a->sums, l.i), 4);
  inv = vq_splat(e, inv, a->lanes);
  col = vq_add(e, col, vq_mulk(e, a->h, a->e));
  for (unsigned c = 0; c < cols; c += a->lanes) {
    LLVMValueRef v = vq_load(e, type, vq_atk(e, e->f32, from, c), 4);
    unsigned left = cols - c;
    vq_chain_store(e, &a->chain, LLVMBuildFMul(e->b, v, inv, ""), row,
                   vq_addk(e, col, c), a->lanes,
                   left < a->lanes ? left : a->lanes);
  }
  vq_loop_end(e, &l);
}

// What the two sweeps over one row of scores share.
typedef struct score_row {
  LLVMValueRef scores, bias, max;
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

static void soften_rows(const vq_emit *e, const attention *a) {
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), a->rows, 1, 0, NULL);
  score_row r = {.scores = vq_at(e, e->f32, a->scores,
                                 vq_mulk(e, l.i, a->m_pad))};
  if (a->bias) {
    const int64_t *dim = a->bias->type->dim;
    LLVMValueRef at = vq_mulk(e, vq_modk(e, a->b, dim[0]), dim[1]);
    at = vq_mulk(e, vq_add(e, at, vq_modk(e, a->h, dim[1])), a->n);
    at = vq_mulk(e, vq_add(e, vq_add(e, at, a->row), l.i), a->m);
    r.bias = vq_at(e, e->f32, vq_arg_ptr(e, a->bias), at);
  }
  LLVMTypeRef type = vq_vec_type(e->f32, a->lanes);
  LLVMValueRef max = vq_kf_like(type, -INFINITY), sum = LLVMConstNull(type);
  vq_row_each(e, a->m, a->lanes, max_step, &r, 1, &max);
  r.max = vq_reduce(e, max, vq_combine_max);
  vq_row_each(e, a->m, a->lanes, exp_step, &r, 1, &sum);
  LLVMValueRef inv = LLVMBuildFDiv(e->b, vq_kf32(e, 1),
                                   vq_reduce(e, sum, vq_combine_add), "");
  vq_store(e, inv, vq_at(e, e->f32, a->sums, l.i), 4);
  vq_loop_end(e, &l);
}

static unsigned group_width(const vq_emit *e, const vq_product *p) {
  vq_tile_shape s = vq_tile_choose(e->target, p);
  return s.vecs * s.lanes;
}

static void emit_block(const vq_emit *e, void *user, LLVMValueRef row,
                       LLVMValueRef rows) {
  attention *a = user;
  LLVMValueRef zero = vq_k64(e, 0);
  a->row = vq_add(e, a->row0, row), a->rows = rows;
  a->a = token(e, a, &a->q, a->row, a->d);
  vq_each_group(e, zero, vq_k64(e, a->m_pad), a->m_pad,
                group_width(e, &a->score), score_group, a);
  soften_rows(e, a);
  vq_each_group(e, zero, vq_k64(e, a->e), a->e, group_width(e, &a->value),
                value_group, a);
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
  LLVMTypeRef type = vq_vec_type(e->f32, a->lanes);
  vq_loop l;
  vq_loop_range(e, &l, VQ_TILE_COLS, a->lanes);
  vq_store(e, LLVMConstNull(type), vq_at(e, e->f32, a->zeros, l.i), 4);
  vq_loop_end(e, &l);
}

vq_status emit_attention(vq_emit *e) {
  attention a;
  if (!describe(e->kernel, &a)) VQ_BUG("attention does not take this kernel");
  a.lanes = vq_f32_lanes(e->target);
  set_scratch(e, &a);
  vq_loop l;
  vq_loop_begin(e, &l, e->begin, e->end, 1, 0, NULL);
  LLVMValueRef head = vq_divk(e, l.i, a.n_task);
  LLVMValueRef lo = vq_mulk(e, vq_modk(e, l.i, a.n_task), TASK_BLOCKS);
  a.b = vq_divk(e, head, a.heads), a.h = vq_modk(e, head, a.heads);
  vq_if pack;
  LLVMValueRef fresh = LLVMBuildOr(
      e->b, LLVMBuildICmp(e->b, LLVMIntEQ, l.i, e->begin, ""),
      LLVMBuildICmp(e->b, LLVMIntEQ, lo, vq_k64(e, 0), ""), "");
  vq_if_begin(e, &pack, fresh);
  pack_k(e, &a);
  pack_v(e, &a);
  vq_if_end(e, &pack);
  vq_loop block;
  LLVMValueRef hi = vq_min64(e, vq_addk(e, lo, TASK_BLOCKS), vq_k64(e, a.n_block));
  vq_loop_begin(e, &block, lo, hi, 1, 0, NULL);
  LLVMValueRef rows = vq_part_rows(e, &a.score, block.i, &a.row0);
  vq_each_block(e, &a.score, rows, emit_block, &a);
  vq_loop_end(e, &block);
  vq_loop_end(e, &l);
  return VQ_OK;
}
