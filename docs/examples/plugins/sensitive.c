/* widen-sensitive: gives 8 bits to the weights that fewer bits hurt most.
 *
 * Runs right behind insert-quantizers. Each weight that is to have fewer than 8 bits
 * is rounded to its grid, and compared with what it was:
 *
 *   by=weights   sum w^2 / sum (w - rounded w)^2
 *   by=outputs   the same of the model's first result on a few calibration samples,
 *                with this weight rounded and nothing else
 *
 * The `share` with the smallest ratio gets 8 bits.
 *
 *   vitqc M.onnx --load-pass-plugin=./sensitive.so --calib=DIR -o M.so --passes='...,
 *     insert-quantizers{bits=w4a8},widen-sensitive{share=0.25 by=outputs},observe,...' */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vq/plugin.h>

typedef struct candidate {
  double ratio;
  size_t nth; /* in program order, so that equal ratios have an order */
  vq_op *quantizer;
} candidate;

static int worse_first(const void *a, const void *b) {
  const candidate *x = a, *y = b;
  if (x->ratio != y->ratio) return x->ratio < y->ratio ? -1 : 1;
  return (x->nth > y->nth) - (x->nth < y->nth);
}

static int is_weight_quantizer(const vq_host *host, const vq_op *op) {
  vq_attr role, hi;
  return !strcmp(host->op_name(op), "fake_quant") && host->get_attr(op, "role", &role) &&
         role.s.n == 6 && !memcmp(role.s.p, "weight", 6) &&
         host->get_attr(op, "hi", &hi) && hi.i < 127 &&
         host->is_constant(host->operand(op, 0));
}

typedef struct ratio {
  double signal, noise;
} ratio;

static void compare(ratio *r, double was, double is) {
  r->signal += was * was;
  r->noise += (was - is) * (was - is);
}

static double value_of(ratio r) { return r.noise > 0 ? r.signal / r.noise : INFINITY; }

/* The weight of a quantizer, each row rounded to a grid of its own; NULL after an
 * error. */
static double *rounded(const vq_host *host, vq_call *call, const vq_op *op, ratio *r) {
  const vq_value *w = host->operand(op, 0);
  vq_attr hi;
  int64_t all = host->elements(w), rows = host->dim(w, 0), n = rows ? all / rows : 0;
  double *x = host->memory(call, (size_t)all * sizeof *x);
  if (!host->get_attr(op, "hi", &hi) || !host->read_constant(call, w, 0, all, x))
    return NULL;
  for (double *row = x; row < x + all; row += n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fmax(most, fabs(row[i]));
    double scale = most > 0 ? most / (double)hi.i : 1;
    for (int64_t i = 0; i < n; i++) {
      double to = nearbyint(row[i] / scale) * scale;
      compare(r, row[i], to);
      row[i] = to;
    }
  }
  return x;
}

/* ---- by outputs ---- */

/* The samples, and what the model makes of them. */
typedef struct trial {
  const vq_host *host;
  vq_call *call;
  vq_func *f;
  vq_value *x, *y;
  int64_t n;
  float *in, *out, *was; /* a batch; its result; results of all samples */
} trial;

static int run_all(const trial *t, float *keep, ratio *r) {
  const vq_host *h = t->host;
  int64_t batch = h->dim(t->x, 0), size = h->elements(t->x) / batch;
  int64_t n_out = h->elements(t->y);
  vq_prepared *p = h->prepare(t->call, t->f);
  int ok = p != NULL;
  for (int64_t i = 0; ok && i < t->n; i++) {
    for (int64_t k = 0; ok && k < batch; k++)
      ok = h->sample(t->call, i, t->in + k * size);
    const void *in[] = {t->in};
    void *out[] = {keep ? keep + i * n_out : t->out};
    ok = ok && h->run(t->call, p, in, out);
    for (int64_t k = 0; ok && !keep && k < n_out; k++)
      compare(r, (double)t->was[i * n_out + k], (double)t->out[k]);
  }
  if (p) h->release(t->call, p);
  return ok;
}

static int begin_trial(trial *t) {
  const vq_host *h = t->host;
  vq_op *last = h->first_op(t->f);
  while (h->next_op(last)) last = h->next_op(last);
  t->x = h->argument(t->f, 0), t->y = h->operand(last, 0);
  t->n = h->samples(t->call) < 4 ? h->samples(t->call) : 4;
  if (t->n == 0 || h->arguments(t->f) != 1 || h->operands(last) != 1 ||
      strcmp(h->dtype(t->x), "f32") || strcmp(h->dtype(t->y), "f32") ||
      h->elements(t->x) == 0) {
    h->report(t->call, VQ_LEVEL_ERROR, NULL,
              "by=outputs needs calibration samples and a model with one f32 input and "
              "one f32 result");
    return 0;
  }
  size_t n_out = (size_t)h->elements(t->y);
  t->in = h->memory(t->call, (size_t)h->elements(t->x) * sizeof(float));
  t->out = h->memory(t->call, n_out * sizeof(float));
  t->was = h->memory(t->call, n_out * (size_t)t->n * sizeof(float));
  return run_all(t, t->was, NULL);
}

/* Runs the model with `w` in place of the quantizer's weight. */
static int try_weight(const trial *t, vq_op *op, const double *w, ratio *r) {
  const vq_host *h = t->host;
  vq_value *was = h->operand(op, 0);
  int64_t dim[8];
  for (size_t i = 0; i < h->rank(was) && i < 8; i++) dim[i] = h->dim(was, i);
  vq_value *is = h->constant(t->call, "trial", "f32", h->rank(was), dim, w);
  *r = (ratio){0, 0};
  return is && h->set_operand(t->call, op, 0, is) && run_all(t, NULL, r) &&
         h->set_operand(t->call, op, 0, was);
}

/* ---- the pass ---- */

static int widen(const vq_host *host, vq_call *call, vq_op *op) {
  vq_attr lo = {.name = "lo", .kind = VQ_ATTR_IS_INT, .i = -127};
  vq_attr hi = {.name = "hi", .kind = VQ_ATTR_IS_INT, .i = 127};
  return host->set_attr(call, op, &lo) && host->set_attr(call, op, &hi);
}

static int rate(const trial *t, int by_outputs, candidate *c) {
  ratio r = {0, 0};
  double *w = rounded(t->host, t->call, c->quantizer, &r);
  if (!w || (by_outputs && !try_weight(t, c->quantizer, w, &r))) return 0;
  c->ratio = value_of(r);
  return 1;
}

static int widen_sensitive(const vq_host *host, vq_call *call) {
  trial t = {.host = host, .call = call, .f = host->function(call, "main")};
  vq_text by = host->option_text(call, "by");
  int by_outputs = by.p[0] == 'o';
  size_t n = 0, at = 0;
  for (vq_op *op = host->first_op(t.f); op; op = host->next_op(op))
    n += is_weight_quantizer(host, op) != 0;
  if (n == 0 || (by_outputs && !begin_trial(&t))) return n != 0;
  candidate *all = host->memory(call, n * sizeof *all);
  for (vq_op *op = host->first_op(t.f); op; op = host->next_op(op)) {
    if (!is_weight_quantizer(host, op)) continue;
    all[at] = (candidate){0, at, op};
    if (!rate(&t, by_outputs, &all[at++])) return 1;
  }
  qsort(all, n, sizeof *all, worse_first);
  size_t take = (size_t)ceil(fmax(host->option_real(call, "share"), 0) * (double)n);
  take = take < n ? take : n;
  for (size_t i = 0; i < take; i++)
    if (!widen(host, call, all[i].quantizer)) return 1;
  host->count(call, "weights widened to 8 bits", (int64_t)take);
  return 0;
}

static const vq_plugin_option options[] = {
    {"share", "part of the weights that gets 8 bits, 0 to 1", VQ_OPTION_IS_REAL, "0.25",
     NULL},
    {"by", "what is compared", VQ_OPTION_IS_TEXT, "weights", "weights|outputs"},
};

static const vq_plugin_pass passes[] = {
    {"widen-sensitive", "gives 8 bits to the weights that fewer bits hurt most",
     widen_sensitive, options, 2},
};

static const vq_plugin plugin = {
    VQ_PLUGIN_ABI, sizeof(vq_plugin), sizeof(vq_plugin_pass), sizeof(vq_plugin_option),
    "sensitive",   "1.0",             passes,                 1,
};

const vq_plugin *vq_plugin_query(uint32_t host_abi) {
  return host_abi >= VQ_PLUGIN_ABI ? &plugin : NULL;
}
