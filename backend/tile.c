// The register tile of all float matrix products: rows x vectors of sums.
//
// One step of the sum loads `vecs` vectors of B, broadcasts one element of
// each row of A and issues rows * vecs multiply-adds. With 14 x 2 on AVX-512
// that is 16 loads for 28 of them, 30 of 32 registers and no dependence closer
// than 28 instructions. When there are few rows the tile grows in width, so
// that enough independent sums hide the latency.
#include "tile.h"

#include "loop.h"

vq_tile_shape vq_tile_choose(const vq_target *t, int64_t m, int64_t n) {
  unsigned max_acc = t->n_vector_reg == 32 ? 28 : 12;
  vq_tile_shape s = {.lanes = vq_f32_lanes(t), .vecs = 2};
  unsigned rows = m < max_acc / 2 ? (unsigned)m : max_acc / 2;
  while (s.vecs * 2 * rows <= max_acc && s.vecs * 2 * s.lanes <= 128 &&
         s.vecs * s.lanes < n)
    s.vecs *= 2;
  s.rows = max_acc / s.vecs;
  return s;
}

// Address of the panel row 0 of column `col` + c in the tile's B.
static LLVMValueRef panel_at(const vq_emit *e, const vq_tile *t,
                             LLVMValueRef col) {
  LLVMValueRef panel = vq_divk(e, col, VQ_PANEL);
  LLVMValueRef p = vq_at(e, e->f32, t->b, vq_mulk(e, panel, t->k * VQ_PANEL));
  if (t->vecs * t->lanes >= VQ_PANEL) return p;
  return vq_at(e, e->f32, p, vq_modk(e, col, VQ_PANEL));
}

void vq_tile_sum(const vq_emit *e, const vq_tile *t, LLVMValueRef col,
                 LLVMValueRef *acc) {
  unsigned n = t->rows * t->vecs;
  LLVMTypeRef type = vq_vec_type(e->f32, t->lanes);
  LLVMValueRef b0 = panel_at(e, t, col), b[VQ_MAX_CARRY];
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), vq_k64(e, t->k), 1, n, acc);
  LLVMValueRef bi = vq_at(e, e->f32, b0, vq_mulk(e, l.i, VQ_PANEL));
  LLVMValueRef ai = vq_at(e, e->f32, t->a, l.i);
  for (unsigned j = 0; j < t->vecs; j++) {
    unsigned c = j * t->lanes;
    int64_t at = c / VQ_PANEL * t->k * VQ_PANEL + c % VQ_PANEL;
    b[j] = vq_load(e, type, vq_atk(e, e->f32, bi, at), 4);
  }
  for (unsigned r = 0; r < t->rows; r++) {
    LLVMValueRef a =
        vq_load(e, e->f32, vq_atk(e, e->f32, ai, r * t->lda), 4);
    a = vq_splat(e, a, t->lanes);
    for (unsigned j = 0; j < t->vecs; j++) {
      LLVMValueRef *sum = &l.v[r * t->vecs + j];
      *sum = vq_fma(e, a, b[j], *sum);
    }
  }
  vq_loop_end(e, &l);
  for (unsigned i = 0; i < n; i++) acc[i] = l.v[i];
}

void vq_with_part(const vq_emit *e, int64_t total, int64_t n_part,
                  LLVMValueRef part, vq_part_fn body, void *user) {
  int64_t size = total / n_part, larger = total % n_part;
  LLVMValueRef extra = vq_min64(e, part, vq_k64(e, larger));
  LLVMValueRef first = vq_add(e, vq_mulk(e, part, size), extra);
  if (larger == 0) {
    body(e, user, vq_mulk(e, part, size), size);
    return;
  }
  vq_if f;
  vq_if_begin(e, &f,
              LLVMBuildICmp(e->b, LLVMIntSLT, part, vq_k64(e, larger), ""));
  body(e, user, first, size + 1);
  vq_if_else(e, &f);
  body(e, user, first, size);
  vq_if_end(e, &f);
}

// `count` blocks of `rows` rows from row `first`.
static void blocks(const vq_emit *e, int64_t first, int64_t count,
                   unsigned rows, vq_block_fn body, void *user) {
  if (count == 0) return;
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, first), vq_k64(e, first + count * rows), rows,
                0, NULL);
  body(e, user, l.i, rows);
  vq_loop_end(e, &l);
}

void vq_each_block(const vq_emit *e, int64_t rows, unsigned max,
                   vq_block_fn body, void *user) {
  int64_t n = (rows + max - 1) / max, size = rows / n, larger = rows % n;
  blocks(e, 0, larger, (unsigned)size + 1, body, user);
  blocks(e, larger * (size + 1), n - larger, (unsigned)size, body, user);
}

void vq_each_group(const vq_emit *e, LLVMValueRef lo, LLVMValueRef hi,
                   int64_t n, unsigned width, vq_group_fn body, void *user) {
  int64_t whole = n - n % width;
  if (whole) {
    vq_loop l;
    vq_loop_begin(e, &l, lo, vq_min64(e, hi, vq_k64(e, whole)), width, 0, NULL);
    body(e, user, l.i, width);
    vq_loop_end(e, &l);
  }
  if (whole == n) return;
  vq_if last;
  vq_if_begin(e, &last, LLVMBuildICmp(e->b, LLVMIntSGE, hi, vq_k64(e, n), ""));
  body(e, user, vq_k64(e, whole), (unsigned)(n - whole));
  vq_if_end(e, &last);
}
