// attention_softmax, and attention_grad: what the gradient of attention's result makes of
// q, k and v.
#include <math.h>
#include <stdlib.h>

#include "eval/eval_ops.h"

// One head of one sample in binary64, rows without gaps.
typedef struct head {
  int64_t n, m, d, e;         // queries, keys, their width, values' width
  double scale;
  double *q, *k, *v, *g;      // operands
  double *dq, *dk, *dv;
  double *p, *ds;             // of one query
} head;

static double dot(const double *a, const double *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

static void add_times(double *y, double a, const double *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

static void soften(double *p, int64_t n) {
  double most = (double)-INFINITY, sum = 0;
  for (int64_t j = 0; j < n; j++) most = p[j] > most ? p[j] : most;
  for (int64_t j = 0; j < n; j++) sum += p[j] = exp(p[j] - most);
  for (int64_t j = 0; j < n; j++) p[j] /= sum;
}

static void run_query(const head *h, int64_t i) {
  const double *q = h->q + i * h->d, *g = h->g + i * h->e;
  double mean = 0;
  for (int64_t j = 0; j < h->m; j++)
    mean += h->p[j] * (h->ds[j] = dot(g, h->v + j * h->e, h->e));
  for (int64_t j = 0; j < h->m; j++) {
    double ds = h->scale * h->p[j] * (h->ds[j] - mean);
    add_times(h->dq + i * h->d, ds, h->k + j * h->d, h->d);
    add_times(h->dk + j * h->d, ds, q, h->d);
    add_times(h->dv + j * h->e, h->p[j], g, h->e);
  }
}

// `n` rows of `width` elements of a head, which lie `row` apart.
static void load(const vq_tensor *t, int64_t at, int64_t n, int64_t row, int64_t width,
                 double *to) {
  for (int64_t i = 0; i < n; i++)
    vq_load_f64_n(t->type->dtype, t->data, at + i * row, 1, width, to + i * width);
}

static void store(vq_tensor *t, int64_t at, int64_t n, int64_t row, int64_t width,
                  const double *from) {
  for (int64_t i = 0; i < n; i++)
    vq_store_f64_n(t->type->dtype, t->data, at + i * row, 1, width, from + i * width);
}

static void run_head(head *h, const vq_tensor *in, vq_tensor *out, int64_t b, int64_t i,
                     int64_t heads) {
  int64_t d = heads * h->d, e = heads * h->e, flat = h->n * d, all = flat + h->m * (d + e);
  load(&in[0], b * h->n * d + i * h->d, h->n, d, h->d, h->q);
  load(&in[1], b * h->m * d + i * h->d, h->m, d, h->d, h->k);
  load(&in[2], b * h->m * e + i * h->e, h->m, e, h->e, h->v);
  load(&in[3], b * h->n * e + i * h->e, h->n, e, h->e, h->g);
  memset(h->dq, 0, (size_t)((h->n + h->m) * h->d + h->m * h->e) * sizeof(double));
  for (int64_t row = 0; row < h->n; row++) {
    load(&in[4], ((b * heads + i) * h->n + row) * h->m, 1, h->m, h->m, h->p);
    run_query(h, row);
  }
  store(out, b * all + i * h->d, h->n, d, h->d, h->dq);
  store(out, b * all + flat + i * h->d, h->m, d, h->d, h->dk);
  store(out, b * all + flat + h->m * d + i * h->e, h->m, e, h->e, h->dv);
}

vq_status vq_eval_attention_grad(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                                 vq_diag *diag) {
  (void)diag;
  const vq_attrs_attention_grad *a = VQ_ATTRS(op, attention_grad);
  const int64_t *q = in[0].type->dim, *v = in[2].type->dim;
  head h = {.n = q[1], .m = v[1], .d = q[2] / a->heads, .e = v[2] / a->heads,
            .scale = (double)a->scale};
  int64_t count = (h.n + h.m) * (h.d + h.e) + (h.n + h.m) * h.d + h.m * h.e + 2 * h.m;
  double *all = vq_eval_alloc((size_t)count, sizeof *all);
  h.q = all, h.k = h.q + h.n * h.d, h.v = h.k + h.m * h.d, h.g = h.v + h.m * h.e;
  h.dq = h.g + h.n * h.e, h.dk = h.dq + h.n * h.d, h.dv = h.dk + h.m * h.d;
  h.p = h.dv + h.m * h.e, h.ds = h.p + h.m;
  for (int64_t b = 0; b < q[0]; b++)
    for (int64_t i = 0; i < a->heads; i++) run_head(&h, in, out, b, i, a->heads);
  free(all);
  return VQ_OK;
}

// ---- attention_softmax -------------------------------------------------------------

static void soften_head(const head *h, const vq_tensor *bias, vq_tensor *out, int64_t b,
                        int64_t i, int64_t heads) {
  for (int64_t row = 0; row < h->n; row++) {
    if (bias) {
      const int64_t *t = bias->type->dim;
      int64_t at = ((b % t[0] * t[1] + i % t[1]) * h->n + row) * h->m;
      load(bias, at, 1, h->m, h->m, h->ds);
    }
    for (int64_t j = 0; j < h->m; j++)
      h->p[j] = h->scale * dot(h->q + row * h->d, h->k + j * h->d, h->d) + h->ds[j];
    soften(h->p, h->m);
    store(out, ((b * heads + i) * h->n + row) * h->m, 1, h->m, h->m, h->p);
  }
}

vq_status vq_eval_attention_softmax(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                                    vq_diag *diag) {
  (void)diag;
  const vq_attrs_attention_softmax *a = VQ_ATTRS(op, attention_softmax);
  const int64_t *q = in[0].type->dim, *k = in[1].type->dim;
  head h = {.n = q[1], .m = k[1], .d = q[2] / a->heads, .scale = (double)a->scale};
  double *all = vq_eval_alloc((size_t)((h.n + h.m) * h.d + 2 * h.m), sizeof *all);
  h.q = all, h.k = h.q + h.n * h.d, h.p = h.k + h.m * h.d, h.ds = h.p + h.m;
  for (int64_t j = 0; j < h.m; j++) h.ds[j] = 0;  // the bias of a row
  for (int64_t b = 0; b < q[0]; b++)
    for (int64_t i = 0; i < a->heads; i++) {
      load(&in[0], b * h.n * q[2] + i * h.d, h.n, q[2], h.d, h.q);
      load(&in[1], b * h.m * q[2] + i * h.d, h.m, q[2], h.d, h.k);
      soften_head(&h, vq_in_opt(op, 2) ? &in[2] : NULL, out, b, i, a->heads);
    }
  free(all);
  return VQ_OK;
}
