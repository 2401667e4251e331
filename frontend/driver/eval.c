// vitqc eval: accuracy, and agreement with another model.
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "json.h"
#include "labels.h"
#include "machine.h"
#include "source.h"
#include "vq/compare.h"

enum { CHUNK = 16 };  // samples between two reports of progress

typedef struct evaluation {
  driver *d;
  machine m, other;
  bool has_other;
  source s;
  int64_t *label;  // NULL: none given
  int64_t n, n_top1, n_top5;
  vq_rows rows;  // compared
} evaluation;

// ---- one sample -----------------------------------------------------------------

// How many classes come before `label` when sorted by falling score, ties by
// class number. A score that is not a number comes last.
static int64_t rank_of(const float *y, int64_t n, int64_t label) {
  int64_t rank = 0;
  if (isnan(y[label])) return n;
  for (int64_t i = 0; i < n; i++)
    rank += y[i] > y[label] || (y[i] == y[label] && i < label);
  return rank;
}

// ---- all samples ----------------------------------------------------------------

static vq_status run_chunk(evaluation *e, int64_t k, float *x, float *y,
                           float *z) {
  int64_t n_in = e->m.in_count, n_out = e->m.out_count;
  for (int64_t i = 0; i < k; i++)
    if (source_load(&e->s, e->n + i, x + i * n_in)) return VQ_ERR;
  if (machine_run(&e->m, k, x, y)) return VQ_ERR;
  if (e->has_other && machine_run(&e->other, k, x, z)) return VQ_ERR;
  for (int64_t i = 0; i < k; i++) {
    if (e->label) {
      int64_t rank = rank_of(y + i * n_out, n_out, e->label[e->n + i]);
      e->n_top1 += rank < 1;
      e->n_top5 += rank < 5;
    }
    if (e->has_other) vq_rows_add(&e->rows, z + i * n_out, y + i * n_out, n_out);
  }
  e->n += k;
  return VQ_OK;
}

static vq_status run_all(evaluation *e) {
  int64_t chunk = e->m.batch > CHUNK ? e->m.batch : CHUNK;
  size_t n_in = (size_t)(chunk * e->m.in_count);
  size_t n_out = (size_t)(chunk * e->m.out_count);
  float *x = malloc((n_in + 2 * n_out) * sizeof *x);
  if (!x) vq_oom((n_in + 2 * n_out) * sizeof *x);
  vq_status s = VQ_OK;
  while (e->n < e->s.n && !s) {
    int64_t left = e->s.n - e->n;
    s = run_chunk(e, left < chunk ? left : chunk, x, x + n_in, x + n_in + n_out);
    if (!s) s = driver_progress(e->d, "eval", e->n, e->s.n);
  }
  free(x);
  return s;
}

static vq_status open_other(evaluation *e) {
  const char *path = opt_text(&e->d->opt, OPT_against);
  if (!path) return VQ_OK;
  if (machine_open_any(e->d, path, &e->other)) return VQ_ERR;
  e->has_other = true;
  if (e->other.in_count == e->m.in_count && e->other.out_count == e->m.out_count)
    return VQ_OK;
  return vq_error(&e->d->diag, VQ_E_shape, at_path(e->d, path),
                  "a sample has %" PRId64 " inputs and %" PRId64 " outputs, in "
                  "'%s' it has %" PRId64 " and %" PRId64, e->other.in_count,
                  e->other.out_count, e->m.path, e->m.in_count, e->m.out_count);
}

// ---- results --------------------------------------------------------------------

static double share(int64_t part, int64_t whole) {
  return whole ? (double)part / (double)whole : 0;
}

static void print_share(FILE *out, const char *what, int64_t part, int64_t whole) {
  fprintf(out, "%-11s %.2f %% (%" PRId64 " of %" PRId64 ")\n", what,
         100 * share(part, whole), part, whole);
}

static void print_result(const evaluation *e) {
  if (e->label) {
    print_share(e->d->out, "top-1", e->n_top1, e->n);
    print_share(e->d->out, "top-5", e->n_top5, e->n);
  }
  if (!e->has_other) return;
  print_share(e->d->out, "agreement", e->rows.agree, e->n);
  fprintf(e->d->out, "%-11s mean %.6f, worst %.6f\n", "cosine", vq_rows_cosine(&e->rows),
          e->rows.cosine_least);
  fprintf(e->d->out, "%-11s %.3g at most\n", "difference", e->rows.difference);
}

static vq_status write_json(const evaluation *e) {
  const char *path = opt_text(&e->d->opt, OPT_json);
  if (!path) return VQ_OK;
  json j = {0};
  json_begin(&j, NULL);
  json_int(&j, "n", e->n);
  if (e->label) {
    json_number(&j, "top1", share(e->n_top1, e->n));
    json_number(&j, "top5", share(e->n_top5, e->n));
  }
  if (e->has_other) {
    json_number(&j, "agreement", vq_rows_agreement(&e->rows));
    json_number(&j, "cosine_mean", vq_rows_cosine(&e->rows));
    json_number(&j, "cosine_min", e->rows.cosine_least);
    json_number(&j, "max_abs_diff", e->rows.difference);
  }
  json_end(&j);
  return json_write(&j, path, e->d);
}

static vq_status evaluate(evaluation *e) {
  driver *d = e->d;
  const options *o = &d->opt;
  const char *labels = opt_text(o, OPT_truth);
  if (machine_open(d, o->file[0], &e->m)) return VQ_ERR;
  sample_shape to = machine_samples(&e->m);
  if (source_open(d, &to, opt_text(o, OPT_images), &e->s)) return VQ_ERR;
  if (labels && labels_read(d, labels, &e->s, e->m.out_count, &e->label))
    return VQ_ERR;
  if (open_other(e) || run_all(e)) return VQ_ERR;
  print_result(e);
  return write_json(e);
}

int do_eval(driver *d) {
  const options *o = &d->opt;
  if (o->n_file != 1)
    return usage_error(d, "expected one model to evaluate, found %u", o->n_file);
  if (!opt_given(o, OPT_images)) return usage_error(d, "--images is missing");
  if (!opt_given(o, OPT_truth) && !opt_given(o, OPT_against))
    return usage_error(d, "nothing to compare with: give --labels, --against or "
                       "both");
  if (opt_given(o, OPT_reference) && !opt_given(o, OPT_against))
    return usage_error(d, "--reference needs --against");
  evaluation e = {.d = d};
  vq_status s = evaluate(&e);
  free(e.label);
  source_close(&e.s);
  machine_close(&e.other);
  machine_close(&e.m);
  return exit_code(s);
}
