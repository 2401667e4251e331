// Matchers over values. Nothing here changes the IR.
#include "canon/pattern.h"

vq_op *vq_def(const vq_value *v, vq_opcode code) {
  return v && v->kind == VQ_VALUE_RESULT && v->def->code == code ? v->def : NULL;
}

bool vq_near(double a, double b) { return fabs(a - b) <= 1e-4 * fabs(b); }

bool vq_is_row(vq_value *v, int64_t n) {
  vq_const *c = vq_const_of(v);
  if (!c || c->init == VQ_INIT_MISSING) return false;
  if (v->type->dtype != VQ_f32 || v->type->q) return false;
  int64_t count = vq_type_count(v->type);
  if (count == 1) return true;
  return count == n && v->type->dim[v->type->rank - 1] == n;
}

bool vq_with_const(const vq_op *op, vq_value **x, vq_value **c,
                   bool *swapped) {
  vq_value *a = vq_in(op, 0), *b = vq_in(op, 1);
  *swapped = vq_const_of(a) != NULL;
  *x = *swapped ? b : a;
  *c = *swapped ? a : b;
  return vq_const_of(*c) != NULL && !vq_const_of(*x);
}

bool vq_unscale(vq_value *v, vq_value **x, double *c) {
  vq_value *k;
  bool swapped;
  if (v->kind != VQ_VALUE_RESULT) return false;
  const vq_op *op = v->def;
  if (op->code == VQ_OP_neg) {
    *x = vq_in(op, 0);
    *c = -1;
    return v->type->dtype == VQ_f32;
  }
  if (op->code != VQ_OP_mul && op->code != VQ_OP_div) return false;
  if (!vq_with_const(op, x, &k, &swapped) || (*x)->type != v->type ||
      v->type->dtype != VQ_f32 || !vq_const_uniform(k, c))
    return false;
  if (op->code == VQ_OP_mul) return true;
  if (swapped || *c == 0) return false;
  *c = 1 / *c;
  return true;
}

static bool poly_mul(const vq_poly *a, const vq_poly *b, vq_poly *r) {
  *r = (vq_poly){{0}};
  for (int i = 0; i <= VQ_POLY_MAX; i++)
    for (int j = 0; j <= VQ_POLY_MAX; j++) {
      double t = a->c[i] * b->c[j];
      if (i + j <= VQ_POLY_MAX) r->c[i + j] += t;
      else if (t != 0) return false;
    }
  return true;
}

static bool poly(vq_value *v, const vq_value *x, vq_poly *p, int depth);

static bool poly_pow(const vq_op *op, const vq_value *x, vq_poly *p,
                     int depth) {
  double e;
  vq_poly base, t;
  if (!vq_const_uniform(vq_in(op, 1), &e) || e < 1 || e > VQ_POLY_MAX || e != floor(e))
    return false;
  if (!poly(vq_in(op, 0), x, &base, depth)) return false;
  *p = base;
  for (int i = 1; i < (int)e; i++) {
    t = *p;
    if (!poly_mul(&t, &base, p)) return false;
  }
  return true;
}

static bool poly_binary(const vq_op *op, const vq_value *x, vq_poly *p,
                        int depth) {
  vq_poly a, b;
  if (!poly(vq_in(op, 0), x, &a, depth) || !poly(vq_in(op, 1), x, &b, depth))
    return false;
  if (op->code == VQ_OP_mul) return poly_mul(&a, &b, p);
  if (op->code == VQ_OP_div) {
    if (b.c[0] == 0 || b.c[1] != 0 || b.c[2] != 0 || b.c[3] != 0) return false;
    for (int i = 0; i <= VQ_POLY_MAX; i++) p->c[i] = a.c[i] / b.c[0];
    return true;
  }
  double sign = op->code == VQ_OP_sub ? -1 : 1;
  for (int i = 0; i <= VQ_POLY_MAX; i++) p->c[i] = a.c[i] + sign * b.c[i];
  return true;
}

static bool poly(vq_value *v, const vq_value *x, vq_poly *p, int depth) {
  *p = (vq_poly){{0}};
  if (v == x) {
    p->c[1] = 1;
    return true;
  }
  if (v->kind == VQ_VALUE_CONST) return vq_const_uniform(v, &p->c[0]);
  if (v->kind != VQ_VALUE_RESULT || depth == 0 || v->type != x->type)
    return false;
  const vq_op *op = v->def;
  if (op->code == VQ_OP_pow) return poly_pow(op, x, p, depth - 1);
  if (op->code == VQ_OP_neg) {
    if (!poly(vq_in(op, 0), x, p, depth - 1)) return false;
    for (int i = 0; i <= VQ_POLY_MAX; i++) p->c[i] = -p->c[i];
    return true;
  }
  if (op->code != VQ_OP_add && op->code != VQ_OP_sub &&
      op->code != VQ_OP_mul && op->code != VQ_OP_div)
    return false;
  return poly_binary(op, x, p, depth - 1);
}

bool vq_poly_of(vq_value *v, const vq_value *x, vq_poly *p) {
  return poly(v, x, p, 6);
}
