// Operators that select elements by index.
//
// The IR has one indexing op, gather along an axis. With indices that are
// known now, everything else reduces to it: GatherND and GatherElements gather
// from a flattened operand, and a scatter is a gather from data and updates
// side by side, which also works when the data are not known.
#include "import.h"

#include "vq/eval.h"
#include "vq/strbuf.h"

static vq_status out_of_range(vq_ox_node *nd, int64_t index, int64_t dim) {
  return vq_ox_fail(nd, VQ_E_op_operand, "index %lld is outside a dimension of "
                    "%lld", (long long)index, (long long)dim);
}

// Indices with negative ones counted from the end.
static vq_ox_val *wrapped(vq_ox_node *nd, vq_ox_val *index, int64_t dim) {
  if (!index || vq_ox_ready(nd->ox, nd->loc, index))
    return NULL;
  const vq_type *t = index->type;
  if (!index->data) {
    vq_ox_val *i = vq_ox_to_dtype(nd, index, VQ_i64);
    vq_ox_val *zero = vq_ox_reshape(nd, vq_ox_vec_i64(nd, 1, (int64_t[]){0}),
                                    0, NULL);
    vq_ox_val *size = vq_ox_reshape(nd, vq_ox_vec_i64(nd, 1, &dim), 0, NULL);
    return vq_ox_select(nd, vq_ox_op2(nd, VQ_OP_less, i, zero),
                        vq_ox_op2(nd, VQ_OP_add, i, size), i);
  }
  void *data;
  vq_ox_val *v = vq_ox_const(nd, VQ_i64, t->rank, t->dim, &data);
  for (int64_t k = 0, n = vq_type_count(t); v && k < n; k++) {
    int64_t i = vq_load_i64(t->dtype, index->data, k);
    if (i < -dim || i >= dim) {
      out_of_range(nd, i, dim);
      return NULL;
    }
    vq_store_i64(VQ_i64, data, k, i < 0 ? i + dim : i);
  }
  return v;
}

vq_status vq_onnx_gather(vq_ox_node *nd) {
  int64_t axis = 0;
  if (vq_ox_ready(nd->ox, nd->loc, nd->in[0]) ||
      vq_ox_attr_i64(nd, "axis", &axis) ||
      vq_ox_axis(nd, &axis, nd->in[0]->type->rank))
    return VQ_ERR;
  vq_ox_val *index = wrapped(nd, nd->in[1], nd->in[0]->type->dim[axis]);
  if (!index)
    return VQ_ERR;
  return vq_ox_result(nd, 0,
                      vq_ox_take(nd, nd->in[0], index, (unsigned)axis));
}

static vq_ox_val *flat(vq_ox_node *nd, vq_ox_val *x, int64_t rows) {
  int64_t n = vq_type_count(x->type);
  return vq_ox_reshape(nd, x, 2, (int64_t[]){rows, rows ? n / rows : 0});
}

// Walks the elements of `t` in order: the next position, last axis fastest.
static void advance(const vq_type *t, int64_t *pos) {
  for (unsigned k = t->rank; k-- > 0;) {
    if (++pos[k] < t->dim[k])
      return;
    pos[k] = 0;
  }
}

// The place in `data` that element-wise indices along `axis` point to.
static vq_status element_places(vq_ox_node *nd, const vq_type *data,
                                const vq_ox_val *index, int64_t axis,
                                int64_t *place) {
  const vq_type *t = index->type;
  int64_t pos[VQ_MAX_RANK] = {0}, stride[VQ_MAX_RANK];
  bool fits = t->rank == data->rank;
  for (unsigned k = 0; fits && k < t->rank; k++)
    fits = k == axis || t->dim[k] <= data->dim[k];
  if (!fits)
    return vq_ox_fail(nd, VQ_E_shape, "the indices do not fit the data");
  vq_type_strides(data, stride);
  for (int64_t j = 0, n = vq_type_count(t); j < n; j++, advance(t, pos)) {
    int64_t i = vq_load_i64(t->dtype, index->data, j), dim = data->dim[axis];
    if (i < -dim || i >= dim)
      return out_of_range(nd, i, dim);
    place[j] = (i < 0 ? i + dim : i) * stride[axis];
    for (unsigned k = 0; k < t->rank; k++)
      place[j] += k == axis ? 0 : pos[k] * stride[k];
  }
  return VQ_OK;
}

vq_status vq_onnx_gather_elements(vq_ox_node *nd) {
  int64_t axis = 0;
  vq_ox_val *x = nd->in[0];
  if (vq_ox_ready(nd->ox, nd->loc, x) || vq_ox_need_const(nd, 1, "indices") ||
      vq_ox_attr_i64(nd, "axis", &axis) ||
      vq_ox_axis(nd, &axis, x->type->rank))
    return VQ_ERR;
  const vq_type *t = nd->in[1]->type;
  void *place;
  vq_ox_val *index = vq_ox_const(nd, VQ_i64, t->rank, t->dim, &place);
  if (!index || element_places(nd, x->type, nd->in[1], axis, place))
    return VQ_ERR;
  int64_t n = vq_type_count(x->type);
  return vq_ox_result(nd, 0,
                      vq_ox_take(nd, vq_ox_reshape(nd, x, 1, &n), index, 0));
}

// Rows that tuples of indices point to: `t` is [.., k], a tuple addresses the
// dimensions from `batch` on; earlier ones are those of the tuple itself.
static vq_status tuple_places(vq_ox_node *nd, const vq_type *data,
                              const vq_ox_val *index, int64_t batch,
                              int64_t *place) {
  const vq_type *t = index->type;
  int64_t k = t->dim[t->rank - 1], n = k ? vq_type_count(t) / k : 0;
  int64_t per_batch = 1;
  for (unsigned d = (unsigned)batch; d + 1 < t->rank; d++)
    per_batch *= t->dim[d];
  for (int64_t j = 0; j < n; j++) {
    int64_t row = batch ? j / per_batch : 0;
    for (int64_t d = 0; d < k; d++) {
      int64_t dim = data->dim[batch + d];
      int64_t i = vq_load_i64(t->dtype, index->data, j * k + d);
      if (i < -dim || i >= dim)
        return out_of_range(nd, i, dim);
      row = row * dim + (i < 0 ? i + dim : i);
    }
    place[j] = row;
  }
  return VQ_OK;
}

// Checks the form of tuples; *rows is how many places they can name.
static vq_status check_tuples(vq_ox_node *nd, int64_t batch, int64_t *rows) {
  if (vq_ox_ready(nd->ox, nd->loc, nd->in[0]) ||
      vq_ox_need_const(nd, 1, "indices"))
    return VQ_ERR;
  const vq_type *x = nd->in[0]->type, *t = nd->in[1]->type;
  int64_t k = t->rank ? t->dim[t->rank - 1] : 0;
  if (k < 1 || batch < 0 || batch >= t->rank || batch > x->rank ||
      k > x->rank - batch)
    return vq_ox_fail(nd, VQ_E_shape, "indices of %lld dimensions do not fit "
                      "data of rank %u", (long long)k, x->rank);
  *rows = 1;
  for (unsigned d = 0; d < batch + k; d++) {
    if (d < batch && x->dim[d] != t->dim[d])
      return vq_ox_fail(nd, VQ_E_shape, "batch dimension %u is %lld and %lld",
                        d, (long long)x->dim[d], (long long)t->dim[d]);
    *rows *= x->dim[d];
  }
  return VQ_OK;
}

vq_status vq_onnx_gather_nd(vq_ox_node *nd) {
  int64_t batch = 0, rows, dim[2 * VQ_MAX_RANK];
  if (vq_ox_attr_i64(nd, "batch_dims", &batch) ||
      check_tuples(nd, batch, &rows))
    return VQ_ERR;
  const vq_type *x = nd->in[0]->type, *t = nd->in[1]->type;
  unsigned n = 0, lead = t->rank - 1;
  for (; n < lead; n++)
    dim[n] = t->dim[n];
  for (unsigned k = (unsigned)(batch + t->dim[lead]); k < x->rank; k++)
    dim[n++] = x->dim[k];
  void *place;
  vq_ox_val *index = vq_ox_const(nd, VQ_i64, lead, t->dim, &place);
  if (!index || tuple_places(nd, x, nd->in[1], batch, place))
    return VQ_ERR;
  vq_ox_val *y = vq_ox_take(nd, flat(nd, nd->in[0], rows), index, 0);
  return vq_ox_result(nd, 0, vq_ox_reshape(nd, y, n, dim));
}

// ---- scatter -------------------------------------------------------------------

static vq_status no_reduction(vq_ox_node *nd) {
  vq_str how = VQ_LIT("none");
  if (vq_ox_attr_str(nd, "reduction", &how))
    return VQ_ERR;
  if (vq_str_is(how, "none"))
    return VQ_OK;
  return vq_ox_fail(nd, VQ_E_unsupported, "only reduction 'none' is accepted");
}

// `rows` rows of the data, of which row place[j] comes from row j of updates.
static vq_status scatter(vq_ox_node *nd, int64_t rows, int64_t n,
                         const int64_t *place) {
  const vq_type *t = nd->in[0]->type;
  void *data;
  if (n == 0 || rows == 0)
    return vq_ox_result(nd, 0, nd->in[0]);
  vq_ox_val *index = vq_ox_const(nd, VQ_i64, 1, &rows, &data);
  if (!index)
    return VQ_ERR;
  int64_t *from = data;
  for (int64_t i = 0; i < rows; i++)
    from[i] = i;
  for (int64_t j = 0; j < n; j++)
    from[place[j]] = rows + j;
  vq_ox_val *part[2] = {flat(nd, nd->in[0], rows), flat(nd, nd->in[2], n)};
  vq_ox_val *y = vq_ox_take(nd, vq_ox_join(nd, 2, part, 0), index, 0);
  return vq_ox_result(nd, 0, vq_ox_reshape(nd, y, t->rank, t->dim));
}

static int64_t *places(vq_ox_node *nd, int64_t n) {
  void *data;
  return vq_ox_const(nd, VQ_i64, 1, &n, &data) ? data : NULL;
}

vq_status vq_onnx_scatter_nd(vq_ox_node *nd) {
  int64_t rows;
  if (no_reduction(nd) || check_tuples(nd, 0, &rows) ||
      vq_ox_ready(nd->ox, nd->loc, nd->in[2]))
    return VQ_ERR;
  const vq_type *x = nd->in[0]->type, *t = nd->in[1]->type;
  const vq_type *u = nd->in[2]->type;
  unsigned lead = t->rank - 1, k = (unsigned)t->dim[lead];
  bool fits = u->rank == lead + x->rank - k;
  int64_t n = 1;
  for (unsigned d = 0; fits && d < u->rank; d++) {
    fits = u->dim[d] == (d < lead ? t->dim[d] : x->dim[d - lead + k]);
    n *= d < lead ? t->dim[d] : 1;
  }
  if (!fits)
    return vq_ox_fail(nd, VQ_E_shape, "the updates do not fit the indices and "
                      "the data");
  int64_t *place = places(nd, n);
  if (!place || tuple_places(nd, x, nd->in[1], 0, place))
    return VQ_ERR;
  return scatter(nd, rows, n, place);
}

vq_status vq_onnx_scatter_elements(vq_ox_node *nd) {
  int64_t axis = 0;
  vq_ox_val *x = nd->in[0];
  if (no_reduction(nd) || vq_ox_ready(nd->ox, nd->loc, x) ||
      vq_ox_need_const(nd, 1, "indices") ||
      vq_ox_ready(nd->ox, nd->loc, nd->in[2]) ||
      vq_ox_attr_i64(nd, "axis", &axis) ||
      vq_ox_axis(nd, &axis, x->type->rank))
    return VQ_ERR;
  const vq_type *t = nd->in[1]->type, *u = nd->in[2]->type;
  if (u->rank != t->rank || memcmp(u->dim, t->dim, t->rank * sizeof *t->dim))
    return vq_ox_fail(nd, VQ_E_shape, "updates and indices differ in shape");
  int64_t n = vq_type_count(t), *place = places(nd, n);
  if (!place || element_places(nd, x->type, nd->in[1], axis, place))
    return VQ_ERR;
  return scatter(nd, vq_type_count(x->type), n, place);
}

// ---- masks and sums ------------------------------------------------------------

// A constant [rows, cols] of `dtype`: 1 where lo <= column - row <= hi.
static vq_ox_val *band(vq_ox_node *nd, vq_dtype dtype, int64_t rows,
                       int64_t cols, int64_t lo, int64_t hi) {
  void *data;
  vq_ox_val *v = vq_ox_const(nd, dtype, 2, (int64_t[]){rows, cols}, &data);
  for (int64_t i = 0; v && i < rows; i++)
    for (int64_t j = 0; j < cols; j++)
      vq_store_i64(dtype, data, i * cols + j, j - i >= lo && j - i <= hi);
  return v;
}

vq_status vq_onnx_trilu(vq_ox_node *nd) {
  bool upper = true;
  int64_t k = 0;
  vq_ox_val *x = nd->in[0];
  if (vq_ox_ready(nd->ox, nd->loc, x) ||
      vq_ox_attr_flag(nd, "upper", &upper) ||
      (vq_ox_has(nd, 1) && vq_ox_scalar_i64(nd, 1, "k", &k)))
    return VQ_ERR;
  unsigned rank = x->type->rank;
  if (rank < 2)
    return vq_ox_fail(nd, VQ_E_shape, "found rank %u, expected at least 2",
                      rank);
  vq_ox_val *mask = band(nd, VQ_bool, x->type->dim[rank - 2],
                         x->type->dim[rank - 1], upper ? k : INT64_MIN,
                         upper ? INT64_MAX : k);
  const vq_type *scalar =
      vq_type_tensor(nd->ox->ctx, x->type->dtype, 0, NULL, NULL);
  return vq_ox_result(
      nd, 0, vq_ox_select(nd, mask, x, vq_ox_fill(nd, scalar, 0)));
}

vq_status vq_onnx_cum_sum(vq_ox_node *nd) {
  bool exclusive = false, reverse = false;
  int64_t axis, dim[3] = {1, 1, 1};
  vq_ox_val *x = nd->in[0];
  if (vq_ox_ready(nd->ox, nd->loc, x) ||
      vq_ox_scalar_i64(nd, 1, "axis", &axis) ||
      vq_ox_attr_flag(nd, "exclusive", &exclusive) ||
      vq_ox_attr_flag(nd, "reverse", &reverse) ||
      vq_ox_axis(nd, &axis, x->type->rank))
    return VQ_ERR;
  const vq_type *t = x->type;
  for (unsigned k = 0; k < t->rank; k++)
    dim[k < axis ? 0 : k == axis ? 1 : 2] *= t->dim[k];
  int64_t n = t->dim[axis], skip = exclusive ? 1 : 0;
  vq_ox_val *triangle = band(nd, t->dtype, n, n, reverse ? skip : INT64_MIN,
                             reverse ? INT64_MAX : -skip);
  vq_ox_val *y = vq_ox_matmul(nd, triangle, vq_ox_reshape(nd, x, 3, dim));
  return vq_ox_result(nd, 0, vq_ox_reshape(nd, y, t->rank, t->dim));
}

vq_status vq_onnx_one_hot(vq_ox_node *nd) {
  int64_t axis = -1, depth;
  if (vq_ox_ready(nd->ox, nd->loc, nd->in[0]) ||
      vq_ox_ready(nd->ox, nd->loc, nd->in[2]) ||
      vq_ox_scalar_i64(nd, 1, "depth", &depth) ||
      vq_ox_attr_i64(nd, "axis", &axis))
    return VQ_ERR;
  const vq_type *t = nd->in[0]->type, *v = nd->in[2]->type;
  int64_t dim[VQ_MAX_RANK + 1], range[VQ_MAX_RANK + 1];
  if (t->rank == VQ_MAX_RANK || v->rank != 1 || v->dim[0] != 2 || depth < 1)
    return vq_ox_fail(nd, VQ_E_shape, "depth is %lld, expected at least 1 and "
                      "two values", (long long)depth);
  if (vq_ox_axis(nd, &axis, t->rank + 1u))
    return VQ_ERR;
  for (unsigned k = 0; k <= t->rank; k++) {
    dim[k] = k == axis ? 1 : t->dim[k - (k > axis)];
    range[k] = k == axis ? depth : 1;
  }
  void *data;
  vq_ox_val *number = vq_ox_const(nd, VQ_i64, t->rank + 1u, range, &data);
  for (int64_t i = 0; number && i < depth; i++)
    vq_store_i64(VQ_i64, data, i, i);
  // Out of range is never equal, so only negative indices need care.
  vq_ox_val *i = vq_ox_to_dtype(nd, nd->in[0], VQ_i64);
  vq_ox_val *zero = vq_ox_vec_i64(nd, 1, (int64_t[]){0});
  vq_ox_val *size = vq_ox_vec_i64(nd, 1, &depth);
  i = vq_ox_reshape(nd, i, t->rank + 1u, dim);
  i = vq_ox_select(nd, vq_ox_op2(nd, VQ_OP_less, i, zero),
                   vq_ox_op2(nd, VQ_OP_add, i, size), i);
  vq_ox_val *hit = vq_ox_op2(nd, VQ_OP_equal, i, number);
  vq_ox_val *off = vq_ox_slice_axis(nd, nd->in[2], 0, 0, 1, 1);
  vq_ox_val *on = vq_ox_slice_axis(nd, nd->in[2], 0, 1, 1, 1);
  return vq_ox_result(nd, 0, vq_ox_select(nd, hit, on, off));
}
