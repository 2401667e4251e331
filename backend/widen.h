// Codes of 8 bits as i16, for products without VNNI (tile.h).
//
// The even codes of all elements come first, then the odd ones: k elements of four codes
// become k elements of codes 0 and 2 and k elements of codes 1 and 3. Both operands have
// this order, and sums of codes are exact, so it makes no difference to the product.
#ifndef VQ_BACKEND_WIDEN_H
#define VQ_BACKEND_WIDEN_H

#include "emit.h"

// Of every element, i32, of a vector: codes 0 and 2, and 1 and 3, as pairs of i16.
typedef struct vq_halves {
  LLVMValueRef even, odd;
} vq_halves;
vq_halves vq_halves_u8(const vq_emit *e, LLVMValueRef x);
vq_halves vq_halves_i8(const vq_emit *e, LLVMValueRef x);

// A row of k elements of u8 to 2 k elements.
void vq_widen_row(const vq_emit *e, LLVMValueRef from, LLVMValueRef to, int64_t k);
// k elements of i8 of each panel, panels being `stride` elements long, to as many panels
// of 2 k elements.
void vq_widen_panels(const vq_emit *e, LLVMValueRef from, LLVMValueRef to,
                     unsigned panels, int64_t stride, int64_t k);

#endif
