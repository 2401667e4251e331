// Quantizers on vectors.
//
// Codes are rounded to i32, saturated to words and moved by the zero point as words, of
// which a vector holds twice as many: the instructions that convert and pack do most of the
// clamping (words.h).
#include "quant.h"

#include <math.h>

#include "elt.h"
#include "loop.h"
#include "numbers.h"
#include "vq/exp2.h"
#include "vq/fixed.h"
#include "vq/piecewise.h"
#include "words.h"

typedef LLVMValueRef val;

#define MAGIC 12582912.0       // 1.5 * 2^23
#define MAGIC_BITS INT64_C(0x4b400000)  // its bits

static val kf(val like, double v) { return vq_kf_like(LLVMTypeOf(like), v); }

// `elem` with the lanes of `like`.
static LLVMTypeRef lanes_of(LLVMTypeRef elem, val like) {
  return vq_vec_type(elem, vq_lanes_of(LLVMTypeOf(like)));
}

// A whole register of AVX-512, for which its instructions are used by name.
static bool is_zmm(const vq_emit *e, val x) {
  return e->target->vector_bits == 512 && vq_lanes_of(LLVMTypeOf(x)) == 16;
}

static val mul(const vq_emit *e, val a, val b) { return LLVMBuildFMul(e->b, a, b, ""); }
static val add(const vq_emit *e, val a, val b) { return LLVMBuildFAdd(e->b, a, b, ""); }
static val sub(const vq_emit *e, val a, val b) { return LLVMBuildFSub(e->b, a, b, ""); }

// x > lo ? x : lo, and so on: one instruction, and a NaN gives the bound.
static val at_least(const vq_emit *e, val x, val lo) {
  return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOGT, x, lo, ""), x, lo, "");
}
static val at_most(const vq_emit *e, val x, val hi) {
  return LLVMBuildSelect(e->b, LLVMBuildFCmp(e->b, LLVMRealOLT, x, hi, ""), x, hi, "");
}

val vq_quant_widen(const vq_emit *e, vq_dtype t, val x, LLVMTypeRef elem) {
  bool is_signed = t != VQ_u8 && t != VQ_u4;
  return LLVMBuildIntCast2(e->b, x, lanes_of(elem, x), is_signed, "");
}

// Bits of t + MAGIC: the integer nearest to t plus MAGIC_BITS, for |t| <= 2^22.
static val rounded_bits(const vq_emit *e, val t) {
  return LLVMBuildBitCast(e->b, add(e, t, kf(t, MAGIC)), lanes_of(e->i32, t), "");
}

// ---- quantize, requantize ------------------------------------------------------

// rne(t) as a word, saturated, and -2^15 for a NaN.
static val to_word(const vq_emit *e, val t) {
  val most = kf(t, INT16_MAX);  // not at_most, since a NaN has to stay
  val more = LLVMBuildFCmp(e->b, LLVMRealOLT, most, t, "");
  return vq_word_round(e, LLVMBuildSelect(e->b, more, most, t, ""));
}

// clamp(word, lo, hi) as `to`.
static val to_code(const vq_emit *e, val word, int64_t lo, int64_t hi, vq_dtype to) {
  LLVMTypeRef type = LLVMTypeOf(word);
  if (to == VQ_u8 && lo == 0 && hi == UINT8_MAX) return vq_word_pack_u8(e, word);
  val least[] = {word, vq_ki_like(type, lo)};
  if (lo > INT16_MIN) word = vq_intrinsic(e, "llvm.smax", &type, 1, least, 2);
  val most[] = {word, vq_ki_like(type, hi)};
  if (hi < INT16_MAX) word = vq_intrinsic(e, "llvm.smin", &type, 1, most, 2);
  return LLVMBuildTrunc(e->b, word, lanes_of(vq_elt_storage(e, to), word), "");
}

static val add_words(const vq_emit *e, val a, val b) {
  LLVMTypeRef type = LLVMTypeOf(a);
  val sum[] = {a, b};
  return vq_intrinsic(e, "llvm.sadd.sat", &type, 1, sum, 2);
}

// word + zero * 2^fine, saturated; that zero point need not be a word.
static val add_zero(const vq_emit *e, val word, val zero, int64_t fine) {
  if (!fine) return add_words(e, word, zero);
  val z = vq_quant_widen(e, VQ_i16, zero, e->i32);
  z = LLVMBuildShl(e->b, z, vq_ki_like(LLVMTypeOf(z), fine), "");
  z = LLVMBuildAdd(e->b, vq_quant_widen(e, VQ_i16, word, e->i32), z, "");
  return vq_word_pack_i32(e, z);
}

// rne(t) + zero * 2^fine, of which operand 2 is the zero point if there is one.
static val moved(const vq_emit *e, const vq_op *op, val t, int64_t fine, val const *in) {
  val word = to_word(e, t);
  return op->n_in > 2 ? add_zero(e, word, in[2], fine) : word;
}

// t * 2^by, which is exact.
static val scaled(const vq_emit *e, val t, int64_t by) {
  return by ? mul(e, t, kf(t, ldexp(1, (int)by))) : t;
}

static val emit_quantize(const vq_emit *e, const vq_op *op, val *in) {
  const vq_attrs_quantize *a = VQ_ATTRS(op, quantize);
  val t = scaled(e, mul(e, in[0], in[1]), a->fine);
  return to_code(e, moved(e, op, t, a->fine, in), a->lo, a->hi, op->out->type->dtype);
}

static val code_to_float(const vq_emit *e, val code) {
  return LLVMBuildSIToFP(e->b, code, lanes_of(e->f32, code), "");
}

static val emit_requantize(const vq_emit *e, const vq_op *op, val *in) {
  const vq_attrs_requantize *a = VQ_ATTRS(op, requantize);
  val x = vq_quant_widen(e, vq_in(op, 0)->type->dtype, in[0], e->i32);
  val word = moved(e, op, mul(e, code_to_float(e, x), in[1]), 0, in);
  return to_code(e, word, a->lo, a->hi, op->out->type->dtype);
}

// word - n, saturated; n >= 0 need not be a word.
static val take_away(const vq_emit *e, val word, int64_t n) {
  LLVMTypeRef type = LLVMTypeOf(word);
  if (n > UINT16_MAX) n = UINT16_MAX;
  for (; n > 0; n -= INT16_MAX) {
    int64_t part = n < INT16_MAX ? n : INT16_MAX;
    val less[] = {word, vq_ki_like(type, part)};
    word = vq_intrinsic(e, "llvm.ssub.sat", &type, 1, less, 2);
  }
  return word;
}

static val emit_rescale(const vq_emit *e, const vq_op *op, val *in) {
  const vq_attrs_rescale *a = VQ_ATTRS(op, rescale);
  val word = add_words(e, vq_word_mulhrs(e, in[0], in[1]), in[2]);
  word = take_away(e, word, vq_fine_less((int)a->shift, (int)a->fine));
  if (a->shift) word = LLVMBuildAShr(e->b, word, vq_ki_like(LLVMTypeOf(word), a->shift), "");
  return to_code(e, word, a->lo, a->hi, op->out->type->dtype);
}

static val emit_dequantize(const vq_emit *e, const vq_op *op, val *in) {
  int64_t fine = VQ_ATTRS(op, dequantize)->fine;
  val x = vq_quant_widen(e, vq_in(op, 0)->type->dtype, in[0], e->i32);
  if (op->n_in > 2) {
    val zero = vq_quant_widen(e, VQ_i16, in[2], e->i32);
    if (fine) zero = LLVMBuildShl(e->b, zero, vq_ki_like(LLVMTypeOf(zero), fine), "");
    x = LLVMBuildSub(e->b, x, zero, "");
  }
  return mul(e, scaled(e, code_to_float(e, x), -fine), in[1]);
}

// ---- fake_quant ----------------------------------------------------------------

// Half to even in binary64; what has no fraction stays.
static val round_f64(const vq_emit *e, val x) {
  LLVMTypeRef type = LLVMTypeOf(x);
  val magic = kf(x, 6755399441055744.0);  // 1.5 * 2^52
  val r = sub(e, add(e, x, magic), magic);
  val a = vq_intrinsic(e, "llvm.fabs", &type, 1, &x, 1);
  val small = LLVMBuildFCmp(e->b, LLVMRealOLT, a, kf(x, 2251799813685248.0), "");
  return LLVMBuildSelect(e->b, small, r, x, "");
}

// In binary64 behind the division, where a zero point that is not an integer,
// as calibration may have it, costs no second rounding.
static val emit_fake_quant(const vq_emit *e, const vq_op *op, val *in) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(op, fake_quant);
  LLVMTypeRef wide = lanes_of(LLVMDoubleTypeInContext(e->lc), in[0]);
  val t = LLVMBuildFPExt(e->b, LLVMBuildFDiv(e->b, in[0], in[1], ""), wide, "");
  val scale = LLVMBuildFPExt(e->b, in[1], wide, "");
  val zero = scaled(e, LLVMBuildFPExt(e->b, in[2], wide, ""), a->fine);
  t = scaled(e, t, a->fine);
  t = at_least(e, t, sub(e, kf(t, (double)a->lo), zero));
  t = at_most(e, t, sub(e, kf(t, (double)a->hi), zero));
  t = scaled(e, sub(e, add(e, round_f64(e, t), zero), zero), -a->fine);
  val y = LLVMBuildFPTrunc(e->b, mul(e, t, scale), LLVMTypeOf(in[0]), "");
  val unknown = LLVMBuildFCmp(e->b, LLVMRealOEQ, in[1], kf(in[1], 0), "");
  return LLVMBuildSelect(e->b, unknown, in[0], y, "");
}

// ---- piecewise -----------------------------------------------------------------

// Numbers as memory of the module.
static val memory_of(const vq_emit *e, const char *name, val *c, unsigned n) {
  val init = LLVMConstArray2(e->f32, c, n);
  val g = LLVMAddGlobal(e->mod, LLVMTypeOf(init), name);
  LLVMSetInitializer(g, init);
  LLVMSetGlobalConstant(g, true);
  LLVMSetLinkage(g, LLVMInternalLinkage);
  LLVMSetAlignment(g, 64);
  return g;
}

// Both halves of a table of 32 in registers, chosen among by one permutation.
static val permute_table(const vq_emit *e, const float *c, val index) {
  val half[2][16];
  for (unsigned i = 0; i < 32; i++) half[i / 16][i % 16] = vq_kf32(e, c[i]);
  val arg[] = {LLVMConstVector(half[0], 16), index, LLVMConstVector(half[1], 16)};
  return vq_intrinsic(e, "llvm.x86.avx512.vpermi2var.ps.512", NULL, 0, arg, 3);
}

// table[index], lane by lane.
static val look_up(const vq_emit *e, val table, val index) {
  unsigned lanes = vq_lanes_of(LLVMTypeOf(index));
  if (lanes == 1)
    return vq_load(e, e->f32, vq_at(e, e->f32, table,
                                    LLVMBuildZExt(e->b, index, e->i64, "")), 4);
  LLVMTypeRef type = vq_vec_type(e->f32, lanes);
  if (lanes == 8 && e->target->vector_bits >= 256) {
    val all = LLVMConstBitCast(LLVMConstAllOnes(LLVMTypeOf(index)), type);
    val arg[] = {LLVMConstNull(type), table, index, all,
                 LLVMConstInt(e->i8, 4, false)};
    return vq_intrinsic(e, "llvm.x86.avx2.gather.d.ps.256", NULL, 0, arg, 5);
  }
  val y = LLVMGetPoison(type);
  for (unsigned i = 0; i < lanes; i++) {
    val at = LLVMBuildExtractElement(e->b, index, vq_k64(e, i), "");
    y = LLVMBuildInsertElement(e->b, y, look_up(e, table, at), vq_k64(e, i), "");
  }
  return y;
}

// c[index] of VQ_PIECES numbers in four registers of AVX2: a permutation of each, and the
// upper bits of the index choose. A gather takes three times as long.
static val permute_quarters(const vq_emit *e, const float *c, val index) {
  LLVMTypeRef one = LLVMInt1TypeInContext(e->lc);
  val q[4], bit[2];
  for (unsigned k = 0; k < 4; k++) {
    val part[8];
    for (unsigned i = 0; i < 8; i++) part[i] = vq_kf32(e, c[8 * k + i]);
    val arg[] = {LLVMConstVector(part, 8), index};
    q[k] = vq_intrinsic(e, "llvm.x86.avx2.permps", NULL, 0, arg, 2);
  }
  for (unsigned k = 0; k < 2; k++) {
    val b = LLVMBuildLShr(e->b, index, vq_ki_like(LLVMTypeOf(index), 3 + k), "");
    bit[k] = LLVMBuildTrunc(e->b, b, lanes_of(one, index), "");
  }
  for (unsigned k = 0; k < 2; k++)
    q[k] = LLVMBuildSelect(e->b, bit[0], q[2 * k + 1], q[2 * k], "");
  return LLVMBuildSelect(e->b, bit[1], q[1], q[0], "");
}

// Coefficients k of all pieces in memory.
static val row_of(const vq_emit *e, vq_str fn, const vq_piecewise *p, unsigned k) {
  char name[64] = "vqk_piecewise0.";
  name[strlen(name) - 2] = (char)('0' + k);
  strncat(name, fn.p, fn.n < 32 ? fn.n : 32);
  val g = LLVMGetNamedGlobal(e->mod, name), c[VQ_PIECES];
  if (g) return g;
  for (unsigned i = 0; i < VQ_PIECES; i++) c[i] = vq_kf32(e, p->c[k][i]);
  return memory_of(e, name, c, VQ_PIECES);
}

// The piece of x.
static val piece_of(const vq_emit *e, val x) {
  val t = add(e, mul(e, x, kf(x, (double)VQ_PIECE_MULT)), kf(x, (double)VQ_PIECE_ADD));
  t = at_most(e, at_least(e, t, kf(x, 0)), kf(x, VQ_PIECES - 1));
  return LLVMBuildFPToSI(e->b, t, lanes_of(e->i32, x), "");
}

static val polynomial(const vq_emit *e, val x, val const *c) {
  return add(e, c[0], mul(e, x, add(e, c[1], mul(e, x, c[2]))));
}

// What fills a register, or less.
static val emit_pieces(const vq_emit *e, vq_str fn, const vq_piecewise *p, val x) {
  val i = piece_of(e, x), c[3];
  bool ymm = e->target->vector_bits == 256 && vq_lanes_of(LLVMTypeOf(x)) == 8;
  for (unsigned k = 0; k < 3; k++)
    c[k] = is_zmm(e, x) ? permute_table(e, p->c[k], i)
           : ymm        ? permute_quarters(e, p->c[k], i)
                        : look_up(e, row_of(e, fn, p, k), i);
  return polynomial(e, x, c);
}

static val emit_piecewise(const vq_emit *e, const vq_op *op, val x) {
  vq_piecewise p;
  vq_str fn = VQ_ATTRS(op, piecewise)->fn;
  unsigned own = vq_f32_lanes(e->target);
  if (!vq_piecewise_of(fn, &p)) VQ_BUG("piecewise without a table");
  if (vq_lanes_of(LLVMTypeOf(x)) != 2 * own) return emit_pieces(e, fn, &p, x);
  val low = emit_pieces(e, fn, &p, vq_lanes_part(e, x, 0, own));
  return vq_lanes_join(e, low, emit_pieces(e, fn, &p, vq_lanes_part(e, x, own, own)));
}

// ---- piecewise_int -------------------------------------------------------------

// An instruction that chooses words of a table of eight by index, if there is one for
// `lanes`: of words, from VQ_CURVE_READ bytes at most, or of bytes.
typedef struct chooser {
  const char *words, *bytes;
} chooser;

static chooser chooser_of(const vq_target *t, unsigned lanes) {
  bool wide = t->vector_bits == 512;
  switch (t->vector_bits >= 256 ? lanes : 0) {
    case 8: return (chooser){NULL, "llvm.x86.ssse3.pshuf.b.128"};
    case 16: return wide ? (chooser){"llvm.x86.avx512.permvar.hi.256", NULL}
                         : (chooser){NULL, "llvm.x86.avx2.pshuf.b"};
    case 32: return wide ? (chooser){"llvm.x86.avx512.permvar.hi.512", NULL} : (chooser){0};
    default: return (chooser){0};
  }
}

// Both bytes of word p >> 12 of a table of bytes, of which there are eight.
static val byte_pairs(const vq_emit *e, val p) {
  LLVMTypeRef type = LLVMTypeOf(p);
  val i = LLVMBuildAnd(e->b, p, vq_ki_like(type, 0x7000), "");
  i = vq_word_mulhu(e, i, vq_ki_like(type, 0x2020));  // times 0x0202 / 0x1000
  return LLVMBuildOr(e->b, i, vq_ki_like(type, 0x0100), "");
}

// Coefficients `row` of the pieces, by what the chooser takes, or by `index`.
static val curve_row(const vq_emit *e, val at, unsigned row, val index, const chooser *c) {
  LLVMTypeRef type = LLVMTypeOf(index), word = LLVMInt16TypeInContext(e->lc);
  unsigned lanes = vq_lanes_of(type);
  at = vq_atk(e, e->i32, at, row * VQ_CURVE_ROW);
  if (c->words) {
    val arg[] = {vq_load_fixed(e, type, at, 2), index};
    return vq_intrinsic(e, c->words, NULL, 0, arg, 2);
  }
  if (c->bytes) {
    LLVMTypeRef bytes = LLVMVectorType(e->i8, 2 * lanes);
    val t = vq_load_fixed(e, LLVMVectorType(word, VQ_CURVE_PIECES), at, 2);
    if (lanes > VQ_CURVE_PIECES) t = vq_lanes_join(e, t, t);
    val arg[] = {LLVMBuildBitCast(e->b, t, bytes, ""), LLVMBuildBitCast(e->b, index, bytes, "")};
    return LLVMBuildBitCast(e->b, vq_intrinsic(e, c->bytes, NULL, 0, arg, 2), type, "");
  }
  val y = LLVMGetPoison(type);
  for (unsigned l = 0; l < lanes; l++) {
    val i = lanes > 1 ? LLVMBuildExtractElement(e->b, index, vq_k64(e, l), "") : index;
    i = LLVMBuildZExt(e->b, i, e->i64, "");
    val v = vq_load_fixed(e, word, vq_at(e, word, at, i), 2);
    y = lanes > 1 ? LLVMBuildInsertElement(e->b, y, v, vq_k64(e, l), "") : v;
  }
  return y;
}

static val emit_piecewise_int(const vq_emit *e, const vq_op *op, val *in) {
  val x = in[0];
  LLVMTypeRef type = LLVMTypeOf(x);
  val at = vq_numbers_at(e, op), none = LLVMConstNull(type);
  chooser choose = chooser_of(e->target, vq_lanes_of(type));
  val abs[] = {x, LLVMConstNull(LLVMInt1TypeInContext(e->lc))};
  val limit[] = {vq_intrinsic(e, "llvm.abs", &type, 1, abs, 2), in[1]};
  val t = vq_intrinsic(e, "llvm.umin", &type, 1, limit, 2);
  val last[] = {vq_word_mulhu(e, LLVMBuildMul(e->b, t, in[2], ""), in[3]),
                vq_ki_like(type, VQ_CURVE_LAST)};
  val p = vq_intrinsic(e, "llvm.umin", &type, 1, last, 2);
  val i = LLVMBuildAdd(e->b, p, vq_ki_like(type, 1 << 11), "");
  val d = LLVMBuildShl(e->b, p, vq_ki_like(type, 4), "");
  i = choose.bytes ? byte_pairs(e, i) : LLVMBuildLShr(e->b, i, vq_ki_like(type, 12), "");
  val y = curve_row(e, at, VQ_CURVE_TERMS - 1, i, &choose);
  for (unsigned row = VQ_CURVE_TERMS - 1; row-- > 0;)
    y = LLVMBuildAdd(e->b, curve_row(e, at, row, i, &choose), vq_word_mulhrs(e, d, y), "");
  val most[] = {x, none};
  return add_words(e, vq_intrinsic(e, "llvm.smax", &type, 1, most, 2),
                   vq_word_mulhrs(e, y, in[4]));
}

val vq_quant_emit(const vq_emit *e, const vq_op *op, val *in) {
  switch (op->code) {
    case VQ_OP_quantize: return emit_quantize(e, op, in);
    case VQ_OP_requantize: return emit_requantize(e, op, in);
    case VQ_OP_dequantize: return emit_dequantize(e, op, in);
    case VQ_OP_fake_quant: return emit_fake_quant(e, op, in);
    case VQ_OP_piecewise: return emit_piecewise(e, op, in[0]);
    case VQ_OP_piecewise_int: return emit_piecewise_int(e, op, in);
    case VQ_OP_rescale: return emit_rescale(e, op, in);
    default: VQ_BUG("%s is no quantizer", vq_op_info(op->code)->name);
  }
}

// ---- probabilities -------------------------------------------------------------

// Bytes 2^i, and 0 for i of 8 to 15: pshufb takes 0 for what is negative as well. A word
// gets both bytes of 2^i, the low one by i, the high one by i - 8.
static val byte_powers(const vq_emit *e, val n, int32_t top) {
  LLVMTypeRef words = LLVMTypeOf(n);
  val power[32], add[32], low[32];
  for (unsigned i = 0; i < 32; i++) {
    power[i] = LLVMConstInt(e->i8, i % 16 < 8 ? 1u << i % 16 : 0, false);
    add[i] = LLVMConstInt(e->i8, (unsigned long long)(top - (i % 2 ? 8 : 0)), true);
    low[i] = LLVMConstInt(e->i32, i / 2 * 2, false);
  }
  n = LLVMBuildBitCast(e->b, n, LLVMVectorType(e->i8, 32), "");
  n = LLVMBuildShuffleVector(e->b, n, n, LLVMConstVector(low, 32), "");
  n = LLVMBuildAdd(e->b, n, LLVMConstVector(add, 32), "");
  val arg[] = {LLVMConstVector(power, 32), n};
  return LLVMBuildBitCast(e->b, vq_intrinsic(e, "llvm.x86.avx2.pshuf.b", NULL, 0, arg, 2),
                          words, "");
}

// The same of words in a register, which are chosen by the low five bits of n.
static val word_powers(const vq_emit *e, val n, int32_t top) {
  LLVMTypeRef word = vq_elem_type(LLVMTypeOf(n));
  val power[32];
  for (int32_t i = 0; i < 32; i++) {
    int32_t at = top + (i ? i - 32 : 0);
    power[i] = LLVMConstInt(word, at < 0 ? 0 : 1u << at, false);
  }
  val arg[] = {LLVMConstVector(power, VQ_COUNT(power)), n};
  return vq_intrinsic(e, "llvm.x86.avx512.permvar.hi.512", NULL, 0, arg, 2);
}

// 2^(top + n) as words, 0 where that is no integer; -16 <= n <= 0.
static val powers(const vq_emit *e, val n, int32_t top) {
  LLVMTypeRef words = LLVMTypeOf(n);
  unsigned bits = vq_lanes_of(words) * 16;
  if (bits == 512 && e->target->vector_bits == 512) return word_powers(e, n, top);
  if (bits == 256 && e->target->vector_bits == 256) return byte_powers(e, n, top);
  // The upper half of that power as f32, 7 bits of its fraction below the exponent.
  n = LLVMBuildShl(e->b, n, vq_ki_like(words, 7), "");
  n = LLVMBuildAdd(e->b, n, vq_ki_like(words, (127 + top) << 7), "");
  LLVMTypeRef ints = lanes_of(e->i32, n);
  n = LLVMBuildShl(e->b, LLVMBuildZExt(e->b, n, ints, ""), vq_ki_like(ints, 16), "");
  n = LLVMBuildBitCast(e->b, n, lanes_of(e->f32, n), "");
  return vq_word_pack_i32(e, LLVMBuildFPToSI(e->b, n, ints, ""));
}

// The integer nearest to D / VQ_EXP2_STEPS.
static val octave(const vq_emit *e, val d) {
  LLVMTypeRef words = LLVMTypeOf(d);
  if (vq_word_has_mulhrs(e, d)) return vq_word_mulhrs(e, d, vq_ki_like(words, 1 << 4));
  d = LLVMBuildAdd(e->b, d, vq_ki_like(words, VQ_EXP2_STEPS / 2), "");
  return LLVMBuildAShr(e->b, d, vq_ki_like(words, 11), "");
}

// vq/exp2.h.
static val code_by_level(const vq_emit *e, val d, int64_t levels) {
  vq_exp2 p = vq_exp2_of(levels);
  d = vq_word_round(e, d);
  LLVMTypeRef words = LLVMTypeOf(d);
  val f = LLVMBuildShl(e->b, d, vq_ki_like(words, 5), ""), y = vq_ki_like(words, p.c[3]);
  for (unsigned i = 3; i-- > 0;)
    y = LLVMBuildAdd(e->b, vq_word_mulhrs(e, f, y), vq_ki_like(words, p.c[i]), "");
  return vq_word_mulhrs(e, y, powers(e, octave(e, d), p.top));
}

// Weight `i` of a table, 0 behind its end.
static float weight_at(const vq_attrs_attention_int *a, unsigned i) {
  return i < a->table.n ? (float)a->table.p[i] : 0;
}

static val code_by_table(const vq_emit *e, const vq_quant_prob *p, val d) {
  const vq_attrs_attention_int *a = p->attrs;
  val t = at_most(e, mul(e, d, kf(d, -(double)a->rate)), kf(d, a->table.n));
  LLVMTypeRef ints = lanes_of(e->i32, d);
  val i = rounded_bits(e, at_least(e, t, kf(d, 0))), w;
  i = LLVMBuildSub(e->b, i, vq_ki_like(ints, MAGIC_BITS), "");
  if (is_zmm(e, d) && a->table.n < 32) {
    float half[32];
    for (unsigned k = 0; k < 32; k++) half[k] = weight_at(a, k);
    w = permute_table(e, half, i);
  } else {
    w = look_up(e, p->table, i);
  }
  return LLVMBuildFPToSI(e->b, w, ints, "");
}

vq_quant_prob vq_quant_prob_of(const vq_emit *e, const vq_attrs_attention_int *a) {
  vq_quant_prob p = {.attrs = a, .lanes = vq_f32_lanes(e->target) * (a->table.n ? 1 : 2)};
  val w[257];
  if (!a->table.n) return p;
  for (unsigned i = 0; i <= a->table.n; i++) w[i] = vq_kf32(e, weight_at(a, i));
  p.table = memory_of(e, "vqk_weights", w, a->table.n + 1);
  return p;
}

val vq_quant_prob_code(const vq_emit *e, const vq_quant_prob *p, val d) {
  return p->attrs->table.n ? code_by_table(e, p, d)
                           : code_by_level(e, d, p->attrs->levels);
}

// ---- layer_norm ----------------------------------------------------------------

void vq_quant_norm(const vq_emit *e, val sum, val square, int64_t n, val eps,
                   val *mean, val *inv) {
  LLVMTypeRef f64 = LLVMDoubleTypeInContext(e->lc);
  val count = LLVMConstReal(f64, (double)n);
  val var = LLVMBuildSub(e->b, vq_mulk(e, square, n), vq_mul(e, sum, sum), "");
  var = LLVMBuildSIToFP(e->b, var, f64, "");
  var = LLVMBuildFDiv(e->b, var, LLVMConstReal(f64, (double)n * (double)n), "");
  var = LLVMBuildFAdd(e->b, var, LLVMBuildFPExt(e->b, eps, f64, ""), "");
  val root = vq_intrinsic(e, "llvm.sqrt", &f64, 1, &var, 1);
  val one = LLVMConstReal(f64, 1);
  *inv = LLVMBuildFPTrunc(e->b, LLVMBuildFDiv(e->b, one, root, ""), e->f32, "");
  val s = LLVMBuildSIToFP(e->b, sum, f64, "");
  *mean = LLVMBuildFPTrunc(e->b, LLVMBuildFDiv(e->b, s, count, ""), e->f32, "");
}
