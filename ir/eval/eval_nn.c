// Matrix products and the ops built on them: matmul, linear, conv2d and
// patch_embed.
//
// Each gathers its operands as rows of binary64 and leaves the sums to
// eval_gemm.c; the bias is added to the finished sum, and the result is rounded
// once, when it is stored.
#include "eval/eval_ops.h"

#include <math.h>
#include <stdlib.h>

#define PANEL 16

// ---- rows in, rows out ----------------------------------------------------------

// Fills `n` rows of the left matrix, starting with row `first`.
typedef void rows_fn(const void *user, int64_t first, int64_t n, double *a);

typedef struct product {
  rows_fn *rows;
  const void *user;
  int64_t n_row, k, n;
  const double *panels;
  const double *bias;  // n numbers, or NULL
  bool bf16;           // rows are rounded to bf16
  vq_tensor *out;      // row i, column j at base + i * row + j * col
  int64_t base, row, col;
  int fine;            // bits behind the point of the sums
} product;

// A sum without the bits behind the point, half of the last one up; in i32, which wraps.
static double whole(double sum, int fine) {
  uint32_t word = (uint32_t)(int64_t)sum + (1u << (fine - 1));
  return floor((double)(int32_t)word / (1 << fine));
}

static void store_row(const product *p, int64_t at, double *y) {
  vq_dtype t = p->out->type->dtype;
  if (p->fine)
    for (int64_t j = 0; j < p->n; j++) y[j] = whole(y[j], p->fine);
  if (p->bias)
    for (int64_t j = 0; j < p->n; j++) y[j] += p->bias[j];
  if (vq_dtype_class_of(t) == VQ_CLASS_FLOAT) {
    vq_store_f64_n(t, p->out->data, at, p->col, p->n, y);
    return;
  }
  for (int64_t j = 0; j < p->n; j++)  // exact below 2^53, then wraps
    vq_store_i64(t, p->out->data, at + j * p->col, (int64_t)y[j]);
}

static void run_product(const product *p) {
  int64_t width = vq_gemm_width(p->n);
  double *a = vq_eval_alloc((size_t)(VQ_GEMM_ROWS * p->k), sizeof *a);
  double *y = vq_eval_alloc((size_t)(VQ_GEMM_ROWS * width), sizeof *y);
  for (int64_t i = 0; i < p->n_row; i += VQ_GEMM_ROWS) {
    int64_t n = p->n_row - i < VQ_GEMM_ROWS ? p->n_row - i : VQ_GEMM_ROWS;
    p->rows(p->user, i, n, a);
    for (int64_t j = 0; p->bf16 && j < n * p->k; j++) a[j] = vq_round_bf16(a[j]);
    vq_gemm(a, n, p->k, p->panels, p->n, y);
    for (int64_t r = 0; r < n; r++)
      store_row(p, p->base + (i + r) * p->row, y + r * width);
  }
  free(a);
  free(y);
}

// A stack of contiguous rows inside a tensor.
typedef struct dense {
  const vq_tensor *x;
  int64_t base, k;
} dense;

static void dense_rows(const void *user, int64_t first, int64_t n, double *a) {
  const dense *d = user;
  vq_load_f64_n(d->x->type->dtype, d->x->data, d->base + first * d->k, 1,
                n * d->k, a);
}

// Operand `i` as doubles, or NULL when it is missing.
static double *load_all(const vq_op *op, const vq_tensor *in, unsigned i) {
  if (!vq_in_opt(op, i)) return NULL;
  int64_t n = vq_type_count(in[i].type);
  double *v = vq_eval_alloc((size_t)n, sizeof *v);
  vq_load_f64_n(in[i].type->dtype, in[i].data, 0, 1, n, v);
  return v;
}

// ---- matmul -----------------------------------------------------------------------

// Sums of wide integers, which binary64 could not hold: two's complement.
static void wide_matmul(const vq_tensor *a, const vq_mat *b, vq_tensor *out,
                        int64_t a_at, int64_t m, int64_t to) {
  vq_dtype ta = a->type->dtype;
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < b->n; j++) {
      uint64_t sum = 0;
      int64_t col = b->base + j / PANEL * b->panel + j % PANEL * b->col;
      for (int64_t k = 0; k < b->k; k++)
        sum += (uint64_t)vq_load_i64(ta, a->data, a_at + i * b->k + k) *
               (uint64_t)vq_load_i64(b->dtype, b->data, col + k * b->row);
      vq_store_i64(out->type->dtype, out->data, to + i * b->n + j,
                   (int64_t)sum);
    }
}

static bool is_wide(vq_dtype t) {
  return t == VQ_i32 || t == VQ_i64;
}

vq_status vq_eval_matmul(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                         vq_diag *diag) {
  (void)diag;
  const vq_type *ta = in[0].type, *tb = in[1].type, *ty = out->type;
  bool transposed = VQ_ATTRS(op, matmul)->transpose_b;
  int64_t m = ta->dim[ta->rank - 2], k = ta->dim[ta->rank - 1];
  int64_t n = ty->dim[ty->rank - 1];
  vq_mat b = {tb->dtype, in[1].data, 0, transposed ? PANEL * k : PANEL,
              transposed ? k : 1, transposed ? 1 : n, k, n};
  // The batch dimensions as a walk in units of elements of a, b and y.
  vq_walk w = {.rank = ty->rank - 2u, .n_tensor = 3};
  memcpy(w.dim, ty->dim, sizeof(int64_t) * w.rank);
  int64_t s[VQ_MAX_RANK];
  vq_walk_broadcast(ta, ty->rank, s);
  memcpy(w.stride[0], s, sizeof(int64_t) * w.rank);
  vq_walk_broadcast(tb, ty->rank, s);
  memcpy(w.stride[1], s, sizeof(int64_t) * w.rank);
  vq_type_strides(ty, s);
  memcpy(w.stride[2], s, sizeof(int64_t) * w.rank);
  for (bool more = vq_walk_rows(&w); more; more = vq_walk_next(&w))
    for (int64_t i = 0; i < w.n; i++) {
      int64_t at = w.at[0] + i * w.step[0], to = w.at[2] + i * w.step[2];
      b.base = w.at[1] + i * w.step[1];
      if (is_wide(ta->dtype) || is_wide(tb->dtype)) {
        wide_matmul(&in[0], &b, out, at, m, to);
        continue;
      }
      double *panels = vq_gemm_pack(&b);
      dense rows = {&in[0], at, k};
      product p = {.rows = dense_rows, .user = &rows, .n_row = m, .k = k, .n = n,
                   .panels = panels, .out = out, .base = to, .row = n, .col = 1};
      run_product(&p);
      free(panels);
    }
  return VQ_OK;
}

// ---- linear --------------------------------------------------------------------------

vq_status vq_eval_linear(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                         vq_diag *diag) {
  (void)diag;
  const vq_type *tx = in[0].type, *ty = out->type;
  int64_t k = tx->dim[tx->rank - 1], n = ty->dim[ty->rank - 1];
  int64_t n_row = 1;
  for (unsigned i = 0; i + 1 < ty->rank; i++) n_row *= ty->dim[i];
  double *panels = vq_weight_panels(&in[1], VQ_ATTRS(op, linear)->layout, k, n);
  double *bias = load_all(op, in, 2);
  dense rows = {&in[0], 0, k};
  product p = {dense_rows, &rows, n_row, k, n, panels, bias,
               in[1].type->dtype == VQ_bf16, out, 0, n, 1, (int)VQ_ATTRS(op, linear)->fine};
  run_product(&p);
  free(panels);
  free(bias);
  return VQ_OK;
}

// ---- conv2d, patch_embed --------------------------------------------------------------

// Windows of a picture as rows: row (i, j) of one group of one picture, with
// k running over (c, u, v). What lies outside the picture is 0.
typedef struct windows {
  const vq_tensor *x;
  int64_t base, n_channel, h, w;  // of the group's first channel
  int64_t kh, kw, out_w;
  int64_t stride[2], pad[2], dilation[2];
} windows;

static void window_line(const windows *s, int64_t at, int64_t x0, double *a) {
  const vq_tensor *x = s->x;
  int64_t d = s->dilation[1], lo = 0, hi = s->kw;
  while (lo < hi && x0 + lo * d < 0) lo++;
  while (hi > lo && x0 + (hi - 1) * d >= s->w) hi--;
  for (int64_t v = 0; v < s->kw; v++) a[v] = 0;
  vq_load_f64_n(x->type->dtype, x->data, at + x0 + lo * d, d, hi - lo, a + lo);
}

static void window_rows(const void *user, int64_t first, int64_t n,
                        double *a) {
  const windows *s = user;
  for (int64_t r = first; r < first + n; r++) {
    int64_t y0 = r / s->out_w * s->stride[0] - s->pad[0];
    int64_t x0 = r % s->out_w * s->stride[1] - s->pad[1];
    for (int64_t c = 0; c < s->n_channel; c++)
      for (int64_t u = 0; u < s->kh; u++, a += s->kw) {
        int64_t y = y0 + u * s->dilation[0];
        if (y >= 0 && y < s->h)
          window_line(s, s->base + (c * s->h + y) * s->w, x0, a);
        else
          memset(a, 0, (size_t)s->kw * sizeof *a);
      }
  }
}

vq_status vq_eval_conv2d(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                         vq_diag *diag) {
  (void)diag;
  const vq_attrs_conv2d *at = VQ_ATTRS(op, conv2d);
  const int64_t *x = in[0].type->dim, *w = in[1].type->dim;
  const int64_t *y = out->type->dim;
  int64_t n = y[1] / at->groups, k = w[1] * w[2] * w[3], area = y[2] * y[3];
  windows s = {.x = &in[0], .n_channel = w[1], .h = x[2], .w = x[3],
               .kh = w[2], .kw = w[3], .out_w = y[3]};
  for (unsigned i = 0; i < 2; i++) {
    s.stride[i] = at->stride.p[i];
    s.pad[i] = at->pad.p[i];
    s.dilation[i] = at->dilation.p[i];
  }
  double *bias = load_all(op, in, 2);
  for (int64_t g = 0; g < at->groups; g++) {
    vq_mat m = {in[1].type->dtype, in[1].data, g * n * k, PANEL * k, k, 1, k, n};
    double *panels = vq_gemm_pack(&m);
    for (int64_t b = 0; b < y[0]; b++) {
      s.base = (b * x[1] + g * w[1]) * x[2] * x[3];
      product p = {window_rows, &s, area, k, n, panels,
                   bias ? bias + g * n : NULL, false, out,
                   (b * y[1] + g * n) * area, 1, area, 0};
      run_product(&p);
    }
    free(panels);
  }
  free(bias);
  return VQ_OK;
}

vq_status vq_eval_patch_embed(const vq_op *op, const vq_tensor *in,
                              vq_tensor *out, vq_diag *diag) {
  (void)diag;
  const vq_attrs_patch_embed *at = VQ_ATTRS(op, patch_embed);
  const int64_t *x = in[0].type->dim, *y = out->type->dim;
  int64_t ph = at->patch.p[0], pw = at->patch.p[1];
  int64_t k = x[1] * ph * pw, n = y[2];
  windows s = {.x = &in[0], .n_channel = x[1], .h = x[2], .w = x[3], .kh = ph,
               .kw = pw, .out_w = x[3] / pw, .stride = {ph, pw},
               .dilation = {1, 1}};
  double *panels = vq_weight_panels(&in[1], at->layout, k, n);
  double *bias = load_all(op, in, 2);
  for (int64_t b = 0; b < y[0]; b++) {
    s.base = b * x[1] * x[2] * x[3];
    product p = {window_rows, &s, y[1], k, n, panels, bias,
                 in[1].type->dtype == VQ_bf16, out, b * y[1] * n, n, 1, 0};
    run_product(&p);
  }
  free(panels);
  free(bias);
  return VQ_OK;
}
