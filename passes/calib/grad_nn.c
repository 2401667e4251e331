// Gradients of matrix products, convolutions and attention.
//
// With constant weights only the operand's gradient is built: a linear with the
// transposed weight, which fold then makes a constant.
#include "calib/grad_rule.h"

// Whether `a` is `b` with its last two dimensions exchanged.
static bool is_swapped(const vq_value *a, const vq_value *b) {
  if (a->kind != VQ_VALUE_RESULT || a->def->code != VQ_OP_transpose || vq_in(a->def, 0) != b)
    return false;
  vq_ints perm = VQ_ATTRS(a->def, transpose)->perm;
  for (unsigned k = 0; k + 2 < perm.n; k++)
    if (perm.p[k] != k) return false;
  return perm.p[perm.n - 1] == perm.n - 2;
}

RULE(matmul) {
  bool transposed = VQ_ATTRS(op, matmul)->transpose_b;
  if (!transposed && is_swapped(A, B)) {  // y = b^T b
    ADD(1, MATMUL(B, PLUS(DY, SWAP(DY))));
  } else if (transposed && A == B) {  // y = a a^T
    ADD(0, MATMUL(PLUS(DY, SWAP(DY)), A));
  } else if (transposed) {  // y = a b^T
    ADD(0, MATMUL(DY, B));
    ADD(1, MATMUL(SWAP(DY), A));
  } else {
    ADD(0, MATMUL_T(DY, B));
    ADD(1, MATMUL(SWAP(A), DY));
  }
  return VQ_OK;
}

static int64_t rows_of(const vq_type *t) {
  int64_t n = 1;
  for (unsigned k = 0; k + 1 < t->rank; k++) n *= t->dim[k];
  return n;
}

static vq_value *as_rows(vq_grad *g, vq_value *x) {
  if (!x) return NULL;
  const vq_type *t = x->type;
  return RESHAPE(x, 2, (int64_t[]){rows_of(t), t->dim[t->rank - 1]});
}

// dw[o, i] = sum over rows of dy[row, o] x[row, i]
static vq_value *weight_gradient(vq_grad *g, vq_value *dy, vq_value *x) {
  return MATMUL(SWAP(as_rows(g, dy)), as_rows(g, x));
}

static vq_status check_weight(vq_grad *g, const vq_op *op, vq_str layout) {
  if (!vq_str_is(layout, "oi"))
    return vq_grad_refuse(g, op, "its weight is packed: differentiate before pack");
  if (vq_in(op, 1)->type->dtype == VQ_bf16)
    return vq_grad_refuse(g, op, "its weight is of bf16: differentiate before autocast");
  return VQ_OK;
}

RULE(linear) {
  if (check_weight(g, op, VQ_ATTRS(op, linear)->layout)) return VQ_ERR;
  ADD(0, LINEAR(DY, SWAP(B)));
  ADD(1, weight_gradient(g, DY, A));
  ADD(2, DY);
  return VQ_OK;
}

// ---- patch_embed -------------------------------------------------------------------

// A picture as [n, rows, cols, channel, patch height, patch width] and back.
static const int64_t to_patches[] = {0, 2, 4, 1, 3, 5};
static const int64_t to_picture[] = {0, 3, 1, 4, 2, 5};

RULE(patch_embed) {
  const vq_attrs_patch_embed *a = VQ_ATTRS(op, patch_embed);
  if (check_weight(g, op, a->layout)) return VQ_ERR;
  const int64_t *x = A->type->dim, p = a->patch.p[0], q = a->patch.p[1];
  int64_t h = x[2] / p, w = x[3] / q;
  if (vq_grad_wants(g, op, 0)) {
    int64_t split[] = {x[0], h, w, x[1], p, q};
    vq_value *d = LINEAR(DY, SWAP(B));
    d = TRANSPOSE(RESHAPE(d, 6, split), to_picture);
    ADD(0, RESHAPE(d, 4, x));
  }
  if (vq_grad_wants(g, op, 1)) {
    int64_t split[] = {x[0], x[1], h, p, w, q};
    vq_value *rows = TRANSPOSE(RESHAPE(A, 6, split), to_patches);
    rows = RESHAPE(rows, 2, (int64_t[]){x[0] * h * w, x[1] * p * q});
    ADD(1, weight_gradient(g, DY, rows));
  }
  ADD(2, DY);
  return VQ_OK;
}

// ---- conv2d ------------------------------------------------------------------------

static vq_value *conv(vq_grad *g, vq_value *x, vq_value *w,
                      const vq_attrs_conv2d *a) {
  return vq_build1(&g->b, VQ_OP_conv2d, (vq_value *[]){x, w}, 2, a, VQ_LIT(""));
}

// [n, o, h, w] with stride - 1 zeros between rows and between columns.
static vq_value *stuffed(vq_grad *g, vq_value *x, const int64_t *stride) {
  if (stride[0] == 1 && stride[1] == 1) return x;
  const int64_t *d = x->type->dim;
  int64_t apart[] = {d[0], d[1], d[2], 1, d[3], 1}, begin[4] = {0};
  int64_t lo[6] = {0}, hi[] = {0, 0, 0, stride[0] - 1, 0, stride[1] - 1};
  int64_t all[] = {d[0], d[1], d[2] * stride[0], d[3] * stride[1]};
  int64_t size[] = {d[0], d[1], all[2] - stride[0] + 1, all[3] - stride[1] + 1};
  vq_value *v = PAD(RESHAPE(x, 6, apart), lo, hi);
  return SLICE(RESHAPE(v, 4, all), begin, size);
}

// w[o, c, u, v] as the weight that goes back: groups of [c, o], u and v reversed.
static vq_value *reversed(vq_grad *g, vq_value *w, int64_t groups) {
  const int64_t *d = w->type->dim;
  int64_t out = d[0] / groups, split[] = {groups, out, d[1], d[2], d[3]};
  int64_t size[] = {groups * d[1], out, d[2], d[3]};
  vq_value *v = TRANSPOSE(RESHAPE(w, 5, split), (int64_t[]){0, 2, 1, 3, 4});
  return vq_make_slice(&g->b, RESHAPE(v, 4, size),
                       (int64_t[]){0, 0, d[2] - 1, d[3] - 1}, size,
                       (int64_t[]){1, 1, -1, -1});
}

// The convolution of the stuffed gradient with the reversed weight. Where the
// padding was wider than the kernel, its share is cut off.
static vq_value *conv_input(vq_grad *g, const vq_op *op, vq_value *dy) {
  const vq_attrs_conv2d *a = VQ_ATTRS(op, conv2d);
  const int64_t *x = A->type->dim, *w = B->type->dim;
  vq_value *d = stuffed(g, dy, a->stride.p);
  if (!d) return NULL;
  int64_t pad[4], begin[4] = {0};
  for (unsigned i = 0; i < 2; i++) {
    int64_t span = a->dilation.p[i] * (w[2 + i] - 1);
    int64_t lo = span - a->pad.p[i], hi = x[2 + i] - d->type->dim[2 + i] - lo + span;
    begin[2 + i] = lo < 0 ? -lo : 0;
    pad[i] = lo < 0 ? 0 : lo;
    pad[2 + i] = hi < 0 ? 0 : hi;
  }
  vq_attrs_conv2d back = {.stride = VQ_INTS(1, 1), .pad = {pad, 4},
                          .dilation = a->dilation, .groups = a->groups};
  return SLICE(conv(g, d, reversed(g, B, a->groups), &back), begin, x);
}

// The same sums with the roles changed: channels of a group are the pictures,
// pictures the channels, dy the weight, stride and dilation each other.
static vq_value *conv_weight(vq_grad *g, const vq_op *op, vq_value *dy) {
  const vq_attrs_conv2d *a = VQ_ATTRS(op, conv2d);
  const int64_t *x = A->type->dim, *w = B->type->dim;
  int64_t split[] = {x[0], a->groups, w[1], x[2], x[3]};
  int64_t size[] = {w[1], a->groups * x[0], x[2], x[3]}, begin[4] = {0};
  vq_value *v = TRANSPOSE(RESHAPE(A, 5, split), (int64_t[]){2, 1, 0, 3, 4});
  v = RESHAPE(v, 4, size);
  const int64_t swap[] = {1, 0, 2, 3};
  vq_attrs_conv2d across = {.stride = a->dilation, .pad = a->pad,
                            .dilation = a->stride, .groups = a->groups};
  v = conv(g, v, TRANSPOSE(dy, swap), &across);
  int64_t want[] = {w[1], w[0], w[2], w[3]};
  return TRANSPOSE(SLICE(v, begin, want), swap);
}

RULE(conv2d) {
  ADD(0, conv_input(g, op, DY));
  ADD(1, conv_weight(g, op, DY));
  ADD(2, SUM(DY, 1u << 0 | 1u << 2 | 1u << 3, false));
  return VQ_OK;
}

// ---- attention ---------------------------------------------------------------------
//
// Per head, with scores s = scale q k^T + bias, p = softmax s, y = p v:
//
//   dv = p^T dy      dp = dy v^T      ds = p (dp - D), D = rowsum(p dp)
//   dq = scale ds k  dk = scale ds^T q   dbias = ds
//
// attention_softmax stands in front of the attention, so that one kernel computes both
// (fuse), and attention_grad makes the first three of p. The scores' own gradient is
// needed for a bias alone, which is seldom asked for, and built of ops.

// [b, n, h * d] as [b, h, n, d], or [b, h, d, n] if `across`.
static vq_value *split(vq_grad *g, vq_value *x, int64_t n_head, bool across) {
  if (!x) return NULL;
  const int64_t *d = x->type->dim;
  int64_t dim[] = {d[0], d[1], n_head, d[2] / n_head};
  return TRANSPOSE(RESHAPE(x, 4, dim),
                   across ? (int64_t[]){0, 2, 3, 1} : (int64_t[]){0, 2, 1, 3});
}

// The scores' shape [b, h, n, m] with b and h each in two: how often the bias
// repeats, and its own.
static void repeats(const vq_op *op, int64_t *dim) {
  const int64_t *t = vq_in(op, 3)->type->dim;
  int64_t batch = A->type->dim[0], n_head = VQ_ATTRS(op, attention)->heads;
  int64_t all[] = {batch / t[0], t[0], n_head / t[1], t[1], t[2], t[3]};
  memcpy(dim, all, sizeof all);
}

static vq_value *of_bias(vq_grad *g, const vq_op *op, vq_value *p, vq_value *dy) {
  int64_t dim[6], heads = VQ_ATTRS(op, attention)->heads;
  vq_value *dp = MATMUL(split(g, dy, heads, false), split(g, C, heads, true));
  vq_value *ds = MUL(p, SUB(dp, SUM(MUL(p, dp), 1u << 3, true)));
  repeats(op, dim);
  vq_value *d = SUM(RESHAPE(ds, 6, dim), 1u << 0 | 1u << 2, false);
  return RESHAPE(d, 4, vq_in(op, 3)->type->dim);
}

// The part of attention_grad's result for operand `i`.
static vq_value *part(vq_grad *g, const vq_op *op, vq_value *all, unsigned i) {
  int64_t begin[] = {0, 0}, size[2];
  for (unsigned k = 0; k <= i; k++) {
    const int64_t *t = vq_in(op, k)->type->dim;
    begin[1] += k ? size[1] : 0;
    size[0] = t[0], size[1] = t[1] * t[2];
  }
  return RESHAPE(SLICE(all, begin, size), 3, vq_in(op, i)->type->dim);
}

// p, in front of `op`.
static vq_value *probabilities(vq_grad *g, const vq_op *op) {
  const vq_attrs_attention *at = VQ_ATTRS(op, attention);
  vq_attrs_attention_softmax a = {.heads = at->heads, .scale = at->scale};
  vq_value *in[] = {A, B, vq_in_opt(op, 3)};
  vq_builder b = {g->b.func, op->out->def, op->loc, g->b.diag};
  return vq_build1(&b, VQ_OP_attention_softmax, in, in[2] ? 3 : 2, &a, VQ_LIT(""));
}

RULE(attention) {
  const vq_attrs_attention *at = VQ_ATTRS(op, attention);
  vq_attrs_attention_grad a = {.heads = at->heads, .scale = at->scale};
  vq_value *all = NULL, *p = probabilities(g, op);
  if (!p) return VQ_ERR;
  if (vq_grad_wants(g, op, 0) || vq_grad_wants(g, op, 1) || vq_grad_wants(g, op, 2)) {
    vq_value *in[] = {A, B, C, DY, p};
    all = vq_build1(&g->b, VQ_OP_attention_grad, in, 5, &a, VQ_LIT(""));
    if (!all) return VQ_ERR;
  }
  for (unsigned i = 0; i < 3; i++) ADD(i, part(g, op, all, i));
  ADD(3, of_bias(g, op, p, DY));
  return VQ_OK;
}
