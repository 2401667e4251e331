// Machine code and LLVM's own formats in memory.
#include "object.h"

#include <llvm-c/BitWriter.h>

static LLVMMemoryBufferRef llvm_text(LLVMModuleRef mod) {
  char *text = LLVMPrintModuleToString(mod);
  LLVMMemoryBufferRef b =
      LLVMCreateMemoryBufferWithMemoryRangeCopy(text, strlen(text), "text");
  LLVMDisposeMessage(text);
  return b;
}

static vq_status machine_code(vq_llvm *l, LLVMCodeGenFileType type,
                              LLVMMemoryBufferRef *out) {
  uint32_t errors = l->diag->n_error;
  char *message = NULL;
  LLVMSetTargetMachineAsmVerbosity(l->tm, true);
  if (!LLVMTargetMachineEmitToMemoryBuffer(l->tm, l->mod, type, &message, out)) {
    if (l->diag->n_error == errors) return VQ_OK;
    LLVMDisposeMemoryBuffer(*out);
    return VQ_ERR;
  }
  vq_error(l->diag, VQ_E_backend, (vq_loc){0}, "LLVM: %s", message);
  LLVMDisposeMessage(message);
  return VQ_ERR;
}

vq_status vq_object_emit(vq_llvm *l, vq_emit_kind kind,
                         LLVMMemoryBufferRef *out) {
  switch (kind) {
    case VQ_EMIT_LLVM:
      *out = llvm_text(l->mod);
      return VQ_OK;
    case VQ_EMIT_BC:
      *out = LLVMWriteBitcodeToMemoryBuffer(l->mod);
      return VQ_OK;
    case VQ_EMIT_ASM:
      return machine_code(l, LLVMAssemblyFile, out);
    case VQ_EMIT_OBJ:
      return machine_code(l, LLVMObjectFile, out);
    case VQ_EMIT_ARCHIVE:
    case VQ_EMIT_SO:
    case VQ_EMIT_HEADER:
      break;
  }
  VQ_BUG("emit kind %d is not a form of a module", (int)kind);
}
