// Describing a product. See gemm.h.
#include "gemm.h"

#include "loop.h"
#include "unpack.h"

#define SCRATCH_MAX (4 << 20)

static const char *layout_of(const vq_gemm *g) {
  if (g->x_type != VQ_u8) return g->product.bf16 ? "panel16x2" : "panel16";
  return g->nibbles ? "panel16x8" : "panel16x4";
}

// Length of the sums, in numbers or codes.
static int64_t depth(const vq_op *op) {
  const vq_type *x = vq_in(op, 0)->type;
  if (op->code == VQ_OP_linear) return x->dim[x->rank - 1];
  const int64_t *patch = VQ_ATTRS(op, patch_embed)->patch.p;
  return x->dim[1] * patch[0] * patch[1];
}

// Panels of the widest group on any target.
static int64_t max_panels(const vq_gemm *g) {
  int64_t cols = g->m < 8 ? VQ_TILE_COLS : VQ_AMX_COLS;
  return ((g->n < cols ? g->n : cols) + VQ_PANEL - 1) / VQ_PANEL;
}

static int64_t lines(int64_t bytes) {
  return (bytes + VQ_CACHE_LINE - 1) / VQ_CACHE_LINE * VQ_CACHE_LINE;
}

// Parts of scratch and their size: gathered rows, then weights and rows of a slab where
// some variants widen or unpack them, of widened ones a panel, or rows of bf16; sums between
// slabs.
static void plan_scratch(vq_gemm *g, bool widens) {
  int64_t sums = vq_blocking_bytes(&g->narrow, g->n);
  int64_t rows = g->gather ? g->narrow.step * VQ_TASK_ROWS : 0;
  g->w_at = lines((VQ_GEMM_ROWS + rows * g->row_k) * 4);
  g->part_at = g->w_at;
  if (g->nibbles) g->part_at += vq_unpack_bytes(max_panels(g), g->k);
  if (widens) {
    g->wide_at = g->w_at + VQ_PANEL * g->widened.slab * 8;
    g->part_at = g->wide_at + g->widened.step * VQ_TASK_ROWS * g->widened.slab * 8;
    int64_t wide = vq_blocking_bytes(&g->widened, g->n);
    if (wide > sums) sums = wide;
  }
  if (g->product.bf16) {
    g->wide_at = g->w_at;
    g->part_at = g->wide_at + g->narrow.step * VQ_TASK_ROWS * g->k * 4;
  }
  g->part_at = lines(g->part_at);
  g->scratch = g->part_at + sums;
}

// The depth is divided where fewer than `few` blocks fit in a sweep.
static void plan_blocks(vq_gemm *g, bool codes, int64_t few) {
  bool widens = codes && !g->nibbles && g->k <= VQ_WIDE_DEPTH;
  g->narrow = vq_blocking_of(g->row_blocks, g->n, g->k, 4, few);
  g->undivided = vq_blocking_of(g->row_blocks, g->n, g->k, 4, 0);
  if (widens) g->widened = vq_blocking_of(g->row_blocks, g->n, g->k, 8, few);
  if (g->gather && g->widened.step > g->narrow.step) g->widened.step = g->narrow.step;
  plan_scratch(g, widens);
}

bool vq_gemm_describe(const vq_func *kernel, vq_gemm *g) {
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
  g->x_type = vq_in(op, 0)->type->dtype, g->y_type = op->out->type->dtype;
  bool codes = g->x_type == VQ_u8, bf16 = g->w->type->dtype == VQ_bf16;
  g->nibbles = g->w->type->dtype == VQ_i4, g->product.bf16 = bf16;
  if (!vq_str_is(layout, layout_of(g)) || (!codes && g->x_type != VQ_f32) ||
      !vq_chain_match(kernel, op, &g->chain) || !vq_rows_match(kernel, vq_in(op, 0), &g->rows))
    return false;
  for (unsigned i = 1; i < op->n_in; i++)
    if (vq_in(op, i)->kind != VQ_VALUE_ARG) return false;
  g->m = g->chain.rows, g->n = g->chain.cols, g->row_k = depth(op);
  g->k = codes ? (g->row_k + 3) / 4 : bf16 ? (g->row_k + 1) / 2 : g->row_k;
  if (codes) g->row_k = g->k;
  g->row_blocks = (g->m + VQ_TASK_ROWS - 1) / VQ_TASK_ROWS;
  g->col_chunks = g->row_blocks >= 8 ? 1 : (g->n + VQ_TASK_COLS - 1) / VQ_TASK_COLS;
  if (g->k <= 0 || g->row_k > (4 << 20) / 4 / (VQ_TASK_ROWS + 1)) return false;
  g->gather = g->patch[0] || g->rows.table || (codes && g->rows.cols % 4);
  // Multiply-adds of floats wait for what the slab before left: it pays only where a sweep
  // would be one block. Rows of bf16, which were rounded, are as short again.
  bool divide = g->col_chunks == 1 && !g->gather && !bf16;
  plan_blocks(g, codes, !divide ? 0 : codes ? g->row_blocks : 2);
  if (g->scratch > SCRATCH_MAX) plan_blocks(g, codes, 0);
  bool in_place = codes && g->col_chunks == 1 && !vq_chain_empty(&g->chain) &&
                  g->k >= 2 * VQ_TASK_ROWS;
  g->product = (vq_product){.m = g->m, .parts = g->row_blocks, .n = g->n, .codes = codes,
                            .bf16 = bf16, .k = g->k, .in_place = in_place,
                            .small = g->nibbles, .slabs = g->narrow.n_slab > 1};
  return g->scratch <= SCRATCH_MAX;
}
