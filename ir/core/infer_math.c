// Type inference of elementwise ops and reductions.
#include "core/infer.h"

#include "vq/strbuf.h"

#define ATTRS(op) const vq_attrs_##op *a = r->attrs

static vq_status same_as_x(vq_rule *r) {
  const vq_type *x = vq_rule_in(r, 0);
  return vq_rule_result(r, x->dtype, x->rank, x->dim);
}

// Operands `i` and `i + 1`: equal dtypes, shapes that broadcast.
static vq_status broadcast(vq_rule *r, unsigned i, vq_type *y) {
  const vq_type *a = vq_rule_in(r, i), *b = vq_rule_in(r, i + 1);
  unsigned rank;
  if (vq_rule_dtype(r, i + 1, a->dtype)) return VQ_ERR;
  if (!vq_broadcast(a, b, &rank, y->dim)) {
    vq_strbuf text = {0};
    vq_type_print(&text, a);
    vq_rule_bad(r, VQ_E_shape, i + 1, "which does not broadcast with %s %s",
                r->op->in[i].name, vq_strbuf_z(&text));
    vq_strbuf_release(&text);
    return VQ_ERR;
  }
  y->dtype = a->dtype;
  y->rank = (uint8_t)rank;
  return VQ_OK;
}

static vq_status binary(vq_rule *r) {
  vq_type y;
  if (broadcast(r, 0, &y)) return VQ_ERR;
  return vq_rule_result(r, y.dtype, y.rank, y.dim);
}

static vq_status compare(vq_rule *r) {
  vq_type y;
  if (broadcast(r, 0, &y)) return VQ_ERR;
  return vq_rule_result(r, VQ_bool, y.rank, y.dim);
}

static vq_status reduce(vq_rule *r, vq_ints axes, bool keep, vq_dtype y) {
  const vq_type *x = vq_rule_in(r, 0);
  if (axes.n > x->rank)
    return vq_rule_bad_attr(r, "axes", "has %u entries, expected at most %u",
                            axes.n, x->rank);
  if (vq_rule_ints(r, "axes", axes, axes.n, 0, (int64_t)x->rank - 1))
    return VQ_ERR;
  int64_t dim[VQ_MAX_RANK];
  unsigned n = 0, k = 0;
  for (unsigned i = 1; i < axes.n; i++)
    if (axes.p[i] <= axes.p[i - 1])
      return vq_rule_bad_attr(r, "axes", "has %lld after %lld, expected"
                              " ascending order",
                              (long long)axes.p[i], (long long)axes.p[i - 1]);
  for (unsigned i = 0; i < x->rank; i++) {
    bool reduced = k < axes.n && axes.p[k] == i;
    if (reduced) k++;
    if (!reduced || keep) dim[n++] = reduced ? 1 : x->dim[i];
  }
  return vq_rule_result(r, y, n, dim);
}

#define RULE(op, how) \
  vq_status vq_infer_##op(vq_rule *r) { return how(r); }
RULE(neg, same_as_x)
RULE(abs, same_as_x)
RULE(sign, same_as_x)
RULE(floor, same_as_x)
RULE(ceil, same_as_x)
RULE(round, same_as_x)
RULE(sqrt, same_as_x)
RULE(exp, same_as_x)
RULE(log, same_as_x)
RULE(erf, same_as_x)
RULE(tanh, same_as_x)
RULE(sigmoid, same_as_x)
RULE(sin, same_as_x)
RULE(cos, same_as_x)
RULE(relu, same_as_x)
RULE(silu, same_as_x)
RULE(not, same_as_x)
RULE(add, binary)
RULE(sub, binary)
RULE(mul, binary)
RULE(div, binary)
RULE(mod, binary)
RULE(pow, binary)
RULE(min, binary)
RULE(max, binary)
RULE(and, binary)
RULE(or, binary)
RULE(xor, binary)
RULE(equal, compare)
RULE(less, compare)
RULE(less_equal, compare)

#define REDUCE(op, y)                      \
  vq_status vq_infer_##op(vq_rule *r) {    \
    ATTRS(op);                             \
    return reduce(r, a->axes, a->keep, y); \
  }
REDUCE(reduce_sum, vq_rule_in(r, 0)->dtype)
REDUCE(reduce_mean, VQ_f32)
REDUCE(reduce_max, vq_rule_in(r, 0)->dtype)
REDUCE(reduce_min, vq_rule_in(r, 0)->dtype)
REDUCE(reduce_prod, vq_rule_in(r, 0)->dtype)

static vq_status with_form(vq_rule *r, vq_str form) {
  if (!vq_str_is(form, "erf") && !vq_str_is(form, "tanh") && !vq_str_is(form, "sigmoid"))
    return vq_rule_bad_attr(r, "form", "is '%.*s', expected erf, tanh or sigmoid",
                            VQ_FMT(form));
  return same_as_x(r);
}

vq_status vq_infer_gelu(vq_rule *r) {
  ATTRS(gelu);
  return with_form(r, a->form);
}

vq_status vq_infer_gelu_slope(vq_rule *r) {
  ATTRS(gelu_slope);
  return with_form(r, a->form);
}

vq_status vq_infer_clip(vq_rule *r) {
  ATTRS(clip);
  if (isnan(a->lo)) return vq_rule_bad_attr(r, "lo", "is not a number");
  if (isnan(a->hi)) return vq_rule_bad_attr(r, "hi", "is not a number");
  return same_as_x(r);
}

vq_status vq_infer_isnan(vq_rule *r) {
  const vq_type *x = vq_rule_in(r, 0);
  return vq_rule_result(r, VQ_bool, x->rank, x->dim);
}

vq_status vq_infer_select(vq_rule *r) {
  vq_type y;
  unsigned rank;
  int64_t dim[VQ_MAX_RANK];
  if (broadcast(r, 1, &y)) return VQ_ERR;
  if (!vq_broadcast(vq_rule_in(r, 0), &y, &rank, dim))
    return vq_rule_bad(r, VQ_E_shape, 0,
                       "which does not broadcast with a and b");
  return vq_rule_result(r, y.dtype, rank, dim);
}
