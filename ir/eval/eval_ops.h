// Shared by the evaluator's files: one function per op, block element access
// and strided walks over several tensors at once.
#ifndef VQ_EVAL_OPS_H
#define VQ_EVAL_OPS_H

#include "vq/eval.h"

typedef vq_status vq_eval_fn(const vq_op *op, const vq_tensor *in,
                             vq_tensor *out, vq_diag *diag);

// Every op of ops.def needs a definition somewhere in this folder: eval.c puts
// these names in its table, so a missing one does not link.
#define OP(name, traits, formula) vq_eval_fn vq_eval_##name;
#define ATTR(op, kind, name, def)
#define ATTR_REQ(op, kind, name)
#define IN(op, name, cls)
#define IN_OPT(op, name, cls)
#define IN_VAR(op, name, cls)
#define OUT(op, name)
#define OUT_VAR(op, name)
#define END(op)
#include "vq/ops.def"
#undef OP
#undef ATTR
#undef ATTR_REQ
#undef IN
#undef IN_OPT
#undef IN_VAR
#undef OUT
#undef OUT_VAR
#undef END

// Heap memory for a working array; never NULL, released with free().
void *vq_eval_alloc(size_t n, size_t size);

// Elements at, at + stride, ... (n of them), converted as cast says.
void vq_load_f64_n(vq_dtype t, const void *data, int64_t at, int64_t stride,
                   int64_t n, double *dst);
void vq_load_i64_n(vq_dtype t, const void *data, int64_t at, int64_t stride,
                   int64_t n, int64_t *dst);
void vq_store_f64_n(vq_dtype t, void *data, int64_t at, int64_t stride,
                    int64_t n, const double *src);
void vq_store_i64_n(vq_dtype t, void *data, int64_t at, int64_t stride,
                    int64_t n, const int64_t *src);

// The nearest number of bf16, half to even.
double vq_round_bf16(double v);

// layer_norm of i16 codes.
void vq_eval_layer_norm_int(const vq_op *op, const vq_tensor *in,
                            vq_tensor *out);

// The same index space laid over up to four tensors, each with its own element
// strides. vq_walk_rows merges dimensions where every tensor allows it, then
// splits off the innermost one as a row:
//   for (bool more = vq_walk_rows(&w); more; more = vq_walk_next(&w))
//     ... w.n elements, tensor k at w.at[k], w.at[k] + w.step[k], ...
#define VQ_WALK_MAX 6
typedef struct vq_walk {
  unsigned rank, n_tensor;
  int64_t dim[VQ_MAX_RANK];
  int64_t stride[VQ_WALK_MAX][VQ_MAX_RANK];
  int64_t at[VQ_WALK_MAX];    // in: offset of the first element
  int64_t n;                  // row length
  int64_t step[VQ_WALK_MAX];  // row strides
  int64_t index[VQ_MAX_RANK];
} vq_walk;

bool vq_walk_rows(vq_walk *w);  // false: no elements
bool vq_walk_next(vq_walk *w);

// Strides of `t` broadcast to the `rank` dimensions of an index space: 0 where
// `t` has one element or no dimension.
void vq_walk_broadcast(const vq_type *t, unsigned rank, int64_t *stride);

// ---- dense products in binary64 (eval_gemm.c) --------------------------------

// Where matrix b[k][n] lies in a tensor: element (k, n) is at
// base + (n / 16) * panel + (n % 16) * col + k * row.
typedef struct vq_mat {
  vq_dtype dtype;
  const void *data;
  int64_t base, panel, col, row;
  int64_t k, n;
} vq_mat;

// Columns of b as binary64 panels of 16, missing columns 0. Free with free().
double *vq_gemm_pack(const vq_mat *b);
// The same of weight w[o, k], stored in any layout of pack_weight.
double *vq_weight_panels(const vq_tensor *w, vq_str layout, int64_t k, int64_t n);

// y[i][j] = sum over k ascending of a[i][k] b[k][j], for n_row rows. `y` has
// rows of vq_gemm_width(n) elements.
void vq_gemm(const double *a, int64_t n_row, int64_t k, const double *panels,
             int64_t n, double *y);
int64_t vq_gemm_width(int64_t n);

// Rows handed to vq_gemm at a time: few enough for the cache.
#define VQ_GEMM_ROWS 32

#endif
