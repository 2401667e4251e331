// freeze-quant: from simulated codes to codes.
//
// Each quantizer becomes quantize and dequantize with constant factors; that of
// a weight becomes a constant of codes behind a dequantize. What the codes stand for
// becomes a quant entry that their type names. The model computes the same numbers as
// before, up to the rounding of 1 / scale; lower-int then moves the dequantize ops
// through the operations.
#include "quant/entries.h"

#include <math.h>
#include <stdlib.h>

// One zero point where all channels have the same, as those of a symmetric range.
static vq_value *i16_const(vq_module *m, vq_str base, vq_value *zero) {
  int64_t n = vq_type_count(zero->type);
  bool any = false;
  for (int64_t i = 0; i < n; i++) any |= vq_entries_zero(zero, i) != 0;
  if (!any) return NULL;
  int16_t *z = malloc((size_t)n * sizeof *z);
  if (!z) vq_oom((size_t)n * sizeof *z);
  for (int64_t i = 0; i < n; i++) z[i] = vq_entries_zero(zero, i);
  vq_value *y = vq_quant_const(m, base, "zero", VQ_i16,
                               vq_quant_even(zero) ? 0 : zero->type->rank,
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
static vq_dtype code_type(const vq_op *fq) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  if (vq_quant_is(fq, "residual") || a->fine) return VQ_i16;
  if (a->lo >= 0 && a->hi <= 255) return VQ_u8;
  return a->lo >= -128 && a->hi <= 127 ? VQ_i8 : VQ_i16;
}

static vq_status freeze_value(vq_op *fq, vq_entries *e, vq_pass_ctx *pc) {
  const vq_quant *entry = vq_entries_of(e, fq, code_type(fq), pc);
  if (!entry) return VQ_ERR;
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  vq_module *m = fq->func->module;
  vq_str base = fq->out->name.n ? fq->out->name : vq_in(fq, VQ_FQ_X)->name;
  vq_builder b = {fq->func, fq, fq->loc, pc->diag};
  vq_value *scale = vq_in(fq, VQ_FQ_SCALE);
  vq_value *zero = i16_const(m, base, vq_in(fq, VQ_FQ_ZERO));
  vq_value *in[] = {vq_in(fq, VQ_FQ_X), inverse(m, base, scale, pc), zero};
  if (!in[1]) return VQ_ERR;
  vq_attrs_quantize qa = {.to = vq_str_of(vq_dtype_name(entry->store)), .lo = a->lo,
                          .hi = a->hi, .q = entry, .fine = a->fine};
  vq_value *q = vq_build1(&b, VQ_OP_quantize, in, zero ? 3 : 2, &qa,
                          vq_quant_codes(m, in[0]));
  if (!q) return VQ_ERR;
  vq_value *back[] = {q, scale, zero};
  vq_attrs_dequantize da = {.fine = a->fine};
  vq_value *y = vq_build1(&b, VQ_OP_dequantize, back, zero ? 3 : 2, &da, VQ_LIT(""));
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
static vq_const *weight_codes(vq_op *fq, const float *w, const float *s, vq_str name,
                              const vq_quant *entry) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  vq_module *m = fq->func->module;
  const vq_type *x = vq_in(fq, VQ_FQ_X)->type;
  bool small = entry->store == VQ_i4;
  const vq_type *t = vq_type_tensor(m->ctx, entry->store, x->rank, x->dim, entry);
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

static vq_status freeze_weight(vq_op *fq, vq_entries *e, vq_pass_ctx *pc) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  bool small = a->lo >= -8 && a->hi <= 7;
  const vq_quant *entry = vq_entries_of(e, fq, small ? VQ_i4 : VQ_i8, pc);
  if (!entry) return VQ_ERR;
  vq_module *m = fq->func->module;
  vq_value *x = vq_in(fq, VQ_FQ_X), *scale = vq_in(fq, VQ_FQ_SCALE);
  const float *w = vq_quant_floats(pc, x), *s = vq_quant_floats(pc, scale);
  if (!w || !s) return VQ_ERR;
  vq_const *codes = weight_codes(fq, w, s, vq_quant_codes(m, x), entry);
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

static vq_status freeze(vq_op *op, vq_entries *e, vq_pass_ctx *pc) {
  if (lists(VQ_OPTS(pc, vq_pass_freeze_quant)->keep, VQ_ATTRS(op, fake_quant)->role)) {
    vq_replace_op(op, vq_in(op, VQ_FQ_X));
    return VQ_OK;
  }
  bool weight = vq_quant_is(op, "weight");
  if (!vq_const_of(vq_in(op, VQ_FQ_SCALE)) || !vq_const_of(vq_in(op, VQ_FQ_ZERO)) ||
      !vq_quant_known(op))
    return vq_error(pc->diag, VQ_E_pass, op->loc,
                    "the quantizer of '%.*s' has no scale: run %s before "
                    "freeze-quant", VQ_FMT(vq_in(op, VQ_FQ_X)->name),
                    weight ? "round-weights" : "observe");
  if (weight ? freeze_weight(op, e, pc) : freeze_value(op, e, pc)) return VQ_ERR;
  vq_stat(pc, weight ? "weights" : "activations", 1);
  return VQ_OK;
}

vq_status vq_pass_freeze_quant(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_quant_main(m);
  if (!f) return VQ_OK;
  vq_entries e;
  if (vq_entries_open(&e, m, pc)) return VQ_ERR;
  vq_status st = VQ_OK;
  for (vq_op *op = f->first, *next; op && !st; op = next) {
    next = op->next;
    if (op->code == VQ_OP_fake_quant) st = freeze(op, &e, pc);
  }
  vq_entries_close(&e);
  return st;
}
