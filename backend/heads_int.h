// What the emitters of attention_int share: its operands, and rows of scores to codes of
// probabilities.
#ifndef VQ_BACKEND_HEADS_INT_H
#define VQ_BACKEND_HEADS_INT_H

#include "heads.h"
#include "quant.h"

typedef struct vq_heads_int {
  vq_heads s;
  const vq_attrs_attention_int *attrs;
  // while emitting
  unsigned lanes;  // of i32 or f32, the target's
  vq_quant_prob prob;
  bool wide;                   // codes of probabilities are i16, else i8
  int64_t code_row;            // elements of four bytes between rows of them
  LLVMValueRef scores, codes;  // i32 or f32; both are read and written in whole vectors
  LLVMValueRef row;            // the query of their first row
} vq_heads_int;

// Describes a kernel whose anchor is attention_int: q, k and v are codes of 8 bits, the
// latter two i8 without zero point or u8 that xor 0x80 makes one. No sum leaves i32, and sums
// of codes of probabilities are exact as f32.
bool vq_heads_int_match(const vq_func *kernel, vq_heads_int *a);
// Sets `lanes` and `prob`.
void vq_heads_int_begin(const vq_emit *e, vq_heads_int *a);

// Codes of `type`, bytes or four to an element, with the signedness of `want`.
LLVMValueRef vq_heads_int_as(const vq_emit *e, vq_dtype type, vq_dtype want, LLVMValueRef x);

// Of row `i` of scores: the largest as f32, then their codes, given that; returns the sum of
// the codes, i32.
LLVMValueRef vq_heads_int_max(const vq_emit *e, const vq_heads_int *a, LLVMValueRef i);
LLVMValueRef vq_heads_int_code(const vq_emit *e, const vq_heads_int *a, LLVMValueRef i,
                               LLVMValueRef max);

#endif
