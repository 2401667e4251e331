/* What compiled models call in the copy of the runtime linked into them.
 *
 * Not for applications: they use vitq.h. A model's generated entry point
 * `<symbol>_run` forwards to vitq_rt_run_model, so that plain C callers need
 * nothing but the model itself.
 */
#ifndef VITQ_RT_H
#define VITQ_RT_H

#include "vitq_abi.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of workspace, aligned to VITQ_ALIGN, for vitq_rt_run_model. */
size_t vitq_rt_workspace(const vitq_model *m);

/* Runs n samples on the calling thread with the best variant of this CPU.
 * Returns a vitq_status as int. Re-entrant; allocates nothing. */
int vitq_rt_run_model(const vitq_model *m, int64_t n, const void *const *in,
                      void *const *out, void *workspace);

#ifdef __cplusplus
}
#endif
#endif
