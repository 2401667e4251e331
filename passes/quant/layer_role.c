// Which part of a transformer a layer is, by what it reads and what reads it.
//
// Values are followed through data movement and quantizers, whatever exporters and
// earlier passes put between layers.
#include "quant/quantizer.h"

static bool is_act(const vq_op *op) {
  return op->code == VQ_OP_gelu || op->code == VQ_OP_silu || op->code == VQ_OP_relu;
}

static bool passes_on(const vq_op *op) {
  return vq_quant_moves(op) || op->code == VQ_OP_fake_quant;
}

// What computes `v`, NULL for arguments and constants.
static const vq_op *producer(const vq_value *v) {
  while (v->kind == VQ_VALUE_RESULT && passes_on(v->def)) v = vq_in(v->def, 0);
  return v->kind == VQ_VALUE_RESULT ? v->def : NULL;
}

// An activation function, or a gate times its value.
static bool is_activated(const vq_op *op) {
  if (!op || op->code != VQ_OP_mul) return op && is_act(op);
  const vq_op *a = producer(vq_in(op, 0)), *b = producer(vq_in(op, 1));
  return (a && is_act(a)) || (b && is_act(b));
}

// A value that leaves the model and is read by nothing but what moves it there, or
// combines it with others of its kind, as distilled models do with two heads. Heads
// are short: *steps readers are followed.
static bool leaves(const vq_value *v, unsigned *steps) {
  vq_each_use(v, u) {
    const vq_op *op = u->user;
    if (op->code == VQ_OP_return) continue;
    if ((*steps)-- == 0 || op->code == VQ_OP_fake_quant) return false;
    if (!vq_quant_moves(op) && !vq_has_trait(op, VQ_TRAIT_ELTWISE)) return false;
    if (!leaves(op->out, steps)) return false;
  }
  return true;
}

// The role that the readers of `v` give it.
static vq_role role_by_readers(const vq_value *v, unsigned *steps) {
  vq_each_use(v, u) {
    const vq_op *op = u->user;
    if (op->code == VQ_OP_attention) return VQ_ROLE_QKV;
    if (is_activated(op)) return VQ_ROLE_FC1;
    if (!passes_on(op) || u->idx != 0 || !*steps) continue;
    --*steps;
    vq_role r = role_by_readers(op->out, steps);
    if (r != VQ_ROLE_LINEAR) return r;
  }
  return VQ_ROLE_LINEAR;
}

vq_role vq_quant_layer_role(const vq_op *op) {
  unsigned to_end = 16, to_reader = 32;
  const vq_op *from = producer(vq_in(op, 0));
  if (op->code == VQ_OP_patch_embed) return VQ_ROLE_PATCH;
  if (leaves(op->out, &to_end)) return VQ_ROLE_HEAD;
  if (from && from->code == VQ_OP_attention) return VQ_ROLE_PROJ;
  if (is_activated(from)) return VQ_ROLE_FC2;
  return role_by_readers(op->out, &to_reader);
}
