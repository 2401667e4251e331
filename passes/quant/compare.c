// Sums over pairs of numbers and of rows.
#include "vq/compare.h"

#include <math.h>

void vq_sums_add(vq_sums *s, const float *want, const float *got, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    double a = (double)want[i], b = (double)got[i];
    s->signal += a * a, s->other += b * b, s->dot += a * b, s->noise += (a - b) * (a - b);
  }
}

double vq_sums_sqnr(const vq_sums *s) {
  if (s->noise == 0) return INFINITY;
  return s->signal > 0 ? 10 * log10(s->signal / s->noise) : -INFINITY;
}

double vq_sums_cosine(const vq_sums *s) {
  if (s->signal == 0 && s->other == 0) return 1;
  return s->signal == 0 || s->other == 0 ? 0 : s->dot / (sqrt(s->signal) * sqrt(s->other));
}

int64_t vq_largest(const float *x, int64_t n) {
  int64_t at = 0;
  for (int64_t i = 1; i < n; i++)
    if (x[i] > x[at] || isnan(x[at])) at = i;
  return at;
}

// The comparisons are written so that a NaN counts as the worst, and stays it.
void vq_rows_add(vq_rows *r, const float *want, const float *got, int64_t n) {
  vq_sums row = {0};
  vq_sums_add(&row, want, got, n);
  double cosine = vq_sums_cosine(&row);
  r->agree += vq_largest(want, n) == vq_largest(got, n);
  r->cosine_sum += cosine;
  if (r->n++ == 0 || (!isnan(r->cosine_least) && !(cosine >= r->cosine_least)))
    r->cosine_least = cosine;
  for (int64_t i = 0; i < n; i++) {
    double d = fabs((double)want[i] - (double)got[i]);
    if (!isnan(r->difference) && !(d <= r->difference)) r->difference = d;
  }
  r->all.signal += row.signal, r->all.other += row.other;
  r->all.dot += row.dot, r->all.noise += row.noise;
}

double vq_rows_agreement(const vq_rows *r) {
  return r->n ? (double)r->agree / (double)r->n : 1;
}

double vq_rows_cosine(const vq_rows *r) { return r->n ? r->cosine_sum / (double)r->n : 1; }
