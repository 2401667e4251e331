// Type inference: the table constraints every op shares, and the dispatch.
#include "core/infer.h"

#include "vq/fixed.h"
#include "vq/strbuf.h"

typedef vq_status (*rule_fn)(vq_rule *r);

static const rule_fn rules[VQ_N_OPS] = {
#define OP(op, traits, formula) [VQ_OP_##op] = vq_infer_##op,
#define IN(op, name, cls)
#define IN_OPT(op, name, cls)
#define IN_VAR(op, name, cls)
#define OUT(op, name)
#define OUT_VAR(op, name)
#define ATTR(op, kind, name, def)
#define ATTR_REQ(op, kind, name)
#define END(op)
#include "vq/ops.def"
};

// ---- complaints ------------------------------------------------------------------

static void put_operand(vq_strbuf *text, const vq_rule *r, unsigned i) {
  vq_strbuf_printf(text, "'%s' operand ", r->op->name);
  if (r->op->variadic_in)
    vq_strbuf_printf(text, "%s[%u]", r->op->in[0].name, i);
  else
    vq_strbuf_puts(text, r->op->in[i].name);
}

vq_status vq_rule_bad(vq_rule *r, vq_code code, unsigned operand,
                      const char *fmt, ...) {
  vq_strbuf text = {0};
  put_operand(&text, r, operand);
  vq_strbuf_puts(&text, " is ");
  vq_type_print(&text, vq_rule_in(r, operand));
  vq_strbuf_puts(&text, ", ");
  va_list ap;
  va_start(ap, fmt);
  vq_strbuf_vprintf(&text, fmt, ap);
  va_end(ap);
  vq_error(r->diag, code, r->loc, "%s", vq_strbuf_z(&text));
  vq_strbuf_release(&text);
  return VQ_ERR;
}

vq_status vq_rule_bad_attr(vq_rule *r, const char *attr, const char *fmt,
                           ...) {
  vq_strbuf text = {0};
  vq_strbuf_printf(&text, "'%s' attribute %s ", r->op->name, attr);
  va_list ap;
  va_start(ap, fmt);
  vq_strbuf_vprintf(&text, fmt, ap);
  va_end(ap);
  vq_error(r->diag, VQ_E_op_attribute, r->loc, "%s", vq_strbuf_z(&text));
  vq_strbuf_release(&text);
  return VQ_ERR;
}

// ---- answers and common demands ----------------------------------------------------

vq_status vq_rule_result_type(vq_rule *r, const vq_type *t) {
  if (r->n_out < r->max_out) r->out[r->n_out] = t;
  r->n_out++;
  return VQ_OK;
}

vq_status vq_rule_result(vq_rule *r, vq_dtype dtype, unsigned rank,
                         const int64_t *dim) {
  if (rank > VQ_MAX_RANK)
    return vq_error(r->diag, VQ_E_shape, r->loc,
                    "the result of '%s' has rank %u, expected at most %d",
                    r->op->name, rank, VQ_MAX_RANK);
  const vq_type *t = vq_type_tensor(r->m->ctx, dtype, rank, dim, NULL);
  if (!t)
    return vq_error(r->diag, VQ_E_limit, r->loc,
                    "the result of '%s' has more than 2^40 elements",
                    r->op->name);
  return vq_rule_result_type(r, t);
}

vq_status vq_rule_moved(vq_rule *r, unsigned rank, const int64_t *dim, int axis) {
  const vq_type *x = vq_rule_in(r, 0);
  if (vq_rule_result(r, x->dtype, rank, dim)) return VQ_ERR;
  const vq_quant *q = x->q;
  int from = q ? vq_quant_axis(q, x->rank) : -1;
  bool along = from >= 0 && from < x->rank;
  if (along && (axis < 0 || vq_quant_axis(q, rank) != axis || dim[axis] != x->dim[from]))
    q = NULL;
  if (q && r->n_out <= r->max_out)
    r->out[r->n_out - 1] = vq_type_with(r->m->ctx, r->out[r->n_out - 1], q);
  return VQ_OK;
}

vq_status vq_rule_rank(vq_rule *r, unsigned i, unsigned rank) {
  if (vq_rule_in(r, i)->rank == rank) return VQ_OK;
  return vq_rule_bad(r, VQ_E_shape, i, "expected rank %u", rank);
}

vq_status vq_rule_min_rank(vq_rule *r, unsigned i, unsigned rank) {
  if (vq_rule_in(r, i)->rank >= rank) return VQ_OK;
  return vq_rule_bad(r, VQ_E_shape, i, "expected rank %u or more", rank);
}

vq_status vq_rule_shape(vq_rule *r, unsigned i, unsigned rank,
                        const int64_t *dim) {
  if (i >= r->n_in) return VQ_OK;
  const vq_type *t = vq_rule_in(r, i);
  if (t->rank == rank && !memcmp(t->dim, dim, rank * sizeof *dim))
    return VQ_OK;
  vq_strbuf want = {0};
  for (unsigned k = 0; k < rank; k++)
    vq_strbuf_printf(&want, "%s%lld", k ? "x" : "", (long long)dim[k]);
  vq_rule_bad(r, VQ_E_shape, i, "expected shape %s",
              rank ? vq_strbuf_z(&want) : "of a scalar");
  vq_strbuf_release(&want);
  return VQ_ERR;
}

vq_status vq_rule_dtype(vq_rule *r, unsigned i, vq_dtype want) {
  if (vq_rule_in(r, i)->dtype == want) return VQ_OK;
  return vq_rule_bad(r, VQ_E_dtype, i, "expected element type %s",
                     vq_dtype_name(want));
}

vq_status vq_rule_max_bits(vq_rule *r, unsigned i, unsigned bits) {
  if (vq_dtype_bits(vq_rule_in(r, i)->dtype) <= bits) return VQ_OK;
  return vq_rule_bad(r, VQ_E_dtype, i, "expected an integer of at most %u bits",
                     bits);
}

vq_status vq_rule_fine(vq_rule *r, vq_dtype t, int64_t fine) {
  int most = t == VQ_i16 ? VQ_MAX_FINE : 0;
  if (fine >= 0 && fine <= most) return VQ_OK;
  return vq_rule_bad_attr(r, "fine", "is %lld, expected 0 to %d for codes of %s",
                          (long long)fine, most, vq_dtype_name(t));
}

vq_status vq_rule_ints(vq_rule *r, const char *attr, vq_ints v, unsigned n,
                       int64_t lo, int64_t hi) {
  if (v.n != n)
    return vq_rule_bad_attr(r, attr, "has %u entries, expected %u", v.n, n);
  for (unsigned i = 0; i < n; i++)
    if (v.p[i] < lo || v.p[i] > hi)
      return vq_rule_bad_attr(r, attr, "has entry %lld, expected %lld to %lld",
                              (long long)v.p[i], (long long)lo, (long long)hi);
  return VQ_OK;
}

// ---- the table constraints -----------------------------------------------------------

static vq_status check_count(vq_rule *r) {
  const vq_op_desc *op = r->op;
  if (op->variadic_in) return VQ_OK;
  if (r->n_in >= op->min_in && r->n_in <= op->n_in) return VQ_OK;
  if (op->min_in == op->n_in)
    return vq_error(r->diag, VQ_E_op_operand, r->loc,
                    "'%s' has %u operands, expected %u", op->name, r->n_in,
                    op->n_in);
  return vq_error(r->diag, VQ_E_op_operand, r->loc,
                  "'%s' has %u operands, expected %u to %u", op->name, r->n_in,
                  op->min_in, op->n_in);
}

static vq_status check_classes(vq_rule *r) {
  static const char *const words[8] = {
      "nothing", "a float",           "an integer",        "a number",
      "a bool",  "a float or a bool", "an integer or bool", "another"};
  for (unsigned i = 0; i < r->n_in; i++) {
    unsigned classes = r->op->in[r->op->variadic_in ? 0 : i].classes;
    if (!(classes & vq_dtype_class_of(vq_rule_in(r, i)->dtype)))
      return vq_rule_bad(r, VQ_E_dtype, i, "expected %s type%s", words[classes & 7],
                         classes & VQ_CLASS_BF16 ? " or bf16" : "");
  }
  return VQ_OK;
}

// Only some ops know what codes are: to all others their numbers mean nothing.
static vq_status check_codes(vq_rule *r) {
  if (r->op->traits & VQ_TRAIT_CODES) return VQ_OK;
  for (unsigned i = 0; i < r->n_in; i++)
    if (vq_rule_in(r, i)->q)
      return vq_rule_bad(r, VQ_E_type, i, "expected plain numbers: dequantize the codes");
  return VQ_OK;
}

static vq_status check_required(vq_rule *r) {
  for (unsigned i = 0; i < r->op->n_attr; i++)
    if (r->op->attr[i].required)
      return vq_rule_bad_attr(r, r->op->attr[i].name, "is missing");
  r->attrs = r->op->attrs_default;
  return VQ_OK;
}

vq_status vq_infer(vq_module *m, vq_diag *diag, vq_loc loc, vq_opcode code,
                   vq_value *const *in, unsigned n_in, const void *attrs,
                   const vq_type **out, unsigned max_out, unsigned *n_out) {
  vq_rule r = {m,    diag,  loc, vq_op_info(code), in,
               n_in, attrs, out, max_out,          0};
  *n_out = 0;
  for (unsigned i = 0; i < n_in; i++)
    if (!in[i]) VQ_BUG("operand %u of '%s' is null", i, r.op->name);
  if (check_count(&r) || check_classes(&r) || check_codes(&r)) return VQ_ERR;
  if (!attrs && check_required(&r)) return VQ_ERR;
  if (rules[code](&r)) return VQ_ERR;
  *n_out = r.n_out;
  return VQ_OK;
}
