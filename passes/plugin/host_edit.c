// The part of a plugin's table that changes the module: each call is checked, for
// what is a contract among our own passes may be a mistake here.
#include <stdlib.h>

#include "vq/eval.h"
#include "vq/rewrite.h"

#include "plugin/host.h"

// ---- attributes ---------------------------------------------------------------

static const vq_attr_desc *find_attr(vq_opcode code, const char *name) {
  const vq_op_desc *d = vq_op_info(code);
  for (unsigned i = 0; i < d->n_attr; i++)
    if (!strcmp(d->attr[i].name, name)) return &d->attr[i];
  return NULL;
}

int vq_host_get_attr(const vq_op *op, const char *name, vq_attr *out) {
  const vq_attr_desc *d = find_attr(op->code, name);
  if (!d) return 0;
  const void *at = (const char *)op->attrs + d->offset;
  *out = (vq_attr){.name = d->name};
  switch (d->kind) {
    case VQ_ATTR_i64:
      out->kind = VQ_ATTR_IS_INT, out->i = *(const vq_attr_i64 *)at;
      break;
    case VQ_ATTR_f32:
      out->kind = VQ_ATTR_IS_REAL, out->f = (double)*(const vq_attr_f32 *)at;
      break;
    case VQ_ATTR_flag:
      out->kind = VQ_ATTR_IS_FLAG, out->i = *(const vq_attr_flag *)at;
      break;
    case VQ_ATTR_str: {
      vq_str s = *(const vq_attr_str *)at;
      out->kind = VQ_ATTR_IS_TEXT, out->s = (vq_text){s.p, s.n};
      break;
    }
    case VQ_ATTR_ints: {
      vq_ints l = *(const vq_attr_ints *)at;
      out->kind = VQ_ATTR_IS_INTS, out->p = l.p, out->n = l.n;
      break;
    }
    case VQ_ATTR_quant: {
      const vq_quant *q = *(const vq_attr_quant *)at;
      out->kind = VQ_ATTR_IS_TEXT;
      if (q) out->s = (vq_text){q->name.p, q->name.n};
      break;
    }
  }
  return 1;
}

// Stores one attribute in `attrs`, the attribute struct of a `code`; lists and texts
// stay where they are, because whoever takes the struct copies it.
static int put_attr(vq_call *c, const vq_op *at_op, vq_opcode code, void *attrs,
                    const vq_attr *a) {
  static const vq_attr_is kind[] = {[VQ_ATTR_i64] = VQ_ATTR_IS_INT,
                                    [VQ_ATTR_f32] = VQ_ATTR_IS_REAL,
                                    [VQ_ATTR_flag] = VQ_ATTR_IS_FLAG,
                                    [VQ_ATTR_str] = VQ_ATTR_IS_TEXT,
                                    [VQ_ATTR_ints] = VQ_ATTR_IS_INTS,
                                    [VQ_ATTR_quant] = VQ_ATTR_IS_TEXT};
  static const char *const word[] = {"an integer", "a number", "a flag", "a text",
                                     "a list of integers", "the name of a quant entry"};
  const vq_attr_desc *d = find_attr(code, a->name);
  const char *op = vq_op_info(code)->name;
  if (!d) return vq_host_error(c, at_op, "op '%s' has no attribute '%s'", op, a->name);
  if (kind[d->kind] != a->kind)
    return vq_host_error(c, at_op, "attribute '%s' of op '%s' is %s", a->name, op,
                         word[kind[d->kind]]);
  void *at = (char *)attrs + d->offset;
  switch (d->kind) {
    case VQ_ATTR_i64: *(vq_attr_i64 *)at = a->i; break;
    case VQ_ATTR_f32: *(vq_attr_f32 *)at = (float)a->f; break;
    case VQ_ATTR_flag: *(vq_attr_flag *)at = a->i != 0; break;
    case VQ_ATTR_str: *(vq_attr_str *)at = (vq_str){a->s.p, a->s.n}; break;
    case VQ_ATTR_ints: *(vq_attr_ints *)at = (vq_ints){a->p, (uint32_t)a->n}; break;
    case VQ_ATTR_quant: {
      const vq_quant *q = vq_module_quant(c->m, (vq_str){a->s.p, a->s.n});
      if (a->s.n && !q)
        return vq_host_error(c, at_op, "no quant entry '%.*s'", (int)a->s.n, a->s.p);
      *(vq_attr_quant *)at = q;
      break;
    }
  }
  return 1;
}

int vq_host_set_attr(vq_call *c, vq_op *op, const vq_attr *attr) {
  vq_arena *temp = c->pc->temp;
  void *attrs = vq_op_attrs_copy(temp, op->code, op->attrs);
  if (!put_attr(c, op, op->code, attrs, attr)) return 0;
  vq_value **in = VQ_NEW_N(temp, vq_value *, op->n_in);
  const vq_type **type = VQ_NEW_N(temp, const vq_type *, op->n_out);
  unsigned n;
  for (unsigned i = 0; i < op->n_in; i++) in[i] = vq_in(op, i);
  if (vq_infer(c->m, c->pc->diag, op->loc, op->code, in, op->n_in, attrs, type,
               op->n_out, &n))
    return 0;
  for (unsigned i = 0; i < op->n_out; i++)
    if (n != op->n_out || type[i] != op->out[i].type)
      return vq_host_error(c, op, "attribute '%s' of op '%s' would change its type",
                           attr->name, vq_op_info(op->code)->name);
  vq_set_attrs(op, attrs);
  return 1;
}

// ---- ops ----------------------------------------------------------------------

// The attribute struct of a new op; NULL after an error.
static void *new_attrs(vq_call *c, const vq_op *before, vq_opcode code, size_t n,
                       const vq_attr *attr) {
  const vq_op_desc *d = vq_op_info(code);
  void *attrs = vq_op_attrs_copy(c->pc->temp, code, d->attrs_default);
  for (size_t i = 0; i < n; i++)
    if (!put_attr(c, before, code, attrs, &attr[i])) return NULL;
  for (unsigned k = 0; k < d->n_attr; k++) {
    bool given = !d->attr[k].required;
    for (size_t i = 0; i < n; i++) given |= !strcmp(attr[i].name, d->attr[k].name);
    if (given) continue;
    vq_host_error(c, before, "op '%s' needs attribute '%s'", d->name, d->attr[k].name);
    return NULL;
  }
  return attrs;
}

vq_value *vq_host_build(vq_call *c, vq_op *before, const char *op, size_t n_operand,
                        vq_value *const *operand, size_t n_attr, const vq_attr *attr,
                        const char *name) {
  vq_opcode code;
  if (!before) {
    vq_host_error(c, NULL, "a new op '%s' has no place: `before` is NULL", op);
    return NULL;
  }
  if (!vq_op_find(vq_str_of(op), &code) || !vq_op_info(code)->out) {
    vq_host_error(c, before, "there is no op '%s' with one result", op);
    return NULL;
  }
  while (n_operand && !operand[n_operand - 1]) n_operand--;
  for (size_t i = 0; i < n_operand; i++)
    if (!operand[i]) {
      vq_host_error(c, before, "operand %zu of a new op '%s' is missing", i, op);
      return NULL;
    }
  void *attrs = new_attrs(c, before, code, n_attr, attr);
  if (!attrs) return NULL;
  vq_builder b = {before->func, before, before->loc, c->pc->diag};
  return vq_build1(&b, code, operand, (unsigned)n_operand, attrs,
                   vq_str_of(name ? name : ""));
}

int vq_host_set_operand(vq_call *c, vq_op *op, size_t i, vq_value *v) {
  const char *name = vq_op_info(op->code)->name;
  if (i >= op->n_in)
    return vq_host_error(c, op, "op '%s' has %u operands, operand %zu was to be set",
                         name, op->n_in, i);
  if (v->type != vq_in(op, (unsigned)i)->type)
    return vq_host_error(c, op, "operand %zu of op '%s' would change its type", i, name);
  vq_set_operand(op, (unsigned)i, v);
  return 1;
}

int vq_host_replace(vq_call *c, vq_op *op, vq_value *by) {
  const char *name = vq_op_info(op->code)->name;
  if (op->n_out != 1)
    return vq_host_error(c, op, "op '%s' has %u results, one was expected", name,
                         op->n_out);
  if (by->type != op->out->type || by == op->out)
    return vq_host_error(c, op, "what replaces op '%s' has another type", name);
  vq_replace_op(op, by);
  return 1;
}

int vq_host_erase(vq_call *c, vq_op *op) {
  const char *name = vq_op_info(op->code)->name;
  if (vq_has_trait(op, VQ_TRAIT_TERM))
    return vq_host_error(c, op, "op '%s' ends its function and stays", name);
  for (unsigned i = 0; i < op->n_out; i++)
    if (op->out[i].uses)
      return vq_host_error(c, op, "op '%s' is still used", name);
  vq_erase_op(op);
  return 1;
}

int vq_host_rename(vq_call *c, vq_value *v, const char *name) {
  vq_func *f = v->kind == VQ_VALUE_RESULT ? v->def->func
               : v->kind == VQ_VALUE_ARG  ? v->func
                                          : NULL;
  if (!f) return vq_host_error(c, NULL, "constants keep their names");
  vq_rename_value(f, v, vq_intern(c->m->ctx, vq_str_of(name)));
  return 1;
}

// ---- constants ----------------------------------------------------------------

int vq_host_read_constant(vq_call *c, const vq_value *v, int64_t first, int64_t n,
                          double *out) {
  if (v->kind != VQ_VALUE_CONST) return vq_host_error(c, NULL, "this is no constant");
  vq_const *k = (vq_const *)v;
  int64_t count = vq_type_count(v->type);
  if (first < 0 || n < 0 || first > count || n > count - first)
    return vq_host_error(c, NULL,
                         "constant '%.*s' has %lld elements, %lld from %lld were wanted",
                         VQ_FMT(v->name), (long long)count, (long long)n,
                         (long long)first);
  if (!vq_const_bytes(k))
    return vq_host_error(c, NULL, "the data of constant '%.*s' is missing",
                         VQ_FMT(v->name));
  for (int64_t i = 0; i < n; i++) out[i] = vq_const_f64(k, first + i);
  return 1;
}

vq_value *vq_host_constant(vq_call *c, const char *name, const char *dtype, size_t rank,
                           const int64_t *dim, const double *value) {
  vq_dtype t;
  const vq_type *type = NULL;
  if (rank <= VQ_MAX_RANK && vq_dtype_parse(vq_str_of(dtype), &t))
    type = vq_type_tensor(c->m->ctx, t, (unsigned)rank, dim, NULL);
  if (!type) {
    vq_host_error(c, NULL, "constant '%s' has no type: rank %zu of '%s'", name, rank,
                  dtype);
    return NULL;
  }
  size_t bytes = (size_t)vq_type_bytes(type);
  void *data = calloc(bytes + 1, 1);
  if (!data) vq_oom(bytes);
  for (int64_t i = 0; i < vq_type_count(type); i++) vq_store_f64(t, data, i, value[i]);
  vq_const *k = vq_const_new_copy(c->m, vq_intern(c->m->ctx, vq_str_of(name)), type, data);
  free(data);
  return &k->value;
}
