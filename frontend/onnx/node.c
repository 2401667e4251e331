// One node: its table row, attributes, operands and results.
#include "import.h"

#include "vq/eval.h"
#include "vq/strbuf.h"

static const vq_ox_row rows[] = {
#define ONNX(domain, op, since, handler, arg, min_in, max_in, attrs, doc) \
  {domain, op, since, vq_onnx_##handler, arg, min_in, max_in, attrs},
#include "import.def"
#undef ONNX
};

void vq_ox_table_init(vq_ox *ox) {
  for (size_t i = 0; i < VQ_COUNT(rows); i++) {
    void **slot = vq_map_put(&ox->ops, vq_str_of(rows[i].op));
    if (!*slot)
      *slot = (void *)(uintptr_t)&rows[i];
  }
}

// Rows of one operator stand together; of those not newer than `opset` the
// newest is the one. *first_since is 0 when the operator is unknown.
const vq_ox_row *vq_ox_find_row(vq_ox *ox, vq_str domain, vq_str op,
                                int64_t opset, int64_t *first_since) {
  const vq_ox_row *best = NULL, *row = vq_map_get(&ox->ops, op);
  *first_since = 0;
  for (; row && row < rows + VQ_COUNT(rows) && vq_str_is(op, row->op); row++) {
    if (!vq_str_is(domain, row->domain))
      continue;
    if (!*first_since || row->since < *first_since)
      *first_since = row->since;
    if (row->since <= opset && (!best || row->since > best->since))
      best = row;
  }
  return best;
}

int64_t vq_ox_arg(const vq_ox_node *nd) { return nd->row->arg; }

vq_status vq_ox_fail(vq_ox_node *nd, vq_code code, const char *fmt, ...) {
  vq_strbuf text = {0};
  va_list ap;
  if (nd->refused)
    return VQ_ERR;
  nd->refused = true;
  va_start(ap, fmt);
  vq_strbuf_escaped(&text, vq_str_of(nd->proto->op_type));
  vq_strbuf_puts(&text, ": ");
  vq_strbuf_vprintf(&text, fmt, ap);
  va_end(ap);
  vq_error(nd->ox->diag, code, nd->loc, "%s", vq_strbuf_z(&text));
  vq_strbuf_release(&text);
  return VQ_ERR;
}

// ---- attributes --------------------------------------------------------------

enum { A_FLOAT = 1, A_INT, A_STRING, A_TENSOR, A_GRAPH, A_FLOATS, A_INTS };

static const Onnx__AttributeProto *find(Onnx__AttributeProto *const *list,
                                        size_t n, const char *name) {
  for (size_t i = 0; i < n; i++)
    if (list[i]->name && !strcmp(list[i]->name, name))
      return list[i];
  return NULL;
}

// Inside a function body an attribute may name one of the call's.
const Onnx__AttributeProto *vq_ox_attr(const vq_ox_node *nd,
                                       const char *name) {
  for (;;) {
    const Onnx__AttributeProto *a =
        find(nd->proto->attribute, nd->proto->n_attribute, name);
    if (!a || !a->ref_attr_name || !*a->ref_attr_name)
      return a;
    const vq_ox_frame *f = nd->frame;
    while (f && !f->function)
      f = f->parent;
    if (!f)
      return NULL;
    name = a->ref_attr_name;
    const Onnx__NodeProto *call = f->caller->proto;
    if (!find(call->attribute, call->n_attribute, name))
      return find(f->function->attribute_proto, f->function->n_attribute_proto,
                  name);
    nd = f->caller;
  }
}

static vq_status check_type(vq_ox_node *nd, const Onnx__AttributeProto *a,
                            const char *name, int32_t want, bool present) {
  static const char *const kind[] = {"nothing", "a float",  "an integer",
                                     "a string", "a tensor", "a graph",
                                     "floats",   "integers"};
  if (a->has_type ? a->type == want : present)
    return VQ_OK;
  return vq_ox_fail(nd, VQ_E_op_attribute,
                    "attribute '%s' has type %d, expected %s (%d)", name,
                    a->has_type ? (int)a->type : 0, kind[want], (int)want);
}

vq_status vq_ox_attr_i64(vq_ox_node *nd, const char *name, int64_t *io) {
  const Onnx__AttributeProto *a = vq_ox_attr(nd, name);
  if (!a)
    return VQ_OK;
  if (check_type(nd, a, name, A_INT, a->has_i))
    return VQ_ERR;
  *io = a->i;
  return VQ_OK;
}

vq_status vq_ox_attr_flag(vq_ox_node *nd, const char *name, bool *io) {
  int64_t v = *io;
  vq_status status = vq_ox_attr_i64(nd, name, &v);
  *io = v != 0;
  return status;
}

vq_status vq_ox_attr_f32(vq_ox_node *nd, const char *name, float *io) {
  const Onnx__AttributeProto *a = vq_ox_attr(nd, name);
  if (!a)
    return VQ_OK;
  if (check_type(nd, a, name, A_FLOAT, a->has_f))
    return VQ_ERR;
  *io = a->f;
  return VQ_OK;
}

vq_status vq_ox_attr_str(vq_ox_node *nd, const char *name, vq_str *io) {
  const Onnx__AttributeProto *a = vq_ox_attr(nd, name);
  if (!a)
    return VQ_OK;
  if (check_type(nd, a, name, A_STRING, a->has_s))
    return VQ_ERR;
  *io = (vq_str){(const char *)a->s.data, a->s.len};
  return VQ_OK;
}

vq_status vq_ox_attr_ints(vq_ox_node *nd, const char *name, vq_ints *io) {
  const Onnx__AttributeProto *a = vq_ox_attr(nd, name);
  if (!a)
    return VQ_OK;
  if (check_type(nd, a, name, A_INTS, true))
    return VQ_ERR;
  *io = (vq_ints){a->ints, (uint32_t)a->n_ints};
  return VQ_OK;
}

// ---- operands and results ----------------------------------------------------

bool vq_ox_has(const vq_ox_node *nd, unsigned i) {
  return i < nd->n_in && nd->in[i];
}

vq_status vq_ox_need_const(vq_ox_node *nd, unsigned i, const char *what) {
  if (!vq_ox_has(nd, i))
    return vq_ox_fail(nd, VQ_E_op_operand, "operand '%s' is missing", what);
  if (vq_ox_ready(nd->ox, nd->loc, nd->in[i]))
    return VQ_ERR;
  if (nd->in[i]->data)
    return VQ_OK;
  vq_ox_fail(nd, VQ_E_not_constant, "operand '%s' depends on the model's input "
             "but must be known at compile time", what);
  return VQ_ERR;
}

vq_status vq_ox_ints(vq_ox_node *nd, unsigned i, const char *what,
                     vq_ints *out) {
  if (vq_ox_need_const(nd, i, what))
    return VQ_ERR;
  const vq_ox_val *v = nd->in[i];
  int64_t n = vq_type_count(v->type);
  if (vq_dtype_class_of(v->type->dtype) != VQ_CLASS_INT || v->type->rank > 1)
    return vq_ox_fail(nd, VQ_E_op_operand, "operand '%s' is %s of rank %u, "
                      "expected a list of integers", what,
                      vq_dtype_name(v->type->dtype), v->type->rank);
  if (vq_ox_spend(nd, (uint64_t)n * VQ_OX_FILL_WORK))
    return VQ_ERR;
  int64_t *p = VQ_NEW_N(&nd->ox->tmp, int64_t, (size_t)n);
  for (int64_t k = 0; k < n; k++)
    p[k] = vq_load_i64(v->type->dtype, v->data, k);
  *out = (vq_ints){p, (uint32_t)n};
  return VQ_OK;
}

vq_status vq_ox_ints_either(vq_ox_node *nd, const char *name, unsigned i,
                            vq_ints *out, bool *found) {
  *out = VQ_NO_INTS;
  *found = vq_ox_attr(nd, name) != NULL;
  if (*found)
    return vq_ox_attr_ints(nd, name, out);
  *found = vq_ox_has(nd, i);
  return *found ? vq_ox_ints(nd, i, name, out) : VQ_OK;
}

static vq_status one_element(vq_ox_node *nd, unsigned i, const char *what) {
  if (vq_ox_need_const(nd, i, what))
    return VQ_ERR;
  int64_t n = vq_type_count(nd->in[i]->type);
  if (n == 1)
    return VQ_OK;
  return vq_ox_fail(nd, VQ_E_op_operand, "operand '%s' has %lld elements, "
                    "expected one", what, (long long)n);
}

vq_status vq_ox_scalar_i64(vq_ox_node *nd, unsigned i, const char *what,
                           int64_t *out) {
  if (one_element(nd, i, what))
    return VQ_ERR;
  *out = vq_load_i64(nd->in[i]->type->dtype, nd->in[i]->data, 0);
  return VQ_OK;
}

vq_status vq_ox_scalar_f32(vq_ox_node *nd, unsigned i, const char *what,
                           float *out) {
  if (one_element(nd, i, what))
    return VQ_ERR;
  *out = (float)vq_load_f64(nd->in[i]->type->dtype, nd->in[i]->data, 0);
  return VQ_OK;
}

vq_status vq_ox_axis(vq_ox_node *nd, int64_t *io, unsigned rank) {
  int64_t axis = *io < 0 ? *io + rank : *io;
  if (axis < 0 || axis >= rank)
    return vq_ox_fail(nd, VQ_E_op_attribute, "axis %lld is outside rank %u",
                      (long long)*io, rank);
  *io = axis;
  return VQ_OK;
}

vq_status vq_ox_result(vq_ox_node *nd, unsigned i, vq_ox_val *v) {
  if (!v)
    return VQ_ERR;
  if (i < nd->n_out)
    nd->out[i] = v;
  return VQ_OK;
}

void vq_ox_no_result(vq_ox_node *nd, unsigned i, const char *why) {
  if (i >= nd->n_out)
    return;
  nd->out[i] = vq_ox_val_new(nd->ox, NULL);
  nd->out[i]->missing = why;
}
