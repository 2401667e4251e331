// lower-int: operations that compute on codes.
#include <math.h>

#include "quant/lower_int.h"
#include "vq/eval.h"
#include "vq/exp2.h"

// ---- linear, patch_embed -----------------------------------------------------------

// The sum of codes [at, at + n).
static int64_t sum_of(vq_dtype t, const void *code, int64_t at, int64_t n) {
  int64_t sum = 0;
  if (t == VQ_i8)
    for (int64_t i = 0; i < n; i++) sum += ((const int8_t *)code)[at + i];
  else
    for (int64_t i = 0; i < n; i++) sum += vq_load_i64(t, code, at + i);
  return sum;
}

// How much larger than what they stand for codes are on average: rescale rounds what is half
// way up, which one of 2^shift is.
static double excess_of(const vq_value *q) {
  const vq_op *op = vq_quant_def(q, VQ_OP_rescale);
  if (!op) return 0;
  const vq_attrs_rescale *a = VQ_ATTRS(op, rescale);
  return a->shift ? ldexp(0.5, -(int)(a->shift + a->fine)) : 0;
}

// b / (sx sw_o) - zx * sum_i w_oi, in i32.
static vq_value *int_bias(vq_lowering *lo, const vq_op *op, const vq_coded *x,
                          const vq_coded *w) {
  int64_t n = w->q->type->dim[0], k = vq_type_count(w->q->type) / n;
  const void *code = vq_const_bytes(vq_const_of(w->q));
  const float *bias = vq_quant_bias(lo->pc, op, n);
  if (!code || !bias) return NULL;
  int32_t *b = VQ_NEW_N(lo->pc->temp, int32_t, (size_t)n);
  double sx = vq_lower_scale(x), zx = vq_lower_zero(x) + excess_of(x->q);
  for (int64_t o = 0; o < n; o++) {
    int64_t sum = sum_of(w->q->type->dtype, code, o * k, k);
    double v = (double)bias[o] / (sx * (double)vq_quant_at(w->scale, o)) - zx * (double)sum;
    b[o] = (int32_t)fmin(fmax(nearbyint(v), -0x1p30), 0x1p30);
  }
  return vq_quant_const(lo->m, op->out->name, "bias", VQ_i32, 1, &n, b);
}

bool vq_lower_linear(vq_lowering *lo, vq_op *op) {
  vq_coded x, w;
  if (!vq_lower_fine_code(vq_in(op, 0), &x) || !vq_lower_is_scalar(&x) ||
      !vq_lower_code(vq_in(op, 1), &w) || !vq_const_of(w.q) ||
      (x.fine ? op->code != VQ_OP_linear : vq_dtype_bits(x.q->type->dtype) > 8) ||
      (vq_in_opt(op, 2) && !vq_const_of(vq_in(op, 2))))
    return false;
  int64_t n = w.q->type->dim[0];
  vq_value *bias = int_bias(lo, op, &x, &w);
  vq_value *in[] = {x.q, w.q, bias}, *acc = NULL;
  if (x.fine) {
    vq_attrs_linear a = *VQ_ATTRS(op, linear);
    a.fine = x.fine;
    acc = bias ? vq_build1(&lo->b, op->code, in, 3, &a, VQ_LIT("")) : NULL;
  } else {
    acc = bias ? vq_build1(&lo->b, op->code, in, 3, op->attrs, VQ_LIT("")) : NULL;
  }
  float *mult = VQ_NEW_N(lo->pc->temp, float, (size_t)n);
  for (int64_t o = 0; o < n; o++)
    mult[o] = (float)(vq_lower_scale(&x) * (double)vq_quant_at(w.scale, o));
  vq_value *scale = vq_quant_const(lo->m, op->out->name, "mult", VQ_f32, 1, &n, mult);
  return vq_lower_replace(lo, op, vq_lower_dequantize(lo, acc, scale, NULL));
}

// ---- layer_norm --------------------------------------------------------------------

bool vq_lower_norm(vq_lowering *lo, vq_op *op) {
  vq_coded x;
  if (!vq_lower_scalar_code(vq_in(op, 0), &x) || x.zero ||
      x.q->type->dtype != VQ_i16 || x.q->type->dim[x.q->type->rank - 1] > 1 << 15)
    return false;
  double s = vq_lower_scale(&x);
  vq_attrs_layer_norm a = *VQ_ATTRS(op, layer_norm);
  a.eps = (float)((double)a.eps / (s * s));
  vq_value *in[] = {x.q, vq_in_opt(op, 1), vq_in_opt(op, 2)};
  return vq_lower_replace(
      lo, op, vq_build1(&lo->b, VQ_OP_layer_norm, in, op->n_in, &a, VQ_LIT("")));
}

// ---- reduce_mean -------------------------------------------------------------------

// The mean of codes is exact up to its last rounding, however many there are.
bool vq_lower_mean(vq_lowering *lo, vq_op *op) {
  vq_coded x;
  if (!vq_lower_scalar_code(vq_in(op, 0), &x) || x.zero) return false;
  vq_value *y = vq_build1(&lo->b, VQ_OP_reduce_mean, &x.q, 1, op->attrs, VQ_LIT(""));
  if (y) y = vq_build_binary(&lo->b, VQ_OP_mul, y, x.scale, VQ_LIT(""));
  return vq_lower_replace(lo, op, y);
}

// ---- attention -----------------------------------------------------------------------

static const double log2e = 1.4426950408889634;

static vq_value *scaled_bias(vq_lowering *lo, vq_value *bias, double by) {
  float *b = vq_quant_floats(lo->pc, bias);
  if (!b) return NULL;
  for (int64_t i = 0; i < vq_type_count(bias->type); i++)
    b[i] = (float)((double)b[i] * by);
  return vq_quant_const(lo->m, bias->name, "log2", VQ_f32, bias->type->rank,
                        bias->type->dim, b);
}

// Codes of at most 8 bits with one zero point; scales may differ by channel.
static bool operand_code(const vq_value *v, vq_coded *c) {
  return vq_lower_code(v, c) && vq_dtype_bits(c->q->type->dtype) <= 8 &&
         (!c->zero || vq_quant_even(c->zero));
}

// The product of two scales, which must be the same in all channels (observe
// makes it so, up to rounding).
static bool common_product(const vq_coded *x, const vq_coded *y, double *product) {
  int64_t n = vq_type_count(x->scale->type);
  if (n != vq_type_count(y->scale->type)) return false;
  *product = vq_lower_scale(x) * vq_lower_scale(y);
  for (int64_t i = 0; i < n; i++) {
    double p = (double)vq_quant_at(x->scale, i) * (double)vq_quant_at(y->scale, i);
    if (fabs(p - *product) > 1e-6 * *product) return false;
  }
  return true;
}

// Levels of uniform codes of probabilities, or a table of logarithmic ones.
static void probability_codes(vq_lowering *lo, const vq_attrs_attention *from,
                              vq_attrs_attention_int *to) {
  int64_t bits = from->probability_bits ? from->probability_bits : 8;
  to->levels = 255;
  if (vq_str_is(from->probability, "log2"))
    to->rate = 1;
  else if (vq_str_is(from->probability, "log-sqrt2"))
    to->rate = 2;
  else
    to->levels = (1 << bits) - 1;
  if (to->rate > 0) to->table = vq_quant_log_weights(lo->pc->temp, (double)to->rate, bits);
}

bool vq_lower_attention(vq_lowering *lo, vq_op *op) {
  const vq_attrs_attention *a = VQ_ATTRS(op, attention);
  vq_coded c[3];
  double product;
  for (unsigned i = 0; i < 3; i++)
    if (!operand_code(vq_in(op, i), &c[i])) return false;
  if (!common_product(&c[0], &c[1], &product)) return false;
  vq_value *bias = vq_in_opt(op, 3);
  if (bias && !vq_const_of(bias)) return false;
  vq_attrs_attention_int at = {.heads = a->heads,
                               .q_zero = (int64_t)vq_lower_zero(&c[0]),
                               .k_zero = (int64_t)vq_lower_zero(&c[1]),
                               .v_zero = (int64_t)vq_lower_zero(&c[2])};
  probability_codes(lo, a, &at);
  double unit = at.table.n ? log2e : log2e * VQ_EXP2_STEPS;  // of scores, ln 2 or a step
  if (bias && !(bias = scaled_bias(lo, bias, unit))) return vq_lower_replace(lo, op, NULL);
  at.scale = (float)(product * (double)a->scale * unit);
  vq_value *in[] = {c[0].q, c[1].q, c[2].q, bias};
  vq_value *y = vq_build1(&lo->b, VQ_OP_attention_int, in, bias ? 4 : 3, &at, VQ_LIT(""));
  if (y)
    y = vq_build_binary(&lo->b, VQ_OP_mul, y, c[2].scale, VQ_LIT(""));
  return vq_lower_replace(lo, op, y);
}
