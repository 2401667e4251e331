// Whether products of bf16 (pass autocast) are worth it on this machine.
#ifndef VQ_BF16_PROBE_H
#define VQ_BF16_PROBE_H

#include "vq/exec.h"
#include "vq/ir.h"

typedef struct vq_bf16_gain {
  int64_t m, n, k;  // the product: m rows, n columns, sums of k
  double speed;     // how many times as fast it is; 0: there was none to try, or it is small
  double error;     // largest difference, relative to the largest result
} vq_bf16_gain;

// Tries the largest product among matmul, linear and patch_embed in @main of `m`, or a part
// of it (256 rows, 1024 columns, sums of 1024), with random numbers: in f32 by `plain` and in
// bf16 by `narrow`, by turns on one thread, the fastest of a few runs each. It takes some 50 ms
// beside preparing both. Below a million multiply-adds nothing is tried: there is little to
// gain, and noise would decide.
VQ_NODISCARD vq_status vq_bf16_probe(const vq_module *m, vq_exec *plain, vq_exec *narrow,
                                     vq_diag *diag, vq_bf16_gain *out);

// Whether that is a gain: by a margin that noise does not reach, of numbers that are right.
bool vq_bf16_is_gain(const vq_bf16_gain *g);

#endif
