// vitqc bench: how long a model takes, side by side with another.
//
// Machines are shared and their speed drifts, so the competitors take turns in
// every round, starting alternately, and the ratio is the median of the ratios
// of the rounds.
#include <inttypes.h>
#include <stdlib.h>

#include "profile.h"
#include "quantile.h"

enum { WARM_UP = 3, MIN_ROUNDS = 20, MAX_ROUNDS = 100000 };
#define BUDGET 3.0  // seconds

typedef struct entrant {
  machine m;
  float *in, *out;
  double *time;  // of each round
} entrant;

typedef struct bench {
  driver *d;
  entrant e[2];
  unsigned n_entrant;
  int64_t n_sample, n_round;
  profile per_kernel;  // of the first entrant
  peak peak_float, peak_codes;
} bench;

// Inputs of about the size real ones have; the same in every run.
static void fill(float *x, int64_t n) {
  uint32_t state = 1;
  for (int64_t i = 0; i < n; i++) {
    state = state * 1664525u + 1013904223u;
    x[i] = (float)(state >> 8) * (1.0f / (1 << 22)) - 2.0f;
  }
}

static vq_status open_entrant(bench *b, const char *path) {
  entrant *e = &b->e[b->n_entrant];
  if (machine_open(b->d, path, &e->m)) return VQ_ERR;
  b->n_entrant++;
  size_t n_in = (size_t)(b->n_sample * e->m.in_count);
  size_t n_out = (size_t)(b->n_sample * e->m.out_count);
  e->in = calloc(n_in + 1, sizeof(float));
  e->out = calloc(n_out + 1, sizeof(float));
  e->time = calloc(MAX_ROUNDS, sizeof(double));
  if (!e->in || !e->out || !e->time) vq_oom((n_in + n_out) * sizeof(float));
  fill(e->in, (int64_t)n_in);
  return VQ_OK;
}

static vq_status run_once(bench *b, entrant *e, double *out) {
  double start = now_seconds();
  vq_status s = machine_run(&e->m, b->n_sample, e->in, e->out);
  *out = now_seconds() - start;
  return s;
}

static vq_status measure(bench *b) {
  double t, start = 0;
  int64_t want = opt_given(&b->d->opt, OPT_rounds)
                     ? opt_count(&b->d->opt, OPT_rounds) : 0;
  if (want > MAX_ROUNDS) want = MAX_ROUNDS;
  for (unsigned k = 0; k < b->n_entrant * WARM_UP; k++)
    if (run_once(b, &b->e[k % b->n_entrant], &t)) return VQ_ERR;
  start = now_seconds();
  for (b->n_round = 0; b->n_round < MAX_ROUNDS; b->n_round++) {
    if (want ? b->n_round == want
             : b->n_round >= MIN_ROUNDS && now_seconds() - start > BUDGET)
      break;
    for (unsigned k = 0; k < b->n_entrant; k++) {
      entrant *e = &b->e[(k + (unsigned)b->n_round) % b->n_entrant];
      if (run_once(b, e, &e->time[b->n_round])) return VQ_ERR;
    }
  }
  return VQ_OK;
}

// How many times faster the first entrant is. Destroys nothing.
static double ratio(const bench *b) {
  double *r = malloc((size_t)b->n_round * sizeof *r);
  if (!r) vq_oom((size_t)b->n_round * sizeof *r);
  for (int64_t i = 0; i < b->n_round; i++)
    r[i] = b->e[1].time[i] / b->e[0].time[i];
  double median = quantile(r, b->n_round, 0.5);
  free(r);
  return median;
}

typedef struct summary {
  double median, p25, min;
} summary;

static summary summarise(const bench *b, entrant *e) {
  return (summary){1e3 * quantile(e->time, b->n_round, 0.5),
                   1e3 * quantile(e->time, b->n_round, 0.25),
                   1e3 * quantile(e->time, b->n_round, 0)};
}

static void print_entrant(const entrant *e, summary s) {
  fprintf(e->m.d->out, "%-24s  median %9.3f  p25 %9.3f  min %9.3f ms  %s\n", e->m.path,
         s.median, s.p25, s.min, machine_variant(&e->m));
}

static void json_entrant(json *j, const entrant *e, summary s) {
  json_number(j, "median_ms", s.median);
  json_number(j, "p25_ms", s.p25);
  json_number(j, "min_ms", s.min);
  json_text(j, "isa", machine_variant(&e->m));
}

// Of the time that a thread gets on this machine now.
static double probe_share(const bench *b) {
  return (b->peak_float.share + b->peak_codes.share) / 2;
}

static vq_status report(bench *b) {
  bool two = b->n_entrant == 2;
  double r = two ? ratio(b) : 1;  // before the times are sorted
  summary s[2] = {summarise(b, &b->e[0])};
  if (two) s[1] = summarise(b, &b->e[1]);
  vq_strbuf cpu = {0};
  probe_cpu_name(&cpu);
  fprintf(b->d->out, "%s; one thread: %.0f GFLOP/s %s, %.0f Gop/s %s, in %.0f %% of the time\n",
         cpu.p, b->peak_float.gops, b->peak_float.unit, b->peak_codes.gops,
         b->peak_codes.unit, 100 * probe_share(b));
  fprintf(b->d->out, "%" PRId64 " sample%s, %" PRId64 " thread%s, %" PRId64 " rounds\n",
         b->n_sample, b->n_sample == 1 ? "" : "s",
         opt_count(&b->d->opt, OPT_threads),
         opt_count(&b->d->opt, OPT_threads) == 1 ? "" : "s", b->n_round);
  for (unsigned k = 0; k < b->n_entrant; k++) print_entrant(&b->e[k], s[k]);
  if (two) fprintf(b->d->out, "%s is %.2fx as fast as %s\n", b->e[0].m.path, r, b->e[1].m.path);
  if (opt_given(&b->d->opt, OPT_per_kernel)) profile_print(&b->per_kernel, b->d->out);
  const char *path = opt_text(&b->d->opt, OPT_json);
  vq_status st = VQ_OK;
  if (path) {
    json j = {0};
    json_begin(&j, NULL);
    json_entrant(&j, &b->e[0], s[0]);
    if (two) {
      json_begin(&j, "against");
      json_entrant(&j, &b->e[1], s[1]);
      json_end(&j);
      json_number(&j, "ratio", r);
    }
    json_int(&j, "samples", b->n_sample);
    json_int(&j, "threads", opt_count(&b->d->opt, OPT_threads));
    json_int(&j, "rounds", b->n_round);
    json_text(&j, "cpu", cpu.p);
    json_number(&j, "probe_gflops", b->peak_float.gops);
    json_number(&j, "probe_codes_gops", b->peak_codes.gops);
    json_number(&j, "probe_share", probe_share(b));
    if (opt_given(&b->d->opt, OPT_per_kernel)) profile_json(&b->per_kernel, &j);
    json_end(&j);
    st = json_write(&j, path, b->d);
  }
  vq_strbuf_release(&cpu);
  return st;
}

static vq_status run_bench(bench *b) {
  const char *against = opt_text(&b->d->opt, OPT_against);
  if (open_entrant(b, b->d->opt.file[0])) return VQ_ERR;
  if (against && open_entrant(b, against)) return VQ_ERR;
  if (measure(b)) return VQ_ERR;
  entrant *e = &b->e[0];
  if (opt_given(&b->d->opt, OPT_per_kernel) &&
      profile_take(&e->m, b->n_sample, e->in, e->out, b->n_round, &b->per_kernel))
    return VQ_ERR;
  b->peak_float = probe_peak(PROBE_FLOAT, vitq_cpu_isa());
  b->peak_codes = probe_peak(PROBE_CODES, vitq_cpu_isa());
  return report(b);
}

int do_bench(driver *d) {
  if (d->opt.n_file != 1)
    return usage_error(d, "expected one model to time, found %u", d->opt.n_file);
  bench b = {.d = d, .n_sample = opt_count(&d->opt, OPT_samples)};
  vq_status s = run_bench(&b);
  profile_release(&b.per_kernel);
  for (unsigned k = 0; k < b.n_entrant; k++) {
    free(b.e[k].in);
    free(b.e[k].out);
    free(b.e[k].time);
    machine_close(&b.e[k].m);
  }
  return exit_code(s);
}
