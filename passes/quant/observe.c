// observe: ranges of activations from calibration samples.
//
// All ranges are those of the float model (tapped.h). Statistics merge exactly
// (extremes, integer counts), so the order and the number of samples per run do
// not matter.
//
//   first sweep   smallest and largest value per channel
//   second sweep  histograms over these ranges, per channel or per tensor
//
// range.h chooses a range by them as `observer` says, of all layers and of some; each is
// widened by `margin`, because few samples do not show all there is. The residual stream
// is never clipped.
//
// Channels of norms, activation functions and attention's operands get a scale
// each. In a score all channels are added up, so the products of q's and k's
// scales are made equal: with ranges a_c and b_c,
//
//   s_c = sqrt(P a_c / b_c),  t_c = sqrt(P b_c / a_c),  P = max a_c b_c
//
// which fills the codes of the channel with the largest product and leaves no
// channel of q coarse for the sake of another's. It is the equalization of
// neighbouring layers (Nagel et al., ICCV 2019, equation 11) on attention.
#include "quant/places.h"
#include "quant/range.h"
#include "quant/tapped.h"
#include "vq/elementary.h"

#include <math.h>

enum { TENSOR_BINS = 2048, CHANNEL_BINS = 256 };

typedef struct tap {
  vq_op *fq;
  int64_t n_channel;  // last dimension
  int64_t n_scale;    // that or 1
  float *lo, *hi;     // per scale
  int64_t n_seen;     // values, per scale
  uint32_t *bin;      // n_bin per scale
  int n_bin;          // 0: no histogram wanted
  vq_layer layer;     // that reads it
  vq_observer how;
} tap;

typedef struct observer {
  vq_pass_ctx *pc;
  tap *tap;
  vq_op **fq;  // of the taps
  unsigned n_tap;
  double margin, norm_margin;
  vq_rules rules;
  vq_places places;
} observer;

static bool is_per_channel(const vq_op *fq) {
  static const char *const role[] = {"norm", "act", "o", "q", "k", "v"};
  for (size_t i = 0; i < VQ_COUNT(role); i++)
    if (vq_quant_is(fq, role[i])) return true;
  return false;
}

// ---- sweeps ----------------------------------------------------------------------

static void note_extremes(tap *t, const float *x, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    int64_t c = t->n_scale == 1 ? 0 : i % t->n_scale;
    t->lo[c] = x[i] < t->lo[c] ? x[i] : t->lo[c];
    t->hi[c] = x[i] > t->hi[c] ? x[i] : t->hi[c];
  }
}

static void note_counts(tap *t, const float *x, int64_t count) {
  for (int64_t c = 0; c < t->n_scale; c++) {
    double lo = (double)t->lo[c], width = (double)t->hi[c] - lo;
    double scale = width > 0 ? t->n_bin / width : 0;
    uint32_t *bin = t->bin + c * t->n_bin;
    for (int64_t i = c; i < count; i += t->n_scale) {
      double at = ((double)x[i] - lo) * scale;
      int k = at > 0 ? at < t->n_bin ? (int)at : t->n_bin - 1 : 0;
      bin[k] += bin[k] < UINT32_MAX;
    }
  }
}

static void first_sweep(void *user, unsigned k, const float *x, int64_t count) {
  observer *o = user;
  o->tap[k].n_seen += count / o->tap[k].n_scale;
  note_extremes(&o->tap[k], x, count);
}

static void second_sweep(void *user, unsigned k, const float *x, int64_t count) {
  observer *o = user;
  if (o->tap[k].n_bin) note_counts(&o->tap[k], x, count);
}

// Ranges of one scale hold 0; so do those of what is rarely negative.
static void close_first_sweep(observer *o) {
  for (unsigned k = 0; k < o->n_tap; k++) {
    tap *t = &o->tap[k];
    for (int64_t c = 0; c < t->n_scale && !vq_quant_is(t->fq, "norm"); c++) {
      t->lo[c] = t->lo[c] < 0 ? t->lo[c] : 0;
      t->hi[c] = t->hi[c] > 0 ? t->hi[c] : 0;
    }
    if (vq_quant_is(t->fq, "residual")) continue;
    t->n_bin = t->n_scale == 1 ? TENSOR_BINS : CHANNEL_BINS;
    size_t n = (size_t)(t->n_scale * t->n_bin);
    t->bin = VQ_NEW_N(o->pc->temp, uint32_t, n);
    memset(t->bin, 0, n * sizeof *t->bin);
  }
}

// ---- from statistics to scales -----------------------------------------------------

// The largest of n normal numbers is about sqrt(2 ln n): how much farther many reach
// than the few that were seen of a channel. The norm in front of the head has one row
// a sample, others have hundreds.
static double beyond_seen(const tap *t) {
  static const double many = 4096;
  double n = t->n_seen > 2 ? (double)t->n_seen : 2;
  return n < many ? sqrt(vq_log(many) / vq_log(n)) : 1;
}

static void set_scale(observer *o, const tap *t) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(t->fq, fake_quant);
  bool around = vq_quant_is(t->fq, "q") || vq_quant_is(t->fq, "k") ||
                vq_quant_is(t->fq, "v");
  vq_levels q = {.lo = (double)a->lo, .hi = (double)a->hi,
               .symmetric = around || a->lo < 0,
               .zero = around ? 128 : 0};
  double margin = o->margin;
  if (vq_quant_is(t->fq, "norm")) margin = o->norm_margin * beyond_seen(t);
  float *scale = VQ_NEW_N(o->pc->temp, float, (size_t)t->n_scale);
  float *zero = VQ_NEW_N(o->pc->temp, float, (size_t)t->n_scale);
  for (int64_t c = 0; c < t->n_scale; c++) {
    vq_histogram h = {.least = (double)t->lo[c], .most = (double)t->hi[c],
                      .bin = t->n_bin ? t->bin + c * t->n_bin : NULL,
                      .n = t->n_bin};
    vq_range_fit(&t->how, &q, &h, margin, &scale[c], &zero[c]);
  }
  vq_quant_set(t->fq, t->n_scale, scale, zero);
}

// The quantizer of operand `i`, whose scales are still those of its channels.
static vq_op *open_operand(const vq_op *attention, unsigned i) {
  vq_op *fq = vq_quant_def(vq_in(attention, i), VQ_OP_fake_quant);
  return fq && vq_has_one_use(fq->out) ? fq : NULL;
}

// Makes the products of q's and k's scales equal in all channels.
static void equalize(vq_op *attention, vq_pass_ctx *pc) {
  vq_op *fq[] = {open_operand(attention, 0), open_operand(attention, 1)};
  if (!fq[0] || !fq[1]) {
    if (fq[0]) vq_quant_merge_channels(fq[0]);
    if (fq[1]) vq_quant_merge_channels(fq[1]);
    return;
  }
  vq_value *s[] = {vq_in(fq[0], VQ_FQ_SCALE), vq_in(fq[1], VQ_FQ_SCALE)};
  int64_t n = vq_type_count(s[0]->type);  // heads * width, as k's
  double most = 0;
  for (int64_t c = 0; c < n; c++)
    most = fmax(most, (double)vq_quant_at(s[0], c) * (double)vq_quant_at(s[1], c));
  float *zero = VQ_NEW_N(pc->temp, float, (size_t)n);
  float *to = VQ_NEW_N(pc->temp, float, (size_t)n);
  for (int64_t c = 0; c < n; c++) zero[c] = 128;
  for (unsigned i = 0; i < 2; i++) {
    for (int64_t c = 0; c < n; c++)
      to[c] = (float)sqrt(most * (double)vq_quant_at(s[i], c) /
                          (double)vq_quant_at(s[1 - i], c));
    vq_quant_set(fq[i], n, to, zero);
  }
}

// ---- rules -------------------------------------------------------------------------

// What reads the codes, behind what only moves them.
static const vq_op *reader(const vq_value *v) {
  vq_each_use(v, u) {
    const vq_op *op = u->user;
    if (vq_quant_moves(op) && u->idx == 0) op = reader(op->out);
    if (op && (op->code == VQ_OP_linear || op->code == VQ_OP_patch_embed ||
               op->code == VQ_OP_attention))
      return op;
  }
  return NULL;
}

static vq_layer layer_of(const observer *o, vq_op *fq) {
  const vq_op *op = reader(fq->out);
  if (vq_quant_is(fq, "residual") || !op)
    return vq_quant_layer(&o->places, fq, VQ_ROLE_RESIDUAL);
  if (op->code != VQ_OP_attention)
    return vq_quant_layer(&o->places, op, vq_quant_layer_role(op));
  return vq_quant_layer(&o->places, op,
                        vq_quant_is(fq, "v") ? VQ_ROLE_ATTN_AV : VQ_ROLE_ATTN_QK);
}

static vq_status read_observer(const observer *o, vq_str text, size_t at, vq_observer *out) {
  if (vq_observer_read(text, out)) return VQ_OK;
  return vq_error(o->pc->diag, VQ_E_option, vq_rules_loc(&o->rules, o->pc->ctx, at),
                  "observer: '%.*s' is no observer, expected mse, minmax or percentile[:P], "
                  "P a percentage", VQ_FMT(text));
}

// Says how each tap's range is chosen.
static vq_status choose_observers(observer *o, vq_module *m) {
  vq_arena *temp = o->pc->temp;
  vq_rules *r = &o->rules;
  vq_observer all, some;
  const vq_str text = VQ_OPTS(o->pc, vq_pass_observe)->observer;
  if (vq_rules_parse(temp, "observer", text, o->pc->diag, r)) return VQ_ERR;
  if (read_observer(o, r->all, 0, &all)) return VQ_ERR;
  if (r->by_place && vq_places_open(&o->places, m, temp, o->pc->diag)) return VQ_ERR;
  vq_layer *layer = VQ_NEW_N(temp, vq_layer, o->n_tap);
  size_t n = 0;  // that are not the residual stream
  for (unsigned k = 0; k < o->n_tap; k++) {
    tap *t = &o->tap[k];
    t->how = all;
    t->layer = layer_of(o, t->fq);
    if (t->layer.role != VQ_ROLE_RESIDUAL) layer[n++] = t->layer;
  }
  for (unsigned i = 0; i < r->n; i++) {
    if (read_observer(o, r->rule[i].value, r->rule[i].at_value, &some)) return VQ_ERR;
    for (unsigned k = 0; k < o->n_tap; k++)
      if (vq_rule_matches(&r->rule[i], &o->tap[k].layer)) o->tap[k].how = some;
  }
  return vq_rules_check(r, layer, n, o->pc->diag);
}

// ---- what was seen -----------------------------------------------------------------

static vq_observed_range seen_range(const tap *t) {
  const vq_value *x = vq_in(t->fq, VQ_FQ_X);
  const vq_op *op = x->name.n ? NULL : reader(t->fq->out);
  vq_observed_range r = {VQ_ATTRS(t->fq, fake_quant)->role, op ? op->out->name : x->name,
                     (double)t->lo[0], (double)t->hi[0]};
  for (int64_t c = 1; c < t->n_scale; c++) {
    r.lo = fmin(r.lo, (double)t->lo[c]);
    r.hi = fmax(r.hi, (double)t->hi[c]);
  }
  return r;
}

static void tell_ranges(const observer *o) {
  const vq_range_sink *sink = o->pc->exec->ranges;
  if (!sink) return;
  vq_observed_range *all = VQ_NEW_N(o->pc->temp, vq_observed_range, o->n_tap);
  for (unsigned k = 0; k < o->n_tap; k++) all[k] = seen_range(&o->tap[k]);
  sink->seen(sink->user, all, o->n_tap);
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
    t->n_scale = is_per_channel(t->fq) ? t->n_channel : 1;
    t->lo = VQ_NEW_N(o->pc->temp, float, (size_t)t->n_scale);
    t->hi = VQ_NEW_N(o->pc->temp, float, (size_t)t->n_scale);
    for (int64_t c = 0; c < t->n_scale; c++) t->lo[c] = INFINITY, t->hi[c] = -INFINITY;
  }
}

static vq_status sweeps(observer *o, vq_tapped *t) {
  if (vq_tapped_sweep(t, "observe", 0, 2, first_sweep, o)) return VQ_ERR;
  close_first_sweep(o);
  return vq_tapped_sweep(t, "observe", 1, 2, second_sweep, o);
}

vq_status vq_pass_observe(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_quant_main(m);
  const vq_pass_observe_opts *opts = VQ_OPTS(pc, vq_pass_observe);
  observer o = {.pc = pc, .margin = opts->margin, .norm_margin = opts->norm_margin};
  vq_tapped t;
  if (!f) return VQ_OK;
  find_taps(&o, f);
  if (o.n_tap == 0) return VQ_OK;
  vq_status chosen = choose_observers(&o, m);
  vq_places_close(&o.places);
  if (chosen) return VQ_ERR;
  if (vq_tapped_open(&t, m, o.fq, o.n_tap, "activations have no range", pc))
    return VQ_ERR;
  vq_status st = sweeps(&o, &t);
  vq_tapped_close(&t);
  if (st) return VQ_ERR;
  tell_ranges(&o);
  for (unsigned k = 0; k < o.n_tap; k++) set_scale(&o, &o.tap[k]);
  vq_each_op(f, op)
    if (op->code == VQ_OP_attention) equalize(op, pc);
  vq_stat(pc, "ranges observed", o.n_tap);
  vq_stat(pc, "samples", pc->exec->samples->n);
  return VQ_OK;
}
