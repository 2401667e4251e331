// The interpreter's loop: one buffer per live value, ops in program order.
#include "eval/eval_ops.h"

#include <stdlib.h>

// ---- one op -------------------------------------------------------------------

// Never evaluated as plain ops: the loop below deals with them.
vq_status vq_eval_return(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                         vq_diag *diag) {
  (void)in, (void)out, (void)diag;
  VQ_BUG("%s is no op to evaluate", vq_op_info(op->code)->name);
}

vq_status vq_eval_call(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                       vq_diag *diag) {
  return vq_eval_return(op, in, out, diag);
}

static vq_eval_fn *const evaluator[VQ_N_OPS] = {
#define OP(name, traits, formula) [VQ_OP_##name] = vq_eval_##name,
#define ATTR(op, kind, name, def)
#define ATTR_REQ(op, kind, name)
#define IN(op, name, cls)
#define IN_OPT(op, name, cls)
#define IN_VAR(op, name, cls)
#define OUT(op, name)
#define OUT_VAR(op, name)
#define END(op)
#include "vq/ops.def"
};

vq_status vq_eval_op(const vq_op *op, const vq_tensor *in, vq_tensor *out,
                     vq_diag *diag) {
  // The spare nibble of an odd count belongs to the result, so it is 0.
  for (unsigned i = 0; i < op->n_out; i++)
    if (vq_dtype_bits(out[i].type->dtype) < 8)
      memset(out[i].data, 0, (size_t)vq_type_bytes(out[i].type));
  return evaluator[op->code](op, in, out, diag);
}

// ---- a function ---------------------------------------------------------------

// A value of the function and, while it is live, its buffer.
typedef struct slot {
  const vq_value *value;
  vq_tensor t;
  uint32_t left;  // uses still to come
  bool owned;
} slot;

typedef struct frame {
  slot *slots;
  uint32_t n;
  vq_map map;  // value -> slot
  vq_diag *diag;
  vq_eval_trace_fn trace;
  void *user;
} frame;

static slot *add_slot(frame *f, const vq_value *v) {
  slot *s = &f->slots[f->n++];
  s->value = v;
  s->t.type = v->type;
  s->left = vq_use_count(v);
  *vq_map_put(&f->map, VQ_MAP_PTR_KEY(s->value)) = s;
  return s;
}

static void drop(slot *s) {
  if (s->owned) free(s->t.data);
  s->owned = false;
  s->t.data = NULL;
}

static vq_status operand(frame *f, vq_value *v, const vq_op *op,
                         vq_tensor *out) {
  vq_const *c = vq_const_of(v);
  if (!c) {
    *out = ((slot *)vq_map_get(&f->map, VQ_MAP_PTR_KEY(v)))->t;
    return VQ_OK;
  }
  *out = (vq_tensor){v->type, (void *)vq_const_bytes(c)};
  if (out->data) return VQ_OK;
  return vq_error(f->diag, VQ_E_blob, op->loc,
                  "the data of constant @%.*s is missing: the text was read "
                  "without its side file",
                  VQ_FMT(v->name));
}

static void release_operand(frame *f, vq_value *v) {
  if (v->kind == VQ_VALUE_CONST) return;
  slot *s = vq_map_get(&f->map, VQ_MAP_PTR_KEY(v));
  if (--s->left == 0) drop(s);
}

static vq_status eval_body(const vq_func *func, const vq_tensor *in,
                           vq_tensor *out, frame *f);

static vq_status eval_call_op(frame *f, const vq_op *op, const vq_tensor *in,
                              vq_tensor *out) {
  vq_str callee = VQ_ATTRS(op, call)->callee;
  const vq_func *func = vq_module_func(op->func->module, callee);
  if (!func)
    return vq_error(f->diag, VQ_E_name, op->loc, "call of unknown kernel @%.*s",
                    VQ_FMT(callee));
  frame inner = {.diag = f->diag, .trace = f->trace, .user = f->user};
  return eval_body(func, in, out, &inner);
}

// Evaluates `op` into new slots. `t` has room for its operands and results.
static vq_status eval_one(frame *f, const vq_op *op, vq_tensor *t) {
  vq_tensor *in = t, *out = t + op->n_in;
  for (unsigned i = 0; i < op->n_in; i++)
    if (operand(f, vq_in(op, i), op, &in[i])) return VQ_ERR;
  for (unsigned i = 0; i < op->n_out; i++) {
    slot *s = add_slot(f, &op->out[i]);
    s->t.data = vq_eval_alloc((size_t)vq_type_bytes(s->t.type), 1);
    s->owned = true;
    out[i] = s->t;
  }
  if (op->code == VQ_OP_call ? eval_call_op(f, op, in, out)
                             : vq_eval_op(op, in, out, f->diag))
    return VQ_ERR;
  for (unsigned i = 0; i < op->n_out; i++) {
    if (f->trace) f->trace(f->user, &op->out[i], &out[i]);
    if (!op->out[i].uses) drop(&f->slots[f->n - op->n_out + i]);
  }
  for (unsigned i = 0; i < op->n_in; i++) release_operand(f, vq_in(op, i));
  return VQ_OK;
}

static vq_status eval_return(frame *f, const vq_op *op, vq_tensor *out) {
  for (unsigned i = 0; i < op->n_in; i++) {
    vq_tensor t;
    if (operand(f, vq_in(op, i), op, &t)) return VQ_ERR;
    memcpy(out[i].data, t.data, (size_t)vq_type_bytes(t.type));
  }
  return VQ_OK;
}

static vq_status eval_body(const vq_func *func, const vq_tensor *in,
                           vq_tensor *out, frame *f) {
  uint32_t n_slot = func->n_arg, n_tensor = 0;
  vq_each_op(func, op) {
    n_slot += op->n_out;
    if (op->n_in + op->n_out > n_tensor) n_tensor = op->n_in + op->n_out;
  }
  f->slots = vq_eval_alloc(n_slot, sizeof *f->slots);
  memset(f->slots, 0, n_slot * sizeof *f->slots);
  vq_tensor *t = vq_eval_alloc(n_tensor, sizeof *t);
  for (uint32_t i = 0; i < func->n_arg; i++)
    add_slot(f, &func->arg[i])->t.data = in[i].data;
  vq_status st = VQ_OK;
  vq_each_op(func, op) {
    st = op->code == VQ_OP_return ? eval_return(f, op, out)
                                  : eval_one(f, op, t);
    if (st) break;
  }
  for (uint32_t i = 0; i < f->n; i++) drop(&f->slots[i]);
  free(t);
  free(f->slots);
  vq_map_release(&f->map);
  return st;
}

vq_status vq_eval_func(const vq_func *f, const vq_tensor *in, vq_tensor *out,
                       vq_diag *diag, vq_eval_trace_fn trace, void *user) {
  frame top = {.diag = diag, .trace = trace, .user = user};
  return eval_body(f, in, out, &top);
}
