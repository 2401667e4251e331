// Changing IR: everything that touches use lists after construction.
#include "vq/rewrite.h"

#include "core/core.h"

void vq_replace_uses_except(vq_value *from, vq_value *to,
                            const vq_op *except) {
  if (from == to) return;
  if (from->type != to->type)
    VQ_BUG("replacing '%.*s' by a value of another type", VQ_FMT(from->name));
  for (vq_use *u = from->uses, *next; u; u = next) {
    next = u->next;
    if (u->user == except) continue;
    vq_use_unlink(u);
    vq_use_link(u, to);
  }
}

void vq_replace_all_uses(vq_value *from, vq_value *to) {
  vq_replace_uses_except(from, to, NULL);
}

void vq_set_operand(vq_op *op, unsigned i, vq_value *v) {
  assert(i < op->n_in);
  vq_use_unlink(&op->in[i]);
  vq_use_link(&op->in[i], v);
}

void vq_set_operands(vq_op *op, vq_value *const *in, unsigned n_in) {
  vq_use *use = VQ_NEW_N(&op->func->module->arena, vq_use, n_in);
  for (unsigned i = 0; i < n_in; i++) {
    use[i].user = op;
    use[i].idx = i;
    vq_use_link(&use[i], in[i]);
  }
  for (unsigned i = 0; i < op->n_in; i++) vq_use_unlink(&op->in[i]);
  op->in = use;
  op->n_in = n_in;
}

void vq_erase_op(vq_op *op) {
  for (unsigned i = 0; i < op->n_out; i++) {
    if (op->out[i].uses)
      VQ_BUG("erasing '%s' while its result '%.*s' is used",
             vq_op_info(op->code)->name, VQ_FMT(op->out[i].name));
    vq_name_release(&op->func->names, op->out[i].name);
  }
  for (unsigned i = 0; i < op->n_in; i++) vq_use_unlink(&op->in[i]);
  op->n_in = 0;
  vq_op_unlink(op);
}

void vq_erase_const(vq_module *m, vq_const *c) {
  if (c->value.uses)
    VQ_BUG("erasing constant '%.*s' while it is used", VQ_FMT(c->value.name));
  vq_name_release(&m->const_names, c->value.name);
  *(c->prev ? &c->prev->next : &m->first_const) = c->next;
  *(c->next ? &c->next->prev : &m->last_const) = c->prev;
}

void vq_erase_func(vq_module *m, vq_func *f) {
  vq_each_op(f, op) {
    for (unsigned i = 0; i < op->n_in; i++) vq_use_unlink(&op->in[i]);
    op->n_in = 0;
  }
  vq_name_release(&m->func_names, f->name);
  vq_map_release(&f->names);
  vq_func_unlink(f);
}

void vq_replace_op(vq_op *op, vq_value *v) {
  assert(op->n_out == 1);
  vq_func *f = op->func;
  vq_str name = op->out[0].name;
  vq_replace_all_uses(&op->out[0], v);
  vq_erase_op(op);
  if (v->kind == VQ_VALUE_RESULT && !v->name.n) vq_rename_value(f, v, name);
}

void vq_move_op(vq_op *op, vq_op *before) {
  if (op == before) return;
  vq_op_unlink(op);
  vq_op_link(op, before);
}

void vq_set_attrs(vq_op *op, const void *attrs) {
  op->attrs = vq_op_attrs_copy(&op->func->module->arena, op->code, attrs);
}

void vq_rename_value(vq_func *f, vq_value *v, vq_str name) {
  if (vq_str_eq(v->name, name)) return;
  vq_name_release(&f->names, v->name);
  v->name = vq_name_claim(&f->module->arena, &f->names, name, v);
}

void vq_rename_func(vq_module *m, vq_func *f, vq_str name) {
  if (vq_str_eq(f->name, name)) return;
  vq_name_release(&m->func_names, f->name);
  f->name = vq_name_claim(&m->arena, &m->func_names, name, f);
}

void vq_set_call_quant(vq_op *call, unsigned i, const vq_quant *q) {
  assert(call->code == VQ_OP_call && i < call->n_out);
  vq_value *v = &call->out[i];
  v->type = vq_type_with(call->func->module->ctx, v->type, q);
}
