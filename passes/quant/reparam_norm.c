// reparam-layernorm: from one scale per channel to one scale per tensor, for
// free (RepQ-ViT, ICCV 2023, section 3.2).
//
// Channels of a layer_norm's output differ in range by tens. Observed with a
// scale s_c and zero point z_c each, they become codes of one scale s and zero
// point z by moving the difference into what is next to the quantizer:
//
//   s = mean s_c, z = rne(mean z_c), r_c = s_c / s, t_c = z_c - z
//   gamma'_c = gamma_c / r_c            beta'_c = beta_c / r_c + s t_c
//   W'_oc = W_oc r_c                    b'_o = b_o - sum_c W_oc s_c t_c
//
// The paper's z is a fraction; then the clipped ends of the range differ from
// those of the channel-wise quantizer. Rounded, t_c is an integer and the codes
// are exactly the channel-wise ones. The float function does not change.
//
// A norm whose output something other than linears reads keeps its parameters
// and gets one range around all of its channels'.
#include "quant/quantizer.h"

#include <math.h>

static bool all_linear(const vq_value *v) {
  vq_each_use(v, u) {
    const vq_op *op = u->user;
    if (op->code != VQ_OP_linear || u->idx != 0) return false;
    const vq_op *wq = vq_quant_def(vq_in(op, 1), VQ_OP_fake_quant);
    vq_value *w = wq ? vq_in(wq, VQ_FQ_X) : NULL;
    if (!w || !vq_const_of(w) || vq_quant_known(wq)) return false;
    if (vq_in_opt(op, 2) && !vq_const_of(vq_in(op, 2))) return false;
  }
  return true;
}

static bool has_constants(const vq_op *norm) {
  for (unsigned i = 1; i < norm->n_in; i++)
    if (!vq_const_of(vq_in(norm, i))) return false;
  return true;
}

// One scale and zero point over the ranges of all channels.
void vq_quant_merge_channels(vq_op *fq) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  vq_value *scale = vq_in(fq, VQ_FQ_SCALE), *zero = vq_in(fq, VQ_FQ_ZERO);
  int64_t n = vq_type_count(scale->type);
  double least = 0, most = 0;
  for (int64_t c = 0; c < n; c++) {
    double s = (double)vq_quant_at(scale, c), z = (double)vq_quant_at(zero, c);
    least = fmin(least, ((double)a->lo - z) * s);
    most = fmax(most, ((double)a->hi - z) * s);
  }
  float s = (float)fmax((most - least) / (double)(a->hi - a->lo), 1e-30);
  float z = (float)(nearbyint(-least / (double)s) + (double)a->lo);
  vq_quant_set(fq, 1, &s, &z);
}

typedef struct fold {
  int64_t n;
  float scale, zero;  // the tensor's
  double *ratio, *shift;  // r_c; s_c t_c
  double *offset;         // t_c
} fold;

static fold plan(const vq_op *fq, vq_pass_ctx *pc) {
  vq_value *scale = vq_in(fq, VQ_FQ_SCALE), *zero = vq_in(fq, VQ_FQ_ZERO);
  fold p = {.n = vq_type_count(scale->type)};
  double s = 0, z = 0;
  for (int64_t c = 0; c < p.n; c++) {
    s += (double)vq_quant_at(scale, c) / (double)p.n;
    z += (double)vq_quant_at(zero, c) / (double)p.n;
  }
  p.scale = (float)s, p.zero = (float)nearbyint(z);
  p.ratio = VQ_NEW_N(pc->temp, double, (size_t)p.n);
  p.shift = VQ_NEW_N(pc->temp, double, (size_t)p.n);
  p.offset = VQ_NEW_N(pc->temp, double, (size_t)p.n);
  for (int64_t c = 0; c < p.n; c++) {
    double sc = (double)vq_quant_at(scale, c);
    p.offset[c] = (double)vq_quant_at(zero, c) - (double)p.zero;
    p.ratio[c] = sc / (double)p.scale;
    p.shift[c] = sc * p.offset[c];
  }
  return p;
}

static vq_status fold_norm(vq_op *norm, const fold *p, vq_pass_ctx *pc) {
  vq_module *m = norm->func->module;
  float *gamma = VQ_NEW_N(pc->temp, float, (size_t)p->n);
  float *beta = VQ_NEW_N(pc->temp, float, (size_t)p->n);
  vq_value *g = vq_in_opt(norm, 1), *b = vq_in_opt(norm, 2);
  for (int64_t c = 0; c < p->n; c++) {
    double gc = g ? vq_const_f64(vq_const_of(g), c) : 1;
    double bc = b ? vq_const_f64(vq_const_of(b), c) : 0;
    gamma[c] = (float)(gc / p->ratio[c]);
    beta[c] = (float)(bc / p->ratio[c] + (double)p->scale * p->offset[c]);
  }
  vq_str base = norm->out->name;
  vq_value *in[] = {vq_in(norm, 0),
                    vq_quant_const(m, base, "gamma", VQ_f32, 1, &p->n, gamma),
                    vq_quant_const(m, base, "beta", VQ_f32, 1, &p->n, beta)};
  vq_builder at = {norm->func, norm, norm->loc, pc->diag};
  vq_value *y = vq_build1(&at, VQ_OP_layer_norm, in, 3, norm->attrs, VQ_LIT(""));
  if (!y) return VQ_ERR;
  vq_replace_op(norm, y);
  return VQ_OK;
}

static vq_status fold_linear(vq_op *op, const fold *p, vq_pass_ctx *pc) {
  vq_module *m = op->func->module;
  vq_op *wq = vq_quant_def(vq_in(op, 1), VQ_OP_fake_quant);
  vq_value *old = vq_in(wq, VQ_FQ_X);
  int64_t n_out = old->type->dim[0];
  float *w = vq_quant_floats(pc, old), *b = vq_quant_bias(pc, op, n_out);
  if (!w || !b) return VQ_ERR;
  for (int64_t o = 0; o < n_out; o++) {
    double sum = 0;
    for (int64_t c = 0; c < p->n; c++) {
      float *at = &w[o * p->n + c];
      sum += (double)*at * p->shift[c];
      *at = (float)((double)*at * p->ratio[c]);
    }
    b[o] = (float)((double)b[o] - sum);
  }
  vq_value *weight =
      vq_quant_const(m, old->name, "reparam", VQ_f32, 2, old->type->dim, w);
  vq_value *bias =
      vq_quant_const(m, old->name, "bias", VQ_f32, 1, &n_out, b);
  vq_builder at = {op->func, op, op->loc, pc->diag};
  vq_value *in[] = {weight, vq_in(wq, VQ_FQ_SCALE), vq_in(wq, VQ_FQ_ZERO)};
  vq_value *q = vq_build1(&at, VQ_OP_fake_quant, in, 3, wq->attrs, VQ_LIT(""));
  if (!q || !vq_quant_relinear(pc, op, vq_in(op, 0), q, bias)) return VQ_ERR;
  if (!wq->out->uses) vq_erase_op(wq);
  return VQ_OK;
}

static vq_status reparam(vq_op *fq, vq_pass_ctx *pc) {
  vq_op *norm = vq_quant_def(vq_in(fq, VQ_FQ_X), VQ_OP_layer_norm);
  if (!norm || !vq_has_one_use(norm->out) || !all_linear(fq->out) ||
      !has_constants(norm)) {
    vq_quant_merge_channels(fq);
    vq_stat(pc, "norms with one range for all channels", 1);
    return VQ_OK;
  }
  fold p = plan(fq, pc);
  if (fold_norm(norm, &p, pc)) return VQ_ERR;
  vq_quant_set(fq, 1, &p.scale, &p.zero);
  unsigned n = vq_use_count(fq->out), i = 0;
  vq_op **user = VQ_NEW_N(pc->temp, vq_op *, n);  // folding makes new uses
  vq_each_use(fq->out, u) user[i++] = u->user;
  for (i = 0; i < n; i++)
    if (fold_linear(user[i], &p, pc)) return VQ_ERR;
  vq_stat(pc, "norms reparameterized", 1);
  return VQ_OK;
}

vq_status vq_pass_reparam_layernorm(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_quant_main(m);
  if (!f) return VQ_OK;
  vq_each_op(f, op)
    if (vq_quant_is(op, "norm") && vq_quant_known(op) &&
        vq_type_count(vq_in(op, VQ_FQ_SCALE)->type) > 1 && reparam(op, pc))
      return VQ_ERR;
  return VQ_OK;
}
