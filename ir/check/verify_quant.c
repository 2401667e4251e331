// Verifier, quantization: entries have one name each, and ops keep to them.
//
// Types say what codes stand for; ops compute with operands and attributes. Where
// both state a number they must agree: the zero point always, the factor to the last
// bit where it is a scale, its inverse, or a product of them. A factor that is folded
// holds other factors of the network and is not checked, nor is one whose data are
// missing or that is no constant.
#include <math.h>

#include "check/checker.h"

// ---- names ------------------------------------------------------------------

static void see_type(vq_checker *c, vq_map *seen, const vq_type *t) {
  if (!t->q) return;
  void **slot = vq_map_put(seen, t->q->name);
  if (!t->q->name.n)
    vq_checker_fail(c, VQ_E_name, (vq_loc){0}, "a quant entry without a name");
  else if (*slot && *slot != t->q)
    vq_checker_fail(c, VQ_E_name, (vq_loc){0}, "two quant entries are called %s",
                    vq_checker_z(c, '@', t->q->name));
  *slot = (void *)t->q;
}

static void check_names(vq_checker *c) {
  vq_map seen = {0};
  vq_each_const(c->m, k) see_type(c, &seen, k->value.type);
  vq_each_func(c->m, f) {
    for (uint32_t i = 0; i < f->n_arg; i++) see_type(c, &seen, f->arg[i].type);
    vq_each_op(f, op)
      for (uint32_t i = 0; i < op->n_out; i++) see_type(c, &seen, op->out[i].type);
  }
  vq_map_release(&seen);
}

// ---- numbers ----------------------------------------------------------------

// What an operand must hold: numbers along a dimension, or one.
typedef struct wanted {
  uint32_t n;
  int behind;  // dimensions behind the axis
  const double *v;
} wanted;

static double *numbers(vq_checker *c, uint32_t n) {
  return VQ_NEW_N(&c->temp, double, n ? n : 1);
}

// True when a constant of that type, which broadcasts with the codes, has an element
// for each index of the axis and is the same along all other dimensions.
static bool is_along(const vq_type *t, const wanted *w) {
  int axis = t->rank - 1 - w->behind;
  for (int k = 0; k < t->rank; k++)
    if (t->dim[k] != (k == axis ? (int64_t)w->n : 1)) return false;
  return axis >= 0;
}

// Complains where `x`, NULL for 0, is something else than `w`.
static void check_numbers(vq_checker *c, const vq_op *op, const char *what, vq_value *x,
                          const wanted *w, const vq_quant *q) {
  vq_const *k = x ? vq_const_of(x) : NULL;
  int64_t n = x ? vq_type_count(x->type) : 1;
  if (x && (!k || !vq_const_bytes(k))) return;
  if (n != 1 && w->n != 1 && !is_along(x->type, w)) {
    vq_checker_fail(c, VQ_E_type, op->loc, "%s: %s does not lie along the axis of %s",
                    vq_checker_op(c, op), what, vq_checker_z(c, '@', q->name));
    return;
  }
  for (int64_t i = 0; i < n || i < w->n; i++) {
    double found = k ? vq_const_f64(k, n == 1 ? 0 : i) : 0, want = w->v[w->n == 1 ? 0 : i];
    if (found == want) continue;
    vq_checker_fail(c, VQ_E_type, op->loc, "%s: %s is %.9g, expected %.9g as %s says",
                    vq_checker_op(c, op), what, found, want, vq_checker_z(c, '@', q->name));
    return;
  }
}

// Numbers of `q`, entry of a tensor of that rank, to compare operands with.
static wanted along(const vq_quant *q, unsigned rank, const double *v) {
  int axis = vq_quant_axis(q, rank);
  return (wanted){q->n, axis < 0 ? 0 : (int)rank - 1 - axis, v};
}

// Operands are those of whole codes, of which `fine` bits behind the point are no part.
static void check_zero(vq_checker *c, const vq_op *op, vq_value *zero, const vq_type *t,
                       int64_t fine) {
  double *v = numbers(c, t->q->n);
  for (uint32_t i = 0; i < t->q->n; i++) v[i] = ldexp(t->q->zero[i], -(int)fine);
  wanted w = along(t->q, t->rank, v);
  check_numbers(c, op, "zero", zero, &w, t->q);
}

// ---- factors ----------------------------------------------------------------

// Scales of an op's operand: those of its entry, or of sums of products of codes.
static bool scales_of(vq_checker *c, const vq_value *x, wanted *w, const vq_quant **q) {
  *q = x->type->q;
  if (*q) {
    double *v = numbers(c, (*q)->n);
    for (uint32_t i = 0; i < (*q)->n; i++) v[i] = (double)(*q)->scale[i];
    *w = along(*q, x->type->rank, v);
    return true;
  }
  if (x->kind != VQ_VALUE_RESULT ||
      (x->def->code != VQ_OP_linear && x->def->code != VQ_OP_patch_embed))
    return false;
  const vq_quant *a = vq_in(x->def, 0)->type->q, *b = vq_in(x->def, 1)->type->q;
  if (!a || !b || a->n != 1 || vq_quant_axis(b, 2) > 0) return false;
  int fine = x->def->code == VQ_OP_linear ? (int)VQ_ATTRS(x->def, linear)->fine : 0;
  double *v = numbers(c, b->n);
  for (uint32_t i = 0; i < b->n; i++)
    v[i] = (double)(float)(ldexp((double)a->scale[0], fine) * (double)b->scale[i]);
  *w = (wanted){b->n, 0, v}, *q = b;
  return true;
}

static void check_quantize(vq_checker *c, const vq_op *op) {
  const vq_type *t = op->out->type;
  int fine = (int)VQ_ATTRS(op, quantize)->fine;
  check_zero(c, op, vq_in_opt(op, 2), t, fine);
  if (VQ_ATTRS(op, quantize)->folded) return;
  double *v = numbers(c, t->q->n);
  for (uint32_t i = 0; i < t->q->n; i++)
    v[i] = ldexp((double)(1 / t->q->scale[i]), -fine);
  wanted w = along(t->q, t->rank, v);
  check_numbers(c, op, "mult", vq_in(op, 1), &w, t->q);
}

static void check_requantize(vq_checker *c, const vq_op *op) {
  const vq_type *t = op->out->type;
  const vq_quant *from;
  wanted x;
  check_zero(c, op, vq_in_opt(op, 2), t, 0);
  if (VQ_ATTRS(op, requantize)->folded || !scales_of(c, vq_in(op, 0), &x, &from)) return;
  wanted w = along(t->q, t->rank, NULL);
  if (x.n > 1 && w.n > 1 && (x.n != w.n || x.behind != w.behind)) return;
  if (x.n > 1) w.behind = x.behind;
  w.n = x.n > w.n ? x.n : w.n;
  double *v = numbers(c, w.n);
  for (uint32_t i = 0; i < w.n; i++) {
    float inverse = 1 / t->q->scale[t->q->n == 1 ? 0 : i];
    v[i] = (double)(float)(x.v[x.n == 1 ? 0 : i] * (double)inverse);
  }
  w.v = v;
  check_numbers(c, op, "mult", vq_in(op, 1), &w, t->q);
}

static void check_dequantize(vq_checker *c, const vq_op *op) {
  const vq_value *x = vq_in(op, 0);
  const vq_quant *q;
  wanted w;
  int fine = (int)VQ_ATTRS(op, dequantize)->fine;
  if (x->type->q) check_zero(c, op, vq_in_opt(op, 2), x->type, fine);
  if (!scales_of(c, x, &w, &q)) return;
  double *v = numbers(c, w.n);
  for (uint32_t i = 0; i < w.n; i++) v[i] = ldexp(w.v[i], fine);
  w.v = v;
  check_numbers(c, op, "mult", vq_in(op, 1), &w, q);
}

static void check_attention(vq_checker *c, const vq_op *op) {
  const vq_attrs_attention_int *a = VQ_ATTRS(op, attention_int);
  const int64_t zero[] = {a->q_zero, a->k_zero, a->v_zero};
  for (unsigned i = 0; i < 3; i++) {
    const vq_quant *q = vq_in(op, i)->type->q;
    for (uint32_t k = 0; q && k < q->n; k++) {
      if (q->zero[k] == zero[i]) continue;
      vq_checker_fail(c, VQ_E_type, op->loc, "%s: %c_zero is %lld, expected %d as %s says",
                      vq_checker_op(c, op), "qkv"[i], (long long)zero[i], q->zero[k],
                      vq_checker_z(c, '@', q->name));
      break;
    }
  }
}

static void check_op(vq_checker *c, const vq_op *op) {
  switch ((int)op->code) {
    case VQ_OP_quantize:
      if (op->out->type->q) check_quantize(c, op);
      break;
    case VQ_OP_requantize:
      if (op->out->type->q) check_requantize(c, op);
      break;
    case VQ_OP_dequantize: check_dequantize(c, op); break;
    case VQ_OP_attention_int: check_attention(c, op); break;
    default: break;
  }
}

void vq_check_quants(vq_checker *c) {
  check_names(c);
  vq_each_func(c->m, f)
    vq_each_op(f, op)
      if (!vq_checker_full(c)) check_op(c, op);
}
