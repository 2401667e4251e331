// Gradients of matrix products, convolutions and attention.
//
// With constant weights only the operand's gradient is built: a linear with the
// transposed weight, which fold then makes a constant.
#include "calib/grad_rule.h"

RULE(matmul) {
  if (VQ_ATTRS(op, matmul)->transpose_b) {  // y = a b^T
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

RULE(linear) {
  if (!vq_str_is(VQ_ATTRS(op, linear)->layout, "oi"))
    return vq_grad_refuse(g, op, "its weight is packed: differentiate before pack");
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
  if (!vq_str_is(a->layout, "oi"))
    return vq_grad_refuse(g, op, "its weight is packed: differentiate before pack");
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
//   dv = p^T dy      dp = dy v^T      ds = p (dp - D), D = rowsum(dy y)
//   dq = scale ds k  dk = scale ds^T q   dbias = ds
//
// p is computed again rather than kept from the forward pass: it is the largest
// tensor of a block, and would live until the block's turn comes. D needs no p:
// rowsum(p dp) = rowsum(dy y) (Dao et al., FlashAttention, 2022, appendix B.2). The
// n x m matrices are never transposed, their small factors are: dv^T = dy^T p.

typedef struct heads {
  int64_t batch, n_head;
  vq_value *q, *qt;  // scaled: [b, h, n, d] and [b, h, d, n]
  vq_value *p;       // [b, h, n, m]
} heads;

// [b, n, h * d] as [b, h, n, d], or [b, h, d, n] if `across`.
static vq_value *split(vq_grad *g, vq_value *x, int64_t n_head, bool across) {
  if (!x) return NULL;
  const int64_t *d = x->type->dim;
  int64_t dim[] = {d[0], d[1], n_head, d[2] / n_head};
  return TRANSPOSE(RESHAPE(x, 4, dim),
                   across ? (int64_t[]){0, 2, 3, 1} : (int64_t[]){0, 2, 1, 3});
}

static vq_value *merge(vq_grad *g, vq_value *x, bool across, const vq_type *to) {
  x = TRANSPOSE(x, across ? (int64_t[]){0, 3, 1, 2} : (int64_t[]){0, 2, 1, 3});
  return RESHAPE(x, 3, to->dim);
}

// The scores' shape [b, h, n, m] with b and h each in two: how often the bias
// repeats, and its own.
static void repeats(const heads *a, const vq_type *bias, int64_t *dim) {
  const int64_t *t = bias->dim;
  int64_t all[] = {a->batch / t[0], t[0], a->n_head / t[1], t[1], t[2], t[3]};
  memcpy(dim, all, sizeof all);
}

static vq_value *add_bias(vq_grad *g, const heads *a, vq_value *s, vq_value *bias) {
  const int64_t *t = bias->type->dim;
  int64_t dim[6], own[] = {1, t[0], 1, t[1], t[2], t[3]};
  repeats(a, bias->type, dim);
  s = PLUS(RESHAPE(s, 6, dim), RESHAPE(bias, 6, own));
  return RESHAPE(s, 4, (int64_t[]){a->batch, a->n_head, t[2], t[3]});
}

static vq_status again(vq_grad *g, const vq_op *op, heads *a) {
  const vq_attrs_attention *at = VQ_ATTRS(op, attention);
  *a = (heads){.batch = A->type->dim[0], .n_head = at->heads};
  vq_value *q = MUL(A, K((double)at->scale));
  a->q = split(g, q, a->n_head, false);
  a->qt = split(g, q, a->n_head, true);
  vq_value *s = MATMUL(a->q, split(g, B, a->n_head, true));
  if (vq_in_opt(op, 3)) s = add_bias(g, a, s, vq_in(op, 3));
  a->p = UNARY(softmax, s);
  return a->p && a->qt ? VQ_OK : VQ_ERR;
}

// The gradient of the scores, [b, h, n, m].
static vq_value *of_scores(vq_grad *g, const vq_op *op, const heads *a, vq_value *dy) {
  const int64_t *y = Y->type->dim;
  int64_t dim[] = {y[0], y[1], a->n_head, y[2] / a->n_head};
  vq_value *sum = SUM(RESHAPE(MUL(dy, Y), 4, dim), 1u << 3, true);
  sum = TRANSPOSE(sum, (int64_t[]){0, 2, 1, 3});
  vq_value *dp = MATMUL(split(g, dy, a->n_head, false), split(g, C, a->n_head, true));
  return MUL(a->p, SUB(dp, sum));
}

static vq_value *of_bias(vq_grad *g, const vq_op *op, const heads *a, vq_value *ds) {
  const vq_type *bias = vq_in(op, 3)->type;
  int64_t dim[6];
  repeats(a, bias, dim);
  vq_value *d = SUM(RESHAPE(ds, 6, dim), 1u << 0 | 1u << 2, false);
  return RESHAPE(d, 4, bias->dim);
}

RULE(attention) {
  heads a;
  double scale = (double)VQ_ATTRS(op, attention)->scale;
  if (again(g, op, &a)) return VQ_ERR;
  ADD(2, merge(g, MATMUL(split(g, DY, a.n_head, true), a.p), true, C->type));
  vq_value *ds = of_scores(g, op, &a, DY);
  if (vq_grad_wants(g, op, 0)) {
    vq_value *d = MATMUL(ds, split(g, B, a.n_head, false));
    ADD(0, MUL(merge(g, d, false, A->type), K(scale)));
  }
  ADD(1, merge(g, MATMUL(a.qt, ds), true, B->type));
  ADD(3, of_bias(g, op, &a, ds));
  return VQ_OK;
}
