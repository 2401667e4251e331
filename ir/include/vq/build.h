// Making IR: functions, constants and ops. Result types are inferred.
#ifndef VQ_BUILD_H
#define VQ_BUILD_H

#include "vq/diag.h"
#include "vq/ir.h"

// Where new ops go and what they inherit. `before` NULL appends.
typedef struct vq_builder {
  vq_func *func;
  vq_op *before;
  vq_loc loc;
  vq_diag *diag;
} vq_builder;

// Creates a function at the end of the module; argument names may be empty.
// A taken name gets a suffix ".1", ".2", ...
vq_func *vq_func_create(vq_module *m, vq_func_kind kind, vq_str name,
                        unsigned n_arg, const vq_type *const *arg_type,
                        const vq_str *arg_name);

// Constants. `bytes` is borrowed and must live as long as the module (use
// vq_const_new_copy for temporary data). A taken name gets a suffix.
vq_const *vq_const_new(vq_module *m, vq_str name, const vq_type *type,
                       const void *bytes);
vq_const *vq_const_new_copy(vq_module *m, vq_str name, const vq_type *type,
                            const void *bytes);
vq_const *vq_const_fill(vq_module *m, vq_str name, const vq_type *type,
                        double value);
vq_const *vq_const_random(vq_module *m, vq_str name, const vq_type *type,
                          uint64_t seed, float std);
// States what codes a new constant, not used yet, holds; NULL for plain numbers.
void vq_set_const_quant(vq_const *c, const vq_quant *q);
// Small constants: a scalar f32, a vector of i64.
vq_const *vq_const_scalar_f32(vq_module *m, vq_str name, float v);
vq_const *vq_const_vec_i64(vq_module *m, vq_str name, unsigned n,
                           const int64_t *v);

// Creates an op and its results. `attrs` NULL means all defaults. The first
// result is called `name` (made unique with a suffix; empty: a number). On a
// wrong operand or shape emits a diagnostic and returns NULL.
vq_op *vq_build(vq_builder *b, vq_opcode code, vq_value *const *in,
                unsigned n_in, const void *attrs, vq_str name);

// The same for ops with one result; returns the result or NULL.
vq_value *vq_build1(vq_builder *b, vq_opcode code, vq_value *const *in,
                    unsigned n_in, const void *attrs, vq_str name);
// NULL operands pass through as NULL results, so that chains need one check.
vq_value *vq_build_unary(vq_builder *b, vq_opcode code, vq_value *x,
                         vq_str name);
vq_value *vq_build_binary(vq_builder *b, vq_opcode code, vq_value *x,
                          vq_value *y, vq_str name);
vq_value *vq_build_reshape(vq_builder *b, vq_value *x, unsigned rank,
                           const int64_t *shape, vq_str name);
vq_value *vq_build_transpose(vq_builder *b, vq_value *x, const int64_t *perm,
                             vq_str name);

// Ends the function: sets its result types (and names when non-NULL).
vq_status vq_build_return(vq_builder *b, unsigned n, vq_value *const *v,
                          const vq_str *name_or_null);

// Result types of an op that does not exist yet. `out` receives at most
// `max_out` types (call may have many); returns their number through n_out.
vq_status vq_infer(vq_module *m, vq_diag *diag, vq_loc loc, vq_opcode code,
                   vq_value *const *in, unsigned n_in, const void *attrs,
                   const vq_type **out, unsigned max_out, unsigned *n_out);

#endif
