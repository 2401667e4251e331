// Operands and probabilities of attention of codes. See heads_int.h.
#include "heads_int.h"

#include <float.h>

#include "loop.h"
#include "numbers.h"
#include "words.h"

// ---- operands ------------------------------------------------------------------

static bool is_centred(const vq_view *v, int64_t zero) {
  vq_dtype t = v->base->type->dtype;
  return (t == VQ_i8 && zero == 0) || (t == VQ_u8 && zero == 128);
}

bool vq_heads_int_match(const vq_func *kernel, vq_heads_int *a) {
  memset(a, 0, sizeof *a);
  if (!vq_heads_match(kernel, VQ_OP_attention_int, &a->s)) return false;
  const vq_heads *s = &a->s;
  vq_dtype q = s->q.base->type->dtype;
  a->attrs = VQ_ATTRS(s->op, attention_int);
  return (q == VQ_u8 || q == VQ_i8) && is_centred(&s->k, a->attrs->k_zero) &&
         is_centred(&s->v, a->attrs->v_zero) && s->d > 0 && s->e > 0 && s->d <= 1 << 14 &&
         s->m <= (1 << 24) / a->attrs->levels;
}

void vq_heads_int_begin(const vq_emit *e, vq_heads_int *a) {
  a->lanes = vq_f32_lanes(e->target);
  a->prob = vq_quant_prob_of(e, a->attrs);
}

LLVMValueRef vq_heads_int_as(const vq_emit *e, vq_dtype type, vq_dtype want, LLVMValueRef x) {
  if (type == want) return x;
  LLVMTypeRef t = LLVMTypeOf(x);
  bool bytes = vq_elem_type(t) == e->i8;
  return LLVMBuildXor(e->b, x, vq_ki_like(t, bytes ? -128 : (int32_t)0x80808080), "");
}

// ---- probabilities -------------------------------------------------------------

// What the two sweeps over one row of scores share.
typedef struct score_row {
  const vq_heads_int *a;
  LLVMValueRef scores, codes, bias, max;
} score_row;

// Without a bias numbers are in the order of their sums.
static bool max_of_sums(const vq_heads_int *a) {
  return !a->s.bias && a->attrs->scale > 0 && a->attrs->scale <= FLT_MAX;
}

static LLVMValueRef scaled(const vq_emit *e, const vq_heads_int *a, LLVMValueRef sum) {
  LLVMTypeRef type = vq_vec_type(e->f32, vq_lanes_of(LLVMTypeOf(sum)));
  LLVMValueRef scale = vq_splat(e, vq_number(e, a->s.op), vq_lanes_of(type));
  return LLVMBuildFMul(e->b, LLVMBuildSIToFP(e->b, sum, type, ""), scale, "");
}

static LLVMValueRef max_ints(const vq_emit *e, LLVMValueRef a, LLVMValueRef b) {
  LLVMValueRef more = LLVMBuildICmp(e->b, LLVMIntSGT, a, b, "");
  return LLVMBuildSelect(e->b, more, a, b, "");
}

static void max_sum_step(const vq_emit *e, void *user, LLVMValueRef col,
                         unsigned lanes, unsigned n, LLVMValueRef *v) {
  const score_row *r = user;
  LLVMTypeRef type = vq_vec_type(e->i32, lanes);
  LLVMValueRef s = vq_load(e, type, vq_at(e, e->i32, r->scores, col), 4);
  if (n < lanes)
    s = LLVMBuildSelect(e->b, vq_lane_mask(e, lanes, n), s,
                        vq_ki_like(LLVMTypeOf(s), INT32_MIN), "");
  v[0] = max_ints(e, s, v[0]);
}

static void max_step(const vq_emit *e, void *user, LLVMValueRef col,
                     unsigned lanes, unsigned n, LLVMValueRef *v) {
  const score_row *r = user;
  LLVMTypeRef type = vq_vec_type(e->f32, lanes);
  LLVMValueRef p = vq_at(e, e->f32, r->scores, col);
  LLVMValueRef s = scaled(e, r->a, vq_load(e, vq_vec_type(e->i32, lanes), p, 4));
  if (r->bias)
    s = LLVMBuildFAdd(e->b, s, vq_load_n(e, type, vq_at(e, e->f32, r->bias, col), 4, n),
                      "");
  vq_store(e, s, p, 4);
  if (n < lanes)
    s = LLVMBuildSelect(e->b, vq_lane_mask(e, lanes, n), s,
                        vq_kf_like(type, -INFINITY), "");
  v[0] = vq_combine_max(e, s, v[0]);
}

// Codes of probabilities as i16 or i8. A whole register of AVX2 packs as if they could be
// anything, elsewhere to cut them off is one instruction.
static LLVMValueRef code_as(const vq_emit *e, LLVMValueRef p, LLVMTypeRef elem) {
  LLVMTypeRef type = vq_vec_type(elem, vq_lanes_of(LLVMTypeOf(p)));
  bool words = LLVMTypeOf(p) != type && vq_elem_type(LLVMTypeOf(p)) != e->i32;
  if (words && e->target->vector_bits == 256) return vq_word_pack_u8(e, p);
  return LLVMBuildTrunc(e->b, p, type, "");
}

static void code_step(const vq_emit *e, void *user, LLVMValueRef col,
                      unsigned lanes, unsigned n, LLVMValueRef *v) {
  const score_row *r = user;
  bool sums = max_of_sums(r->a);
  LLVMTypeRef type = vq_vec_type(sums ? e->i32 : e->f32, lanes);
  LLVMValueRef s = vq_load(e, type, vq_at(e, e->f32, r->scores, col), 4);
  if (sums) s = scaled(e, r->a, s);
  s = LLVMBuildFSub(e->b, s, vq_splat(e, r->max, lanes), "");
  LLVMValueRef p = vq_quant_prob_code(e, &r->a->prob, s);
  LLVMTypeRef code = r->a->wide ? LLVMInt16TypeInContext(e->lc) : e->i8;
  vq_store(e, code_as(e, p, code), vq_at(e, code, r->codes, col), 1);
  if (n < lanes)
    p = LLVMBuildSelect(e->b, vq_lane_mask(e, lanes, n), p,
                        LLVMConstNull(LLVMTypeOf(p)), "");
  p = vq_quant_widen(e, VQ_u8, p, vq_elem_type(LLVMTypeOf(v[0])));
  v[0] = LLVMBuildAdd(e->b, v[0], p, "");
}

static LLVMValueRef add_ints(const vq_emit *e, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildAdd(e->b, a, b, "");
}

static score_row score_row_at(const vq_emit *e, const vq_heads_int *a, LLVMValueRef i) {
  return (score_row){
      .a = a,
      .scores = vq_at(e, e->f32, a->scores, vq_mulk(e, i, a->s.m_pad)),
      .codes = vq_at(e, e->i32, a->codes, vq_mulk(e, i, a->code_row)),
      .bias = vq_heads_bias(e, &a->s, vq_add(e, a->row, i))};
}

// Sums of the codes of a row, lane by lane: words where these hold them.
static LLVMTypeRef code_sums(const vq_emit *e, const vq_heads_int *a) {
  unsigned lanes = a->prob.lanes;
  int64_t most = (a->s.m + lanes - 1) / lanes * a->attrs->levels;
  bool words = !a->prob.table && most <= UINT16_MAX;
  return vq_vec_type(words ? LLVMInt16TypeInContext(e->lc) : e->i32, lanes);
}

LLVMValueRef vq_heads_int_max(const vq_emit *e, const vq_heads_int *a, LLVMValueRef i) {
  score_row r = score_row_at(e, a, i);
  LLVMValueRef max;
  if (max_of_sums(a)) {
    max = vq_ki_like(vq_vec_type(e->i32, a->lanes), INT32_MIN);
    vq_row_each(e, a->s.m, a->lanes, max_sum_step, &r, 1, &max);
    return scaled(e, a, vq_reduce(e, max, max_ints));
  }
  max = vq_kf_like(vq_vec_type(e->f32, a->lanes), -INFINITY);
  vq_row_each(e, a->s.m, a->lanes, max_step, &r, 1, &max);
  return vq_reduce(e, max, vq_combine_max);
}

LLVMValueRef vq_heads_int_code(const vq_emit *e, const vq_heads_int *a, LLVMValueRef i,
                               LLVMValueRef max) {
  score_row r = score_row_at(e, a, i);
  LLVMValueRef sum = LLVMConstNull(code_sums(e, a));
  r.max = max;
  vq_row_each(e, a->s.m, a->prob.lanes, code_step, &r, 1, &sum);
  return vq_reduce(e, vq_quant_widen(e, VQ_u8, sum, e->i32), add_ints);
}
