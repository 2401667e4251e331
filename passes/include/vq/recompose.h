// What recompose could not absorb, for --require-fused and summaries.
#ifndef VQ_RECOMPOSE_H
#define VQ_RECOMPOSE_H

#include "vq/ir.h"

typedef void (*vq_leftover_fn)(void *user, const vq_op *op);

// Calls `fn` for every op that only occurs as a part of a pattern: matmul,
// softmax, erf, tanh, sigmoid, pow, sqrt, exp, conv2d. None are left in a fully
// recomposed transformer.
void vq_recompose_leftovers(const vq_module *m, vq_leftover_fn fn, void *user);

#endif
