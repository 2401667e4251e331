// Rows of a kernel's operand, as they lie in memory or through a table.
//
// A kernel that computes row by row may read its operand through gather_rows
// and reshape: then row r consists of `pieces` runs of `piece` elements, run j
// at row table[r * pieces + j] of x. The convention holds for every element
// type of at least a byte: emitters that need a constant stride between rows
// copy the rows of a task to scratch first, others read each row in place.
#ifndef VQ_BACKEND_ROWS_H
#define VQ_BACKEND_ROWS_H

#include "emit.h"

typedef struct vq_rows {
  const vq_value *x;      // kernel argument
  const vq_value *table;  // kernel argument, or NULL: rows of x in order
  int64_t cols;           // elements of a row
  int64_t piece, pieces;  // cols = pieces * piece
  int64_t n, m;           // entries of table for m rows of x, group by group
  bool pad;               // a negative entry is a run of `value`
  float value;
} vq_rows;

// The first op of the kernel that is not part of reading rows.
const vq_op *vq_rows_anchor(const vq_func *kernel);

// Describes operand `v` of the anchor; false when it is neither an argument
// nor rows of one, or when the kernel computes anything else before.
bool vq_rows_match(const vq_func *kernel, const vq_value *v, vq_rows *r);

// True when every row is one run of x, whose address vq_rows_at gives.
bool vq_rows_in_place(const vq_rows *r);
LLVMValueRef vq_rows_at(const vq_emit *e, const vq_rows *r, LLVMValueRef row);

// Copies row `row` to `to`, in vectors of `lanes`.
void vq_rows_copy(const vq_emit *e, const vq_rows *r, LLVMValueRef row,
                  LLVMValueRef to, unsigned lanes);

#endif
