// fold-pixels: a patch embedding that reads pixels again.
//
// A model's input is (p * scale - mean_c) / std_c for a pixel p of 8 bits; a code
// of the normalised number would round what is exact already (and for a mean of
// one half the zero point, 127.5, is not even an integer). With the constants
// that the module states (--preprocess), x a_c + b_c is the pixel,
//
//   a_c = std_c / scale, b_c = mean_c / scale
//   W'_ocuv = W_ocuv / a_c        b'_o = b_o - sum_cuv W_ocuv b_c / a_c
//
// and its quantizer has scale 1 and no error. The float function does not change.
#include <math.h>
#include <stdlib.h>

#include "quant/quantizer.h"
#include "vq/pixels.h"

typedef struct pixels {
  int64_t n_channel;
  float a[4], b[4];
} pixels;

static bool read_pixels(const vq_module *m, int64_t n_channel, pixels *p) {
  vq_pixel_range r[4];
  if (!vq_pixel_ranges(m, n_channel, r)) return false;
  p->n_channel = n_channel;
  for (int64_t c = 0; c < n_channel; c++) {
    p->a[c] = (float)(r[c].std / r[c].scale), p->b[c] = (float)(r[c].mean / r[c].scale);
    if (!isfinite(p->a[c]) || !isfinite(p->b[c]) || p->a[c] == 0) return false;
  }
  return true;
}

static bool has_constants(const vq_op *op) {
  return vq_str_is(VQ_ATTRS(op, patch_embed)->layout, "oi") &&
         vq_const_of(vq_in(op, 1)) &&
         (!vq_in_opt(op, 2) || vq_const_of(vq_in(op, 2)));
}

// x a_c + b_c, quantized to the pixel.
static vq_value *to_pixels(vq_builder *at, vq_value *x, const pixels *p) {
  vq_module *m = at->func->module;
  int64_t dim[] = {p->n_channel, 1, 1};
  float one = 1, zero = 0;
  vq_value *a = vq_quant_const(m, x->name, "pixel_mult", VQ_f32, 3, dim, p->a);
  vq_value *b = vq_quant_const(m, x->name, "pixel_offset", VQ_f32, 3, dim, p->b);
  vq_value *y = vq_build_binary(at, VQ_OP_mul, x, a, VQ_LIT(""));
  y = vq_build_binary(at, VQ_OP_add, y, b, VQ_LIT(""));
  if (!y) return NULL;
  vq_attrs_fake_quant q = {.lo = 0, .hi = 255, .role = VQ_LIT("linear")};
  vq_value *in[] = {y, vq_quant_const(m, x->name, "scale", VQ_f32, 0, NULL, &one),
                    vq_quant_const(m, x->name, "zero", VQ_f32, 0, NULL, &zero)};
  return vq_build1(at, VQ_OP_fake_quant, in, 3, &q, VQ_LIT(""));
}

static vq_status fold(vq_op *op, const pixels *p, vq_pass_ctx *pc) {
  vq_module *m = op->func->module;
  vq_value *old = vq_in(op, 1);
  int64_t n_out = old->type->dim[0], k = old->type->dim[1], area = k / p->n_channel;
  float *w = vq_quant_floats(pc, old), *b = vq_quant_bias(pc, op, n_out);
  if (!w || !b) return VQ_ERR;
  for (int64_t o = 0; o < n_out; o++) {
    double sum = 0;
    for (int64_t i = 0; i < k; i++) {
      int64_t c = i / area;
      double v = (double)w[o * k + i] / (double)p->a[c];
      sum += v * (double)p->b[c];
      w[o * k + i] = (float)v;
    }
    b[o] = (float)((double)b[o] - sum);
  }
  vq_builder at = {op->func, op, op->loc, pc->diag};
  vq_value *x = to_pixels(&at, vq_in(op, 0), p);
  vq_value *weight = vq_quant_const(m, old->name, "pixels", VQ_f32, 2, old->type->dim, w);
  vq_value *bias = vq_quant_const(m, old->name, "bias", VQ_f32, 1, &n_out, b);
  vq_stat(pc, "patch embeddings", 1);
  return x && vq_quant_relinear(pc, op, x, weight, bias) ? VQ_OK : VQ_ERR;
}

vq_status vq_pass_fold_pixels(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_quant_main(m);
  if (!f) return VQ_OK;
  vq_each_op_safe(f, op) {
    pixels p;
    if (op->code != VQ_OP_patch_embed || vq_in(op, 0)->kind != VQ_VALUE_ARG ||
        !has_constants(op) || !read_pixels(m, vq_in(op, 0)->type->dim[1], &p))
      continue;
    if (fold(op, &p, pc)) return VQ_ERR;
  }
  return VQ_OK;
}
