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
static double nearest(double x) { return (x + 0x1.8p52) - 0x1.8p52; }

static double row_error(const float *w, int64_t n, double scale, double hi) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) {
    double q = nearest((double)w[i] / scale);
    q = q > hi ? hi : q < -hi ? -hi : q;
    double d = q * scale - (double)w[i];
    sum += d * d;
  }
  return sum;
}

float vq_quant_row_scale(const float *w, int64_t n, double hi) {
  double most = 0, best = (double)INFINITY;
  for (int64_t i = 0; i < n; i++) most = fmax(most, fabs((double)w[i]));
  float scale = (float)fmax(most / hi, 1e-8);  // a dead row keeps finite biases
  float chosen = scale;
  if (most == 0) return scale;
  for (int k = 0; k < STEPS; k++) {
    float s = (float)((double)scale * (1 - 0.5 * k / STEPS));
    double error = row_error(w, n, (double)s, hi);
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
