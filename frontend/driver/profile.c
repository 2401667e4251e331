// Where the time of a compiled model goes, step by step.
//
// Steps are timed where they are, in whole runs, so that caches are as warm as
// in use. The median over the runs leaves out most of what others take from a
// shared machine, and so do the CPU's peak rates, which are probed in between.
#include "profile.h"

#include <inttypes.h>
#include <stdlib.h>

#include "quantile.h"

enum { MAX_ROUNDS = 200, PROBES = 5 };

static const char *const role_name[] = {
#define ROLE(id) #id,
#include "roles.def"
#undef ROLE
};

static const vitq_kernel *kernel_of(const profile *p, uint32_t step) {
  return &p->model->kernel[p->model->step[step].kernel];
}

// ---- measuring -----------------------------------------------------------------

// Seconds of each step in each round: time[step * n_round + round].
typedef struct recorder {
  double *time;
  int64_t n_round, round;
} recorder;

static void record(void *user, uint32_t step, double seconds) {
  recorder *r = user;
  r->time[step * r->n_round + r->round] += seconds;
}

static uint64_t isa_in_use(const machine *m) {
  for (uint32_t i = 0; i < m->model->n_variant; i++)
    if (strcmp(m->model->variant[i].name, machine_variant(m)) == 0)
      return m->model->variant[i].requires;
  return 0;
}

static vq_status run_rounds(machine *m, int64_t n, const float *in, float *out,
                            recorder *r, profile *p) {
  double of_float[PROBES], of_codes[PROBES];
  uint64_t isa = isa_in_use(m);
  int64_t n_probe = 0;
  for (r->round = 0; r->round < r->n_round; r->round++) {
    if (r->round * PROBES >= n_probe * r->n_round) {
      p->peak_float = probe_peak(PROBE_FLOAT, isa);
      p->peak_codes = probe_peak(PROBE_CODES, isa);
      of_float[n_probe] = p->peak_float.gops;
      of_codes[n_probe++] = p->peak_codes.gops;
    }
    if (machine_profile(m, n, in, out, record, r)) return VQ_ERR;
  }
  p->peak_float.gops = quantile(of_float, n_probe, 0.5);
  p->peak_codes.gops = quantile(of_codes, n_probe, 0.5);
  return VQ_OK;
}

// "gemm_u8i4_m197...", "attention_i8_b1...", unlike "gemm_m197..._quantize_u8".
static bool multiplies_codes(const char *kernel) {
  const char *p = strchr(kernel, '_');
  return p && (strncmp(p, "_u8", 3) == 0 || strncmp(p, "_i8", 3) == 0);
}

static void summarise(const recorder *r, profile *p) {
  role *roles = malloc((p->model->n_step + 1) * sizeof *roles);
  if (!roles) vq_oom(p->model->n_step * sizeof *roles);
  step_roles(p->model, roles);
  for (uint32_t i = 0; i < p->model->n_step; i++) {
    double *t = r->time + i * r->n_round;
    const char *name = kernel_of(p, i)->name;
    step_profile *s = &p->step[i];
    s->role = roles[i];
    s->codes = multiplies_codes(name);
    s->median_s = quantile(t, r->n_round, 0.5);
    s->min_s = t[0];
    p->total_s += s->median_s;
  }
  free(roles);
}

vq_status profile_take(machine *m, int64_t n, const float *in, float *out,
                       int64_t n_round, profile *p) {
  recorder r = {.n_round = n_round < MAX_ROUNDS ? n_round : MAX_ROUNDS};
  size_t n_step = m->model->n_step;
  *p = (profile){.model = m->model,
                 .n_pass = (n + m->model->batch - 1) / m->model->batch};
  r.time = calloc(n_step * (size_t)r.n_round + 1, sizeof *r.time);
  p->step = calloc(n_step + 1, sizeof *p->step);
  if (!r.time || !p->step) vq_oom(n_step * (size_t)r.n_round * sizeof *r.time);
  vq_status s = run_rounds(m, n, in, out, &r, p);
  if (!s) summarise(&r, p);
  free(r.time);
  return s;
}

void profile_release(profile *p) { free(p->step); }

// ---- reporting -----------------------------------------------------------------

// A step or the sum of some.
typedef struct line {
  double seconds, ops, at_peak_s;  // at_peak_s: what its ops take at peak rate
} line;

static void add_step(const profile *p, uint32_t i, line *sum) {
  const step_profile *s = &p->step[i];
  double ops = 2.0 * (double)kernel_of(p, i)->macs * (double)p->n_pass;
  sum->seconds += s->median_s;
  sum->ops += ops;
  sum->at_peak_s += ops * 1e-9 / (s->codes ? p->peak_codes : p->peak_float).gops;
}

static step_rate rate_of(const profile *p, const line *l) {
  return (step_rate){1e6 * l->seconds, p->total_s > 0 ? l->seconds / p->total_s : 0,
                     l->seconds > 0 ? 1e-9 * l->ops / l->seconds : 0,
                     l->seconds > 0 ? l->at_peak_s / l->seconds : 0};
}

const char *profile_role_name(role r) { return role_name[r]; }

step_rate profile_rate(const profile *p, uint32_t step) {
  line l = {0};
  add_step(p, step, &l);
  return rate_of(p, &l);
}

static void print_line(const profile *p, const line *l, FILE *out) {
  fprintf(out, "%9.1f %5.1f", 1e6 * l->seconds,
         p->total_s > 0 ? 100 * l->seconds / p->total_s : 0);
  if (l->ops > 0 && l->seconds > 0)
    fprintf(out, " %7.1f %5.1f\n", 1e-9 * l->ops / l->seconds,
           100 * l->at_peak_s / l->seconds);
  else
    fprintf(out, " %7s %5s\n", "-", "-");
}

static int name_width(const profile *p) {
  size_t width = 0;
  for (uint32_t i = 0; i < p->model->n_step; i++) {
    size_t n = strlen(kernel_of(p, i)->name);
    if (n > width) width = n;
  }
  return (int)width;
}

static void sum_of_role(const profile *p, role r, line *sum, uint32_t *n) {
  *sum = (line){0};
  *n = 0;
  for (uint32_t i = 0; i < p->model->n_step; i++) {
    if (p->step[i].role != r) continue;
    add_step(p, i, sum);
    ++*n;
  }
}

void profile_print(const profile *p, FILE *out) {
  int width = name_width(p);
  line all = {0};
  fprintf(out, "peaks of this variant: %.0f GFLOP/s %s, %.0f Gop/s %s\n",
         p->peak_float.gops, p->peak_float.unit, p->peak_codes.gops,
         p->peak_codes.unit);
  fprintf(out, "%4s %-9s %-*s %9s %5s %7s %5s\n", "step", "role", width, "kernel", "us",
         "%", "Gop/s", "%peak");
  for (uint32_t i = 0; i < p->model->n_step; i++) {
    line l = {0};
    add_step(p, i, &l);
    add_step(p, i, &all);
    fprintf(out, "%4" PRIu32 " %-9s %-*s ", i, role_name[p->step[i].role], width,
           kernel_of(p, i)->name);
    print_line(p, &l, out);
  }
  for (int r = 0; r < N_ROLES; r++) {
    line l;
    uint32_t n;
    sum_of_role(p, (role)r, &l, &n);
    if (n == 0) continue;
    fprintf(out, "%4" PRIu32 " %-9s %-*s ", n, role_name[r], width, "in all");
    print_line(p, &l, out);
  }
  fprintf(out, "%4" PRIu32 " %-9s %-*s ", p->model->n_step, "steps", width, "in all");
  print_line(p, &all, out);
}

static void json_line(json *j, const profile *p, const line *l) {
  step_rate r = rate_of(p, l);
  json_number(j, "us", r.us);
  json_number(j, "share", r.share);
  json_number(j, "gops", r.gops);
  json_number(j, "of_peak", r.of_peak);
}

void profile_json(const profile *p, json *j) {
  json_begin_list(j, "steps");
  for (uint32_t i = 0; i < p->model->n_step; i++) {
    line l = {0};
    add_step(p, i, &l);
    json_begin(j, NULL);
    json_text(j, "kernel", kernel_of(p, i)->name);
    json_text(j, "value", p->model->step[i].name);
    json_text(j, "role", role_name[p->step[i].role]);
    json_line(j, p, &l);
    json_number(j, "min_us", 1e6 * p->step[i].min_s);
    json_end(j);
  }
  json_end_list(j);
  json_begin(j, "roles");
  for (int r = 0; r < N_ROLES; r++) {
    line l;
    uint32_t n;
    sum_of_role(p, (role)r, &l, &n);
    if (n == 0) continue;
    json_begin(j, role_name[r]);
    json_int(j, "steps", n);
    json_line(j, p, &l);
    json_end(j);
  }
  json_end(j);
}
