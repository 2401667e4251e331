// One LLVM module on its way to machine code, its messages sent to a vq_diag.
#ifndef VQ_BACKEND_LLVM_H
#define VQ_BACKEND_LLVM_H

#include <llvm-c/TargetMachine.h>

#include "emit.h"

typedef struct vq_llvm {
  LLVMContextRef lc;
  LLVMModuleRef mod;
  LLVMTargetMachineRef tm;
  vq_diag *diag;
} vq_llvm;

// Creates a context, a target machine for baseline x86-64 (functions carry
// their own CPU) and an empty module with its data layout. `name` is copied.
VQ_NODISCARD vq_status vq_llvm_open(vq_llvm *l, const char *name, vq_diag *diag);
void vq_llvm_close(vq_llvm *l);  // harmless on a zeroed or closed one

// Marks `fn` as code for `t` that never unwinds.
void vq_llvm_set_target(vq_llvm *l, LLVMValueRef fn, const vq_target *t);

// Adds an attribute without value ("noalias") or with one ("dereferenceable")
// to parameter `param` (from 1) or to the function (LLVMAttributeFunctionIndex).
void vq_llvm_attr(LLVMContextRef lc, LLVMValueRef fn, LLVMAttributeIndex param,
                  const char *name, uint64_t value);

// Verifies the module and runs LLVM's optimizer on it.
VQ_NODISCARD vq_status vq_llvm_optimize(vq_llvm *l, vq_loops loops);

// Another empty module that shares everything else with `l`, and moving its
// contents to `l`, which disposes of it.
vq_llvm vq_llvm_sibling(const vq_llvm *l);
void vq_llvm_join(vq_llvm *l, vq_llvm *sibling);

#endif
