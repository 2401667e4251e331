// What rules of gradients are given and may use, in the shorthand they are
// written in. A rule is one file's matter: nobody else includes this.
#ifndef VQ_PASSES_GRAD_RULE_H
#define VQ_PASSES_GRAD_RULE_H

#include "calib/blocks.h"
#include "calib/grad.h"

typedef struct vq_grad {
  vq_builder b;  // appends
  vq_module *m;
  vq_pass_ctx *pc;
  struct vq_grad_slots *slots;
} vq_grad;

// Adds to the gradients of `op`'s operands what the gradient `dy` of its result
// makes of them.
typedef vq_status vq_grad_rule(vq_grad *g, const vq_op *op, vq_value *dy);

#define GRAD(op) vq_grad_rule vq_grad_of_##op;
#define FLAT(op)
#define NONE(op, why)
#include "calib/grad_rules.def"
#undef GRAD
#undef FLAT
#undef NONE

// Whether operand `i` is there and the derivatives asked for depend on it.
bool vq_grad_wants(const vq_grad *g, const vq_op *op, unsigned i);

// Adds `d` to the gradient of operand `i`. `d` is summed over dimensions in which
// the operand was broadcast, and broadcast where it has fewer itself. NULL: an
// op could not be built, which fails.
VQ_NODISCARD vq_status vq_grad_add(vq_grad *g, const vq_op *op, unsigned i, vq_value *d);
// The same for a part of the operand that starts at `begin`; the rest gets 0.
// Parts side by side become one concat.
VQ_NODISCARD vq_status vq_grad_add_part(vq_grad *g, const vq_op *op, unsigned i,
                                        vq_value *d, const int64_t *begin);

// No gradient of `op`: `why`, as in "no gradient of 'gather': its index is ...".
vq_status vq_grad_refuse(vq_grad *g, const vq_op *op, const char *why);

// In a rule: operands, result, its gradient.
#define A vq_in(op, 0)
#define B vq_in(op, 1)
#define C vq_in(op, 2)
#define Y (op->out)
#define DY dy
#define RULE(name) \
  vq_status vq_grad_of_##name(vq_grad *g, const vq_op *op, vq_value *dy)
// `d` is built only if somebody wants it.
#define ADD(i, d)                                                       \
  do {                                                                  \
    if (vq_grad_wants(g, op, i) && vq_grad_add(g, op, i, d)) return VQ_ERR; \
  } while (0)
// Ops on values (blocks.h).
#define K(v) vq_make_k(&g->b, v)
#define MUL(x, y) vq_make_2(&g->b, VQ_OP_mul, x, y)
#define DIV(x, y) vq_make_2(&g->b, VQ_OP_div, x, y)
#define PLUS(x, y) vq_make_2(&g->b, VQ_OP_add, x, y)
#define SUB(x, y) vq_make_2(&g->b, VQ_OP_sub, x, y)
#define LESS(x, y) vq_make_2(&g->b, VQ_OP_less, x, y)
#define EQUAL(x, y) vq_make_2(&g->b, VQ_OP_equal, x, y)
#define UNARY(op, x) vq_make_1(&g->b, VQ_OP_##op, x)
#define BINARY(op, x, y) vq_make_2(&g->b, VQ_OP_##op, x, y)
#define SUM(x, axes, keep) vq_make_sum(&g->b, x, axes, keep)
#define RESHAPE(x, rank, ...) vq_make_reshape(&g->b, x, rank, __VA_ARGS__)
#define TRANSPOSE(x, ...) vq_make_transpose(&g->b, x, __VA_ARGS__)
#define SWAP(x) vq_make_swap(&g->b, x)
#define SLICE(x, begin, size) vq_make_slice(&g->b, x, begin, size, NULL)
#define PAD(x, lo, hi) vq_make_pad(&g->b, x, lo, hi)
#define MATMUL(x, y) vq_make_matmul(&g->b, x, y, false)
#define MATMUL_T(x, y) vq_make_matmul(&g->b, x, y, true)
#define LINEAR(x, w) vq_make_linear(&g->b, x, w)
#define SELECT(c, x, y) vq_make_select(&g->b, c, x, y)
#define NEG(x) UNARY(neg, x)
#define EXP(x) UNARY(exp, x)

#endif
