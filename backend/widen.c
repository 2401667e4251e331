// Codes of 8 bits as i16. See widen.h.
#include "widen.h"

#include "chain.h"
#include "loop.h"
#include "tile.h"

typedef LLVMValueRef val;

vq_halves vq_halves_u8(const vq_emit *e, val x) {
  LLVMTypeRef type = LLVMTypeOf(x), word = LLVMInt16TypeInContext(e->lc);
  val v = LLVMBuildBitCast(e->b, x, LLVMVectorType(word, 2 * vq_lanes_of(type)), "");
  v = LLVMBuildLShr(e->b, v, vq_ki_like(LLVMTypeOf(v), 8), "");
  return (vq_halves){LLVMBuildAnd(e->b, x, vq_ki_like(type, 0x00ff00ff), ""),
                     LLVMBuildBitCast(e->b, v, type, "")};
}

vq_halves vq_halves_i8(const vq_emit *e, val x) {
  LLVMTypeRef type = LLVMTypeOf(x), word = LLVMInt16TypeInContext(e->lc);
  val v = LLVMBuildBitCast(e->b, x, LLVMVectorType(word, 2 * vq_lanes_of(type)), "");
  val eight = vq_ki_like(LLVMTypeOf(v), 8);
  val even = LLVMBuildAShr(e->b, LLVMBuildShl(e->b, v, eight, ""), eight, "");
  val odd = LLVMBuildAShr(e->b, v, eight, "");
  return (vq_halves){LLVMBuildBitCast(e->b, even, type, ""),
                     LLVMBuildBitCast(e->b, odd, type, "")};
}

typedef struct row {
  val from, to;
  int64_t k;
} row;

static void widen_step(const vq_emit *e, void *user, val col, unsigned lanes, unsigned n,
                       val *v) {
  const row *r = user;
  (void)v;
  val x = vq_load_n(e, vq_vec_type(e->i32, lanes), vq_at(e, e->i32, r->from, col), 1, n);
  vq_halves h = vq_halves_u8(e, x);
  val to = vq_at(e, e->i32, r->to, col);
  vq_store_n(e, h.even, to, 4, n);
  vq_store_n(e, h.odd, vq_atk(e, e->i32, to, r->k), 4, n);
}

void vq_widen_row(const vq_emit *e, val from, val to, int64_t k) {
  row r = {from, to, k};
  vq_row_each(e, k, vq_f32_lanes(e->target), widen_step, &r, 0, NULL);
}

void vq_widen_panels(const vq_emit *e, val from, val to, unsigned panels,
                     int64_t stride, int64_t k) {
  unsigned lanes = vq_f32_lanes(e->target);
  LLVMTypeRef type = vq_vec_type(e->i32, lanes);
  vq_loop p, i;
  vq_loop_begin(e, &p, vq_k64(e, 0), vq_k64(e, panels), 1, 0, NULL);
  val x = vq_at(e, e->i32, from, vq_mulk(e, p.i, stride * VQ_PANEL));
  val y = vq_at(e, e->i32, to, vq_mulk(e, p.i, 2 * k * VQ_PANEL));
  vq_loop_begin(e, &i, vq_k64(e, 0), vq_k64(e, k * VQ_PANEL), VQ_PANEL, 0, NULL);
  for (unsigned c = 0; c < VQ_PANEL; c += lanes) {
    val at = vq_addk(e, i.i, c);
    vq_halves h = vq_halves_i8(e, vq_load(e, type, vq_at(e, e->i32, x, at), 4));
    val even = vq_at(e, e->i32, y, at);
    vq_store(e, h.even, even, 4);
    vq_store(e, h.odd, vq_atk(e, e->i32, even, k * VQ_PANEL), 4);
  }
  vq_loop_end(e, &i);
  vq_loop_end(e, &p);
}
