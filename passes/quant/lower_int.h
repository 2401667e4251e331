// What the rules of lower-int share. A rule looks at one op and either replaces
// it (true) or leaves everything as it was; after a diagnostic it sets failed.
#ifndef VQ_PASSES_LOWER_INT_H
#define VQ_PASSES_LOWER_INT_H

#include "quant/quantizer.h"

typedef struct vq_lowering {
  vq_module *m;
  vq_pass_ctx *pc;
  vq_builder b;  // before the op under the rule
  bool failed;
} vq_lowering;

typedef struct vq_lower_rule {
  vq_opcode code;
  bool (*fn)(vq_lowering *lo, vq_op *op);
} vq_lower_rule;

// A value that is dequantize of codes, with constant factors.
typedef struct vq_coded {
  vq_value *q, *scale, *zero;  // zero may be NULL; both of whole codes
  int64_t fine;                // bits of q behind the point
} vq_coded;

bool vq_lower_fine_code(const vq_value *v, vq_coded *c);
bool vq_lower_code(const vq_value *v, vq_coded *c);         // without such bits
bool vq_lower_is_scalar(const vq_coded *c);                 // one scale, one zero
bool vq_lower_scalar_code(const vq_value *v, vq_coded *c);
double vq_lower_scale(const vq_coded *c);                   // of a scalar code
double vq_lower_zero(const vq_coded *c);

// Replaces `op` by `v`, whose name it takes over. False for NULL, which is an
// error that has been reported.
bool vq_lower_replace(vq_lowering *lo, vq_op *op, vq_value *v);

vq_value *vq_lower_dequantize(vq_lowering *lo, vq_value *q, vq_value *scale,
                              vq_value *zero);

// lower_ops.c
bool vq_lower_linear(vq_lowering *lo, vq_op *op);
bool vq_lower_norm(vq_lowering *lo, vq_op *op);
bool vq_lower_attention(vq_lowering *lo, vq_op *op);
bool vq_lower_mean(vq_lowering *lo, vq_op *op);
// lower_act.c
bool vq_lower_act(vq_lowering *lo, vq_op *op);
bool vq_lower_quantize_act(vq_lowering *lo, vq_op *op);
// lower_codes.c
bool vq_lower_move(vq_lowering *lo, vq_op *op);
bool vq_lower_concat(vq_lowering *lo, vq_op *op);
bool vq_lower_slices(vq_lowering *lo, vq_op *op);
bool vq_lower_requantize(vq_lowering *lo, vq_op *op);
bool vq_lower_factor(vq_lowering *lo, vq_op *op);
bool vq_lower_norm_scale(vq_lowering *lo, vq_op *op);
bool vq_lower_quantize_move(vq_lowering *lo, vq_op *op);
bool vq_lower_quantize_concat(vq_lowering *lo, vq_op *op);
bool vq_lower_quantize_const(vq_lowering *lo, vq_op *op);
bool vq_lower_quantize_table(vq_lowering *lo, vq_op *op);

#endif
