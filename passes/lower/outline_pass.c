// Pass "outline": every op of @main that computes something becomes a kernel.
//
// Afterwards @main consists of calls, views and the return. The executor walks
// calls only, so a result of the model must be the result of a call of its own:
// an input or constant that is returned, or a tensor returned twice, gets a
// copy.
#include "passes.h"
#include "vq/rewrite.h"
#include "vq/strbuf.h"

// "softmax_3x197x197": the op and the shape of its result.
static vq_op *outline_op(vq_op *op, vq_diag *diag) {
  vq_strbuf name = {0};
  vq_strbuf_printf(&name, "%s_", vq_op_info(op->code)->name);
  const vq_type *t = op->out[0].type;
  for (unsigned k = 0; k < t->rank; k++)
    vq_strbuf_printf(&name, "%s%lld", k ? "x" : "", (long long)t->dim[k]);
  if (t->rank == 0) vq_strbuf_puts(&name, "scalar");
  vq_op *call = vq_outline(diag, &op, 1, vq_strbuf_view(&name));
  vq_strbuf_release(&name);
  return call;
}

static const vq_value *root_of(const vq_value *v) {
  while (v->kind == VQ_VALUE_RESULT && vq_has_trait(v->def, VQ_TRAIT_VIEW))
    v = vq_in(v->def, 0);
  return v;
}

// Whether result `i` of `ret` cannot be written by the call that computes it.
static bool needs_copy(const vq_op *ret, unsigned i) {
  const vq_value *root = root_of(vq_in(ret, i));
  if (root->kind != VQ_VALUE_RESULT) return true;
  for (unsigned k = 0; k < i; k++)
    if (root_of(vq_in(ret, k)) == root) return true;
  return false;
}

static vq_status copy_results(vq_func *f, vq_pass_ctx *pc) {
  vq_op *ret = f->last;
  for (unsigned i = 0; i < ret->n_in; i++) {
    if (!needs_copy(ret, i)) continue;
    vq_builder b = {f, ret, ret->loc, pc->diag};
    vq_value *copy = vq_build_unary(&b, VQ_OP_copy, vq_in(ret, i),
                                    f->result_name[i]);
    if (!copy) return VQ_ERR;
    vq_set_operand(ret, i, copy);
    vq_stat(pc, "results copied", 1);
  }
  return VQ_OK;
}

vq_status vq_pass_outline(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_module_func(m, VQ_LIT("main"));
  if (!f)
    return vq_error(pc->diag, VQ_E_structure, (vq_loc){0},
                    "the module has no @main");
  if (copy_results(f, pc)) return VQ_ERR;
  vq_each_op_safe(f, op) {
    if (vq_has_trait(op, VQ_TRAIT_CALL | VQ_TRAIT_VIEW | VQ_TRAIT_TERM)) continue;
    if (!outline_op(op, pc->diag)) return VQ_ERR;
    vq_stat(pc, "ops outlined", 1);
  }
  return VQ_OK;
}
