// The verifier: structure, table constraints, types, properties.
#ifndef VQ_VERIFY_H
#define VQ_VERIFY_H

#include "vq/diag.h"
#include "vq/ir.h"

// Checks the invariants of ir.h, every op against its table row and inferred
// types, and the properties `m->props` claims. Reports up to 20 errors and
// never stops at the first.
VQ_NODISCARD vq_status vq_verify(const vq_module *m, vq_diag *diag);

// Checks one property only; `prop` is a single vq_prop bit.
VQ_NODISCARD vq_status vq_verify_prop(const vq_module *m, unsigned prop,
                                      vq_diag *diag);
const char *vq_prop_name(unsigned prop);  // "outlined"

#endif
