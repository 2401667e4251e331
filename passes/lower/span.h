// What the readers of a result see of it.
#ifndef VQ_LOWER_SPAN_H
#define VQ_LOWER_SPAN_H

#include "vq/ir.h"

// A box in a tensor: `size[k]` elements from `lo[k]` in each dimension.
typedef struct vq_span {
  int64_t lo[VQ_MAX_RANK], size[VQ_MAX_RANK];
} vq_span;

// All of a tensor of type `t`.
vq_span vq_span_whole(const vq_type *t);

// Widens `s`, which is all 0 or a span of its operand, by what a slice reads; false
// when it reads nothing, or backwards.
bool vq_span_add_slice(const vq_op *slice, vq_span *s);

// Widens `s` likewise by what one reader sees, a slice or a gather_rows; false when it is
// neither, or may see anything.
bool vq_span_add_reader(const vq_use *reader, vq_span *s);

// The span of `v` that its readers see; false when one of them sees all of it.
bool vq_span_read(const vq_value *v, vq_span *s);

// The column, index in the last dimension, at which `v` best becomes two results, so
// that one of them is read in at most half of its rows. Its readers are slices then, and
// none sees columns of both. False when there is no such column.
bool vq_span_divide(const vq_value *v, int64_t *column);

// The first dimension of its operand in which the table of a gather_rows picks rows:
// groups are whole entries of dimension 0, or there is one.
unsigned vq_span_first_picked(const vq_op *gather_rows);

// The step of a slice in dimension k.
int64_t vq_span_step(const vq_attrs_slice *a, unsigned k);

#endif
