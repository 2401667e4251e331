// fold: constant evaluation, and ops that do nothing.
//
// A pure op whose operands are all constants is evaluated by the interpreter,
// so folding cannot disagree with it. The result is a constant named after the
// value. Ops that yield an operand unchanged are dropped, and chains of
// reshapes, of transposes or of slices become one op; see identity.c for what is exact.
//
// Evaluation is capped: a few lines of input can ask for any amount of work. An
// op beyond the cap stays as it is, with a warning.
//
// One forward sweep suffices: operands are simplified before their users.
#include "vq/eval.h"
#include "vq/rewrite.h"

#include "canon/fold.h"
#include "canon/identity.h"
#include "passes.h"

static bool is_present(const vq_const *c) {
  return c && c->init != VQ_INIT_MISSING;
}

vq_fold_budget vq_fold_allow(const vq_module *m, int64_t max_bytes,
                             int64_t max_steps) {
  enum { STEPS_PER_BYTE = 32 };
  vq_fold_budget b = {.max_growth = max_bytes};
  b.all = max_steps > 0 ? (uint64_t)max_steps : 0;
  vq_each_const(m, c)
    if (c->init == VQ_INIT_BYTES)
      b.all += STEPS_PER_BYTE * (uint64_t)vq_type_bytes(c->value.type);
  b.left = b.all;
  return b;
}

static bool has_room(const vq_fold_budget *b, const vq_op *op) {
  int64_t before = 0;
  for (unsigned i = 0; i < op->n_in; i++)
    before += vq_type_bytes(vq_in(op, i)->type);
  return vq_type_bytes(op->out->type) - before <= b->max_growth;
}

bool vq_fold_spend(vq_fold_budget *b, const vq_op *op, vq_pass_ctx *pc) {
  uint64_t steps = vq_op_steps(op);
  if (!has_room(b, op)) return false;
  if (steps <= b->left) {
    b->left -= steps;
    return true;
  }
  vq_stat(pc, "ops over the limit", 1);
  if (!b->told)
    b->told = vq_warn(pc->diag, VQ_E_limit, op->loc, "%s: not evaluated, it "
                      "takes %llu steps but of %llu for this module %llu are "
                      "left", vq_op_info(op->code)->name,
                      (unsigned long long)steps, (unsigned long long)b->all,
                      (unsigned long long)b->left) == VQ_OK;
  return false;
}

// True when `op` can be evaluated.
static bool is_foldable(const vq_op *op) {
  if (!vq_has_trait(op, VQ_TRAIT_PURE) || op->n_in == 0) return false;
  for (unsigned i = 0; i < op->n_in; i++)
    if (!is_present(vq_const_of(vq_in(op, i)))) return false;
  return true;
}

vq_status vq_fold_op(const vq_op *op, vq_pass_ctx *pc, vq_value **result) {
  vq_module *m = op->func->module;
  vq_tensor *in = VQ_NEW_N(pc->temp, vq_tensor, op->n_in);
  for (unsigned i = 0; i < op->n_in; i++) {
    vq_const *c = vq_const_of(vq_in(op, i));
    in[i] = (vq_tensor){c->value.type, (void *)vq_const_bytes(c)};
  }
  const vq_type *type = op->out->type;
  vq_tensor out = {type, vq_arena_alloc(&m->arena,
                                        (size_t)vq_type_bytes(type), 64)};
  if (vq_eval_op(op, in, &out, pc->diag)) return VQ_ERR;
  vq_str name = op->out->name;
  if (!name.n) name = vq_str_of(vq_op_info(op->code)->name);
  *result = &vq_const_new(m, name, type, out.data)->value;
  return VQ_OK;
}

static vq_status fold_func(vq_func *f, vq_fold_budget *b, vq_pass_ctx *pc) {
  vq_each_op_safe(f, op) {
    vq_value *same = NULL;
    if (is_foldable(op) && vq_fold_spend(b, op, pc)) {
      if (vq_fold_op(op, pc, &same)) return VQ_ERR;
      vq_stat(pc, "ops evaluated", 1);
    } else {
      if (vq_identity_merge(op, pc->diag, &op)) vq_stat(pc, "ops merged", 1);
      same = vq_identity_of(op);
      if (same) vq_stat(pc, "ops dropped", 1);
    }
    if (same) vq_replace_op(op, same);
  }
  return VQ_OK;
}

vq_status vq_pass_fold(vq_module *m, vq_pass_ctx *pc) {
  const vq_pass_fold_opts *o = VQ_OPTS(pc, vq_pass_fold);
  vq_fold_budget b = vq_fold_allow(m, o->max_bytes, o->max_steps);
  vq_each_func(m, f)
    if (fold_func(f, &b, pc)) return VQ_ERR;
  return VQ_OK;
}
