// layer_norm, softmax and attention: whole rows in binary64, rounded once.
#include "eval/eval_ops.h"

#include <stdlib.h>

// Element `i` of operand `k`, or `missing`.
static double operand(const vq_op *op, const vq_tensor *in, unsigned k,
                      int64_t i, double missing) {
  return vq_in_opt(op, k) ? vq_load_f64(in[k].type->dtype, in[k].data, i)
                          : missing;
}

vq_status vq_eval_layer_norm(const vq_op *op, const vq_tensor *in,
                             vq_tensor *out, vq_diag *diag) {
  (void)diag;
  const vq_type *t = in[0].type;
  if (vq_dtype_class_of(t->dtype) == VQ_CLASS_INT) {
    vq_eval_layer_norm_int(op, in, out);
    return VQ_OK;
  }
  int64_t n = t->dim[t->rank - 1], count = vq_type_count(t);
  double eps = (double)VQ_ATTRS(op, layer_norm)->eps;
  double *x = vq_eval_alloc((size_t)n, sizeof *x);
  for (int64_t at = 0; at < count; at += n) {
    vq_load_f64_n(t->dtype, in[0].data, at, 1, n, x);
    double sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean);
    double root = sqrt(square / (double)n + eps);
    for (int64_t i = 0; i < n; i++)
      x[i] = (x[i] - mean) / root * operand(op, in, 1, i, 1) +
             operand(op, in, 2, i, 0);
    vq_store_f64_n(t->dtype, out->data, at, 1, n, x);
  }
  free(x);
  return VQ_OK;
}

// One row: `g` becomes the result.
static void norm_grad_row(const double *x, double *g, int64_t n, double eps) {
  double dn = (double)n, sum = 0, square = 0, sum_g = 0, cross = 0;
  for (int64_t i = 0; i < n; i++) sum += x[i];
  double mean = sum / dn;
  for (int64_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean);
  double root = sqrt(square / dn + eps);
  for (int64_t i = 0; i < n; i++) sum_g += g[i];
  for (int64_t i = 0; i < n; i++) cross += g[i] * ((x[i] - mean) / root);
  for (int64_t i = 0; i < n; i++)
    g[i] = (g[i] - sum_g / dn - (x[i] - mean) / root * (cross / dn)) / root;
}

vq_status vq_eval_layer_norm_grad(const vq_op *op, const vq_tensor *in,
                                  vq_tensor *out, vq_diag *diag) {
  (void)diag;
  const vq_type *t = in[0].type;
  int64_t n = t->dim[t->rank - 1], count = vq_type_count(t);
  double eps = (double)VQ_ATTRS(op, layer_norm_grad)->eps;
  double *x = vq_eval_alloc((size_t)(2 * n), sizeof *x), *g = x + n;
  for (int64_t at = 0; at < count; at += n) {
    vq_load_f64_n(t->dtype, in[0].data, at, 1, n, x);
    vq_load_f64_n(t->dtype, in[1].data, at, 1, n, g);
    norm_grad_row(x, g, n, eps);
    vq_store_f64_n(t->dtype, out->data, at, 1, n, g);
  }
  free(x);
  return VQ_OK;
}

static void softmax_row(double *x, int64_t n) {
  double most = (double)-INFINITY, sum = 0;
  for (int64_t i = 0; i < n; i++) most = x[i] > most ? x[i] : most;
  for (int64_t i = 0; i < n; i++) sum += x[i] = exp(x[i] - most);
  for (int64_t i = 0; i < n; i++) x[i] /= sum;
}

vq_status vq_eval_softmax(const vq_op *op, const vq_tensor *in,
                          vq_tensor *out, vq_diag *diag) {
  (void)diag;
  const vq_type *t = in[0].type;
  int64_t given = VQ_ATTRS(op, softmax)->axis;
  unsigned axis = given < 0 ? t->rank - 1u : (unsigned)given;
  int64_t n = t->dim[axis], inner = 1, count = vq_type_count(t);
  for (unsigned k = axis + 1; k < t->rank; k++) inner *= t->dim[k];
  double *x = vq_eval_alloc((size_t)n, sizeof *x);
  for (int64_t outer = 0; outer < count; outer += n * inner)
    for (int64_t at = outer; at < outer + inner; at++) {
      vq_load_f64_n(t->dtype, in[0].data, at, inner, n, x);
      softmax_row(x, n);
      vq_store_f64_n(t->dtype, out->data, at, inner, n, x);
    }
  free(x);
  return VQ_OK;
}

// ---- attention ----------------------------------------------------------------

// One head of one batch entry: where its rows start and how wide they are.
typedef struct head {
  const vq_op *op;
  const vq_tensor *in;
  vq_tensor *out;
  int64_t q, k, v, bias, y;      // element offsets
  int64_t n, m, d, e;            // queries, keys, their width, values' width
  int64_t qk_row, v_row;         // row lengths: heads * d, heads * e
  double *a, *s, *o;             // rows of q, scores and results
} head;

static void add_bias(const head *h, int64_t row, double *s) {
  for (int64_t j = 0; j < h->m; j++)
    s[j] += operand(h->op, h->in, 3, h->bias + row * h->m + j, 0);
}

// Scores of a block of queries against all keys, softmax, sum of values.
static void run_head(const head *h) {
  double scale = (double)VQ_ATTRS(h->op, attention)->scale;
  vq_mat kt = {h->in[1].type->dtype, h->in[1].data, h->k, 16 * h->qk_row,
               h->qk_row, 1, h->d, h->m};
  vq_mat v = {h->in[2].type->dtype, h->in[2].data, h->v, 16, 1, h->v_row,
              h->m, h->e};
  double *keys = vq_gemm_pack(&kt), *values = vq_gemm_pack(&v);
  int64_t s_width = vq_gemm_width(h->m), o_width = vq_gemm_width(h->e);
  vq_dtype tq = h->in[0].type->dtype, ty = h->out->type->dtype;
  for (int64_t i = 0; i < h->n; i += VQ_GEMM_ROWS) {
    int64_t n = h->n - i < VQ_GEMM_ROWS ? h->n - i : VQ_GEMM_ROWS;
    for (int64_t r = 0; r < n; r++)
      vq_load_f64_n(tq, h->in[0].data, h->q + (i + r) * h->qk_row, 1, h->d,
                    h->a + r * h->d);
    vq_gemm(h->a, n, h->d, keys, h->m, h->s);
    for (int64_t r = 0; r < n; r++) {
      double *s = h->s + r * s_width, *p = h->s + r * h->m;
      for (int64_t j = 0; j < h->m; j++) p[j] = s[j] * scale;
      if (vq_in_opt(h->op, 3)) add_bias(h, i + r, p);
      softmax_row(p, h->m);
    }
    vq_gemm(h->s, n, h->m, values, h->e, h->o);
    for (int64_t r = 0; r < n; r++)
      vq_store_f64_n(ty, h->out->data, h->y + (i + r) * h->v_row, 1, h->e,
                     h->o + r * o_width);
  }
  free(keys);
  free(values);
}

vq_status vq_eval_attention(const vq_op *op, const vq_tensor *in,
                            vq_tensor *out, vq_diag *diag) {
  (void)diag;
  const int64_t *q = in[0].type->dim, *k = in[1].type->dim;
  int64_t n_head = VQ_ATTRS(op, attention)->heads;
  head h = {.op = op, .in = in, .out = out, .n = q[1], .m = k[1],
            .qk_row = q[2], .v_row = in[2].type->dim[2]};
  h.d = h.qk_row / n_head;
  h.e = h.v_row / n_head;
  const int64_t *bias = vq_in_opt(op, 3) ? in[3].type->dim : NULL;
  h.a = vq_eval_alloc((size_t)(VQ_GEMM_ROWS * h.d), sizeof(double));
  h.s = vq_eval_alloc((size_t)(VQ_GEMM_ROWS * vq_gemm_width(h.m)),
                      sizeof(double));
  h.o = vq_eval_alloc((size_t)(VQ_GEMM_ROWS * vq_gemm_width(h.e)),
                      sizeof(double));
  for (int64_t b = 0; b < q[0]; b++)
    for (int64_t i = 0; i < n_head; i++) {
      h.q = b * h.n * h.qk_row + i * h.d;
      h.k = b * h.m * h.qk_row + i * h.d;
      h.v = b * h.m * h.v_row + i * h.e;
      h.y = b * h.n * h.v_row + i * h.e;
      if (bias)
        h.bias = (b % bias[0] * bias[1] + i % bias[1]) * h.n * h.m;
      run_head(&h);
    }
  free(h.a);
  free(h.s);
  free(h.o);
  return VQ_OK;
}
