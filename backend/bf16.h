// Numbers of bf16, and products of them with sums of f32.
//
// In a register one is an i16, the upper half of an f32. A product's elements, of four
// bytes as those of codes (tile.h), are two of them: what fills the last one of a row is 0
// in A and in B. The rows of A are rounded to scratch when a kernel begins with them; B is
// rounded and packed when the model is compiled.
//
// vdpbf16ps adds the product of the odd ones to a sum, then that of the even ones, each
// rounded as a fused multiply-add is, as the product of two bf16 is exact in f32. Without
// it the same is done in two multiply-adds. The results are the same but for denormals,
// which the instruction takes for 0.
#ifndef VQ_BACKEND_BF16_H
#define VQ_BACKEND_BF16_H

#include "emit.h"

// f32 to the nearest bf16, half to even, and back; any number of lanes.
LLVMValueRef vq_bf16_round(const vq_emit *e, LLVMValueRef x);
LLVMValueRef vq_bf16_widen(const vq_emit *e, LLVMValueRef half);

// A row of n floats to (n + 1) / 2 elements.
void vq_bf16_row(const vq_emit *e, LLVMValueRef from, LLVMValueRef to, int64_t n);

// sum[0 .. vecs) += one element of a row, in every lane (i32) of a, times b (i32).
void vq_bf16_add(const vq_emit *e, LLVMValueRef a, LLVMValueRef const *b, unsigned vecs,
                 LLVMValueRef *sum);

#endif
