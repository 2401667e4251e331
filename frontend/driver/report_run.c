// The compiled model in a report: how near its results are to those of the float model as
// imported, which is what `vitqc eval --against` prints for the same samples, and where its
// time goes.
//
// The float model runs where calibration ran it, before there is a file; its results are
// kept until there is one.
#include <stdlib.h>
#include <sys/stat.h>

#include "compile.h"
#include "report.h"
#include "vq/lane.h"
#include "vq/rewrite.h"

enum { MOST_SAMPLES = 16, ROUNDS = 25 };

// ---- the float model ----------------------------------------------------------------

// Samples [first, first + n) of `s`, kept from place `at` on.
static vq_status run_range(report_run *r, vq_lane *l, const vq_samples *s, int64_t first,
                           int64_t n, int64_t at, vq_diag *diag) {
  int64_t batch = l->in[0].type->dim[0], fresh;
  for (int64_t i = 0; i < n; i += batch) {
    if (vq_batch_load(s, first + i, first + n, l->in[0], &fresh, diag) || vq_lane_run(l, diag))
      return VQ_ERR;
    memcpy(r->in + (at + i) * r->n_in, l->in[0].data,
           (size_t)(fresh * r->n_in) * sizeof *r->in);
    memcpy(r->want + (at + i) * r->n_out, l->out[0].data,
           (size_t)(fresh * r->n_out) * sizeof *r->want);
  }
  return VQ_OK;
}

static int64_t at_most(int64_t n) { return n < MOST_SAMPLES ? n : MOST_SAMPLES; }

// What a machine (machine.h) can be: one float input, float results.
static bool is_comparable(const vq_func *f) {
  return f && f->n_arg == 1 && f->n_result && f->arg[0].type->dtype == VQ_f32 &&
         f->arg[0].type->rank && f->result[0]->dtype == VQ_f32;
}

vq_status report_run_float(driver *d, report *of, vq_exec *exec) {
  report_run *r = &of->run;
  const vq_samples *s = exec->samples;
  const vq_func *f = vq_module_func(r->input, VQ_LIT("main"));
  vq_arena temp = {0};
  vq_lane l = {0};
  if (!is_comparable(f)) return VQ_OK;
  const vq_type *in = f->arg[0].type;
  r->n = at_most(s->n), r->n_held = exec->held ? at_most(exec->held->n) : 0;
  r->n_in = vq_type_count(in) / in->dim[0];
  r->n_out = vq_type_count(f->result[0]) / in->dim[0];
  r->in = VQ_NEW_N(&of->arena, float, (size_t)((r->n + r->n_held) * r->n_in));
  r->want = VQ_NEW_N(&of->arena, float, (size_t)((r->n + r->n_held) * r->n_out));
  vq_status st = vq_lane_open(&l, exec, vq_module_clone(r->input), &temp, &d->diag);
  if (!st) l.in[0] = vq_batch_alloc(in, &temp);
  if (!st) st = run_range(r, &l, s, 0, r->n, 0, &d->diag);
  if (!st) st = run_range(r, &l, s, s->n, r->n_held, r->n, &d->diag);
  vq_lane_close(&l);
  vq_arena_release(&temp);
  return st;
}

// ---- the compiled one ---------------------------------------------------------------

static vq_status compare(report_run *r, machine *m) {
  int64_t n = r->n + r->n_held;
  float *got = malloc((size_t)(n * r->n_out) * sizeof *got);
  if (!got) vq_oom((size_t)(n * r->n_out) * sizeof *got);
  vq_status s = machine_run(m, n, r->in, got);
  for (int64_t i = 0; i < n && !s; i++)
    vq_rows_add(i < r->n ? &r->rows : &r->held, r->want + i * r->n_out, got + i * r->n_out,
                r->n_out);
  free(got);
  return s;
}

// One pass over the steps: a batch of the first sample.
static vq_status take_times(report *of, machine *m) {
  report_run *r = &of->run;
  size_t n_in = (size_t)(m->batch * m->in_count), n_out = (size_t)(m->batch * m->out_count);
  float *x = malloc((n_in + n_out) * sizeof *x);
  if (!x) vq_oom((n_in + n_out) * sizeof *x);
  for (int64_t i = 0; i < m->batch; i++)
    memcpy(x + i * m->in_count, r->in, (size_t)m->in_count * sizeof *x);
  profile p;
  vq_status s = profile_take(m, m->batch, x, x + n_in, ROUNDS, &p);
  r->n_step = s ? 0 : m->model->n_step;
  r->rate = VQ_NEW_N(&of->arena, step_rate, r->n_step + 1);
  r->role = VQ_NEW_N(&of->arena, const char *, r->n_step + 1);
  for (uint32_t i = 0; i < r->n_step; i++) {
    r->rate[i] = profile_rate(&p, i);
    r->role[i] = profile_role_name(p.step[i].role);
  }
  r->total_us = s ? 0 : 1e6 * p.total_s;
  profile_release(&p);
  free(x);
  return s;
}

// NULL, or why the file cannot be run here: it may be for another CPU.
static const char *why_not(const report *of, driver *d, const char *output) {
  vitq_handle *h;
  if (strcmp(opt_text(&d->opt, OPT_emit), "so") != 0) return "no .so was made";
  if (!of->run.in) return "it has more than one input, or other numbers than f32";
  vitq_status s = vitq_open(output, &h);
  if (!s) vitq_close(h);
  return s ? vitq_status_text(s) : NULL;
}

vq_status report_run_compiled(driver *d, report *of, const char *output) {
  report_run *r = &of->run;
  machine m;
  struct stat st;
  r->file_bytes = stat(output, &st) == 0 && S_ISREG(st.st_mode) ? (int64_t)st.st_size : 0;
  r->why_not = why_not(of, d, output);
  if (r->why_not) return VQ_OK;
  if (machine_open(d, output, &m)) return VQ_ERR;
  r->isa = vq_arena_str(&of->arena, vq_str_of(machine_variant(&m))).p;
  vq_status s = compare(r, &m);
  if (!s) s = take_times(of, &m);
  machine_close(&m);
  return s;
}
