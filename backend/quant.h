// The arithmetic of codes on values held in registers, as
// docs/integer-semantics.md states it: every operation rounded by itself, none
// fused.
#ifndef VQ_BACKEND_QUANT_H
#define VQ_BACKEND_QUANT_H

#include "emit.h"

// The result of quantize, requantize, dequantize, fake_quant, piecewise,
// piecewise_int or rescale;
// operands have equal lanes (elt.h).
LLVMValueRef vq_quant_emit(const vq_emit *e, const vq_op *op,
                           LLVMValueRef *operands);

// Codes of type `t` as i32 (or another integer type of `like`'s element).
LLVMValueRef vq_quant_widen(const vq_emit *e, vq_dtype t, LLVMValueRef x,
                            LLVMTypeRef elem);

// What a layer_norm of codes computes once a row from the exact sums (i64) of
// its n codes and of their squares: mean and 1 / sqrt(variance + eps), f32.
void vq_quant_norm(const vq_emit *e, LLVMValueRef sum, LLVMValueRef square,
                   int64_t n, LLVMValueRef eps, LLVMValueRef *mean,
                   LLVMValueRef *inv);

// Codes of probabilities, 0 to 255, of scores that are d below the largest, d <= 0 or NaN:
// by the table of the op, as i32, or by vq/exp2.h, as i16. The best vector has `lanes` lanes.
typedef struct vq_quant_prob {
  const vq_attrs_attention_int *attrs;
  LLVMValueRef table;  // in memory of the module; NULL: none
  unsigned lanes;
} vq_quant_prob;
vq_quant_prob vq_quant_prob_of(const vq_emit *e, const vq_attrs_attention_int *a);
LLVMValueRef vq_quant_prob_code(const vq_emit *e, const vq_quant_prob *p,
                                LLVMValueRef d);

#endif
