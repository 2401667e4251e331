// From one kernel and one ISA variant to one LLVM function.
#ifndef VQ_BACKEND_EMIT_KERNEL_H
#define VQ_BACKEND_EMIT_KERNEL_H

#include "layout.h"
#include "llvm.h"

// Adds the function, of type vitq_kernel_fn, to the module, visible so that
// the optimizer keeps it until the tables refer to it. `temp` may be reset
// afterwards. *out stays NULL after a diagnostic.
VQ_NODISCARD vq_status vq_emit_kernel(vq_llvm *l, const vq_layout_kernel *k,
                                      const vq_target *t, vq_arena *temp,
                                      LLVMValueRef *out);

#endif
