// What recompose left over, and the pass that refuses a module with leftovers.
//
// An op counts when it occurs in transformers as a part of a pattern only. The
// same ops at the end of a network (tanh of a pooler, softmax of the logits) or
// in a plain division by a norm are no parts of one, so neighbours are asked.
#include "canon/pattern.h"
#include "vq/recompose.h"

#include "passes.h"

enum { MAX_WALK = 16 };

static bool moves(const vq_op *op) {
  return op->code == VQ_OP_reshape || op->code == VQ_OP_transpose ||
         op->code == VQ_OP_slice || op->code == VQ_OP_select ||
         op->code == VQ_OP_expand;
}

// True when a product reads `v`, possibly through movement.
static bool feeds(const vq_value *v, vq_opcode code, vq_opcode or_code,
                  int depth) {
  vq_each_use(v, u) {
    if (u->user->code == code || u->user->code == or_code) return true;
    if (moves(u->user) && depth > 0 &&
        feeds(&u->user->out[0], code, or_code, depth - 1))
      return true;
  }
  return false;
}

// True when `v` is made from a mean by arithmetic: a variance, or a mean of
// squares.
static bool is_mean(const vq_value *v, int depth) {
  if (v->kind != VQ_VALUE_RESULT || depth == 0) return false;
  if (v->def->code == VQ_OP_reduce_mean) return true;
  if (v->def->code != VQ_OP_add && v->def->code != VQ_OP_sub &&
      v->def->code != VQ_OP_sqrt)
    return false;
  for (unsigned i = 0; i < v->def->n_in; i++)
    if (is_mean(vq_in(v->def, i), depth - 1)) return true;
  return false;
}

// What `op` is a part of; NULL when it may stand alone.
static const char *construct_of(const vq_op *op) {
  switch ((int)op->code) {
    case VQ_OP_matmul:
      return vq_const_of(vq_in(op, 1)) ? "linear" : "attention";
    case VQ_OP_softmax:
      return feeds(&op->out[0], VQ_OP_matmul, VQ_OP_matmul, MAX_WALK)
                 ? "attention" : NULL;
    case VQ_OP_exp:
      return feeds(&op->out[0], VQ_OP_div, VQ_OP_reduce_sum, 1) ? "softmax"
                                                                : NULL;
    case VQ_OP_erf: return "gelu";
    case VQ_OP_tanh:
      return feeds(&op->out[0], VQ_OP_add, VQ_OP_mul, 1) ? "gelu" : NULL;
    case VQ_OP_sigmoid:
      return feeds(&op->out[0], VQ_OP_mul, VQ_OP_mul, 1) ? "gelu or silu" : NULL;
    case VQ_OP_sqrt:
    case VQ_OP_pow:
      return is_mean(vq_in(op, 0), 4) ? "layer_norm" : NULL;
    case VQ_OP_conv2d: return "patch_embed or linear";
    default: return NULL;
  }
}

void vq_recompose_leftovers(const vq_module *m, vq_leftover_fn fn,
                            void *user) {
  vq_each_func(m, f) {
    vq_each_op(f, op) {
      const char *construct = construct_of(op);
      if (construct) fn(user, op, construct);
    }
  }
}

static void report(void *user, const vq_op *op, const char *construct) {
  vq_error(user, VQ_E_unsupported, op->loc, "%s is not part of %s %s here",
           vq_op_info(op->code)->name, *construct == 'a' ? "an" : "a",
           construct);
}

vq_status vq_pass_require_fused(vq_module *m, vq_pass_ctx *pc) {
  uint32_t n_error = pc->diag->n_error;
  vq_recompose_leftovers(m, report, pc->diag);
  if (pc->diag->n_error == n_error) return VQ_OK;
  vq_note(pc->diag, (vq_loc){0},
          "without --require-fused such a model compiles, more slowly");
  return VQ_ERR;
}
