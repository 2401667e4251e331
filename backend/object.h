// An LLVM module as bytes.
#ifndef VQ_BACKEND_OBJECT_H
#define VQ_BACKEND_OBJECT_H

#include "llvm.h"
#include "vq/backend.h"

// `kind` is LLVM, BC, ASM or OBJ. Dispose of *out with LLVMDisposeMemoryBuffer.
VQ_NODISCARD vq_status vq_object_emit(vq_llvm *l, vq_emit_kind kind,
                                      LLVMMemoryBufferRef *out);

#endif
