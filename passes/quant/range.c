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
// The other observers are older: minmax covers all that was seen, percentile gives up
// the outermost cells of the histogram as long as no more than the stated share of the
// values lies in them, half of it at each end, or, for symmetric codes, at whichever end
// is farther out.
//
// Samples do not show all there is, so the range is widened by `margin` around
// its middle in the end.
#include "quant/range.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

bool vq_observer_read(vq_str text, vq_observer *out) {
  static const char word[] = "percentile:";
  size_t n = sizeof word - 1;
  *out = (vq_observer){VQ_OBSERVE_PERCENTILE, 99.99};
  if (vq_str_is(text, "percentile")) return true;
  if (vq_str_is(text, "mse") || vq_str_is(text, "minmax")) {
    out->kind = vq_str_is(text, "mse") ? VQ_OBSERVE_MSE : VQ_OBSERVE_MINMAX;
    return true;
  }
  char number[16] = {0}, *end;
  if (text.n <= n || text.n - n >= sizeof number || memcmp(text.p, word, n)) return false;
  memcpy(number, text.p + n, text.n - n);
  if (strspn(number, "0123456789.") != text.n - n) return false;
  out->percentile = strtod(number, &end);
  return *end == '\0' && out->percentile > 0 && out->percentile <= 100;
}

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

// The ends of the range with the least expected squared error.
static void least_error(const vq_levels *q, const vq_histogram *h, double *a, double *b) {
  double best = INFINITY, levels = q->hi - q->lo, low = *a, high = *b;
  int steps = levels < 64 ? 19 : 12;  // down to 0.1 or 0.45 of the end
  for (int round = 0; h->n && round < (q->symmetric ? 1 : 2); round++)
    for (int end = 0; end < 2 - (int)q->symmetric; end++) {
      double outside = 0;
      for (int i = 0; i < steps && outside <= best; i++) {
        double f = 1 - 0.05 * i;
        double x = q->symmetric ? f * low : end ? *a : f * low;
        double y = q->symmetric ? f * high : end ? f * high : *b;
        double error = span_error(h, levels, x, y, &outside);
        if (error < best) best = error, *a = x, *b = y;
      }
    }
}

// The ends of what is left when `share` of the values is given up.
static void without_tails(const vq_levels *q, const vq_histogram *h, double share,
                          double *a, double *b) {
  double width = (h->most - h->least) / h->n, total = 0;
  for (int k = 0; k < h->n; k++) total += (double)h->bin[k];
  double left[2] = {share * total, 0};  // to give up at both ends, or at each
  if (!q->symmetric) left[0] = left[1] = left[0] / 2;
  int first = 0, last = h->n - 1;
  for (bool more = true; more && first < last;) {
    double x = h->least + first * width, y = h->least + (last + 1) * width;
    bool upper = q->symmetric ? fabs(y) > fabs(x) : (double)h->bin[first] > left[0];
    double *budget = &left[upper && !q->symmetric];
    double cost = (double)h->bin[upper ? last : first];
    more = cost <= *budget;
    if (!more) break;
    *budget -= cost;
    if (upper)
      last--;
    else
      first++;
  }
  *a = h->least + first * width;
  *b = h->least + (last + 1) * width;
}

void vq_range_fit(const vq_observer *how, const vq_levels *q, const vq_histogram *h,
                  double margin, float *scale, float *zero) {
  double a = h->least, b = h->most;
  if (how->kind == VQ_OBSERVE_PERCENTILE && h->n)
    without_tails(q, h, 1 - how->percentile / 100, &a, &b);
  if (q->symmetric) b = fmax(fabs(a), fabs(b)), a = -b;
  if (how->kind == VQ_OBSERVE_MSE) least_error(q, h, &a, &b);
  double mid = (a + b) / 2, half = (b - a) / 2 * margin;
  to_codes(q, mid - half, mid + half, scale, zero);
}
