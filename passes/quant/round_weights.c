// round-weights: scales of weights, one per output channel.
//
// Of STEPS scales, from the one that covers the row down to a quarter of it, the one
// with the smallest squared rounding error. At 8 bits that is almost the largest; at 4
// bits a fifth of the range is worth giving up. Zero is a code, and with fewer than 8
// bits there is one more code below it than above, which of 3 bits is a seventh of all:
// a negative scale puts it where the row needs it.
#include "quant/quantizer.h"

#include <math.h>

enum { STEPS = 75 };
static const double DEPTH = 0.75;  // how far below the widest scale

// nearbyint of what a code can be, without a call: the sum has no bits left for
// a fraction.
static float nearest(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

// In lanes, which compilers turn into vectors without reordering a sum. Sums of a row
// lose nothing that a choice among scales could see in binary32.
enum { LANES = 16 };

static void add_errors(float sum[LANES], const float x[LANES], float scale, float per,
                       float lo, float hi) {
  for (int l = 0; l < LANES; l++) {
    float q = nearest(x[l] * per);
    q = q > hi ? hi : q;
    q = q < lo ? lo : q;
    float d = q * scale - x[l];
    sum[l] += d * d;
  }
}

static double row_error(const float *w, int64_t n, float scale, float lo, float hi) {
  float sum[LANES] = {0}, rest[LANES] = {0}, per = 1 / scale;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) add_errors(sum, w + i, scale, per, lo, hi);
  for (int l = 0; i < n; i++, l++) rest[l] = w[i];
  add_errors(sum, rest, scale, per, lo, hi);
  double all = 0;
  for (int l = 0; l < LANES; l++) all += (double)sum[l];
  return all;
}

typedef struct row_fit {
  float scale;
  double error;
} row_fit;

// The best scale of this sign.
static row_fit fit_row(const float *w, int64_t n, double lo, double hi, double sign) {
  double most = 0;
  for (int64_t i = 0; i < n; i++) {
    double x = sign * (double)w[i], steps = x / (x > 0 ? hi : lo);
    if (steps > most) most = steps;
  }
  row_fit best = {(float)(sign * fmax(most, 1e-8)), INFINITY};  // a dead row keeps finite biases
  double widest = (double)best.scale;
  if (most == 0) return best;
  for (int k = 0; k < STEPS; k++) {
    float s = (float)(widest * (1 - DEPTH * k / STEPS));
    double error = row_error(w, n, s, (float)lo, (float)hi);
    if (error < best.error) best = (row_fit){s, error};
    // Clipping alone costs more than the best so far: no smaller scale helps.
    double clipped = (most - fabs((double)s)) * fmin(hi, -lo);
    if (clipped * clipped > best.error) break;
  }
  return best;
}

float vq_quant_row_scale(const float *w, int64_t n, double lo, double hi) {
  row_fit up = fit_row(w, n, lo, hi, 1);
  if (lo == -hi) return up.scale;
  row_fit down = fit_row(w, n, lo, hi, -1);
  return down.error < up.error ? down.scale : up.scale;
}

void vq_quant_set_rows(vq_op *fq, const float *scale) {
  vq_value *x = vq_in(fq, VQ_FQ_X);
  int64_t dim[] = {x->type->dim[0], 1};
  vq_set_operand(fq, VQ_FQ_SCALE,
                 vq_quant_const(fq->func->module, x->name, "scale", VQ_f32, 2, dim,
                                scale));
}

static vq_status round_weight(vq_op *fq, vq_pass_ctx *pc) {
  vq_value *x = vq_in(fq, VQ_FQ_X);
  const float *w = vq_quant_floats(pc, x);
  if (!w) return VQ_ERR;
  int64_t rows = x->type->dim[0], cols = vq_type_count(x->type) / rows;
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  float *scale = VQ_NEW_N(pc->temp, float, (size_t)rows);
  for (int64_t o = 0; o < rows; o++)
    scale[o] = vq_quant_row_scale(w + o * cols, cols, (double)a->lo, (double)a->hi);
  vq_quant_set_rows(fq, scale);
  vq_stat(pc, "weights", 1);
  return VQ_OK;
}

vq_status vq_pass_round_weights(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_quant_main(m);
  if (!f) return VQ_OK;
  vq_each_op(f, op)
    if (vq_quant_is(op, "weight") && !vq_quant_known(op) &&
        vq_type_count(vq_in(op, VQ_FQ_X)->type) > 0 && round_weight(op, pc))
      return VQ_ERR;
  return VQ_OK;
}
