// When further calibration pictures would show little that is new: ranges of activations
// that have settled.
#ifndef VQ_PASSES_SETTLE_H
#define VQ_PASSES_SETTLE_H

#include "passes.h"
#include "vq/lane.h"

// Pictures are judged by cycles of as many as styles take turns. The ranges of a set are
// compared with those that it had VQ_SETTLE_BACK cycles before.
enum { VQ_SETTLE_CYCLE = 4, VQ_SETTLE_BACK = 2 };

typedef struct vq_settle_tap vq_settle_tap;

// Zero-initialised: closed.
typedef struct vq_settle {
  vq_pass_ctx *pc;
  vq_lane lane;  // the float model, whose results are what is looked at
  vq_settle_tap *tap;
  unsigned n_tap;
  double percent;
  int64_t n_cycle;  // judged
} vq_settle;

// For inputs of `m`, float and recomposed, which is copied. `percent`: above 0, at most
// 100. Fails where there is no linear and no attention. Close it also then.
VQ_NODISCARD vq_status vq_settle_open(vq_settle *s, const vq_module *m, double percent,
                                      vq_pass_ctx *pc);
// Looks at the next VQ_SETTLE_CYCLE pictures, one behind the other at `x`. *settled: all
// together, these and the cycle before moved no end of a range by more than `percent` of
// the range. Depends on the order of cycles, not on the model's batch or on threads.
VQ_NODISCARD vq_status vq_settle_see(vq_settle *s, const float *x, bool *settled);
// Bytes that it holds and works in.
uint64_t vq_settle_bytes(const vq_settle *s);
void vq_settle_close(vq_settle *s);

#endif
