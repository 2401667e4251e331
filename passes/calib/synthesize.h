// Pictures out of a model: gradient descent on pixels.
#ifndef VQ_PASSES_SYNTHESIZE_H
#define VQ_PASSES_SYNTHESIZE_H

#include "calib/objective.h"

// What a picture is to be like.
typedef struct vq_style {
  double weight[VQ_N_LOSS];  // as PSAQ-ViT's, which are for batches of 32
  bool rough;   // its variation is to be that of pictures, else as small as can be
  bool colors;  // the model sees it in other colours at each step
  bool scene;   // it starts as a scene (scene.h), else as noise
  bool still;   // and stays that: no descent
  double rate;  // its share of the rate of learning
} vq_style;

typedef struct vq_synthesis {
  vq_style style[8];  // picture number i is of style i mod n_style
  unsigned n_style;
  bool kde;            // how the entropy is estimated (objective.h)
  uint64_t seed;
  int64_t steps;       // of each picture, in two phases
  double rate;         // Adam's, at its highest
  float lo[4], hi[4];  // smallest and largest value of a pixel, per channel
  // Called before each step of `total`; a failure stops. May be NULL.
  vq_status (*progress)(void *user, int64_t done, int64_t total, double loss);
  // Called with each picture when it is finished, which it may change; a failure
  // stops. May be NULL.
  vq_status (*finished)(void *user, int64_t number, float *x);
  // Asked after each batch; to be content with less than all ends it. May be NULL.
  bool (*enough)(void *user);
  // Asked before picture `number`, or the batch that it is the first of, is begun:
  // whether it is still wanted. None behind it is when it is not. May be NULL.
  vq_status (*wants)(void *user, int64_t number, bool *yes);
  uint64_t bytes;  // that the user works in beside the pictures (pc->exec->memory_limit)
  void *user;
} vq_synthesis;

// What PSAQ-ViT does, for pixels whose range is unknown.
vq_synthesis vq_synthesis_default(void);

// A picture to make, and where: as the model takes it without the batch dimension.
typedef struct vq_wanted {
  int64_t number;
  float *x;
} vq_wanted;

// Makes `n` pictures, in this order; *n_made says how many. A picture depends on its
// number, the seed, the objective and how pc->exec computes: not on which others are made,
// in which order or batch, or by how many threads. `m`, float and recomposed, becomes the
// objective of this module.
VQ_NODISCARD vq_status vq_synthesize(vq_module *m, const vq_synthesis *s,
                                     const vq_wanted *wanted, int64_t n, int64_t *n_made,
                                     vq_pass_ctx *pc);

#endif
