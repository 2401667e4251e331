// How the rows and the depth of a product are divided, so that what is read again and
// again stays in a near cache.
//
// Rows are taken a few blocks at a time: one sweep over all columns, in which these rows
// stay in the second-level cache. Where the rows of a deep product would need several
// sweeps, each of which reads all weights, the depth is divided into slabs instead. Sums
// of a slab wait in scratch, where the next one goes on with them, so that all of a
// group's weights of a slab stay in the nearest cache. The chain of additions of an
// element is the same with slabs as without.
#ifndef VQ_BACKEND_BLOCKING_H
#define VQ_BACKEND_BLOCKING_H

#include <stdint.h>

#define VQ_TASK_ROWS 12  // of a block

typedef struct vq_blocking {
  int64_t step;    // blocks in one sweep
  int64_t slab;    // elements of a column in one slab, a multiple of 4 or all
  int64_t n_slab;
} vq_blocking;

// Of a product of `blocks` blocks of rows, n columns and `k` elements deep, an element of
// A taking `bytes`. The depth is divided where fewer than `few` blocks fit in a sweep:
// never with 0, wherever it saves a sweep with `blocks`.
vq_blocking vq_blocking_of(int64_t blocks, int64_t n, int64_t k, int64_t bytes, int64_t few);

// Bytes of scratch for the sums that wait; 0 with one slab.
int64_t vq_blocking_bytes(const vq_blocking *b, int64_t n);

#endif
