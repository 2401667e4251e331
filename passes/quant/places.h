// Where layers are: what rules about them (vq/rules.h) compare with.
#ifndef VQ_PASSES_PLACES_H
#define VQ_PASSES_PLACES_H

#include "quant/quantizer.h"

// Blocks and stages of a module's ops. Zero-initialised: none are known.
typedef struct vq_places {
  vq_map block;  // op -> its block + 1
  int64_t *stage;  // of each block
  unsigned n_block;
} vq_places;

VQ_NODISCARD vq_status vq_places_open(vq_places *p, const vq_module *m, vq_arena *arena,
                                      vq_diag *diag);
void vq_places_close(vq_places *p);

// The layer of a linear, a patch_embed or an attention, or of what computes a value of
// the residual stream. Block and stage are -1 where places are not known.
vq_layer vq_quant_layer(const vq_places *p, const vq_op *op, vq_role role);

#endif
