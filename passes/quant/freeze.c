// freeze-quant: from simulated codes to codes.
//
// Each quantizer becomes quantize and dequantize with constant factors; that of
// a weight becomes a constant of codes behind a dequantize. The model computes
// the same numbers as before, up to the rounding of 1 / scale; lower-int then
// moves the dequantize ops through the operations.
#include "quant/quantizer.h"

#include <math.h>
#include <stdlib.h>

static vq_value *i16_const(vq_module *m, vq_str base, vq_value *zero) {
  int64_t n = vq_type_count(zero->type);
  vq_const *c = vq_const_of(zero);
  bool any = false;
  for (int64_t i = 0; i < n; i++) any |= vq_const_f64(c, i) != 0;
  if (!any) return NULL;
  int16_t *z = malloc((size_t)n * sizeof *z);
  if (!z) vq_oom((size_t)n * sizeof *z);
  for (int64_t i = 0; i < n; i++) {
    double v = vq_const_f64(c, i);
    z[i] = (int16_t)(v > 32767 ? 32767 : v < -32768 ? -32768 : v);
  }
  vq_value *y = vq_quant_const(m, base, "zero", VQ_i16, zero->type->rank,
                               zero->type->dim, z);
  free(z);
  return y;
}

static vq_value *inverse(vq_module *m, vq_str base, vq_value *scale,
                         vq_pass_ctx *pc) {
  int64_t n = vq_type_count(scale->type);
  float *s = vq_quant_floats(pc, scale);
  if (!s) return NULL;
  for (int64_t i = 0; i < n; i++) s[i] = 1 / s[i];
  return vq_quant_const(m, base, "mult", VQ_f32, scale->type->rank,
                        scale->type->dim, s);
}

// The residual stream is i16 whatever its width: norms read such codes.
static vq_str code_type(const vq_op *fq) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  if (vq_quant_is(fq, "residual")) return VQ_LIT("i16");
  if (a->lo >= 0 && a->hi <= 255) return VQ_LIT("u8");
  return a->lo >= -128 && a->hi <= 127 ? VQ_LIT("i8") : VQ_LIT("i16");
}

static vq_status freeze_value(vq_op *fq, vq_pass_ctx *pc) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  vq_module *m = fq->func->module;
  vq_str base = fq->out->name.n ? fq->out->name : vq_in(fq, VQ_FQ_X)->name;
  vq_builder b = {fq->func, fq, fq->loc, pc->diag};
  vq_value *scale = vq_in(fq, VQ_FQ_SCALE);
  vq_value *zero = i16_const(m, base, vq_in(fq, VQ_FQ_ZERO));
  vq_value *in[] = {vq_in(fq, VQ_FQ_X), inverse(m, base, scale, pc), zero};
  if (!in[1]) return VQ_ERR;
  vq_attrs_quantize qa = {.to = code_type(fq), .lo = a->lo, .hi = a->hi};
  vq_value *q = vq_build1(&b, VQ_OP_quantize, in, zero ? 3 : 2, &qa,
                          vq_quant_codes(m, in[0]));
  if (!q) return VQ_ERR;
  vq_value *back[] = {q, scale, zero};
  vq_value *y = vq_build1(&b, VQ_OP_dequantize, back, zero ? 3 : 2, NULL, VQ_LIT(""));
  if (!y) return VQ_ERR;
  vq_replace_op(fq, y);
  return VQ_OK;
}

static int code_of(double w, double scale, const vq_attrs_fake_quant *a) {
  double v = nearbyint(w / scale);
  v = v > (double)a->lo ? v : (double)a->lo;  // a NaN as well
  return (int)(v < (double)a->hi ? v : (double)a->hi);
}

// The codes of a weight; those of at most four bits take half a byte each.
static vq_const *weight_codes(vq_op *fq, const float *w, const float *s, vq_str name) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  vq_module *m = fq->func->module;
  const vq_type *x = vq_in(fq, VQ_FQ_X)->type;
  bool small = a->lo >= -8 && a->hi <= 7;
  const vq_type *t = vq_type_tensor(m->ctx, small ? VQ_i4 : VQ_i8, x->rank, x->dim, NULL);
  int64_t rows = x->dim[0], cols = vq_type_count(t) / rows;
  uint8_t *q = vq_arena_alloc(&m->arena, (size_t)vq_type_bytes(t), 64);
  for (int64_t o = 0, i = 0; o < rows; o++)
    for (int64_t end = i + cols; i < end; i++) {
      int v = code_of((double)w[i], (double)s[o], a);
      if (!small)
        q[i] = (uint8_t)v;
      else
        q[i / 2] = (uint8_t)(i % 2 ? q[i / 2] | (v & 15) << 4 : v & 15);
    }
  return vq_const_new(m, name, t, q);
}

static vq_status freeze_weight(vq_op *fq, vq_pass_ctx *pc) {
  vq_module *m = fq->func->module;
  vq_value *x = vq_in(fq, VQ_FQ_X), *scale = vq_in(fq, VQ_FQ_SCALE);
  const float *w = vq_quant_floats(pc, x), *s = vq_quant_floats(pc, scale);
  if (!w || !s) return VQ_ERR;
  vq_const *codes = weight_codes(fq, w, s, vq_quant_codes(m, x));
  vq_builder b = {fq->func, fq, fq->loc, pc->diag};
  vq_value *in[] = {&codes->value, scale};
  vq_value *y = vq_build1(&b, VQ_OP_dequantize, in, 2, NULL, VQ_LIT(""));
  if (!y) return VQ_ERR;
  vq_replace_op(fq, y);
  return VQ_OK;
}

// Whether `word` is one of the words of `list`.
static bool lists(vq_str list, vq_str word) {
  for (size_t i = 0, n; i < list.n; i += n + 1) {
    for (n = 0; i + n < list.n && list.p[i + n] != ' ';) n++;
    if (word.n && vq_str_eq((vq_str){list.p + i, n}, word)) return true;
  }
  return false;
}

vq_status vq_pass_freeze_quant(vq_module *m, vq_pass_ctx *pc) {
  vq_str keep = VQ_OPTS(pc, vq_pass_freeze_quant)->keep;
  vq_func *f = vq_quant_main(m);
  if (!f) return VQ_OK;
  vq_each_op_safe(f, op) {
    if (op->code != VQ_OP_fake_quant) continue;
    if (lists(keep, VQ_ATTRS(op, fake_quant)->role)) {
      vq_replace_op(op, vq_in(op, VQ_FQ_X));
      continue;
    }
    bool weight = vq_quant_is(op, "weight");
    if (!vq_const_of(vq_in(op, VQ_FQ_SCALE)) || !vq_const_of(vq_in(op, VQ_FQ_ZERO)) ||
        !vq_quant_known(op))
      return vq_error(pc->diag, VQ_E_pass, op->loc,
                      "the quantizer of '%.*s' has no scale: run %s before "
                      "freeze-quant", VQ_FMT(vq_in(op, VQ_FQ_X)->name),
                      weight ? "round-weights" : "observe");
    if (weight ? freeze_weight(op, pc) : freeze_value(op, pc)) return VQ_ERR;
    vq_stat(pc, weight ? "weights" : "activations", 1);
  }
  return VQ_OK;
}
