// The generic emitter's parts: where values live, element expressions, and the
// ops that need loops of their own.
//
// Ops whose result element is a function of few operand elements ("light":
// elementwise, movement) can be computed where they are read. All others
// ("heavy") compute one task, usually a row of their result, at a time.
#ifndef VQ_BACKEND_NEST_H
#define VQ_BACKEND_NEST_H

#include "emit.h"

// Whether `v` has no memory of its own and is computed at its single use.
bool vq_nest_inline(const vq_value *v);

// ---- memory of values ------------------------------------------------------------
// Bytes of scratch taken by temporaries before value `stop` of the kernel, or
// by all of them when it is NULL.
int64_t vq_nest_temp_bytes(const vq_func *kernel, const vq_value *stop);

// Address of a value that is not inline. A temporary of 4-bit codes takes a
// byte per element; arguments and constants are packed.
LLVMValueRef vq_nest_ptr(const vq_emit *e, const vq_value *v);
LLVMValueRef vq_nest_load(const vq_emit *e, const vq_value *v, LLVMValueRef flat);
void vq_nest_store(const vq_emit *e, const vq_value *v, LLVMValueRef flat,
                   LLVMValueRef x);

// Element idx[0 .. rank) of any value, as a register value (elt.h).
LLVMValueRef vq_nest_elem(const vq_emit *e, const vq_value *v,
                          LLVMValueRef const *idx);
// Element idx of the result of light op `op`, computed here and now.
LLVMValueRef vq_nest_value(const vq_emit *e, const vq_op *op,
                           LLVMValueRef const *idx);

// Splits a flat index of the leading `n` dimensions of `t` into idx[0 .. n).
void vq_nest_unflatten(const vq_emit *e, const vq_type *t, unsigned n,
                       LLVMValueRef flat, LLVMValueRef *idx);
// Offset of an element in `t`, whose dimensions broadcast against the last
// ones of idx[0 .. rank).
LLVMValueRef vq_nest_flatten(const vq_emit *e, const vq_type *t,
                             LLVMValueRef const *idx, unsigned rank);

// Offset of the matrix in `v`, its last two dimensions, whose leading dimensions broadcast
// against idx[0 .. rank).
LLVMValueRef vq_nest_matrix(const vq_emit *e, const vq_value *v, LLVMValueRef const *idx,
                            unsigned rank);

// a * b + c in type `t`.
LLVMValueRef vq_nest_mac(const vq_emit *e, vq_dtype t, LLVMValueRef a,
                         LLVMValueRef b, LLVMValueRef c);

// ---- heavy ops ---------------------------------------------------------------------
typedef struct vq_nest_op {
  vq_opcode code;
  // How many tasks the op divides into; any order gives the same bytes.
  int64_t (*tasks)(const vq_op *op);
  // Bytes of private memory a task needs; NULL: none.
  int64_t (*scratch)(const vq_op *op);
  void (*emit)(const vq_emit *e, const vq_op *op, LLVMValueRef task,
               LLVMValueRef scratch);
} vq_nest_op;

// NULL for light ops.
const vq_nest_op *vq_nest_op_of(vq_opcode code);

// Elements of the result divided by its last dimension: tasks that are rows.
int64_t vq_nest_rows(const vq_op *op);

void vq_nest_concat(const vq_emit *e, const vq_op *op, LLVMValueRef task,
                    LLVMValueRef scratch);
int64_t vq_nest_concat_tasks(const vq_op *op);
void vq_nest_reduce(const vq_emit *e, const vq_op *op, LLVMValueRef task,
                    LLVMValueRef scratch);
int64_t vq_nest_reduce_tasks(const vq_op *op);
void vq_nest_softmax(const vq_emit *e, const vq_op *op, LLVMValueRef task,
                     LLVMValueRef scratch);
int64_t vq_nest_softmax_tasks(const vq_op *op);
void vq_nest_layer_norm(const vq_emit *e, const vq_op *op, LLVMValueRef task,
                        LLVMValueRef scratch);
void vq_nest_layer_norm_grad(const vq_emit *e, const vq_op *op, LLVMValueRef task,
                             LLVMValueRef scratch);
void vq_nest_matmul(const vq_emit *e, const vq_op *op, LLVMValueRef task,
                    LLVMValueRef scratch);
void vq_nest_linear(const vq_emit *e, const vq_op *op, LLVMValueRef task,
                    LLVMValueRef scratch);
void vq_nest_patch_embed(const vq_emit *e, const vq_op *op, LLVMValueRef task,
                         LLVMValueRef scratch);
int64_t vq_nest_patch_scratch(const vq_op *op);
void vq_nest_conv2d(const vq_emit *e, const vq_op *op, LLVMValueRef task,
                    LLVMValueRef scratch);
void vq_nest_variation(const vq_emit *e, const vq_op *op, LLVMValueRef task,
                       LLVMValueRef scratch);
int64_t vq_nest_variation_tasks(const vq_op *op);
void vq_nest_variation_grad(const vq_emit *e, const vq_op *op, LLVMValueRef task,
                            LLVMValueRef scratch);
void vq_nest_attention(const vq_emit *e, const vq_op *op, LLVMValueRef task,
                       LLVMValueRef scratch);
int64_t vq_nest_attention_scratch(const vq_op *op);
void vq_nest_attention_softmax(const vq_emit *e, const vq_op *op, LLVMValueRef task,
                               LLVMValueRef scratch);
void vq_nest_attention_grad(const vq_emit *e, const vq_op *op, LLVMValueRef task,
                            LLVMValueRef scratch);
int64_t vq_nest_attention_grad_tasks(const vq_op *op);
int64_t vq_nest_attention_grad_scratch(const vq_op *op);
void vq_nest_attention_int(const vq_emit *e, const vq_op *op, LLVMValueRef task,
                           LLVMValueRef scratch);
int64_t vq_nest_attention_int_scratch(const vq_op *op);

// Row `task` of linear or patch_embed with any types and layout, and of layer_norm when it
// is of codes.
void vq_nest_any_row(const vq_emit *e, const vq_op *op, vq_str layout,
                     int64_t n_in, LLVMValueRef task);
void vq_nest_int_norm(const vq_emit *e, const vq_op *op, LLVMValueRef task);

static inline unsigned vq_nest_axis(int64_t axis, unsigned rank) {
  return (unsigned)(axis < 0 ? axis + rank : axis);
}

// ---- rows of f32 -------------------------------------------------------------------
// A run of n elements, `step` apart.
typedef struct vq_run {
  LLVMValueRef base;
  int64_t n, step;
} vq_run;

LLVMValueRef vq_run_dot(const vq_emit *e, LLVMValueRef a, LLVMValueRef b,
                        int64_t n);
// Replaces the run x by its softmax, written to y (which may be x).
void vq_run_softmax(const vq_emit *e, vq_run x, vq_run y);

#endif
