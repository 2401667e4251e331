// round-weights: scales of weights, one per output channel.
//
// Symmetric codes; of `steps` scales from the row's largest value down to half
// of it, the one with the smallest squared rounding error. At 8 bits that is
// almost the largest; at 4 bits a fifth of the range is worth giving up.
#include "quant/quantizer.h"

#include <math.h>

enum { STEPS = 50 };

// nearbyint of what a code can be, without a call: the sum has no bits left for
// a fraction.
static float nearest(float x) { return (x + 0x1.8p23f) - 0x1.8p23f; }

// In lanes, which compilers turn into vectors without reordering a sum. Sums of a row
// lose nothing that a choice among scales could see in binary32.
enum { LANES = 16 };

static void add_errors(float sum[LANES], const float x[LANES], float scale, float per,
                       float hi) {
  for (int l = 0; l < LANES; l++) {
    float q = nearest(x[l] * per);
    q = q > hi ? hi : q;
    q = q < -hi ? -hi : q;
    float d = q * scale - x[l];
    sum[l] += d * d;
  }
}

static double row_error(const float *w, int64_t n, float scale, float hi) {
  float sum[LANES] = {0}, rest[LANES] = {0}, per = 1 / scale;
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES) add_errors(sum, w + i, scale, per, hi);
  for (int l = 0; i < n; i++, l++) rest[l] = w[i];
  add_errors(sum, rest, scale, per, hi);
  double all = 0;
  for (int l = 0; l < LANES; l++) all += (double)sum[l];
  return all;
}

float vq_quant_row_scale(const float *w, int64_t n, double hi) {
  double most = 0, best = (double)INFINITY;
  for (int64_t i = 0; i < n; i++) {
    double a = fabs((double)w[i]);
    if (a > most) most = a;
  }
  float scale = (float)fmax(most / hi, 1e-8);  // a dead row keeps finite biases
  float chosen = scale;
  if (most == 0) return scale;
  for (int k = 0; k < STEPS; k++) {
    float s = (float)((double)scale * (1 - 0.5 * k / STEPS));
    double error = row_error(w, n, s, (float)hi);
    if (error < best) best = error, chosen = s;
    // Clipping alone costs more than the best so far: no smaller scale helps.
    double clipped = most - (double)s * hi;
    if (clipped * clipped > best) break;
  }
  return chosen;
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
  float *scale = VQ_NEW_N(pc->temp, float, (size_t)rows);
  for (int64_t o = 0; o < rows; o++)
    scale[o] = vq_quant_row_scale(w + o * cols, cols,
                                  (double)VQ_ATTRS(fq, fake_quant)->hi);
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
