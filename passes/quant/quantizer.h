// What the quantizer passes share: roles, and constants of scales and zeros.
//
// A quantizer is a fake_quant op whose scale and zero operands are constants.
// insert-quantizers makes them with scale 0 (not known), observe fills in those
// of activations, compensate-weights and round-weights those of weights. Its
// role says what it codes:
//
//   weight     i8 symmetric, one scale per output channel
//   norm       output of a layer_norm, one scale per channel until
//              reparam-layernorm makes it one
//   act        output of an activation function, one scale per channel until
//              split-outliers makes it one
//   o          output of attention, as act
//   linear     any other input of a linear or patch_embed
//   q, k, v    operands of attention, symmetric around 128, one scale per channel
//   residual   i16 symmetric, what layer_norm and reduce_mean read
#ifndef VQ_PASSES_QUANT_H
#define VQ_PASSES_QUANT_H

#include "passes.h"
#include "vq/bits.h"
#include "vq/rewrite.h"
#include "vq/strbuf.h"

enum { VQ_FQ_X, VQ_FQ_SCALE, VQ_FQ_ZERO };  // operands of fake_quant

static inline vq_op *vq_quant_def(const vq_value *v, vq_opcode code) {
  return v->kind == VQ_VALUE_RESULT && v->def->code == code ? v->def : NULL;
}

// The role of a linear or patch_embed.
vq_role vq_quant_layer_role(const vq_op *op);

// An op whose elements are elements of its first operand, or zeros: codes with one
// scale may take its place.
bool vq_quant_moves(const vq_op *op);

// `v` without the quantizers that it passed last.
vq_value *vq_quant_uncoded(vq_value *v);
// Lets everything in `f` read what its quantizers read.
void vq_quant_drop(vq_func *f);

// A fake_quant op of one of these roles.
bool vq_quant_is(const vq_op *op, const char *role);
// Its scale is known: not the 0 it was made with.
bool vq_quant_known(const vq_op *fq);

// Replaces scale and zero of `fq` by constants of `n` elements along the last
// dimension, or, for n = 1, scalars.
void vq_quant_set(vq_op *fq, int64_t n, const float *scale, const float *zero);

// The scale of a row of `n` weights whose codes are lo..hi (round-weights).
float vq_quant_row_scale(const float *w, int64_t n, double lo, double hi);
// Gives the quantizer of a weight one scale per row.
void vq_quant_set_rows(vq_op *fq, const float *scale);

// Weights of codes of probabilities relative to the largest of their row: code i
// stands for 2^(-i / rate), its weight for 255 times that. Codes whose weight is 0
// are left out. log2 has rate 1, log-sqrt2 rate 2: of the latter an even code
// weighs 2^-k and an odd one sqrt 2 times 2^-k, k the half rounded up, which is how
// RepQ-ViT computes it from codes of log2 and their parity.
vq_ints vq_quant_log_weights(vq_arena *arena, double rate, int64_t bits);

// One scale and zero point that covers the ranges of all channels.
void vq_quant_merge_channels(vq_op *fq);

// A new constant named "<base>.<suffix>"; data are copied.
vq_value *vq_quant_const(vq_module *m, vq_str base, const char *suffix,
                         vq_dtype dtype, unsigned rank, const int64_t *dim,
                         const void *data);
// Name of the codes of `x`: "<x>.codes", or none.
vq_str vq_quant_codes(vq_module *m, const vq_value *x);

// Element `i` of a scale or zero operand that has one or `n` elements.
float vq_quant_at(vq_value *c, int64_t i);

// Whether `c` is a constant whose elements are all the same.
bool vq_quant_even(vq_value *c);

// The elements of a constant of f32 in the pass's temporary memory; NULL after
// a diagnostic when its data is missing.
float *vq_quant_floats(vq_pass_ctx *pc, vq_value *c);

// The bias of a linear or patch_embed as floats, zeros when there is none.
float *vq_quant_bias(vq_pass_ctx *pc, const vq_op *linear, int64_t n_out);

// Gives `op` (linear or patch_embed) another weight and bias; returns its new
// result, of which all uses are taken over.
vq_value *vq_quant_relinear(vq_pass_ctx *pc, vq_op *op, vq_value *x,
                            vq_value *w, vq_value *b);

static inline vq_func *vq_quant_main(vq_module *m) {
  return vq_module_func(m, VQ_LIT("main"));
}

#endif
