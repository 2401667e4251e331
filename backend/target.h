// The table of ISA variants and what the user may ask of it.
#ifndef VQ_BACKEND_TARGET_H
#define VQ_BACKEND_TARGET_H

#include "emit.h"

#define VQ_TRIPLE "x86_64-pc-linux-gnu"

// All rows of targets.def, best first.
const vq_target *vq_target_rows(unsigned *n);

// The rows to compile: all of them for `cpu` NULL, the best that runs here for
// "native", else the one called `cpu`. They are consecutive: *first, *n.
VQ_NODISCARD vq_status vq_target_select(const char *triple, const char *cpu,
                                        vq_diag *diag, const vq_target **first,
                                        unsigned *n);

// Whether gradients have products of bf16 in row `cpu`.
bool vq_target_has_bf16(const char *cpu);

#endif
