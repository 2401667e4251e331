// range: the clipping range of a tensor's or a channel's codes.
//
// A range that covers all values spends codes on values that hardly occur; a
// narrower one clips them. With N values inside and step s the expected squared
// error is
//
//   N s^2 / 12 + sum over values outside of (distance to the range)^2
//
// (Banner et al., NeurIPS 2019, equation 5, with the histogram in place of a
// distribution). Both ends shrink in turn over a grid, with few codes by as much as it
// takes: a step that covers a long tail would leave nothing of the values near zero,
// which are most. A massive activation costs too much to be clipped by this
// measure, while the thin tail of an ordinary channel does not.
//
// Samples do not show all there is, so the range is widened by `margin` around
// its middle in the end.
#include "quant/range.h"

#include <float.h>
#include <math.h>

// Scale and zero point of codes that span [a, b].
static void to_codes(const vq_levels *q, double a, double b, float *scale, float *zero) {
  if (q->symmetric) {
    double most = fabs(a) > fabs(b) ? fabs(a) : fabs(b);
    *scale = (float)fmax(most / (q->hi - (double)q->zero), (double)FLT_EPSILON);
    *zero = q->zero;
    return;
  }
  *scale = (float)fmax((b - a) / (q->hi - q->lo), (double)FLT_EPSILON);
  *zero = (float)(nearbyint(-a / (double)*scale) + q->lo);
}

// Expected squared error of the values under codes that span [a, b], and which
// part of it comes from those outside.
static double span_error(const vq_histogram *h, double levels, double a, double b,
                         double *outside) {
  double width = (h->most - h->least) / h->n, step = (b - a) / levels;
  double inside = 0, clipped = 0;
  for (int k = 0; k < h->n; k++) {
    if (!h->bin[k]) continue;
    double x = h->least + (k + 0.5) * width;
    double d = x < a ? a - x : x > b ? x - b : 0;
    if (d > width / 2)
      clipped += (double)h->bin[k] * d * d;
    else
      inside += (double)h->bin[k];
  }
  *outside = clipped;
  return inside * step * step / 12 + clipped;
}

void vq_range_fit(const vq_levels *q, const vq_histogram *h, double margin,
                 float *scale, float *zero) {
  double a = h->least, b = h->most, best = INFINITY;
  double levels = q->hi - q->lo;
  int steps = levels < 64 ? 19 : 12;  // down to 0.1 or 0.45 of the end
  if (q->symmetric) b = fmax(fabs(a), fabs(b)), a = -b;
  double low = a, high = b;
  for (int round = 0; h->n && round < (q->symmetric ? 1 : 2); round++)
    for (int end = 0; end < 2 - (int)q->symmetric; end++) {
      double outside = 0;
      for (int i = 0; i < steps && outside <= best; i++) {
        double f = 1 - 0.05 * i;
        double x = q->symmetric ? f * low : end ? a : f * low;
        double y = q->symmetric ? f * high : end ? f * high : b;
        double error = span_error(h, levels, x, y, &outside);
        if (error < best) best = error, a = x, b = y;
      }
    }
  double mid = (a + b) / 2, half = (b - a) / 2 * margin;
  to_codes(q, mid - half, mid + half, scale, zero);
}
