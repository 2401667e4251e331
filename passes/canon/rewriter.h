// What the rules of the recompose pass share. A rule looks at one op, the last
// of its pattern, and either replaces it (true) or leaves everything as it was.
#ifndef VQ_CANON_REWRITER_H
#define VQ_CANON_REWRITER_H

#include "canon/fold.h"
#include "canon/pattern.h"
#include "canon/view.h"
#include "vq/pass.h"
#include "vq/rewrite.h"

typedef struct vq_rw {
  vq_module *module;
  vq_func *func;
  vq_pass_ctx *pc;
  vq_builder b;         // inserts before the op under the rule
  vq_map transposed;    // constant -> its transpose
  vq_fold_budget budget;  // for the constants that rules make
  bool late;            // attention has been matched
  unsigned n_changed;
} vq_rw;

typedef bool (*vq_rule_fn)(vq_rw *rw, vq_op *op);

// Builds an unnamed op with one result; never fails on checked operands.
vq_value *vq_rw_build(vq_rw *rw, vq_opcode code, vq_value *const *in,
                      unsigned n_in, const void *attrs);
vq_value *vq_rw_reshape(vq_rw *rw, vq_value *x, unsigned rank,
                        const int64_t *dim);

// Builds an op over constants with data and evaluates it: a constant or NULL,
// as when it costs more than is left.
vq_value *vq_rw_fold(vq_rw *rw, vq_opcode code, vq_value *const *in,
                     unsigned n_in, const void *attrs);

// Replaces `op` by `v`, removes what became dead, counts `stat` (or NULL).
// Always true, so that rules can return it. False for a NULL `v`.
bool vq_rw_replace(vq_rw *rw, vq_op *op, vq_value *v, const char *stat);

// Constants derived from constants. They are charged to the budget, which the
// last one may exceed: rules are not asked to undo what they have begun.
void vq_rw_charge(vq_rw *rw, int64_t n_element);
// A [n] version of a row constant (see vq_is_row).
vq_value *vq_rw_row(vq_rw *rw, vq_value *c, int64_t n);
// The same bytes in another shape of the same count.
vq_value *vq_rw_recast(vq_rw *rw, vq_value *c, unsigned rank,
                       const int64_t *dim);
// A fresh f32 constant holding `data` (copied), named after `like`.
vq_value *vq_rw_const(vq_rw *rw, vq_value *like, unsigned rank,
                      const int64_t *dim, const float *data);
// The float elements of a constant, from the pass's temporary arena.
float *vq_rw_floats(vq_rw *rw, vq_value *c);

// ---- movement (recompose_move.c) ------------------------------------------

// True for ops that a view can describe by themselves.
bool vq_is_movement(const vq_op *op);
// The source that `v` is a view of, possibly `v` itself; NULL when `v` is
// empty.
vq_value *vq_view_root(vq_value *v, vq_view *view);
// The canonical chain for `view` over `root`; NULL when it has none.
vq_value *vq_rw_view(vq_rw *rw, vq_value *root, const vq_view *view);

// ---- packing (recompose_pack.c, recompose_source.c) --------------------------

#define VQ_MAX_PARTS 3

// Replaces the values `v`, shaped like `lead` but for their last dimension or a
// reshape of that, by slices shaped so of one linear. False when they are that
// already or cannot be. `owned`: the caller replaces every use of the linears
// they come from, else nothing but `v` may read them.
bool vq_rw_pack(vq_rw *rw, vq_value **v, unsigned n_part, const vq_type *lead,
                bool owned);
// What a linear reads, before a reshape of it.
vq_value *vq_rw_plain_input(const vq_op *lin);
// True when only attention reads `v`: whole or in slices, or unless `direct`
// with norms and rotary positions between. It has the shape attention asks for.
bool vq_feeds_attention(const vq_value *v, bool direct);

// ---- rules ---------------------------------------------------------------
bool vq_rule_center(vq_rw *rw, vq_op *op);
bool vq_rule_layer_norm(vq_rw *rw, vq_op *op);
bool vq_rule_layer_norm_moments(vq_rw *rw, vq_op *op);
bool vq_rule_layer_norm_affine(vq_rw *rw, vq_op *op);
bool vq_rule_layer_norm_trim(vq_rw *rw, vq_op *op);
bool vq_rule_softmax(vq_rw *rw, vq_op *op);
bool vq_rule_gate(vq_rw *rw, vq_op *op);
bool vq_rule_linear(vq_rw *rw, vq_op *op);
bool vq_rule_linear_left(vq_rw *rw, vq_op *op);
bool vq_rule_linear_bias(vq_rw *rw, vq_op *op);
bool vq_rule_linear_part_bias(vq_rw *rw, vq_op *op);
bool vq_rule_linear_scale(vq_rw *rw, vq_op *op);
bool vq_rule_reciprocal(vq_rw *rw, vq_op *op);
bool vq_rule_trim_const(vq_rw *rw, vq_op *op);
bool vq_rule_conv(vq_rw *rw, vq_op *op);
bool vq_rule_unfold(vq_rw *rw, vq_op *op);
bool vq_rule_move(vq_rw *rw, vq_op *op);
bool vq_rule_sink(vq_rw *rw, vq_op *op);
bool vq_rule_residual(vq_rw *rw, vq_op *op);
bool vq_rule_reduce(vq_rw *rw, vq_op *op);
bool vq_rule_hoist_slice(vq_rw *rw, vq_op *op);
bool vq_rule_attention(vq_rw *rw, vq_op *op);
bool vq_rule_attention_scale(vq_rw *rw, vq_op *op);
bool vq_rule_attention_pack(vq_rw *rw, vq_op *op);
bool vq_rule_attention_source(vq_rw *rw, vq_op *op);
bool vq_rule_gated_pack(vq_rw *rw, vq_op *op);
bool vq_rule_concat(vq_rw *rw, vq_op *op);
bool vq_rule_concat_add(vq_rw *rw, vq_op *op);
bool vq_rule_concat_view(vq_rw *rw, vq_op *op);
bool vq_rule_roll(vq_rw *rw, vq_op *op);

#endif
