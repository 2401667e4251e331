// What pictures made out of a model are to minimise (PSAQ-ViT, ECCV 2022).
#ifndef VQ_PASSES_OBJECTIVE_H
#define VQ_PASSES_OBJECTIVE_H

#include "passes.h"

typedef struct vq_objective {
  double class_weight, variation_weight, entropy_weight;
  bool kde;  // entropy by a kernel density; else by the variance
} vq_objective;

// Turns @main, (image [b, c, h, w]) -> (logits [b, classes], ...), of `m` into
//
//   @main(image, wanted [b, classes], roughness [b]) -> (loss [b])
//
//   loss = class_weight * cross-entropy(logits, wanted)
//        + variation_weight * |variation(image) - roughness|
//        - entropy_weight * sum over attentions of their patches' entropy
//
// and builds @main.grad beside it, which returns the loss and image.grad and takes
// the loss's seed as its last argument. `m` must be recomposed.
VQ_NODISCARD vq_status vq_objective_build(vq_module *m, const vq_objective *o,
                                          vq_pass_ctx *pc);

#endif
