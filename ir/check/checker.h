// Inside of the verifier: its state and what its files share.
#ifndef VQ_CHECK_CHECKER_H
#define VQ_CHECK_CHECKER_H

#include "vq/diag.h"
#include "vq/ir.h"

typedef struct vq_checker {
  const vq_module *m;
  vq_diag *diag;
  uint32_t n_error;
  vq_arena temp;
  vq_map facts;  // value -> vq_fact
} vq_checker;

enum { VQ_CHECKER_MAX_ERROR = 20 };

void vq_checker_fail(vq_checker *c, vq_code code, vq_loc loc, const char *fmt,
                     ...) VQ_PRINTF(4, 5);
// `name` with sigil, quoted when needed; in the temp arena.
const char *vq_checker_z(vq_checker *c, char sigil, vq_str name);
// "@main: linear %qkv" for messages.
const char *vq_checker_op(vq_checker *c, const vq_op *op);

static inline bool vq_checker_full(const vq_checker *c) {
  return c->n_error >= VQ_CHECKER_MAX_ERROR;
}

// verify.c: lists, definitions, uses. The others rely on it.
void vq_check_structure(vq_checker *c);
// verify_types.c: types, constants, table constraints, inferred results, calls.
void vq_check_types(vq_checker *c);
// verify_quant.c: names of quant entries; factors of ops against them.
void vq_check_quants(vq_checker *c);
// verify_props.c
void vq_check_prop(vq_checker *c, unsigned prop);

#endif
