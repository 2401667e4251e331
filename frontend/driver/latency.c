// A briefly measured model. For numbers that last there is vitqc bench.
#include "latency.h"

#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "vitq.h"

// Inputs are zeros: the time of a compiled model does not depend on them.
static vitq_status run(const vitq_handle *h, void *memory, double *seconds) {
  const vitq_model *m = vitq_describe(h);
  char *at = (char *)memory + vitq_workspace_size(h, 1);
  const void **in = calloc(m->n_input + 1, sizeof *in);
  void **out = calloc(m->n_output + 1, sizeof *out);
  vitq_status s = in && out ? VITQ_OK : VITQ_ERR_MEMORY;
  for (uint32_t i = 0; i < m->n_input && !s; i++)
    in[i] = at, at += m->input[i].bytes_per_sample * m->batch;
  for (uint32_t i = 0; i < m->n_output && !s; i++)
    out[i] = at, at += m->output[i].bytes_per_sample * m->batch;
  double start = now_seconds(), end = start;
  for (*seconds = 0; !s && end < start + 0.15;) {
    double from = now_seconds();
    s = vitq_run(h, m->batch, in, out, memory, NULL);
    end = now_seconds();
    double t = (end - from) / (double)m->batch;
    if (*seconds == 0 || t < *seconds) *seconds = t;
  }
  free(in);
  free(out);
  return s;
}

double latency_of(const char *path) {
  vitq_handle *h;
  double seconds = 0;
  if (vitq_open(path, &h) != VITQ_OK) return 0;
  const vitq_model *m = vitq_describe(h);
  size_t size = vitq_workspace_size(h, 1);
  for (uint32_t i = 0; i < m->n_input; i++)
    size += m->input[i].bytes_per_sample * m->batch;
  for (uint32_t i = 0; i < m->n_output; i++)
    size += m->output[i].bytes_per_sample * m->batch;
  size = (size + VITQ_ALIGN) / VITQ_ALIGN * VITQ_ALIGN;
  void *memory = aligned_alloc(VITQ_ALIGN, size);
  if (memory) {
    memset(memory, 0, size);
    if (run(h, memory, &seconds) != VITQ_OK) seconds = 0;
  }
  free(memory);
  vitq_close(h);
  return seconds;
}
