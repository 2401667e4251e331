// Multiply-accumulates of one op.
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
    case VQ_OP_attention: {  // q k^T, then its product with v
      const vq_type *k = vq_in(op, 1)->type, *v = vq_in(op, 2)->type;
      int64_t rows = times(x->dim[0] * x->dim[1], k->dim[1]);
      return times(rows, x->dim[2] + v->dim[2]);
    }
    default:
      return 0;
  }
}
