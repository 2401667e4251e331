// Tables of piecewise quadratics for activation functions.
#include "vq/piecewise.h"

#include <math.h>

static double gelu(double x) { return x / 2 * (1 + erf(x * 0.70710678118654752)); }

static double gelu_tanh(double x) {
  return x / 2 * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
}

static double silu(double x) { return x / (1 + exp(-x)); }

static double gelu_sigmoid(double x) { return x / (1 + exp(-1.702 * x)); }

static const struct {
  const char *name;
  double (*f)(double);
} functions[] = {
    {"gelu", gelu},
    {"gelu_tanh", gelu_tanh},
    {"gelu_sigmoid", gelu_sigmoid},
    {"silu", silu},
};

// The quadratic through f at the Chebyshev nodes of [a, b], in powers of x.
static void fit(double (*f)(double), double a, double b, vq_piecewise *p,
                unsigned i) {
  double mid = (a + b) / 2, half = (b - a) / 2 * 0.86602540378443865;
  double y0 = f(mid - half), y1 = f(mid), y2 = f(mid + half);
  double slope = (y2 - y0) / (2 * half);
  double curve = (y2 - 2 * y1 + y0) / (2 * half * half);
  p->c[0][i] = (float)(y1 - slope * mid + curve * mid * mid);
  p->c[1][i] = (float)(slope - 2 * curve * mid);
  p->c[2][i] = (float)curve;
}

bool vq_piecewise_of(vq_str fn, vq_piecewise *out) {
  for (size_t k = 0; k < VQ_COUNT(functions); k++) {
    if (!vq_str_is(fn, functions[k].name)) continue;
    memset(out, 0, sizeof *out);
    double width = 1 / (double)VQ_PIECE_MULT;
    for (unsigned i = 1; i + 1 < VQ_PIECES; i++) {
      double a = ((double)i - (double)VQ_PIECE_ADD) * width;
      fit(functions[k].f, a, a + width, out, i);
    }
    out->c[1][VQ_PIECES - 1] = 1;
    return true;
  }
  return false;
}

// Products and sums of binary32 numbers in binary64, rounded to binary32: the
// same as computed in binary32, without depending on how C evaluates floats.
static float mul(float a, float b) { return (float)((double)a * (double)b); }
static float add(float a, float b) { return (float)((double)a + (double)b); }

float vq_piecewise_at(const vq_piecewise *p, float x) {
  float t = add(mul(x, VQ_PIECE_MULT), VQ_PIECE_ADD);
  t = t > 0 ? t : 0;
  t = t < VQ_PIECES - 1 ? t : VQ_PIECES - 1;
  unsigned i = (unsigned)t;
  return add(p->c[0][i], mul(x, add(p->c[1][i], mul(x, p->c[2][i]))));
}
