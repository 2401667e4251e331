// Numbers of a kernel that its code reads instead of holding them.
//
// Blocks of an integer model differ in the scale of attention and the eps of norms
// alone. With these numbers in memory they share kernels: a step passes the address of
// its own behind the operands.
#ifndef VQ_BACKEND_NUMBERS_H
#define VQ_BACKEND_NUMBERS_H

#include "emit.h"

#define VQ_MAX_NUMBERS 4

// How many `kernel` has, in the order of its ops; `number` takes them or is NULL.
unsigned vq_numbers_of(const vq_func *kernel, float *number);
// Whether two kernels are equal but for their numbers.
bool vq_numbers_apart(const vq_func *a, const vq_func *b);
// That of `op`, an f32: the scale of attention_int, the eps of a layer_norm of codes.
LLVMValueRef vq_number(const vq_emit *e, const vq_op *op);

#endif
