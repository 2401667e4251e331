// Calibration samples that a pass made: they live as long as the executor.
#include <stdlib.h>

#include "vq/exec.h"

struct vq_made_samples {
  vq_samples samples;
  const vq_samples *before;
  int64_t count;
  float *data;
};

static vq_status load(void *user, int64_t i, float *out, vq_diag *diag) {
  const struct vq_made_samples *m = user;
  (void)diag;
  memcpy(out, m->data + i * m->count, (size_t)m->count * sizeof *out);
  return VQ_OK;
}

static vq_status progress(void *user, const char *what, int64_t done, int64_t total) {
  const struct vq_made_samples *m = user;
  return m->before->progress(m->before->user, what, done, total);
}

static void drop_held(vq_exec *e) {
  if (!e->held) return;
  vq_module_destroy(e->held->model);
  free(e->held->score.block);
  free(e->held);
  e->held = NULL;
}

void vq_exec_drop_samples(vq_exec *e) {
  drop_held(e);
  if (!e->made) return;
  if (e->samples == &e->made->samples) e->samples = e->made->before;
  free(e->made->data);
  free(e->made);
  e->made = NULL;
}

void vq_exec_keep_samples(vq_exec *e, int64_t n, int64_t count, float *data) {
  vq_exec_drop_samples(e);
  struct vq_made_samples *m = calloc(1, sizeof *m);
  if (!m) vq_oom(sizeof *m);
  m->before = e->samples, m->count = count, m->data = data;
  bool reports = e->samples && e->samples->progress;
  m->samples = (vq_samples){n, load, reports ? progress : NULL, m, NULL};
  e->made = m;
  e->samples = &m->samples;
}

void vq_exec_hold_back(vq_exec *e, int64_t n, vq_module *model) {
  drop_held(e);
  e->held = calloc(1, sizeof *e->held);
  if (!e->held) vq_oom(sizeof *e->held);
  e->held->n = n, e->held->model = model;
  e->made->samples.n -= n;
}
