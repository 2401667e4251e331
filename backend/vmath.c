// Elementary functions of f32 scalars and vectors, as straight-line LLVM IR.
//
// All follow one plan: reduce the argument exactly, evaluate a minimax
// polynomial by Horner's rule, put the exponent or sign back. Both sides of a
// case split are computed and one is selected, since lanes differ. Selects are
// written so that a NaN operand falls through to the arithmetic: x86 has no
// cheap NaN-propagating min or max.
//
// Integers are read from the low mantissa bits of x + 1.5 * 2^23 ("magic"):
// that rounds half to even without a conversion, whose result for NaN would be
// poison. sin, cos and pow go through binary64, where the reduction is exact
// enough without tricks; they are rare in vision transformers.
#include "vmath.h"

#include "loop.h"

#define MAGIC32 12582912.0       // 1.5 * 2^23
#define MAGIC64 6755399441055744.0  // 1.5 * 2^52

static LLVMValueRef mul(const vq_emit *e, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildFMul(e->b, a, b, "");
}

static LLVMValueRef add(const vq_emit *e, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildFAdd(e->b, a, b, "");
}

static LLVMValueRef sub(const vq_emit *e, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildFSub(e->b, a, b, "");
}

static LLVMValueRef div2(const vq_emit *e, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildFDiv(e->b, a, b, "");
}

static LLVMValueRef kf(LLVMValueRef like, double v) {
  return vq_kf_like(LLVMTypeOf(like), v);
}

// a * b + k with a constant k.
static LLVMValueRef fmak(const vq_emit *e, LLVMValueRef a, LLVMValueRef b,
                         double k) {
  return vq_fma(e, a, b, kf(a, k));
}

// c[0] x^(n-1) + ... + c[n-1]
static LLVMValueRef horner(const vq_emit *e, LLVMValueRef x, const double *c,
                           unsigned n) {
  LLVMValueRef r = kf(x, c[0]);
  for (unsigned i = 1; i < n; i++) r = fmak(e, r, x, c[i]);
  return r;
}
#define HORNER(e, x, ...)                   \
  horner(e, x, (const double[]){__VA_ARGS__}, \
         sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

static LLVMValueRef cmp(const vq_emit *e, LLVMRealPredicate p, LLVMValueRef a,
                        LLVMValueRef b) {
  return LLVMBuildFCmp(e->b, p, a, b, "");
}

static LLVMValueRef sel(const vq_emit *e, LLVMValueRef c, LLVMValueRef a,
                        LLVMValueRef b) {
  return LLVMBuildSelect(e->b, c, a, b, "");
}

// Limits x to [lo, hi]; NaN stays.
static LLVMValueRef clamp(const vq_emit *e, LLVMValueRef x, double lo,
                          double hi) {
  LLVMValueRef l = kf(x, lo), h = kf(x, hi);
  x = sel(e, cmp(e, LLVMRealOGT, l, x), l, x);
  return sel(e, cmp(e, LLVMRealOLT, h, x), h, x);
}

// The integer type of x's lanes and width.
static LLVMTypeRef int_type(const vq_emit *e, LLVMValueRef x) {
  LLVMTypeRef t = LLVMTypeOf(x);
  bool wide = LLVMGetTypeKind(vq_elem_type(t)) == LLVMDoubleTypeKind;
  return vq_vec_type(wide ? e->i64 : e->i32, vq_lanes_of(t));
}

static LLVMValueRef bits(const vq_emit *e, LLVMValueRef x) {
  return LLVMBuildBitCast(e->b, x, int_type(e, x), "");
}

static LLVMValueRef iand(const vq_emit *e, LLVMValueRef a, int64_t k) {
  return LLVMBuildAnd(e->b, a, vq_ki_like(LLVMTypeOf(a), k), "");
}

static LLVMValueRef iadd(const vq_emit *e, LLVMValueRef a, int64_t k) {
  return LLVMBuildAdd(e->b, a, vq_ki_like(LLVMTypeOf(a), k), "");
}

static LLVMValueRef ishl(const vq_emit *e, LLVMValueRef a, int64_t k) {
  return LLVMBuildShl(e->b, a, vq_ki_like(LLVMTypeOf(a), k), "");
}

static LLVMValueRef is_zero(const vq_emit *e, LLVMValueRef a) {
  return LLVMBuildICmp(e->b, LLVMIntEQ, a, LLVMConstNull(LLVMTypeOf(a)), "");
}

static LLVMValueRef widen(const vq_emit *e, LLVMValueRef x) {
  LLVMTypeRef f64 = LLVMDoubleTypeInContext(e->lc);
  return LLVMBuildFPExt(e->b, x, vq_vec_type(f64, vq_lanes_of(LLVMTypeOf(x))), "");
}

static LLVMValueRef narrow(const vq_emit *e, LLVMValueRef x, LLVMTypeRef type) {
  return LLVMBuildFPTrunc(e->b, x, type, "");
}

// ---- exact -------------------------------------------------------------------

LLVMValueRef vq_vsqrt(const vq_emit *e, LLVMValueRef x) {
  LLVMTypeRef t = LLVMTypeOf(x);
  return vq_intrinsic(e, "llvm.sqrt", &t, 1, &x, 1);
}

LLVMValueRef vq_vabs(const vq_emit *e, LLVMValueRef x) {
  LLVMTypeRef t = LLVMTypeOf(x);
  return vq_intrinsic(e, "llvm.fabs", &t, 1, &x, 1);
}

LLVMValueRef vq_vcopysign(const vq_emit *e, LLVMValueRef mag,
                          LLVMValueRef sign) {
  LLVMTypeRef t = LLVMTypeOf(mag);
  LLVMValueRef arg[] = {mag, sign};
  return vq_intrinsic(e, "llvm.copysign", &t, 1, arg, 2);
}

// Without SSE4.1 the intrinsics become calls; adding and subtracting 2^23 then
// rounds what is smaller than that, and what is larger is integral already.
LLVMValueRef vq_vround(const vq_emit *e, LLVMValueRef x) {
  LLVMTypeRef t = LLVMTypeOf(x);
  if (e->target->vector_bits > 128)
    return vq_intrinsic(e, "llvm.roundeven", &t, 1, &x, 1);
  LLVMValueRef big = kf(x, 8388608.0), a = vq_vabs(e, x);
  LLVMValueRef r = sub(e, add(e, a, big), big);
  return sel(e, cmp(e, LLVMRealOLT, a, big), vq_vcopysign(e, r, x), x);
}

LLVMValueRef vq_vfloor(const vq_emit *e, LLVMValueRef x) {
  LLVMTypeRef t = LLVMTypeOf(x);
  if (e->target->vector_bits > 128)
    return vq_intrinsic(e, "llvm.floor", &t, 1, &x, 1);
  LLVMValueRef r = vq_vround(e, x);
  return sel(e, cmp(e, LLVMRealOGT, r, x), sub(e, r, kf(x, 1.0)), r);
}

LLVMValueRef vq_vceil(const vq_emit *e, LLVMValueRef x) {
  LLVMTypeRef t = LLVMTypeOf(x);
  if (e->target->vector_bits > 128)
    return vq_intrinsic(e, "llvm.ceil", &t, 1, &x, 1);
  LLVMValueRef r = vq_vround(e, x);
  LLVMValueRef up = vq_vcopysign(e, add(e, r, kf(x, 1.0)), x);  // keeps -0
  return sel(e, cmp(e, LLVMRealOLT, r, x), up, r);
}

LLVMValueRef vq_vtrunc(const vq_emit *e, LLVMValueRef x) {
  return vq_vcopysign(e, vq_vfloor(e, vq_vabs(e, x)), x);
}

// ---- exp and what is made of it ------------------------------------------------

// e^x = 2^n e^f, n = rint(x / ln 2), |f| <= ln 2 / 2. The coefficients are
// doubled and the exponent lowered by one, so that n = 128 still has a power
// of two to multiply with; n = -126 gives 2^-127, that is 0 by construction.
LLVMValueRef vq_vexp(const vq_emit *e, LLVMValueRef x) {
  x = clamp(e, x, -87.5, 89.0);
  LLVMValueRef j = fmak(e, x, kf(x, 1.44269504), MAGIC32);
  LLVMValueRef n = sub(e, j, kf(x, MAGIC32));
  LLVMValueRef f = vq_fma(e, n, kf(x, -6.93145752e-1), x);
  f = vq_fma(e, n, kf(x, -1.42860677e-6), f);
  LLVMValueRef r = HORNER(e, f, 2 * 1.37805939e-3, 2 * 8.37312452e-3,
                          2 * 4.16695364e-2, 2 * 1.66664720e-1,
                          2 * 4.99999851e-1, 2.0, 2.0);
  LLVMValueRef scale = iadd(e, ishl(e, bits(e, j), 23), (int64_t)126 << 23);
  return mul(e, r, LLVMBuildBitCast(e->b, scale, LLVMTypeOf(x), ""));
}

LLVMValueRef vq_vsigmoid(const vq_emit *e, LLVMValueRef x) {
  LLVMValueRef one = kf(x, 1.0);
  return div2(e, one, add(e, one, vq_vexp(e, LLVMBuildFNeg(e->b, x, ""))));
}

// Below 0.625 an odd polynomial, above 1 - 2 / (e^2t + 1).
LLVMValueRef vq_vtanh(const vq_emit *e, LLVMValueRef x) {
  LLVMValueRef t = vq_vabs(e, x), one = kf(x, 1.0), z = mul(e, x, x);
  LLVMValueRef small = HORNER(e, z, -5.70498872745e-3, 2.06390887954e-2,
                              -5.37397155531e-2, 1.33314422036e-1,
                              -3.33332819422e-1);
  small = vq_fma(e, mul(e, small, z), x, x);
  LLVMValueRef q = add(e, vq_vexp(e, add(e, t, t)), one);
  LLVMValueRef large = sub(e, one, div2(e, kf(x, 2.0), q));
  return sel(e, cmp(e, LLVMRealOGT, t, kf(x, 0.625)),
             vq_vcopysign(e, large, x), small);
}

// Below 0.93 an odd polynomial, above 1 - exp(p(|x|)).
LLVMValueRef vq_verf(const vq_emit *e, LLVMValueRef x) {
  LLVMValueRef t = vq_vabs(e, x), s = mul(e, x, x);
  LLVMValueRef r = fmak(e, kf(x, -1.72853470e-5), t, 3.83197126e-4);
  LLVMValueRef u = fmak(e, kf(x, -3.88396438e-3), t, 2.42546219e-2);
  r = vq_fma(e, r, s, u);
  r = fmak(e, r, t, -1.06777877e-1);
  r = fmak(e, r, t, -6.34846687e-1);
  r = fmak(e, r, t, -1.28717512e-1);
  r = vq_fma(e, r, t, LLVMBuildFNeg(e->b, t, ""));
  LLVMValueRef large = sub(e, kf(x, 1.0), vq_vexp(e, r));
  LLVMValueRef small = HORNER(e, s, -5.96761703e-4, 4.99119423e-3,
                              -2.67681349e-2, 1.12819925e-1, -3.76125336e-1,
                              1.28379166e-1);
  small = vq_fma(e, small, x, x);
  return sel(e, cmp(e, LLVMRealOGT, t, kf(x, 0.927734375)),
             vq_vcopysign(e, large, x), small);
}

// The tail beyond |x| is exp(-x^2 / 2) times a polynomial in t = 1 / (1 + 0.29 |x|), as in
// Abramowitz and Stegun 7.1.26; fitted for an error of 5.7e-8 at most, and of x times it.
LLVMValueRef vq_vnormal(const vq_emit *e, LLVMValueRef x, LLVMValueRef *bell) {
  LLVMValueRef one = kf(x, 1.0);
  LLVMValueRef t = div2(e, one, fmak(e, vq_vabs(e, x), kf(x, 0.29), 1.0));
  *bell = vq_vexp(e, mul(e, mul(e, x, kf(x, -0.5)), x));
  LLVMValueRef r = HORNER(e, t, -9.00206566e-2, 2.89219618e-1, -9.92121845e-2,
                          1.83494627e-1, 9.95239243e-2, 1.16994619e-1);
  LLVMValueRef tail = mul(e, mul(e, *bell, t), r);
  return sel(e, cmp(e, LLVMRealOLT, x, kf(x, 0.0)), tail, sub(e, one, tail));
}

// ---- log ---------------------------------------------------------------------

// x = 2^k m with m in [2/3, 4/3): ln x = k ln 2 + p(m - 1).
LLVMValueRef vq_vlog(const vq_emit *e, LLVMValueRef x) {
  LLVMTypeRef type = LLVMTypeOf(x);
  LLVMValueRef tiny = cmp(e, LLVMRealOLT, x, kf(x, 1.17549435e-38));
  LLVMValueRef a = sel(e, tiny, mul(e, x, kf(x, 8388608.0)), x);
  LLVMValueRef i = bits(e, a);
  LLVMValueRef k = iand(e, iadd(e, i, -0x3f2aaaab), -0x800000);
  LLVMValueRef m =
      LLVMBuildBitCast(e->b, LLVMBuildSub(e->b, i, k, ""), type, "");
  LLVMValueRef n = mul(e, LLVMBuildSIToFP(e->b, k, type, ""),
                       kf(x, 1.1920928955078125e-7));
  n = sel(e, tiny, sub(e, n, kf(x, 23.0)), n);
  LLVMValueRef f = sub(e, m, kf(x, 1.0)), s = mul(e, f, f);
  LLVMValueRef r = HORNER(e, s, -0.130310059, -0.121484190, -0.166846052,
                          -0.249996200);
  LLVMValueRef t = HORNER(e, s, 0.140869141, 0.139814854, 0.200120345);
  r = vq_fma(e, t, f, r);
  r = fmak(e, r, f, 0.333331972);
  r = fmak(e, r, f, -0.5);
  r = vq_fma(e, r, s, f);
  r = vq_fma(e, n, kf(x, 0.693147182), r);
  LLVMValueRef inf = kf(x, INFINITY), zero = kf(x, 0.0);
  r = sel(e, cmp(e, LLVMRealOLT, x, inf), r, x);  // +inf and NaN stay
  r = sel(e, cmp(e, LLVMRealOEQ, x, zero), kf(x, -INFINITY), r);
  return sel(e, cmp(e, LLVMRealOLT, x, zero), kf(x, NAN), r);
}

// ---- through binary64 --------------------------------------------------------

// sin (quarter 0) or cos (quarter 1) of x. pi/2 is split into 27 + 27 + 53
// bits, so that n times the first two is exact for n < 2^26.
static LLVMValueRef sin_or_cos(const vq_emit *e, LLVMValueRef x, int64_t quarter) {
  LLVMValueRef d = widen(e, x);
  LLVMValueRef j =
      add(e, mul(e, d, kf(d, 0.63661977236758138)), kf(d, MAGIC64));
  LLVMValueRef n = sub(e, j, kf(d, MAGIC64));
  d = sub(e, d, mul(e, n, kf(d, 0x1.921fb54p+0)));
  d = sub(e, d, mul(e, n, kf(d, 0x1.10b461p-30)));
  d = sub(e, d, mul(e, n, kf(d, 0x1.a62633145c06ep-58)));
  d = clamp(e, d, -0.8, 0.8);
  LLVMValueRef q = iadd(e, bits(e, j), quarter);
  LLVMValueRef z = mul(e, d, d);
  LLVMValueRef s = HORNER(e, z, 1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6, 1.0);
  LLVMValueRef c = HORNER(e, z, -1.0 / 3628800, 1.0 / 40320, -1.0 / 720,
                          1.0 / 24, -0.5, 1.0);
  s = mul(e, s, d);
  LLVMValueRef r = sel(e, is_zero(e, iand(e, q, 1)), s, c);
  LLVMValueRef neg = LLVMBuildFNeg(e->b, r, "");
  return narrow(e, sel(e, is_zero(e, iand(e, q, 2)), r, neg), LLVMTypeOf(x));
}

LLVMValueRef vq_vsin(const vq_emit *e, LLVMValueRef x) {
  return sin_or_cos(e, x, 0);
}

LLVMValueRef vq_vcos(const vq_emit *e, LLVMValueRef x) {
  return sin_or_cos(e, x, 1);
}

// log2 of a positive finite normal f64: exponent plus the atanh series of
// s = (m - 1) / (m + 1), |s| < 0.172.
static LLVMValueRef log2_f64(const vq_emit *e, LLVMValueRef d) {
  LLVMTypeRef type = LLVMTypeOf(d);
  LLVMValueRef i = bits(e, d);
  const int64_t sqrt_half = 0x3fe6a09e667f3bcd;
  LLVMValueRef k = iand(e, iadd(e, i, -sqrt_half), -((int64_t)1 << 52));
  LLVMValueRef m =
      LLVMBuildBitCast(e->b, LLVMBuildSub(e->b, i, k, ""), type, "");
  // k is 2^52 times the exponent; its high word converts without AVX-512.
  LLVMTypeRef i32s = vq_vec_type(e->i32, vq_lanes_of(type));
  LLVMValueRef high = LLVMBuildAShr(e->b, k, vq_ki_like(LLVMTypeOf(k), 52), "");
  LLVMValueRef n = LLVMBuildSIToFP(
      e->b, LLVMBuildTrunc(e->b, high, i32s, ""), type, "");
  LLVMValueRef one = kf(d, 1.0);
  LLVMValueRef s = div2(e, sub(e, m, one), add(e, m, one)), z = mul(e, s, s);
  LLVMValueRef r = HORNER(e, z, 1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7,
                          1.0 / 5, 1.0 / 3, 1.0);
  return vq_fma(e, mul(e, r, s), kf(d, 2.8853900817779268), n);
}

static LLVMValueRef exp2_f64(const vq_emit *e, LLVMValueRef d) {
  d = clamp(e, d, -1000.0, 1000.0);
  LLVMValueRef j = add(e, d, kf(d, MAGIC64));
  LLVMValueRef f = mul(e, sub(e, d, sub(e, j, kf(d, MAGIC64))),
                       kf(d, 0.69314718055994531));
  LLVMValueRef r = HORNER(e, f, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
                          1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0);
  LLVMValueRef scale =
      iadd(e, ishl(e, bits(e, j), 52), (int64_t)1023 << 52);
  return mul(e, r, LLVMBuildBitCast(e->b, scale, LLVMTypeOf(d), ""));
}

// y as a number and its low bit as an integer; both are 0 where |y| >= 2^24,
// and every such y is even.
static void parity(const vq_emit *e, LLVMValueRef y, LLVMValueRef *whole,
                   LLVMValueRef *odd) {
  LLVMValueRef half = mul(e, y, kf(y, 0.5));
  *whole = cmp(e, LLVMRealOEQ, vq_vround(e, y), y);
  LLVMValueRef even = cmp(e, LLVMRealOEQ, vq_vround(e, half), half);
  *odd = LLVMBuildAnd(e->b, *whole, LLVMBuildNot(e->b, even, ""), "");
}

// |x|^y = 2^(y log2 |x|), then the sign, then C's special cases.
LLVMValueRef vq_vpow(const vq_emit *e, LLVMValueRef x, LLVMValueRef y) {
  LLVMTypeRef type = LLVMTypeOf(x);
  LLVMValueRef a = vq_vabs(e, x), one = kf(x, 1.0), zero = kf(x, 0.0);
  LLVMValueRef inf = kf(x, INFINITY);
  LLVMValueRef d = widen(e, a), l = log2_f64(e, d);
  l = sel(e, cmp(e, LLVMRealOEQ, a, zero), kf(d, -INFINITY), l);
  l = sel(e, cmp(e, LLVMRealOLT, a, inf), l, d);  // infinity and NaN stay
  LLVMValueRef r = narrow(e, exp2_f64(e, mul(e, l, widen(e, y))), type);
  LLVMValueRef whole, odd;
  parity(e, y, &whole, &odd);
  LLVMValueRef minus = LLVMBuildICmp(e->b, LLVMIntSLT, bits(e, x),
                                     LLVMConstNull(int_type(e, x)), "");
  LLVMValueRef flip = LLVMBuildAnd(e->b, minus, odd, "");
  r = sel(e, flip, LLVMBuildFNeg(e->b, r, ""), r);
  LLVMValueRef below = LLVMBuildAnd(e->b, cmp(e, LLVMRealOLT, x, zero),
                                    cmp(e, LLVMRealOLT, a, inf), "");
  LLVMValueRef bad =
      LLVMBuildAnd(e->b, below, LLVMBuildNot(e->b, whole, ""), "");
  r = sel(e, bad, kf(x, NAN), r);
  LLVMValueRef minus_one =
      LLVMBuildAnd(e->b, cmp(e, LLVMRealOEQ, x, kf(x, -1.0)),
                   cmp(e, LLVMRealOEQ, vq_vabs(e, y), inf), "");
  LLVMValueRef unit = LLVMBuildOr(e->b, cmp(e, LLVMRealOEQ, x, one),
                                  cmp(e, LLVMRealOEQ, y, zero), "");
  return sel(e, LLVMBuildOr(e->b, unit, minus_one, ""), one, r);
}
