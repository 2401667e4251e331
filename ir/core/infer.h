// Inside of type inference: what each rule is given, and how it complains.
#ifndef VQ_CORE_INFER_H
#define VQ_CORE_INFER_H

#include "vq/build.h"

// One question: the op that would be made, and where its answer goes.
typedef struct vq_rule {
  vq_module *m;
  vq_diag *diag;
  vq_loc loc;
  const vq_op_desc *op;
  vq_value *const *in;
  unsigned n_in;
  const void *attrs;
  const vq_type **out;
  unsigned max_out, n_out;
} vq_rule;

// Answers with one result type; an error when it is too large.
vq_status vq_rule_result(vq_rule *r, vq_dtype dtype, unsigned rank,
                         const int64_t *dim);
vq_status vq_rule_result_type(vq_rule *r, const vq_type *t);

// The same for what is made of elements of operand 0: its quant entry goes along when
// it is of the whole tensor, or when its axis becomes dimension `axis` (-1: none),
// whole and counted as the entry counts it. Else the codes lose what they mean.
vq_status vq_rule_moved(vq_rule *r, unsigned rank, const int64_t *dim, int axis);

// "'linear' operand w is tensor<4x3, f32>, " and the rest: what was expected.
vq_status vq_rule_bad(vq_rule *r, vq_code code, unsigned operand,
                      const char *fmt, ...) VQ_PRINTF(4, 5);
// "'concat' attribute axis " and the rest: what is wrong with it.
vq_status vq_rule_bad_attr(vq_rule *r, const char *attr, const char *fmt, ...)
    VQ_PRINTF(3, 4);

// Operand `i` must have the given rank, exactly or at least.
vq_status vq_rule_rank(vq_rule *r, unsigned i, unsigned rank);
vq_status vq_rule_min_rank(vq_rule *r, unsigned i, unsigned rank);
// Operand `i`, if given, must have this shape.
vq_status vq_rule_shape(vq_rule *r, unsigned i, unsigned rank,
                        const int64_t *dim);
vq_status vq_rule_dtype(vq_rule *r, unsigned i, vq_dtype want);
vq_status vq_rule_max_bits(vq_rule *r, unsigned i, unsigned bits);
// That codes of `t` can have `fine` bits behind the point: 0, but up to VQ_MAX_FINE of i16.
vq_status vq_rule_fine(vq_rule *r, vq_dtype t, int64_t fine);
// A list attribute must have `n` entries, each in [lo, hi].
vq_status vq_rule_ints(vq_rule *r, const char *attr, vq_ints v, unsigned n,
                       int64_t lo, int64_t hi);

// The result of attention on operands q, k, v and maybe bias.
vq_status vq_rule_heads(vq_rule *r, int64_t heads, float scale);

static inline const vq_type *vq_rule_in(const vq_rule *r, unsigned i) {
  return r->in[i]->type;
}

// One rule per op: a row of ops.def without its rule does not link.
#define OP(op, traits, formula) vq_status vq_infer_##op(vq_rule *r);
#define IN(op, name, cls)
#define IN_OPT(op, name, cls)
#define IN_VAR(op, name, cls)
#define OUT(op, name)
#define OUT_VAR(op, name)
#define ATTR(op, kind, name, def)
#define ATTR_REQ(op, kind, name)
#define END(op)
#include "vq/ops.def"
#undef OP
#undef IN
#undef IN_OPT
#undef IN_VAR
#undef OUT
#undef OUT_VAR
#undef ATTR
#undef ATTR_REQ
#undef END

#endif
