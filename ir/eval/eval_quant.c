// Quantizers and the ops on codes: the arithmetic of docs/integer-semantics.md.
//
// Everything a compiled kernel must repeat bit for bit is here, one rounding
// to binary32 after each operation. A product or sum of two binary32 numbers
// computed in binary64 and rounded once more is the correctly rounded one, so
// `f32` below marks the roundings and nothing else is rounded.
#include "eval/eval_ops.h"
#include "vq/fixed.h"
#include "vq/piecewise.h"

#include <math.h>
#include <stdlib.h>

#define BLOCK 256
#define MAX_IN 5

static double f32(double v) { return (double)(float)v; }

// One block of elements of all operands; missing ones are 0.
typedef void block_fn(const void *user, int64_t n, double (*x)[BLOCK], double *y);

static vq_status each_block(const vq_op *op, const vq_tensor *in,
                            vq_tensor *out, block_fn *f, const void *user) {
  double x[MAX_IN][BLOCK] = {{0}}, y[BLOCK];
  unsigned n_in = op->n_in;
  vq_walk w = {.rank = out->type->rank, .n_tensor = n_in + 1};
  for (unsigned k = 0; k < w.rank; k++) w.dim[k] = out->type->dim[k];
  vq_walk_broadcast(out->type, w.rank, w.stride[n_in]);
  for (unsigned t = 0; t < n_in; t++)
    vq_walk_broadcast(in[t].type, w.rank, w.stride[t]);
  for (bool more = vq_walk_rows(&w); more; more = vq_walk_next(&w))
    for (int64_t i = 0; i < w.n; i += BLOCK) {
      int64_t n = w.n - i < BLOCK ? w.n - i : BLOCK;
      for (unsigned t = 0; t < n_in; t++)
        vq_load_f64_n(in[t].type->dtype, in[t].data, w.at[t] + i * w.step[t],
                      w.step[t], n, x[t]);
      f(user, n, x, y);
      vq_store_f64_n(out->type->dtype, out->data,
                     w.at[n_in] + i * w.step[n_in], w.step[n_in], n, y);
    }
  return VQ_OK;
}

// ---- quantize, requantize, dequantize, fake_quant ------------------------------

typedef struct range {
  double lo, hi;
  double unit;  // 2^fine: a whole code in units of the last bit
} range;

// Round half to even, then into [lo, hi]; a NaN becomes lo.
static double to_code(double t, double zero, const range *r) {
  double lo = r->lo - zero, hi = r->hi - zero;
  t = t > lo ? t : lo;
  t = t < hi ? t : hi;
  return nearbyint(t) + zero;
}

// In words before the zero point moves them.
static void quantize_block(const void *user, int64_t n, double (*x)[BLOCK], double *y) {
  const range *r = user, word = {INT16_MIN, INT16_MAX, 1};
  for (int64_t i = 0; i < n; i++) {
    double t = f32(f32(f32(x[0][i]) * x[1][i]) * r->unit);
    t = to_code(t, 0, &word) + x[2][i] * r->unit;
    y[i] = fmin(fmax(t, r->lo), r->hi);
  }
}

vq_status vq_eval_quantize(const vq_op *op, const vq_tensor *in,
                           vq_tensor *out, vq_diag *diag) {
  (void)diag;
  const vq_attrs_quantize *a = VQ_ATTRS(op, quantize);
  range r = {(double)a->lo, (double)a->hi, (double)(1 << a->fine)};
  return each_block(op, in, out, quantize_block, &r);
}

vq_status vq_eval_requantize(const vq_op *op, const vq_tensor *in,
                             vq_tensor *out, vq_diag *diag) {
  (void)diag;
  const vq_attrs_requantize *a = VQ_ATTRS(op, requantize);
  range r = {(double)a->lo, (double)a->hi, 1};
  return each_block(op, in, out, quantize_block, &r);
}

static void dequantize_block(const void *user, int64_t n, double (*x)[BLOCK], double *y) {
  int fine = (int)((const vq_attrs_dequantize *)user)->fine;
  for (int64_t i = 0; i < n; i++) {
    uint32_t zero = (uint32_t)(int32_t)x[2][i] << fine;
    int32_t code = (int32_t)((uint32_t)(int32_t)x[0][i] - zero);
    y[i] = ldexp(f32((double)code), -fine) * x[1][i];
  }
}

vq_status vq_eval_dequantize(const vq_op *op, const vq_tensor *in,
                             vq_tensor *out, vq_diag *diag) {
  (void)diag;
  return each_block(op, in, out, dequantize_block, VQ_ATTRS(op, dequantize));
}

static void fake_quant_block(const void *user, int64_t n, double (*x)[BLOCK], double *y) {
  const range *r = user;
  for (int64_t i = 0; i < n; i++) {
    double scale = x[1][i], zero = x[2][i] * r->unit;
    double t = f32(x[0][i] / scale) * r->unit;
    y[i] = scale == 0 ? x[0][i] : (to_code(t, zero, r) - zero) / r->unit * scale;
  }
}

vq_status vq_eval_fake_quant(const vq_op *op, const vq_tensor *in,
                             vq_tensor *out, vq_diag *diag) {
  (void)diag;
  const vq_attrs_fake_quant *a = VQ_ATTRS(op, fake_quant);
  range r = {(double)a->lo, (double)a->hi, (double)(1 << a->fine)};
  return each_block(op, in, out, fake_quant_block, &r);
}

static void piecewise_block(const void *user, int64_t n, double (*x)[BLOCK], double *y) {
  for (int64_t i = 0; i < n; i++)
    y[i] = (double)vq_piecewise_at(user, (float)x[0][i]);
}

vq_status vq_eval_piecewise(const vq_op *op, const vq_tensor *in,
                            vq_tensor *out, vq_diag *diag) {
  (void)diag;
  vq_piecewise p;
  if (!vq_piecewise_of(VQ_ATTRS(op, piecewise)->fn, &p))
    VQ_BUG("piecewise without a table");
  return each_block(op, in, out, piecewise_block, &p);
}

// ---- layer_norm of codes --------------------------------------------------------

// n * sum of squares - (sum)^2 is n^2 times the variance and exact in 63 bits
// for rows of at most 2^15 codes of 16 bits.
void vq_eval_layer_norm_int(const vq_op *op, const vq_tensor *in,
                            vq_tensor *out) {
  const vq_type *t = in[0].type;
  int64_t n = t->dim[t->rank - 1], count = vq_type_count(t);
  double eps = (double)VQ_ATTRS(op, layer_norm)->eps, dn = (double)n;
  for (int64_t at = 0; at < count; at += n) {
    int64_t sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++) {
      int64_t x = vq_load_i64(t->dtype, in[0].data, at + i);
      sum += x, square += x * x;
    }
    double var = (double)(n * square - sum * sum) / (dn * dn);
    double mean = f32((double)sum / dn), inv = f32(1 / sqrt(var + eps));
    for (int64_t i = 0; i < n; i++) {
      double x = (double)vq_load_i64(t->dtype, in[0].data, at + i);
      double y = f32(f32(x - mean) * inv);
      if (vq_in_opt(op, 1)) y = f32(y * vq_load_f64(VQ_f32, in[1].data, i));
      if (vq_in_opt(op, 2)) y = f32(y + vq_load_f64(VQ_f32, in[2].data, i));
      vq_store_f64(VQ_f32, out->data, at + i, y);
    }
  }
}

// ---- fixed point -----------------------------------------------------------------

static void curve_block(const void *user, int64_t n, double (*x)[BLOCK], double *y) {
  for (int64_t i = 0; i < n; i++) {
    vq_curve_channel c = {(uint16_t)(int16_t)x[1][i], (uint16_t)(int16_t)x[2][i],
                          (uint16_t)(int16_t)x[3][i], (int16_t)x[4][i]};
    y[i] = vq_curve_at(user, &c, (int16_t)x[0][i]);
  }
}

vq_status vq_eval_piecewise_int(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                                vq_diag *diag) {
  (void)diag;
  const vq_attrs_piecewise_int *a = VQ_ATTRS(op, piecewise_int);
  vq_curve c;
  if (!vq_curve_of(a->fn, a->step, &c)) VQ_BUG("piecewise_int without a table");
  return each_block(op, in, out, curve_block, &c);
}

static void rescale_block(const void *user, int64_t n, double (*x)[BLOCK], double *y) {
  const vq_attrs_rescale *a = user;
  int less = vq_fine_less((int)a->shift, (int)a->fine);
  for (int64_t i = 0; i < n; i++) {
    double t = vq_mulhrs((int16_t)x[0][i], (int16_t)x[1][i]) + x[2][i];
    t = fmax(fmin(fmax(t, INT16_MIN), INT16_MAX) - less, INT16_MIN);
    t = floor(t / (1 << a->shift));
    y[i] = fmin(fmax(t, (double)a->lo), (double)a->hi);
  }
}

vq_status vq_eval_rescale(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                          vq_diag *diag) {
  (void)diag;
  return each_block(op, in, out, rescale_block, VQ_ATTRS(op, rescale));
}
