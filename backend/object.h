// An LLVM module as bytes, and an archive around an object.
#ifndef VQ_BACKEND_OBJECT_H
#define VQ_BACKEND_OBJECT_H

#include "llvm.h"
#include "vq/backend.h"
#include "vq/strbuf.h"

// `kind` is LLVM, BC, ASM or OBJ. Dispose of *out with LLVMDisposeMemoryBuffer.
VQ_NODISCARD vq_status vq_object_emit(vq_llvm *l, vq_emit_kind kind,
                                      LLVMMemoryBufferRef *out);

// Appends an ar archive with one member and an index of `n` symbols.
void vq_archive_write(vq_strbuf *out, const char *member, const void *object,
                      size_t size, const char *const *symbol, unsigned n);

#endif
