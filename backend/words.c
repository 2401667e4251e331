// Words on vectors. See words.h.
#include "words.h"

#include "loop.h"
#include "vmath.h"

typedef LLVMValueRef val;

static LLVMTypeRef word(const vq_emit *e) { return LLVMInt16TypeInContext(e->lc); }

bool vq_word_has_mulhrs(const vq_emit *e, val a) {
  unsigned bits = vq_lanes_of(LLVMTypeOf(a)) * 16, most = e->target->vector_bits;
  return most >= 256 && bits <= most && (bits == 128 || bits == 256 || bits == 512);
}

// Twice the upper word of the product, and the two upper bits, rounded, of the lower one.
static val mulhrs_sse2(const vq_emit *e, val a, val b) {
  LLVMTypeRef type = LLVMTypeOf(a);
  const val arg[] = {a, b};
  val high = vq_intrinsic(e, "llvm.x86.sse2.pmulh.w", NULL, 0, arg, 2);
  val low = LLVMBuildLShr(e->b, LLVMBuildMul(e->b, a, b, ""), vq_ki_like(type, 13), "");
  low = LLVMBuildAdd(e->b, low, vq_ki_like(type, 2), "");
  low = LLVMBuildLShr(e->b, low, vq_ki_like(type, 2), "");
  return LLVMBuildAdd(e->b, LLVMBuildAdd(e->b, high, high, ""), low, "");
}

static val mulhrs_plain(const vq_emit *e, val a, val b) {
  LLVMTypeRef type = LLVMTypeOf(a), wide = vq_vec_type(e->i32, vq_lanes_of(type));
  val x = LLVMBuildSExt(e->b, a, wide, ""), y = LLVMBuildSExt(e->b, b, wide, "");
  x = LLVMBuildAdd(e->b, LLVMBuildMul(e->b, x, y, ""), vq_ki_like(wide, 1 << 14), "");
  return LLVMBuildTrunc(e->b, LLVMBuildAShr(e->b, x, vq_ki_like(wide, 15), ""), type, "");
}

val vq_word_mulhrs(const vq_emit *e, val a, val b) {
  static const char *const name[] = {"llvm.x86.ssse3.pmul.hr.sw.128",
                                     "llvm.x86.avx2.pmul.hr.sw",
                                     "llvm.x86.avx512.pmul.hr.sw.512"};
  const val arg[] = {a, b};
  unsigned lanes = vq_lanes_of(LLVMTypeOf(a));
  if (vq_word_has_mulhrs(e, a)) return vq_intrinsic(e, name[lanes / 16], NULL, 0, arg, 2);
  return (lanes == 8 ? mulhrs_sse2 : mulhrs_plain)(e, a, b);
}

val vq_word_mulhu(const vq_emit *e, val a, val b) {
  static const char *const name[] = {"llvm.x86.sse2.pmulhu.w", "llvm.x86.avx2.pmulhu.w",
                                     "llvm.x86.avx512.pmulhu.w.512"};
  LLVMTypeRef type = LLVMTypeOf(a), wide = vq_vec_type(e->i32, vq_lanes_of(type));
  const val arg[] = {a, b};
  unsigned lanes = vq_lanes_of(type);
  if (lanes == 8 || vq_word_has_mulhrs(e, a))
    return vq_intrinsic(e, name[lanes / 16], NULL, 0, arg, 2);
  val x = LLVMBuildZExt(e->b, a, wide, ""), y = LLVMBuildZExt(e->b, b, wide, "");
  x = LLVMBuildLShr(e->b, LLVMBuildMul(e->b, x, y, ""), vq_ki_like(wide, 16), "");
  return LLVMBuildTrunc(e->b, x, type, "");
}

// ---- packing -------------------------------------------------------------------

static val clamp(const vq_emit *e, val x, int64_t lo, int64_t hi) {
  LLVMTypeRef type = LLVMTypeOf(x);
  val least[] = {x, vq_ki_like(type, lo)};
  val most[] = {vq_intrinsic(e, "llvm.smax", &type, 1, least, 2), vq_ki_like(type, hi)};
  return vq_intrinsic(e, "llvm.smin", &type, 1, most, 2);
}

// x, elements of twice the result's width, by the instruction for results of 128, 256 or
// 512 bits. It packs groups of 128 bits of the two halves in turn, so their order is mended.
static val pack(const vq_emit *e, val x, unsigned elem, const char *const *name) {
  unsigned lanes = vq_lanes_of(LLVMTypeOf(x)), bits = lanes * elem;
  unsigned half = lanes / 2, group = 64 / elem;
  val arg[] = {vq_lanes_part(e, x, 0, half), vq_lanes_part(e, x, half, half)}, map[64];
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

// A vector of the target's width, rounded; what is beyond i32, or a NaN, gives -2^31.
static val to_i32(const vq_emit *e, val x) {
  const val all = LLVMConstAllOnes(LLVMInt16TypeInContext(e->lc));
  val arg[] = {x, LLVMConstNull(LLVMVectorType(e->i32, vq_lanes_of(LLVMTypeOf(x)))), all,
               LLVMConstInt(e->i32, 4, false)};
  switch (e->target->vector_bits) {
    case 512: return vq_intrinsic(e, "llvm.x86.avx512.mask.cvtps2dq.512", NULL, 0, arg, 4);
    case 256: return vq_intrinsic(e, "llvm.x86.avx.cvt.ps2dq.256", NULL, 0, arg, 1);
    default: return vq_intrinsic(e, "llvm.x86.sse2.cvtps2dq", NULL, 0, arg, 1);
  }
}

// Of one lane, and of no whole vectors.
static val round_plain(const vq_emit *e, val x) {
  LLVMTypeRef type = LLVMTypeOf(x);
  LLVMTypeRef ints = vq_vec_type(e->i32, vq_lanes_of(type));
  val least = vq_kf_like(type, INT16_MIN), most = vq_kf_like(type, INT16_MAX);
  val more = LLVMBuildFCmp(e->b, LLVMRealOGT, x, least, "");
  x = LLVMBuildSelect(e->b, more, x, least, "");
  val less = LLVMBuildFCmp(e->b, LLVMRealOLT, x, most, "");
  x = LLVMBuildSelect(e->b, less, x, most, "");
  return LLVMBuildFPToSI(e->b, vq_vround(e, x), ints, "");
}

val vq_word_round(const vq_emit *e, val x) {
  unsigned lanes = vq_lanes_of(LLVMTypeOf(x)), piece = vq_f32_lanes(e->target);
  if (lanes == 2 * piece)
    x = vq_lanes_join(e, to_i32(e, vq_lanes_part(e, x, 0, piece)),
                      to_i32(e, vq_lanes_part(e, x, piece, piece)));
  else
    x = lanes == piece ? to_i32(e, x) : round_plain(e, x);
  return vq_word_pack_i32(e, x);
}

val vq_word_pack_u8(const vq_emit *e, val x) {
  static const char *const name[] = {"llvm.x86.sse2.packuswb.128", "llvm.x86.avx2.packuswb",
                                     "llvm.x86.avx512.packuswb.512"};
  unsigned lanes = vq_lanes_of(LLVMTypeOf(x));
  if (packs(e, lanes, 8)) return pack(e, x, 8, name);
  return LLVMBuildTrunc(e->b, clamp(e, x, 0, 255), vq_vec_type(e->i8, lanes), "");
}
