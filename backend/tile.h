// The register tile of all matrix products: rows x vectors of sums.
//
// B of floats is packed in panels: element (i, c) of column c lies at
// b[(c / 16) * k * 16 + i * 16 + c % 16]. Every element of the product is one
// chain of multiply-adds in ascending i, whatever tile it falls into, so
// results depend neither on tile shapes nor on how tasks are divided.
//
// A product of codes is u8 times i8 with sums of i32. Its elements, of four
// bytes too, are four codes in succession: k counts those, and what fills
// the last one of a row is 0 in A or in B. Without VNNI products of many rows are
// computed on codes widened to i16 (widen.h): an element is then two codes of them. In a
// product of bf16 an element is two numbers.
//
// A tile is a function of its own, one for each shape and ISA variant. Lengths
// and strides are its arguments, so the products of all kernels share it. With AMX
// (amx.h) it is a block of two by two tiles of the hardware.
#ifndef VQ_BACKEND_TILE_H
#define VQ_BACKEND_TILE_H

#include "emit.h"
#include "vq/strbuf.h"

#define VQ_PANEL 16
#define VQ_TILE_FLOATS 512  // of the largest tile of any target, without AMX
#define VQ_TILE_COLS 128    // columns of the widest one

// Largest tile of a target for a product: `rows` x `vecs` accumulators of `lanes`
// fit in registers beside the operands.
typedef struct vq_tile_shape {
  unsigned lanes, rows, vecs;
} vq_tile_shape;
vq_tile_shape vq_tile_choose(const vq_target *t, const vq_product *p);

// ---- the functions -------------------------------------------------------------

// Which function. Of AMX there is one for one panel and one for two (vecs).
typedef enum vq_tile_kind {
  VQ_TILE_F32,
  VQ_TILE_ACROSS,  // of floats, A transposed
  VQ_TILE_U8,     // u8 times i8
  VQ_TILE_SMALL,  // the same where B has at most 4 bits, with AVX2
  VQ_TILE_I16,    // of codes that were widened
  VQ_TILE_BF16,   // pairs of bf16 (bf16.h)
  VQ_TILE_AMX,
  VQ_TILE_AMX_BF16
} vq_tile_kind;
#define VQ_WIDE_DEPTH 8192  // elements of u8 in the longest sum of widened codes
vq_tile_kind vq_tile_kind_of(const vq_target *t, const vq_product *p);
typedef struct vq_tile_id {
  unsigned rows, vecs;
  vq_tile_kind kind;
} vq_tile_id;

// Its parameters. Strides are in bytes, so that the index of an address is a
// register as it is; K counts elements, or the steps of AMX. Behind them come for AMX its
// configuration, and for tiles that fetch (vq_tile_fetches) what they fetch.
enum {
  VQ_TILE_A, VQ_TILE_LDA, VQ_TILE_B, VQ_TILE_PANEL, VQ_TILE_K, VQ_TILE_INIT,
  VQ_TILE_LDI, VQ_TILE_C, VQ_TILE_LDC, VQ_TILE_MORE, VQ_TILE_CONFIG = VQ_TILE_MORE,
  VQ_TILE_FETCH = VQ_TILE_MORE, VQ_TILE_STRIDE, VQ_TILE_N_PARAM
};

// Tiles of floats with 16 registers do VQ_TILE_STEPS steps between two tests of their loop,
// and fetch a cache line to the second-level cache in each such turn.
#define VQ_TILE_STEPS 8
bool vq_tile_fetches(const vq_target *t, const vq_product *p);

// Calls `add` for each that product `p` needs.
typedef void (*vq_tile_fn)(void *user, vq_tile_id id);
void vq_tile_shapes(const vq_target *t, const vq_product *p, vq_tile_fn add,
                    void *user);
// Of tiles in place there are none: those of a product that allows it, with VNNI
// and registers for an epilogue beside the sums.
bool vq_tile_is_in_place(const vq_target *t, const vq_product *p);
// Appends the name: "fashion_tile.14x2.avx512vnni" in a model called fashion,
// "fashion_tile_u8.14x2.avx512vnni" for codes, "fashion_tile_amx.32x2.amx-int8".
void vq_tile_symbol(vq_strbuf *s, const char *model, const vq_target *t,
                    vq_tile_id id);
LLVMTypeRef vq_tile_type(const vq_emit *e, vq_tile_id id);
// Builds e->fn, which is of that type.
void vq_tile_body(vq_emit *e, vq_tile_id id);
// sum[0 .. vecs) += one element of a row, in every lane of a, times b; of u8 or i16.
void vq_tile_add_codes(const vq_emit *e, vq_tile_kind kind, LLVMValueRef a,
                       LLVMValueRef const *b, unsigned vecs, LLVMValueRef *sum);
// sum + products of pairs of i16, of which every lane of a and b holds one.
LLVMValueRef vq_tile_add_pairs(const vq_emit *e, LLVMValueRef sum, LLVMValueRef a,
                               LLVMValueRef b);
// Of VQ_TILE_SMALL: one element of u8 in lanes of i16, which hold VQ_TILE_SMALL_STEPS of them;
// and sum + such lanes.
#define VQ_TILE_SMALL_STEPS 8
LLVMValueRef vq_tile_add_small(const vq_emit *e, LLVMValueRef a, LLVMValueRef b,
                               LLVMValueRef words);
LLVMValueRef vq_tile_fold_small(const vq_emit *e, LLVMValueRef words, LLVMValueRef sum);

// c[r * ldc + j] = init[r * ldi + j] + the product at row r and column col + j, for
// `rows` rows and `vecs` vectors of columns; `vecs` * lanes divides `col`. A block of
// AMX has the rows of `config` instead, and writes whole panels; its ldi is 0.
typedef struct vq_tile {
  LLVMValueRef a;  // element (r, i) at a[r * lda + i], across at a[i * lda + r]
  LLVMValueRef b;  // the matrix, all panels
  LLVMValueRef init, c, col;
  LLVMValueRef ldi;     // i64; NULL: 0
  int64_t panel;        // elements of a column in a panel of b; 0: k
  LLVMValueRef config;  // vq_amx_begin's; NULL without AMX
  LLVMValueRef fetch;   // the first line that it fetches; NULL: none, or it does not
  LLVMValueRef stride;  // bytes from one line to the next, i64
  int64_t lda, k, ldc;
  unsigned vecs;
} vq_tile;
void vq_tile_call(const vq_emit *e, const vq_product *p, const vq_tile *t,
                  LLVMValueRef rows);
// The same for exactly `rows` rows, as code of the kernel itself, together with other
// work, which the processor does between the multiply-adds: `each` in all t->k steps,
// `first` in the first `n` as well.
typedef struct vq_tile_side {
  LLVMValueRef n;
  void (*each)(const vq_emit *e, void *user, LLVMValueRef i);
  void (*first)(const vq_emit *e, void *user, LLVMValueRef i);
  void *user;
} vq_tile_side;
void vq_tile_in_place(const vq_emit *e, const vq_product *p, const vq_tile *t,
                      unsigned rows, const vq_tile_side *side);
// Columns that a tile for `cols` columns writes.
unsigned vq_tile_width(const vq_target *t, const vq_product *p, unsigned cols);

// ---- dividing a product ----------------------------------------------------------

// Part `part` of the rows of a product: its first row and how many. Sizes
// differ by one at most, larger ones come first.
LLVMValueRef vq_part_rows(const vq_emit *e, const vq_product *p,
                          LLVMValueRef part, LLVMValueRef *first);

// Splits the `rows` rows of a part into the fewest blocks that a tile holds,
// sizes differing by one at most, and calls `body` inside a loop over them.
// `row` counts from the first row of the part.
typedef void (*vq_block_fn)(const vq_emit *e, void *user, LLVMValueRef row,
                            LLVMValueRef rows);
void vq_each_block(const vq_emit *e, const vq_product *p, LLVMValueRef rows,
                   vq_block_fn body, void *user);

// Columns [lo, hi) of a product of `n` columns in groups of `width`: whole
// groups in a loop, then, where hi reaches n, the rest. `width` divides lo.
typedef void (*vq_group_fn)(const vq_emit *e, void *user, LLVMValueRef col,
                            unsigned cols);
void vq_each_group(const vq_emit *e, LLVMValueRef lo, LLVMValueRef hi,
                   int64_t n, unsigned width, vq_group_fn body, void *user);

#endif
