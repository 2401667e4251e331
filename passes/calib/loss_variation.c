// Total variation: how rough pictures are. The Frobenius norms of the differences to four
// neighbours, added up.
#include "calib/blocks.h"
#include "calib/loss.h"

vq_value *vq_loss_variation(vq_builder *b, vq_value *x) {
  if (!x) return NULL;
  vq_value *squares = vq_build1(b, VQ_OP_variation, &x, 1, NULL, VQ_LIT(""));
  return vq_make_sum(b, vq_make_1(b, VQ_OP_sqrt, squares), 1u << 1, false);
}
