// From one kernel and one ISA variant to one LLVM function.
#ifndef VQ_BACKEND_EMIT_KERNEL_H
#define VQ_BACKEND_EMIT_KERNEL_H

#include "layout.h"
#include "llvm.h"
#include "vq/strbuf.h"

// Appends the name of a kernel's function for `t`, unique among models with
// different symbols: "fashion.gemm_m197n768k192_bias_gelu.x86_64_v4".
void vq_kernel_symbol(vq_strbuf *s, const vq_layout *l, uint32_t kernel,
                      const vq_target *t);

// Adds the function, hidden and of type vitq_kernel_fn, to an empty module and
// optimizes it.
VQ_NODISCARD vq_status vq_emit_kernel(vq_llvm *l, const vq_layout *layout,
                                      uint32_t kernel, const vq_target *t);

#endif
