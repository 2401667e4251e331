// One step of a tile of codes: four codes of k for one row.
//
// With VNNI that is one instruction for each vector of sums, of 16 or of 8. Elsewhere codes are
// widened to i16, even and odd ones apart, and go through pmaddwd, whose sums of
// two products are exact; pmaddubsw would be shorter, but saturates.
#include "loop.h"
#include "tile.h"

typedef LLVMValueRef val;

// Codes 0 and 2, and 1 and 3, of every element, as pairs of i16.
typedef struct halves {
  val even, odd;
} halves;

static LLVMTypeRef pairs_of(const vq_emit *e, unsigned lanes) {
  return LLVMVectorType(LLVMInt16TypeInContext(e->lc), 2 * lanes);
}

static halves split_u8(const vq_emit *e, val x, unsigned lanes) {
  LLVMTypeRef type = LLVMTypeOf(x), pairs = pairs_of(e, lanes);
  val mask = vq_ki_like(type, 0x00ff00ff);
  val up = LLVMBuildLShr(e->b, x, vq_ki_like(type, 8), "");
  val even = LLVMBuildAnd(e->b, x, mask, ""), odd = LLVMBuildAnd(e->b, up, mask, "");
  return (halves){LLVMBuildBitCast(e->b, even, pairs, ""),
                  LLVMBuildBitCast(e->b, odd, pairs, "")};
}

static halves split_i8(const vq_emit *e, val x, unsigned lanes) {
  val v = LLVMBuildBitCast(e->b, x, pairs_of(e, lanes), "");
  val eight = vq_ki_like(LLVMTypeOf(v), 8);
  val up = LLVMBuildShl(e->b, v, eight, "");
  return (halves){LLVMBuildAShr(e->b, up, eight, ""), LLVMBuildAShr(e->b, v, eight, "")};
}

static val add_pairs(const vq_emit *e, val sum, val a, val b, unsigned lanes) {
  val arg[] = {a, b};
  const char *name = lanes == 8 ? "llvm.x86.avx2.pmadd.wd" : "llvm.x86.sse2.pmadd.wd";
  return LLVMBuildAdd(e->b, sum, vq_intrinsic(e, name, NULL, 0, arg, 2), "");
}

// The halves of b are the same for every row; LLVM computes them once.
void vq_tile_add_codes(const vq_emit *e, val a, val const *b, unsigned vecs,
                       val *sum) {
  unsigned lanes = vq_f32_lanes(e->target);
  if (e->target->vnni) {
    const char *name = lanes == 8 ? "llvm.x86.avx512.vpdpbusd.256"
                                  : "llvm.x86.avx512.vpdpbusd.512";
    for (unsigned j = 0; j < vecs; j++) {
      val arg[] = {sum[j], a, b[j]};
      sum[j] = vq_intrinsic(e, name, NULL, 0, arg, 3);
    }
    return;
  }
  halves x = split_u8(e, a, lanes);
  for (unsigned j = 0; j < vecs; j++) {
    halves w = split_i8(e, b[j], lanes);
    sum[j] = add_pairs(e, sum[j], x.even, w.even, lanes);
    sum[j] = add_pairs(e, sum[j], x.odd, w.odd, lanes);
  }
}
