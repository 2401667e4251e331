// Functions, ops and use lists: linking and raw creation.
#include "core/core.h"
#include "vq/build.h"

void vq_use_link(vq_use *u, vq_value *v) {
  u->val = v;
  u->next = NULL;
  u->prev = v->last_use;
  if (v->last_use)
    v->last_use->next = u;
  else
    v->uses = u;
  v->last_use = u;
}

void vq_use_unlink(vq_use *u) {
  vq_value *v = u->val;
  if (u->prev)
    u->prev->next = u->next;
  else
    v->uses = u->next;
  if (u->next)
    u->next->prev = u->prev;
  else
    v->last_use = u->prev;
  u->val = NULL;
  u->prev = u->next = NULL;
}

bool vq_has_one_use(const vq_value *v) { return v->uses && !v->uses->next; }

unsigned vq_use_count(const vq_value *v) {
  unsigned n = 0;
  vq_each_use(v, u) n++;
  return n;
}

void vq_op_link(vq_op *op, vq_op *before) {
  vq_func *f = op->func;
  op->next = before;
  op->prev = before ? before->prev : f->last;
  *(op->prev ? &op->prev->next : &f->first) = op;
  *(before ? &before->prev : &f->last) = op;
}

void vq_op_unlink(vq_op *op) {
  vq_func *f = op->func;
  *(op->prev ? &op->prev->next : &f->first) = op->next;
  *(op->next ? &op->next->prev : &f->last) = op->prev;
  op->prev = op->next = NULL;
}

void vq_func_link(vq_func *f, vq_func *before) {
  vq_module *m = f->module;
  f->next = before;
  f->prev = before ? before->prev : m->last_func;
  *(f->prev ? &f->prev->next : &m->first_func) = f;
  *(before ? &before->prev : &m->last_func) = f;
}

void vq_func_unlink(vq_func *f) {
  vq_module *m = f->module;
  *(f->prev ? &f->prev->next : &m->first_func) = f->next;
  *(f->next ? &f->next->prev : &m->last_func) = f->prev;
  f->prev = f->next = NULL;
}

vq_func *vq_func_create(vq_module *m, vq_func_kind kind, vq_str name,
                        unsigned n_arg, const vq_type *const *arg_type,
                        const vq_str *arg_name) {
  vq_func *f = VQ_NEW(&m->arena, vq_func);
  if (!name.n) name = kind == VQ_KERNEL ? VQ_LIT("k") : VQ_LIT("f");
  f->name = vq_name_claim(&m->arena, &m->func_names, name, f);
  f->kind = kind;
  f->module = m;
  f->n_arg = n_arg;
  f->arg = VQ_NEW_N(&m->arena, vq_value, n_arg);
  for (unsigned i = 0; i < n_arg; i++) {
    vq_value *v = &f->arg[i];
    v->type = arg_type[i];
    v->kind = VQ_VALUE_ARG;
    v->idx = i;
    v->func = f;
    if (arg_name)
      v->name = vq_name_claim(&m->arena, &f->names, arg_name[i], v);
  }
  vq_func_link(f, NULL);
  return f;
}

vq_value *vq_func_value(const vq_func *f, vq_str name) {
  return vq_name_owner(&f->names, name);
}

vq_op *vq_op_new(vq_func *f, vq_op *before, vq_loc loc, vq_opcode code,
                 vq_value *const *in, unsigned n_in, const void *attrs,
                 const vq_type *const *out, unsigned n_out) {
  vq_arena *a = &f->module->arena;
  vq_op *op = VQ_NEW(a, vq_op);
  op->code = code;
  op->loc = loc;
  op->func = f;
  op->n_in = n_in;
  op->n_out = n_out;
  op->attrs = vq_op_attrs_copy(
      a, code, attrs ? attrs : vq_op_info(code)->attrs_default);
  op->in = VQ_NEW_N(a, vq_use, n_in);
  for (unsigned i = 0; i < n_in; i++) {
    op->in[i].user = op;
    op->in[i].idx = i;
    vq_use_link(&op->in[i], in[i]);
  }
  op->out = VQ_NEW_N(a, vq_value, n_out);
  for (unsigned i = 0; i < n_out; i++) {
    op->out[i].type = out[i];
    op->out[i].kind = VQ_VALUE_RESULT;
    op->out[i].idx = i;
    op->out[i].def = op;
  }
  vq_op_link(op, before);
  return op;
}

void vq_func_set_results(vq_func *f, unsigned n, vq_value *const *v,
                         const vq_str *name_or_null) {
  vq_arena *a = &f->module->arena;
  f->n_result = n;
  f->result = VQ_NEW_N(a, const vq_type *, n);
  f->result_name = VQ_NEW_N(a, vq_str, n);
  for (unsigned i = 0; i < n; i++) {
    f->result[i] = v[i]->type;
    if (name_or_null) f->result_name[i] = vq_arena_str(a, name_or_null[i]);
  }
}
