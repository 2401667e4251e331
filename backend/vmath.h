// Elementary functions of f32 scalars and vectors, as straight-line LLVM IR.
//
// No call to a library is emitted. Error against the exact value is at most 3
// units in the last place (4 without fused multiply-add) where the result is
// normal; results below 2^-126 may become 0. NaN gives NaN; infinities and
// zeros give what C's functions give. sin and cos hold this for |x| < 2^26 and
// stay within [-1, 1] beyond.
#ifndef VQ_BACKEND_VMATH_H
#define VQ_BACKEND_VMATH_H

#include "emit.h"

LLVMValueRef vq_vexp(const vq_emit *e, LLVMValueRef x);
LLVMValueRef vq_vlog(const vq_emit *e, LLVMValueRef x);
LLVMValueRef vq_verf(const vq_emit *e, LLVMValueRef x);
// The normal distribution's probability of less than x; *bell is exp(-x^2 / 2), its density
// but for a factor of 1 / sqrt(2 pi).
LLVMValueRef vq_vnormal(const vq_emit *e, LLVMValueRef x, LLVMValueRef *bell);
LLVMValueRef vq_vtanh(const vq_emit *e, LLVMValueRef x);
LLVMValueRef vq_vsigmoid(const vq_emit *e, LLVMValueRef x);
LLVMValueRef vq_vsin(const vq_emit *e, LLVMValueRef x);
LLVMValueRef vq_vcos(const vq_emit *e, LLVMValueRef x);
LLVMValueRef vq_vpow(const vq_emit *e, LLVMValueRef x, LLVMValueRef y);

// Exact in every variant.
LLVMValueRef vq_vsqrt(const vq_emit *e, LLVMValueRef x);
LLVMValueRef vq_vabs(const vq_emit *e, LLVMValueRef x);
LLVMValueRef vq_vcopysign(const vq_emit *e, LLVMValueRef mag, LLVMValueRef sign);
LLVMValueRef vq_vround(const vq_emit *e, LLVMValueRef x);  // half to even
LLVMValueRef vq_vfloor(const vq_emit *e, LLVMValueRef x);
LLVMValueRef vq_vceil(const vq_emit *e, LLVMValueRef x);
LLVMValueRef vq_vtrunc(const vq_emit *e, LLVMValueRef x);

#endif
