// split-outliers: channels far beyond the rest of their tensor are computed
// several times, and other differences between channels made smaller, so that one
// scale per tensor fits all.
//
// A single channel of one post-GELU tensor of a real ViT reaches 35 times the
// range of all others; with it in the range of an 8-bit code the others have
// three bits left. Such a channel is split as in outlier channel splitting (Zhao
// et al., ICML 2019), but without the loss: with m copies, copy i of m codes
//
//   q_i = floor(x / (m s) + i / m + 1 / (2 m))       i = 0 .. m-1
//
// and the q_i add up to rne(x / s) (Hermite's identity), the code the channel
// would have had with range enough. So fc1 gets m equal rows, fc2 m equal
// columns, and the quantizer one factor 1/m and one offset per channel; no
// kernel knows of it. The cost is m - 1 columns.
//
// Before that, part of what wide channels have more than others moves into the next
// weights for free: with the range w_c of a channel and the median range w,
// r_c = (w_c / w)^balance, codes are those of x / r_c and the columns of the next weight
// are multiplied by r_c (SmoothQuant, ICML 2023, equation 4, where it is the activations
// that the migration spares). Channels narrower than the median keep r_c = 1: some answer
// to few pictures only, of which the samples have none, and where their range is set by
// what is left of the others' they are clipped to a fraction of what they stand for.
// All of the difference (balance 1) would ruin the weights, whose rows have one
// scale each. Outputs of attention, which cannot be computed several times, are
// treated that way alone.
//
// A channel is an outlier when its range is more than `limit` times the median
// range of its tensor. Splitting stops at `max-share` of the channels; beyond
// that the range is clipped to what fits.
//
// That is the range of the widest channel left, whose values are few. With `clip`
// the samples are looked at once more, channels scaled as they will be, and the
// tensor gets the range with the least error over all of them (range.h). The error
// of a ViT-T's fc2 is three to seven times smaller so when its input has 4 bits.
#include "quant/quantizer.h"
#include "quant/range.h"
#include "quant/tapped.h"
#include "vq/elementary.h"

#include <math.h>
#include <stdlib.h>

enum { TILE = 16, BINS = 2048 };

typedef struct split {
  vq_op *fq;
  bool able;         // to scale channels
  int64_t n, n_new;  // channels before and after
  int64_t *source;   // of each new channel
  int64_t *m, *index;  // copies of it, and which this is
  double *ratio;       // scale of its codes over the tensor's
  double least, most;  // range of all channels, each divided by its m
} split;

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// The ranges [least, most] of the channels of a per-channel quantizer.
static void ranges(const vq_op *fq, int64_t n, double *least, double *most) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  for (int64_t c = 0; c < n; c++) {
    double s = (double)vq_quant_at(vq_in(fq, VQ_FQ_SCALE), c);
    double z = (double)vq_quant_at(vq_in(fq, VQ_FQ_ZERO), c);
    least[c] = fmin(((double)a->lo - z) * s, 0);
    most[c] = fmax(((double)a->hi - z) * s, 0);
  }
}

// Kernels compute tiles of TILE columns, so a last one that is begun may as well
// be full: the rest goes to the copied channel with the widest codes.
static void fill_tile(split *p, int64_t *m, const double *least, const double *most) {
  while (p->n_new > p->n && p->n_new % TILE != p->n % TILE) {
    int64_t at = -1;
    for (int64_t c = 0; c < p->n; c++)
      if (m[c] > 1 && (at < 0 || (most[c] - least[c]) / (double)m[c] >
                                     (most[at] - least[at]) / (double)m[at]))
        at = c;
    m[at]++, p->n_new++;
  }
}

static split plan(vq_op *fq, double limit, double max_share,
                  double balance, vq_pass_ctx *pc) {
  split p = {.fq = fq, .n = vq_type_count(vq_in(fq, VQ_FQ_SCALE)->type)};
  size_t n = (size_t)p.n;
  double *least = VQ_NEW_N(pc->temp, double, n), *most = VQ_NEW_N(pc->temp, double, n);
  double *width = VQ_NEW_N(pc->temp, double, n);
  int64_t *m = VQ_NEW_N(pc->temp, int64_t, n);
  ranges(fq, p.n, least, most);
  for (size_t c = 0; c < n; c++) width[c] = most[c] - least[c];
  qsort(width, n, sizeof *width, by_value);
  double median = width[n / 2];
  double *ratio = VQ_NEW_N(pc->temp, double, n);
  for (size_t c = 0; c < n; c++) {
    ratio[c] = median > 0 ? fmax(vq_pow((most[c] - least[c]) / median, balance), 1) : 1;
    least[c] /= ratio[c], most[c] /= ratio[c];
    width[c] = most[c] - least[c];
  }
  qsort(width, n, sizeof *width, by_value);
  double fits = limit * width[n / 2];
  int64_t room = (int64_t)(max_share * (double)p.n);
  // Channels within the limit set the range that copies must fit into.
  for (size_t c = 0; c < n; c++)
    if (most[c] - least[c] <= fits) {
      p.least = fmin(p.least, least[c]);
      p.most = fmax(p.most, most[c]);
    }
  for (size_t c = 0; c < n; c++) {
    m[c] = 1;
    if (fits > 0 && most[c] - least[c] > fits) {
      double need = fmax(p.most > 0 ? most[c] / p.most : 1,
                         p.least < 0 ? least[c] / p.least : 1);
      m[c] = (int64_t)fmin(ceil(fmax(need, 1)), (double)room + 1);
      room -= m[c] - 1;
    }
    p.n_new += m[c];
  }
  fill_tile(&p, m, least, most);
  p.source = VQ_NEW_N(pc->temp, int64_t, (size_t)p.n_new);
  p.m = VQ_NEW_N(pc->temp, int64_t, (size_t)p.n_new);
  p.index = VQ_NEW_N(pc->temp, int64_t, (size_t)p.n_new);
  p.ratio = VQ_NEW_N(pc->temp, double, (size_t)p.n_new);
  int64_t at = 0;
  for (int64_t c = 0; c < p.n; c++)
    for (int64_t i = 0; i < m[c]; i++, at++)
      p.source[at] = c, p.m[at] = m[c], p.index[at] = i, p.ratio[at] = ratio[c];
  return p;
}

// ---- the rewrite -----------------------------------------------------------------

// A weight and its quantizer, which is not known yet.
static vq_op *open_weight(const vq_op *linear) {
  vq_op *wq = linear && linear->code == VQ_OP_linear
                  ? vq_quant_def(vq_in(linear, 1), VQ_OP_fake_quant)
                  : NULL;
  if (!wq || !vq_const_of(vq_in(wq, VQ_FQ_X)) || vq_quant_known(wq)) return NULL;
  if (vq_in_opt(linear, 2) && !vq_const_of(vq_in(linear, 2))) return NULL;
  return wq;
}

static vq_value *new_weight(vq_builder *b, const vq_op *wq, int64_t rows,
                            int64_t cols, const float *w) {
  vq_module *m = b->func->module;
  int64_t dim[] = {rows, cols};
  vq_value *in[] = {vq_quant_const(m, vq_in(wq, VQ_FQ_X)->name, "split", VQ_f32, 2,
                                   dim, w),
                    vq_in(wq, VQ_FQ_SCALE), vq_in(wq, VQ_FQ_ZERO)};
  return vq_build1(b, VQ_OP_fake_quant, in, 3, wq->attrs, VQ_LIT(""));
}

// Row (or column) source[i] of w becomes row (column) i.
static vq_value *spread(vq_builder *b, const vq_op *linear, const split *p,
                        bool columns, vq_pass_ctx *pc) {
  const vq_op *wq = open_weight(linear);
  const int64_t *d = vq_in(wq, VQ_FQ_X)->type->dim;
  const float *w = vq_quant_floats(pc, vq_in(wq, VQ_FQ_X));
  int64_t rows = columns ? d[0] : p->n_new, cols = columns ? p->n_new : d[1];
  if (!w) return NULL;
  float *to = VQ_NEW_N(pc->temp, float, (size_t)(rows * cols));
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < cols; c++)
      to[r * cols + c] = columns ? (float)((double)w[r * d[1] + p->source[c]] * p->ratio[c])
                                 : w[p->source[r] * d[1] + c];
  return new_weight(b, wq, rows, cols, to);
}

// fc1 with its rows repeated, then the activation function.
static vq_value *wider_act(vq_op *act, const split *p, vq_pass_ctx *pc) {
  vq_op *fc1 = vq_in(act, 0)->def;
  vq_module *m = fc1->func->module;
  vq_builder b = {fc1->func, act, fc1->loc, pc->diag};
  const float *bias = vq_quant_bias(pc, fc1, p->n);
  vq_value *w = bias ? spread(&b, fc1, p, false, pc) : NULL;
  if (!w) return NULL;
  float *to = VQ_NEW_N(pc->temp, float, (size_t)p->n_new);
  for (int64_t i = 0; i < p->n_new; i++) to[i] = bias[p->source[i]];
  vq_value *in[] = {vq_in(fc1, 0), w,
                    vq_quant_const(m, fc1->out->name, "bias", VQ_f32, 1, &p->n_new, to)};
  vq_value *y = vq_build1(&b, VQ_OP_linear, in, 3, fc1->attrs, VQ_LIT(""));
  return y ? vq_build1(&b, act->code, &y, 1, act->attrs, VQ_LIT("")) : NULL;
}

// x / (m r), and the offset that makes rounding to nearest the floor of the
// identity above: floor(v + i/m + 1/(2m)) = rne(v + i/m + 1/(2m) - 1/2).
static vq_value *scaled(vq_builder *b, vq_value *x, const split *p, float scale,
                        vq_pass_ctx *pc) {
  vq_module *m = b->func->module;
  float *factor = VQ_NEW_N(pc->temp, float, (size_t)p->n_new);
  float *offset = VQ_NEW_N(pc->temp, float, (size_t)p->n_new);
  for (int64_t i = 0; i < p->n_new; i++) {
    double copies = (double)p->m[i];
    factor[i] = (float)(1 / (copies * p->ratio[i]));
    offset[i] = (float)((double)scale *
                        (((double)p->index[i] + 0.5) / copies - 0.5));
  }
  x = vq_build_binary(b, VQ_OP_mul, x,
                      vq_quant_const(m, VQ_LIT("split"), "factor", VQ_f32, 1,
                                     &p->n_new, factor),
                      VQ_LIT(""));
  if (p->n_new == p->n) return x;
  return vq_build_binary(b, VQ_OP_add, x,
                         vq_quant_const(m, VQ_LIT("split"), "offset", VQ_f32, 1,
                                        &p->n_new, offset),
                         VQ_LIT(""));
}

static void drop(vq_op *op) {
  if (!op->out->uses) vq_erase_op(op);
}

typedef struct codes {
  float scale, zero;
} codes;

// Codes that span the plan's range.
static codes codes_of(const split *p) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(p->fq, fake_quant);
  codes c = {.scale = (float)fmax((p->most - p->least) / (double)(a->hi - a->lo), 1e-30)};
  c.zero = (float)(nearbyint(-p->least / (double)c.scale) + (double)a->lo);
  return c;
}

static vq_status rewrite(const split *p, vq_pass_ctx *pc) {
  vq_op *fq = p->fq;
  vq_op *def = vq_in(fq, VQ_FQ_X)->def, *linear = fq->out->uses->user;
  vq_op *before = p->n_new > p->n ? vq_in(def, 0)->def : NULL;
  vq_op *weight = open_weight(linear), *weight1 = before ? open_weight(before) : NULL;
  vq_module *m = fq->func->module;
  codes c = codes_of(p);
  vq_value *x = before ? wider_act(def, p, pc) : def->out;
  if (!x) return VQ_ERR;
  vq_builder b = {fq->func, fq, fq->loc, pc->diag};
  x = scaled(&b, x, p, c.scale, pc);
  vq_value *in[] = {x, vq_quant_const(m, def->out->name, "scale", VQ_f32, 0, NULL, &c.scale),
                    vq_quant_const(m, def->out->name, "zero", VQ_f32, 0, NULL, &c.zero)};
  vq_value *q = x ? vq_build1(&b, VQ_OP_fake_quant, in, 3, fq->attrs, VQ_LIT("")) : NULL;
  vq_builder at = {linear->func, linear, linear->loc, pc->diag};
  vq_value *w = q ? spread(&at, linear, p, true, pc) : NULL;
  if (!w || !vq_quant_relinear(pc, linear, q, w, vq_in_opt(linear, 2))) return VQ_ERR;
  vq_erase_op(fq);
  drop(weight);
  if (!before) return VQ_OK;
  vq_erase_op(def);
  vq_erase_op(before);
  drop(weight1);
  return VQ_OK;
}

// One linear reads the codes, so that channels can have weights of their own.
static bool is_balanceable(const vq_op *fq) {
  return vq_in(fq, VQ_FQ_X)->kind == VQ_VALUE_RESULT && vq_has_one_use(fq->out) &&
         fq->out->uses->idx == 0 && open_weight(fq->out->uses->user);
}

// linear -> act -> quantizer -> linear, each read by the next alone.
static bool is_splittable(const vq_op *fq) {
  const vq_value *x = vq_in(fq, VQ_FQ_X);
  if (!is_balanceable(fq) || !vq_quant_is(fq, "act") || !vq_has_one_use(x)) return false;
  const vq_op *act = x->def;
  return act->n_in == 1 && vq_in(act, 0)->kind == VQ_VALUE_RESULT &&
         vq_has_one_use(vq_in(act, 0)) && open_weight(vq_in(act, 0)->def);
}

static split choose(vq_op *fq, vq_pass_ctx *pc) {
  const vq_pass_split_outliers_opts *o = VQ_OPTS(pc, vq_pass_split_outliers);
  bool able = is_balanceable(fq), may_split = is_splittable(fq);
  split p = plan(fq, may_split ? o->limit : INFINITY, may_split ? o->max_share : 0,
                 able ? o->balance : 0, pc);
  p.able = able && p.most > p.least;
  return p;
}

static vq_status handle(const split *p, vq_pass_ctx *pc) {
  const vq_pass_split_outliers_opts *o = VQ_OPTS(pc, vq_pass_split_outliers);
  if (p->able && (p->n_new > p->n || o->balance > 0)) {
    vq_stat(pc, "channels added for outliers", p->n_new - p->n);
    return rewrite(p, pc);
  }
  if (p->most > p->least) {
    codes c = codes_of(p);
    vq_quant_set(p->fq, 1, &c.scale, &c.zero);
  } else {
    vq_quant_merge_channels(p->fq);
  }
  return VQ_OK;
}

// ---- ranges by error ---------------------------------------------------------------

typedef struct clipper {
  split *p;
  double **part;  // what a channel's values are multiplied by
  vq_histogram *h;
  uint32_t **bin;
} clipper;

static void count(void *user, unsigned k, const float *x, int64_t n_x) {
  const clipper *s = user;
  const vq_histogram *h = &s->h[k];
  int64_t n = s->p[k].n;
  double scale = BINS / (h->most - h->least);
  for (int64_t i = 0; i < n_x; i += n)
    for (int64_t c = 0; c < n; c++) {
      double at = ((double)x[i + c] * s->part[k][c] - h->least) * scale;
      uint32_t *bin = &s->bin[k][at > 0 ? at < BINS ? (int)at : BINS - 1 : 0];
      *bin += *bin < UINT32_MAX;
    }
}

// A tap that counts values of `p` over a range a little wider than the one there is.
static void begin_count(clipper *s, unsigned k, vq_pass_ctx *pc) {
  const split *p = &s->p[k];
  s->bin[k] = VQ_NEW_N(pc->temp, uint32_t, BINS);
  memset(s->bin[k], 0, BINS * sizeof(uint32_t));
  s->h[k] = (vq_histogram){1.2 * p->least, fmax(1.2 * p->most, 1e-9), s->bin[k], BINS};
  s->part[k] = VQ_NEW_N(pc->temp, double, (size_t)p->n);
  for (int64_t i = 0; i < p->n_new; i++)
    s->part[k][p->source[i]] = 1 / ((double)p->m[i] * p->ratio[i]);
}

static vq_status clip(vq_module *m, split *p, unsigned n, vq_pass_ctx *pc) {
  clipper s = {p, VQ_NEW_N(pc->temp, double *, n), VQ_NEW_N(pc->temp, vq_histogram, n),
               VQ_NEW_N(pc->temp, uint32_t *, n)};
  vq_op **fq = VQ_NEW_N(pc->temp, vq_op *, n);
  vq_tapped t;
  for (unsigned k = 0; k < n; k++) {
    fq[k] = p[k].fq;
    begin_count(&s, k, pc);
  }
  if (vq_tapped_open(&t, m, fq, n, "activations have no common range", pc)) return VQ_ERR;
  vq_status st = vq_tapped_sweep(&t, "split-outliers", 0, 1, count, &s);
  vq_tapped_close(&t);
  for (unsigned k = 0; k < n && !st; k++) {
    if (!(p[k].most > p[k].least)) continue;
    const vq_attrs_fake_quant *a = VQ_ATTRS(fq[k], fake_quant);
    vq_levels q = {.lo = (double)a->lo, .hi = (double)a->hi};
    codes c;
    vq_range_fit(&(vq_observer){VQ_OBSERVE_MSE, 0}, &q, &s.h[k],
                 VQ_OPTS(pc, vq_pass_split_outliers)->margin, &c.scale, &c.zero);
    p[k].least = (q.lo - (double)c.zero) * (double)c.scale;
    p[k].most = (q.hi - (double)c.zero) * (double)c.scale;
  }
  return st;
}

static bool is_open_act(const vq_op *op) {
  return (vq_quant_is(op, "act") || vq_quant_is(op, "o")) && vq_quant_known(op) &&
         vq_type_count(vq_in(op, VQ_FQ_SCALE)->type) > 1;
}

vq_status vq_pass_split_outliers(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_quant_main(m);
  unsigned n = 0;
  if (!f) return VQ_OK;
  vq_each_op(f, op) n += is_open_act(op);
  split *p = VQ_NEW_N(pc->temp, split, n);
  n = 0;
  vq_each_op(f, op)
    if (is_open_act(op)) p[n++] = choose(op, pc);
  if (n && VQ_OPTS(pc, vq_pass_split_outliers)->clip && clip(m, p, n, pc)) return VQ_ERR;
  for (unsigned k = 0; k < n; k++)
    if (handle(&p[k], pc)) return VQ_ERR;
  return VQ_OK;
}
