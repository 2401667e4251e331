// Shapes: what only renames dimensions, and movement without indices.
#include "import.h"

#include "vq/eval.h"

vq_status vq_onnx_identity(vq_ox_node *nd) {
  return vq_ox_result(nd, 0, nd->in[0]);
}

// Inference only; the mask says that nothing was dropped.
vq_status vq_onnx_dropout(vq_ox_node *nd) {
  int64_t training = 0;
  if (vq_ox_has(nd, 2) && vq_ox_scalar_i64(nd, 2, "training_mode", &training))
    return VQ_ERR;
  if (training)
    return vq_ox_fail(nd, VQ_E_unsupported, "training mode is not accepted");
  if (vq_ox_ready(nd->ox, nd->loc, nd->in[0]))
    return VQ_ERR;
  if (nd->n_out > 1) {
    const vq_type *t = nd->in[0]->type;
    t = vq_type_tensor(nd->ox->ctx, VQ_bool, t->rank, t->dim, NULL);
    if (vq_ox_result(nd, 1, vq_ox_fill(nd, t, 1)))
      return VQ_ERR;
  }
  return vq_ox_result(nd, 0, nd->in[0]);
}

// Shapes are known, so operands are looked at but not used.
vq_status vq_onnx_shape(vq_ox_node *nd) {
  const vq_ox_val *x = nd->in[0];
  if (!x->type)
    return vq_ox_fail(nd, VQ_E_op_operand, "operand 0 is no tensor");
  int64_t rank = x->type->rank, start = 0, end = rank;
  if (vq_ox_attr_i64(nd, "start", &start) || vq_ox_attr_i64(nd, "end", &end))
    return VQ_ERR;
  start = start < -rank ? 0 : start < 0 ? start + rank : start;
  end = end < -rank ? 0 : end < 0 ? end + rank : end > rank ? rank : end;
  int64_t n = end > start ? end - start : 0;
  return vq_ox_result(
      nd, 0, vq_ox_vec_i64(nd, (unsigned)n, n ? x->type->dim + start : NULL));
}

vq_status vq_onnx_size(vq_ox_node *nd) {
  if (!nd->in[0]->type)
    return vq_ox_fail(nd, VQ_E_op_operand, "operand 0 is no tensor");
  int64_t n = vq_type_count(nd->in[0]->type);
  return vq_ox_result(nd, 0,
                      vq_ox_reshape(nd, vq_ox_vec_i64(nd, 1, &n), 0, NULL));
}

// ---- reshape -------------------------------------------------------------------

// Replaces 0 (same as before) and -1 (the rest) in `dim`.
static vq_status resolve(vq_ox_node *nd, const vq_type *from, bool allow_zero,
                         unsigned n, int64_t *dim) {
  int64_t known = 1, count = vq_type_count(from);
  int rest = -1;
  for (unsigned i = 0; i < n; i++) {
    if (dim[i] == 0 && !allow_zero) {
      if (i >= from->rank)
        return vq_ox_fail(nd, VQ_E_shape, "dimension %u is copied from an "
                          "operand of rank %u", i, from->rank);
      dim[i] = from->dim[i];
    }
    if (dim[i] == -1 && rest < 0)
      rest = (int)i;
    else if (dim[i] < 0 || __builtin_mul_overflow(known, dim[i], &known))
      return vq_ox_fail(nd, VQ_E_shape, "dimension %u is %lld", i,
                        (long long)dim[i]);
  }
  if (rest < 0 ? known == count : known && count % known == 0) {
    if (rest >= 0)
      dim[rest] = count / known;
    return VQ_OK;
  }
  vq_ox_fail(nd, VQ_E_shape, "%lld elements do not fit the new shape, which "
             "has %s%lld", (long long)count, rest < 0 ? "" : "a multiple of ",
             (long long)known);
  int64_t batch = nd->ox->summary->batch;
  if (rest < 0 && batch > 1 && known > 0 && count && count % batch == 0 &&
      known % (count / batch) == 0)
    vq_note(nd->ox->diag, nd->loc, "the exporter fixed the batch in this shape: "
            "only --batch=%lld fits; models take any number of samples when "
            "they run", (long long)(known / (count / batch)));
  return VQ_ERR;
}

// With a fixed batch of 1 inside a model whose inputs leave it open, [1, -1, d]
// silently makes one sample of all. No exporter writes this for another
// purpose, but it may be right, so it is no error.
static vq_status check_batch(vq_ox_node *nd, vq_ints shape) {
  int64_t batch = nd->ox->summary->batch;
  const vq_type *from = nd->in[0]->type;
  bool rest = false;
  for (unsigned i = 1; i < shape.n; i++)
    rest |= shape.p[i] == -1;
  if (batch == 1 || nd->ox->summary->batch_baked || nd->in[0]->data || !rest ||
      shape.p[0] != 1 || !from->rank || from->dim[0] != batch)
    return VQ_OK;
  if (vq_warn(nd->ox->diag, VQ_E_dynamic, nd->loc, "Reshape: the new shape "
              "makes one sample of a batch of %lld: the exporter may have "
              "fixed a batch of 1 here", (long long)batch))
    return VQ_ERR;
  vq_note(nd->ox->diag, nd->loc, "--batch=1 is safe; models take any number of "
          "samples when they run");
  return VQ_OK;
}

vq_status vq_onnx_reshape(vq_ox_node *nd) {
  vq_ints shape;
  bool allow_zero = false;
  int64_t dim[VQ_MAX_RANK];
  if (vq_ox_ready(nd->ox, nd->loc, nd->in[0]) ||
      vq_ox_ints(nd, 1, "shape", &shape) ||
      vq_ox_attr_flag(nd, "allowzero", &allow_zero))
    return VQ_ERR;
  if (shape.n > VQ_MAX_RANK)
    return vq_ox_fail(nd, VQ_E_shape, "the new rank is %u, expected at most %d",
                      shape.n, VQ_MAX_RANK);
  if (shape.n)
    memcpy(dim, shape.p, shape.n * sizeof *dim);
  if (check_batch(nd, shape) || resolve(nd, nd->in[0]->type, allow_zero, shape.n, dim))
    return VQ_ERR;
  return vq_ox_result(nd, 0, vq_ox_reshape(nd, nd->in[0], shape.n, dim));
}

vq_status vq_onnx_flatten(vq_ox_node *nd) {
  int64_t axis = 1, dim[2] = {1, 1};
  if (vq_ox_ready(nd->ox, nd->loc, nd->in[0]) ||
      vq_ox_attr_i64(nd, "axis", &axis))
    return VQ_ERR;
  const vq_type *t = nd->in[0]->type;
  if (axis < -(int64_t)t->rank || axis > t->rank)
    return vq_ox_fail(nd, VQ_E_op_attribute, "axis %lld is outside rank %u",
                      (long long)axis, t->rank);
  axis += axis < 0 ? t->rank : 0;
  for (unsigned k = 0; k < t->rank; k++)
    dim[k >= axis] *= t->dim[k];
  return vq_ox_result(nd, 0, vq_ox_reshape(nd, nd->in[0], 2, dim));
}

vq_status vq_onnx_squeeze(vq_ox_node *nd) {
  vq_ints axes;
  bool given, drop[VQ_MAX_RANK] = {false};
  if (vq_ox_ready(nd->ox, nd->loc, nd->in[0]) ||
      vq_ox_ints_either(nd, "axes", 1, &axes, &given))
    return VQ_ERR;
  const vq_type *t = nd->in[0]->type;
  for (unsigned k = 0; k < t->rank && !given; k++)
    drop[k] = t->dim[k] == 1;
  for (unsigned i = 0; i < axes.n; i++) {
    int64_t axis = axes.p[i];
    if (vq_ox_axis(nd, &axis, t->rank))
      return VQ_ERR;
    if (t->dim[axis] != 1)
      return vq_ox_fail(nd, VQ_E_shape, "dimension %lld is %lld, expected 1",
                        (long long)axis, (long long)t->dim[axis]);
    drop[axis] = true;
  }
  int64_t dim[VQ_MAX_RANK];
  unsigned n = 0;
  for (unsigned k = 0; k < t->rank; k++)
    if (!drop[k])
      dim[n++] = t->dim[k];
  return vq_ox_result(nd, 0, vq_ox_reshape(nd, nd->in[0], n, dim));
}

vq_status vq_onnx_unsqueeze(vq_ox_node *nd) {
  vq_ints axes;
  bool given, added[VQ_MAX_RANK] = {false};
  if (vq_ox_ready(nd->ox, nd->loc, nd->in[0]) ||
      vq_ox_ints_either(nd, "axes", 1, &axes, &given))
    return VQ_ERR;
  const vq_type *t = nd->in[0]->type;
  unsigned rank = t->rank + axes.n;
  if (!given || axes.n > VQ_MAX_RANK || rank > VQ_MAX_RANK)
    return vq_ox_fail(nd, VQ_E_shape, "found %u axes for rank %u, expected a "
                      "rank of at most %d", axes.n, t->rank, VQ_MAX_RANK);
  for (unsigned i = 0; i < axes.n; i++) {
    int64_t axis = axes.p[i];
    if (vq_ox_axis(nd, &axis, rank))
      return VQ_ERR;
    if (added[axis])
      return vq_ox_fail(nd, VQ_E_op_attribute, "axis %lld is given twice",
                        (long long)axis);
    added[axis] = true;
  }
  int64_t dim[VQ_MAX_RANK];
  for (unsigned k = 0, from = 0; k < rank; k++)
    dim[k] = added[k] ? 1 : t->dim[from++];
  return vq_ox_result(nd, 0, vq_ox_reshape(nd, nd->in[0], rank, dim));
}

// ---- movement ------------------------------------------------------------------

vq_status vq_onnx_transpose(vq_ox_node *nd) {
  if (vq_ox_ready(nd->ox, nd->loc, nd->in[0]))
    return VQ_ERR;
  unsigned rank = nd->in[0]->type->rank;
  int64_t perm[VQ_MAX_RANK];
  vq_ints given = VQ_NO_INTS;
  bool seen[VQ_MAX_RANK] = {false};
  if (vq_ox_attr_ints(nd, "perm", &given))
    return VQ_ERR;
  for (unsigned k = 0; k < rank; k++)
    perm[k] = rank - 1 - k;
  if (vq_ox_attr(nd, "perm")) {
    if (given.n != rank)
      return vq_ox_fail(nd, VQ_E_op_attribute, "attribute 'perm' has %u "
                        "entries, expected %u", given.n, rank);
    for (unsigned k = 0; k < rank; k++) {
      perm[k] = given.p[k];
      if (vq_ox_axis(nd, &perm[k], rank))
        return VQ_ERR;
      if (seen[perm[k]])
        return vq_ox_fail(nd, VQ_E_op_attribute, "attribute 'perm' has %lld "
                          "twice", (long long)perm[k]);
      seen[perm[k]] = true;
    }
  }
  return vq_ox_result(nd, 0, vq_ox_transpose(nd, nd->in[0], perm));
}

vq_status vq_onnx_expand(vq_ox_node *nd) {
  vq_ints shape;
  if (vq_ox_ready(nd->ox, nd->loc, nd->in[0]) ||
      vq_ox_ints(nd, 1, "shape", &shape))
    return VQ_ERR;
  return vq_ox_result(nd, 0,
                      vq_ox_expand_to(nd, nd->in[0], shape.n, shape.p));
}

// Each repeated dimension d becomes 1 x d, is expanded to n x d, and joined.
vq_status vq_onnx_tile(vq_ox_node *nd) {
  vq_ints times;
  if (vq_ox_ready(nd->ox, nd->loc, nd->in[0]) ||
      vq_ox_ints(nd, 1, "repeats", &times))
    return VQ_ERR;
  vq_ox_val *x = nd->in[0];
  unsigned rank = x->type->rank;
  if (times.n != rank)
    return vq_ox_fail(nd, VQ_E_op_operand, "operand 'repeats' has %u entries, "
                      "expected %u", times.n, rank);
  for (unsigned k = 0; k < rank && x; k++) {
    if (times.p[k] == 1)
      continue;
    int64_t split[3] = {1, 1, 1}, wide[3], dim[VQ_MAX_RANK];
    memcpy(dim, x->type->dim, sizeof dim);
    for (unsigned i = 0; i < rank; i++)
      split[i < k ? 0 : 2] *= dim[i];
    memcpy(wide, split, sizeof wide);
    wide[1] = times.p[k];
    if (wide[1] < 0 || __builtin_mul_overflow(dim[k], wide[1], &dim[k]))
      return vq_ox_fail(nd, VQ_E_shape, "repeats dimension %u %lld times", k,
                        (long long)wide[1]);
    x = vq_ox_reshape(nd, x, 3, split);
    x = vq_ox_reshape(nd, vq_ox_expand_to(nd, x, 3, wide), rank, dim);
  }
  return vq_ox_result(nd, 0, x);
}

// Operands without elements are left out unless all are.
vq_status vq_onnx_concat(vq_ox_node *nd) {
  int64_t axis = nd->opset < 4 ? 1 : 0;
  if (vq_ox_attr_i64(nd, "axis", &axis))
    return VQ_ERR;
  vq_ox_val **part = VQ_NEW_N(&nd->ox->tmp, vq_ox_val *, nd->n_in);
  unsigned n = 0;
  for (unsigned i = 0; i < nd->n_in; i++) {
    if (!nd->in[i])
      return vq_ox_fail(nd, VQ_E_op_operand, "operand %u is missing", i);
    if (vq_ox_ready(nd->ox, nd->loc, nd->in[i]))
      return VQ_ERR;
    if (vq_type_count(nd->in[i]->type) || (i + 1 == nd->n_in && n == 0))
      part[n++] = nd->in[i];
  }
  if (vq_ox_axis(nd, &axis, part[0]->type->rank))
    return VQ_ERR;
  return vq_ox_result(nd, 0, vq_ox_join(nd, n, part, (unsigned)axis));
}

// ---- split ---------------------------------------------------------------------

// Sizes of the `n` parts of `dim`: given, or as equal as can be.
static vq_status part_sizes(vq_ox_node *nd, int64_t dim, vq_ints given,
                            unsigned n, int64_t *size) {
  int64_t sum = 0, each = n ? (dim + n - 1) / n : 0;
  if (given.n && given.n != n)
    return vq_ox_fail(nd, VQ_E_op_operand, "'split' has %u sizes for %u "
                      "results", given.n, n);
  for (unsigned i = 0; i < n; i++) {
    int64_t rest = dim - sum;
    size[i] = given.n ? given.p[i] : rest < each ? rest : each;
    if (size[i] < 0 || size[i] > rest)
      return vq_ox_fail(nd, VQ_E_shape, "part %u of a dimension of %lld has "
                        "size %lld, but %lld are left", i, (long long)dim,
                        (long long)size[i], (long long)rest);
    sum += size[i];
  }
  if (sum != dim)
    return vq_ox_fail(nd, VQ_E_shape, "parts add up to %lld of %lld",
                      (long long)sum, (long long)dim);
  return VQ_OK;
}

vq_status vq_onnx_split(vq_ox_node *nd) {
  int64_t axis = 0, n_part = nd->n_out;
  vq_ints given;
  bool found;
  vq_ox_val *x = nd->in[0];
  if (vq_ox_ready(nd->ox, nd->loc, x) || vq_ox_attr_i64(nd, "axis", &axis) ||
      vq_ox_axis(nd, &axis, x->type->rank) ||
      vq_ox_ints_either(nd, "split", 1, &given, &found) ||
      vq_ox_attr_i64(nd, "num_outputs", &n_part))
    return VQ_ERR;
  if (n_part != nd->n_out)
    return vq_ox_fail(nd, VQ_E_op_attribute, "attribute 'num_outputs' is %lld "
                      "for %u results", (long long)n_part, nd->n_out);
  int64_t *size = VQ_NEW_N(&nd->ox->tmp, int64_t, nd->n_out);
  if (part_sizes(nd, x->type->dim[axis], given, nd->n_out, size))
    return VQ_ERR;
  int64_t begin = 0;
  for (unsigned i = 0; i < nd->n_out; begin += size[i++])
    if (vq_ox_result(nd, i, vq_ox_slice_axis(nd, x, (unsigned)axis, begin,
                                             size[i], 1)))
      return VQ_ERR;
  return VQ_OK;
}

vq_status vq_onnx_split_to_sequence(vq_ox_node *nd) {
  int64_t axis = 0;
  bool keep = true;
  vq_ox_val *x = nd->in[0];
  if (vq_ox_ready(nd->ox, nd->loc, x) || vq_ox_attr_i64(nd, "axis", &axis) ||
      vq_ox_axis(nd, &axis, x->type->rank) ||
      vq_ox_attr_flag(nd, "keepdims", &keep))
    return VQ_ERR;
  int64_t dim = x->type->dim[axis];
  vq_ints given = VQ_NO_INTS;
  bool list = vq_ox_has(nd, 1), each = !list;
  int64_t step = 1;
  if (list && (vq_ox_need_const(nd, 1, "split")))
    return VQ_ERR;
  if (list && vq_type_count(nd->in[1]->type) == 1) {
    each = true;
    keep = true;
    if (vq_ox_scalar_i64(nd, 1, "split", &step))
      return VQ_ERR;
  } else if (list && vq_ox_ints(nd, 1, "split", &given)) {
    return VQ_ERR;
  }
  keep |= given.n > 0;
  if (step < 1)
    return vq_ox_fail(nd, VQ_E_op_operand, "parts have size %lld",
                      (long long)step);
  int64_t n = each ? dim / step + (dim % step != 0) : given.n;
  if (vq_ox_spend(nd, (uint64_t)n * 64))
    return VQ_ERR;
  int64_t *size = VQ_NEW_N(&nd->ox->tmp, int64_t, (size_t)n);
  for (int64_t i = 0; each && i < n; i++)
    size[i] = dim - i * step < step ? dim - i * step : step;
  if (!each && part_sizes(nd, dim, given, given.n, size))
    return VQ_ERR;
  vq_ox_val *s = vq_ox_val_new(nd->ox, NULL);
  s->elem = VQ_NEW_N(&nd->ox->tmp, vq_ox_val *, (size_t)n);
  s->n_elem = (uint32_t)n;
  int64_t begin = 0;
  for (int64_t i = 0; i < n; begin += size[i++]) {
    vq_ox_val *v =
        vq_ox_slice_axis(nd, x, (unsigned)axis, begin, size[i], 1);
    int64_t shape[VQ_MAX_RANK];
    unsigned rank = 0;
    for (unsigned k = 0; k < x->type->rank && !keep; k++)
      if (k != axis)
        shape[rank++] = x->type->dim[k];
    if (!keep)
      v = vq_ox_reshape(nd, v, rank, shape);
    if (!(s->elem[i] = v))
      return VQ_ERR;
  }
  return vq_ox_result(nd, 0, s);
}

// ---- blocks --------------------------------------------------------------------

static vq_status block_operand(vq_ox_node *nd, int64_t *block) {
  *block = 0;
  if (vq_ox_ready(nd->ox, nd->loc, nd->in[0]) ||
      vq_ox_attr_i64(nd, "blocksize", block))
    return VQ_ERR;
  if (nd->in[0]->type->rank != 4 || *block < 1 || *block > 1 << 20)
    return vq_ox_fail(nd, VQ_E_shape, "found rank %u and block size %lld, "
                      "expected rank 4 and a positive size",
                      nd->in[0]->type->rank, (long long)*block);
  return VQ_OK;
}

vq_status vq_onnx_depth_to_space(vq_ox_node *nd) {
  int64_t b;
  vq_str mode = VQ_LIT("DCR");
  if (block_operand(nd, &b) || vq_ox_attr_str(nd, "mode", &mode))
    return VQ_ERR;
  const int64_t *d = nd->in[0]->type->dim;
  int64_t c = d[1] / (b * b), out[] = {d[0], c, d[2] * b, d[3] * b};
  bool crd = vq_str_is(mode, "CRD");
  int64_t dcr_shape[] = {d[0], b, b, c, d[2], d[3]};
  int64_t crd_shape[] = {d[0], c, b, b, d[2], d[3]};
  static const int64_t dcr_perm[] = {0, 3, 4, 1, 5, 2};
  static const int64_t crd_perm[] = {0, 1, 4, 2, 5, 3};
  vq_ox_val *x = vq_ox_reshape(nd, nd->in[0], 6, crd ? crd_shape : dcr_shape);
  x = vq_ox_transpose(nd, x, crd ? crd_perm : dcr_perm);
  return vq_ox_result(nd, 0, vq_ox_reshape(nd, x, 4, out));
}

vq_status vq_onnx_space_to_depth(vq_ox_node *nd) {
  int64_t b;
  vq_str mode = VQ_LIT("DCR");
  if (block_operand(nd, &b) || vq_ox_attr_str(nd, "mode", &mode))
    return VQ_ERR;
  const int64_t *d = nd->in[0]->type->dim;
  int64_t h = d[2] / b, w = d[3] / b, out[] = {d[0], d[1] * b * b, h, w};
  int64_t shape[] = {d[0], d[1], h, b, w, b};
  bool crd = vq_str_is(mode, "CRD");
  static const int64_t dcr_perm[] = {0, 3, 5, 1, 2, 4};
  static const int64_t crd_perm[] = {0, 1, 3, 5, 2, 4};
  vq_ox_val *x = vq_ox_reshape(nd, nd->in[0], 6, shape);
  x = vq_ox_transpose(nd, x, crd ? crd_perm : dcr_perm);
  return vq_ox_result(nd, 0, vq_ox_reshape(nd, x, 4, out));
}
