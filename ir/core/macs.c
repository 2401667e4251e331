// What one op costs: multiply-accumulates, and steps of the interpreter.
#include "vq/ir.h"

static int64_t times(int64_t a, int64_t b) {
  int64_t r;
  return __builtin_mul_overflow(a, b, &r) ? INT64_MAX : r;
}

int64_t vq_op_macs(const vq_op *op) {
  if (op->n_out != 1) return 0;
  int64_t n_out = vq_type_count(op->out[0].type);
  const vq_type *x = op->n_in ? vq_in(op, 0)->type : NULL;
  switch ((int)op->code) {
    case VQ_OP_matmul:
    case VQ_OP_linear:
      return times(n_out, x->dim[x->rank - 1]);
    case VQ_OP_conv2d: {
      const int64_t *w = vq_in(op, 1)->type->dim;
      return times(n_out, w[1] * w[2] * w[3]);
    }
    case VQ_OP_patch_embed: {
      vq_ints patch = VQ_ATTRS(op, patch_embed)->patch;
      return times(n_out, x->dim[1] * patch.p[0] * patch.p[1]);
    }
    case VQ_OP_attention:
    case VQ_OP_attention_int: {  // q k^T, then its product with v
      const vq_type *k = vq_in(op, 1)->type, *v = vq_in(op, 2)->type;
      int64_t rows = times(x->dim[0] * x->dim[1], k->dim[1]);
      return times(rows, x->dim[2] + v->dim[2]);
    }
    case VQ_OP_attention_softmax:
      return times(n_out, x->dim[2] / VQ_ATTRS(op, attention_softmax)->heads);
    case VQ_OP_attention_grad: {  // g v^T, and one for each of q, k, v
      const vq_type *k = vq_in(op, 1)->type, *v = vq_in(op, 2)->type;
      int64_t rows = times(x->dim[0] * x->dim[1], k->dim[1]);
      return times(rows, 2 * x->dim[2] + 2 * v->dim[2]);
    }
    default:
      return 0;
  }
}

// Steps an element of `op`'s result takes in the interpreter, whose functions
// are the C library's double ones, and which looks each index up by itself.
static int64_t weight(vq_opcode code) {
  switch ((int)code) {
    case VQ_OP_exp:
    case VQ_OP_log:
    case VQ_OP_erf:
    case VQ_OP_tanh:
    case VQ_OP_sigmoid:
    case VQ_OP_sin:
    case VQ_OP_cos:
    case VQ_OP_gelu:
    case VQ_OP_gelu_slope:
    case VQ_OP_silu:
    case VQ_OP_pow:
    case VQ_OP_mod:
    case VQ_OP_softmax:
    case VQ_OP_attention:
    case VQ_OP_attention_softmax:
    case VQ_OP_attention_grad:
    case VQ_OP_attention_int:
    case VQ_OP_layer_norm:
    case VQ_OP_layer_norm_grad:
      return 8;
    case VQ_OP_gather:
    case VQ_OP_gather_rows:
    case VQ_OP_div:
      return 4;
    default:
      return 1;
  }
}

// Memory that is touched first costs about as much as computing what goes there.
static int64_t result_steps(const vq_op *op, const vq_type *t) {
  enum { BYTES_PER_STEP = 4 };
  return vq_type_count(t) * weight(op->code) + vq_type_bytes(t) / BYTES_PER_STEP;
}

uint64_t vq_op_steps(const vq_op *op) {
  uint64_t n = 16 + (uint64_t)vq_op_macs(op);
  for (unsigned i = 0; i < op->n_out; i++)
    n += (uint64_t)result_steps(op, op->out[i].type);
  for (unsigned i = 0; i < op->n_in; i++)
    n += (uint64_t)vq_type_count(vq_in(op, i)->type);
  return n;
}
