// Shared by the files of core only: names, use lists, raw creation.
#ifndef VQ_CORE_CORE_H
#define VQ_CORE_CORE_H

#include "vq/ir.h"

// ---- names.c: who owns which name ------------------------------------------
// Makes `want` (or the first free of want.1, want.2, ...) the name of `owner`.
// An empty name stays empty.
vq_str vq_name_claim(vq_arena *arena, vq_map *names, vq_str want, void *owner);
void vq_name_release(vq_map *names, vq_str name);
void *vq_name_owner(const vq_map *names, vq_str name);  // or NULL

// ---- func.c: linking ---------------------------------------------------------
void vq_use_link(vq_use *u, vq_value *v);
void vq_use_unlink(vq_use *u);
void vq_op_link(vq_op *op, vq_op *before);  // NULL: at the end
void vq_op_unlink(vq_op *op);
void vq_func_link(vq_func *f, vq_func *before);  // NULL: at the end
void vq_func_unlink(vq_func *f);

// An op with results of the given types, unnamed, without any check.
vq_op *vq_op_new(vq_func *f, vq_op *before, vq_loc loc, vq_opcode code,
                 vq_value *const *in, unsigned n_in, const void *attrs,
                 const vq_type *const *out, unsigned n_out);
void vq_func_set_results(vq_func *f, unsigned n, vq_value *const *v,
                         const vq_str *name_or_null);

// ---- hash.c ------------------------------------------------------------------
// The same ops in the same order on the same arguments, names apart.
bool vq_func_equal(const vq_func *a, const vq_func *b);

#endif
