// Type inference of matrix products, convolutions and the rest of a network.
#include "core/infer.h"
#include "vq/exp2.h"
#include "vq/strbuf.h"

#define ATTRS(op) const vq_attrs_##op *a = r->attrs

static const int64_t max_dim = (int64_t)1 << 40;

vq_status vq_infer_matmul(vq_rule *r) {
  ATTRS(matmul);
  const vq_type *x = vq_rule_in(r, 0), *w = vq_rule_in(r, 1);
  if (vq_rule_min_rank(r, 0, 2) || vq_rule_min_rank(r, 1, 2) ||
      vq_rule_dtype(r, 1, x->dtype))
    return VQ_ERR;
  int64_t k = x->dim[x->rank - 1];
  int64_t wk = w->dim[w->rank - (a->transpose_b ? 1 : 2)];
  if (k != wk)
    return vq_rule_bad(r, VQ_E_shape, 1,
                       "which has k = %lld, expected %lld as in a",
                       (long long)wk, (long long)k);
  vq_type xb = *x, wb = *w;  // the batch dimensions alone
  xb.rank -= 2;
  wb.rank -= 2;
  int64_t dim[VQ_MAX_RANK];
  unsigned rank;
  if (!vq_broadcast(&xb, &wb, &rank, dim)) {
    vq_strbuf text = {0};
    vq_type_print(&text, x);
    vq_rule_bad(r, VQ_E_shape, 1,
                "whose batch dimensions do not broadcast with a %s",
                vq_strbuf_z(&text));
    vq_strbuf_release(&text);
    return VQ_ERR;
  }
  dim[rank] = x->dim[x->rank - 2];
  dim[rank + 1] = w->dim[w->rank - (a->transpose_b ? 2 : 1)];
  return vq_rule_result(r, x->dtype, rank + 2, dim);
}

// Inputs that lie side by side in a layout of pack_weight; 0 for any other layout.
static int64_t unit_of(vq_str layout) {
  static const char *const name[] = {"panel16", "panel16x2", "panel16x4", "panel16x8"};
  for (unsigned i = 0; i < VQ_COUNT(name); i++)
    if (vq_str_is(layout, name[i])) return INT64_C(1) << i;
  return 0;
}

// Shape of a weight of `out` rows of `k` in such a layout; its rank, or 0.
static unsigned packed_shape(vq_str layout, int64_t out, int64_t k, int64_t dim[5]) {
  int64_t unit = unit_of(layout);
  if (!unit) return 0;
  dim[0] = out / 16 + (out % 16 > 0), dim[1] = (k + unit - 1) / unit, dim[2] = 16;
  if (unit == 1) return 3;
  dim[3] = unit == 8 ? 4 : unit, dim[4] = 2;
  return unit == 8 ? 5 : 4;
}

// Codes take weights of i8 or i4 and a bias of i32 and give i32. Floats take weights of f32
// or bf16.
static vq_status check_weight_type(vq_rule *r, vq_dtype *to) {
  bool codes = vq_rule_in(r, 0)->dtype != VQ_f32;
  vq_dtype w = vq_rule_in(r, 1)->dtype;
  *to = codes ? VQ_i32 : VQ_f32;
  if (!codes && w != VQ_f32 && w != VQ_bf16)
    return vq_rule_bad(r, VQ_E_dtype, 1, "expected element type f32 or bf16");
  if (codes && vq_rule_max_bits(r, 0, 16)) return VQ_ERR;
  if (codes && w != VQ_i8 && w != VQ_i4)
    return vq_rule_bad(r, VQ_E_dtype, 1, "expected element type i8 or i4");
  return r->n_in > 2 ? vq_rule_dtype(r, 2, *to) : VQ_OK;
}

// The weight operand (1) of linear and patch_embed with `k` inputs, plain or
// packed, and the bias; yields the number of outputs.
static vq_status check_weight(vq_rule *r, vq_str layout, int64_t out,
                              int64_t k, int64_t *n_out, vq_dtype *to) {
  const vq_type *w = vq_rule_in(r, 1);
  if (check_weight_type(r, to)) return VQ_ERR;
  int64_t want[5];
  unsigned rank = 2;
  if (vq_str_is(layout, "oi")) {
    if (vq_rule_rank(r, 1, 2)) return VQ_ERR;
    if (out != 0 && out != w->dim[0])
      return vq_rule_bad_attr(r, "out", "is %lld, expected 0 or %lld",
                              (long long)out, (long long)w->dim[0]);
    out = want[0] = w->dim[0], want[1] = k;
  } else if (!(rank = packed_shape(layout, out, k, want))) {
    return vq_rule_bad_attr(r, "layout",
                            "is '%.*s', expected oi, panel16, panel16x2, panel16x4 or "
                            "panel16x8",
                            VQ_FMT(layout));
  } else if (out < 1 || out > max_dim) {
    return vq_rule_bad_attr(r, "out", "is %lld, expected 1 or more",
                            (long long)out);
  }
  if (vq_rule_shape(r, 1, rank, want)) return VQ_ERR;
  *n_out = out;
  return vq_rule_shape(r, 2, 1, n_out);
}

vq_status vq_infer_linear(vq_rule *r) {
  ATTRS(linear);
  const vq_type *x = vq_rule_in(r, 0);
  if (vq_rule_min_rank(r, 0, 1)) return VQ_ERR;
  int64_t dim[VQ_MAX_RANK];
  vq_dtype to;
  memcpy(dim, x->dim, sizeof dim);
  if (check_weight(r, a->layout, a->out, x->dim[x->rank - 1],
                   &dim[x->rank - 1], &to))
    return VQ_ERR;
  if (vq_rule_fine(r, x->dtype, a->fine)) return VQ_ERR;
  return vq_rule_result(r, to, x->rank, dim);
}

vq_status vq_infer_pack_weight(vq_rule *r) {
  ATTRS(pack_weight);
  const vq_type *w = vq_rule_in(r, 0);
  if (vq_rule_rank(r, 0, 2)) return VQ_ERR;
  int64_t dim[5];
  unsigned rank = packed_shape(a->layout, w->dim[0], w->dim[1], dim);
  if (rank) return vq_rule_result(r, w->dtype, rank, dim);
  return vq_rule_bad_attr(r, "layout",
                          "is '%.*s', expected panel16, panel16x2, panel16x4 or panel16x8",
                          VQ_FMT(a->layout));
}

// Output size of one dimension of a convolution, or -1 when the kernel does
// not fit. All inputs are at most 2^40, so 128 bits cannot overflow.
static int64_t conv_out(int64_t in, int64_t before, int64_t after,
                        int64_t kernel, int64_t stride, int64_t dilation) {
  __int128 span = ((__int128)kernel - 1) * dilation + 1;
  __int128 room = (__int128)in + before + after - span;
  return kernel < 1 || room < 0 ? -1 : (int64_t)(room / stride + 1);
}

vq_status vq_infer_conv2d(vq_rule *r) {
  ATTRS(conv2d);
  const vq_type *x = vq_rule_in(r, 0), *w = vq_rule_in(r, 1);
  if (vq_rule_rank(r, 0, 4) || vq_rule_rank(r, 1, 4) ||
      vq_rule_ints(r, "stride", a->stride, 2, 1, max_dim) ||
      vq_rule_ints(r, "pad", a->pad, 4, 0, max_dim) ||
      vq_rule_ints(r, "dilation", a->dilation, 2, 1, max_dim))
    return VQ_ERR;
  if (a->groups < 1 || x->dim[1] % a->groups || w->dim[0] % a->groups)
    return vq_rule_bad_attr(r, "groups",
                            "is %lld, expected a divisor of %lld input and"
                            " %lld output channels",
                            (long long)a->groups, (long long)x->dim[1],
                            (long long)w->dim[0]);
  int64_t want[] = {w->dim[0], x->dim[1] / a->groups, w->dim[2], w->dim[3]};
  if (vq_rule_shape(r, 1, 4, want) || vq_rule_shape(r, 2, 1, &w->dim[0]))
    return VQ_ERR;
  int64_t dim[4] = {x->dim[0], w->dim[0]};
  for (int i = 0; i < 2; i++) {
    dim[2 + i] = conv_out(x->dim[2 + i], a->pad.p[i], a->pad.p[2 + i],
                          w->dim[2 + i], a->stride.p[i], a->dilation.p[i]);
    if (dim[2 + i] < 0)
      return vq_rule_bad(r, VQ_E_shape, 1,
                         "which does not fit the padded input in dimension %d",
                         2 + i);
  }
  return vq_rule_result(r, x->dtype, 4, dim);
}

vq_status vq_infer_patch_embed(vq_rule *r) {
  ATTRS(patch_embed);
  const vq_type *x = vq_rule_in(r, 0);
  if (vq_rule_rank(r, 0, 4) ||
      vq_rule_ints(r, "patch", a->patch, 2, 1, max_dim))
    return VQ_ERR;
  const int64_t *p = a->patch.p;
  if (x->dim[2] % p[0] || x->dim[3] % p[1])
    return vq_rule_bad(r, VQ_E_shape, 0,
                       "expected height and width in multiples of %lld and"
                       " %lld",
                       (long long)p[0], (long long)p[1]);
  int64_t k, n_out;
  vq_dtype to;
  if (__builtin_mul_overflow(p[0], p[1], &k) ||
      __builtin_mul_overflow(k, x->dim[1], &k) || k > max_dim)
    return vq_rule_bad_attr(r, "patch", "is too large");
  if (check_weight(r, a->layout, a->out, k, &n_out, &to)) return VQ_ERR;
  int64_t dim[] = {x->dim[0], (x->dim[2] / p[0]) * (x->dim[3] / p[1]), n_out};
  return vq_rule_result(r, to, 3, dim);
}

vq_status vq_infer_layer_norm(vq_rule *r) {
  ATTRS(layer_norm);
  const vq_type *x = vq_rule_in(r, 0);
  if (vq_rule_min_rank(r, 0, 1)) return VQ_ERR;
  const int64_t *d = &x->dim[x->rank - 1];
  if (vq_rule_shape(r, 1, 1, d) || vq_rule_shape(r, 2, 1, d)) return VQ_ERR;
  if (x->dtype != VQ_f32 && vq_rule_dtype(r, 0, VQ_i16)) return VQ_ERR;
  if (x->dtype == VQ_i16 && *d > 1 << 15)
    return vq_rule_bad(r, VQ_E_shape, 0, "expected rows of at most 32768 codes");
  if (!isfinite(a->eps) || a->eps < 0)
    return vq_rule_bad_attr(r, "eps", "is %g, expected 0 or more",
                            (double)a->eps);
  return vq_rule_result(r, VQ_f32, x->rank, x->dim);
}

vq_status vq_infer_layer_norm_grad(vq_rule *r) {
  ATTRS(layer_norm_grad);
  const vq_type *x = vq_rule_in(r, 0);
  if (vq_rule_min_rank(r, 0, 1) || vq_rule_shape(r, 1, x->rank, x->dim))
    return VQ_ERR;
  if (!isfinite(a->eps) || a->eps < 0)
    return vq_rule_bad_attr(r, "eps", "is %g, expected 0 or more",
                            (double)a->eps);
  return vq_rule_result(r, x->dtype, x->rank, x->dim);
}

vq_status vq_infer_variation(vq_rule *r) {
  if (vq_rule_rank(r, 0, 4)) return VQ_ERR;
  int64_t dim[] = {vq_rule_in(r, 0)->dim[0], 4};
  return vq_rule_result(r, vq_rule_in(r, 0)->dtype, 2, dim);
}

vq_status vq_infer_variation_grad(vq_rule *r) {
  if (vq_rule_rank(r, 0, 4)) return VQ_ERR;
  const vq_type *x = vq_rule_in(r, 0);
  int64_t g[] = {x->dim[0], 4};
  if (vq_rule_shape(r, 1, 2, g)) return VQ_ERR;
  return vq_rule_result_type(r, x);
}

vq_status vq_infer_softmax(vq_rule *r) {
  ATTRS(softmax);
  const vq_type *x = vq_rule_in(r, 0);
  if (vq_rule_min_rank(r, 0, 1)) return VQ_ERR;
  if (a->axis < -1 || a->axis >= x->rank)
    return vq_rule_bad_attr(r, "axis", "is %lld, expected -1 to %d",
                            (long long)a->axis, x->rank - 1);
  return vq_rule_result(r, x->dtype, x->rank, x->dim);
}

// bias [Bb, Hb, N, M], where Bb divides the batch and Hb the heads.
static vq_status check_bias(vq_rule *r, unsigned at, int64_t batch, int64_t heads,
                            int64_t n, int64_t m) {
  if (vq_rule_rank(r, at, 4)) return VQ_ERR;
  const vq_type *bias = vq_rule_in(r, at);
  if (bias->dim[0] < 1 || batch % bias->dim[0] || bias->dim[1] < 1 ||
      heads % bias->dim[1])
    return vq_rule_bad(r, VQ_E_shape, at,
                       "expected divisors of batch %lld and heads %lld first",
                       (long long)batch, (long long)heads);
  int64_t want[] = {bias->dim[0], bias->dim[1], n, m};
  return vq_rule_shape(r, at, 4, want);
}

// q, k and v.
static vq_status check_heads(vq_rule *r, int64_t heads, float scale) {
  const vq_type *q = vq_rule_in(r, 0), *k = vq_rule_in(r, 1),
                *v = vq_rule_in(r, 2);
  for (unsigned i = 0; i < 3; i++)
    if (vq_rule_rank(r, i, 3)) return VQ_ERR;
  if (heads < 1 || q->dim[2] % heads || v->dim[2] % heads)
    return vq_rule_bad_attr(r, "heads",
                            "is %lld, expected a divisor of widths %lld and"
                            " %lld",
                            (long long)heads, (long long)q->dim[2],
                            (long long)v->dim[2]);
  if (!isfinite(scale))
    return vq_rule_bad_attr(r, "scale", "is not finite");
  int64_t want_k[] = {q->dim[0], k->dim[1], q->dim[2]};
  int64_t want_v[] = {q->dim[0], k->dim[1], v->dim[2]};
  if (vq_rule_shape(r, 1, 3, want_k) || vq_rule_shape(r, 2, 3, want_v))
    return VQ_ERR;
  return VQ_OK;
}

vq_status vq_rule_heads(vq_rule *r, int64_t heads, float scale) {
  if (check_heads(r, heads, scale)) return VQ_ERR;
  const vq_type *q = vq_rule_in(r, 0), *v = vq_rule_in(r, 2);
  if (r->n_in > 3 && check_bias(r, 3, q->dim[0], heads, q->dim[1], v->dim[1]))
    return VQ_ERR;
  int64_t dim[] = {q->dim[0], q->dim[1], v->dim[2]};
  return vq_rule_result(r, VQ_f32, 3, dim);
}

vq_status vq_infer_attention(vq_rule *r) {
  ATTRS(attention);
  static const char *const form[] = {"", "uniform", "log2", "log-sqrt2"};
  bool known = false;
  for (size_t i = 0; i < VQ_COUNT(form); i++)
    known |= vq_str_is(a->probability, form[i]);
  if (!known)
    return vq_rule_bad_attr(r, "probability",
                            "is '%.*s', expected uniform, log2 or log-sqrt2",
                            VQ_FMT(a->probability));
  if (a->probability_bits < 0 || a->probability_bits > VQ_EXP2_BITS)
    return vq_rule_bad_attr(r, "probability_bits", "is %lld, expected 0 to %d",
                            (long long)a->probability_bits, VQ_EXP2_BITS);
  return vq_rule_heads(r, a->heads, a->scale);
}

vq_status vq_infer_attention_softmax(vq_rule *r) {
  ATTRS(attention_softmax);
  if (vq_rule_rank(r, 0, 3) || vq_rule_rank(r, 1, 3)) return VQ_ERR;
  const int64_t *q = vq_rule_in(r, 0)->dim, *k = vq_rule_in(r, 1)->dim;
  if (a->heads < 1 || q[2] % a->heads)
    return vq_rule_bad_attr(r, "heads", "is %lld, expected a divisor of width %lld",
                            (long long)a->heads, (long long)q[2]);
  if (!isfinite(a->scale)) return vq_rule_bad_attr(r, "scale", "is not finite");
  int64_t want[] = {q[0], k[1], q[2]}, dim[] = {q[0], a->heads, q[1], k[1]};
  if (vq_rule_shape(r, 1, 3, want) ||
      (r->n_in > 2 && check_bias(r, 2, q[0], a->heads, q[1], k[1])))
    return VQ_ERR;
  return vq_rule_result(r, VQ_f32, 4, dim);
}

vq_status vq_infer_attention_grad(vq_rule *r) {
  ATTRS(attention_grad);
  if (check_heads(r, a->heads, a->scale)) return VQ_ERR;
  const int64_t *q = vq_rule_in(r, 0)->dim, *v = vq_rule_in(r, 2)->dim;
  int64_t g[] = {q[0], q[1], v[2]}, p[] = {q[0], a->heads, q[1], v[1]};
  if (vq_rule_shape(r, 3, 3, g) || vq_rule_shape(r, 4, 4, p)) return VQ_ERR;
  int64_t dim[] = {q[0], q[1] * q[2] + v[1] * q[2] + v[1] * v[2]};
  return vq_rule_result(r, VQ_f32, 2, dim);
}
