// Elementwise ops, with broadcasting, for every element type.
//
// Each op is written twice at most: over binary64 for floats (the result is
// rounded when it is stored) and over int64 for integers and bool (the store
// keeps the low bits, which is two's complement wrapping). add, sub, mul, div
// and sqrt of binary32 numbers computed this way are correctly rounded:
// binary64 has more than twice the digits.
#include "eval/eval_ops.h"

#define BLOCK 256
#define ARGS(T) \
  const vq_op *op, int64_t n, const T *a, const T *b, const T *c, T *y
typedef void flt_fn(ARGS(double));
typedef void int_fn(ARGS(int64_t));

// Runs `f` if the values are floats, else `g`. The last operand decides, as
// the first one of select is always bool.
static vq_status run(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                     flt_fn *f, int_fn *g) {
  union {
    double f[BLOCK];
    int64_t i[BLOCK];
  } x[3], y;
  unsigned n_in = op->n_in;
  vq_walk w = {.rank = out->type->rank, .n_tensor = n_in + 1};
  for (unsigned k = 0; k < w.rank; k++) w.dim[k] = out->type->dim[k];
  vq_walk_broadcast(out->type, w.rank, w.stride[n_in]);
  for (unsigned t = 0; t < n_in; t++)
    vq_walk_broadcast(in[t].type, w.rank, w.stride[t]);
  bool is_float =
      vq_dtype_class_of(in[n_in - 1].type->dtype) & (VQ_CLASS_FLOAT | VQ_CLASS_BF16);
  if (is_float ? !f : !g)
    VQ_BUG("%s has no such element type", vq_op_info(op->code)->name);
  for (bool more = vq_walk_rows(&w); more; more = vq_walk_next(&w))
    for (int64_t i = 0; i < w.n; i += BLOCK) {
      int64_t n = w.n - i < BLOCK ? w.n - i : BLOCK;
      int64_t to = w.at[n_in] + i * w.step[n_in];
      for (unsigned t = 0; t < n_in; t++) {
        int64_t at = w.at[t] + i * w.step[t];
        if (is_float)
          vq_load_f64_n(in[t].type->dtype, in[t].data, at, w.step[t], n,
                        x[t].f);
        else
          vq_load_i64_n(in[t].type->dtype, in[t].data, at, w.step[t], n,
                        x[t].i);
      }
      if (is_float) {
        f(op, n, x[0].f, x[1].f, x[2].f, y.f);
        vq_store_f64_n(out->type->dtype, out->data, to, w.step[n_in], n, y.f);
      } else {
        g(op, n, x[0].i, x[1].i, x[2].i, y.i);
        vq_store_i64_n(out->type->dtype, out->data, to, w.step[n_in], n, y.i);
      }
    }
  return VQ_OK;
}

// BODY(kind, name, T, expr): a loop over one block in which `expr` may use the
// operands p (first), q (second), r (third) and `op`.
#define BODY1(kind, name, T, expr)         \
  static void kind##_##name(ARGS(T)) {     \
    (void)op, (void)b, (void)c;            \
    for (int64_t i = 0; i < n; i++) {      \
      const T p = a[i];                    \
      y[i] = (expr);                       \
    }                                      \
  }
#define BODY2(kind, name, T, expr)         \
  static void kind##_##name(ARGS(T)) {     \
    (void)op, (void)c;                     \
    for (int64_t i = 0; i < n; i++) {      \
      const T p = a[i], q = b[i];          \
      y[i] = (expr);                       \
    }                                      \
  }
#define BODY3(kind, name, T, expr)               \
  static void kind##_##name(ARGS(T)) {           \
    (void)op;                                    \
    for (int64_t i = 0; i < n; i++) {            \
      const T p = a[i], q = b[i], r = c[i];      \
      y[i] = (expr);                             \
    }                                            \
  }
#define EVAL(name, f, g)                                        \
  vq_status vq_eval_##name(const vq_op *op, const vq_tensor *in, \
                           vq_tensor *out, vq_diag *diag) {     \
    (void)diag;                                                 \
    return run(op, in, out, f, g);                              \
  }
#define FLT1(name, expr) \
  BODY1(f, name, double, expr) EVAL(name, f_##name, NULL)
#define BOOL2(name, expr) \
  BODY2(i, name, int64_t, expr) EVAL(name, NULL, i_##name)
#define NUM1(name, f_expr, i_expr)                           \
  BODY1(f, name, double, f_expr) BODY1(i, name, int64_t, i_expr) \
  EVAL(name, f_##name, i_##name)
#define NUM2(name, f_expr, i_expr)                           \
  BODY2(f, name, double, f_expr) BODY2(i, name, int64_t, i_expr) \
  EVAL(name, f_##name, i_##name)

// Wrapping int64 arithmetic.
static int64_t wrap(uint64_t v) { return (int64_t)v; }
static int64_t wrap_neg(int64_t v) { return wrap(0 - (uint64_t)v); }

static int64_t int_div(int64_t a, int64_t b) {
  return b == 0 ? 0 : b == -1 ? wrap_neg(a) : a / b;
}

static int64_t int_fmod(int64_t a, int64_t b) {
  return b == 0 || b == -1 ? 0 : a % b;
}

static int64_t int_mod(int64_t a, int64_t b) {
  int64_t r = int_fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

// fmod is exact, so this is a - b floor(a / b) with at most one rounding.
static double flt_mod(double a, double b) {
  double r = fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

// A NaN wins over any number.
static double flt_min(double a, double b) {
  return a != a || a < b ? a : b;
}
static double flt_max(double a, double b) {
  return a != a || a > b ? a : b;
}

static double flt_sigmoid(double x) { return 1 / (1 + exp(-x)); }

// ---- one operand --------------------------------------------------------------

BODY1(f, cast, double, p)
BODY1(i, cast, int64_t, p)
EVAL(cast, f_cast, i_cast)
NUM1(neg, -p, wrap_neg(p))
NUM1(abs, fabs(p), p < 0 ? wrap_neg(p) : p)
NUM1(sign, (p > 0) - (p < 0), (p > 0) - (p < 0))
NUM1(relu, flt_max(p, 0), p > 0 ? p : 0)
FLT1(floor, floor(p))
FLT1(ceil, ceil(p))
FLT1(round, rint(p))
FLT1(sqrt, sqrt(p))
FLT1(exp, exp(p))
FLT1(log, log(p))
FLT1(erf, erf(p))
FLT1(tanh, tanh(p))
FLT1(sigmoid, flt_sigmoid(p))
FLT1(sin, sin(p))
FLT1(cos, cos(p))
FLT1(silu, p * flt_sigmoid(p))
FLT1(isnan, p != p)
BODY1(i, not, int64_t, !p)
EVAL(not, NULL, i_not)

BODY1(f, gelu_erf, double, p / 2 * (1 + erf(p * M_SQRT1_2)))
BODY1(f, gelu_tanh, double,
      p / 2 * (1 + tanh(sqrt(2 / M_PI) * (p + 0.044715 * p * p * p))))
BODY1(f, gelu_sigmoid, double, p * flt_sigmoid(1.702 * p))

vq_status vq_eval_gelu(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                       vq_diag *diag) {
  (void)diag;
  vq_str form = VQ_ATTRS(op, gelu)->form;
  return run(op, in, out,
             vq_str_is(form, "tanh")      ? f_gelu_tanh
             : vq_str_is(form, "sigmoid") ? f_gelu_sigmoid
                                          : f_gelu_erf,
             NULL);
}

// Phi(x) + x phi(x) of the normal distribution; (1 + t) / 2 + x/2 (1 - t^2) u' with
// t = tanh u, u = c (x + 0.044715 x^3); s (1 + k x (1 - s)) with s = sigmoid(k x).
static double gelu_erf_slope(double x) {
  return (1 + erf(x * M_SQRT1_2)) / 2 + x * exp(-x * x / 2) * M_2_SQRTPI * M_SQRT1_2 / 2;
}

static double gelu_tanh_slope(double x) {
  double c = sqrt(2 / M_PI), t = tanh(c * (x + 0.044715 * x * x * x));
  return (1 + t) / 2 + x / 2 * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}

static double gelu_sigmoid_slope(double x) {
  double s = flt_sigmoid(1.702 * x);
  return s * (1 + 1.702 * x * (1 - s));
}

BODY1(f, slope_erf, double, gelu_erf_slope(p))
BODY1(f, slope_tanh, double, gelu_tanh_slope(p))
BODY1(f, slope_sigmoid, double, gelu_sigmoid_slope(p))

vq_status vq_eval_gelu_slope(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                             vq_diag *diag) {
  (void)diag;
  vq_str form = VQ_ATTRS(op, gelu_slope)->form;
  return run(op, in, out,
             vq_str_is(form, "tanh")      ? f_slope_tanh
             : vq_str_is(form, "sigmoid") ? f_slope_sigmoid
                                          : f_slope_erf,
             NULL);
}

static void f_clip(ARGS(double)) {
  (void)b, (void)c;
  double lo = (double)VQ_ATTRS(op, clip)->lo;
  double hi = (double)VQ_ATTRS(op, clip)->hi;
  for (int64_t i = 0; i < n; i++) y[i] = flt_min(flt_max(a[i], lo), hi);
}

// The bounds as integers of the operand's type: no value lies between lo and
// the next integer above it.
static void i_clip(ARGS(int64_t)) {
  (void)b, (void)c;
  vq_dtype t = vq_in(op, 0)->type->dtype;
  int64_t lo, hi;
  vq_store_f64(VQ_i64, &lo, 0, ceil((double)VQ_ATTRS(op, clip)->lo));
  vq_store_f64(VQ_i64, &hi, 0, floor((double)VQ_ATTRS(op, clip)->hi));
  int64_t least, most;
  vq_int_range(t, &least, &most);
  lo = lo < least ? least : lo > most ? most : lo;
  hi = hi < least ? least : hi > most ? most : hi;
  for (int64_t i = 0; i < n; i++) {
    int64_t v = a[i] < lo ? lo : a[i];
    y[i] = v > hi ? hi : v;
  }
}
EVAL(clip, f_clip, i_clip)

// ---- two and three operands ---------------------------------------------------

NUM2(add, p + q, wrap((uint64_t)p + (uint64_t)q))
NUM2(sub, p - q, wrap((uint64_t)p - (uint64_t)q))
NUM2(mul, p * q, wrap((uint64_t)p * (uint64_t)q))
NUM2(div, p / q, int_div(p, q))
NUM2(min, flt_min(p, q), p < q ? p : q)
NUM2(max, flt_max(p, q), p > q ? p : q)
NUM2(equal, p == q, p == q)
NUM2(less, p < q, p < q)
NUM2(less_equal, p <= q, p <= q)
BODY2(f, pow, double, pow(p, q))
EVAL(pow, f_pow, NULL)
BOOL2(and, p && q)
BOOL2(or, p || q)
BOOL2(xor, !p != !q)
BODY3(f, select, double, p != 0 ? q : r)
BODY3(i, select, int64_t, p != 0 ? q : r)
EVAL(select, f_select, i_select)

BODY2(f, mod, double, flt_mod(p, q))
BODY2(f, fmod, double, fmod(p, q))
BODY2(i, mod, int64_t, int_mod(p, q))
BODY2(i, fmod, int64_t, int_fmod(p, q))

vq_status vq_eval_mod(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                      vq_diag *diag) {
  (void)diag;
  return VQ_ATTRS(op, mod)->fmod ? run(op, in, out, f_fmod, i_fmod)
                                 : run(op, in, out, f_mod, i_mod);
}
