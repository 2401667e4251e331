// Words on vectors. See words.h.
#include "words.h"

#include "loop.h"

typedef LLVMValueRef val;

static LLVMTypeRef word(const vq_emit *e) { return LLVMInt16TypeInContext(e->lc); }

val vq_word_mulhrs(const vq_emit *e, val a, val b) {
  unsigned lanes = vq_lanes_of(LLVMTypeOf(a));
  const val arg[] = {a, b};
  if (e->target->vector_bits >= 256 && lanes * 16 <= e->target->vector_bits) {
    if (lanes == 8) return vq_intrinsic(e, "llvm.x86.ssse3.pmul.hr.sw.128", NULL, 0, arg, 2);
    if (lanes == 16) return vq_intrinsic(e, "llvm.x86.avx2.pmul.hr.sw", NULL, 0, arg, 2);
    if (lanes == 32) return vq_intrinsic(e, "llvm.x86.avx512.pmul.hr.sw.512", NULL, 0, arg, 2);
  }
  LLVMTypeRef wide = vq_vec_type(e->i32, lanes);
  val x = LLVMBuildSExt(e->b, a, wide, ""), y = LLVMBuildSExt(e->b, b, wide, "");
  x = LLVMBuildAdd(e->b, LLVMBuildMul(e->b, x, y, ""), vq_ki_like(wide, 1 << 14), "");
  x = LLVMBuildAShr(e->b, x, vq_ki_like(wide, 15), "");
  return LLVMBuildTrunc(e->b, x, vq_vec_type(word(e), lanes), "");
}

// ---- packing -------------------------------------------------------------------

static val clamp(const vq_emit *e, val x, int64_t lo, int64_t hi) {
  LLVMTypeRef type = LLVMTypeOf(x);
  val least[] = {x, vq_ki_like(type, lo)};
  val most[] = {vq_intrinsic(e, "llvm.smax", &type, 1, least, 2), vq_ki_like(type, hi)};
  return vq_intrinsic(e, "llvm.smin", &type, 1, most, 2);
}

// Lanes [from, from + n) of x.
static val part(const vq_emit *e, val x, unsigned from, unsigned n) {
  val map[32];
  for (unsigned i = 0; i < n; i++) map[i] = LLVMConstInt(e->i32, from + i, false);
  return LLVMBuildShuffleVector(e->b, x, LLVMGetPoison(LLVMTypeOf(x)),
                                LLVMConstVector(map, n), "");
}

// x, elements of twice the result's width, by the instruction for results of 128, 256 or
// 512 bits. It packs groups of 128 bits of the two halves in turn, so their order is mended.
static val pack(const vq_emit *e, val x, unsigned elem, const char *const *name) {
  unsigned lanes = vq_lanes_of(LLVMTypeOf(x)), bits = lanes * elem;
  unsigned half = lanes / 2, group = 64 / elem;
  val arg[] = {part(e, x, 0, half), part(e, x, half, half)}, map[64];
  val y = vq_intrinsic(e, name[bits / 256], NULL, 0, arg, 2);
  for (unsigned i = 0; i < lanes; i++) {
    unsigned from = i % half / group * 2 + (i >= half);
    map[i] = LLVMConstInt(e->i32, from * group + i % group, false);
  }
  return LLVMBuildShuffleVector(e->b, y, LLVMGetPoison(LLVMTypeOf(y)),
                                LLVMConstVector(map, lanes), "");
}

// Whether that instruction is there. AVX-512 narrows a whole register by others.
static bool packs(const vq_emit *e, unsigned lanes, unsigned elem) {
  unsigned most = e->target->vector_bits, bits = lanes * elem;
  return bits == most || (bits == 128 && most <= 256);
}

val vq_word_pack_i32(const vq_emit *e, val x) {
  static const char *const name[] = {"llvm.x86.sse2.packssdw.128", "llvm.x86.avx2.packssdw",
                                     "llvm.x86.avx512.packssdw.512"};
  unsigned lanes = vq_lanes_of(LLVMTypeOf(x));
  if (packs(e, lanes, 16)) return pack(e, x, 16, name);
  return LLVMBuildTrunc(e->b, clamp(e, x, INT16_MIN, INT16_MAX),
                        vq_vec_type(word(e), lanes), "");
}

val vq_word_pack_u8(const vq_emit *e, val x) {
  static const char *const name[] = {"llvm.x86.sse2.packuswb.128", "llvm.x86.avx2.packuswb",
                                     "llvm.x86.avx512.packuswb.512"};
  unsigned lanes = vq_lanes_of(LLVMTypeOf(x));
  if (packs(e, lanes, 8)) return pack(e, x, 8, name);
  return LLVMBuildTrunc(e->b, clamp(e, x, 0, 255), vq_vec_type(e->i8, lanes), "");
}
