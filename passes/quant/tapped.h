// The float model on calibration samples, with the inputs of quantizers in view.
//
// A copy of the model without its quantizers returns what the taps would code.
// It runs on every sample of pc->exec, each of which is seen once per sweep.
#ifndef VQ_PASSES_TAPPED_H
#define VQ_PASSES_TAPPED_H

#include "passes.h"
#include "vq/lane.h"

typedef struct vq_tapped {
  vq_pass_ctx *pc;
  vq_lane lane;  // the copy, with a result for each tap
} vq_tapped;

// What tap `k` saw of samples not seen before in this sweep: `count` floats.
typedef void vq_tapped_see(void *user, unsigned k, const float *x, int64_t count);

// `fq`: fake_quants of `m`'s @main in program order. `m` stays as it is until
// the tapped model is closed, except for the operands of fake_quants. `need`
// completes the message when there are no samples: "activations have no range".
VQ_NODISCARD vq_status vq_tapped_open(vq_tapped *t, vq_module *m, vq_op *const *fq,
                                      unsigned n, const char *need,
                                      vq_pass_ctx *pc);
// All samples once; the report to the user is that of sweep `index` of `n_sweep`.
VQ_NODISCARD vq_status vq_tapped_sweep(vq_tapped *t, const char *pass,
                                       int64_t index, int64_t n_sweep,
                                       vq_tapped_see *see, void *user);
void vq_tapped_close(vq_tapped *t);

#endif
