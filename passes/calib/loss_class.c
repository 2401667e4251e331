// How far a model is from seeing the wanted classes:
//
//   ln sum_c exp(l_c) - sum_c w_c l_c
//
// the former relative to the largest logit, so that nothing overflows.
#include "calib/blocks.h"
#include "calib/loss.h"

vq_value *vq_loss_class(vq_builder *b, vq_value *logits, vq_value *wanted) {
  if (!logits) return NULL;
  const vq_type *t = logits->type;
  vq_attrs_reduce_max rows = {.axes = VQ_INTS(1), .keep = true};
  vq_value *most = vq_build1(b, VQ_OP_reduce_max, &logits, 1, &rows, VQ_LIT(""));
  vq_value *e = vq_make_1(b, VQ_OP_exp, vq_make_2(b, VQ_OP_sub, logits, most));
  vq_value *all = vq_make_1(b, VQ_OP_log, vq_make_sum(b, e, 1u << 1, true));
  all = vq_make_2(b, VQ_OP_add, all, most);
  vq_value *hit = vq_make_sum(b, vq_make_2(b, VQ_OP_mul, logits, wanted), 1u << 1, true);
  return vq_make_reshape(b, vq_make_2(b, VQ_OP_sub, all, hit), 1, t->dim);
}
