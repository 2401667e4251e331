// A compiled model in LLVM: its tables, or all of it in one module.
#ifndef VQ_BACKEND_EMIT_MODEL_H
#define VQ_BACKEND_EMIT_MODEL_H

#include "layout.h"
#include "llvm.h"

// Adds the tables and functions around the kernels. A kernel that the module
// lacks is declared, as are the constants, <symbol>_constants. With `entries`
// there are <symbol>_run, <symbol>_workspace and the weak vitq_model_query;
// without, only <symbol>_query.
VQ_NODISCARD vq_status vq_emit_tables(vq_llvm *l, const vq_layout *layout,
                                      const vq_target *target,
                                      unsigned n_target, bool entries);

// Emits kernels for `n_target` rows, adds tables with entries.
VQ_NODISCARD vq_status vq_emit_model(vq_llvm *l, const vq_layout *layout,
                                     const vq_target *target,
                                     unsigned n_target);

#endif
