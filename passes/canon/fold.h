// Evaluating one op at compile time.
#ifndef VQ_CANON_FOLD_H
#define VQ_CANON_FOLD_H

#include "vq/pass.h"

// The constant that `op` computes; its operands are constants with data. The op
// stays.
VQ_NODISCARD vq_status vq_fold_op(const vq_op *op, vq_pass_ctx *pc,
                                  vq_value **result);

#endif
