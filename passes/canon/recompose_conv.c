// Convolutions that are matrix products: patch embedding and 1x1.
#include "canon/rewriter.h"

static bool all_are(const vq_ints *v, int64_t want) {
  for (unsigned i = 0; i < v->n; i++)
    if (v->p[i] != want) return false;
  return true;
}

// [B, N, D] tokens back to the convolution's [B, D, H, W].
static vq_value *to_planes(vq_rw *rw, vq_value *tokens, const vq_type *t) {
  const int64_t perm[] = {0, 2, 1};
  vq_value *y = vq_build_transpose(&rw->b, tokens, perm, VQ_LIT(""));
  return y ? vq_rw_reshape(rw, y, 4, t->dim) : NULL;
}

// `x` without the rows and columns that no patch of `k` covers.
static vq_value *whole_patches(vq_rw *rw, vq_value *x, const int64_t *k) {
  const int64_t *d = x->type->dim;
  int64_t begin[4] = {0}, size[] = {d[0], d[1], d[2] / k[2] * k[2],
                                    d[3] / k[3] * k[3]};
  if (size[2] == d[2] && size[3] == d[3]) return x;
  vq_attrs_slice a = {.begin = {begin, 4}, .size = {size, 4}};
  return vq_rw_build(rw, VQ_OP_slice, &x, 1, &a);
}

// A kernel as large as its stride reads every pixel once: patch_embed, or for
// one pixel a linear over channels.
bool vq_rule_conv(vq_rw *rw, vq_op *op) {
  const vq_attrs_conv2d *a = VQ_ATTRS(op, conv2d);
  vq_value *x = vq_in(op, 0), *w = vq_in(op, 1);
  const vq_type *t = op->out[0].type;
  const int64_t *k = w->type->dim, *d = x->type->dim;
  if (!vq_const_of(w) || a->groups != 1 || !all_are(&a->pad, 0) ||
      !all_are(&a->dilation, 1) || a->stride.p[0] != k[2] ||
      a->stride.p[1] != k[3] || d[2] < k[2] || d[3] < k[3])
    return false;
  const int64_t shape[] = {k[0], k[1] * k[2] * k[3]};
  vq_value *in[] = {x, vq_rw_recast(rw, w, 2, shape), vq_in_opt(op, 2)};
  if (!in[1] || !(in[0] = whole_patches(rw, x, k))) return false;
  unsigned n_in = in[2] ? 3 : 2;
  if (k[2] * k[3] > 1) {
    vq_attrs_patch_embed p = vq_default_patch_embed();
    p.patch = (vq_ints){k + 2, 2};
    vq_value *y = vq_rw_build(rw, VQ_OP_patch_embed, in, n_in, &p);
    return vq_rw_replace(rw, op, to_planes(rw, y, t), "patch_embed");
  }
  const int64_t flat[] = {d[0], d[1], d[2] * d[3]}, perm[] = {0, 2, 1};
  in[0] = vq_build_transpose(&rw->b, vq_rw_reshape(rw, x, 3, flat), perm,
                             VQ_LIT(""));
  vq_attrs_linear l = vq_default_linear();
  vq_value *y = vq_rw_build(rw, VQ_OP_linear, in, n_in, &l);
  return vq_rw_replace(rw, op, to_planes(rw, y, t), "linear");
}

// Which digit of a patch an atom is: the channel, the row or the column.
static int digit_of(const vq_atom *a, const int64_t *d, int64_t u, int64_t v) {
  if (a->stride == 1) return a->size == v ? 2 : -1;
  if (a->stride == d[3]) return a->size == u ? 1 : -1;
  return a->stride == d[2] * d[3] && a->size == d[1] ? 0 : -1;
}

// Finds patch size and the order of (c, u, v) in the last dimension of a view
// of a picture [B, C, H, W] as patches [B, .., K].
static bool is_unfold(const vq_view *view, const int64_t *d, int64_t *patch,
                      int *order, unsigned *n_order) {
  unsigned last = view->rank - 1;
  const vq_atom *a = view->atom + view->first[last];
  unsigned n = view->first[last + 1] - view->first[last];
  patch[0] = patch[1] = 1;
  for (unsigned i = 0; i < n; i++) {
    if (a[i].stride == 1) patch[1] = a[i].size;
    if (a[i].stride == d[3]) patch[0] = a[i].size;
  }
  if (patch[0] * patch[1] == 1 || d[2] % patch[0] || d[3] % patch[1])
    return false;
  for (unsigned i = 0; i < n; i++)
    if ((order[i] = digit_of(&a[i], d, patch[0], patch[1])) < 0) return false;
  *n_order = n;
  // What stands before must be the patches in row-major order.
  const int64_t split[] = {d[0], d[1], d[2] / patch[0], patch[0],
                           d[3] / patch[1], patch[1]};
  const int64_t perm[] = {0, 2, 4, 1, 3, 5};
  vq_view want, have = *view;
  int64_t k = d[1] * patch[0] * patch[1];
  if (view->dim[last] != k || view->offset) return false;
  vq_view_identity(&want, 4, d);
  const int64_t flat[] = {vq_view_count(view) / k, k};
  if (!vq_view_reshape(&want, 6, split) || !vq_view_transpose(&want, perm) ||
      !vq_view_reshape(&want, 2, flat) || !vq_view_reshape(&have, 2, flat))
    return false;
  const int64_t zero[] = {0, 0}, one[] = {flat[0], 1};
  return vq_view_slice(&want, zero, one, NULL) &&
         vq_view_slice(&have, zero, one, NULL) && vq_view_equal(&want, &have);
}

// The weight with its columns in (c, u, v) order.
static vq_value *ordered_weight(vq_rw *rw, vq_value *w, int64_t n_channel,
                                const int64_t *patch, const int *order,
                                unsigned n_order) {
  const int64_t size[] = {n_channel, patch[0], patch[1]};
  const int64_t stride[] = {patch[0] * patch[1], patch[1], 1};
  int64_t n_out = w->type->dim[0], k = w->type->dim[1];
  float *from = vq_rw_floats(rw, w), *to = vq_rw_floats(rw, w);
  if (!from) return NULL;
  for (int64_t j = 0; j < k; j++) {
    int64_t rest = j, at = 0;
    for (unsigned i = n_order; i-- > 0; rest /= size[order[i]])
      at += rest % size[order[i]] * stride[order[i]];
    for (int64_t o = 0; o < n_out; o++) to[o * k + at] = from[o * k + j];
  }
  return vq_rw_const(rw, w, 2, w->type->dim, to);
}

// linear over patches cut by reshape and transpose is patch_embed.
bool vq_rule_unfold(vq_rw *rw, vq_op *op) {
  vq_view view;
  int64_t patch[2];
  int order[VQ_VIEW_ATOMS];
  unsigned n_order;
  vq_value *w = vq_in(op, 1), *x = vq_view_root(vq_in(op, 0), &view);
  if (!x || x == vq_in(op, 0) || x->type->rank != 4 || !vq_const_of(w) ||
      !vq_str_is(VQ_ATTRS(op, linear)->layout, "oi") || view.rank < 2)
    return false;
  if (vq_view_is_reshape(&view, vq_type_count(x->type))) return false;
  vq_view_simplify(&view);
  if (!is_unfold(&view, x->type->dim, patch, order, &n_order)) return false;
  bool sorted = true;
  for (unsigned i = 1; i < n_order; i++) sorted &= order[i - 1] < order[i];
  if (!sorted) w = ordered_weight(rw, w, x->type->dim[1], patch, order, n_order);
  if (!w) return false;
  vq_attrs_patch_embed p = vq_default_patch_embed();
  p.patch = (vq_ints){patch, 2};
  vq_value *in[] = {x, w, vq_in_opt(op, 2)};
  vq_value *y = vq_rw_build(rw, VQ_OP_patch_embed, in, op->n_in, &p);
  const vq_type *t = op->out[0].type;
  return y && vq_rw_replace(rw, op, vq_rw_reshape(rw, y, t->rank, t->dim),
                            "patch_embed");
}
