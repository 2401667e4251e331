// One step of a tile of codes: an element of k for one row.
//
// With VNNI the four codes of an element are one instruction for each vector of sums, of
// 16 or of 8. Elsewhere products go through pmaddwd, whose sums of two products of i16
// are exact; pmaddubsw, twice as wide, saturates. Where many rows share them, codes
// become i16 before (widen.h) and an element is two of them. Else they are widened here,
// even and odd ones apart.
//
// Codes of B within -8..7 do not saturate pmaddubsw: a sum of two products lies within
// 2 * 255 * 8 = 4080, and i16 holds eight of these.
#include "loop.h"
#include "tile.h"
#include "widen.h"

typedef LLVMValueRef val;

val vq_tile_add_pairs(const vq_emit *e, val sum, val a, val b) {
  static const char *const name[] = {"llvm.x86.sse2.pmadd.wd", "llvm.x86.avx2.pmadd.wd",
                                     "llvm.x86.avx512.pmaddw.d.512"};
  unsigned lanes = vq_lanes_of(LLVMTypeOf(sum));
  LLVMTypeRef pairs = LLVMVectorType(LLVMInt16TypeInContext(e->lc), 2 * lanes);
  val arg[] = {LLVMBuildBitCast(e->b, a, pairs, ""), LLVMBuildBitCast(e->b, b, pairs, "")};
  return LLVMBuildAdd(e->b, sum, vq_intrinsic(e, name[lanes / 8], NULL, 0, arg, 2), "");
}

static val add_vnni(const vq_emit *e, val sum, val a, val b) {
  const char *name = vq_lanes_of(LLVMTypeOf(sum)) == 8 ? "llvm.x86.avx512.vpdpbusd.256"
                                                       : "llvm.x86.avx512.vpdpbusd.512";
  val arg[] = {sum, a, b};
  return vq_intrinsic(e, name, NULL, 0, arg, 3);
}

// The halves of b are the same for every row; LLVM computes them once.
void vq_tile_add_codes(const vq_emit *e, vq_tile_kind kind, val a, val const *b,
                       unsigned vecs, val *sum) {
  if (e->target->vnni || kind == VQ_TILE_I16) {
    for (unsigned j = 0; j < vecs; j++)
      sum[j] = (kind == VQ_TILE_I16 ? vq_tile_add_pairs : add_vnni)(e, sum[j], a, b[j]);
    return;
  }
  vq_halves x = vq_halves_u8(e, a);
  for (unsigned j = 0; j < vecs; j++) {
    vq_halves w = vq_halves_i8(e, b[j]);
    sum[j] = vq_tile_add_pairs(e, sum[j], x.even, w.even);
    sum[j] = vq_tile_add_pairs(e, sum[j], x.odd, w.odd);
  }
}

val vq_tile_add_small(const vq_emit *e, val a, val b, val words) {
  LLVMTypeRef bytes = LLVMVectorType(e->i8, 2 * vq_lanes_of(LLVMTypeOf(words)));
  val arg[] = {LLVMBuildBitCast(e->b, a, bytes, ""), LLVMBuildBitCast(e->b, b, bytes, "")};
  val y = vq_intrinsic(e, "llvm.x86.avx2.pmadd.ub.sw", NULL, 0, arg, 2);
  return LLVMBuildAdd(e->b, words, y, "");
}

val vq_tile_fold_small(const vq_emit *e, val words, val sum) {
  return vq_tile_add_pairs(e, sum, words, vq_ki_like(LLVMTypeOf(words), 1));
}
