// The step executor: walks a model's steps over chunks of `batch` samples.
//
// Everything that varies between runs lives in the caller's workspace:
//
//   arena                the model's intermediate tensors
//   pointers             this chunk's inputs and outputs, one step's arguments
//   scratch x n_thread   private memory of each share of a step
//   staging              a whole batch of inputs and outputs; only when the
//                        model was compiled for more than one sample
//
// Full chunks read and write the caller's buffers in place. The last chunk, if
// it is short, goes through staging: kernels always see a whole batch, and the
// missing samples are zero. Samples do not influence each other, so neither the
// division into chunks nor the one into threads changes a result.
#include <string.h>
#include <time.h>

#include "rt.h"

typedef struct layout {
  size_t pointers, scratch, scratch_stride, staging, total;
} layout;

static size_t round_up(size_t n) {
  return (n + VITQ_ALIGN - 1) & ~(size_t)(VITQ_ALIGN - 1);
}

static size_t whole_bytes(const vitq_model *m, const vitq_tensor_info *t) {
  return (size_t)t->bytes_per_sample * m->batch;
}

static layout make_layout(const vitq_model *m, unsigned n_thread) {
  uint32_t max_arg = 0, max_scratch = 0;
  for (uint32_t i = 0; i < m->n_kernel; i++) {
    const vitq_kernel *k = &m->kernel[i];
    if (k->n_arg > max_arg) max_arg = k->n_arg;
    if (k->scratch_bytes > max_scratch) max_scratch = k->scratch_bytes;
  }
  size_t n_ptr = (size_t)m->n_input + m->n_output + max_arg;
  layout l;
  l.pointers = round_up((size_t)m->arena_bytes);
  l.scratch = l.pointers + round_up(n_ptr * sizeof(void *));
  l.scratch_stride = round_up(max_scratch);
  l.staging = l.scratch + l.scratch_stride * n_thread;
  l.total = l.staging;
  if (m->batch == 1) return l;
  for (uint32_t i = 0; i < m->n_input; i++)
    l.total += round_up(whole_bytes(m, &m->input[i]));
  for (uint32_t i = 0; i < m->n_output; i++)
    l.total += round_up(whole_bytes(m, &m->output[i]));
  return l;
}

size_t rt_workspace(const vitq_model *m, unsigned n_thread) {
  return make_layout(m, n_thread).total;
}

// ---- one step ---------------------------------------------------------------

typedef struct step_run {
  vitq_kernel_fn fn;
  void *const *arg;
  int64_t n_task;
  unsigned n_thread;
  char *scratch;
  size_t scratch_stride;
} step_run;

// Share t: n_task split into contiguous ranges that differ by at
// most one.
static void run_share(void *ctx, unsigned t) {
  const step_run *s = ctx;
  int64_t each = s->n_task / s->n_thread, extra = s->n_task % s->n_thread;
  int64_t begin = each * t + (t < extra ? t : extra);
  int64_t end = begin + each + (t < extra);
  if (begin < end) s->fn(s->arg, begin, end, s->scratch + s->scratch_stride * t);
}

typedef struct chunk {
  const rt_job *job;
  layout at;
  const char **in;  // of this chunk
  char **out;
  void **arg;
} chunk;

// Kernels take every argument as void *; constants and inputs are only read.
static void *resolve(const chunk *c, const vitq_operand *o) {
  const vitq_model *m = c->job->model;
  switch ((enum vitq_space)o->space) {
    case VITQ_SPACE_INPUT: return (void *)(uintptr_t)c->in[o->offset];
    case VITQ_SPACE_OUTPUT: return c->out[o->offset];
    case VITQ_SPACE_ARENA: return (char *)c->job->workspace + o->offset;
    case VITQ_SPACE_CONST:
      return (char *)(uintptr_t)m->constants + o->offset;
  }
  return NULL;
}

static void run_step(const chunk *c, const vitq_step *step) {
  const rt_job *job = c->job;
  for (uint32_t i = 0; i < step->n_arg; i++)
    c->arg[i] = resolve(c, &step->arg[i]);
  step_run s = {job->variant->fn[step->kernel], c->arg,
                job->model->kernel[step->kernel].n_task, 1,
                (char *)job->workspace + c->at.scratch, c->at.scratch_stride};
  if (job->team && s.n_task > 1) {
    s.n_thread = job->team->n_thread;
    job->team->run(job->team->pool, run_share, &s);
  } else {
    run_share(&s, 0);
  }
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void run_steps(const chunk *c) {
  const rt_job *job = c->job;
  for (uint32_t i = 0; i < job->model->n_step; i++) {
    double start = job->step ? seconds() : 0;
    run_step(c, &job->model->step[i]);
    if (job->step) job->step(job->user, i, seconds() - start);
  }
}

// ---- chunks -----------------------------------------------------------------

static void run_full(chunk *c, int64_t first) {
  const vitq_model *m = c->job->model;
  for (uint32_t i = 0; i < m->n_input; i++)
    c->in[i] = (const char *)c->job->in[i] +
               (size_t)first * m->input[i].bytes_per_sample;
  for (uint32_t i = 0; i < m->n_output; i++)
    c->out[i] = (char *)c->job->out[i] +
                (size_t)first * m->output[i].bytes_per_sample;
  run_steps(c);
}

static void run_partial(chunk *c, int64_t first, int64_t count) {
  const vitq_model *m = c->job->model;
  char *p = (char *)c->job->workspace + c->at.staging;
  for (uint32_t i = 0; i < m->n_input; i++) {
    size_t each = (size_t)m->input[i].bytes_per_sample;
    size_t used = each * (size_t)count, whole = whole_bytes(m, &m->input[i]);
    memcpy(p, (const char *)c->job->in[i] + (size_t)first * each, used);
    memset(p + used, 0, whole - used);
    c->in[i] = p;
    p += round_up(whole);
  }
  for (uint32_t i = 0; i < m->n_output; i++) {
    c->out[i] = p;
    p += round_up(whole_bytes(m, &m->output[i]));
  }
  run_steps(c);
  for (uint32_t i = 0; i < m->n_output; i++) {
    size_t each = (size_t)m->output[i].bytes_per_sample;
    memcpy((char *)c->job->out[i] + (size_t)first * each, c->out[i],
           each * (size_t)count);
  }
}

static bool usable(const rt_job *job) {
  if (job->n < 0 || !job->in || !job->out) return false;
  for (uint32_t i = 0; i < job->model->n_input; i++)
    if (!job->in[i]) return false;
  for (uint32_t i = 0; i < job->model->n_output; i++)
    if (!job->out[i]) return false;
  return true;
}

vitq_status rt_execute(const rt_job *job) {
  if (job->n == 0) return VITQ_OK;
  if (!usable(job)) return VITQ_ERR_ARGUMENT;
  if (!job->workspace || (uintptr_t)job->workspace % VITQ_ALIGN)
    return VITQ_ERR_WORKSPACE;
  const vitq_model *m = job->model;
  chunk c = {.job = job,
             .at = make_layout(m, job->team ? job->team->n_thread : 1)};
  c.in = (const char **)((char *)job->workspace + c.at.pointers);
  c.out = (char **)(c.in + m->n_input);
  c.arg = (void **)(c.out + m->n_output);
  int64_t first = 0;
  for (; job->n - first >= m->batch; first += m->batch) run_full(&c, first);
  if (first < job->n) run_partial(&c, first, job->n - first);
  return VITQ_OK;
}
