// Elementwise ops on values held in registers, and the way in and out of them.
//
// The meaning is that of ir/eval/eval_elem.c: integers wrap at their width and
// divide without traps, min and max hand a NaN on, conversions saturate.
#include "elt.h"

#include "bf16.h"
#include "loop.h"
#include "quant.h"
#include "vmath.h"
#include "vq/eval.h"

typedef LLVMValueRef val;

// ---- registers and memory ------------------------------------------------------

static bool is_nibble(vq_dtype t) { return t == VQ_i4 || t == VQ_u4; }
static bool is_unsigned(vq_dtype t) {
  return t == VQ_u8 || t == VQ_u4 || t == VQ_bool;
}

LLVMTypeRef vq_elt_storage(const vq_emit *e, vq_dtype t) {
  if (t == VQ_f32) return e->f32;
  unsigned bits = vq_dtype_bits(t);
  return LLVMIntTypeInContext(e->lc, bits < 8 ? 8 : bits);
}

LLVMTypeRef vq_elt_type(const vq_emit *e, vq_dtype t, unsigned lanes) {
  return vq_vec_type(t == VQ_bool ? e->i1 : vq_elt_storage(e, t), lanes);
}

val vq_elt_const(const vq_emit *e, vq_dtype t, float value) {
  if (t == VQ_f32) return vq_kf32(e, value);
  uint64_t bits[1] = {0};
  vq_store_f64(t, bits, 0, (double)value);
  if (t == VQ_bf16) return LLVMConstInt(vq_elt_type(e, t, 1), bits[0], false);
  return LLVMConstInt(vq_elt_type(e, t, 1), (uint64_t)vq_load_i64(t, bits, 0),
                      true);
}

static val load_nibble(const vq_emit *e, vq_dtype t, val base, val index) {
  val at = vq_at(e, e->i8, base, LLVMBuildLShr(e->b, index, vq_k64(e, 1), ""));
  val odd = LLVMBuildTrunc(e->b, index, e->i1, "");
  val four = LLVMConstInt(e->i8, 4, false);
  val byte = vq_load(e, e->i8, at, 1);
  val up = LLVMBuildShl(e->b, byte, four, "");
  val high = LLVMBuildSelect(e->b, odd, byte, up, "");
  return t == VQ_u4 ? LLVMBuildLShr(e->b, high, four, "")
                    : LLVMBuildAShr(e->b, high, four, "");
}

val vq_elt_load(const vq_emit *e, vq_dtype t, val base, val index,
                unsigned lanes, unsigned n) {
  if (is_nibble(t)) {
    assert(lanes == 1);
    return load_nibble(e, t, base, index);
  }
  LLVMTypeRef elem = vq_elt_storage(e, t), type = vq_vec_type(elem, lanes);
  unsigned align = vq_dtype_bits(t) / 8;
  val v = vq_load_n(e, type, vq_at(e, elem, base, index), align, n);
  if (t != VQ_bool) return v;
  return LLVMBuildICmp(e->b, LLVMIntNE, v, LLVMConstNull(type), "");
}

void vq_elt_store(const vq_emit *e, vq_dtype t, val v, val base, val index,
                  unsigned n) {
  assert(!is_nibble(t));
  LLVMTypeRef elem = vq_elt_storage(e, t);
  if (t == VQ_bool)
    v = LLVMBuildZExt(e->b, v, vq_vec_type(elem, vq_lanes_of(LLVMTypeOf(v))), "");
  vq_store_n(e, v, vq_at(e, elem, base, index), vq_dtype_bits(t) / 8, n);
}

// ---- pieces --------------------------------------------------------------------

static val kf(val like, double v) { return vq_kf_like(LLVMTypeOf(like), v); }
static val ki(val like, int64_t v) { return vq_ki_like(LLVMTypeOf(like), v); }

static val fcmp(const vq_emit *e, LLVMRealPredicate p, val a, val b) {
  return LLVMBuildFCmp(e->b, p, a, b, "");
}

static val sel(const vq_emit *e, val c, val a, val b) {
  return LLVMBuildSelect(e->b, c, a, b, "");
}

static val times(const vq_emit *e, val a, val b) {
  return LLVMBuildFMul(e->b, a, b, "");
}

// Back to the range of a nibble after arithmetic in 8 bits.
static val wrap(const vq_emit *e, vq_dtype t, val v) {
  if (!is_nibble(t)) return v;
  val four = ki(v, 4), up = LLVMBuildShl(e->b, v, four, "");
  return t == VQ_u4 ? LLVMBuildLShr(e->b, up, four, "")
                    : LLVMBuildAShr(e->b, up, four, "");
}

// a < b; false when either is NaN.
static val less(const vq_emit *e, vq_dtype t, val a, val b) {
  if (t == VQ_f32) return fcmp(e, LLVMRealOLT, a, b);
  return LLVMBuildICmp(e->b, is_unsigned(t) ? LLVMIntULT : LLVMIntSLT, a, b, "");
}

// The smaller (or larger); a NaN wins. Constants are never NaN here, so with
// one as `b` a single select does it.
static val extreme(const vq_emit *e, vq_dtype t, bool max, val a, val b) {
  if (t != VQ_f32 || LLVMIsConstant(b))
    return sel(e, max ? less(e, t, a, b) : less(e, t, b, a), b, a);
  val keep = max ? less(e, t, b, a) : less(e, t, a, b);
  val nan = fcmp(e, LLVMRealUNO, a, a);
  return sel(e, LLVMBuildOr(e->b, keep, nan, ""), a, b);
}

static val zero_of(val v) { return LLVMConstNull(LLVMTypeOf(v)); }

static val emit_neg(const vq_emit *e, vq_dtype t, val x) {
  if (t == VQ_f32) return LLVMBuildFNeg(e->b, x, "");
  return wrap(e, t, LLVMBuildNeg(e->b, x, ""));
}

static val emit_abs(const vq_emit *e, vq_dtype t, val x) {
  if (t == VQ_f32) return vq_vabs(e, x);
  if (is_unsigned(t)) return x;
  return sel(e, less(e, t, x, zero_of(x)), emit_neg(e, t, x), x);
}

// (x > 0) - (x < 0), computed on the two comparisons.
static val emit_sign(const vq_emit *e, vq_dtype t, val x) {
  val zero = zero_of(x);
  val one = t == VQ_f32 ? kf(x, 1) : ki(x, 1);
  val minus = t == VQ_f32 ? kf(x, -1) : ki(x, -1);
  val up = sel(e, less(e, t, zero, x), one, zero);
  return sel(e, less(e, t, x, zero), minus, up);
}

static val emit_clip(const vq_emit *e, const vq_op *op, vq_dtype t, val x) {
  float lo = VQ_ATTRS(op, clip)->lo, hi = VQ_ATTRS(op, clip)->hi;
  if (t == VQ_f32)
    return extreme(e, t, false, extreme(e, t, true, x, kf(x, lo)), kf(x, hi));
  unsigned bits = vq_dtype_bits(t);
  double most = is_unsigned(t) ? ldexp(1, (int)bits) : ldexp(1, (int)bits - 1);
  double least = is_unsigned(t) ? 0 : -most;
  int64_t top = is_unsigned(t) ? ((int64_t)1 << bits) - 1
                               : (int64_t)(UINT64_MAX >> (65 - bits));
  double l = ceil((double)lo), h = floor((double)hi);
  int64_t a = l <= least ? (is_unsigned(t) ? 0 : -top - 1)
              : l >= most ? top : (int64_t)l;
  int64_t b = h >= most ? top
              : h <= least ? (is_unsigned(t) ? 0 : -top - 1) : (int64_t)h;
  return extreme(e, t, false, extreme(e, t, true, x, ki(x, a)), ki(x, b));
}

#define GELU_C 0.79788456080286536  // sqrt(2 / pi)
#define GELU_CUBIC 0.044715
#define GELU_RATE 1.702

// tanh(c (x + 0.044715 x^3))
static val gelu_tanh(const vq_emit *e, val x, val square) {
  val poly = vq_fma(e, square, kf(x, GELU_CUBIC * GELU_C), kf(x, GELU_C));
  return vq_vtanh(e, times(e, x, poly));
}

static val emit_gelu(const vq_emit *e, const vq_op *op, val x) {
  vq_str form = VQ_ATTRS(op, gelu)->form;
  val bell, half = times(e, x, kf(x, 0.5));
  if (vq_str_is(form, "sigmoid"))
    return times(e, x, vq_vsigmoid(e, times(e, x, kf(x, GELU_RATE))));
  if (vq_str_is(form, "tanh")) return vq_fma(e, half, gelu_tanh(e, x, times(e, x, x)), half);
  return times(e, x, vq_vnormal(e, x, &bell));
}

// As in ir/eval/eval_math.c; what both ops of an x need is computed once.
static val emit_gelu_slope(const vq_emit *e, const vq_op *op, val x) {
  vq_str form = VQ_ATTRS(op, gelu_slope)->form;
  val one = kf(x, 1.0), half = kf(x, 0.5), bell;
  if (vq_str_is(form, "sigmoid")) {
    val u = times(e, x, kf(x, GELU_RATE)), s = vq_vsigmoid(e, u);
    return times(e, s, vq_fma(e, u, LLVMBuildFSub(e->b, one, s, ""), one));
  }
  if (vq_str_is(form, "tanh")) {
    val square = times(e, x, x), t = gelu_tanh(e, x, square);
    val du = vq_fma(e, square, kf(x, 3 * GELU_CUBIC * GELU_C), kf(x, GELU_C));
    val rest = LLVMBuildFSub(e->b, one, times(e, t, t), "");
    rest = times(e, times(e, times(e, x, half), rest), du);
    return LLVMBuildFAdd(e->b, vq_fma(e, t, half, half), rest, "");
  }
  val below = vq_vnormal(e, x, &bell);
  return vq_fma(e, times(e, x, kf(x, GELU_C / 2)), bell, below);
}

// ---- division and remainder ----------------------------------------------------

// x / 0 = 0, and the one quotient that overflows wraps.
static val int_div(const vq_emit *e, vq_dtype t, val a, val b, bool rem) {
  val is0 = LLVMBuildICmp(e->b, LLVMIntEQ, b, zero_of(b), "");
  val one = ki(b, 1);
  if (is_unsigned(t)) {
    val d = sel(e, is0, one, b);
    val q = rem ? LLVMBuildURem(e->b, a, d, "") : LLVMBuildUDiv(e->b, a, d, "");
    return sel(e, is0, zero_of(q), q);
  }
  val is_minus = LLVMBuildICmp(e->b, LLVMIntEQ, b, ki(b, -1), "");
  val d = sel(e, LLVMBuildOr(e->b, is0, is_minus, ""), one, b);
  val q = rem ? LLVMBuildSRem(e->b, a, d, "") : LLVMBuildSDiv(e->b, a, d, "");
  if (!rem) q = sel(e, is_minus, LLVMBuildNeg(e->b, a, ""), q);
  return wrap(e, t, sel(e, is0, zero_of(q), q));
}

static val int_mod(const vq_emit *e, vq_dtype t, bool fmod_sign, val a, val b) {
  val r = int_div(e, t, a, b, true);
  if (fmod_sign || is_unsigned(t)) return r;
  val zero = zero_of(r);
  val differ = LLVMBuildXor(e->b, less(e, t, r, zero), less(e, t, b, zero), "");
  val some = LLVMBuildICmp(e->b, LLVMIntNE, r, zero, "");
  return sel(e, LLVMBuildAnd(e->b, differ, some, ""),
             LLVMBuildAdd(e->b, r, b, ""), r);
}

// a - b trunc(a / b) without error: in binary64, subtracting q b 2^s for
// falling s, where q has at most 28 bits and so q b at most 52.
static val float_mod(const vq_emit *e, bool fmod_sign, val a, val b) {
  LLVMTypeRef f64 = LLVMDoubleTypeInContext(e->lc), type = LLVMTypeOf(a);
  LLVMTypeRef wide = vq_vec_type(f64, vq_lanes_of(type));
  val x = LLVMBuildFPExt(e->b, a, wide, ""), y = LLVMBuildFPExt(e->b, b, wide, "");
  val r = x, zero = zero_of(x);
  for (int s = 252; s >= 0; s -= 28) {
    val d = times(e, y, kf(y, ldexp(1, s)));
    val q = LLVMBuildFDiv(e->b, r, d, "");
    val magic = kf(y, 6755399441055744.0);  // 1.5 * 2^52: rounds to integer
    q = LLVMBuildFSub(e->b, LLVMBuildFAdd(e->b, q, magic, ""), magic, "");
    r = LLVMBuildFSub(e->b, r, times(e, q, d), "");
  }
  // With an infinite divisor r is NaN so far and the remainder is x itself.
  val inf = kf(y, INFINITY);
  val finite = fcmp(e, LLVMRealOLT, vq_vabs(e, x), inf);
  val huge = fcmp(e, LLVMRealOEQ, vq_vabs(e, y), inf);
  r = sel(e, LLVMBuildAnd(e->b, finite, huge, ""), x, r);
  // |r| <= |b| / 2 now; one step of |b| gives it the wanted sign.
  val like = fmod_sign ? x : y;
  val differ = LLVMBuildXor(e->b, fcmp(e, LLVMRealOLT, r, zero),
                            fcmp(e, LLVMRealOLT, like, zero), "");
  val fix = LLVMBuildAnd(e->b, differ, fcmp(e, LLVMRealONE, r, zero), "");
  r = sel(e, fix, LLVMBuildFAdd(e->b, r, vq_vcopysign(e, y, like), ""), r);
  return LLVMBuildFPTrunc(e->b, r, type, "");
}

// ---- conversion ----------------------------------------------------------------

static val float_to_int(const vq_emit *e, vq_dtype to, val x, LLVMTypeRef type) {
  if (is_nibble(to)) {
    val lo = kf(x, to == VQ_u4 ? 0 : -8), hi = kf(x, to == VQ_u4 ? 15 : 7);
    x = extreme(e, VQ_f32, false, extreme(e, VQ_f32, true, x, lo), hi);
  }
  LLVMTypeRef over[] = {type, LLVMTypeOf(x)};
  return vq_intrinsic(e, is_unsigned(to) ? "llvm.fptoui.sat" : "llvm.fptosi.sat",
                      over, 2, &x, 1);
}

static val emit_cast(const vq_emit *e, const vq_op *op, val x) {
  vq_dtype from = vq_in(op, 0)->type->dtype, to = op->out[0].type->dtype;
  LLVMTypeRef type = vq_elt_type(e, to, vq_lanes_of(LLVMTypeOf(x)));
  if (from == to) return x;
  if (from == VQ_bf16) return vq_bf16_widen(e, x);  // to f32
  if (to == VQ_bf16) return vq_bf16_round(e, x);
  if (to == VQ_bool)
    return from == VQ_f32
               ? fcmp(e, LLVMRealUNE, x, zero_of(x))
               : LLVMBuildICmp(e->b, LLVMIntNE, x, zero_of(x), "");
  if (from == VQ_f32) return float_to_int(e, to, x, type);
  if (to == VQ_f32)
    return is_unsigned(from) ? LLVMBuildUIToFP(e->b, x, type, "")
                             : LLVMBuildSIToFP(e->b, x, type, "");
  return wrap(e, to, LLVMBuildIntCast2(e->b, x, type, !is_unsigned(from), ""));
}

// ---- the table -----------------------------------------------------------------

static val emit_equal(const vq_emit *e, vq_dtype t, val a, val b) {
  return t == VQ_f32 ? fcmp(e, LLVMRealOEQ, a, b)
                     : LLVMBuildICmp(e->b, LLVMIntEQ, a, b, "");
}

static val emit_less_equal(const vq_emit *e, vq_dtype t, val a, val b) {
  if (t == VQ_f32) return fcmp(e, LLVMRealOLE, a, b);
  return LLVMBuildNot(e->b, less(e, t, b, a), "");
}

static val emit_div(const vq_emit *e, vq_dtype t, val a, val b) {
  return t == VQ_f32 ? LLVMBuildFDiv(e->b, a, b, "") : int_div(e, t, a, b, false);
}

static val emit_mod(const vq_emit *e, const vq_op *op, vq_dtype t, val a, val b) {
  bool sign = VQ_ATTRS(op, mod)->fmod;
  return t == VQ_f32 ? float_mod(e, sign, a, b) : int_mod(e, t, sign, a, b);
}

val vq_elt_emit(const vq_emit *e, const vq_op *op, val *in) {
  vq_dtype t = vq_in(op, 0)->type->dtype;
  bool f = t == VQ_f32;
  LLVMBuilderRef b = e->b;
  val x = in[0], y = op->n_in > 1 ? in[1] : NULL;
  switch (op->code) {
    case VQ_OP_cast: return emit_cast(e, op, x);
    case VQ_OP_neg: return emit_neg(e, t, x);
    case VQ_OP_abs: return emit_abs(e, t, x);
    case VQ_OP_sign: return emit_sign(e, t, x);
    case VQ_OP_floor: return vq_vfloor(e, x);
    case VQ_OP_ceil: return vq_vceil(e, x);
    case VQ_OP_round: return vq_vround(e, x);
    case VQ_OP_sqrt: return vq_vsqrt(e, x);
    case VQ_OP_exp: return vq_vexp(e, x);
    case VQ_OP_log: return vq_vlog(e, x);
    case VQ_OP_erf: return vq_verf(e, x);
    case VQ_OP_tanh: return vq_vtanh(e, x);
    case VQ_OP_sigmoid: return vq_vsigmoid(e, x);
    case VQ_OP_sin: return vq_vsin(e, x);
    case VQ_OP_cos: return vq_vcos(e, x);
    case VQ_OP_relu: return extreme(e, t, true, x, zero_of(x));
    case VQ_OP_gelu: return emit_gelu(e, op, x);
    case VQ_OP_gelu_slope: return emit_gelu_slope(e, op, x);
    case VQ_OP_silu: return times(e, x, vq_vsigmoid(e, x));
    case VQ_OP_clip: return emit_clip(e, op, t, x);
    case VQ_OP_isnan: return fcmp(e, LLVMRealUNO, x, x);
    case VQ_OP_not: return LLVMBuildNot(b, x, "");
    case VQ_OP_add:
      return f ? LLVMBuildFAdd(b, x, y, "")
               : wrap(e, t, LLVMBuildAdd(b, x, y, ""));
    case VQ_OP_sub:
      return f ? LLVMBuildFSub(b, x, y, "")
               : wrap(e, t, LLVMBuildSub(b, x, y, ""));
    case VQ_OP_mul:
      return f ? times(e, x, y) : wrap(e, t, LLVMBuildMul(b, x, y, ""));
    case VQ_OP_div: return emit_div(e, t, x, y);
    case VQ_OP_mod: return emit_mod(e, op, t, x, y);
    case VQ_OP_pow: return vq_vpow(e, x, y);
    case VQ_OP_min: return extreme(e, t, false, x, y);
    case VQ_OP_max: return extreme(e, t, true, x, y);
    case VQ_OP_equal: return emit_equal(e, t, x, y);
    case VQ_OP_less: return less(e, t, x, y);
    case VQ_OP_less_equal: return emit_less_equal(e, t, x, y);
    case VQ_OP_and: return LLVMBuildAnd(b, x, y, "");
    case VQ_OP_or: return LLVMBuildOr(b, x, y, "");
    case VQ_OP_xor: return LLVMBuildXor(b, x, y, "");
    case VQ_OP_select: return sel(e, x, y, in[2]);
    case VQ_OP_quantize:
    case VQ_OP_requantize:
    case VQ_OP_dequantize:
    case VQ_OP_fake_quant:
    case VQ_OP_piecewise_int:
    case VQ_OP_rescale:
    case VQ_OP_piecewise: return vq_quant_emit(e, op, in);
    default: VQ_BUG("%s is not elementwise", vq_op_info(op->code)->name);
  }
}
