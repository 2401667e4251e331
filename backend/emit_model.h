// The whole compiled model as one LLVM module.
#ifndef VQ_BACKEND_EMIT_MODEL_H
#define VQ_BACKEND_EMIT_MODEL_H

#include "layout.h"
#include "llvm.h"

// What a module is for.
typedef enum vq_model_form {
  VQ_MODEL_LINKED,  // complete: constants inside, C entry points
  VQ_MODEL_TEXT,    // to be read: the constants are an external symbol
  VQ_MODEL_JIT      // constants external, no entry points but <symbol>_query
} vq_model_form;

// Emits kernels for `n_target` rows, optimizes them, adds the tables.
VQ_NODISCARD vq_status vq_emit_model(vq_llvm *l, const vq_layout *layout,
                                     const vq_target *target, unsigned n_target,
                                     vq_model_form form);

// Copies the constants of `layout` to `blob` (constant_bytes, zeroed).
void vq_layout_fill(const vq_layout *layout, void *blob);

#endif
