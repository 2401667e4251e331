// linear and patch_embed with packed weights, and their elementwise epilogue.
//
// A task is a block of at most 14 rows, all columns; with few rows it is a
// chunk of 128 columns as well. A range of tasks is walked column group by
// column group, so that one group of B (32 columns) stays in the nearest cache
// while the rows of A pass by; rows are taken a few tasks at a time when A is
// too large for the second-level cache. patch_embed, and a linear whose rows
// come through a table (rows.h), first gather the rows of these tasks into
// scratch, after which it is the same product.
//
// Without epilogue sums are stored from registers. Otherwise they pass through
// a small tile in scratch, so that the code of, say, GELU exists once per tile
// shape and not once per accumulator.
#include "chain.h"
#include "elt.h"
#include "loop.h"
#include "rows.h"
#include "tile.h"

#define TASK_ROWS 14
#define TASK_COLS 128
#define TILE_BYTES 2048         // at least the largest tile of any target
#define CACHE_BYTES (256 << 10)  // of A, in one sweep over the columns

bool match_gemm(const vq_func *kernel, vq_kernel_plan *plan);
vq_status emit_gemm(vq_emit *e);

typedef struct gemm {
  vq_chain chain;
  vq_rows rows;  // of A; patch_embed: rows.x is the picture
  const vq_value *w, *bias;
  int64_t m, n, k;
  int64_t patch[2];  // 0: linear
  bool gather;       // rows of A are copied to scratch first
  int64_t step;      // tasks for which that is done at a time
  int64_t row_blocks, col_chunks;
  // while emitting
  vq_tile_shape shape;
  LLVMValueRef first, last;  // tasks
  LLVMValueRef col;
  unsigned cols;
  LLVMValueRef task, row0;  // the task at hand, its first row
} gemm;

static bool describe(const vq_func *kernel, gemm *g) {
  const vq_op *op = vq_rows_anchor(kernel);
  memset(g, 0, sizeof *g);
  vq_str layout;
  if (op->code == VQ_OP_linear) {
    layout = VQ_ATTRS(op, linear)->layout;
  } else if (op->code == VQ_OP_patch_embed && op == kernel->first) {
    layout = VQ_ATTRS(op, patch_embed)->layout;
    memcpy(g->patch, VQ_ATTRS(op, patch_embed)->patch.p, sizeof g->patch);
  } else {
    return false;
  }
  g->w = vq_in(op, 1), g->bias = vq_in_opt(op, 2);
  if (!vq_str_is(layout, "panel16") || !vq_chain_match(kernel, op, &g->chain) ||
      !vq_rows_match(kernel, vq_in(op, 0), &g->rows))
    return false;
  for (unsigned i = 1; i < op->n_in; i++)
    if (vq_in(op, i)->kind != VQ_VALUE_ARG) return false;
  g->m = g->chain.rows, g->n = g->chain.cols, g->k = g->w->type->dim[1];
  g->row_blocks = (g->m + TASK_ROWS - 1) / TASK_ROWS;
  g->col_chunks = g->row_blocks >= 8 ? 1 : (g->n + TASK_COLS - 1) / TASK_COLS;
  if (g->k <= 0 || g->k > (4 << 20) / 4 / (TASK_ROWS + 1)) return false;
  g->gather = g->patch[0] || g->rows.table;
  g->step = CACHE_BYTES / (TASK_ROWS * g->k * 4);
  if (g->col_chunks > 1 || g->step < 1) g->step = 1;
  return true;
}

bool match_gemm(const vq_func *kernel, vq_kernel_plan *plan) {
  gemm g;
  if (!describe(kernel, &g)) return false;
  plan->n_task = g.row_blocks * g.col_chunks;
  plan->scratch_bytes =
      TILE_BYTES + (g.gather ? (uint32_t)(g.step * TASK_ROWS * g.k * 4) : 0);
  return true;
}

// ---- rows of A ---------------------------------------------------------------

// Where the rows of the task at hand, g->task, lie in scratch.
static LLVMValueRef gathered(const vq_emit *e, const gemm *g) {
  LLVMValueRef at = vq_atk(e, e->i8, e->scratch, TILE_BYTES);
  LLVMValueRef nth = LLVMBuildNSWSub(e->b, g->task, g->first, "");
  return vq_at(e, e->f32, at, vq_mulk(e, nth, TASK_ROWS * g->k));
}

// Row `row` of the product, k values in (c, u, v) order, to `to`.
static void gather_patch(const vq_emit *e, const gemm *g, LLVMValueRef row,
                       LLVMValueRef to) {
  const int64_t *d = g->rows.x->type->dim;  // n, c, h, w
  int64_t ph = g->patch[0], pw = g->patch[1];
  int64_t gh = d[2] / ph, gw = d[3] / pw;
  LLVMValueRef n = vq_divk(e, row, gh * gw), p = vq_modk(e, row, gh * gw);
  LLVMValueRef y = vq_mulk(e, vq_divk(e, p, gw), ph * d[3]);
  LLVMValueRef at = vq_add(e, y, vq_mulk(e, vq_modk(e, p, gw), pw));
  at = vq_add(e, at, vq_mulk(e, n, d[1] * d[2] * d[3]));
  LLVMValueRef from = vq_at(e, e->f32, vq_arg_ptr(e, g->rows.x), at);
  unsigned lanes = g->shape.lanes;
  vq_loop c, u;
  vq_loop_range(e, &c, d[1], 1);
  vq_loop_range(e, &u, ph, 1);
  LLVMValueRef line = vq_add(e, vq_mulk(e, c.i, ph), u.i);
  LLVMValueRef src = vq_at(e, e->f32, from,
                           vq_add(e, vq_mulk(e, c.i, d[2] * d[3]),
                                  vq_mulk(e, u.i, d[3])));
  LLVMValueRef dst = vq_at(e, e->f32, to, vq_mulk(e, line, pw));
  vq_copy_run(e, e->f32, dst, src, pw, lanes);
  vq_loop_end(e, &u);
  vq_loop_end(e, &c);
}

// ---- one tile ------------------------------------------------------------------

static unsigned valid(const gemm *g, unsigned j) {
  unsigned left = g->cols - j * g->shape.lanes;
  return left < g->shape.lanes ? left : g->shape.lanes;
}

static void start_sums(const vq_emit *e, const gemm *g, const vq_tile *t,
                       LLVMValueRef *acc) {
  for (unsigned j = 0; j < t->vecs; j++) {
    LLVMTypeRef type = vq_vec_type(e->f32, t->lanes);
    LLVMValueRef at = vq_addk(e, g->col, j * t->lanes);
    LLVMValueRef v = g->bias ? vq_elt_load(e, VQ_f32, vq_arg_ptr(e, g->bias),
                                           at, t->lanes, valid(g, j))
                             : LLVMConstNull(type);
    for (unsigned r = 0; r < t->rows; r++) acc[r * t->vecs + j] = v;
  }
}

// The tile to memory, rows from `row`, through the chain if there is one.
static void finish_sums(const vq_emit *e, const gemm *g, const vq_tile *t,
                        LLVMValueRef row, LLVMValueRef *acc) {
  LLVMTypeRef type = vq_vec_type(e->f32, t->lanes);
  if (vq_chain_empty(&g->chain)) {
    for (unsigned i = 0; i < t->rows * t->vecs; i++) {
      unsigned j = i % t->vecs;
      vq_chain_store(e, &g->chain, acc[i], vq_addk(e, row, i / t->vecs),
                     vq_addk(e, g->col, j * t->lanes), t->lanes, valid(g, j));
    }
    return;
  }
  for (unsigned i = 0; i < t->rows * t->vecs; i++)
    vq_store(e, acc[i], vq_atk(e, type, e->scratch, i), 4);
  vq_loop l;
  vq_loop_range(e, &l, t->rows, 1);
  for (unsigned j = 0; j < t->vecs; j++) {
    LLVMValueRef i = vq_addk(e, vq_mulk(e, l.i, t->vecs), j);
    LLVMValueRef v = vq_load(e, type, vq_at(e, type, e->scratch, i), 4);
    vq_chain_store(e, &g->chain, v, vq_add(e, row, l.i),
                   vq_addk(e, g->col, j * t->lanes), t->lanes, valid(g, j));
  }
  vq_loop_end(e, &l);
}

// Rows [row, row + rows) of the task, the columns of g->col.
static void emit_tile(const vq_emit *e, void *user, LLVMValueRef row,
                      unsigned rows) {
  gemm *g = user;
  LLVMValueRef acc[VQ_MAX_CARRY], at = vq_add(e, g->row0, row);
  LLVMValueRef a = g->gather ? gathered(e, g) : vq_arg_ptr(e, g->rows.x);
  LLVMValueRef a_row = g->gather ? row : at;
  vq_tile t = {.rows = rows, .lanes = g->shape.lanes, .k = g->k, .lda = g->k,
               .vecs = (g->cols + g->shape.lanes - 1) / g->shape.lanes,
               .a = vq_at(e, e->f32, a, vq_mulk(e, a_row, g->k)),
               .b = vq_arg_ptr(e, g->w)};
  start_sums(e, g, &t, acc);
  vq_tile_sum(e, &t, g->col, acc);
  finish_sums(e, g, &t, at, acc);
}

// ---- tasks -------------------------------------------------------------------

static void task_tiles(const vq_emit *e, void *user, LLVMValueRef first,
                       int64_t rows) {
  gemm *g = user;
  g->row0 = first;
  vq_each_block(e, rows, g->shape.rows, emit_tile, g);
}

static void task_gather(const vq_emit *e, void *user, LLVMValueRef first,
                        int64_t rows) {
  const gemm *g = user;
  LLVMValueRef to = gathered(e, g);
  vq_loop l;
  vq_loop_range(e, &l, rows, 1);
  LLVMValueRef row = vq_add(e, first, l.i);
  LLVMValueRef at = vq_at(e, e->f32, to, vq_mulk(e, l.i, g->k));
  if (g->patch[0])
    gather_patch(e, g, row, at);
  else
    vq_rows_copy(e, &g->rows, row, at, g->shape.lanes);
  vq_loop_end(e, &l);
}

// Calls `body` for the rows of each task of the current step.
static void each_task(const vq_emit *e, gemm *g, vq_part_fn body) {
  vq_loop l;
  vq_loop_begin(e, &l, g->first, g->last, 1, 0, NULL);
  g->task = l.i;
  vq_with_part(e, g->m, g->row_blocks, vq_modk(e, l.i, g->row_blocks), body, g);
  vq_loop_end(e, &l);
}

static void emit_group(const vq_emit *e, void *user, LLVMValueRef col,
                       unsigned cols) {
  gemm *g = user;
  g->col = col, g->cols = cols;
  each_task(e, g, task_tiles);
}

vq_status emit_gemm(vq_emit *e) {
  gemm g;
  if (!describe(e->kernel, &g)) VQ_BUG("gemm does not take this kernel");
  g.shape = vq_tile_choose(e->target, g.m, g.n);
  vq_loop l;
  vq_loop_begin(e, &l, e->begin, e->end, g.step, 0, NULL);
  g.first = l.i;
  g.last = vq_min64(e, e->end, vq_addk(e, l.i, g.step));
  if (g.gather) each_task(e, &g, task_gather);
  LLVMValueRef lo = vq_k64(e, 0), hi = vq_k64(e, g.n);
  if (g.col_chunks > 1) {
    lo = vq_mulk(e, vq_divk(e, l.i, g.row_blocks), TASK_COLS);
    hi = vq_min64(e, hi, vq_addk(e, lo, TASK_COLS));
  }
  vq_each_group(e, lo, hi, g.n, g.shape.vecs * g.shape.lanes, emit_group, &g);
  vq_loop_end(e, &l);
  return VQ_OK;
}
