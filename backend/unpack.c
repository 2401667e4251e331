// See unpack.h.
//
// A byte holds the code of an element in its low half and that of the next element
// in its high half, so 64 bytes, masked, are the 16 columns of one element, and
// shifted by four bits those of the next. Both get their sign by (c ^ 8) - 8.
#include "unpack.h"

#include "loop.h"
#include "tile.h"

#define ELEMENT (4 * VQ_PANEL)  // bytes of one element of a panel

typedef LLVMValueRef val;

// An odd number of elements leaves half of the last bytes unused, which are written
// behind the panel; the next panel comes later.
int64_t vq_unpack_bytes(int64_t panels, int64_t k) {
  return panels * k * ELEMENT + ELEMENT;
}

static val with_sign(const vq_emit *e, val code) {
  val eight = vq_ki_like(LLVMTypeOf(code), 8);
  return LLVMBuildSub(e->b, LLVMBuildXor(e->b, code, eight, ""), eight, "");
}

// Of `n` bytes at `from`; the second element lies ELEMENT bytes behind the first.
static void unpack_vector(const vq_emit *e, val from, val to, unsigned n) {
  LLVMTypeRef bytes = LLVMVectorType(e->i8, n);
  LLVMTypeRef words = LLVMVectorType(LLVMInt16TypeInContext(e->lc), n / 2);
  val x = vq_load(e, bytes, from, 1), low = vq_ki_like(bytes, 15);
  val up = LLVMBuildLShr(e->b, LLVMBuildBitCast(e->b, x, words, ""),
                         vq_ki_like(words, 4), "");
  up = LLVMBuildBitCast(e->b, up, bytes, "");
  vq_store(e, with_sign(e, LLVMBuildAnd(e->b, x, low, "")), to, 1);
  vq_store(e, with_sign(e, LLVMBuildAnd(e->b, up, low, "")),
           vq_atk(e, e->i8, to, ELEMENT), 1);
}

void vq_unpack(const vq_emit *e, val from, val to, unsigned panels, int64_t stride,
               int64_t k) {
  int64_t pairs = (k + 1) / 2;
  unsigned n = e->target->vector_bits / 8;
  vq_loop p, i;
  vq_loop_begin(e, &p, vq_k64(e, 0), vq_k64(e, panels), 1, 0, NULL);
  vq_loop_begin(e, &i, vq_k64(e, 0), vq_k64(e, pairs), 1, 0, NULL);
  val x = vq_add(e, vq_mulk(e, p.i, (stride + 1) / 2), i.i);
  val y = vq_add(e, vq_mulk(e, p.i, k), vq_mulk(e, i.i, 2));
  x = vq_at(e, e->i8, from, vq_mulk(e, x, ELEMENT));
  y = vq_at(e, e->i8, to, vq_mulk(e, y, ELEMENT));
  for (unsigned at = 0; at < ELEMENT; at += n)
    unpack_vector(e, vq_atk(e, e->i8, x, at), vq_atk(e, e->i8, y, at), n);
  vq_loop_end(e, &i);
  vq_loop_end(e, &p);
}
