// Gradients as a pass: what it is asked for, and what its rules may use.
//
// @main.grad takes the arguments of @main and a seed for each f32 result, the
// derivative of some loss by that result; it returns the derivatives of that
// loss by chosen values of @main. It is ordinary IR: the ops of @main, then for
// each of them, last first, what its rule emits. Losses are ops behind @main's.
#ifndef VQ_PASSES_GRAD_H
#define VQ_PASSES_GRAD_H

#include "passes.h"
#include "vq/build.h"

typedef struct vq_grad_request {
  vq_value *const *wrt;  // of the function, or constants: f32
  unsigned n_wrt;
  vq_value *const *stop;  // values that count as constants
  unsigned n_stop;
  bool results;  // return the function's own results too, in front
} vq_grad_request;

// Builds `f`.grad behind `f`; arguments "<result>.grad" follow those of `f`, in
// order of the f32 results. NULL after a diagnostic, which names the op that is
// in the way.
vq_func *vq_grad_build(vq_func *f, const vq_grad_request *r, vq_pass_ctx *pc);

#endif
