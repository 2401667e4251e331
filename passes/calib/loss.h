// Losses on pictures: ops behind those of a model, for grad to differentiate.
//
// Each gives one number per picture, [pictures], made of that picture alone. So
// pictures can be computed in batches of any size. NULL operands give NULL.
#ifndef VQ_PASSES_LOSS_H
#define VQ_PASSES_LOSS_H

#include "vq/build.h"

// Cross-entropy of logits [pictures, classes] with the wanted probabilities of the
// classes, each row of which sums up to 1.
vq_value *vq_loss_class(vq_builder *b, vq_value *logits, vq_value *wanted);

// Total variation of pictures [pictures, channels, height, width]: Frobenius norms
// of the differences to the neighbours right, below, below left and below right.
vq_value *vq_loss_variation(vq_builder *b, vq_value *x);

// What attention made of the patches.
typedef struct vq_patches {
  vq_value *y;       // result of attention [pictures * windows, tokens, heads * d]
  int64_t pictures, heads;
  int64_t skip;      // tokens in front that are not patches
} vq_patches;

// Differential entropy of the cosine similarities of all pairs of patches, as
// attention sees them on average over heads; of all windows of a picture together.
// gauss: that of a normal distribution of their variance.
vq_value *vq_loss_entropy_gauss(vq_builder *b, const vq_patches *p);
// By a kernel density of width 0.01 on a grid of 10 points from the smallest
// similarity to the largest. These two do not pass gradients: `stop` receives them
// for vq_grad_request.
vq_value *vq_loss_entropy_kde(vq_builder *b, const vq_patches *p, vq_value *stop[2]);
// The same of samples [pictures, n].
vq_value *vq_loss_density_entropy(vq_builder *b, vq_value *samples, vq_value *stop[2]);

// What attention compares.
typedef struct vq_attended {
  vq_value *q, *k;   // [pictures * windows, tokens, heads * d]
  int64_t pictures, heads;
  int64_t skip;      // tokens in front that are not patches
} vq_attended;

// How differently heads see a picture, from 0 for all the same to 1 (MimiQ, AAAI 2025).
vq_value *vq_loss_heads(vq_builder *b, const vq_attended *p);

#endif
