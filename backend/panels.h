// A product of floats with its right operand in panels, as one of the steps of a kernel.
#ifndef VQ_BACKEND_PANELS_H
#define VQ_BACKEND_PANELS_H

#include "tile.h"

// c[r * ldc + j] = sum of element (r, i) of a times (i, j) of b, for `rows` rows of a part
// of `p` and all of its columns.
typedef struct vq_panels {
  const vq_product *p;
  LLVMValueRef rows;     // i64
  LLVMValueRef a, b, c;  // a as vq_tile says, b in panels
  int64_t lda, ldc, k;
  bool exact;            // nothing is written behind the last column
  LLVMValueRef fetch;    // memory that tiles fetch meanwhile; NULL: none
  LLVMValueRef zeros;    // scratch: VQ_TILE_COLS zeros,
  LLVMValueRef tile;     // and where exact a tile, VQ_TILE_FLOATS
  // private
  LLVMValueRef col;
  unsigned cols;
} vq_panels;
void vq_panels_multiply(const vq_emit *e, vq_panels *m);
// Writes the zeros.
void vq_panels_clear(const vq_emit *e, LLVMValueRef zeros);

#endif
