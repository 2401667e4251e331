// Ops with their attributes spelled as arguments, for code that builds much of
// them. NULL operands give NULL results, so that chains need one check. What
// would do nothing (a reshape to the same shape, a slice of everything) is left out.
#ifndef VQ_PASSES_BLOCKS_H
#define VQ_PASSES_BLOCKS_H

#include "vq/build.h"

vq_value *vq_make_k(vq_builder *b, double v);  // a scalar constant
vq_value *vq_make_1(vq_builder *b, vq_opcode code, vq_value *x);
vq_value *vq_make_2(vq_builder *b, vq_opcode code, vq_value *x, vq_value *y);
vq_value *vq_make_select(vq_builder *b, vq_value *c, vq_value *x, vq_value *y);
vq_value *vq_make_reshape(vq_builder *b, vq_value *x, unsigned rank, const int64_t *dim);
vq_value *vq_make_transpose(vq_builder *b, vq_value *x, const int64_t *perm);
vq_value *vq_make_swap(vq_builder *b, vq_value *x);  // the last two dimensions
vq_value *vq_make_slice(vq_builder *b, vq_value *x, const int64_t *begin,
                        const int64_t *size, const int64_t *step_or_null);
vq_value *vq_make_pad(vq_builder *b, vq_value *x, const int64_t *lo, const int64_t *hi);
// Over the dimensions in bit mask `axes`, which stay as 1 if `keep`.
vq_value *vq_make_sum(vq_builder *b, vq_value *x, unsigned axes, bool keep);
vq_value *vq_make_matmul(vq_builder *b, vq_value *x, vq_value *y, bool transpose_y);
vq_value *vq_make_linear(vq_builder *b, vq_value *x, vq_value *w);

#endif
