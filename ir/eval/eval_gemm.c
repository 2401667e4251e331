// Dense products in binary64, the one loop that decides how fast the
// interpreter is.
//
// Every output is one sum in ascending k, starting from 0. Only independent
// outputs are computed side by side (16 columns of a few rows), so the result
// does not depend on blocking or on the vector unit. Products of two binary32
// numbers are exact in binary64, so not on fused multiply-add either.
#include "eval/eval_ops.h"

#include <stdlib.h>

#define COLS 16

int64_t vq_gemm_width(int64_t n) {
  return (n + COLS - 1) / COLS * COLS;
}

double *vq_gemm_pack(const vq_mat *b) {
  int64_t n_panel = (b->n + COLS - 1) / COLS;
  double *panels =
      vq_eval_alloc((size_t)(n_panel * b->k * COLS), sizeof(double));
  memset(panels, 0, (size_t)(n_panel * b->k * COLS) * sizeof(double));
  double *row = vq_eval_alloc((size_t)b->k, sizeof(double));
  for (int64_t n = 0; n < b->n; n++) {
    double *p = panels + n / COLS * b->k * COLS + n % COLS;
    int64_t at = b->base + n / COLS * b->panel + n % COLS * b->col;
    vq_load_f64_n(b->dtype, b->data, at, b->row, b->k, row);
    for (int64_t k = 0; k < b->k; k++) p[k * COLS] = row[k];
  }
  free(row);
  return panels;
}

// Half a panel for two rows: eight pairs of accumulators, which fit even the
// smallest vector register file.
#define HALF (COLS / 2)
typedef double pair __attribute__((vector_size(16), aligned(8), may_alias));

static void dot2(const double *a0, const double *a1, int64_t k,
                 const double *b, double *y0, double *y1) {
  pair s0[HALF / 2] = {{0}}, s1[HALF / 2] = {{0}};
  for (int64_t i = 0; i < k; i++, b += COLS)
    for (int j = 0; j < HALF / 2; j++) {
      pair w = ((const pair *)b)[j];
      s0[j] += a0[i] * w;
      s1[j] += a1[i] * w;
    }
  memcpy(y0, s0, sizeof s0);
  memcpy(y1, s1, sizeof s1);
}

void vq_gemm(const double *a, int64_t n_row, int64_t k, const double *panels,
             int64_t n, double *y) {
  int64_t width = vq_gemm_width(n);
  double spare[HALF];
  for (int64_t j = 0; j < width; j += COLS, panels += k * COLS)
    for (int64_t i = 0; i < n_row; i += 2)
      for (int64_t h = 0; h < COLS; h += HALF) {
        bool two = i + 1 < n_row;
        const double *a0 = a + i * k, *a1 = two ? a0 + k : a0;
        double *y0 = y + i * width + j + h;
        dot2(a0, a1, k, panels + h, y0, two ? y0 + width : spare);
      }
}
