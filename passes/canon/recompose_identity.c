// Ops that return an operand unchanged.
#include "canon/recompose.h"

static bool all_zero(const vq_ints *v) {
  for (unsigned i = 0; i < v->n; i++)
    if (v->p[i] != 0) return false;
  return true;
}

// The operand that a float op with a neutral constant returns, or NULL.
static vq_value *neutral(const vq_op *op) {
  vq_value *x, *c;
  double k;
  bool swapped;
  if (!vq_with_const(op, &x, &c, &swapped) || !vq_splat(c, &k)) return NULL;
  if (op->code == VQ_OP_add && k == 0) return x;
  if (op->code == VQ_OP_mul && k == 1) return x;
  if (swapped) return NULL;
  if (op->code == VQ_OP_sub && k == 0) return x;
  if (op->code == VQ_OP_div && k == 1) return x;
  return op->code == VQ_OP_pow && k == 1 ? x : NULL;
}

static vq_value *same_value(const vq_op *op) {
  double c;
  switch ((int)op->code) {
    case VQ_OP_copy:
    case VQ_OP_cast:
    case VQ_OP_reshape:
    case VQ_OP_expand:
    case VQ_OP_slice:  // nothing is cut when the type stays
      return vq_in(op, 0);
    case VQ_OP_transpose: {
      const vq_ints *p = &VQ_ATTRS(op, transpose)->perm;
      for (unsigned k = 0; k < p->n; k++)
        if (p->p[k] != k) return NULL;
      return vq_in(op, 0);
    }
    case VQ_OP_concat:
      return op->n_in == 1 ? vq_in(op, 0) : NULL;
    case VQ_OP_pad: {
      const vq_attrs_pad *a = VQ_ATTRS(op, pad);
      return all_zero(&a->lo) && all_zero(&a->hi) ? vq_in(op, 0) : NULL;
    }
    case VQ_OP_clip: {
      const vq_attrs_clip *a = VQ_ATTRS(op, clip);
      return a->lo == -INFINITY && a->hi == INFINITY ? vq_in(op, 0) : NULL;
    }
    case VQ_OP_select:
      return vq_splat(vq_in(op, 0), &c) ? vq_in(op, c != 0 ? 1 : 2) : NULL;
    case VQ_OP_add:
    case VQ_OP_sub:
    case VQ_OP_mul:
    case VQ_OP_div:
    case VQ_OP_pow:
      return neutral(op);
    default:
      return NULL;
  }
}

bool vq_rule_identity(vq_rw *rw, vq_op *op) {
  if (op->n_out != 1) return false;
  vq_value *v = same_value(op);
  if (!v || v->type != op->out[0].type) return false;
  if (op->code == VQ_OP_slice && VQ_ATTRS(op, slice)->step.n) {
    // A reversed dimension keeps the type, too.
    const vq_ints *s = &VQ_ATTRS(op, slice)->step;
    for (unsigned k = 0; k < s->n; k++)
      if (s->p[k] < 0) return false;
  }
  return vq_rw_replace(rw, op, v, NULL);
}
