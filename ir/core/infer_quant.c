// Type inference of quantizers and of the ops on codes.
#include "core/infer.h"

#include "eval/eval_ops.h"
#include "vq/exp2.h"
#include "vq/piecewise.h"
#include "vq/strbuf.h"

#define ATTRS(op) const vq_attrs_##op *a = r->attrs

// The shape of x broadcast with all further operands.
static vq_status shape_of_all(vq_rule *r, unsigned *rank, int64_t *dim) {
  vq_type y = *vq_rule_in(r, 0);
  for (unsigned i = 1; i < r->n_in; i++) {
    if (!vq_broadcast(&y, vq_rule_in(r, i), rank, dim))
      return vq_rule_bad(r, VQ_E_shape, i, "which does not broadcast with x");
    y.rank = (uint8_t)*rank;
    memcpy(y.dim, dim, *rank * sizeof *dim);
  }
  *rank = y.rank;
  memcpy(dim, y.dim, y.rank * sizeof *dim);
  return VQ_OK;
}

static vq_status eltwise(vq_rule *r, vq_dtype to) {
  int64_t dim[VQ_MAX_RANK];
  unsigned rank;
  if (r->n_in > 2 && vq_rule_in(r, 2)->dtype != VQ_f32 &&
      vq_rule_dtype(r, 2, VQ_i16))
    return VQ_ERR;
  if (shape_of_all(r, &rank, dim)) return VQ_ERR;
  return vq_rule_result(r, to, rank, dim);
}

// lo <= hi, both codes of `t`.
static vq_status check_range(vq_rule *r, vq_dtype t, int64_t lo, int64_t hi) {
  int64_t least, most;
  vq_int_range(t, &least, &most);
  if (lo < least || lo > hi)
    return vq_rule_bad_attr(r, "lo", "is %lld, expected %lld to hi",
                            (long long)lo, (long long)least);
  if (hi > most)
    return vq_rule_bad_attr(r, "hi", "is %lld, expected at most %lld",
                            (long long)hi, (long long)most);
  return VQ_OK;
}

// The result as codes of `q`.
static vq_status coded(vq_rule *r, const vq_quant *q, vq_dtype to, int64_t lo, int64_t hi) {
  if (q->store != to || q->lo != lo || q->hi != hi)
    return vq_rule_bad_attr(r, "q", "is @%.*s of %s codes %d to %d, expected %s codes %lld"
                            " to %lld", VQ_FMT(q->name), vq_dtype_name(q->store), q->lo,
                            q->hi, vq_dtype_name(to), (long long)lo, (long long)hi);
  if (eltwise(r, to)) return VQ_ERR;
  if (r->n_out > r->max_out) return VQ_OK;
  const vq_type **y = &r->out[r->n_out - 1];
  int axis = vq_quant_axis(q, (*y)->rank);
  if (axis == VQ_MAX_RANK || q->n != (axis < 0 ? 1 : (*y)->dim[axis]))
    return vq_rule_bad_attr(r, "q", "is @%.*s of %u scales, which do not fit the result",
                            VQ_FMT(q->name), q->n);
  *y = vq_type_with(r->m->ctx, *y, q);
  return VQ_OK;
}

static vq_status to_codes(vq_rule *r, vq_str name, int64_t lo, int64_t hi,
                          const vq_quant *q, bool folded, int64_t fine) {
  vq_dtype to;
  if (!vq_dtype_parse(name, &to) || (to != VQ_u8 && to != VQ_i8 && to != VQ_i16))
    return vq_rule_bad_attr(r, "to", "is '%.*s', expected u8, i8 or i16",
                            VQ_FMT(name));
  if (check_range(r, to, lo, hi) || vq_rule_fine(r, to, fine)) return VQ_ERR;
  if (!q && folded) return vq_rule_bad_attr(r, "folded", "is true, but there is no q");
  return q ? coded(r, q, to, lo, hi) : eltwise(r, to);
}

vq_status vq_infer_quantize(vq_rule *r) {
  ATTRS(quantize);
  return to_codes(r, a->to, a->lo, a->hi, a->q, a->folded, a->fine);
}

vq_status vq_infer_requantize(vq_rule *r) {
  ATTRS(requantize);
  if (vq_rule_max_bits(r, 0, 32)) return VQ_ERR;
  return to_codes(r, a->to, a->lo, a->hi, a->q, a->folded, 0);
}

vq_status vq_infer_dequantize(vq_rule *r) {
  ATTRS(dequantize);
  if (vq_rule_max_bits(r, 0, 32) || vq_rule_fine(r, vq_rule_in(r, 0)->dtype, a->fine))
    return VQ_ERR;
  return eltwise(r, VQ_f32);
}

vq_status vq_infer_fake_quant(vq_rule *r) {
  ATTRS(fake_quant);
  if (check_range(r, VQ_i16, a->lo, a->hi) || vq_rule_fine(r, VQ_i16, a->fine)) return VQ_ERR;
  return eltwise(r, VQ_f32);
}

static vq_status bad_function(vq_rule *r, vq_str fn) {
  return vq_rule_bad_attr(r, "fn", "is '%.*s', expected gelu, gelu_tanh, gelu_sigmoid or silu",
                          VQ_FMT(fn));
}

vq_status vq_infer_piecewise(vq_rule *r) {
  ATTRS(piecewise);
  const vq_type *x = vq_rule_in(r, 0);
  vq_piecewise table;
  if (!vq_piecewise_of(a->fn, &table)) return bad_function(r, a->fn);
  return vq_rule_result(r, VQ_f32, x->rank, x->dim);
}

static vq_status all_words(vq_rule *r) {
  for (unsigned i = 0; i < r->n_in; i++)
    if (vq_rule_dtype(r, i, VQ_i16)) return VQ_ERR;
  return VQ_OK;
}

vq_status vq_infer_piecewise_int(vq_rule *r) {
  ATTRS(piecewise_int);
  double least, most;
  vq_curve curve;
  if (all_words(r)) return VQ_ERR;
  if (!vq_curve_steps(a->fn, &least, &most)) return bad_function(r, a->fn);
  if (!vq_curve_of(a->fn, a->step, &curve))
    return vq_rule_bad_attr(r, "step", "is %g, expected %g to %g", (double)a->step, least, most);
  return eltwise(r, VQ_i16);
}

vq_status vq_infer_rescale(vq_rule *r) {
  ATTRS(rescale);
  if (all_words(r)) return VQ_ERR;
  if (a->shift < 0 || a->shift > 15)
    return vq_rule_bad_attr(r, "shift", "is %lld, expected 0 to 15", (long long)a->shift);
  return to_codes(r, a->to, a->lo, a->hi, a->q, false, a->fine);
}

// A table of weights by code; no weight is above a byte, the first is not 0.
static vq_status check_table(vq_rule *r, const vq_attrs_attention_int *a) {
  if (!a->table.n) return VQ_OK;
  if (!(a->rate > 0) || a->rate > 256)
    return vq_rule_bad_attr(r, "rate", "is %g, expected above 0 to 256",
                            (double)a->rate);
  if (a->table.n > 256)
    return vq_rule_bad_attr(r, "table", "has %u elements, expected at most 256",
                            (unsigned)a->table.n);
  for (uint32_t i = 0; i < a->table.n; i++)
    if (a->table.p[i] < (i == 0) || a->table.p[i] > 255)
      return vq_rule_bad_attr(r, "table", "has %lld as element %u, expected %d to 255",
                              (long long)a->table.p[i], (unsigned)i, i == 0);
  return VQ_OK;
}

vq_status vq_infer_attention_int(vq_rule *r) {
  ATTRS(attention_int);
  for (unsigned i = 0; i < 3; i++)
    if (vq_rule_max_bits(r, i, 8)) return VQ_ERR;
  int most = a->table.n ? 255 : (1 << VQ_EXP2_BITS) - 1;
  if (a->levels < 1 || a->levels > most)
    return vq_rule_bad_attr(r, "levels", "is %lld, expected 1 to %d", (long long)a->levels, most);
  if (check_table(r, a)) return VQ_ERR;
  const struct {
    const char *name;
    int64_t zero;
  } zero[] = {{"q_zero", a->q_zero}, {"k_zero", a->k_zero}, {"v_zero", a->v_zero}};
  for (unsigned i = 0; i < VQ_COUNT(zero); i++)
    if (zero[i].zero < -128 || zero[i].zero > 255)
      return vq_rule_bad_attr(r, zero[i].name, "is %lld, expected -128 to 255",
                              (long long)zero[i].zero);
  return vq_rule_heads(r, a->heads, a->scale);
}
