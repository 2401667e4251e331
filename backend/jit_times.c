// Times of steps, added up by kernel. See jit_times.h.
#include "jit_times.h"

#include <stdlib.h>

typedef struct step_time {
  double least, sum;
} step_time;

struct vq_jit_times {
  const vq_time_sink *sink;
  vq_jit_times *of;
  const vitq_model *model;
  char *func;
  int64_t runs;
  step_time *step;
};

static void *zeros(size_t n, size_t size) {
  void *p = calloc(n ? n : 1, size);
  if (!p) vq_oom(n * size);
  return p;
}

vq_jit_times *vq_jit_times_open(const vq_time_sink *sink, vq_str func,
                                const vitq_model *model) {
  vq_jit_times *t = zeros(1, sizeof *t);
  *t = (vq_jit_times){.sink = sink, .model = model, .func = zeros(func.n + 1, 1)};
  memcpy(t->func, func.p, func.n);
  t->step = zeros(model->n_step, sizeof *t->step);
  return t;
}

vq_jit_times *vq_jit_times_share(vq_jit_times *of) {
  vq_jit_times *t = vq_jit_times_open(of->sink, vq_str_of(of->func), of->model);
  t->of = of;
  return t;
}

void vq_jit_times_step(void *user, uint32_t step, double seconds) {
  vq_jit_times *t = user;
  step_time *s = &t->step[step];
  if (step == 0) t->runs++;
  if (s->sum == 0 || seconds < s->least) s->least = seconds;
  s->sum += seconds;
}

static void add(vq_jit_times *to, const vq_jit_times *t) {
  for (uint32_t i = 0; i < t->model->n_step; i++) {
    step_time *s = &to->step[i];
    if (t->runs && (to->runs == 0 || t->step[i].least < s->least))
      s->least = t->step[i].least;
    s->sum += t->step[i].sum;
  }
  to->runs += t->runs;
}

static void tell(const vq_jit_times *t) {
  const vitq_model *m = t->model;
  vq_kernel_time *time = zeros(m->n_kernel, sizeof *time);
  for (uint32_t i = 0; i < m->n_kernel; i++) time[i].kernel = m->kernel[i].name;
  for (uint32_t i = 0; i < m->n_step; i++) {
    vq_kernel_time *k = &time[m->step[i].kernel];
    k->n_step++;
    k->macs += m->kernel[m->step[i].kernel].macs;
    k->least += t->step[i].least;
    k->mean += t->step[i].sum / (double)t->runs;
  }
  t->sink->took(t->sink->user, vq_str_of(t->func), t->runs, time, m->n_kernel);
  free(time);
}

void vq_jit_times_close(vq_jit_times *t) {
  if (!t) return;
  if (t->of)
    add(t->of, t);
  else if (t->runs)
    tell(t);
  free(t->step);
  free(t->func);
  free(t);
}
