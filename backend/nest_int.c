// Rows of codes in the generic emitter: linear, patch_embed, layer_norm of i16
// and attention_int, one element at a time. So are linear and patch_embed of floats whose
// weights are of bf16, or packed for other types.
//
// This is the code for what the blocked emitters refuse, and the one they are
// tested against; sums that could leave i32 are kept in i64.
#include "bf16.h"
#include "elt.h"
#include "loop.h"
#include "nest.h"
#include "numbers.h"
#include "quant.h"

typedef LLVMValueRef val;

// Element `flat` of integer tensor `v` as i32, or i64 with `wide`.
static val code_at(const vq_emit *e, const vq_value *v, val flat, bool wide) {
  return vq_quant_widen(e, v->type->dtype, vq_nest_load(e, v, flat),
                        wide ? e->i64 : e->i32);
}

// ---- linear and patch_embed ----------------------------------------------------

typedef struct row {
  const vq_op *op;
  vq_str layout;
  int64_t n_in, n_out;
  val task;
} row;

// Offset of the weight of output `o` and input `i`.
static val weight_at(const vq_emit *e, const row *r, val o, val i) {
  if (vq_str_is(r->layout, "oi"))
    return vq_add(e, vq_mulk(e, o, r->n_in), i);
  val panel = vq_divk(e, o, 16), lane = vq_modk(e, o, 16);
  if (vq_str_is(r->layout, "panel16")) {
    val k = vq_add(e, vq_mulk(e, panel, r->n_in), i);
    return vq_add(e, vq_mulk(e, k, 16), lane);
  }
  int64_t unit = vq_str_is(r->layout, "panel16x2")   ? 2
                 : vq_str_is(r->layout, "panel16x4") ? 4
                                                     : 8;
  val k = vq_mulk(e, panel, (r->n_in + unit - 1) / unit);
  k = vq_add(e, k, vq_divk(e, i, unit));
  k = vq_mulk(e, vq_add(e, vq_mulk(e, k, 16), lane), unit);
  if (unit < 8) return vq_add(e, k, vq_modk(e, i, unit));
  val half = vq_modk(e, vq_divk(e, i, 4), 2);
  return vq_add(e, k, vq_add(e, vq_mulk(e, vq_modk(e, i, 4), 2), half));
}

// Offset of input `i` of the task in a picture: i runs over (c, u, v).
static val patch_at(const vq_emit *e, const row *r, val i) {
  const int64_t *p = VQ_ATTRS(r->op, patch_embed)->patch.p;
  const vq_type *t = vq_in(r->op, 0)->type;
  int64_t per_row = t->dim[3] / p[1], n = t->dim[2] / p[0] * per_row;
  val patch = vq_modk(e, r->task, n), line = vq_divk(e, i, p[1]);
  val y = vq_add(e, vq_mulk(e, vq_divk(e, patch, per_row), p[0]),
                 vq_modk(e, line, p[0]));
  val x = vq_add(e, vq_mulk(e, vq_modk(e, patch, per_row), p[1]),
                 vq_modk(e, i, p[1]));
  val idx[] = {vq_divk(e, r->task, n), vq_divk(e, line, p[0]), y, x};
  return vq_nest_flatten(e, t, idx, 4);
}

// sum + x[x_at] w[w_at]
static val add_term(const vq_emit *e, const row *r, val x_at, val w_at, val sum) {
  const vq_value *x = vq_in(r->op, 0), *w = vq_in(r->op, 1);
  if (x->type->dtype != VQ_f32) {
    val term = LLVMBuildMul(e->b, code_at(e, x, x_at, false), code_at(e, w, w_at, false), "");
    return LLVMBuildAdd(e->b, sum, term, "");
  }
  val a = vq_nest_load(e, x, x_at), b = vq_nest_load(e, w, w_at);
  if (w->type->dtype == VQ_bf16)
    a = vq_bf16_widen(e, vq_bf16_round(e, a)), b = vq_bf16_widen(e, b);
  return vq_fma(e, a, b, sum);
}

// `sum` of codes with `fine` bits behind the point, rounded to whole ones.
static val whole(const vq_emit *e, val sum, int64_t fine) {
  LLVMTypeRef type = LLVMTypeOf(sum);
  sum = LLVMBuildAdd(e->b, sum, vq_ki_like(type, INT64_C(1) << (fine - 1)), "");
  return LLVMBuildAShr(e->b, sum, vq_ki_like(type, fine), "");
}

static val element(const vq_emit *e, const row *r, val o, val start) {
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), vq_k64(e, r->n_in), 1, 1, &start);
  val at = r->op->code == VQ_OP_linear
               ? vq_add(e, vq_mulk(e, r->task, r->n_in), l.i)
               : patch_at(e, r, l.i);
  l.v[0] = add_term(e, r, at, weight_at(e, r, o, l.i), l.v[0]);
  vq_loop_end(e, &l);
  return l.v[0];
}

void vq_nest_any_row(const vq_emit *e, const vq_op *op, vq_str layout,
                     int64_t n_in, val task) {
  const vq_value *y = &op->out[0], *b = vq_in_opt(op, 2);
  row r = {op, layout, n_in, y->type->dim[y->type->rank - 1], task};
  int64_t fine = op->code == VQ_OP_linear ? VQ_ATTRS(op, linear)->fine : 0;
  vq_loop o;
  vq_loop_range(e, &o, r.n_out, 1);
  val none = LLVMConstNull(vq_elt_type(e, y->type->dtype, 1));
  val bias = b ? vq_nest_load(e, b, o.i) : none;
  val sum = element(e, &r, o.i, fine ? none : bias);
  if (fine) sum = LLVMBuildAdd(e->b, whole(e, sum, fine), bias, "");
  vq_nest_store(e, y, vq_add(e, vq_mulk(e, task, r.n_out), o.i), sum);
  vq_loop_end(e, &o);
}

// ---- layer_norm ----------------------------------------------------------------

void vq_nest_int_norm(const vq_emit *e, const vq_op *op, val task) {
  const vq_value *x = vq_in(op, 0), *gamma = vq_in_opt(op, 1),
                 *beta = vq_in_opt(op, 2);
  int64_t n = x->type->dim[x->type->rank - 1];
  val at = vq_mulk(e, task, n), sums[] = {vq_k64(e, 0), vq_k64(e, 0)};
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), vq_k64(e, n), 1, 2, sums);
  val v = code_at(e, x, vq_add(e, at, l.i), true);
  l.v[0] = vq_add(e, l.v[0], v);
  l.v[1] = vq_add(e, l.v[1], vq_mul(e, v, v));
  vq_loop_end(e, &l);
  val mean, inv;
  vq_quant_norm(e, l.v[0], l.v[1], n, vq_number(e, op), &mean, &inv);
  vq_loop_range(e, &l, n, 1);
  val i = vq_add(e, at, l.i);
  val y = LLVMBuildSIToFP(e->b, code_at(e, x, i, false), e->f32, "");
  y = LLVMBuildFMul(e->b, LLVMBuildFSub(e->b, y, mean, ""), inv, "");
  if (gamma) y = LLVMBuildFMul(e->b, y, vq_nest_load(e, gamma, l.i), "");
  if (beta) y = LLVMBuildFAdd(e->b, y, vq_nest_load(e, beta, l.i), "");
  vq_nest_store(e, &op->out[0], i, y);
  vq_loop_end(e, &l);
}

// ---- attention_int -------------------------------------------------------------

typedef struct heads {
  const vq_op *op;
  const vq_attrs_attention_int *a;
  int64_t m, d, dv;  // tokens attended to; widths of q and v per head
  val b, n, h, score;
} heads;

int64_t vq_nest_attention_int_scratch(const vq_op *op) {
  return vq_in(op, 1)->type->dim[1] * (int64_t)sizeof(float);
}

// Element (b, n, h * d + c) of operand `v`, less `zero`.
static val head_code(const vq_emit *e, const heads *a, const vq_value *v, val n,
                     val c, int64_t d, int64_t zero) {
  val idx[] = {a->b, n, vq_add(e, vq_mulk(e, a->h, d), c)};
  val x = code_at(e, v, vq_nest_flatten(e, v->type, idx, 3), true);
  return vq_addk(e, x, -zero);
}

// q . k[j], exact.
static val score(const vq_emit *e, const heads *a, val j) {
  val zero = vq_k64(e, 0);
  vq_loop l;
  vq_loop_begin(e, &l, zero, vq_k64(e, a->d), 1, 1, &zero);
  val q = head_code(e, a, vq_in(a->op, 0), a->n, l.i, a->d, a->a->q_zero);
  val k = head_code(e, a, vq_in(a->op, 1), j, l.i, a->d, a->a->k_zero);
  l.v[0] = vq_add(e, l.v[0], vq_mul(e, q, k));
  vq_loop_end(e, &l);
  return l.v[0];
}

// Scaled scores to scratch; returns the largest.
static val scores(const vq_emit *e, const heads *a) {
  const vq_value *bias = vq_in_opt(a->op, 3);
  val most = vq_kf32(e, -INFINITY);
  vq_loop j;
  vq_loop_begin(e, &j, vq_k64(e, 0), vq_k64(e, a->m), 1, 1, &most);
  val t = LLVMBuildSIToFP(e->b, score(e, a, j.i), e->f32, "");
  t = LLVMBuildFMul(e->b, t, vq_number(e, a->op), "");
  if (bias) {
    val idx[] = {vq_modk(e, a->b, bias->type->dim[0]),
                 vq_modk(e, a->h, bias->type->dim[1]), a->n, j.i};
    val x = vq_nest_load(e, bias, vq_nest_flatten(e, bias->type, idx, 4));
    t = LLVMBuildFAdd(e->b, t, x, "");
  }
  vq_elt_store(e, VQ_f32, t, a->score, j.i, 1);
  j.v[0] = vq_combine_max(e, t, j.v[0]);
  vq_loop_end(e, &j);
  return j.v[0];
}

// Scores to codes of i32, in place; returns f32(1 / their sum).
static val codes(const vq_emit *e, const heads *a, val most) {
  val zero = vq_k64(e, 0);
  LLVMTypeRef f64 = LLVMDoubleTypeInContext(e->lc);
  vq_quant_prob prob = vq_quant_prob_of(e, a->a);
  vq_loop j;
  vq_loop_begin(e, &j, zero, vq_k64(e, a->m), 1, 1, &zero);
  val t = vq_elt_load(e, VQ_f32, a->score, j.i, 1, 1);
  val p = vq_quant_prob_code(e, &prob, LLVMBuildFSub(e->b, t, most, ""));
  p = vq_quant_widen(e, VQ_u8, p, e->i32);
  vq_elt_store(e, VQ_i32, p, a->score, j.i, 1);
  j.v[0] = vq_add(e, j.v[0], LLVMBuildSExt(e->b, p, e->i64, ""));
  vq_loop_end(e, &j);
  val sum = LLVMBuildSIToFP(e->b, j.v[0], f64, "");
  return LLVMBuildFPTrunc(e->b, LLVMBuildFDiv(e->b, LLVMConstReal(f64, 1), sum, ""),
                          e->f32, "");
}

static void output(const vq_emit *e, const heads *a, val inv) {
  const vq_value *y = &a->op->out[0];
  val zero = vq_k64(e, 0);
  vq_loop c, j;
  vq_loop_range(e, &c, a->dv, 1);
  vq_loop_begin(e, &j, zero, vq_k64(e, a->m), 1, 1, &zero);
  val p = vq_elt_load(e, VQ_i32, a->score, j.i, 1, 1);
  val v = head_code(e, a, vq_in(a->op, 2), j.i, c.i, a->dv, a->a->v_zero);
  j.v[0] = vq_add(e, j.v[0], vq_mul(e, LLVMBuildSExt(e->b, p, e->i64, ""), v));
  vq_loop_end(e, &j);
  val idx[] = {a->b, a->n, vq_add(e, vq_mulk(e, a->h, a->dv), c.i)};
  val sum = LLVMBuildSIToFP(e->b, j.v[0], e->f32, "");
  vq_nest_store(e, y, vq_nest_flatten(e, y->type, idx, 3),
                LLVMBuildFMul(e->b, sum, inv, ""));
  vq_loop_end(e, &c);
}

void vq_nest_attention_int(const vq_emit *e, const vq_op *op, val task,
                           val scratch) {
  heads a = {.op = op, .a = VQ_ATTRS(op, attention_int),
             .m = vq_in(op, 1)->type->dim[1], .score = scratch};
  val idx[VQ_MAX_RANK];
  a.d = vq_in(op, 0)->type->dim[2] / a.a->heads;
  a.dv = vq_in(op, 2)->type->dim[2] / a.a->heads;
  vq_nest_unflatten(e, op->out[0].type, 2, task, idx);
  a.b = idx[0];
  a.n = idx[1];
  vq_loop h;
  vq_loop_range(e, &h, a.a->heads, 1);
  a.h = h.i;
  output(e, &a, codes(e, &a, scores(e, &a)));
  vq_loop_end(e, &h);
}
