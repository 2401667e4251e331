// Attention operators, spelled out as products and a softmax, which is the
// form every exporter's own spelling has.
#include "import.h"

#include <math.h>

#include "vq/eval.h"

// What the dialects have in common. q [B, h, N, d], k [B, g, M, d] and
// v [B, g, M, e]; h is a multiple of g.
typedef struct heads {
  vq_ox_val *q, *k, *v;
  vq_ox_val *bias;  // f32, broadcasts to [B, h, N, M]; may be NULL
  bool guard;       // bias may exclude all keys of a query
  float scale, softcap;
  vq_ox_val *score, *capped, *biased, *share;  // steps on the way
} heads;

static vq_status need_rank(vq_ox_node *nd, const vq_ox_val *x, unsigned rank,
                           const char *what) {
  if (!x || x->type->rank == rank)
    return x ? VQ_OK : VQ_ERR;
  return vq_ox_fail(nd, VQ_E_shape, "%s has rank %u, expected %u", what,
                    x->type->rank, rank);
}

// [B, N, h*d] to [B, h, N, d].
static vq_ox_val *split_heads(vq_ox_node *nd, vq_ox_val *x, int64_t h) {
  if (!x || need_rank(nd, x, 3, "an operand"))
    return NULL;
  const int64_t *d = x->type->dim;
  if (h < 1 || d[2] % h) {
    vq_ox_fail(nd, VQ_E_shape, "%lld features do not divide into %lld heads",
               (long long)d[2], (long long)h);
    return NULL;
  }
  int64_t dim[] = {d[0], d[1], h, d[2] / h};
  static const int64_t perm[] = {0, 2, 1, 3};
  return vq_ox_transpose(nd, vq_ox_reshape(nd, x, 4, dim), perm);
}

static vq_ox_val *join_heads(vq_ox_node *nd, vq_ox_val *x) {
  static const int64_t perm[] = {0, 2, 1, 3};
  x = vq_ox_transpose(nd, x, perm);
  if (!x)
    return NULL;
  const int64_t *d = x->type->dim;
  return vq_ox_reshape(nd, x, 3, (int64_t[]){d[0], d[1], d[2] * d[3]});
}

// Repeats each of g key heads for the h / g query heads that share it.
static vq_ox_val *repeat_heads(vq_ox_node *nd, vq_ox_val *x, int64_t h) {
  const int64_t *d = x->type->dim;
  int64_t g = d[1];
  if (g == h)
    return x;
  if (g < 1 || h % g) {
    vq_ox_fail(nd, VQ_E_shape, "%lld query heads cannot share %lld key heads",
               (long long)h, (long long)g);
    return NULL;
  }
  int64_t one[] = {d[0], g, 1, d[2], d[3]}, many[] = {d[0], g, h / g, d[2], d[3]};
  int64_t out[] = {d[0], h, d[2], d[3]};
  x = vq_ox_expand_to(nd, vq_ox_reshape(nd, x, 5, one), 5, many);
  return vq_ox_reshape(nd, x, 4, out);
}

static bool any_true(const vq_ox_val *v) {
  for (int64_t i = 0, n = vq_type_count(v->type); i < n; i++)
    if (vq_load_i64(VQ_bool, v->data, i))
      return true;
  return false;
}

// A query all of whose keys are excluded attends to nothing, instead of NaN.
static vq_ox_val *guard(vq_ox_node *nd, const heads *a, vq_ox_val *share) {
  int64_t axis = (int64_t)a->bias->type->rank - 1;
  vq_ox_val *top = vq_ox_reduce(nd, VQ_OP_reduce_max, a->bias,
                                (vq_ints){&axis, 1}, true);
  vq_ox_val *none = vq_ox_op2(nd, VQ_OP_equal, top, vq_ox_f32(nd, -INFINITY));
  if (!none || (none->data && !any_true(none)))
    return none ? share : NULL;
  return vq_ox_select(nd, none, vq_ox_f32(nd, 0), share);
}

static vq_ox_val *attend(vq_ox_node *nd, heads *a) {
  if (need_rank(nd, a->q, 4, "the query") || need_rank(nd, a->k, 4, "the key") ||
      need_rank(nd, a->v, 4, "the value"))
    return NULL;
  int64_t h = a->q->type->dim[1];
  vq_ox_val *k = repeat_heads(nd, a->k, h), *v = repeat_heads(nd, a->v, h);
  vq_ox_val *s = vq_ox_matmul(nd, a->q, vq_ox_swap_last(nd, k));
  a->score = s = vq_ox_scale(nd, s, a->scale);
  if (a->softcap > 0) {
    s = vq_ox_op1(nd, VQ_OP_tanh, vq_ox_scale(nd, s, 1.0f / a->softcap));
    s = vq_ox_scale(nd, s, a->softcap);
  }
  a->capped = s;
  if (a->bias)
    s = vq_ox_op2(nd, VQ_OP_add, s, a->bias);
  a->biased = s;
  vq_ox_val *p = s ? vq_ox_softmax_axis(nd, s, s->type->rank - 1) : NULL;
  if (p && a->bias && a->guard)
    p = guard(nd, a, p);
  a->share = p;
  return vq_ox_matmul(nd, p, v);
}

// ---- masks ---------------------------------------------------------------------

// 0 where true, -infinity where false.
static vq_ox_val *from_bool(vq_ox_node *nd, vq_ox_val *mask) {
  return vq_ox_select(nd, mask, vq_ox_f32(nd, 0), vq_ox_f32(nd, -INFINITY));
}

static vq_ox_val *plus(vq_ox_node *nd, vq_ox_val *a, vq_ox_val *b) {
  return a ? vq_ox_op2(nd, VQ_OP_add, a, b) : b;
}

// Query i, at position i + past, may see keys within [-left, right] of it;
// negative bounds do not bind.
static vq_ox_val *window_bias(vq_ox_node *nd, int64_t n, int64_t m,
                              int64_t past, int64_t left, int64_t right) {
  void *data;
  vq_ox_val *v = vq_ox_const(nd, VQ_f32, 2, (int64_t[]){n, m}, &data);
  for (int64_t i = 0; v && i < n; i++)
    for (int64_t j = 0; j < m; j++) {
      int64_t d = j - i - past;
      bool out = (left >= 0 && d < -left) || (right >= 0 && d > right);
      ((float *)data)[i * m + j] = out ? -INFINITY : 0.0f;
    }
  return v;
}

// The mask operand as an additive bias over `m` keys; a shorter one excludes
// the rest.
static vq_ox_val *mask_bias(vq_ox_node *nd, vq_ox_val *mask, int64_t m) {
  if (vq_ox_ready(nd->ox, nd->loc, mask))
    return NULL;
  if (mask->type->dtype == VQ_bool)
    mask = from_bool(nd, mask);
  if (!mask || !mask->type->rank)
    return mask;
  unsigned rank = mask->type->rank;
  int64_t have = mask->type->dim[rank - 1];
  int64_t lo[VQ_MAX_RANK] = {0}, hi[VQ_MAX_RANK] = {0};
  if (have >= m || have == 1)
    return mask;
  hi[rank - 1] = m - have;
  vq_attrs_pad attrs = {.lo = {lo, rank}, .hi = {hi, rank},
                        .value = -INFINITY};
  return vq_ox_emit(nd, VQ_OP_pad, &attrs, 1, &mask);
}

// ---- ai.onnx Attention ---------------------------------------------------------

typedef struct options {
  int64_t causal, q_heads, kv_heads, mode, left, right, precision;
} options;

static vq_status read_options(vq_ox_node *nd, options *o, heads *a) {
  *o = (options){.left = -1, .right = -1};
  a->scale = NAN;
  if (vq_ox_attr_i64(nd, "is_causal", &o->causal) ||
      vq_ox_attr_i64(nd, "q_num_heads", &o->q_heads) ||
      vq_ox_attr_i64(nd, "kv_num_heads", &o->kv_heads) ||
      vq_ox_attr_i64(nd, "qk_matmul_output_mode", &o->mode) ||
      vq_ox_attr_i64(nd, "left_window_size", &o->left) ||
      vq_ox_attr_i64(nd, "right_window_size", &o->right) ||
      vq_ox_attr_i64(nd, "softmax_precision", &o->precision) ||
      vq_ox_attr_f32(nd, "scale", &a->scale) ||
      vq_ox_attr_f32(nd, "softcap", &a->softcap))
    return VQ_ERR;
  for (unsigned i = 0; i < nd->n_in; i++)
    if (nd->in[i] && vq_ox_ready(nd->ox, nd->loc, nd->in[i]))
      return VQ_ERR;
  if (vq_ox_has(nd, 6))
    return vq_ox_fail(nd, VQ_E_unsupported, "operand 'nonpad_kv_seqlen' is not "
                      "accepted");
  if (vq_ox_has(nd, 4) != vq_ox_has(nd, 5))
    return vq_ox_fail(nd, VQ_E_op_operand, "past key and value must come "
                      "together");
  return VQ_OK;
}

// Earlier keys and values come before the new ones.
static int64_t with_past(vq_ox_node *nd, heads *a) {
  if (!vq_ox_has(nd, 4) || !a->k || !a->v)
    return 0;
  int64_t past = nd->in[4]->type->rank == 4 ? nd->in[4]->type->dim[2] : 0;
  a->k = vq_ox_join(nd, 2, (vq_ox_val *[]){nd->in[4], a->k}, 2);
  a->v = vq_ox_join(nd, 2, (vq_ox_val *[]){nd->in[5], a->v}, 2);
  return past;
}

static vq_status attention_bias(vq_ox_node *nd, const options *o, heads *a,
                                int64_t past) {
  int64_t n = a->q->type->dim[2], m = a->k->type->dim[2];
  if (vq_ox_has(nd, 3)) {
    a->guard = true;
    if (!(a->bias = mask_bias(nd, nd->in[3], m)))
      return VQ_ERR;
  }
  int64_t right = o->causal ? 0 : o->right;
  if (o->left < 0 && right < 0)
    return VQ_OK;
  a->guard |= o->left >= 0;
  a->bias = plus(nd, a->bias, window_bias(nd, n, m, past, o->left, right));
  return a->bias ? VQ_OK : VQ_ERR;
}

vq_status vq_onnx_attention(vq_ox_node *nd) {
  heads a = {.q = nd->in[0], .k = nd->in[1], .v = nd->in[2]};
  options o;
  if (read_options(nd, &o, &a))
    return VQ_ERR;
  bool flat = a.q->type->rank == 3;
  if (flat) {
    a.q = split_heads(nd, a.q, o.q_heads);
    a.k = split_heads(nd, a.k, o.kv_heads);
    a.v = split_heads(nd, a.v, o.kv_heads);
  }
  int64_t past = with_past(nd, &a);
  if (need_rank(nd, a.q, 4, "the query") || need_rank(nd, a.k, 4, "the key") ||
      attention_bias(nd, &o, &a, past))
    return VQ_ERR;
  if (isnan(a.scale))
    a.scale = (float)(1.0 / sqrt((double)a.q->type->dim[3]));
  vq_ox_val *y = attend(nd, &a);
  if (!y)
    return VQ_ERR;
  vq_ox_val *step[] = {a.score, a.capped, a.biased, a.share};
  if (o.mode < 0 || o.mode > 3)
    return vq_ox_fail(nd, VQ_E_op_attribute, "attribute "
                      "'qk_matmul_output_mode' is %lld", (long long)o.mode);
  if (vq_ox_result(nd, 1, a.k) || vq_ox_result(nd, 2, a.v) ||
      vq_ox_result(nd, 3, step[o.mode]))
    return VQ_ERR;
  return vq_ox_result(nd, 0, flat ? join_heads(nd, y) : y);
}

// ---- com.microsoft -------------------------------------------------------------

static vq_status ms_options(vq_ox_node *nd, heads *a, int64_t *n_head) {
  int64_t unidirectional = 0;
  float filter = -10000.0f;
  *n_head = 0;
  a->scale = 0;
  if (vq_ox_attr_i64(nd, "num_heads", n_head) ||
      vq_ox_attr_f32(nd, "scale", &a->scale) ||
      vq_ox_attr_f32(nd, "mask_filter_value", &filter) ||
      vq_ox_attr_i64(nd, "unidirectional", &unidirectional))
    return VQ_ERR;
  if (unidirectional)
    return vq_ox_fail(nd, VQ_E_unsupported, "attribute 'unidirectional' is not "
                      "accepted");
  for (unsigned i = 0; i < nd->n_in; i++)
    if (nd->in[i] && vq_ox_ready(nd->ox, nd->loc, nd->in[i]))
      return VQ_ERR;
  return VQ_OK;
}

static vq_status ms_attend(vq_ox_node *nd, heads *a) {
  if (!a->q || !a->k || !a->v)
    return VQ_ERR;
  if (a->scale == 0 && a->q->type->rank == 4)
    a->scale = (float)(1.0 / sqrt((double)a->q->type->dim[3]));
  vq_ox_val *y = attend(nd, a);
  vq_ox_no_result(nd, 1, "the cache of an attention is not computed");
  vq_ox_no_result(nd, 2, "the cache of an attention is not computed");
  return vq_ox_result(nd, 0, join_heads(nd, y));
}

// x [B, N, D] times weights [D, 3*H], plus a bias; H features each.
vq_status vq_onnx_ms_attention(vq_ox_node *nd) {
  heads a = {0};
  int64_t n_head, rotary = 0;
  vq_ints sizes = VQ_NO_INTS;
  if (ms_options(nd, &a, &n_head) ||
      vq_ox_attr_ints(nd, "qkv_hidden_sizes", &sizes) ||
      vq_ox_attr_i64(nd, "do_rotary", &rotary))
    return VQ_ERR;
  if (vq_ox_has(nd, 3) || vq_ox_has(nd, 4) || vq_ox_has(nd, 6) || rotary)
    return vq_ox_fail(nd, VQ_E_unsupported, "padding masks, a cache and rotary "
                      "positions are not accepted");
  vq_ox_val *x = vq_ox_matmul(nd, nd->in[0], nd->in[1]);
  if (x && vq_ox_has(nd, 2))
    x = vq_ox_op2(nd, VQ_OP_add, x, nd->in[2]);
  if (!x || need_rank(nd, x, 3, "the product"))
    return VQ_ERR;
  int64_t third = x->type->dim[2] / 3, size[3] = {third, third, third};
  if (sizes.n == 3)
    memcpy(size, sizes.p, sizeof size);
  vq_ox_val **part[] = {&a.q, &a.k, &a.v};
  int64_t begin = 0;
  for (unsigned i = 0; i < 3; begin += size[i++]) {
    if (size[i] < 1 || size[i] > x->type->dim[2] - begin)
      return vq_ox_fail(nd, VQ_E_shape, "%lld features do not divide into "
                        "three parts", (long long)x->type->dim[2]);
    *part[i] = split_heads(
        nd, vq_ox_slice_axis(nd, x, 2, begin, size[i], 1), n_head);
  }
  a.bias = vq_ox_has(nd, 5) ? nd->in[5] : NULL;
  return ms_attend(nd, &a);
}

// Separate operands q, k, v, then bias [3*H] and an additive bias.
vq_status vq_onnx_multi_head(vq_ox_node *nd) {
  heads a = {0};
  int64_t n_head, begin = 0;
  if (ms_options(nd, &a, &n_head))
    return VQ_ERR;
  if (!vq_ox_has(nd, 1) || !vq_ox_has(nd, 2) || vq_ox_has(nd, 4) ||
      vq_ox_has(nd, 6) || vq_ox_has(nd, 7))
    return vq_ox_fail(nd, VQ_E_unsupported, "only separate query, key and "
                      "value without padding mask and cache are accepted");
  vq_ox_val **part[] = {&a.q, &a.k, &a.v};
  for (unsigned i = 0; i < 3; i++) {
    vq_ox_val *x = nd->in[i];
    if (need_rank(nd, x, 3, "an operand"))
      return VQ_ERR;
    int64_t size = x->type->dim[2];
    if (vq_ox_has(nd, 3)) {
      const vq_type *b = nd->in[3]->type;
      if (b->rank != 1 || size > b->dim[0] - begin)
        return vq_ox_fail(nd, VQ_E_shape, "the bias is too short");
      x = vq_ox_op2(nd, VQ_OP_add, x,
                    vq_ox_slice_axis(nd, nd->in[3], 0, begin, size, 1));
    }
    begin += size;
    *part[i] = split_heads(nd, x, n_head);
  }
  a.bias = vq_ox_has(nd, 5) ? nd->in[5] : NULL;
  return ms_attend(nd, &a);
}
