// Resize: every interpolation along an axis is a matrix.
//
// Row i of the matrix holds the weights with which the elements of the axis
// make element i of the result, so linear and cubic resizing of a position
// table (or of a feature map) is one product per axis, and nothing here needs
// to know whether the operand is constant. Nearest is a gather.
#include "import.h"

#include <math.h>

#include "vq/eval.h"

typedef enum interpolation { NEAREST, LINEAR, CUBIC } interpolation;
typedef enum coordinate {
  HALF_PIXEL,
  HALF_PIXEL_SYMMETRIC,
  PYTORCH_HALF_PIXEL,
  ALIGN_CORNERS,
  ASYMMETRIC,
  N_COORDINATES
} coordinate;
typedef enum rounding { PREFER_FLOOR, PREFER_CEIL, FLOOR, CEIL, N_ROUNDINGS } rounding;

typedef enum policy { STRETCH, NOT_LARGER, NOT_SMALLER, N_POLICIES } policy;

typedef struct resize {
  interpolation how;
  coordinate where;
  rounding nearest;
  policy aspect;
  double a;  // cubic coefficient
  bool exclude_outside, antialias;
} resize;

static int find(vq_str s, const char *const *names, int n) {
  int i = 0;
  while (i < n && !vq_str_is(s, names[i]))
    i++;
  return i;
}

static vq_status read_mode(vq_ox_node *nd, resize *r) {
  static const char *const how[] = {"nearest", "linear", "cubic"};
  static const char *const where[] = {
    [HALF_PIXEL] = "half_pixel",
    [HALF_PIXEL_SYMMETRIC] = "half_pixel_symmetric",
    [PYTORCH_HALF_PIXEL] = "pytorch_half_pixel",
    [ALIGN_CORNERS] = "align_corners",
    [ASYMMETRIC] = "asymmetric",
  };
  static const char *const nearest[] = {
    [PREFER_FLOOR] = "round_prefer_floor", [PREFER_CEIL] = "round_prefer_ceil",
    [FLOOR] = "floor", [CEIL] = "ceil"};
  static const char *const aspect[] = {
    [STRETCH] = "stretch", [NOT_LARGER] = "not_larger",
    [NOT_SMALLER] = "not_smaller"};
  vq_str h = VQ_LIT("nearest"), w = VQ_LIT("half_pixel");
  vq_str n = VQ_LIT("round_prefer_floor"), p = VQ_LIT("stretch");
  float a = -0.75f;
  if (vq_ox_attr_str(nd, "mode", &h) ||
      vq_ox_attr_str(nd, "coordinate_transformation_mode", &w) ||
      vq_ox_attr_str(nd, "nearest_mode", &n) ||
      vq_ox_attr_str(nd, "keep_aspect_ratio_policy", &p) ||
      vq_ox_attr_flag(nd, "antialias", &r->antialias) ||
      vq_ox_attr_flag(nd, "exclude_outside", &r->exclude_outside) ||
      vq_ox_attr_f32(nd, "cubic_coeff_a", &a))
    return VQ_ERR;
  r->how = (interpolation)find(h, how, 3);
  r->where = (coordinate)find(w, where, N_COORDINATES);
  r->nearest = (rounding)find(n, nearest, N_ROUNDINGS);
  r->aspect = (policy)find(p, aspect, N_POLICIES);
  r->a = a;
  if (r->how > CUBIC || r->where == N_COORDINATES ||
      r->nearest == N_ROUNDINGS || r->aspect == N_POLICIES)
    return vq_ox_fail(nd, VQ_E_unsupported, "mode '%.*s' with coordinates "
                      "'%.*s', rounding '%.*s' and aspect policy '%.*s' is not "
                      "accepted", VQ_FMT(vq_ox_clean_name(nd->ox, h)),
                      VQ_FMT(vq_ox_clean_name(nd->ox, w)),
                      VQ_FMT(vq_ox_clean_name(nd->ox, n)),
                      VQ_FMT(vq_ox_clean_name(nd->ox, p)));
  return VQ_OK;
}

// Where element i of the result lies in the operand.
static double source(const resize *r, int64_t i, int64_t in, int64_t out,
                     double scale) {
  double x = (double)i, adjust;
  switch (r->where) {
    case HALF_PIXEL: return (x + 0.5) / scale - 0.5;
    case HALF_PIXEL_SYMMETRIC:
      adjust = (double)out / ((double)in * scale);
      return (double)in / 2 * (1 - adjust) + (x + 0.5) / scale - 0.5;
    case PYTORCH_HALF_PIXEL: return out > 1 ? (x + 0.5) / scale - 0.5 : 0;
    case ALIGN_CORNERS:  // counts the part of an element that `out` drops
      adjust = (double)in * scale - 1;
      return out > 1 ? x * (double)(in - 1) / adjust : 0;
    case ASYMMETRIC: return x / scale;
    case N_COORDINATES: break;
  }
  return x;
}

// Weight of an element at distance d.
static double weight(const resize *r, double d) {
  double a = r->a;
  d = fabs(d);
  if (r->how == LINEAR)
    return d < 1 ? 1 - d : 0;
  if (d < 1)
    return ((a + 2) * d - (a + 3)) * d * d + 1;
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

// The elements around x, weighted. Antialiasing stretches the weights over as
// many elements as make one of the result. What lies outside counts as the
// element at the border, or not at all.
static void fill_row(const resize *r, double x, int64_t in, double scale,
                     float *row) {
  double shrink = r->antialias && scale < 1 ? scale : 1, sum = 0;
  double reach = (r->how == LINEAR ? 1 : 2) / shrink;
  int64_t first = (int64_t)ceil(x - reach), last = (int64_t)floor(x + reach);
  for (int64_t i = first; i <= last; i++)
    if (!r->exclude_outside || (i >= 0 && i < in))
      sum += weight(r, ((double)i - x) * shrink);
  for (int64_t i = first; i <= last; i++) {
    int64_t at = i < 0 ? 0 : i >= in ? in - 1 : i;
    if (!r->exclude_outside || at == i)
      row[at] += (float)(weight(r, ((double)i - x) * shrink) / sum);
  }
}

static int64_t nearest(const resize *r, double x, int64_t in) {
  double i = x;
  switch (r->nearest) {
    case PREFER_FLOOR: i = ceil(x - 0.5); break;
    case PREFER_CEIL: i = floor(x + 0.5); break;
    case FLOOR: i = floor(x); break;
    case CEIL: i = ceil(x); break;
    case N_ROUNDINGS: break;
  }
  return i < 0 ? 0 : i >= (double)in ? in - 1 : (int64_t)i;
}

static vq_ox_val *along(vq_ox_node *nd, const resize *r, vq_ox_val *x,
                        unsigned axis, int64_t out, double scale) {
  const vq_type *t = x->type;
  int64_t in = t->dim[axis], dim[3] = {1, in, 1}, shape[VQ_MAX_RANK];
  void *data;
  // Of coordinates, beside that of the constants which hold them.
  enum { COORDINATE_WORK = 8 };
  if (vq_ox_spend(nd, (uint64_t)out * COORDINATE_WORK))
    return NULL;
  if (r->how == NEAREST) {
    vq_ox_val *index = vq_ox_const(nd, VQ_i64, 1, &out, &data);
    for (int64_t i = 0; index && i < out; i++)
      vq_store_i64(VQ_i64, data, i,
                   nearest(r, source(r, i, in, out, scale), in));
    return vq_ox_take(nd, x, index, axis);
  }
  for (unsigned k = 0; k < t->rank; k++) {
    shape[k] = k == axis ? out : t->dim[k];
    if (k != axis)
      dim[k < axis ? 0 : 2] *= t->dim[k];
  }
  vq_ox_val *w = vq_ox_const(nd, VQ_f32, 2, (int64_t[]){out, in}, &data);
  for (int64_t i = 0; w && i < out; i++)
    fill_row(r, source(r, i, in, out, scale), in, scale,
             (float *)data + i * in);
  vq_ox_val *y = vq_ox_matmul(nd, w, vq_ox_reshape(nd, x, 3, dim));
  return vq_ox_reshape(nd, y, t->rank, shape);
}

// One scale for all axes, so that the result fits into, or covers, the sizes.
static void keep_aspect(policy p, unsigned axes, const int64_t *dim,
                        int64_t *out, double *scale) {
  double one = scale[0];
  for (unsigned i = 1; i < axes; i++)
    if (p == NOT_LARGER ? scale[i] < one : scale[i] > one)
      one = scale[i];
  for (unsigned i = 0; i < axes; i++) {
    scale[i] = one;
    out[i] = (int64_t)floor((double)dim[i] * one + 0.5);
  }
}

// Sizes (operand 3) or scales (operand 2) per axis named.
static vq_status target(vq_ox_node *nd, const resize *r, unsigned axes,
                        const int64_t *dim, int64_t *out, double *scale) {
  vq_ints sizes = VQ_NO_INTS;
  bool by_size = vq_ox_has(nd, 3);
  if (by_size ? vq_ox_ints(nd, 3, "sizes", &sizes)
              : vq_ox_need_const(nd, 2, "scales"))
    return VQ_ERR;
  const vq_ox_val *scales = by_size ? NULL : nd->in[2];
  int64_t n = by_size ? sizes.n : vq_type_count(scales->type);
  if (n != axes)
    return vq_ox_fail(nd, VQ_E_op_operand, "found %lld sizes for %u axes",
                      (long long)n, axes);
  for (unsigned i = 0; i < axes; i++) {
    scale[i] = by_size ? (double)sizes.p[i] / (double)dim[i]
                       : vq_load_f64(scales->type->dtype, scales->data, i);
    if (!(scale[i] > 1e-6 && scale[i] < 1e6) || dim[i] < 1)
      return vq_ox_fail(nd, VQ_E_op_operand, "the scale of axis %u is %g", i,
                        scale[i]);
    out[i] = by_size ? sizes.p[i] : (int64_t)floor((double)dim[i] * scale[i]);
  }
  if (by_size && r->aspect != STRETCH)
    keep_aspect(r->aspect, axes, dim, out, scale);
  return VQ_OK;
}

vq_status vq_onnx_resize(vq_ox_node *nd) {
  resize r = {0};
  vq_ox_val *x = nd->in[0];
  vq_ints axes = VQ_NO_INTS;
  if (vq_ox_ready(nd->ox, nd->loc, x) || read_mode(nd, &r) ||
      vq_ox_attr_ints(nd, "axes", &axes))
    return VQ_ERR;
  unsigned rank = x->type->rank, n = axes.n ? axes.n : rank;
  int64_t axis[VQ_MAX_RANK], dim[VQ_MAX_RANK], out[VQ_MAX_RANK];
  double scale[VQ_MAX_RANK];
  if (n > VQ_MAX_RANK)
    return vq_ox_fail(nd, VQ_E_op_attribute, "found %u axes", n);
  for (unsigned i = 0; i < n; i++) {
    axis[i] = axes.n ? axes.p[i] : i;
    if (vq_ox_axis(nd, &axis[i], rank))
      return VQ_ERR;
    dim[i] = x->type->dim[axis[i]];
  }
  if (target(nd, &r, n, dim, out, scale))
    return VQ_ERR;
  for (unsigned i = 0; i < n && x; i++)
    if (out[i] != dim[i] || scale[i] != 1.0)
      x = along(nd, &r, x, (unsigned)axis[i], out[i], scale[i]);
  return vq_ox_result(nd, 0, x);
}
