// Evaluating ops at compile time, and what a pass may spend on it.
#ifndef VQ_CANON_FOLD_H
#define VQ_CANON_FOLD_H

#include "vq/pass.h"

// A few lines of input can ask for any amount of work and memory.
typedef struct vq_fold_budget {
  int64_t max_growth;  // bytes a result may have more than its operands
  uint64_t all, left;  // steps: elements and multiply-adds
  bool told;           // the warning is given once
} vq_fold_budget;

// `max_steps`, and in proportion to the constants that the module stores.
vq_fold_budget vq_fold_allow(const vq_module *m, int64_t max_bytes,
                             int64_t max_steps);

// True when `op` is within the budget; its steps are spent then. The first that
// takes too many steps gets a warning.
bool vq_fold_spend(vq_fold_budget *b, const vq_op *op, vq_pass_ctx *pc);

// The constant that `op` computes; its operands are constants with data. The op
// stays.
VQ_NODISCARD vq_status vq_fold_op(const vq_op *op, vq_pass_ctx *pc,
                                  vq_value **result);

#endif
