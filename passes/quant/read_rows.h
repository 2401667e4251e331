// The rows of tokens that a model's results are read from.
#ifndef VQ_PASSES_READ_ROWS_H
#define VQ_PASSES_READ_ROWS_H

#include "passes.h"

// Of values [..., n, channels] these rows are read, be they picked by slices or tables
// between the last block and the results: class tokens, most often.
typedef struct vq_read_rows {
  int64_t n, n_read;
  const bool *read;  // n
} vq_read_rows;

// False where there are no such rows: where results depend on all of them, or on more
// than half, or are picked from different numbers of rows. Memory is that of `arena`.
bool vq_read_rows_find(const vq_func *f, vq_arena *arena, vq_read_rows *rows);

#endif
