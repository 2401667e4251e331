// Inter-head attention similarity (MimiQ, AAAI 2025): in real pictures the heads of a
// block look at the same objects, in noise each looks elsewhere.
//
// For a query patch let a_h be what its head h makes of all key patches, q_h K_h^T,
// brought to the range 0 to 1. Two heads are as similar as the structural similarity of
// these vectors says, computed once over all of it,
//
//            (2 m_i m_j + C1) (2 c_ij + C2)
//   s_ij = ----------------------------------,   m mean, v variance, c covariance
//          (m_i^2 + m_j^2 + C1) (v_i + v_j + C2)
//
// and the loss is the mean of 1 - s_ij^2 over all queries and ordered pairs of heads. The
// square is what MimiQ's code has: heads that see opposites agree on where things are.
// Moments of all pairs come from one Gram matrix of H x H numbers a query.
#include "calib/blocks.h"
#include "calib/loss.h"

static const double c1 = 1e-4, c2 = 9e-4;

static vq_value *times(vq_builder *b, vq_value *x, double k) {
  return vq_make_2(b, VQ_OP_mul, x, vq_make_k(b, k));
}

static vq_value *plus(vq_builder *b, vq_value *x, double k) {
  return vq_make_2(b, VQ_OP_add, x, vq_make_k(b, k));
}

static vq_value *mean(vq_builder *b, vq_value *x, unsigned axis, bool keep) {
  if (!x) return NULL;
  return times(b, vq_make_sum(b, x, 1u << axis, keep), 1 / (double)x->type->dim[axis]);
}

// [windows, tokens, heads * d] to patches [windows, heads, M, d].
static vq_value *split(vq_builder *b, vq_value *x, const vq_attended *p) {
  if (!x) return NULL;
  const int64_t *t = x->type->dim;
  int64_t heads[] = {t[0], t[1], p->heads, t[2] / p->heads};
  int64_t begin[] = {0, p->skip, 0, 0}, size[] = {t[0], t[1] - p->skip, heads[2], heads[3]};
  x = vq_make_slice(b, vq_make_reshape(b, x, 4, heads), begin, size, NULL);
  return vq_make_transpose(b, x, (int64_t[]){0, 2, 1, 3});
}

// Each head's view of a query, from 0 to 1: [windows, queries, heads, keys].
static vq_value *views(vq_builder *b, const vq_attended *p) {
  vq_value *s = vq_make_matmul(b, split(b, p->q, p), split(b, p->k, p), true);
  s = vq_make_transpose(b, s, (int64_t[]){0, 2, 1, 3});
  vq_attrs_reduce_min low = {.axes = VQ_INTS(3), .keep = true};
  vq_attrs_reduce_max high = {.axes = VQ_INTS(3), .keep = true};
  if (!s) return NULL;
  s = vq_make_2(b, VQ_OP_sub, s, vq_build1(b, VQ_OP_reduce_min, &s, 1, &low, VQ_LIT("")));
  if (!s) return NULL;
  vq_value *range = vq_build1(b, VQ_OP_reduce_max, &s, 1, &high, VQ_LIT(""));
  return vq_make_2(b, VQ_OP_div, s, plus(b, range, 1e-8));
}

vq_value *vq_loss_heads(vq_builder *b, const vq_attended *p) {
  vq_value *a = views(b, p);
  if (!a) return NULL;
  double keys = (double)a->type->dim[3];
  vq_value *m = mean(b, a, 3, true), *mt = vq_make_swap(b, m);
  vq_value *m2 = vq_make_2(b, VQ_OP_mul, m, m), *m2t = vq_make_swap(b, m2);
  vq_value *square = mean(b, vq_make_2(b, VQ_OP_mul, a, a), 3, true);
  vq_value *v = vq_make_2(b, VQ_OP_sub, square, m2);
  vq_value *mm = vq_make_2(b, VQ_OP_mul, m, mt);
  vq_value *c = times(b, vq_make_matmul(b, a, a, true), 1 / keys);
  c = vq_make_2(b, VQ_OP_sub, c, mm);
  vq_value *above = vq_make_2(b, VQ_OP_mul, plus(b, times(b, mm, 2), c1),
                              plus(b, times(b, c, 2), c2));
  vq_value *below = vq_make_2(
      b, VQ_OP_mul, plus(b, vq_make_2(b, VQ_OP_add, m2, m2t), c1),
      plus(b, vq_make_2(b, VQ_OP_add, v, vq_make_swap(b, v)), c2));
  vq_value *s = vq_make_2(b, VQ_OP_div, above, below);
  s = vq_make_2(b, VQ_OP_mul, s, s);
  if (!s) return NULL;
  int64_t dim[] = {p->pictures, vq_type_count(s->type) / p->pictures};
  vq_value *similar = mean(b, vq_make_reshape(b, s, 2, dim), 1, false);
  return vq_make_2(b, VQ_OP_sub, vq_make_k(b, 1), similar);
}
