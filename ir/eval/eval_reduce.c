// Reductions: one pass over the reduced elements in row-major order.
//
// Floats are summed and multiplied in binary64 and rounded once; integers wrap, in
// i64 for a mean, which is a quotient of binary64 rounded to f32. An empty reduction
// gives the neutral element.
#include "eval/eval_ops.h"

typedef enum reduce_kind { SUM, MEAN, MAX, MIN, PROD } reduce_kind;

static double fold_f64(reduce_kind kind, double acc, int64_t n,
                       const double *x) {
  switch (kind) {
    case SUM:
    case MEAN:
      for (int64_t i = 0; i < n; i++) acc += x[i];
      break;
    case PROD:
      for (int64_t i = 0; i < n; i++) acc *= x[i];
      break;
    case MAX:
      for (int64_t i = 0; i < n; i++)
        acc = x[i] != x[i] || x[i] > acc ? x[i] : acc;
      break;
    case MIN:
      for (int64_t i = 0; i < n; i++)
        acc = x[i] != x[i] || x[i] < acc ? x[i] : acc;
      break;
  }
  return acc;
}

static int64_t fold_i64(reduce_kind kind, int64_t acc, int64_t n,
                        const int64_t *x) {
  switch (kind) {
    case SUM:
    case MEAN:
      for (int64_t i = 0; i < n; i++)
        acc = (int64_t)((uint64_t)acc + (uint64_t)x[i]);
      break;
    case PROD:
      for (int64_t i = 0; i < n; i++)
        acc = (int64_t)((uint64_t)acc * (uint64_t)x[i]);
      break;
    case MAX:
      for (int64_t i = 0; i < n; i++) acc = x[i] > acc ? x[i] : acc;
      break;
    case MIN:
      for (int64_t i = 0; i < n; i++) acc = x[i] < acc ? x[i] : acc;
      break;
  }
  return acc;
}

#define BLOCK 256

// Reduces the elements of `inner`, which starts at element `at` of `x`.
static void reduce_one(reduce_kind kind, const vq_tensor *x, int64_t at,
                       vq_walk inner, vq_tensor *out, int64_t to) {
  bool is_float = vq_dtype_class_of(x->type->dtype) == VQ_CLASS_FLOAT;
  int64_t least = 0, most = 0, count = 0;
  if (!is_float) vq_int_range(x->type->dtype, &least, &most);
  double f = kind == PROD  ? 1
             : kind == MAX ? (double)-INFINITY
             : kind == MIN ? (double)INFINITY
                           : 0;
  int64_t v = kind == PROD ? 1 : kind == MAX ? least : kind == MIN ? most : 0;
  inner.at[0] = at;
  for (bool more = vq_walk_rows(&inner); more; more = vq_walk_next(&inner))
    for (int64_t i = 0; i < inner.n; i += BLOCK) {
      int64_t n = inner.n - i < BLOCK ? inner.n - i : BLOCK;
      int64_t from = inner.at[0] + i * inner.step[0];
      double xf[BLOCK];
      int64_t xi[BLOCK];
      count += n;
      if (is_float) {
        vq_load_f64_n(x->type->dtype, x->data, from, inner.step[0], n, xf);
        f = fold_f64(kind, f, n, xf);
      } else {
        vq_load_i64_n(x->type->dtype, x->data, from, inner.step[0], n, xi);
        v = fold_i64(kind, v, n, xi);
      }
    }
  if (!is_float && kind == MEAN) f = (double)v;
  if (is_float || kind == MEAN)
    vq_store_f64(out->type->dtype, out->data, to,
                 kind == MEAN ? f / (double)count : f);
  else
    vq_store_i64(out->type->dtype, out->data, to, v);
}

// `outer` runs over the kept dimensions, `inner` over the reduced ones; both
// walk in row-major order, so outputs come in order too.
static vq_status reduce(reduce_kind kind, vq_ints axes, const vq_tensor *x,
                        vq_tensor *out) {
  const vq_type *t = x->type;
  int64_t stride[VQ_MAX_RANK], to = 0;
  vq_type_strides(t, stride);
  vq_walk outer = {.n_tensor = 1}, inner = {.n_tensor = 1};
  for (unsigned k = 0; k < t->rank; k++) {
    bool reduced = false;
    for (uint32_t i = 0; i < axes.n; i++)
      reduced |= axes.p[i] == k;
    vq_walk *w = reduced ? &inner : &outer;
    w->dim[w->rank] = t->dim[k];
    w->stride[0][w->rank++] = stride[k];
  }
  for (bool more = vq_walk_rows(&outer); more; more = vq_walk_next(&outer))
    for (int64_t i = 0; i < outer.n; i++)
      reduce_one(kind, x, outer.at[0] + i * outer.step[0], inner, out, to++);
  return VQ_OK;
}

#define REDUCE(name, kind)                                       \
  vq_status vq_eval_##name(const vq_op *op, const vq_tensor *in, \
                           vq_tensor *out, vq_diag *diag) {      \
    (void)diag;                                                  \
    return reduce(kind, VQ_ATTRS(op, name)->axes, in, out);      \
  }
REDUCE(reduce_sum, SUM)
REDUCE(reduce_mean, MEAN)
REDUCE(reduce_max, MAX)
REDUCE(reduce_min, MIN)
REDUCE(reduce_prod, PROD)
