// The reference interpreter: the scalar definition of every op.
//
// Integers are exact (two's complement wrap where ops.def says so). Float sums
// run in ascending index order in binary64 and are rounded to binary32 once;
// transcendental functions are the C library's double ones, rounded once. A
// compiled kernel must equal integer results bit for bit and float results to
// the bound in docs/ir.md.
#ifndef VQ_EVAL_H
#define VQ_EVAL_H

#include "vq/diag.h"
#include "vq/ir.h"

// A typed buffer in storage format; memory belongs to whoever made it.
typedef struct vq_tensor {
  const vq_type *type;
  void *data;
} vq_tensor;

// Evaluates one op (not call, not return). `in` has op->n_in tensors, `out`
// has op->n_out with their memory allocated by the caller.
VQ_NODISCARD vq_status vq_eval_op(const vq_op *op, const vq_tensor *in,
                                  vq_tensor *out, vq_diag *diag);

// Called after each op when tracing: `v` has just been computed.
typedef void (*vq_eval_trace_fn)(void *user, const vq_value *v,
                                 const vq_tensor *t);

// Evaluates `f` (calls included) on `in` (f->n_arg tensors) into `out`
// (f->n_result tensors, allocated by the caller). Buffers of dead values are
// freed early. `trace` may be NULL.
VQ_NODISCARD vq_status vq_eval_func(const vq_func *f, const vq_tensor *in,
                                    vq_tensor *out, vq_diag *diag,
                                    vq_eval_trace_fn trace, void *user);

// Element access by index in storage format, any dtype (exact for integers
// below 2^53).
double vq_load_f64(vq_dtype t, const void *data, int64_t i);
int64_t vq_load_i64(vq_dtype t, const void *data, int64_t i);
void vq_store_f64(vq_dtype t, void *data, int64_t i, double v);  // as op cast
void vq_store_i64(vq_dtype t, void *data, int64_t i, int64_t v);

#endif
