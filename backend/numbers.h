// Numbers of a kernel that its code reads instead of holding them.
//
// Blocks of an integer model differ in the scale of attention, the eps of norms and the
// tables of activation functions alone. With these numbers in memory they share kernels: a
// step passes the address of its own behind the operands.
#ifndef VQ_BACKEND_NUMBERS_H
#define VQ_BACKEND_NUMBERS_H

#include "emit.h"
#include "vq/piecewise.h"

#define VQ_MAX_NUMBERS 48

// How many words of 32 bits `kernel` has, in the order of its ops; `number` takes them or is
// NULL.
unsigned vq_numbers_of(const vq_func *kernel, uint32_t *number);
// Whether two kernels are equal but for their numbers.
bool vq_numbers_apart(const vq_func *a, const vq_func *b);
// That of `op`, an f32: the scale of attention_int, the eps of a layer_norm of codes.
LLVMValueRef vq_number(const vq_emit *e, const vq_op *op);

// Of piecewise_int, where its words lie: the rows of coefficients (vq/piecewise.h), and what
// may be read from the begin of the last one on.
enum {
  VQ_CURVE_ROW = VQ_CURVE_PIECES / 2,
  VQ_CURVE_READ = 64,
  VQ_CURVE_WORDS = (VQ_CURVE_TERMS - 1) * VQ_CURVE_ROW + VQ_CURVE_READ / 4
};
LLVMValueRef vq_numbers_at(const vq_emit *e, const vq_op *op);

#endif
