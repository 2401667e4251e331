// The register tile of all float matrix products: rows x vectors of sums.
//
// B is packed in panels: element (i, c) of column c lies at
// b[(c / 16) * k * 16 + i * 16 + c % 16]. Every element of the product is one
// chain of multiply-adds in ascending i, whatever tile it falls into, so
// results depend neither on tile shapes nor on how tasks are divided.
#ifndef VQ_BACKEND_TILE_H
#define VQ_BACKEND_TILE_H

#include "emit.h"

#define VQ_PANEL 16

// Largest tile of a target for products of `m` rows and `n` columns: `rows` x
// `vecs` accumulators of `lanes` fit in registers beside the operands.
typedef struct vq_tile_shape {
  unsigned lanes, rows, vecs;
} vq_tile_shape;
vq_tile_shape vq_tile_choose(const vq_target *t, int64_t m, int64_t n);

typedef struct vq_tile {
  unsigned rows, vecs, lanes;
  int64_t k;
  LLVMValueRef a;  // element (r, i) at a[r * lda + i]
  int64_t lda;
  LLVMValueRef b;  // the matrix, all panels
} vq_tile;

// acc[r * vecs + j] += the product at row r and vector j of the columns from
// `col` (i64, a multiple of vecs * lanes).
void vq_tile_sum(const vq_emit *e, const vq_tile *t, LLVMValueRef col,
                 LLVMValueRef *acc);

// Part `part` of [0, total) cut into n_part parts whose sizes differ by one at
// most, larger ones first. There are at most two sizes: `body` is emitted for
// each, under a test of `part`.
typedef void (*vq_part_fn)(const vq_emit *e, void *user, LLVMValueRef first,
                           int64_t size);
void vq_with_part(const vq_emit *e, int64_t total, int64_t n_part,
                  LLVMValueRef part, vq_part_fn body, void *user);

// Splits [0, rows) into the fewest blocks of at most `max` rows, sizes
// differing by one at most, and calls `body` inside a loop over those of each
// size. `row` is the first row of the block.
typedef void (*vq_block_fn)(const vq_emit *e, void *user, LLVMValueRef row,
                            unsigned rows);
void vq_each_block(const vq_emit *e, int64_t rows, unsigned max,
                   vq_block_fn body, void *user);

// Columns [lo, hi) of a product of `n` columns in groups of `width`: whole
// groups in a loop, then, where hi reaches n, the rest. `width` divides lo.
typedef void (*vq_group_fn)(const vq_emit *e, void *user, LLVMValueRef col,
                            unsigned cols);
void vq_each_group(const vq_emit *e, LLVMValueRef lo, LLVMValueRef hi,
                   int64_t n, unsigned width, vq_group_fn body, void *user);

#endif
