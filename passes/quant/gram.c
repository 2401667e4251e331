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
// What this finds is the start of a descent: one code changes at a time, always to
// where it costs least, until none wants to (QuantEase, Behdin et al., 2023). In
// between the row's scale becomes the best one for its codes q, (w H q) / (q H q).
// No step costs more than it saves, so the sum never rises.
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
  CHUNK = 16,   // rows whose strips do, too
  SWEEPS = 20   // most of a descent; few rows need more than five
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

double vq_gram_damp(double *h, int64_t n, double damping) {
  double mean = 0;
  for (int64_t i = 0; i < n; i++) mean += h[i * n + i] / (double)n;
  double more = mean > 0 ? damping * mean : 1;  // no input at all: nearest
  for (int64_t i = 0; i < n; i++) {
    for (int64_t j = 0; j < i; j++) h[j * n + i] = h[i * n + j];
    h[i * n + i] += more;
  }
  return more;
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

void vq_gram_factor(const double *h, int64_t n, const int64_t *order, double least,
                    double *l) {
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j <= i; j++) l[i * n + j] = h[order[i] * n + order[j]];
  for (int64_t p1 = n; p1 > 0; p1 -= PANEL) {
    int64_t p0 = p1 > PANEL ? p1 - PANEL : 0;
    update_panel(l, n, p0, p1);
    finish_panel(l, n, p0, p1, least);
  }
}

// ---- round ------------------------------------------------------------------------

// VQ_GRAM_ROWS rows at most. d: what was added to column k of all of them, each k.
static void round_rows(const vq_gram *g, const float *w, int64_t n_row,
                       const float *scale, double lo, double hi, double *d, float *to) {
  for (int64_t k = 0; k < g->n; k++) {
    double at[VQ_GRAM_ROWS] = {0}, pivot = g->l[k * g->n + k];
    subtract(at, n_row, g->l + k * g->n, 1, d, VQ_GRAM_ROWS, k);
    for (int64_t i = 0; i < n_row; i++) {
      int64_t here = i * g->n + g->order[k];
      double s = (double)scale[i];
      double q = nearbyint(((double)w[here] + at[i] / pivot) / s);
      q = q > hi ? hi : q < lo ? lo : q;
      to[here] = (float)(q * s);
      d[k * VQ_GRAM_ROWS + i] = (double)to[here] - (double)w[here];
    }
  }
}

void vq_gram_round(const vq_gram *g, const float *w, int64_t n_row, const float *scale,
                   double lo, double hi, double *room, float *to) {
  for (int64_t o = 0; o < n_row; o += VQ_GRAM_ROWS) {
    int64_t width = n_row - o < VQ_GRAM_ROWS ? n_row - o : VQ_GRAM_ROWS;
    round_rows(g, w + o * g->n, width, scale + o, lo, hi, room, to + o * g->n);
  }
}

// ---- descend ----------------------------------------------------------------------

// A row while it changes: its codes, and what h makes of them and of its weights.
typedef struct row {
  double *q, *hq, *hw;  // hq = -h q, hw = -h w
  double scale, lo, hi;
} row;

// y = -h x for rows x.
static void multiply(const double *h, int64_t n, const double *x, int64_t n_row,
                     double *y) {
  for (int64_t i = 0; i < n_row * n; i++) y[i] = 0;
  for (int64_t j = 0; j < n; j += STRIP)
    for (int64_t k = 0; k < n; k += CHUNK)
      for (int64_t i = 0; i < n_row; i++)
        subtract(y + i * n + j, n - j < STRIP ? n - j : STRIP, x + i * n + k, 1,
                 h + k * n + j, n, n - k < CHUNK ? n - k : CHUNK);
}

// A change of code k by c costs c (2 slope + c h_kk). Returns whether it changed.
static bool change_code(const vq_gram *g, row *r, int64_t k) {
  const double *h = g->h + k * g->n;
  double slope = r->hw[k] / r->scale - r->hq[k];
  if (2 * fabs(slope) <= h[k]) return false;
  double q = nearbyint(r->q[k] - slope / h[k]);
  q = q > r->hi ? r->hi : q < r->lo ? r->lo : q;
  double c = q - r->q[k];
  if (c == 0) return false;
  r->q[k] = q;
  for (int64_t i = 0; i < g->n; i++) r->hq[i] -= c * h[i];
  return true;
}

// Scales are f32, so the best one is not quite met: a worse one is not taken.
static void change_scale(row *r, int64_t n) {
  double qhq = 0, qhw = 0;
  for (int64_t i = 0; i < n; i++) qhq -= r->q[i] * r->hq[i], qhw -= r->q[i] * r->hw[i];
  if (!(qhq > 0)) return;
  double s = (double)(float)(qhw / qhq), t = r->scale;
  if (s != 0 && isfinite(s) && s * (s * qhq - 2 * qhw) < t * (t * qhq - 2 * qhw))
    r->scale = s;
}

static void descend(const vq_gram *g, row *r) {
  int64_t changed = 1;
  for (int k = 0; k < SWEEPS && changed; k++) {
    changed = 0;
    for (int64_t i = 0; i < g->n; i++) changed += change_code(g, r, g->order[i]);
    change_scale(r, g->n);
  }
}

static void descend_rows(const vq_gram *g, const float *w, int64_t n_row, float *scale,
                         double lo, double hi, double *room, float *to) {
  int64_t n = g->n, all = n * VQ_GRAM_ROWS;
  double *q = room, *hq = q + all, *hw = hq + all;
  for (int64_t i = 0; i < n_row * n; i++) q[i] = (double)w[i];
  multiply(g->h, n, q, n_row, hw);
  for (int64_t i = 0; i < n_row * n; i++)
    q[i] = nearbyint((double)to[i] / (double)scale[i / n]);
  multiply(g->h, n, q, n_row, hq);
  for (int64_t i = 0; i < n_row; i++) {
    row r = {q + i * n, hq + i * n, hw + i * n, (double)scale[i], lo, hi};
    descend(g, &r);
    scale[i] = (float)r.scale;
    for (int64_t k = 0; k < n; k++) to[i * n + k] = (float)(r.q[k] * r.scale);
  }
}

void vq_gram_descend(const vq_gram *g, const float *w, int64_t n_row, float *scale,
                     double lo, double hi, double *room, float *to) {
  for (int64_t o = 0; o < n_row; o += VQ_GRAM_ROWS) {
    int64_t width = n_row - o < VQ_GRAM_ROWS ? n_row - o : VQ_GRAM_ROWS;
    descend_rows(g, w + o * g->n, width, scale + o, lo, hi, room, to + o * g->n);
  }
}
