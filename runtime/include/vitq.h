/* Loading and running compiled models.
 *
 *   vitq_handle *h;
 *   if (vitq_open("model.so", &h) != VITQ_OK) { puts(vitq_last_error()); ... }
 *   void *ws = aligned_alloc(64, vitq_workspace_size(h, 1));
 *   vitq_run(h, n, inputs, outputs, ws, NULL);
 *   vitq_close(h);
 *
 * A handle is immutable after vitq_open and may be used by any number of
 * threads at once, each with its own workspace. Nothing is allocated while
 * running. Needs only libc, libdl and pthreads.
 */
#ifndef VITQ_H
#define VITQ_H

#include "vitq_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vitq_status {
  VITQ_OK = 0,
  VITQ_ERR_ARGUMENT = 1,  /* a NULL or negative argument, or a wrong count */
  VITQ_ERR_OPEN = 2,      /* the file cannot be loaded */
  VITQ_ERR_NOT_MODEL = 3, /* it loads but is no vitqc model */
  VITQ_ERR_VERSION = 4,   /* made for another ABI version */
  VITQ_ERR_ISA = 5,       /* no variant runs on this CPU, or the named one */
  VITQ_ERR_WORKSPACE = 6, /* workspace missing or not 64-byte aligned */
  VITQ_ERR_MEMORY = 7     /* out of memory (open and pool creation only) */
} vitq_status;

/* A one-line English description of a status. */
const char *vitq_status_text(vitq_status s);

/* Details of the last failed vitq_open or vitq_pool_create of this thread, ""
 * if none. */
const char *vitq_last_error(void);

typedef struct vitq_handle vitq_handle;

/* Loads a model from a shared object. */
vitq_status vitq_open(const char *path, vitq_handle **out);

/* Uses a model that is already in the process (statically linked, or JIT).
 * The model must outlive the handle. */
vitq_status vitq_open_model(const vitq_model *model, vitq_handle **out);
void vitq_close(vitq_handle *h); /* NULL is allowed */

const vitq_model *vitq_describe(const vitq_handle *h);

/* Name of the variant in use; the best this CPU can run unless
 * vitq_select changed it. */
const char *vitq_variant_name(const vitq_handle *h);

/* Forces a variant by name. Not thread-safe against running calls. */
vitq_status vitq_select(vitq_handle *h, const char *variant);

/* The vitq_isa bits this CPU and kernel support (AMX: after asking the kernel
 * for permission). */
uint64_t vitq_cpu_isa(void);

/* A pool of threads owned by the caller; any number of runs may share it, one
 * at a time. n_thread counts the calling thread; 1 is a valid pool. */
typedef struct vitq_pool vitq_pool;
vitq_status vitq_pool_create(unsigned n_thread, vitq_pool **out);
void vitq_pool_destroy(vitq_pool *pool); /* NULL is allowed */
unsigned vitq_pool_threads(const vitq_pool *pool); /* 1 for NULL */

/* Bytes of workspace for running with a pool of n_thread threads. */
size_t vitq_workspace_size(const vitq_handle *h, unsigned n_thread);

/* Runs n samples. inputs[i] holds n * input[i].bytes_per_sample bytes,
 * outputs[i] likewise; any alignment. Results do not depend on n's division
 * into batches nor on the pool. workspace: vitq_workspace_size bytes aligned
 * to 64, used by one run at a time. pool may be NULL. */
vitq_status vitq_run(const vitq_handle *h, int64_t n,
                     const void *const *inputs, void *const *outputs,
                     void *workspace, vitq_pool *pool);

/* Called around every step of vitq_run_profiled, on the calling thread. */
typedef void (*vitq_step_fn)(void *user, uint32_t step, double seconds);
vitq_status vitq_run_profiled(const vitq_handle *h, int64_t n,
                              const void *const *inputs, void *const *outputs,
                              void *workspace, vitq_pool *pool,
                              vitq_step_fn fn, void *user);

#ifdef __cplusplus
}
#endif
#endif
