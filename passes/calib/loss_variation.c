// Total variation: how rough pictures are.
#include "calib/blocks.h"
#include "calib/loss.h"

// Frobenius norm of x[i + dy, j + dx] - x[i, j] over a picture; dy >= 0.
static vq_value *norm(vq_builder *b, vq_value *x, int64_t dy, int64_t dx) {
  const int64_t *d = x->type->dim;
  int64_t left = dx < 0 ? -dx : 0, right = dx > 0 ? dx : 0;
  int64_t size[] = {d[0], d[1], d[2] - dy, d[3] - left - right};
  vq_value *here = vq_make_slice(b, x, (int64_t[]){0, 0, 0, left}, size, NULL);
  vq_value *there = vq_make_slice(b, x, (int64_t[]){0, 0, dy, right}, size, NULL);
  vq_value *step = vq_make_2(b, VQ_OP_sub, there, here);
  vq_value *sum = vq_make_sum(b, vq_make_2(b, VQ_OP_mul, step, step), 0xe, false);
  return vq_make_1(b, VQ_OP_sqrt, sum);
}

vq_value *vq_loss_variation(vq_builder *b, vq_value *x) {
  static const int64_t to[][2] = {{0, 1}, {1, 0}, {1, -1}, {1, 1}};
  vq_value *sum = NULL;
  if (!x) return NULL;
  for (size_t i = 0; i < VQ_COUNT(to); i++) {
    vq_value *n = norm(b, x, to[i][0], to[i][1]);
    sum = i ? vq_make_2(b, VQ_OP_add, sum, n) : n;
  }
  return sum;
}
