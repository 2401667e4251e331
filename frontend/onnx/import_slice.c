// Slice and Pad: ranges inside and beyond an operand.
#include "import.h"

#include "vq/eval.h"

// ---- slice ---------------------------------------------------------------------

typedef struct ranges {
  vq_ints start, end, axis, step;
} ranges;

static vq_status read_ranges(vq_ox_node *nd, ranges *r) {
  bool found;
  *r = (ranges){VQ_NO_INTS, VQ_NO_INTS, VQ_NO_INTS, VQ_NO_INTS};
  if (vq_ox_ints_either(nd, "starts", 1, &r->start, &found) ||
      vq_ox_ints_either(nd, "ends", 2, &r->end, &found) ||
      vq_ox_ints_either(nd, "axes", 3, &r->axis, &found) ||
      (vq_ox_has(nd, 4) && vq_ox_ints(nd, 4, "steps", &r->step)))
    return VQ_ERR;
  uint32_t n = r->start.n;
  if (r->end.n == n && (!r->axis.n || r->axis.n == n) &&
      (!r->step.n || r->step.n == n))
    return VQ_OK;
  return vq_ox_fail(nd, VQ_E_op_operand, "found %u starts, %u ends, %u axes "
                    "and %u steps", n, r->end.n, r->axis.n, r->step.n);
}

// numpy's rule: negative positions count from the end, then everything is
// clamped to the dimension.
static int64_t clamp(int64_t v, int64_t dim, int64_t lo, int64_t hi) {
  if (v < 0)
    v += dim;
  return v < lo ? lo : v > hi ? hi : v;
}

// First element and number of elements of one range.
static int64_t range_of(int64_t start, int64_t end, int64_t *step, int64_t dim,
                        int64_t *begin) {
  bool back = *step < 0;
  // A longer step than the dimension takes one element as well.
  if (*step > dim)
    *step = dim ? dim : 1;
  else if (*step < -dim)
    *step = dim ? -dim : -1;
  *begin = clamp(start, dim, 0, back ? dim - 1 : dim);
  int64_t stop = clamp(end, dim, back ? -1 : 0, back ? dim - 1 : dim);
  int64_t span = back ? *begin - stop : stop - *begin;
  int64_t each = back ? -*step : *step;
  return span > 0 ? (span + each - 1) / each : 0;
}

vq_status vq_onnx_slice(vq_ox_node *nd) {
  ranges r;
  vq_ox_val *x = nd->in[0];
  if (vq_ox_ready(nd->ox, nd->loc, x) || read_ranges(nd, &r))
    return VQ_ERR;
  unsigned rank = x->type->rank;
  int64_t b[VQ_MAX_RANK] = {0}, n[VQ_MAX_RANK], s[VQ_MAX_RANK];
  bool hit[VQ_MAX_RANK] = {false}, back = false, all = true, stepped = false;
  for (unsigned k = 0; k < rank; k++) {
    n[k] = x->type->dim[k];
    s[k] = 1;
  }
  for (unsigned i = 0; i < r.start.n; i++) {
    int64_t axis = r.axis.n ? r.axis.p[i] : i;
    int64_t step = r.step.n ? r.step.p[i] : 1;
    if (vq_ox_axis(nd, &axis, rank))
      return VQ_ERR;
    if (hit[axis] || step == 0)
      return vq_ox_fail(nd, VQ_E_op_operand, "axis %lld is given twice or has "
                        "step 0", (long long)axis);
    hit[axis] = true;
    n[axis] = range_of(r.start.p[i], r.end.p[i], &step, x->type->dim[axis],
                       &b[axis]);
    s[axis] = n[axis] > 1 ? step : 1;
    b[axis] = n[axis] ? b[axis] : 0;
    back |= s[axis] < 0;
    stepped |= s[axis] > 1;
    all &= n[axis] == x->type->dim[axis] && s[axis] == 1;
  }
  if (all)
    return vq_ox_result(nd, 0, x);
  if (!back) {
    vq_attrs_slice attrs = {.begin = {b, rank}, .size = {n, rank}};
    if (stepped)
      attrs.step = (vq_ints){s, rank};
    return vq_ox_result(nd, 0, vq_ox_emit(nd, VQ_OP_slice, &attrs, 1, &x));
  }
  for (unsigned k = 0; k < rank; k++)
    if (hit[k])
      x = vq_ox_take_range(nd, x, k, b[k], n[k], s[k]);
  return vq_ox_result(nd, 0, x);
}

// ---- pad -----------------------------------------------------------------------

// Where position `i` of a padded dimension comes from.
static int64_t mirrored(int64_t i, int64_t dim, vq_str mode) {
  if (vq_str_is(mode, "edge"))
    return i < 0 ? 0 : i >= dim ? dim - 1 : i;
  if (vq_str_is(mode, "wrap"))
    return (i % dim + dim) % dim;
  int64_t period = dim > 1 ? 2 * (dim - 1) : 1;
  i = (i % period + period) % period;
  return i < dim ? i : period - i;
}

static vq_ox_val *pad_by_index(vq_ox_node *nd, vq_ox_val *x, unsigned axis,
                               int64_t lo, int64_t hi, vq_str mode) {
  int64_t dim = x->type->dim[axis], n = dim + lo + hi;
  void *data;
  if (dim < 1 || n < 0) {
    vq_ox_fail(nd, VQ_E_shape, "dimension %u of %lld cannot be padded", axis,
               (long long)dim);
    return NULL;
  }
  vq_ox_val *index = vq_ox_const(nd, VQ_i64, 1, &n, &data);
  for (int64_t i = 0; index && i < n; i++)
    vq_store_i64(VQ_i64, data, i, mirrored(i - lo, dim, mode));
  return vq_ox_take(nd, x, index, axis);
}

// Pads of all axes: lo[k] and hi[k], 0 for those not named.
static vq_status read_pads(vq_ox_node *nd, int64_t *lo, int64_t *hi) {
  enum { MAX_PAD = 1 << 30 };
  vq_ints pads, axes = VQ_NO_INTS;
  bool found;
  unsigned rank = nd->in[0]->type->rank;
  if (vq_ox_ints_either(nd, "pads", 1, &pads, &found) ||
      (vq_ox_has(nd, 3) && vq_ox_ints(nd, 3, "axes", &axes)))
    return VQ_ERR;
  uint32_t n = vq_ox_has(nd, 3) ? axes.n : rank;
  if (pads.n != 2 * n)
    return vq_ox_fail(nd, VQ_E_op_operand, "found %u pads for %u axes", pads.n,
                      n);
  for (uint32_t i = 0; i < n; i++) {
    int64_t axis = vq_ox_has(nd, 3) ? axes.p[i] : i;
    if (vq_ox_axis(nd, &axis, rank))
      return VQ_ERR;
    lo[axis] = pads.p[i];
    hi[axis] = pads.p[n + i];
    if (lo[axis] < -MAX_PAD || lo[axis] > MAX_PAD || hi[axis] < -MAX_PAD ||
        hi[axis] > MAX_PAD)
      return vq_ox_fail(nd, VQ_E_limit, "pads of more than %d", MAX_PAD);
  }
  return VQ_OK;
}

// Negative pads remove elements.
static vq_ox_val *crop(vq_ox_node *nd, vq_ox_val *x, int64_t *lo,
                       int64_t *hi) {
  for (unsigned k = 0; x && k < x->type->rank; k++) {
    int64_t cut_lo = lo[k] < 0 ? -lo[k] : 0, cut_hi = hi[k] < 0 ? -hi[k] : 0;
    int64_t rest = x->type->dim[k] - cut_lo - cut_hi;
    if (rest < 0) {
      vq_ox_fail(nd, VQ_E_shape, "dimension %u has no %lld elements to remove",
                 k, (long long)(cut_lo + cut_hi));
      return NULL;
    }
    lo[k] += cut_lo;
    hi[k] += cut_hi;
    x = vq_ox_slice_axis(nd, x, k, rest ? cut_lo : 0, rest, 1);
  }
  return x;
}

vq_status vq_onnx_pad(vq_ox_node *nd) {
  vq_str mode = VQ_LIT("constant");
  int64_t lo[VQ_MAX_RANK] = {0}, hi[VQ_MAX_RANK] = {0};
  float value = 0;
  vq_ox_val *x = nd->in[0];
  if (vq_ox_ready(nd->ox, nd->loc, x) || vq_ox_attr_str(nd, "mode", &mode) ||
      read_pads(nd, lo, hi) || vq_ox_attr_f32(nd, "value", &value) ||
      (vq_ox_has(nd, 2) && vq_ox_scalar_f32(nd, 2, "constant_value", &value)))
    return VQ_ERR;
  bool constant = vq_str_is(mode, "constant");
  if (!constant && !vq_str_is(mode, "edge") && !vq_str_is(mode, "wrap") &&
      !vq_str_is(mode, "reflect"))
    return vq_ox_fail(nd, VQ_E_op_attribute, "attribute 'mode' is unknown");
  x = crop(nd, x, lo, hi);
  bool any = false;
  for (unsigned k = 0; x && k < x->type->rank; k++) {
    any |= lo[k] || hi[k];
    if (!constant && (lo[k] || hi[k]))
      x = pad_by_index(nd, x, k, lo[k], hi[k], mode);
  }
  if (x && any && constant) {
    unsigned rank = x->type->rank;
    vq_attrs_pad attrs = {.lo = {lo, rank}, .hi = {hi, rank}, .value = value};
    x = vq_ox_emit(nd, VQ_OP_pad, &attrs, 1, &x);
  }
  return vq_ox_result(nd, 0, x);
}
