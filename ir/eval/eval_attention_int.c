// attention_int: attention of codes, as docs/integer-semantics.md states it.
#include "eval/eval_ops.h"
#include "vq/exp2.h"

#include <stdlib.h>

static double f32(double v) { return (double)(float)v; }

// The code of a score that is d below the largest, d <= 0 or NaN; `p` is for codes without
// table.
static double code_of(const vq_attrs_attention_int *a, const vq_exp2 *p, double d) {
  if (!a->table.n) return vq_exp2_code(p, d > INT16_MIN ? (int32_t)nearbyint(d) : INT16_MIN);
  double t = f32(d * -(double)a->rate), n = a->table.n;
  t = t < n ? t : n;  // a NaN as well
  int64_t code = t > 0 ? (int64_t)nearbyint(t) : 0;
  return code < (int64_t)a->table.n ? (double)a->table.p[code] : 0;
}

typedef struct head {
  const vq_op *op;
  const vq_tensor *in;
  vq_tensor *out;
  int64_t q, k, v, bias, y;  // element offsets
  int64_t n, m, d, e, qk_row, v_row;
  double *a, *s, *o;
} head;

// Scores to codes, in place; the sum of the codes.
static double code_row(const head *h, const double *s, int64_t row, double *p) {
  const vq_attrs_attention_int *a = VQ_ATTRS(h->op, attention_int);
  double most = (double)-INFINITY, sum = 0;
  for (int64_t j = 0; j < h->m; j++) {
    double t = f32(f32(s[j]) * (double)a->scale);
    if (vq_in_opt(h->op, 3))
      t = f32(t + vq_load_f64(VQ_f32, h->in[3].data, h->bias + row * h->m + j));
    p[j] = t;
    most = t > most ? t : most;
  }
  vq_exp2 words = vq_exp2_of(a->levels);
  for (int64_t j = 0; j < h->m; j++) {
    p[j] = code_of(a, &words, f32(p[j] - most));
    sum += p[j];
  }
  return sum;
}

static void shift(double *x, int64_t n, int64_t zero) {
  for (int64_t i = 0; i < n; i++) x[i] -= (double)zero;
}

// vq_gemm_pack of codes less their zero point; what pads a panel stays 0.
static double *pack(const vq_mat *b, int64_t zero) {
  double *panels = vq_gemm_pack(b);
  for (int64_t n = 0; n < b->n; n++)
    for (int64_t k = 0; k < b->k; k++)
      panels[(n / 16 * b->k + k) * 16 + n % 16] -= (double)zero;
  return panels;
}

static void run_head(const head *h) {
  const vq_attrs_attention_int *at = VQ_ATTRS(h->op, attention_int);
  vq_mat kt = {h->in[1].type->dtype, h->in[1].data, h->k, 16 * h->qk_row,
               h->qk_row, 1, h->d, h->m};
  vq_mat v = {h->in[2].type->dtype, h->in[2].data, h->v, 16, 1, h->v_row,
              h->m, h->e};
  double *keys = pack(&kt, at->k_zero), *values = pack(&v, at->v_zero);
  int64_t s_width = vq_gemm_width(h->m), o_width = vq_gemm_width(h->e);
  double inv[VQ_GEMM_ROWS];
  for (int64_t i = 0; i < h->n; i += VQ_GEMM_ROWS) {
    int64_t n = h->n - i < VQ_GEMM_ROWS ? h->n - i : VQ_GEMM_ROWS;
    for (int64_t r = 0; r < n; r++)
      vq_load_f64_n(h->in[0].type->dtype, h->in[0].data,
                    h->q + (i + r) * h->qk_row, 1, h->d, h->a + r * h->d);
    shift(h->a, n * h->d, at->q_zero);
    vq_gemm(h->a, n, h->d, keys, h->m, h->s);
    for (int64_t r = 0; r < n; r++)
      inv[r] = f32(1 / code_row(h, h->s + r * s_width, i + r, h->s + r * h->m));
    vq_gemm(h->s, n, h->m, values, h->e, h->o);
    for (int64_t r = 0; r < n; r++) {
      double *o = h->o + r * o_width;
      for (int64_t c = 0; c < h->e; c++) o[c] = f32(o[c]) * inv[r];
      vq_store_f64_n(VQ_f32, h->out->data, h->y + (i + r) * h->v_row, 1, h->e, o);
    }
  }
  free(keys);
  free(values);
}

vq_status vq_eval_attention_int(const vq_op *op, const vq_tensor *in,
                                vq_tensor *out, vq_diag *diag) {
  (void)diag;
  const int64_t *q = in[0].type->dim, *k = in[1].type->dim;
  int64_t n_head = VQ_ATTRS(op, attention_int)->heads;
  head h = {.op = op, .in = in, .out = out, .n = q[1], .m = k[1],
            .qk_row = q[2], .v_row = in[2].type->dim[2]};
  h.d = h.qk_row / n_head, h.e = h.v_row / n_head;
  const int64_t *bias = vq_in_opt(op, 3) ? in[3].type->dim : NULL;
  h.a = vq_eval_alloc((size_t)(VQ_GEMM_ROWS * h.d), sizeof(double));
  h.s = vq_eval_alloc((size_t)(VQ_GEMM_ROWS * vq_gemm_width(h.m)), sizeof(double));
  h.o = vq_eval_alloc((size_t)(VQ_GEMM_ROWS * vq_gemm_width(h.e)), sizeof(double));
  for (int64_t b = 0; b < q[0]; b++)
    for (int64_t i = 0; i < n_head; i++) {
      h.q = b * h.n * h.qk_row + i * h.d;
      h.k = b * h.m * h.qk_row + i * h.d;
      h.v = b * h.m * h.v_row + i * h.e;
      h.y = b * h.n * h.v_row + i * h.e;
      if (bias) h.bias = (b % bias[0] * bias[1] + i % bias[1]) * h.n * h.m;
      run_head(&h);
    }
  free(h.a);
  free(h.s);
  free(h.o);
  return VQ_OK;
}
