// Internal seams of the runtime: executor, variant choice, errors.
//
// The executor (rt_exec.c) and CPU detection (rt_cpu.c) are linked into every
// compiled model, so they know neither pools nor files: a team is three words
// that rt_pool.c fills in for callers that have threads.
#ifndef VITQ_RT_INTERNAL_H
#define VITQ_RT_INTERNAL_H

#include <stdbool.h>

#include "vitq.h"

// Runs fn(ctx, t) for every t below n_thread, each t on one thread, and returns
// when all are done.
typedef struct rt_team {
  unsigned n_thread;
  void (*run)(void *pool, void (*fn)(void *ctx, unsigned t), void *ctx);
  void *pool;
} rt_team;

typedef struct rt_job {
  const vitq_model *model;
  const vitq_variant *variant;
  int64_t n;
  const void *const *in;
  void *const *out;
  void *workspace;
  const rt_team *team;  // NULL: the calling thread alone
  vitq_step_fn step;    // NULL: not profiled
  void *user;
} rt_job;

// Checks the arguments, then runs.
vitq_status rt_execute(const rt_job *job);

size_t rt_workspace(const vitq_model *m, unsigned n_thread);

// The first variant whose needs are met by `isa`, or NULL.
const vitq_variant *rt_pick_variant(const vitq_model *m, uint64_t isa);

// False when `path` is a shared object that lacks its end.
bool rt_file_is_whole(const char *path);

rt_team rt_pool_team(vitq_pool *pool);

// Stores the text for vitq_last_error and returns `s`.
vitq_status rt_fail(vitq_status s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void rt_clear_error(void);

#endif
