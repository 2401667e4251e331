// Numbers of bf16. See bf16.h.
#include "bf16.h"

#include "chain.h"
#include "loop.h"

typedef LLVMValueRef val;

static LLVMTypeRef like(const vq_emit *e, val v, LLVMTypeRef elem) {
  (void)e;
  return vq_vec_type(elem, vq_lanes_of(LLVMTypeOf(v)));
}

static LLVMTypeRef i16(const vq_emit *e) { return LLVMInt16TypeInContext(e->lc); }

// Half of a unit less one, and one more where the number is odd: a tie goes to the even one.
// A NaN stays one.
val vq_bf16_round(const vq_emit *e, val x) {
  LLVMBuilderRef b = e->b;
  LLVMTypeRef type = like(e, x, e->i32);
  val bits = LLVMBuildBitCast(b, x, type, ""), upper = vq_ki_like(type, 16);
  val odd = LLVMBuildLShr(b, bits, upper, "");
  val up = LLVMBuildAnd(b, odd, vq_ki_like(type, 1), "");
  up = LLVMBuildAdd(b, up, vq_ki_like(type, 0x7fff), "");
  up = LLVMBuildLShr(b, LLVMBuildAdd(b, bits, up, ""), upper, "");
  val nan = LLVMBuildFCmp(b, LLVMRealUNO, x, x, "");
  val quiet = LLVMBuildOr(b, odd, vq_ki_like(type, 0x40), "");
  val y = LLVMBuildSelect(b, nan, quiet, up, "");
  return LLVMBuildTrunc(b, y, like(e, x, i16(e)), "");
}

val vq_bf16_widen(const vq_emit *e, val half) {
  LLVMTypeRef type = like(e, half, e->i32);
  val bits = LLVMBuildZExt(e->b, half, type, "");
  bits = LLVMBuildShl(e->b, bits, vq_ki_like(type, 16), "");
  return LLVMBuildBitCast(e->b, bits, like(e, half, e->f32), "");
}

// ---- rows --------------------------------------------------------------------------

static bool has_instructions(const vq_emit *e) { return e->target->bf16 >= VQ_BF16_DOT; }

typedef struct row {
  val from, to;
} row;

static void round_step(const vq_emit *e, void *user, val col, unsigned lanes, unsigned n,
                       val *v) {
  const row *r = user;
  (void)v;
  val x = vq_load_n(e, vq_vec_type(e->f32, lanes), vq_at(e, e->f32, r->from, col), 4, n), y;
  if (has_instructions(e) && lanes == 16)
    y = LLVMBuildBitCast(
        e->b, vq_intrinsic(e, "llvm.x86.avx512bf16.cvtneps2bf16.512", NULL, 0, &x, 1),
        LLVMVectorType(i16(e), 16), "");
  else
    y = vq_bf16_round(e, x);
  vq_store_n(e, y, vq_at(e, i16(e), r->to, col), 2, n);
}

void vq_bf16_row(const vq_emit *e, val from, val to, int64_t n) {
  row r = {from, to};
  if (n % 2) vq_store(e, LLVMConstNull(i16(e)), vq_atk(e, i16(e), to, n), 2);
  vq_row_each(e, n, vq_f32_lanes(e->target), round_step, &r, 0, NULL);
}

// ---- a step of a tile --------------------------------------------------------------

static val pairs(const vq_emit *e, val v) {
  LLVMTypeRef bf16 = LLVMBFloatTypeInContext(e->lc);
  return LLVMBuildBitCast(e->b, v,
                          LLVMVectorType(bf16, 2 * vq_lanes_of(LLVMTypeOf(v))), "");
}

static val half_of(const vq_emit *e, val v, bool odd) {
  LLVMTypeRef type = LLVMTypeOf(v);
  v = odd ? LLVMBuildAnd(e->b, v, vq_ki_like(type, 0xffff0000), "")
          : LLVMBuildShl(e->b, v, vq_ki_like(type, 16), "");
  return LLVMBuildBitCast(e->b, v, like(e, v, e->f32), "");
}

void vq_bf16_add(const vq_emit *e, val a, val const *b, unsigned vecs, val *sum) {
  if (has_instructions(e)) {
    for (unsigned j = 0; j < vecs; j++) {
      val arg[] = {sum[j], pairs(e, b[j]), pairs(e, a)};
      sum[j] = vq_intrinsic(e, "llvm.x86.avx512bf16.dpbf16ps.512", NULL, 0, arg, 3);
    }
    return;
  }
  val odd = half_of(e, a, true), even = half_of(e, a, false);
  for (unsigned j = 0; j < vecs; j++) {
    sum[j] = vq_fma(e, odd, half_of(e, b[j], true), sum[j]);
    sum[j] = vq_fma(e, even, half_of(e, b[j], false), sum[j]);
  }
}
