// scale-rows: rows that results are read from get codes of a finer scale.
//
// A classifier reads one row of tokens of many, and what its codes cost is not averaged
// with the errors of others (read_rows.h). Behind an activation function that row has
// often a smaller range than all together, whose scale it has to share. So its values are
// multiplied before they become codes, and the layer's result is divided again:
//
//   linear(x, w, b)  ->  linear(x * f, w) / f + b        f: 1, or more in such a row
//
// Both factors are constants [n, 1] in the epilogues of products that are there anyway.
// The zero point is that of all rows, since the kernels subtract it from whole columns:
// the one for which both scales grow least beyond what each range by itself asks for.
//
// Values that split-outliers computes several times have offsets in units of the scale,
// which are not multiplied.
#include "quant/quantizer.h"
#include "quant/range.h"
#include "quant/read_rows.h"
#include "quant/tapped.h"

#include <math.h>

enum { BINS = 2048 };

// A quantizer and what is known of its values in the rows that are read.
typedef struct input {
  vq_op *fq;
  double least, most;  // what its codes span
  vq_histogram seen;
  uint32_t *bin;
} input;

typedef struct scaler {
  vq_pass_ctx *pc;
  const vq_pass_scale_rows_opts *opts;
  vq_read_rows rows;
  input *in;
  vq_op **fq;
  unsigned n_in;
} scaler;

// Scales of both kinds of rows with one zero point.
typedef struct pair {
  double zero, all, read;
} pair;

// ---- which quantizers --------------------------------------------------------------

// One scale, and one linear that reads the codes.
static bool is_candidate(const scaler *s, const vq_op *op) {
  if (!vq_quant_is(op, "act") || !vq_quant_known(op) || !vq_has_one_use(op->out) ||
      vq_type_count(vq_in(op, VQ_FQ_SCALE)->type) > 1)
    return false;
  const vq_type *x = op->out->type;
  const vq_op *linear = op->out->uses->user;
  return x->rank >= 2 && x->dim[x->rank - 2] == s->rows.n &&
         linear->code == VQ_OP_linear && op->out->uses->idx == 0 &&
         (!vq_in_opt(linear, 2) || vq_const_of(vq_in(linear, 2)));
}

static void add_input(scaler *s, vq_op *fq) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  double scale = (double)vq_quant_at(vq_in(fq, VQ_FQ_SCALE), 0);
  double zero = (double)vq_quant_at(vq_in(fq, VQ_FQ_ZERO), 0);
  input *in = &s->in[s->n_in];
  *in = (input){.fq = fq, .least = ((double)a->lo - zero) * scale,
                .most = ((double)a->hi - zero) * scale};
  in->bin = VQ_NEW_N(s->pc->temp, uint32_t, BINS);
  memset(in->bin, 0, BINS * sizeof *in->bin);
  in->seen = (vq_histogram){in->least, in->most, in->bin, BINS};
  s->fq[s->n_in++] = fq;
}

// ---- ranges ------------------------------------------------------------------------

static void count(void *user, unsigned k, const float *x, int64_t n_x) {
  const scaler *s = user;
  input *in = &s->in[k];
  const vq_type *t = in->fq->out->type;
  int64_t channels = t->dim[t->rank - 1];
  double per = BINS / (in->most - in->least);
  for (int64_t r = 0; r * channels < n_x; r++)
    for (int64_t c = 0; s->rows.read[r % s->rows.n] && c < channels; c++) {
      double at = ((double)x[r * channels + c] - in->least) * per;
      uint32_t *bin = &in->bin[at > 0 ? at < BINS ? (int)at : BINS - 1 : 0];
      *bin += *bin < UINT32_MAX;
    }
}

static vq_status look(scaler *s, vq_module *m) {
  vq_tapped t;
  if (vq_tapped_open(&t, m, s->fq, s->n_in, "activations have no rows", s->pc))
    return VQ_ERR;
  vq_status st = vq_tapped_sweep(&t, "scale-rows", 0, 1, count, s);
  vq_tapped_close(&t);
  return st;
}

// The range of the rows that are read: all that was seen and a margin for what was not,
// or, with few codes, the one of least error; at most that of all rows.
static void read_range(const scaler *s, const input *in, double *least, double *most) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(in->fq, fake_quant);
  vq_levels q = {.lo = (double)a->lo, .hi = (double)a->hi};
  bool few = a->hi - a->lo < 63;
  float scale, zero;
  vq_range_fit(&(vq_observer){few ? VQ_OBSERVE_MSE : VQ_OBSERVE_PERCENTILE, 100}, &q, &in->seen,
               few ? 1 : s->opts->margin, &scale, &zero);
  *least = fmax((q.lo - (double)zero) * (double)scale, in->least);
  *most = fmin((q.hi - (double)zero) * (double)scale, in->most);
}

// Scales with which codes lo..hi span [least, most] from the zero point `zero` on.
static double scale_of(double zero, double lo, double hi, double least, double most) {
  double below = least < 0 ? -least / (zero - lo) : 0;
  double above = most > 0 ? most / (hi - zero) : 0;
  return fmax(below, above);
}

static pair choose(const scaler *s, const input *in) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(in->fq, fake_quant);
  double lo = (double)a->lo, hi = (double)a->hi, least, most, best = INFINITY;
  pair p = {0, 1, 1};
  read_range(s, in, &least, &most);
  for (double zero = lo; zero <= hi; zero++) {
    double all = scale_of(zero, lo, hi, in->least, in->most);
    double read = scale_of(zero, lo, hi, least, most);
    double grows_all = all / (in->most - in->least), grows_read = read / (most - least);
    double cost = grows_all * grows_all + grows_read * grows_read;
    if (cost < best) best = cost, p = (pair){zero, all, read};
  }
  return p;
}

// ---- the rewrite -------------------------------------------------------------------

// [n, 1]: `read` for rows that are read, 1 for others.
static vq_value *row_factors(const scaler *s, vq_op *at, const char *what, double read) {
  int64_t dim[] = {s->rows.n, 1};
  float *f = VQ_NEW_N(s->pc->temp, float, (size_t)s->rows.n);
  for (int64_t i = 0; i < s->rows.n; i++) f[i] = s->rows.read[i] ? (float)read : 1;
  return vq_quant_const(at->func->module, at->out->name, what, VQ_f32, 2, dim, f);
}

// Offsets that split-outliers added to `x`, or none.
static vq_op *offsets_of(vq_value *x) {
  vq_op *add = vq_quant_def(x, VQ_OP_add);
  return add && vq_has_one_use(x) && vq_const_of(vq_in(add, 1)) ? add : NULL;
}

static vq_value *scaled(const scaler *s, const input *in, const pair *p, vq_builder *b) {
  vq_value *x = vq_in(in->fq, VQ_FQ_X);
  vq_op *add = offsets_of(x);
  vq_value *f = row_factors(s, in->fq, "rows", p->all / p->read);
  if (!add) return vq_build_binary(b, VQ_OP_mul, x, f, VQ_LIT(""));
  vq_value *offset = vq_in(add, 1);
  int64_t n = vq_type_count(offset->type);
  float *o = vq_quant_floats(s->pc, offset);
  if (!o) return NULL;
  double old = (double)vq_quant_at(vq_in(in->fq, VQ_FQ_SCALE), 0);
  for (int64_t i = 0; i < n; i++) o[i] = (float)((double)o[i] * (p->all / old));
  vq_value *y = vq_build_binary(b, VQ_OP_mul, vq_in(add, 0), f, VQ_LIT(""));
  return y ? vq_build_binary(b, VQ_OP_add, y,
                             vq_quant_const(b->func->module, offset->name, "rows", VQ_f32,
                                            offset->type->rank, offset->type->dim, o),
                             VQ_LIT(""))
           : NULL;
}

// The linear behind, whose result is divided again.
static vq_status unscaled(const scaler *s, vq_op *linear, const pair *p) {
  vq_builder b = {linear->func, linear, linear->loc, s->pc->diag};
  vq_value *in[] = {vq_in(linear, 0), vq_in(linear, 1)}, *bias = vq_in_opt(linear, 2);
  vq_value *y = vq_build1(&b, VQ_OP_linear, in, 2, linear->attrs, VQ_LIT(""));
  vq_value *f = row_factors(s, linear, "unscale", p->read / p->all);
  y = y ? vq_build_binary(&b, VQ_OP_mul, y, f, VQ_LIT("")) : NULL;
  if (y && bias) y = vq_build_binary(&b, VQ_OP_add, y, bias, VQ_LIT(""));
  if (!y) return VQ_ERR;
  vq_replace_op(linear, y);
  return VQ_OK;
}

static vq_status scale(const scaler *s, const input *in) {
  pair p = choose(s, in);
  if (!(p.all > s->opts->least * p.read)) return VQ_OK;
  vq_op *fq = in->fq, *linear = fq->out->uses->user;
  vq_op *add = offsets_of(vq_in(fq, VQ_FQ_X));
  vq_builder b = {fq->func, fq, fq->loc, s->pc->diag};
  vq_value *x = scaled(s, in, &p, &b);
  if (!x) return VQ_ERR;
  float all = (float)p.all, zero = (float)p.zero;
  vq_set_operand(fq, VQ_FQ_X, x);
  if (add) vq_erase_op(add);
  vq_quant_set(fq, 1, &all, &zero);
  vq_stat(s->pc, "activations with a finer scale for rows that are read", 1);
  return unscaled(s, linear, &p);
}

vq_status vq_pass_scale_rows(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_quant_main(m);
  scaler s = {.pc = pc, .opts = VQ_OPTS(pc, vq_pass_scale_rows)};
  if (!f || !vq_read_rows_find(f, pc->temp, &s.rows)) return VQ_OK;
  unsigned n = 0;
  vq_each_op(f, op) n += is_candidate(&s, op);
  if (!n) return VQ_OK;
  s.in = VQ_NEW_N(pc->temp, input, n);
  s.fq = VQ_NEW_N(pc->temp, vq_op *, n);
  vq_each_op(f, op)
    if (is_candidate(&s, op)) add_input(&s, op);
  if (look(&s, m)) return VQ_ERR;
  for (unsigned k = 0; k < s.n_in; k++)
    if (scale(&s, &s.in[k])) return VQ_ERR;
  return VQ_OK;
}
