// Elementwise ops on values held in registers, and the way in and out of them.
//
// In a register an f32 is `float`, an integer or bf16 iN of its storage width, i4 and
// u4 an i8 holding the extended nibble, and bool an i1; n lanes make a vector.
#ifndef VQ_BACKEND_ELT_H
#define VQ_BACKEND_ELT_H

#include "emit.h"

LLVMTypeRef vq_elt_type(const vq_emit *e, vq_dtype t, unsigned lanes);
// The type one element has in memory; i8 for nibbles.
LLVMTypeRef vq_elt_storage(const vq_emit *e, vq_dtype t);

// `value` converted to `t` as the interpreter does.
LLVMValueRef vq_elt_const(const vq_emit *e, vq_dtype t, float value);

// Reads `lanes` elements from element `index` (i64) of the tensor at `base`.
// Only the first `n` are read, the others are 0. Nibbles: one lane only.
LLVMValueRef vq_elt_load(const vq_emit *e, vq_dtype t, LLVMValueRef base,
                         LLVMValueRef index, unsigned lanes, unsigned n);
// Writes the first `n` lanes of `v`; not for nibbles, which share bytes.
void vq_elt_store(const vq_emit *e, vq_dtype t, LLVMValueRef v,
                  LLVMValueRef base, LLVMValueRef index, unsigned n);

// The result of `op`, which must be ELTWISE; operands have equal lanes.
LLVMValueRef vq_elt_emit(const vq_emit *e, const vq_op *op,
                         LLVMValueRef *operands);

#endif
