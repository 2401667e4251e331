// A pool of threads that wait for work by spinning briefly, then sleeping.
//
// A run of a model is a hundred parallel steps of tens of microseconds each.
// A sleeping thread costs several microseconds to wake, so workers first spin
// on the ticket for about as long as one step takes; between runs they sleep.
//
// A job has n_thread shares, and `state` is its number (high half) and the next
// unclaimed share (low half). Whoever is awake claims shares, the caller too,
// so a worker that the system has not scheduled yet holds nobody up. fn and ctx
// may be read only after a claim: the caller cannot leave the job before every
// claimed share is finished.
//
// Both sides of every sleep use one handshake, sequentially consistent:
//
//   sleeper: lock; asleep = true; re-check the condition; wait; unlock
//   waker:   make the condition true; if asleep: lock; signal; unlock
//
// One of the two always sees the other's write, so no wake-up is lost.
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "rt.h"

#define MAX_THREAD 1024u
#define SPIN 2000u  // pauses; 20 to 100 microseconds

struct vitq_pool {
  unsigned n_thread, n_started;
  void (*fn)(void *ctx, unsigned t);
  void *ctx;
  atomic_bool stop;
  _Alignas(64) _Atomic uint64_t state;
  _Alignas(64) atomic_uint pending;  // shares not finished
  _Alignas(64) atomic_uint asleep;   // workers in start_cond
  atomic_bool caller_asleep;
  pthread_mutex_t lock;
  pthread_cond_t start_cond, done_cond;
  pthread_t worker[];
};

static void pause_cpu(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  atomic_signal_fence(memory_order_seq_cst);
#endif
}

static uint32_t ticket(vitq_pool *p) {
  return (uint32_t)(atomic_load(&p->state) >> 32);
}

static uint32_t wait_for_ticket(vitq_pool *p, uint32_t seen) {
  for (unsigned i = 0; i < SPIN; i++) {
    if (ticket(p) != seen) return ticket(p);
    pause_cpu();
  }
  pthread_mutex_lock(&p->lock);
  atomic_fetch_add(&p->asleep, 1);
  while (ticket(p) == seen) pthread_cond_wait(&p->start_cond, &p->lock);
  atomic_fetch_sub(&p->asleep, 1);
  pthread_mutex_unlock(&p->lock);
  return ticket(p);
}

static void wait_for_workers(vitq_pool *p) {
  for (unsigned i = 0; i < SPIN; i++) {
    if (atomic_load_explicit(&p->pending, memory_order_acquire) == 0) return;
    pause_cpu();
  }
  pthread_mutex_lock(&p->lock);
  atomic_store(&p->caller_asleep, true);
  while (atomic_load(&p->pending) != 0)
    pthread_cond_wait(&p->done_cond, &p->lock);
  atomic_store(&p->caller_asleep, false);
  pthread_mutex_unlock(&p->lock);
}

static void start(vitq_pool *p, uint32_t first_share) {
  atomic_store(&p->pending, p->n_thread);
  atomic_store(&p->state, (uint64_t)(ticket(p) + 1) << 32 | first_share);
  if (atomic_load(&p->asleep) == 0) return;
  pthread_mutex_lock(&p->lock);
  pthread_cond_broadcast(&p->start_cond);
  pthread_mutex_unlock(&p->lock);
}

static bool claim(vitq_pool *p, uint32_t job, unsigned *share) {
  uint64_t s = atomic_load(&p->state);
  do {
    *share = (uint32_t)s;
    if (s >> 32 != job || *share >= p->n_thread) return false;
  } while (!atomic_compare_exchange_weak(&p->state, &s, s + 1));
  return true;
}

static void finish_share(vitq_pool *p) {
  if (atomic_fetch_sub(&p->pending, 1) != 1) return;
  if (!atomic_load(&p->caller_asleep)) return;
  pthread_mutex_lock(&p->lock);
  pthread_cond_signal(&p->done_cond);
  pthread_mutex_unlock(&p->lock);
}

static void work_on(vitq_pool *p, uint32_t job) {
  for (unsigned share; claim(p, job, &share);) {
    p->fn(p->ctx, share);
    finish_share(p);
  }
}

static void *work(void *arg) {
  vitq_pool *p = arg;
  for (uint32_t job = 0;;) {
    job = wait_for_ticket(p, job);
    if (atomic_load(&p->stop)) return NULL;
    work_on(p, job);
  }
}

static void pool_run(void *pool, void (*fn)(void *, unsigned), void *ctx) {
  vitq_pool *p = pool;
  p->fn = fn;
  p->ctx = ctx;
  start(p, 0);
  work_on(p, ticket(p));
  wait_for_workers(p);
}

rt_team rt_pool_team(vitq_pool *pool) {
  return (rt_team){pool->n_thread, pool_run, pool};
}

// Signals stay with the application's own threads.
static int start_worker(vitq_pool *p) {
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  int err = pthread_create(&p->worker[p->n_started], NULL, work, p);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (!err) p->n_started++;
  return err;
}

vitq_status vitq_pool_create(unsigned n_thread, vitq_pool **out) {
  rt_clear_error();
  if (!out) return rt_fail(VITQ_ERR_ARGUMENT, "out is NULL");
  *out = NULL;
  if (n_thread == 0 || n_thread > MAX_THREAD)
    return rt_fail(VITQ_ERR_ARGUMENT, "expected 1 to %u threads, found %u",
                   MAX_THREAD, n_thread);
  size_t size = sizeof(vitq_pool) + sizeof(pthread_t) * n_thread;
  vitq_pool *p = aligned_alloc(64, (size + 63) / 64 * 64);
  if (!p) return rt_fail(VITQ_ERR_MEMORY, "no memory for a pool");
  memset(p, 0, size);
  p->n_thread = n_thread;
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->start_cond, NULL);
  pthread_cond_init(&p->done_cond, NULL);
  for (unsigned i = 1; i < n_thread; i++) {
    int err = start_worker(p);
    if (!err) continue;
    vitq_pool_destroy(p);
    return rt_fail(VITQ_ERR_MEMORY, "cannot start thread %u of %u: %s", i + 1,
                   n_thread, strerror(err));
  }
  *out = p;
  return VITQ_OK;
}

void vitq_pool_destroy(vitq_pool *p) {
  if (!p) return;
  atomic_store(&p->stop, true);
  start(p, p->n_thread);
  for (unsigned i = 0; i < p->n_started; i++)
    pthread_join(p->worker[i], NULL);
  pthread_cond_destroy(&p->done_cond);
  pthread_cond_destroy(&p->start_cond);
  pthread_mutex_destroy(&p->lock);
  free(p);
}

unsigned vitq_pool_threads(const vitq_pool *p) { return p ? p->n_thread : 1; }
