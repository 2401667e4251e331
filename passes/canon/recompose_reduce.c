// Reductions and slices next to movement and layer_norm.
#include "canon/rewriter.h"

// layer_norm of everything, of which only a few rows are read: norm those.
bool vq_rule_hoist_slice(vq_rw *rw, vq_op *op) {
  vq_op *ln = vq_def(vq_in(op, 0), VQ_OP_layer_norm);
  if (!ln) return false;
  const vq_type *t = ln->out[0].type;
  int64_t read = 0;
  vq_each_use(&ln->out[0], u) {
    const vq_type *y = u->user->out ? u->user->out[0].type : NULL;
    if (u->user->code != VQ_OP_slice || u->user->n_out != 1) return false;
    if (y->dim[t->rank - 1] != t->dim[t->rank - 1]) return false;
    read += vq_type_count(y);
  }
  if (2 * read > vq_type_count(t)) return false;
  vq_value *x = vq_in(ln, 0);
  vq_value *in[] = {vq_rw_build(rw, VQ_OP_slice, &x, 1, op->attrs),
                    vq_in_opt(ln, 1), vq_in_opt(ln, 2)};
  return vq_rw_replace(
      rw, op, vq_rw_build(rw, VQ_OP_layer_norm, in, ln->n_in, ln->attrs), NULL);
}

// ---- reductions -------------------------------------------------------------

static bool is_reduce(vq_opcode code) {
  return code == VQ_OP_reduce_mean || code == VQ_OP_reduce_sum ||
         code == VQ_OP_reduce_max;
}

// The dimensions of `root` that the reduced dimensions of `view` run over:
// whole ones, and what remains stays in order. False when it is not so.
static bool reduced_dims(const vq_view *view, const vq_type *root,
                         const vq_ints *axes, int64_t *out, unsigned *n) {
  int64_t stride[VQ_MAX_RANK], last = INT64_MAX;
  bool reduced[VQ_MAX_RANK] = {false};
  vq_view v = *view;
  vq_view_simplify(&v);
  if (v.offset != 0 || vq_view_count(&v) != vq_type_count(root)) return false;
  vq_type_strides(root, stride);
  for (unsigned k = 0; k < v.rank; k++) {
    bool here = false;
    for (unsigned i = 0; i < axes->n; i++) here |= axes->p[i] == k;
    for (unsigned i = v.first[k]; i < v.first[k + 1]; i++) {
      int64_t low = v.atom[i].stride, high = low * v.atom[i].size;
      if (!here && low >= last) return false;
      if (!here) last = low;
      // The dimensions between the two must be whole.
      bool low_fits = false, high_fits = false;
      for (unsigned d = 0; d < root->rank; d++) {
        if (root->dim[d] == 1) continue;
        low_fits |= stride[d] == low;
        high_fits |= stride[d] * root->dim[d] == high;
        if (here && stride[d] >= low && stride[d] < high) reduced[d] = true;
      }
      if (here && (!low_fits || !high_fits)) return false;
    }
  }
  *n = 0;
  for (unsigned d = 0; d < root->rank; d++)
    if (reduced[d]) out[(*n)++] = d;
  return *n > 0;
}

// The mean of a layer_norm in primitives, x - mean(x): it stays on the same x.
static bool centers(const vq_op *op) {
  vq_each_use(&op->out[0], u)
    if (u->user->code == VQ_OP_sub && vq_in(u->user, 0) == vq_in(op, 0)) return true;
  return false;
}

// reduce(view(x)) reads x itself: global average pooling over [B, C, H, W],
// [B, C, N] or [B, H, W, C] is one op. Reduced dimensions are kept, a reshape
// drops them.
bool vq_rule_reduce(vq_rw *rw, vq_op *op) {
  vq_view view;
  int64_t axes[VQ_MAX_RANK];
  unsigned n;
  if (!is_reduce(op->code) || centers(op)) return false;
  const vq_attrs_reduce_mean *a = op->attrs;  // all three have these fields
  vq_value *root = vq_view_root(vq_in(op, 0), &view);
  if (!root || vq_const_of(root) || (root == vq_in(op, 0) && a->keep))
    return false;
  if (!reduced_dims(&view, root->type, &a->axes, axes, &n)) return false;
  vq_attrs_reduce_mean r = {.axes = {axes, n}, .keep = true};
  vq_value *y = vq_rw_build(rw, op->code, &root, 1, &r);
  const vq_type *t = op->out[0].type;
  return y && vq_rw_replace(rw, op, vq_rw_reshape(rw, y, t->rank, t->dim),
                            NULL);
}

static_assert(sizeof(vq_attrs_reduce_mean) == sizeof(vq_attrs_reduce_sum) &&
                  sizeof(vq_attrs_reduce_mean) == sizeof(vq_attrs_reduce_max),
              "reductions share their attributes");
