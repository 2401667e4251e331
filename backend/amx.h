// Products of codes or bf16 on the tiles of AMX.
//
// Two tiles of 16 rows of A and two panels of B make a block of up to 32 x 32
// sums. A tile holds as many rows as its configuration says, all blocks of a
// run of rows share one configuration, and loading it costs as much as a
// block; so blocks have one size, and the last begins where it still fits:
// some of its rows are computed again.
//
// A panel of B (tile.h) is a sequence of B tiles: 16 elements of k in 16 columns
// are 16 rows of 64 bytes. So VNNI and AMX share the packed weights. The depth of a
// product is divided into equal steps of at most 16 elements, with which no
// second configuration is needed; where that would take small steps, the tiles of
// codes in vector registers are better. Pairs of bf16 lie as four codes do, and sums of f32
// as those of i32: only the instruction is another one.
#ifndef VQ_BACKEND_AMX_H
#define VQ_BACKEND_AMX_H

#include "emit.h"

#define VQ_AMX_ROWS 32                           // of a block
#define VQ_AMX_COLS 32
#define VQ_AMX_SUMS (VQ_AMX_ROWS * VQ_AMX_COLS)
#define VQ_AMX_STEP 16                           // elements, at most
#define VQ_AMX_CONFIG 16                         // its size in elements

// Whether the variant computes `p` so.
bool vq_amx_takes(const vq_target *t, const vq_product *p);
int64_t vq_amx_step(const vq_product *p);  // elements

// The blocks of a run of rows.
typedef struct vq_amx {
  LLVMValueRef rows, size, count;
  LLVMValueRef config;
} vq_amx;

// Configures the tiles for a run of `rows` rows (as many as in a part, or more);
// `config` is scratch of VQ_AMX_CONFIG elements.
vq_amx vq_amx_begin(const vq_emit *e, const vq_product *p, LLVMValueRef rows,
                    LLVMValueRef config);
void vq_amx_end(const vq_emit *e);

// Rows [row, row + size) of the run; the first `skip` are in the previous block
// too. `nth` counts blocks.
typedef struct vq_amx_block {
  LLVMValueRef nth, row, skip;
} vq_amx_block;

// Calls `tile` for each block, and `finish` for it after `tile` of the next: the
// sums of a block are ready late, meanwhile the vector units have work. NULL: not
// needed.
typedef void (*vq_amx_fn)(const vq_emit *e, void *user, const vq_amx_block *b);
void vq_amx_each_block(const vq_emit *e, const vq_amx *x, vq_amx_fn tile,
                       vq_amx_fn finish, void *user);

// Builds the function of a block of `panels` panels (1 or 2), of codes or of bf16, as
// vq_tile_body does.
void vq_amx_body(vq_emit *e, unsigned panels, bool bf16);

// ---- tiles in memory -------------------------------------------------------------
// What the instructions do, as calls of functions of the module. `tiles` is
// memory for eight tiles, p or stride a value, the others numbers of tiles. They
// trap where the instructions would raise an exception.
#define VQ_AMX_TILE_BYTES 1024
#define VQ_AMX_N_TILE 8

typedef struct vq_amx_soft {
  LLVMValueRef config, tiles;
} vq_amx_soft;

void vq_amx_soft_load(const vq_emit *e, const vq_amx_soft *s, unsigned tile,
                      LLVMValueRef p, LLVMValueRef stride);
void vq_amx_soft_store(const vq_emit *e, const vq_amx_soft *s, unsigned tile,
                       LLVMValueRef p, LLVMValueRef stride);
void vq_amx_soft_add(const vq_emit *e, const vq_amx_soft *s, bool bf16, unsigned sums,
                     unsigned a, unsigned b);

// Where the configuration states the bytes of a row (u16) and the rows (u8) of a
// tile.
#define VQ_AMX_BYTES_AT(tile) (16 + 2 * (tile))
#define VQ_AMX_ROWS_AT(tile) (48 + (tile))

#endif
