// Series after the usual reductions of the argument; see elementary.h.
#include "vq/elementary.h"

#include <math.h>

// ln 2 and pi / 2 in two parts, of which multiples by small numbers are exact.
static const double ln2_hi = 0x1.62e42feep-1, ln2_lo = 0x1.a39ef35793c76p-33;
static const double half_pi_hi = 0x1.921fb544p+0, half_pi_lo = 0x1.0b4611a626331p-34;

double vq_exp(double x) {
  if (!(x > -700)) return x != x ? x : 0;
  if (x > 709) return (double)INFINITY;
  double k = floor(x / (ln2_hi + ln2_lo) + 0.5), sum = 1;
  double r = x - k * ln2_hi - k * ln2_lo;
  for (int n = 14; n > 0; n--) sum = 1 + sum * r / n;
  return ldexp(sum, (int)k);
}

// 2 artanh((m - 1) / (m + 1)), m near 1.
double vq_log(double x) {
  int k;
  if (x == 0) return -(double)INFINITY;
  double m = frexp(x, &k), sum = 0;
  if (m < 0.70710678118654752) m *= 2, k--;
  double s = (m - 1) / (m + 1), square = s * s;
  for (int n = 23; n > 1; n -= 2) sum = (sum + 1.0 / n) * square;
  return k * ln2_hi + (2 * s * (1 + sum) + k * ln2_lo);
}

double vq_pow(double x, double y) { return y == 0 ? 1 : vq_exp(y * vq_log(x)); }

double vq_cos(double x) {
  double k = floor(x / (half_pi_hi + half_pi_lo) + 0.5);
  double r = x - k * half_pi_hi - k * half_pi_lo, square = r * r, even = 1, odd = 1;
  for (int n = 18; n > 0; n -= 2) {
    even = 1 - even * square / (n * (n - 1));
    odd = 1 - odd * square / (n * (n + 1));
  }
  switch ((long)k & 3) {
    case 0: return even;
    case 1: return -(r * odd);
    case 2: return -even;
    default: return r * odd;
  }
}
