// The product of a linear or patch_embed kernel: what is known of it before code is
// written, and what the emitter (emit_gemm.c) keeps in the meantime.
#ifndef VQ_BACKEND_GEMM_H
#define VQ_BACKEND_GEMM_H

#include "amx.h"
#include "blocking.h"
#include "chain.h"
#include "rows.h"
#include "tile.h"

#define VQ_TASK_COLS 128
// Parts of scratch in elements of four bytes: tiles, what sums start with,
// configuration, gathered rows. AMX has two blocks under way.
enum {
  VQ_GEMM_TILES,
  VQ_GEMM_INIT = 2 * VQ_AMX_SUMS,
  VQ_GEMM_CONFIG = VQ_GEMM_INIT + VQ_TILE_COLS,
  VQ_GEMM_ROWS = VQ_GEMM_CONFIG + VQ_AMX_CONFIG
};

typedef struct vq_gemm {
  vq_chain chain;
  vq_rows rows;  // of A; patch_embed: rows.x is the picture
  const vq_value *w, *bias;
  vq_product product;
  vq_dtype x_type, y_type;
  int64_t m, n, k;   // k: elements of four bytes
  int64_t row_k;     // those of a row of A as it is: k, or numbers that make k pairs of bf16
  bool nibbles;      // w is of i4
  int64_t w_at;      // byte of scratch where it is unpacked or widened
  int64_t wide_at;   // where A is widened, or rounded to bf16
  int64_t part_at;   // where sums wait for the next slab
  int64_t scratch;   // its size
  int64_t patch[2];  // 0: linear
  bool gather;       // rows of A are copied to scratch first
  vq_blocking narrow, widened, undivided;  // of variants that do not widen, that do, of AMX
  int64_t row_blocks, col_chunks;
  // while emitting
  vq_tile_shape shape;
  bool use_amx, wide;
  bool rounds;           // rows of A are rounded to bf16
  vq_blocking by;
  LLVMValueRef from;  // first element of the slab
  int64_t deep;       // its elements
  bool last_slab;
  vq_amx amx;
  LLVMValueRef first, last;  // blocks of rows
  LLVMValueRef row_first;    // of `first`
  LLVMValueRef ahead;        // cache lines of B that each block fetches for the next group
  LLVMValueRef col, init;    // the group of columns, what its sums start with
  unsigned cols, vecs, width;  // of the group: width with what fills the last tile
  LLVMValueRef block, row0, rows_here;  // the block at hand, its first row and count
} vq_gemm;

// Describes a kernel whose anchor is linear or patch_embed, with weights that the pass
// pack laid out. False when it is none, has an epilogue that a chain cannot be, or needs
// more scratch than there is.
bool vq_gemm_describe(const vq_func *kernel, vq_gemm *g);

#endif
