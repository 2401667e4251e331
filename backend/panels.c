// Products of floats within a kernel. See panels.h.
#include "panels.h"

#include "loop.h"

void vq_panels_clear(const vq_emit *e, LLVMValueRef zeros) {
  unsigned lanes = vq_f32_lanes(e->target);
  vq_loop l;
  vq_loop_range(e, &l, VQ_TILE_COLS, lanes);
  vq_store(e, LLVMConstNull(vq_vec_type(e->f32, lanes)), vq_at(e, e->f32, zeros, l.i), 4);
  vq_loop_end(e, &l);
}

// Rows of a tile in scratch, `width` apart, to c from `row`.
static void copy_tile(const vq_emit *e, const vq_panels *m, LLVMValueRef row,
                      LLVMValueRef rows, unsigned width) {
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), rows, 1, 0, NULL);
  LLVMValueRef from = vq_at(e, e->f32, m->tile, vq_mulk(e, l.i, width));
  LLVMValueRef at = vq_add(e, vq_mulk(e, vq_add(e, row, l.i), m->ldc), m->col);
  vq_copy_run(e, e->f32, vq_at(e, e->f32, m->c, at), from, m->cols,
              vq_f32_lanes(e->target));
  vq_loop_end(e, &l);
}

// Tiles fetch one part of the memory after the other; rows share in them evenly.
static void choose_fetch(const vq_emit *e, const vq_panels *m, LLVMValueRef row,
                         vq_tile *tile) {
  if (!m->fetch || !vq_tile_fetches(e->target, m->p)) return;
  vq_tile_shape shape = vq_tile_choose(e->target, m->p);
  int64_t bytes = m->k / VQ_TILE_STEPS * VQ_CACHE_LINE;
  LLVMValueRef nth = vq_divk(e, m->col, shape.vecs * shape.lanes);
  nth = vq_add(e, vq_mul(e, nth, m->rows), row);
  tile->fetch = vq_at(e, e->i8, m->fetch, vq_mulk(e, nth, bytes / shape.rows));
  tile->stride = vq_k64(e, VQ_CACHE_LINE);
}

static void block(const vq_emit *e, void *user, LLVMValueRef row, LLVMValueRef rows) {
  const vq_panels *m = user;
  unsigned width = vq_tile_width(e->target, m->p, m->cols);
  bool direct = !m->exact || m->cols == width;
  LLVMValueRef a = vq_mulk(e, row, m->p->across ? 1 : m->lda);
  LLVMValueRef c = vq_add(e, vq_mulk(e, row, m->ldc), m->col);
  vq_tile tile = {.a = vq_at(e, e->f32, m->a, a), .lda = m->lda, .b = m->b, .k = m->k,
                  .init = m->zeros, .c = direct ? vq_at(e, e->f32, m->c, c) : m->tile,
                  .ldc = direct ? m->ldc : width, .col = m->col,
                  .vecs = width / vq_f32_lanes(e->target)};
  choose_fetch(e, m, row, &tile);
  vq_tile_call(e, m->p, &tile, rows);
  if (!direct) copy_tile(e, m, row, rows, width);
}

static void group(const vq_emit *e, void *user, LLVMValueRef col, unsigned cols) {
  vq_panels *m = user;
  m->col = col, m->cols = cols;
  vq_each_block(e, m->p, m->rows, block, m);
}

void vq_panels_multiply(const vq_emit *e, vq_panels *m) {
  vq_tile_shape s = vq_tile_choose(e->target, m->p);
  vq_each_group(e, vq_k64(e, 0), vq_k64(e, m->p->n), m->p->n, s.vecs * s.lanes, group, m);
}
