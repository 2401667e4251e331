// autocast: products with constant weights take these, and rows, as bf16.
//
// The weight of each linear and patch_embed of floats that is known when the model is
// compiled, a constant or what pure ops make of constants, is cast to bf16; fold makes a
// constant of that. The op then rounds its rows by definition, multiplies without error and
// adds up in f32. Everything else stays f32: attention, norms, activations, sums of the
// residual stream. It is for gradients, which a relative error of 2^-9 of an operand does
// not harm; nothing that says what ranges or codes are is computed so.
#include "passes.h"
#include "vq/rewrite.h"

typedef struct caster {
  vq_pass_ctx *pc;
  vq_map known;  // results that follow from constants
} caster;

static bool is_known(const caster *k, vq_value *v) {
  return vq_const_of(v) || vq_map_find(&k->known, VQ_MAP_PTR_KEY(v));
}

static void note_known(caster *k, const vq_op *op) {
  if (!vq_has_trait(op, VQ_TRAIT_PURE) || op->n_in == 0 || op->n_out != 1) return;
  for (unsigned i = 0; i < op->n_in; i++)
    if (!is_known(k, vq_in(op, i))) return;
  const vq_value **key = VQ_NEW(k->pc->temp, const vq_value *);
  *key = op->out;
  vq_map_put(&k->known, VQ_MAP_PTR_KEY(*key));
}

static bool is_plain(const vq_op *op) {
  if (op->code == VQ_OP_linear) return vq_str_is(VQ_ATTRS(op, linear)->layout, "oi");
  return op->code == VQ_OP_patch_embed && vq_str_is(VQ_ATTRS(op, patch_embed)->layout, "oi");
}

static vq_status cast_weight(vq_op *op, vq_pass_ctx *pc) {
  vq_builder b = {op->func, op, op->loc, pc->diag};
  vq_value *in[3] = {vq_in(op, 0), vq_in(op, 1), vq_in_opt(op, 2)};
  vq_attrs_cast to = {.to = VQ_LIT("bf16")};
  in[1] = vq_build1(&b, VQ_OP_cast, &in[1], 1, &to, in[1]->name);
  if (!in[1]) return VQ_ERR;
  vq_set_operands(op, in, op->n_in);
  vq_stat(pc, "products in bf16", 1);
  return VQ_OK;
}

static vq_status cast_func(vq_func *f, vq_pass_ctx *pc) {
  caster k = {.pc = pc};
  vq_status status = VQ_OK;
  vq_each_op_safe(f, op) {
    note_known(&k, op);
    bool takes = is_plain(op) && vq_in(op, 0)->type->dtype == VQ_f32 &&
                 vq_in(op, 1)->type->dtype == VQ_f32 && is_known(&k, vq_in(op, 1));
    if (takes && (status = cast_weight(op, pc)) != VQ_OK) break;
  }
  vq_map_release(&k.known);
  return status;
}

vq_status vq_pass_autocast(vq_module *m, vq_pass_ctx *pc) {
  vq_each_func(m, f)
    if (f->kind == VQ_FUNC && cast_func(f, pc)) return VQ_ERR;
  return VQ_OK;
}
