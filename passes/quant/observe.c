// observe: ranges of activations from calibration samples.
//
// All ranges are those of the float model (tapped.h). Statistics merge exactly
// (extremes, integer counts), so the order and the number of samples per run do
// not matter.
//
//   first sweep   smallest and largest value per channel
//   second sweep  a histogram of BINS cells over each tensor's range, only for
//                 quantizers with one scale
//
// One scale per tensor: of the ranges [quantile(1 - p), quantile(p)] the one
// with the smallest squared error of the codes, by the histogram. Per channel
// (roles norm and act): the channel's range. Ranges are widened by `margin`
// first, because few samples do not show all there is. The residual stream is
// never clipped.
#include "quant/quantizer.h"
#include "quant/tapped.h"

#include <float.h>
#include <math.h>

enum { BINS = 2048 };

typedef struct tap {
  vq_op *fq;
  int64_t n_channel;  // last dimension
  float *lo, *hi;     // per channel
  uint64_t *bin;      // NULL: no histogram wanted
  float least, most;  // over all channels
} tap;

typedef struct observer {
  vq_pass_ctx *pc;
  tap *tap;
  vq_op **fq;  // of the taps
  unsigned n_tap;
  double margin;
} observer;

static bool is_per_channel(const vq_op *fq) {
  return vq_quant_is(fq, "norm") || vq_quant_is(fq, "act");
}

// ---- sweeps ----------------------------------------------------------------------

static void note_extremes(tap *t, const float *x, int64_t count) {
  for (int64_t i = 0; i < count; i += t->n_channel)
    for (int64_t c = 0; c < t->n_channel; c++) {
      t->lo[c] = x[i + c] < t->lo[c] ? x[i + c] : t->lo[c];
      t->hi[c] = x[i + c] > t->hi[c] ? x[i + c] : t->hi[c];
    }
}

static void note_counts(tap *t, const float *x, int64_t count) {
  double scale = BINS / ((double)t->most - (double)t->least);
  for (int64_t i = 0; i < count; i++) {
    double at = ((double)x[i] - (double)t->least) * scale;
    int64_t k = at > 0 ? (int64_t)at : 0;
    t->bin[k < BINS ? k : BINS - 1]++;
  }
}

static void first_sweep(void *user, unsigned k, const float *x, int64_t count) {
  observer *o = user;
  note_extremes(&o->tap[k], x, count);
}

static void second_sweep(void *user, unsigned k, const float *x, int64_t count) {
  observer *o = user;
  if (o->tap[k].bin) note_counts(&o->tap[k], x, count);
}

// Extremes over all channels, widened; histograms where a range is not empty.
static void close_first_sweep(observer *o) {
  for (unsigned k = 0; k < o->n_tap; k++) {
    tap *t = &o->tap[k];
    t->least = 0, t->most = 0;
    for (int64_t c = 0; c < t->n_channel; c++) {
      t->least = t->lo[c] < t->least ? t->lo[c] : t->least;
      t->most = t->hi[c] > t->most ? t->hi[c] : t->most;
    }
    bool single = !is_per_channel(t->fq) && !vq_quant_is(t->fq, "residual");
    if (single && t->most > t->least)
      t->bin = VQ_NEW_N(o->pc->temp, uint64_t, BINS);
  }
}

// ---- from statistics to scales -----------------------------------------------------

typedef struct code {
  double lo, hi;
  bool symmetric;
  float zero;  // of a symmetric one
} code;

// Scale and zero point of the range [a, b].
static void affine(const code *q, double a, double b, float *scale, float *zero) {
  if (q->symmetric) {
    double most = fabs(a) > fabs(b) ? fabs(a) : fabs(b);
    *scale = (float)fmax(most / (q->hi - (double)q->zero), (double)FLT_EPSILON);
    *zero = q->zero;
    return;
  }
  *scale = (float)fmax((b - a) / (q->hi - q->lo), (double)FLT_EPSILON);
  *zero = (float)(nearbyint(-a / (double)*scale) + q->lo);
}

// Squared error of the histogram's values under a quantizer.
static double code_error(const tap *t, const code *q, float scale, float zero) {
  double width = ((double)t->most - (double)t->least) / BINS, sum = 0;
  for (int k = 0; k < BINS; k++) {
    if (!t->bin[k]) continue;
    double x = (double)t->least + (k + 0.5) * width;
    double c = nearbyint(x / (double)scale) + (double)zero;
    c = c < q->lo ? q->lo : c > q->hi ? q->hi : c;
    double d = (c - (double)zero) * (double)scale - x;
    sum += (double)t->bin[k] * d * d;
  }
  return sum;
}

// The value below which a share `p` of the histogram lies, by cell edges.
static double quantile(const tap *t, double p, bool upper) {
  uint64_t total = 0, seen = 0;
  for (int k = 0; k < BINS; k++) total += t->bin[k];
  double width = ((double)t->most - (double)t->least) / BINS;
  double want = p * (double)total;
  for (int k = 0; k < BINS; k++) {
    seen += t->bin[k];
    if ((double)seen >= want)
      return (double)t->least + (upper ? k + 1 : k) * width;
  }
  return (double)t->most;
}

static void choose_single(const tap *t, const code *q, double margin,
                          float *scale, float *zero) {
  static const double share[] = {1, 0.999999, 0.99999, 0.9999, 0.9995, 0.999, 0.995, 0.99};
  double best = (double)INFINITY;
  affine(q, (double)t->least * margin, (double)t->most * margin, scale, zero);
  if (!t->bin) return;
  for (size_t i = 0; i < VQ_COUNT(share); i++) {
    double a = fmin(quantile(t, 1 - share[i], false), 0) * margin;
    double b = fmax(quantile(t, share[i], true), 0) * margin;
    if (share[i] == 1) a = (double)t->least * margin, b = (double)t->most * margin;
    float s, z;
    affine(q, a, b, &s, &z);
    double error = code_error(t, q, s, z);
    if (error < best) best = error, *scale = s, *zero = z;
  }
}

// A channel's range widened around its middle.
static void choose_channels(const tap *t, const code *q, double margin,
                            float *scale, float *zero) {
  for (int64_t c = 0; c < t->n_channel; c++) {
    double mid = ((double)t->lo[c] + (double)t->hi[c]) / 2;
    double half = ((double)t->hi[c] - (double)t->lo[c]) / 2 * margin;
    affine(q, mid - half, mid + half, &scale[c], &zero[c]);
  }
}

static void set_scale(observer *o, const tap *t) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(t->fq, fake_quant);
  bool residual = vq_quant_is(t->fq, "residual");
  code q = {.lo = (double)a->lo, .hi = (double)a->hi,
            .symmetric = residual || vq_quant_is(t->fq, "k") ||
                         vq_quant_is(t->fq, "v")};
  q.zero = q.symmetric && !residual ? 128 : 0;
  int64_t n = is_per_channel(t->fq) ? t->n_channel : 1;
  float *scale = VQ_NEW_N(o->pc->temp, float, (size_t)n);
  float *zero = VQ_NEW_N(o->pc->temp, float, (size_t)n);
  if (is_per_channel(t->fq))
    choose_channels(t, &q, o->margin, scale, zero);
  else
    choose_single(t, &q, o->margin, scale, zero);
  vq_quant_set(t->fq, n, scale, zero);
}

// ---- the pass ----------------------------------------------------------------------

static void find_taps(observer *o, vq_func *f) {
  size_t n = 0;
  vq_each_op(f, op) n += op->code == VQ_OP_fake_quant;
  o->fq = VQ_NEW_N(o->pc->temp, vq_op *, n);
  o->tap = VQ_NEW_N(o->pc->temp, tap, n);
  vq_each_op(f, op) {
    if (op->code != VQ_OP_fake_quant || vq_quant_known(op) ||
        vq_const_of(vq_in(op, VQ_FQ_X)))
      continue;
    o->fq[o->n_tap] = op;
    o->tap[o->n_tap++].fq = op;
  }
  for (unsigned k = 0; k < o->n_tap; k++) {
    tap *t = &o->tap[k];
    const vq_type *type = vq_in(t->fq, VQ_FQ_X)->type;
    t->n_channel = type->rank ? type->dim[type->rank - 1] : 1;
    t->lo = VQ_NEW_N(o->pc->temp, float, (size_t)t->n_channel);
    t->hi = VQ_NEW_N(o->pc->temp, float, (size_t)t->n_channel);
    for (int64_t c = 0; c < t->n_channel; c++) t->lo[c] = INFINITY, t->hi[c] = -INFINITY;
  }
}

static vq_status sweeps(observer *o, vq_tapped *t) {
  if (vq_tapped_sweep(t, "observe", 0, 2, first_sweep, o)) return VQ_ERR;
  close_first_sweep(o);
  return vq_tapped_sweep(t, "observe", 1, 2, second_sweep, o);
}

vq_status vq_pass_observe(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_quant_main(m);
  observer o = {.pc = pc, .margin = VQ_OPTS(pc, vq_pass_observe)->margin};
  vq_tapped t;
  if (!f) return VQ_OK;
  find_taps(&o, f);
  if (o.n_tap == 0) return VQ_OK;
  if (vq_tapped_open(&t, m, o.fq, o.n_tap, "activations have no range", pc))
    return VQ_ERR;
  vq_status st = sweeps(&o, &t);
  vq_tapped_close(&t);
  if (st) return VQ_ERR;
  for (unsigned k = 0; k < o.n_tap; k++) set_scale(&o, &o.tap[k]);
  vq_stat(pc, "ranges observed", o.n_tap);
  vq_stat(pc, "samples", pc->exec->samples->n);
  return VQ_OK;
}
