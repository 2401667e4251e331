// What recompose could not absorb, for --require-fused and summaries.
#ifndef VQ_RECOMPOSE_H
#define VQ_RECOMPOSE_H

#include "vq/ir.h"

// The statistic of the pass `recompose` that counts leftovers.
#define VQ_STAT_LEFT_OVER "left over"

// `construct` says what `op` is usually a part of: "attention", "gelu", ...
typedef void (*vq_leftover_fn)(void *user, const vq_op *op,
                               const char *construct);

// Calls `fn` for every op that looks like a part of a construct recompose
// should have rebuilt: a matmul, a softmax whose result is multiplied, an erf,
// a tanh or sigmoid in a product, a root of a mean of squares, a convolution.
// None are left in a fully recomposed transformer. Meant for a module right
// after recompose; outlined kernels hide how ops belong together.
void vq_recompose_leftovers(const vq_module *m, vq_leftover_fn fn, void *user);

#endif
