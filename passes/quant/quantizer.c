// Constants of quantizers, and small rewrites of linears.
#include "quant/quantizer.h"

#include <math.h>

bool vq_quant_moves(const vq_op *op) {
  switch ((int)op->code) {
    case VQ_OP_copy:
    case VQ_OP_reshape:
    case VQ_OP_transpose:
    case VQ_OP_slice:
    case VQ_OP_expand:
    case VQ_OP_gather: return true;
    case VQ_OP_gather_rows: {
      const vq_attrs_gather_rows *a = VQ_ATTRS(op, gather_rows);
      return !a->pad || a->value == 0;
    }
    case VQ_OP_pad: return VQ_ATTRS(op, pad)->value == 0;
    default: return false;
  }
}

vq_value *vq_quant_uncoded(vq_value *v) {
  for (vq_op *op; (op = vq_quant_def(v, VQ_OP_fake_quant));) v = vq_in(op, VQ_FQ_X);
  return v;
}

void vq_quant_drop(vq_func *f) {
  vq_each_op_safe(f, op)
    if (op->code == VQ_OP_fake_quant && op->out->uses)
      vq_replace_all_uses(op->out, vq_in(op, VQ_FQ_X));
}

bool vq_quant_is(const vq_op *op, const char *role) {
  return op->code == VQ_OP_fake_quant &&
         vq_str_is(VQ_ATTRS(op, fake_quant)->role, role);
}

bool vq_quant_known(const vq_op *fq) {
  vq_const *c = vq_const_of(vq_in(fq, VQ_FQ_SCALE));
  return !c || vq_const_f64(c, 0) != 0;
}

static vq_str with_suffix(vq_module *m, vq_str base, const char *suffix) {
  vq_strbuf name = {0};
  vq_strbuf_printf(&name, "%.*s.%s", VQ_FMT(base), suffix);
  vq_str s = vq_intern(m->ctx, vq_strbuf_view(&name));
  vq_strbuf_release(&name);
  return s;
}

vq_value *vq_quant_const(vq_module *m, vq_str base, const char *suffix,
                         vq_dtype dtype, unsigned rank, const int64_t *dim,
                         const void *data) {
  const vq_type *t = vq_type_tensor(m->ctx, dtype, rank, dim, NULL);
  return &vq_const_new_copy(m, with_suffix(m, base, suffix), t, data)->value;
}

vq_str vq_quant_codes(vq_module *m, const vq_value *x) {
  return x->name.n ? with_suffix(m, x->name, "codes") : VQ_LIT("");
}

void vq_quant_set(vq_op *fq, int64_t n, const float *scale, const float *zero) {
  vq_module *m = fq->func->module;
  vq_str base = vq_in(fq, VQ_FQ_X)->name;
  unsigned rank = n > 1;
  vq_set_operand(fq, VQ_FQ_SCALE,
                 vq_quant_const(m, base, "scale", VQ_f32, rank, &n, scale));
  vq_set_operand(fq, VQ_FQ_ZERO,
                 vq_quant_const(m, base, "zero", VQ_f32, rank, &n, zero));
}

float vq_quant_at(vq_value *c, int64_t i) {
  return (float)vq_const_f64(vq_const_of(c), vq_type_count(c->type) == 1 ? 0 : i);
}

bool vq_quant_even(vq_value *c) {
  if (!vq_const_of(c)) return false;
  for (int64_t i = 1; i < vq_type_count(c->type); i++)
    if (vq_quant_at(c, i) != vq_quant_at(c, 0)) return false;
  return true;
}

float *vq_quant_floats(vq_pass_ctx *pc, vq_value *c) {
  vq_const *k = vq_const_of(c);
  const void *from = k ? vq_const_bytes(k) : NULL;
  if (!from) {
    vq_error(pc->diag, VQ_E_pass, (vq_loc){0},
             "the data of constant '%.*s' is needed and missing", VQ_FMT(c->name));
    return NULL;
  }
  return vq_arena_copy(pc->temp, from, (size_t)vq_type_bytes(c->type),
                       _Alignof(float));
}

float *vq_quant_bias(vq_pass_ctx *pc, const vq_op *linear, int64_t n_out) {
  vq_value *b = vq_in_opt(linear, 2);
  if (b) return vq_quant_floats(pc, b);
  float *zero = VQ_NEW_N(pc->temp, float, (size_t)n_out);
  memset(zero, 0, (size_t)n_out * sizeof *zero);
  return zero;
}

vq_value *vq_quant_relinear(vq_pass_ctx *pc, vq_op *op, vq_value *x,
                            vq_value *w, vq_value *b) {
  vq_builder at = {op->func, op, op->loc, pc->diag};
  vq_value *in[] = {x, w, b};
  vq_value *y = vq_build1(&at, op->code, in, b ? 3 : 2, op->attrs, VQ_LIT(""));
  if (y) vq_replace_op(op, y);
  return y;
}

vq_ints vq_quant_log_weights(vq_arena *arena, double rate, int64_t bits) {
  uint32_t most = (uint32_t)1 << bits, n = 0;
  int64_t *weight = VQ_NEW_N(arena, int64_t, most);
  for (; n < most; n++) {
    weight[n] = (int64_t)nearbyint(255 * exp2(-(double)n / rate));
    if (!weight[n]) break;
  }
  return (vq_ints){weight, n};
}
