// Central differences in binary64: of @main, against what @main.grad says.
//
// With random seeds s and a random direction u, <main.grad(x, s), u> must be the
// derivative of <s, main(x + h u)> by h. Both sides are evaluated in binary64, so
// the difference is the rule's error and not rounding: what is allowed, 1e-6 of
// the sum of absolute terms, is that of constants such as 1/sqrt(2) in f32.
#ifndef VQ_TEST_DIFFERENCES_H
#define VQ_TEST_DIFFERENCES_H

#include "compiled.h"
#include "wide.h"

static vq_arena temp;

static inline vq_status passes(vq_module *m, const char *text, vq_diag *dg) {
  vq_pipeline *p;
  vq_instrument ins = {.verify_each = true};
  if (vq_pipeline_parse(m->ctx, vq_str_of(text), dg, &p)) return VQ_ERR;
  vq_status st = vq_pipeline_run(p, m, dg, &ins, NULL, NULL);
  vq_pipeline_destroy(p);
  return st;
}

static inline vq_func *func(const vq_module *m, const char *name) {
  vq_func *f = vq_module_func(m, vq_str_of(name));
  ck_assert_msg(f != NULL, "no @%s", name);
  return f;
}

static inline double uniform(double lo, double hi) {
  return lo + (double)(random_bits() >> 11) * 0x1p-53 * (hi - lo);
}

static inline void fill_wide(const vq_tensor *t, double lo, double hi) {
  for (int64_t i = 0; i < vq_type_count(t->type); i++)
    if (t->type->dtype == VQ_f64)
      vq_store_f64(VQ_f64, t->data, i, uniform(lo, hi));
    else
      vq_store_i64(t->type->dtype, t->data, i, (int64_t)(random_bits() >> 63));
}

static inline double *doubles(const vq_tensor *t) {
  ck_assert_int_eq(t->type->dtype, VQ_f64);
  return t->data;
}

// <s, f(x + h u)>
static inline double moved(const vq_func *f, const vq_tensor *x, const vq_tensor *u,
                    const vq_tensor *s, double h) {
  vq_arena a = {0};
  vq_tensor in[8], out[8];
  for (unsigned i = 0; i < f->n_arg; i++) {
    in[i] = x[i];
    if (x[i].type->dtype != VQ_f64) continue;
    in[i] = wide_new(f->arg[i].type, f->module->ctx, &a);
    for (int64_t k = 0; k < vq_type_count(x[i].type); k++)
      doubles(&in[i])[k] = doubles(&x[i])[k] + h * doubles(&u[i])[k];
  }
  wide_eval(f, in, out, &diag, &a);
  double sum = 0;
  for (unsigned i = 0; i < f->n_result; i++)
    for (int64_t k = 0; k < vq_type_count(f->result[i]); k++)
      sum += doubles(&out[i])[k] * doubles(&s[i])[k];
  vq_arena_release(&a);
  return sum;
}

// The derivative by h at 0, its second-order error removed.
static inline double slope(const vq_func *f, const vq_tensor *x, const vq_tensor *u,
                    const vq_tensor *s) {
  double h = 1e-4, d[2];
  for (unsigned i = 0; i < 2; i++, h /= 2)
    d[i] = (moved(f, x, u, s, h) - moved(f, x, u, s, -h)) / (2 * h);
  return (4 * d[1] - d[0]) / 3;
}

// @main.grad against @main in one random direction; all f32 arguments.
static inline void compare(const char *what, vq_module *m, double lo, double hi) {
  const vq_func *f = func(m, "main"), *grad = func(m, "main.grad");
  vq_tensor x[16], u[8], d[8];
  ck_assert_uint_le(f->n_arg + f->n_result, 8);
  for (unsigned i = 0; i < grad->n_arg; i++) {
    x[i] = wide_new(grad->arg[i].type, ctx, &temp);
    fill_wide(&x[i], i < f->n_arg ? lo : -1, i < f->n_arg ? hi : 1);
  }
  for (unsigned i = 0; i < f->n_arg; i++) {
    u[i] = wide_new(f->arg[i].type, ctx, &temp);
    fill_wide(&u[i], -1, 1);
  }
  wide_eval(grad, x, d, &diag, &temp);
  double got = 0, size = 0;
  for (unsigned i = 0, n = 0; i < f->n_arg; i++) {
    if (x[i].type->dtype != VQ_f64) continue;
    ck_assert_ptr_eq(d[n].type, x[i].type);
    for (int64_t k = 0; k < vq_type_count(x[i].type); k++) {
      double term = doubles(&d[n])[k] * doubles(&u[i])[k];
      got += term;
      size += fabs(term);
    }
    n++;
  }
  double want = slope(f, x, u, x + f->n_arg);
  ck_assert_msg(fabs(got - want) <= 1e-6 * size + 1e-9, "%s: %.12g, expected %.12g (of %g)",
                what, got, want, size);
  vq_arena_reset(&temp);
}

#endif
