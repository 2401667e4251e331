// A model that runs on calibration samples, and the batches that it is given.
#ifndef VQ_LANE_H
#define VQ_LANE_H

#include "vq/exec.h"
#include "vq/ir.h"

// Release with vq_lane_close, also what was not opened.
typedef struct vq_lane {
  vq_exec *exec;
  vq_module *m;  // owned
  vq_program *program;
  vq_tensor *in, *out;  // of @main; `in` has no memory at first
  unsigned n_in, n_out;
} vq_lane;

// What `v` of `from` is in a clone of it, which has the same ops in the same order.
vq_value *vq_lane_twin(const vq_value *v, const vq_func *from, const vq_func *clone);
// Makes @main return `v` instead of what it returns.
VQ_NODISCARD vq_status vq_lane_return(vq_func *f, unsigned n, vq_value *const *v,
                                      vq_diag *diag);
// Takes over `m`, also when it fails. Memory of results comes from `arena`.
VQ_NODISCARD vq_status vq_lane_open(vq_lane *l, vq_exec *exec, vq_module *m,
                                    vq_arena *arena, vq_diag *diag);
VQ_NODISCARD vq_status vq_lane_run(vq_lane *l, vq_diag *diag);
void vq_lane_close(vq_lane *l);

// Memory for a batch of samples.
vq_tensor vq_batch_alloc(const vq_type *type, vq_arena *arena);
// Samples from `first` on, those up to `end`; the last one fills the rest of the batch.
// *fresh: how many there are.
VQ_NODISCARD vq_status vq_batch_load(const vq_samples *s, int64_t first, int64_t end,
                                     vq_tensor batch, int64_t *fresh, vq_diag *diag);

#endif
