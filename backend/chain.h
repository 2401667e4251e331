// The elementwise ops of a kernel, run on one vector of its result at a time.
//
// A kernel is an anchor (a GEMM, a norm) followed by elementwise ops over the
// anchor's result shape, or such ops alone. The shape is seen as rows of
// `cols` elements; operands are kernel arguments that broadcast against it.
#ifndef VQ_BACKEND_CHAIN_H
#define VQ_BACKEND_CHAIN_H

#include "emit.h"

typedef struct vq_chain {
  const vq_op *anchor;  // NULL: elementwise ops alone
  const vq_op *first;   // first op of the chain; == last when it is empty
  const vq_op *last;    // the op behind it, whose operands are the results: return
  const vq_type *type;  // the kernel's result; all results have its shape
  unsigned split;       // dimensions [split, rank) form a row
  int64_t rows, cols;
} vq_chain;

// Describes the ops after `anchor` (NULL: all ops). False when the kernel has
// results of several shapes, or behind an anchor more than one, an op that does not fit, or
// a 4-bit value. The row is the last dimension; without anchor, as many dimensions as all
// operands allow.
bool vq_chain_match(const vq_func *kernel, const vq_op *anchor, vq_chain *c);
bool vq_chain_empty(const vq_chain *c);

// Computes and stores the vectors of all results at (row, col .. col + lanes) given the
// anchor's vector `v` there (NULL without anchor); of operands and results only the first
// `n` lanes are read and written.
void vq_chain_store(const vq_emit *e, const vq_chain *c, LLVMValueRef v,
                    LLVMValueRef row, LLVMValueRef col, unsigned lanes,
                    unsigned n);

// Fetches into the nearest cache what that will read for `n` columns of row `row` but
// for operands that all rows share.
void vq_chain_fetch(const vq_emit *e, const vq_chain *c, LLVMValueRef row,
                    LLVMValueRef col, unsigned n);

// Calls `body` for every vector of a row: whole ones in a loop, then one of the
// remaining columns. The values carried through the loop are v[0 .. n_carry).
typedef void (*vq_row_fn)(const vq_emit *e, void *user, LLVMValueRef col,
                          unsigned lanes, unsigned n, LLVMValueRef *v);
void vq_row_each(const vq_emit *e, int64_t cols, unsigned lanes, vq_row_fn body,
                 void *user, unsigned n_carry, LLVMValueRef *v);

// The pointer of kernel argument `v`.
LLVMValueRef vq_arg_ptr(const vq_emit *e, const vq_value *v);

#endif
