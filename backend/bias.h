// Biases of products of codes, stored in as few bytes as their values take.
//
// Such a bias counts in steps of the sums, which are of i32; its values seldom need more
// than 24 bits, with weights of four bits hardly ever more than 16. A kernel that is given
// constants only reads them as i16, or in two planes: the low words of all columns, then
// the high bytes. Planes are filled up with zeros to a multiple of two panels of columns, the
// most that any target loads at once.
#ifndef VQ_BACKEND_BIAS_H
#define VQ_BACKEND_BIAS_H

#include "layout.h"

// Sets plan.bias_bytes of all kernels of `l`, whose steps are known: the least of 2, 3 and
// 4 that suits each bias of each step. It is 4 where a bias is no constant, or one that
// another operand needs as it is.
void vq_bias_choose(vq_layout *l);

// Bytes an element that constant `c` of @main is stored with: less than 4 for a bias.
unsigned vq_bias_width(const vq_layout *l, const vq_const *c);

// Bytes of a bias of `n` columns, `width` bytes each.
uint64_t vq_bias_bytes(int64_t n, unsigned width);
// `n` values of i32 as they are stored: themselves, or a copy from `arena`.
const void *vq_bias_store(const void *values, int64_t n, unsigned width, vq_arena *arena);

// Of bias `b` of the kernel at hand, as plan.bias_bytes says: `lanes` elements of i32 from
// column `at`, a multiple of `lanes`. Those behind the last column are zero.
LLVMValueRef vq_bias_load(const vq_emit *e, const vq_value *b, LLVMValueRef at,
                          unsigned lanes);

#endif
