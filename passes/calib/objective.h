// What pictures made out of a model are to minimise (PSAQ-ViT, ECCV 2022).
#ifndef VQ_PASSES_OBJECTIVE_H
#define VQ_PASSES_OBJECTIVE_H

#include "passes.h"

typedef struct vq_objective {
  bool entropy, kde;  // whether with an entropy; by a kernel density, else the variance
  bool heads;         // whether with the differences of heads
} vq_objective;

// Columns of the argument `weight`.
typedef enum vq_loss_term {
  VQ_LOSS_CLASS,
  VQ_LOSS_VARIATION,
  VQ_LOSS_ENTROPY,
  VQ_LOSS_HEADS,
  VQ_N_LOSS
} vq_loss_term;

// Arguments of the objective's @main, and of its @main.grad, which takes the loss's
// seed as the last one.
enum {
  VQ_OBJ_IMAGE,
  VQ_OBJ_WANTED,
  VQ_OBJ_ROUGHNESS,
  VQ_OBJ_WEIGHT,
  VQ_OBJ_GAIN,
  VQ_OBJ_SHIFT,
  VQ_OBJ_SEED,
  VQ_OBJ_ARGS
};

// The type of the pictures that @main takes, f32 [batch, channels, height, width]; NULL
// with a diagnostic when that is not its only input.
const vq_type *vq_objective_image(const vq_module *m, vq_diag *diag);

// Turns @main, (image [b, c, h, w]) -> (logits [b, classes], ...), of `m` into
//
//   @main(image, wanted [b, classes], roughness [b], weight [b, terms],
//         gain [b, c, 1, 1], shift [b, c, 1, 1]) -> (loss [b])
//
//   loss = weight_0 * cross-entropy(logits, wanted)
//        + weight_1 * |variation(image) - roughness|
//        - weight_2 * sum over attentions of their patches' entropy
//        + weight_3 * mean over attentions of how different their heads are
//
// where the model sees image * gain + shift, and builds @main.grad beside it, which
// returns the loss and image.grad. Each picture has weights of its own, so pictures
// of different styles come from one function. `m` must be recomposed.
VQ_NODISCARD vq_status vq_objective_build(vq_module *m, const vq_objective *o,
                                          vq_pass_ctx *pc);

#endif
