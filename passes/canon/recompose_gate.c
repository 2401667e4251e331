// GELU (erf, tanh, sigmoid) and SiLU: a product c * x * E(x).
//
// The factors may be multiplied in any order and grouping, the constants may
// sit anywhere: the product is checked as a product and arguments as
// polynomials in x, so no spelling is listed here.
#include "canon/rewriter.h"

#define MAX_FACTORS 12

// The values met while taking the product rooted at `v` apart.
typedef struct factors {
  vq_value *v[MAX_FACTORS];
  unsigned n;
} factors;

static void collect(factors *f, vq_value *v, int depth) {
  if (v->kind == VQ_VALUE_CONST || f->n == MAX_FACTORS) return;
  f->v[f->n++] = v;
  if (v->kind != VQ_VALUE_RESULT || depth == 0) return;
  const vq_op *op = v->def;
  if (op->code == VQ_OP_mul || op->code == VQ_OP_div) {
    collect(f, vq_in(op, 0), depth - 1);
    if (op->code == VQ_OP_mul) collect(f, vq_in(op, 1), depth - 1);
  }
}

// How often x and e occur in the product `v`, and its constant factor.
typedef struct product {
  unsigned n_x, n_e;
  double c;
} product;

static bool take_apart(vq_value *v, const vq_value *x, const vq_value *e,
                       product *p, int depth) {
  double c;
  if (v == x) return p->n_x++ == 0;
  if (v == e) return p->n_e++ == 0;
  if (vq_const_uniform(v, &c)) {
    p->c *= c;
    return true;
  }
  if (v->kind != VQ_VALUE_RESULT || depth == 0) return false;
  const vq_op *op = v->def;
  if (op->code == VQ_OP_div && vq_const_uniform(vq_in(op, 1), &c) && c != 0) {
    p->c /= c;
    return take_apart(vq_in(op, 0), x, e, p, depth - 1);
  }
  return op->code == VQ_OP_mul &&
         take_apart(vq_in(op, 0), x, e, p, depth - 1) &&
         take_apart(vq_in(op, 1), x, e, p, depth - 1);
}

// The erf, tanh or sigmoid under `e`, through arithmetic with constants.
static vq_value *inner_function(vq_value *e, int depth) {
  vq_value *x, *c;
  bool swapped;
  if (e->kind != VQ_VALUE_RESULT || depth == 0) return NULL;
  const vq_op *op = e->def;
  if (op->code == VQ_OP_erf || op->code == VQ_OP_tanh ||
      op->code == VQ_OP_sigmoid)
    return e;
  if (op->code != VQ_OP_add && op->code != VQ_OP_mul && op->code != VQ_OP_div)
    return NULL;
  if (!vq_with_const(op, &x, &c, &swapped)) return NULL;
  return inner_function(x, depth - 1);
}

static bool is_line(const vq_poly *p, double slope) {
  return p->c[0] == 0 && p->c[2] == 0 && p->c[3] == 0 && vq_near(p->c[1], slope);
}

// The form of gate: t is the function's value, arg its argument in x; `c` the
// constant before x * t. NULL: no known gate.
static const char *form_of(const vq_op *t, const vq_poly *e, const vq_poly *arg,
                           double c) {
  const double root_2_pi = 0.7978845608028654;
  if (e->c[2] != 0 || e->c[3] != 0) return NULL;
  if (t->code == VQ_OP_sigmoid) {
    if (e->c[0] != 0 || !vq_near(c * e->c[1], 1)) return NULL;
    return is_line(arg, 1) ? "silu" : is_line(arg, 1.702) ? "sigmoid" : NULL;
  }
  if (!vq_near(e->c[0], e->c[1]) || !vq_near(c * e->c[1], 0.5)) return NULL;
  if (t->code == VQ_OP_erf)
    return is_line(arg, 0.7071067811865476) ? "erf" : NULL;
  bool cubic = arg->c[0] == 0 && arg->c[2] == 0 &&
               vq_near(arg->c[1], root_2_pi) &&
               vq_near(arg->c[3], root_2_pi * 0.044715);
  return cubic ? "tanh" : NULL;
}

static const char *gate(vq_op *op, vq_value *x, vq_value *e, vq_value *t) {
  product p = {.c = 1};
  vq_poly outer, arg;
  if (x == e || x->type != op->out[0].type || t->type != x->type) return NULL;
  if (!take_apart(&op->out[0], x, e, &p, 5) || p.n_x != 1 || p.n_e != 1)
    return NULL;
  if (!vq_poly_of(e, t, &outer) || !vq_poly_of(vq_in(t->def, 0), x, &arg))
    return NULL;
  return form_of(t->def, &outer, &arg, p.c);
}

bool vq_rule_gate(vq_rw *rw, vq_op *op) {
  factors f = {.n = 0};
  collect(&f, &op->out[0], 4);
  for (unsigned i = 1; i < f.n; i++) {
    vq_value *t = inner_function(f.v[i], 4);
    for (unsigned j = 1; t && j < f.n; j++) {
      const char *form = gate(op, f.v[j], f.v[i], t);
      if (!form) continue;
      if (strcmp(form, "silu") == 0)
        return vq_rw_replace(rw, op,
                             vq_rw_build(rw, VQ_OP_silu, &f.v[j], 1, NULL),
                             "silu");
      vq_attrs_gelu a = {.form = vq_str_of(form)};
      return vq_rw_replace(rw, op, vq_rw_build(rw, VQ_OP_gelu, &f.v[j], 1, &a),
                           "gelu");
    }
  }
  return false;
}
