// dce: removes what @main does not need.
//
// No op has an effect but its results, calls included, so an op with unused
// results goes. Walking backwards removes whole chains at once. Kernels that
// nothing calls go next, then constants that nothing uses.
#include "vq/rewrite.h"

#include "passes.h"

static bool is_dead(const vq_op *op) {
  if (vq_has_trait(op, VQ_TRAIT_TERM)) return false;
  for (unsigned i = 0; i < op->n_out; i++)
    if (op->out[i].uses) return false;
  return true;
}

static void remove_ops(vq_func *f, vq_pass_ctx *pc) {
  for (vq_op *op = f->last, *prev; op; op = prev) {
    prev = op->prev;
    if (!is_dead(op)) continue;
    vq_erase_op(op);
    vq_stat(pc, "ops removed", 1);
  }
}

static void mark_callees(const vq_func *f, vq_map *called) {
  vq_each_op(f, op)
    if (op->code == VQ_OP_call)
      *vq_map_put(called, VQ_ATTRS(op, call)->callee) = op;
}

// Kernels may call kernels, so this repeats until nothing changes.
static void remove_kernels(vq_module *m, vq_pass_ctx *pc) {
  bool again = true;
  while (again) {
    again = false;
    vq_map called = {0};
    vq_each_func(m, f) mark_callees(f, &called);
    for (vq_func *f = m->first_func, *next; f; f = next) {
      next = f->next;
      if (f->kind != VQ_KERNEL || vq_map_find(&called, f->name)) continue;
      vq_erase_func(m, f);
      vq_stat(pc, "kernels removed", 1);
      again = true;
    }
    vq_map_release(&called);
  }
}

static void remove_consts(vq_module *m, vq_pass_ctx *pc) {
  for (vq_const *c = m->first_const, *next; c; c = next) {
    next = c->next;
    if (c->value.uses) continue;
    vq_erase_const(m, c);
    vq_stat(pc, "constants removed", 1);
  }
}

vq_status vq_pass_dce(vq_module *m, vq_pass_ctx *pc) {
  vq_each_func(m, f) remove_ops(f, pc);
  remove_kernels(m, pc);
  remove_consts(m, pc);
  return VQ_OK;
}
