// Changing IR: the only functions that touch use lists after construction.
#ifndef VQ_REWRITE_H
#define VQ_REWRITE_H

#include "vq/build.h"

// Every use of `from` becomes a use of `to`. Types must be equal.
void vq_replace_all_uses(vq_value *from, vq_value *to);
// The same, except uses by `except`.
void vq_replace_uses_except(vq_value *from, vq_value *to, const vq_op *except);
void vq_set_operand(vq_op *op, unsigned i, vq_value *v);

// Replaces the operand list of `op`; the result types must not change.
void vq_set_operands(vq_op *op, vq_value *const *in, unsigned n_in);

// Unlinks an op whose results are unused.
void vq_erase_op(vq_op *op);
void vq_erase_const(vq_module *m, vq_const *c);  // must be unused
void vq_erase_func(vq_module *m, vq_func *f);    // must not be called

// Replaces the single result of `op` by `v` (which takes over the name when it
// is an unnamed result) and erases `op`.
void vq_replace_op(vq_op *op, vq_value *v);

// Moves `op` before `before` (NULL: to the end) in the same function.
void vq_move_op(vq_op *op, vq_op *before);

// Sets one attribute struct; the result types must stay what they are.
void vq_set_attrs(vq_op *op, const void *attrs);

// States what the codes that a call returns as result `i` stand for: kernels do not say.
void vq_set_call_quant(vq_op *call, unsigned i, const vq_quant *q);

// Renames, adding a suffix when taken.
void vq_rename_value(vq_func *f, vq_value *v, vq_str name);
void vq_rename_func(vq_module *m, vq_func *f, vq_str name);  // not a callee

// A deep copy with its own arena; constants share mapped bytes, which stay
// owned by `m`.
vq_module *vq_module_clone(const vq_module *m);

// Copies `op` into builder `b` with operands looked up through `map` (keys:
// VQ_MAP_PTR_KEY of the old vq_value*'s storage); results are added to it.
// Operands that are not in the map are used as they are.
vq_op *vq_clone_op(vq_builder *b, const vq_op *op, vq_map *map);

// Moves the ops `ops[0..n)` (in program order, of one function) into a new
// kernel and replaces them by one call. Inputs become arguments in order of
// first use, constants included, so that equal kernels can be shared; values
// used afterwards become results. If an existing kernel of the module has the
// same body, that one is called. Returns the call, or NULL after a diagnostic
// when the group is not convex (something between depends on it and feeds it).
vq_op *vq_outline(vq_diag *diag, vq_op *const *ops, unsigned n, vq_str name);

#endif
