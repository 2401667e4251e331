// vitqc run: what the model says about each input.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "machine.h"
#include "source.h"
#include "temporary.h"
#include "vq/vec.h"

typedef struct run {
  driver *d;
  machine m;
  VQ_VEC(float) all;  // outputs of every sample, for -o
  int64_t n;
} run;

// Index of the largest of y[0..n) that is not in done[0..k).
static int64_t next_best(const float *y, int64_t n, const int64_t *done,
                         int64_t k) {
  int64_t best = -1;
  for (int64_t i = 0; i < n; i++) {
    bool used = false;
    for (int64_t j = 0; j < k; j++) used |= done[j] == i;
    if (!used && !isnan(y[i]) && (best < 0 || y[i] > y[best])) best = i;
  }
  return best;
}

// Softmax probability of class `at`.
static double probability(const float *y, int64_t n, int64_t at) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += exp((double)y[i] - (double)y[at]);
  return 1 / sum;
}

static void print_classes(const run *r, const float *y) {
  int64_t n = r->m.out_count, top = opt_count(&r->d->opt, OPT_top);
  if (top > n) top = n;
  int64_t *done = calloc((size_t)top, sizeof *done);
  if (!done) vq_oom((size_t)top * sizeof *done);
  double best = 0;
  for (int64_t k = 0; k < top; k++) {
    int64_t i = done[k] = next_best(y, n, done, k);
    if (i < 0) break;
    if (k == 0) best = probability(y, n, i);
    double p = best * exp((double)y[i] - (double)y[done[0]]);
    vq_strbuf label = {0};
    if (i < r->m.model->n_label)
      vq_strbuf_escaped(&label, vq_str_of(r->m.model->label[i]));
    fprintf(r->d->out, "  %5" PRId64 "  %6.2f %%  %9.4f  %s\n", i, 100 * p, (double)y[i],
           vq_strbuf_z(&label));
    vq_strbuf_release(&label);
  }
  free(done);
}

static vq_status run_source(run *r, const source *s) {
  size_t n_in = (size_t)r->m.in_count, n_out = (size_t)r->m.out_count;
  float *x = calloc(n_in + n_out, sizeof *x);
  if (!x) vq_oom((n_in + n_out) * sizeof *x);
  float *y = x + n_in;
  vq_status st = VQ_OK;
  for (int64_t i = 0; i < s->n && !st; i++) {
    st = source_load(s, i, x);
    if (!st) st = machine_run(&r->m, 1, x, y);
    if (st) break;
    if (!opt_given(&r->d->opt, OPT_array) || opt_given(&r->d->opt, OPT_top)) {
      vq_strbuf name = {0};
      source_name(s, i, &name);
      fprintf(r->d->out, "%s\n", vq_strbuf_z(&name));
      vq_strbuf_release(&name);
      print_classes(r, y);
    }
    if (!opt_given(&r->d->opt, OPT_array)) continue;
    vq_vec_reserve(&r->all, r->all.n + n_out);
    memcpy(r->all.p + r->all.n, y, n_out * sizeof *y);
    r->all.n += n_out;
  }
  r->n += s->n;
  free(x);
  return st;
}

// All outputs as one array [n, ...].
static vq_status write_outputs(run *r) {
  const vitq_tensor_info *t = &r->m.model->output[0];
  int64_t dim[VQ_MAX_RANK] = {r->n};
  for (unsigned i = 1; i < t->rank; i++) dim[i] = t->dim[i];
  vq_strbuf header = {0};
  vq_npy_header(&header, VQ_f32, t->rank ? t->rank : 1, dim);
  out_file o;
  vq_status s =
      out_open(&o, opt_text(&r->d->opt, OPT_array), r->d);
  if (!s) {
    fwrite(header.p, 1, header.n, o.file);
    if (r->all.n) fwrite(r->all.p, sizeof(float), r->all.n, o.file);
    s = out_commit(&o);
  }
  vq_strbuf_release(&header);
  return s;
}

int do_run(driver *d) {
  const options *o = &d->opt;
  if (o->n_file == 0) return usage_error(d, "no model to run");
  if (o->n_file == 1)
    return usage_error(d, "no input to run '%s' on", o->file[0]);
  run r = {.d = d};
  vq_status s = machine_open(d, o->file[0], &r.m);
  for (unsigned i = 1; i < o->n_file && !s; i++) {
    source in;
    sample_shape to = machine_samples(&r.m);
    s = source_open(d, &to, o->file[i], &in);
    if (s) break;
    s = run_source(&r, &in);
    source_close(&in);
  }
  if (!s && opt_given(o, OPT_array)) s = write_outputs(&r);
  machine_close(&r.m);
  vq_vec_release(&r.all);
  return exit_code(s);
}
