// observe: ranges of activations from calibration samples.
//
// The float model runs on every sample with each quantizer's input as a result
// of @main; fake_quants are left out, so all ranges are those of the float
// model. Statistics merge exactly (extremes, integer counts), so the order and
// the number of samples per run do not matter.
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

#include <float.h>
#include <math.h>

enum { BINS = 2048 };

typedef struct tap {
  vq_op *fq;
  int64_t n_channel, count;  // channels: last dimension; elements
  float *lo, *hi;            // per channel
  uint64_t *bin;             // NULL: no histogram wanted
  float least, most;         // over all channels
} tap;

typedef struct observer {
  vq_pass_ctx *pc;
  vq_module *m;
  tap *tap;
  unsigned n_tap;
  double margin;
  vq_tensor *out;
  float *in;
  int64_t sample_count, batch;
} observer;

static bool is_per_channel(const vq_op *fq) {
  return vq_quant_is(fq, "norm") || vq_quant_is(fq, "act");
}

// ---- the tapped model ------------------------------------------------------------

static void drop_quantizers(vq_func *f) {
  vq_each_op_safe(f, op)
    if (op->code == VQ_OP_fake_quant && op->out->uses)
      vq_replace_all_uses(op->out, vq_in(op, VQ_FQ_X));
}

// A copy of the model that returns what the taps see.
static vq_module *tapped_model(observer *o) {
  vq_module *m = vq_module_clone(o->m);
  vq_func *f = vq_quant_main(m), *original = vq_quant_main(o->m);
  vq_value **v = VQ_NEW_N(o->pc->temp, vq_value *, o->n_tap);
  unsigned n = 0;
  const vq_op *from = original->first;
  vq_each_op(f, op) {  // a clone has the same ops in the same order
    if (n < o->n_tap && from == o->tap[n].fq) v[n++] = vq_in(op, VQ_FQ_X);
    from = from->next;
  }
  for (unsigned i = 0; i < n; i++) {
    const vq_op *fq = vq_quant_def(v[i], VQ_OP_fake_quant);
    if (fq) v[i] = vq_in(fq, VQ_FQ_X);
  }
  drop_quantizers(f);
  vq_erase_op(f->last);
  vq_builder b = {f, NULL, {0}, o->pc->diag};
  if (!vq_build_return(&b, n, v, NULL)) return m;
  vq_module_destroy(m);
  return NULL;
}

// ---- sweeps ----------------------------------------------------------------------

// The first `count` elements of a run are those of samples not seen before.
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

static vq_status load_batch(observer *o, int64_t first) {
  const vq_samples *s = o->pc->exec->samples;
  for (int64_t i = 0; i < o->batch; i++)
    if (s->load(s->user, (first + i) % s->n, o->in + i * o->sample_count,
                o->pc->diag))
      return VQ_ERR;
  return VQ_OK;
}

static vq_status sweep(observer *o, vq_program *p, bool counting) {
  const vq_samples *s = o->pc->exec->samples;
  vq_tensor in = {vq_quant_main(o->m)->arg[0].type, o->in};
  for (int64_t i = 0; i < s->n; i += o->batch) {
    if (s->progress &&
        s->progress(s->user, "observe", i + (counting ? s->n : 0), 2 * s->n))
      return VQ_ERR;
    if (load_batch(o, i) || o->pc->exec->ops->run(p, &in, o->out, 0, o->pc->diag))
      return VQ_ERR;
    int64_t fresh = s->n - i < o->batch ? s->n - i : o->batch;
    for (unsigned k = 0; k < o->n_tap; k++) {
      tap *t = &o->tap[k];
      int64_t count = t->count / o->batch * fresh;
      if (!counting)
        note_extremes(t, o->out[k].data, count);
      else if (t->bin)
        note_counts(t, o->out[k].data, count);
    }
  }
  return VQ_OK;
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
  o->tap = VQ_NEW_N(o->pc->temp, tap, 1);
  for (int fill = 0; fill < 2; fill++) {
    if (fill) o->tap = VQ_NEW_N(o->pc->temp, tap, o->n_tap + 1);
    o->n_tap = 0;
    vq_each_op(f, op) {
      if (op->code != VQ_OP_fake_quant || vq_quant_known(op) ||
          vq_const_of(vq_in(op, VQ_FQ_X)))
        continue;
      if (fill) o->tap[o->n_tap].fq = op;
      o->n_tap++;
    }
  }
  for (unsigned k = 0; k < o->n_tap; k++) {
    tap *t = &o->tap[k];
    const vq_type *type = vq_in(t->fq, VQ_FQ_X)->type;
    t->count = vq_type_count(type);
    t->n_channel = type->rank ? type->dim[type->rank - 1] : 1;
    t->lo = VQ_NEW_N(o->pc->temp, float, (size_t)t->n_channel);
    t->hi = VQ_NEW_N(o->pc->temp, float, (size_t)t->n_channel);
    for (int64_t c = 0; c < t->n_channel; c++) t->lo[c] = INFINITY, t->hi[c] = -INFINITY;
  }
}

static void make_buffers(observer *o, const vq_func *f) {
  const vq_type *in = f->arg[0].type;
  o->batch = in->dim[0];
  o->sample_count = vq_type_count(in) / o->batch;
  o->in = vq_arena_alloc(o->pc->temp, (size_t)vq_type_bytes(in), 64);
  o->out = VQ_NEW_N(o->pc->temp, vq_tensor, o->n_tap);
  for (unsigned k = 0; k < o->n_tap; k++) {
    const vq_type *t = vq_in(o->tap[k].fq, VQ_FQ_X)->type;
    o->out[k] = (vq_tensor){
        t, vq_arena_alloc(o->pc->temp, (size_t)vq_type_bytes(t), 64)};
  }
}

static vq_status run(observer *o, const vq_module *tapped) {
  vq_exec *e = o->pc->exec;
  vq_program *p;
  if (e->ops->prepare(e, tapped, VQ_LIT("main"), o->pc->diag, &p)) return VQ_ERR;
  vq_status st = sweep(o, p, false);
  if (!st) {
    close_first_sweep(o);
    st = sweep(o, p, true);
  }
  e->ops->release(p);
  return st;
}

vq_status vq_pass_observe(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_quant_main(m);
  observer o = {.pc = pc, .m = m, .margin = VQ_OPTS(pc, vq_pass_observe)->margin};
  if (!f) return VQ_OK;
  find_taps(&o, f);
  if (o.n_tap == 0) return VQ_OK;
  if (!pc->exec || !pc->exec->samples || pc->exec->samples->n < 1)
    return vq_error(pc->diag, VQ_E_pass, (vq_loc){0},
                    "%u activations have no range: give calibration samples",
                    o.n_tap);
  if (f->n_arg != 1 || f->arg[0].type->dtype != VQ_f32 || f->arg[0].type->rank < 1 ||
      f->arg[0].type->dim[0] < 1)
    return vq_error(pc->diag, VQ_E_unsupported, (vq_loc){0},
                    "calibration needs a model with one f32 input");
  make_buffers(&o, f);
  vq_module *tapped = tapped_model(&o);
  if (!tapped) return VQ_ERR;
  vq_status st = run(&o, tapped);
  vq_module_destroy(tapped);
  if (st) return VQ_ERR;
  for (unsigned k = 0; k < o.n_tap; k++) set_scale(&o, &o.tap[k]);
  vq_stat(pc, "ranges observed", o.n_tap);
  vq_stat(pc, "samples", pc->exec->samples->n);
  return VQ_OK;
}
