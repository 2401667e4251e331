// compensate-weights: rounds weights so that errors cancel on calibration inputs.
//
// For each linear the float model's inputs go through the linear's activation
// quantizer, and their codes minus the zero point add up to a Gram matrix; the
// scale has no part in where rounding goes, so all of it is integers (gram.c).
// Rows start with the scales that round-weights would give them. The result is a
// constant whose elements are multiples of their scales: whatever rounds it again
// finds the same codes.
//
// Results are read from few of the rows of tokens, often from one of hundreds, and its
// errors are the ones that nothing averages out. Such rows count several times, so that
// they are at least `read-share` of all (read_rows.h).
//
// A Gram matrix takes 8 n^2 bytes. Those of one sweep over the samples, with the
// factor of one of them, take at most `max-bytes`; as many sweeps are made as
// that asks for.
//
// Weights of more than `max-bits` bits are left to round-weights, and so are
// those of patch_embed (never below 8 bits, where nothing is gained), those that
// several linears share, and those whose input has a scale per channel, a zero
// point far off its codes, a Gram matrix above `max-bytes`, or fewer rows than
// channels: such a matrix says of most directions that nothing is ever there, and what
// errors are moved into them costs more than it saves. The head of a ViT reads one row
// a sample.
#include "quant/gram.h"
#include "quant/quantizer.h"
#include "quant/read_rows.h"
#include "quant/tapped.h"

#include <math.h>
#include <stdlib.h>

// An activation quantizer and what its codes add up to.
typedef struct input {
  vq_op *fq;
  vq_op **weight;  // quantizers of the weights that meet its codes
  unsigned n_weight;
  int64_t n;       // channels
  bool has_read;   // its rows are those that some are read of
  unsigned sweep;  // which one it is part of
  double scale, zero, lo, hi;
  double *gram;    // these two only while that sweep runs
  int16_t *tile;   // codes not yet in `gram`, a column per channel
  int64_t filled;  // how many of each
  int64_t n_seen;  // rows
} input;

typedef struct compensator {
  vq_pass_ctx *pc;
  const vq_pass_compensate_weights_opts *opts;
  input *in;
  vq_op **fq;  // of the inputs
  unsigned n_in, n_sweep, sweep;
  vq_read_rows rows;
  int64_t times;  // what each row that is read counts
} compensator;

static void *allocate(int64_t n, size_t size) {
  void *p = calloc((size_t)n, size);
  if (!p) vq_oom((size_t)n * size);
  return p;
}

// ---- which weights ----------------------------------------------------------------

// The quantizer of the weight of this use's linear, if the pass is to round it.
static vq_op *weight_of(const compensator *s, const vq_use *u) {
  const vq_op *op = u->user;
  if (op->code != VQ_OP_linear || u->idx != 0) return NULL;
  vq_op *wq = vq_quant_def(vq_in(op, 1), VQ_OP_fake_quant);
  if (!wq || !vq_quant_is(wq, "weight") || vq_quant_known(wq)) return NULL;
  const vq_attrs_fake_quant *a = VQ_ATTRS(wq, fake_quant);
  if (a->hi >= (int64_t)1 << (s->opts->max_bits - 1)) return NULL;
  vq_const *w = vq_const_of(vq_in(wq, VQ_FQ_X));
  if (!w || w->value.type->dtype != VQ_f32 || vq_type_count(w->value.type) == 0)
    return NULL;
  if (!vq_has_one_use(wq->out)) {
    vq_stat(s->pc, "left: shared weights", 1);
    return NULL;
  }
  if (!vq_const_bytes(w)) {
    vq_stat(s->pc, "left: data missing", 1);
    return NULL;
  }
  return wq;
}

// What one input takes while its sweep runs, and what the factor and a tile of
// errors take when it is used.
static double gram_bytes(int64_t n) {
  return (double)n * ((double)n * sizeof(double) + VQ_GRAM_TILE * sizeof(int16_t));
}

static double factor_bytes(int64_t n) {
  return (double)n * ((double)n + VQ_GRAM_ROOM) * sizeof(double);
}

static bool is_usable(const compensator *s, const input *in) {
  if (vq_type_count(vq_in(in->fq, VQ_FQ_SCALE)->type) > 1 ||
      vq_type_count(vq_in(in->fq, VQ_FQ_ZERO)->type) > 1) {
    vq_stat(s->pc, "left: input with a scale per channel", 1);
    return false;
  }
  if (fmax(fabs(in->lo - in->zero), fabs(in->hi - in->zero)) > VQ_GRAM_MOST) {
    vq_stat(s->pc, "left: input with a zero point far off", 1);
    return false;
  }
  if (gram_bytes(in->n) + factor_bytes(in->n) > (double)s->opts->max_bytes) {
    vq_stat(s->pc, "left: input too wide for max-bytes", 1);
    return false;
  }
  return true;
}

static void add_input(compensator *s, vq_op *fq) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  const vq_type *t = fq->out->type;
  size_t n_use = 0;
  vq_each_use(fq->out, u) n_use++;
  input in = {.fq = fq,
              .weight = VQ_NEW_N(s->pc->temp, vq_op *, n_use),
              .scale = (double)vq_quant_at(vq_in(fq, VQ_FQ_SCALE), 0),
              .zero = (double)vq_quant_at(vq_in(fq, VQ_FQ_ZERO), 0),
              .lo = (double)a->lo,
              .hi = (double)a->hi};
  vq_each_use(fq->out, u) {
    vq_op *wq = weight_of(s, u);
    if (wq) in.weight[in.n_weight++] = wq;
  }
  if (in.n_weight == 0) return;
  in.n = t->dim[t->rank - 1];
  in.has_read = s->times > 1 && t->rank >= 2 && t->dim[t->rank - 2] == s->rows.n;
  if (!is_usable(s, &in)) return;
  s->fq[s->n_in] = fq;
  s->in[s->n_in++] = in;
}

static void find_inputs(compensator *s, const vq_func *f) {
  size_t n = 0;
  vq_each_op(f, op) n += op->code == VQ_OP_fake_quant;
  s->fq = VQ_NEW_N(s->pc->temp, vq_op *, n);
  s->in = VQ_NEW_N(s->pc->temp, input, n);
  vq_each_op(f, op)
    if (op->code == VQ_OP_fake_quant && vq_quant_known(op) &&
        vq_const_of(vq_in(op, VQ_FQ_SCALE)) && vq_const_of(vq_in(op, VQ_FQ_ZERO)))
      add_input(s, op);
}

// What each row that results are read from counts, the others 1.
static int64_t times_read(const compensator *s) {
  double share = s->opts->read_share, read = (double)s->rows.n_read;
  return (int64_t)nearbyint(share / (1 - share) * ((double)s->rows.n - read) / read);
}

// Consecutive inputs share a sweep as long as they fit.
static void plan_sweeps(compensator *s) {
  double grams = 0, factor = 0;
  for (unsigned k = 0; k < s->n_in; k++) {
    input *in = &s->in[k];
    grams += gram_bytes(in->n), factor = fmax(factor, factor_bytes(in->n));
    if (s->n_sweep == 0 || grams + factor > (double)s->opts->max_bytes) {
      s->n_sweep++;
      grams = gram_bytes(in->n), factor = factor_bytes(in->n);
    }
    in->sweep = s->n_sweep - 1;
  }
}

// ---- sums -------------------------------------------------------------------------

static void flush(input *in) {
  if (in->filled == 0) return;
  for (int64_t c = 0; c < in->n; c++)
    for (int64_t t = in->filled; t < VQ_GRAM_TILE; t++)
      in->tile[c * VQ_GRAM_TILE + t] = 0;
  vq_gram_add(in->gram, in->n, in->tile);
  in->filled = 0;
}

// The codes of fake_quant, minus the zero point.
static void see_row(input *in, const float *x) {
  double lo = in->lo - in->zero, hi = in->hi - in->zero;
  for (int64_t c = 0; c < in->n; c++) {
    double v = (double)(float)((double)x[c] / in->scale);
    v = v > lo ? v : lo;
    v = v < hi ? v : hi;
    in->tile[c * VQ_GRAM_TILE + in->filled] = (int16_t)nearbyint(v);
  }
  if (++in->filled == VQ_GRAM_TILE) flush(in);
}

static void see(void *user, unsigned k, const float *x, int64_t count) {
  compensator *s = user;
  input *in = &s->in[k];
  if (in->sweep != s->sweep) return;
  in->n_seen += count / in->n;
  for (int64_t i = 0; i < count / in->n; i++) {
    bool read = in->has_read && s->rows.read[i % s->rows.n];
    for (int64_t t = read ? s->times : 1; t > 0; t--) see_row(in, x + i * in->n);
  }
}

// ---- rounding ---------------------------------------------------------------------

static void round_weight(const compensator *s, const vq_gram *g, double *room,
                         vq_op *wq) {
  vq_value *x = vq_in(wq, VQ_FQ_X);
  int64_t rows = x->type->dim[0];
  double lo = (double)VQ_ATTRS(wq, fake_quant)->lo;
  double hi = (double)VQ_ATTRS(wq, fake_quant)->hi;
  const float *w = vq_const_bytes(vq_const_of(x));
  float *scale = allocate(rows, sizeof *scale);
  float *to = allocate(rows * g->n, sizeof *to);
  for (int64_t o = 0; o < rows; o++)
    scale[o] = vq_quant_row_scale(w + o * g->n, g->n, lo, hi);
  vq_gram_round(g, w, rows, scale, lo, hi, room, to);
  vq_gram_descend(g, w, rows, scale, lo, hi, room, to);
  vq_set_operand(wq, VQ_FQ_X,
                 vq_quant_const(wq->func->module, x->name, "rounded", VQ_f32,
                                x->type->rank, x->type->dim, to));
  vq_quant_set_rows(wq, scale);
  vq_stat(s->pc, "weights", 1);
  free(scale);
  free(to);
}

static void round_weights(const compensator *s, const input *in) {
  if (in->n_seen < in->n) {
    vq_stat(s->pc, "left: fewer rows than channels", in->n_weight);
    return;
  }
  int64_t n = in->n, *order = allocate(n, sizeof *order);
  double *l = allocate(n * n, sizeof *l), *room = allocate(n * VQ_GRAM_ROOM, sizeof *room);
  double more = vq_gram_damp(in->gram, n, fmax(s->opts->damping, 1e-6));
  for (int64_t i = 0; i < n; i++) order[i] = i;
  if (vq_str_is(s->opts->order, "diagonal")) vq_gram_order(in->gram, n, order);
  vq_gram_factor(in->gram, n, order, more / 2, l);  // exactly, no pivot is below `more`
  vq_gram g = {n, in->gram, l, order};
  for (unsigned i = 0; i < in->n_weight; i++) round_weight(s, &g, room, in->weight[i]);
  free(l);
  free(room);
  free(order);
}

// ---- the pass ---------------------------------------------------------------------

static vq_status one_sweep(compensator *s, vq_tapped *t) {
  for (unsigned k = 0; k < s->n_in; k++) {
    input *in = &s->in[k];
    if (in->sweep != s->sweep) continue;
    in->gram = allocate(in->n * in->n, sizeof *in->gram);
    in->tile = allocate(in->n * VQ_GRAM_TILE, sizeof *in->tile);
  }
  vq_status st = vq_tapped_sweep(t, "compensate-weights", s->sweep, s->n_sweep, see, s);
  for (unsigned k = 0; k < s->n_in; k++) {
    input *in = &s->in[k];
    if (in->sweep != s->sweep) continue;
    flush(in);
    free(in->tile);
    if (!st) round_weights(s, in);
    free(in->gram);
  }
  return st;
}

vq_status vq_pass_compensate_weights(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_quant_main(m);
  compensator s = {.pc = pc, .opts = VQ_OPTS(pc, vq_pass_compensate_weights)};
  vq_tapped t;
  if (!f) return VQ_OK;
  if (s.opts->max_bits < 1 || s.opts->max_bits > 8)
    return vq_error(pc->diag, VQ_E_option, (vq_loc){0},
                    "max-bits is %lld, expected 1 to 8", (long long)s.opts->max_bits);
  if (!(s.opts->read_share >= 0 && s.opts->read_share <= 0.9))
    return vq_error(pc->diag, VQ_E_option, (vq_loc){0},
                    "read-share is %g, expected 0 to 0.9", s.opts->read_share);
  if (vq_read_rows_find(f, pc->temp, &s.rows)) s.times = times_read(&s);
  find_inputs(&s, f);
  if (s.n_in == 0) return VQ_OK;
  plan_sweeps(&s);
  if (vq_tapped_open(&t, m, s.fq, s.n_in, "inputs of weights are not known", pc))
    return VQ_ERR;
  vq_status st = VQ_OK;
  for (; s.sweep < s.n_sweep && !st; s.sweep++) st = one_sweep(&s, &t);
  vq_tapped_close(&t);
  vq_stat(pc, "sweeps", s.n_sweep);
  return st;
}
