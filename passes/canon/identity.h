// Ops that do nothing, and pairs of ops that do the work of one.
#ifndef VQ_CANON_IDENTITY_H
#define VQ_CANON_IDENTITY_H

#include "vq/rewrite.h"

// The operand that `op` always yields unchanged, bit for bit (NaN payloads
// apart), or NULL.
vq_value *vq_identity_of(const vq_op *op);

// When `op` and the op before it in its chain (reshape of reshape, transpose
// of transpose) are one op, replaces `op` by that one. `out` is then the new
// op, else `op` itself.
bool vq_identity_merge(vq_op *op, vq_diag *diag, vq_op **out);

// True when every element of constant `v` has the same value, stored in `out`.
bool vq_const_uniform(vq_value *v, double *out);

#endif
