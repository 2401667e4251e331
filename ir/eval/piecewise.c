// Tables of piecewise quadratics for activation functions.
#include "vq/piecewise.h"

#include <math.h>
#include <stdlib.h>

#include "vq/fixed.h"

#define NODE 0.86602540378443865  // of [-1, 1], the outer Chebyshev nodes of three

static double gelu(double x) { return x / 2 * (1 + erf(x * 0.70710678118654752)); }

static double gelu_tanh(double x) {
  return x / 2 * (1 + tanh(0.79788456080286536 * (x + 0.044715 * x * x * x)));
}

static double silu(double x) { return x / (1 + exp(-x)); }

static double gelu_sigmoid(double x) { return x / (1 + exp(-1.702 * x)); }

static const struct {
  const char *name;
  double (*f)(double);
  double reach;  // where pieces of fixed point end
} functions[] = {
    {"gelu", gelu, 3.6},
    {"gelu_tanh", gelu_tanh, 3.6},
    {"gelu_sigmoid", gelu_sigmoid, 4.3},
    {"silu", silu, 7.5},
};

// The quadratic through f at the Chebyshev nodes of [a, b], in powers of x.
static void fit(double (*f)(double), double a, double b, vq_piecewise *p,
                unsigned i) {
  double mid = (a + b) / 2, half = (b - a) / 2 * NODE;
  double y0 = f(mid - half), y1 = f(mid), y2 = f(mid + half);
  double slope = (y2 - y0) / (2 * half);
  double curve = (y2 - 2 * y1 + y0) / (2 * half * half);
  p->c[0][i] = (float)(y1 - slope * mid + curve * mid * mid);
  p->c[1][i] = (float)(slope - 2 * curve * mid);
  p->c[2][i] = (float)curve;
}

static int find(vq_str fn) {
  int k = (int)VQ_COUNT(functions);
  while (--k >= 0 && !vq_str_is(fn, functions[k].name)) continue;
  return k;
}

bool vq_piecewise_of(vq_str fn, vq_piecewise *out) {
  int k = find(fn);
  if (k < 0) return false;
  memset(out, 0, sizeof *out);
  double width = 1 / (double)VQ_PIECE_MULT;
  for (unsigned i = 1; i + 1 < VQ_PIECES; i++) {
    double a = ((double)i - (double)VQ_PIECE_ADD) * width;
    fit(functions[k].f, a, a + width, out, i);
  }
  out->c[1][VQ_PIECES - 1] = 1;
  return true;
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

// ---- fixed point -------------------------------------------------------------------

#define PI 3.14159265358979324
#define CENTRE 4096                                       // from one to the next
#define LAST VQ_CURVE_LAST

// The polynomial through f(x) - max(x, 0) in eighths of `step` at the Chebyshev nodes of [a, b],
// in powers of d = 2 (x / width - i), by Newton's divided differences.
static void fit_bump(double (*f)(double), double a, double b, double width, double step,
                     vq_curve *c, unsigned i) {
  double y[VQ_CURVE_TERMS], d[VQ_CURVE_TERMS], p[VQ_CURVE_TERMS] = {0};
  for (int k = 0; k < VQ_CURVE_TERMS; k++) {
    double x = (a + b) / 2 + (b - a) / 2 * cos((k + 0.5) * PI / VQ_CURVE_TERMS);
    y[k] = (f(x) - x) / step * 8, d[k] = 2 * (x / width - i);
  }
  for (int n = 1; n < VQ_CURVE_TERMS; n++)
    for (int k = VQ_CURVE_TERMS - 1; k >= n; k--) y[k] = (y[k] - y[k - 1]) / (d[k] - d[k - n]);
  for (int k = VQ_CURVE_TERMS - 1; k >= 0; k--) {  // p = y + (x - d) p
    for (int n = VQ_CURVE_TERMS - 1; n > 0; n--) p[n] = p[n - 1] - d[k] * p[n];
    p[0] = y[k] - d[k] * p[0];
  }
  for (int k = 0; k < VQ_CURVE_TERMS; k++) c->c[k][i] = (int16_t)lrint(p[k]);
}

// From centre to centre.
static double width_of(vq_str fn) { return functions[find(fn)].reach / (VQ_CURVE_PIECES - 0.5); }

bool vq_curve_steps(vq_str fn, double *least, double *most) {
  int k = find(fn);
  if (k < 0) return false;
  *least = functions[k].reach * 0x1p-15, *most = functions[k].reach / 64;
  return true;
}

bool vq_curve_of(vq_str fn, float step, vq_curve *out) {
  double least, most, s = (double)step;
  if (!vq_curve_steps(fn, &least, &most) || !(s >= least && s <= most)) return false;
  double width = width_of(fn);
  for (unsigned i = 0; i < VQ_CURVE_PIECES; i++)
    fit_bump(functions[find(fn)].f, i ? (i - 0.5) * width : 0, (i + 0.5) * width, width, s, out,
             i);
  return true;
}

static uint32_t mult_of(vq_str fn, double own, uint16_t scale) {
  return (uint32_t)lrint(fmin(own * CENTRE / width_of(fn) / scale, 1) * 0x1p16);
}

bool vq_curve_scale_fits(vq_str fn, double own, uint16_t scale) {
  uint32_t mult = mult_of(fn, own, scale);
  return mult > LAST && mult < 1 << 16;
}

vq_curve_channel vq_curve_channel_of(vq_str fn, double step, double own, uint16_t scale) {
  for (unsigned s = 1; !scale; s *= 2)
    if (vq_curve_scale_fits(fn, own, (uint16_t)s)) scale = (uint16_t)s;
  uint32_t mult = mult_of(fn, own, scale);
  double gain = nearbyint(step / own * 0x1p12);
  return (vq_curve_channel){(uint16_t)(UINT16_MAX / scale), scale, (uint16_t)mult,
                            (int16_t)gain};
}

int16_t vq_curve_at(const vq_curve *c, const vq_curve_channel *ch, int16_t x) {
  uint16_t a = (uint16_t)abs(x), t = a < ch->limit ? a : ch->limit;
  t = (uint16_t)((uint32_t)t * ch->scale);
  uint32_t far = (uint32_t)t * ch->mult >> 16, p = far < LAST ? far : LAST;
  unsigned i = (p + CENTRE / 2) / CENTRE;
  int16_t d = (int16_t)(uint16_t)(p * 16);
  int16_t b = 0;
  for (unsigned k = VQ_CURVE_TERMS; k-- > 0;) b = (int16_t)(c->c[k][i] + vq_mulhrs(d, b));
  int32_t y = (x > 0 ? x : 0) + vq_mulhrs(b, ch->gain);
  return (int16_t)(y < INT16_MIN ? INT16_MIN : y > INT16_MAX ? INT16_MAX : y);
}
