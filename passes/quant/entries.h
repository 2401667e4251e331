// Quant entries of frozen quantizers: what their codes stand for, under a name that
// says where they are.
//
//   q.b3.ln1     first norm's output in block 3      q.b3.res2    second residual there
//   q.b3.q .k .v operands of its attention           q.b3.o       what that gives
//   q.b3.act     output of its activation function   q.b3.fc1.w   weights of a layer
//   q.b3.fc1.x   another input of a layer            q.ln, q.head.w, ..   of no block
//   q.b3.o.fine  of rows beside, with bits behind the point (refine-rows)
//
// Layers are called by their role (vq/rules.h), blocks numbered as view --block does.
#ifndef VQ_PASSES_ENTRIES_H
#define VQ_PASSES_ENTRIES_H

#include "quant/quantizer.h"

typedef struct vq_entries {
  vq_module *m;
  vq_map name;  // quantizer -> its name
} vq_entries;

// Names the entries of all quantizers of @main, before any is replaced.
VQ_NODISCARD vq_status vq_entries_open(vq_entries *e, vq_module *m, vq_pass_ctx *pc);
void vq_entries_close(vq_entries *e);

// The entry of fake_quant `fq` of then, whose scale is known, for codes of `store`; that of
// an equal quantizer when there is one. NULL after a diagnostic.
const vq_quant *vq_entries_of(vq_entries *e, const vq_op *fq, vq_dtype store,
                              vq_pass_ctx *pc);

// Element `i` of a zero point operand as ops of codes take it, in 16 bits.
int16_t vq_entries_zero(vq_value *zero, int64_t i);

#endif
