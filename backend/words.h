// Words, i16, on values held in registers: a vector has twice as many of them as of i32.
//
// The instructions of the target where the lanes are its registers', else plain arithmetic,
// which gives the same; one lane is a scalar (loop.h).
#ifndef VQ_BACKEND_WORDS_H
#define VQ_BACKEND_WORDS_H

#include "emit.h"

// (a * b + 2^14) >> 15 of words, the product of two fractions of 15 bits; -2^15 times
// itself wraps to -2^15.
LLVMValueRef vq_word_mulhrs(const vq_emit *e, LLVMValueRef a, LLVMValueRef b);
// Whether that is one instruction.
bool vq_word_has_mulhrs(const vq_emit *e, LLVMValueRef a);
// f32 to words, rounded half to even and saturated; for numbers below 2^31. A NaN gives
// -2^15.
LLVMValueRef vq_word_round(const vq_emit *e, LLVMValueRef x);
// (a * b) >> 16 of words without sign.
LLVMValueRef vq_word_mulhu(const vq_emit *e, LLVMValueRef a, LLVMValueRef b);
// i32 to words, and words to u8, both as signed numbers, saturated.
LLVMValueRef vq_word_pack_i32(const vq_emit *e, LLVMValueRef x);
LLVMValueRef vq_word_pack_u8(const vq_emit *e, LLVMValueRef x);

#endif
