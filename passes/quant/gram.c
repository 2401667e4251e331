// Rounding weights one column after the other, each making up for the errors of
// those before it (GPTQ, Frantar et al., ICLR 2023).
//
// With H = sum x x^T over a linear's inputs, d = to - w of one row costs the
// output d H d^T. GPTQ rounds column k, then moves the columns behind it to where
// they balance its error best, by rows of the Cholesky factor of H^-1. The same
// numbers come without the inverse: for H = L^T L, L lower triangular, the cost
// is |L d|^2, and with columns 0..k-1 rounded its k-th term is least at
//
//   to_k = w_k - (1 / L_kk) sum_{j<k} L_kj d_j
//
// (Babai's nearest plane; if U is the inverse of L^T, then H^-1 = U^T U is the
// factorization that GPTQ uses). So one factorization serves all rows of all
// weights that read this input, and columns need no lazy batches: rows of w are
// taken VQ_GRAM_ROWS at a time, transposed, and each step is a sum of such rows.
//
// Codes are integers, so H is exact. All other sums run in one fixed order.
#include "quant/gram.h"

#include <math.h>
#include <stdlib.h>

#include "vq/base.h"

enum {
  BLOCK = 8,    // columns of a tile that stay in the nearest cache
  PANEL = 64,   // rows of l that are finished together
  STRIP = 256,  // part of a row that stays in the nearest cache
  CHUNK = 16    // rows whose strips do, too
};

static int32_t dot(const int16_t *a, const int16_t *b) {
  int32_t sum = 0;
  for (int k = 0; k < VQ_GRAM_TILE; k++) sum += (int32_t)a[k] * b[k];
  return sum;
}

void vq_gram_add(double *h, int64_t n, const int16_t *x) {
  for (int64_t i0 = 0; i0 < n; i0 += BLOCK) {
    int64_t i1 = i0 + BLOCK < n ? i0 + BLOCK : n;
    for (int64_t j = 0; j < i1; j++)
      for (int64_t i = i0 > j ? i0 : j; i < i1; i++)
        h[i * n + j] += dot(x + i * VQ_GRAM_TILE, x + j * VQ_GRAM_TILE);
  }
}

// ---- order ------------------------------------------------------------------------

typedef struct column {
  double weight;
  int64_t i;
} column;

static int heavier_first(const void *a, const void *b) {
  const column *x = a, *y = b;
  if (x->weight != y->weight) return x->weight > y->weight ? -1 : 1;
  return (x->i > y->i) - (x->i < y->i);
}

void vq_gram_order(const double *h, int64_t n, int64_t *order) {
  column *c = malloc((size_t)n * sizeof *c);
  if (!c) vq_oom((size_t)n * sizeof *c);
  for (int64_t i = 0; i < n; i++) c[i] = (column){h[i * n + i], i};
  qsort(c, (size_t)n, sizeof *c, heavier_first);
  for (int64_t i = 0; i < n; i++) order[i] = c[i].i;
  free(c);
}

// ---- factor -----------------------------------------------------------------------

// row -= sum_k c_k from_k: `n_term` coefficients `step` apart, rows `pitch` apart.
static void subtract(double *restrict row, int64_t n, const double *restrict c,
                     int64_t step, const double *restrict from, int64_t pitch,
                     int64_t n_term) {
  int64_t k = 0;
  for (; k + 4 <= n_term; k += 4) {
    const double *f = from + k * pitch, *g = f + pitch, *p = g + pitch, *q = p + pitch;
    double a = c[k * step], b = c[(k + 1) * step];
    double d = c[(k + 2) * step], e = c[(k + 3) * step];
    for (int64_t i = 0; i < n; i++)
      row[i] = (((row[i] - a * f[i]) - b * g[i]) - d * p[i]) - e * q[i];
  }
  for (; k < n_term; k++)
    for (int64_t i = 0; i < n; i++) row[i] -= c[k * step] * from[k * pitch + i];
}

// Takes what the finished rows p1..n-1 contribute from rows p0..p1-1.
static void update_panel(double *l, int64_t n, int64_t p0, int64_t p1) {
  for (int64_t j = 0; j < p1; j += STRIP)
    for (int64_t i = p1; i < n; i += CHUNK)
      for (int64_t k = p0 > j ? p0 : j; k < p1; k++) {
        int64_t width = k + 1 - j < STRIP ? k + 1 - j : STRIP;
        subtract(l + k * n + j, width, l + i * n + k, n, l + i * n + j, n,
                 n - i < CHUNK ? n - i : CHUNK);
      }
}

static void finish_panel(double *l, int64_t n, int64_t p0, int64_t p1, double least) {
  for (int64_t k = p1 - 1; k >= p0; k--) {
    double *row = l + k * n;
    if (k < p1 - 1) subtract(row, k + 1, row + n + k, n, row + n, n, p1 - 1 - k);
    double root = sqrt(fmax(row[k], least));
    for (int64_t j = 0; j < k; j++) row[j] /= root;
    row[k] = root;
  }
}

void vq_gram_factor(const double *h, int64_t n, const int64_t *order,
                    double damping, double *l) {
  double mean = 0;
  for (int64_t i = 0; i < n; i++) mean += h[i * n + i] / (double)n;
  double more = mean > 0 ? damping * mean : 1;  // no input at all: nearest
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = 0; j <= i; j++) {
      int64_t a = order[i], b = order[j];
      l[i * n + j] = a > b ? h[a * n + b] : h[b * n + a];
    }
    l[i * n + i] += more;
  }
  for (int64_t p1 = n; p1 > 0; p1 -= PANEL) {
    int64_t p0 = p1 > PANEL ? p1 - PANEL : 0;
    update_panel(l, n, p0, p1);
    finish_panel(l, n, p0, p1, more / 2);  // exactly, no pivot is below `more`
  }
}

// ---- round ------------------------------------------------------------------------

void vq_gram_round(const double *l, int64_t n, const int64_t *order,
                   const float *w, int64_t n_row, const float *scale, double lo, double hi,
                   double *d, float *to) {
  for (int64_t o = 0; o < n_row; o += VQ_GRAM_ROWS) {
    int64_t width = n_row - o < VQ_GRAM_ROWS ? n_row - o : VQ_GRAM_ROWS;
    for (int64_t k = 0; k < n; k++) {
      double at[VQ_GRAM_ROWS] = {0}, pivot = l[k * n + k];
      subtract(at, width, l + k * n, 1, d, VQ_GRAM_ROWS, k);
      for (int64_t i = 0; i < width; i++) {
        int64_t here = (o + i) * n + order[k];
        double s = (double)scale[o + i];
        double q = nearbyint(((double)w[here] + at[i] / pivot) / s);
        q = q > hi ? hi : q < lo ? lo : q;
        to[here] = (float)(q * s);
        d[k * VQ_GRAM_ROWS + i] = (double)to[here] - (double)w[here];
      }
    }
  }
}
