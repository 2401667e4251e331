// What the attention kernels, of floats and of codes, have in common: operands
// with heads, and tasks.
//
// A task is a few blocks of queries of one head of one sample. `slice` ops on
// the way to q, k and v become offsets and strides, so packed qkv projections
// are read where they lie.
#ifndef VQ_BACKEND_HEADS_H
#define VQ_BACKEND_HEADS_H

#include "amx.h"
#include "chain.h"

// Queries of a block, at most: of codes, and of floats, whose tiles have 6 rows with 16
// registers.
#define VQ_HEADS_BLOCK_ROWS 14
#define VQ_HEADS_FLOAT_ROWS 12

// Element (b, n, c) of a rank 3 tensor at base[at + b * batch + n * row + c].
typedef struct vq_view {
  const vq_value *base;
  int64_t at, batch, row;
} vq_view;

typedef struct vq_heads {
  const vq_op *op;
  const vq_op *softmax;  // of attention, where the kernel has its result too; or NULL
  unsigned softmax_at, y_at;  // which results of the kernel they are
  vq_chain chain;
  vq_view q, k, v, g;  // g: of attention_grad
  const vq_value *bias;
  int64_t batch, heads, n, m, d, e;  // d of q and k, e of v, per head
  int64_t m_pad, e_pad;              // to whole panels
  int64_t n_block, n_task;           // blocks of queries and tasks per head
  vq_product score, value;
  LLVMValueRef b, h;  // while emitting: sample and head
} vq_heads;

// Describes a kernel whose anchor is attention, attention_int or attention_grad, as
// `code` says; the products are those of the first two. In front of attention there may be
// the attention_softmax of its operands; there is no chain then.
bool vq_heads_match(const vq_func *kernel, vq_opcode code, vq_heads *s);

// Address of token `n` (i64) of the current head, of `size` elements.
LLVMValueRef vq_heads_token(const vq_emit *e, const vq_heads *s, const vq_view *v,
                            LLVMValueRef n, int64_t size);
// Address of query `n`'s row of the current head in attention_softmax's result at `p`.
LLVMValueRef vq_heads_softmax(const vq_emit *e, const vq_heads *s, LLVMValueRef p,
                              LLVMValueRef n);
// Address of the bias of query `n`; NULL: there is none.
LLVMValueRef vq_heads_bias(const vq_emit *e, const vq_heads *s, LLVMValueRef n);
// `n` tokens of a head, of `size` elements each, times `scale`, as panels at `to`: across,
// the sum is over elements and a token is a column; of rows the sum is over tokens.
typedef struct vq_tokens {
  const vq_view *view;
  int64_t n, size;
  double scale;
} vq_tokens;
void vq_heads_pack_across(const vq_emit *e, const vq_heads *s, vq_tokens t,
                          LLVMValueRef to);
void vq_heads_pack_rows(const vq_emit *e, const vq_heads *s, vq_tokens t,
                        LLVMValueRef to);
// Columns of a tile of the product, and vectors in `cols` columns.
unsigned vq_heads_width(const vq_emit *e, const vq_product *p);

// Walks the tasks of the kernel: `pack` when the head changes, then `block` for
// each block of `rows` queries from `row`: at most VQ_HEADS_BLOCK_ROWS, or those of
// AMX for which the tiles are then configured.
typedef struct vq_heads_walk {
  vq_heads *s;
  void (*pack)(const vq_emit *e, void *user);
  void (*block)(const vq_emit *e, void *user, LLVMValueRef row, LLVMValueRef rows);
  void *user;
  LLVMValueRef config;  // scratch for vq_amx_begin; NULL without AMX
  // private
  LLVMValueRef row0;
  const vq_amx *amx;
} vq_heads_walk;
void vq_heads_each(const vq_emit *e, vq_heads_walk *w);

#endif
