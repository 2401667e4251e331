// The recompose pass: the networks exporters take apart, put back together.
//
// Rules rewrite single ops in program order until nothing changes. They form
// two rounds: the first finds every pattern, the second, once attention owns
// its scale, folds remaining constant factors into linears and norms. See
// docs/recompose.md for the patterns and the canonical form.
#include "canon/rewriter.h"

#include "passes.h"
#include "vq/recompose.h"

typedef struct rule {
  vq_opcode code;
  vq_rule_fn fn;
} rule;

// In order of trial for each op. Sinking comes last: what a pattern absorbs
// need not move.
static const rule rules[] = {
    {VQ_OP_sub, vq_rule_center},
    {VQ_OP_div, vq_rule_layer_norm},
    {VQ_OP_mul, vq_rule_layer_norm},
    {VQ_OP_add, vq_rule_layer_norm_moments},
    {VQ_OP_mul, vq_rule_layer_norm_affine},
    {VQ_OP_div, vq_rule_layer_norm_affine},
    {VQ_OP_add, vq_rule_layer_norm_affine},
    {VQ_OP_sub, vq_rule_layer_norm_affine},
    {VQ_OP_layer_norm, vq_rule_layer_norm_trim},
    {VQ_OP_div, vq_rule_softmax},
    {VQ_OP_mul, vq_rule_gate},
    {VQ_OP_div, vq_rule_gate},
    {VQ_OP_matmul, vq_rule_linear},
    {VQ_OP_add, vq_rule_linear_bias},
    {VQ_OP_sub, vq_rule_linear_bias},
    {VQ_OP_add, vq_rule_linear_part_bias},
    {VQ_OP_mul, vq_rule_linear_scale},
    {VQ_OP_div, vq_rule_linear_scale},
    {VQ_OP_mul, vq_rule_gated_pack},
    {VQ_OP_conv2d, vq_rule_conv},
    {VQ_OP_linear, vq_rule_unfold},
    {VQ_OP_matmul, vq_rule_attention},
    {VQ_OP_matmul, vq_rule_linear_left},
    {VQ_OP_attention, vq_rule_attention_scale},
    {VQ_OP_attention, vq_rule_attention_pack},
    {VQ_OP_attention, vq_rule_attention_source},
    {VQ_OP_concat, vq_rule_concat},
    {VQ_OP_concat, vq_rule_concat_view},
    {VQ_OP_add, vq_rule_concat_add},
    {VQ_OP_gather, vq_rule_roll},
    {VQ_OP_slice, vq_rule_hoist_slice},
    {VQ_OP_reduce_mean, vq_rule_reduce},
    {VQ_OP_reduce_sum, vq_rule_reduce},
    {VQ_OP_reduce_max, vq_rule_reduce},
    {VQ_OP_div, vq_rule_reciprocal},
    {VQ_OP_add, vq_rule_trim_const},
    {VQ_OP_sub, vq_rule_trim_const},
    {VQ_OP_mul, vq_rule_trim_const},
    {VQ_OP_div, vq_rule_trim_const},
};

// False, with a warning, once the constants that rules made have used up what
// this module may ask for. What is left of it stays as it is.
static bool may_go_on(vq_rw *rw, const vq_op *op) {
  vq_fold_budget *b = &rw->budget;
  if (b->left) return true;
  if (!b->told)
    b->told = vq_warn(rw->pc->diag, VQ_E_limit, op->loc, "recompose ends here: "
                      "constants of the form it makes take more than the %llu "
                      "steps for this module", (unsigned long long)b->all)
              == VQ_OK;
  return false;
}

static bool apply(vq_rw *rw, vq_op *op) {
  if (!may_go_on(rw, op)) return false;
  rw->b.before = op;
  rw->b.loc = op->loc;
  vq_value *same = vq_identity_of(op);
  if (same) return vq_rw_replace(rw, op, same, NULL);
  if (vq_is_movement(op) && vq_rule_move(rw, op)) return true;
  for (unsigned i = 0; i < VQ_COUNT(rules); i++)
    if (rules[i].code == op->code && rules[i].fn(rw, op)) return true;
  return op->n_out == 1 &&
         (vq_rule_sink(rw, op) ||
          (op->code == VQ_OP_add && vq_rule_residual(rw, op)));
}

static void sweep_dead(vq_func *f) {
  for (vq_op *op = f->last, *prev; op; op = prev) {
    prev = op->prev;
    bool dead = vq_has_trait(op, VQ_TRAIT_PURE);
    for (unsigned i = 0; i < op->n_out; i++) dead &= !op->out[i].uses;
    if (dead) vq_erase_op(op);
  }
}

// Every rewrite shortens or lowers something, so a bound is only a safety net.
static void run_rounds(vq_rw *rw) {
  enum { MAX_SWEEPS = 64 };
  for (unsigned i = 0; i < MAX_SWEEPS; i++) {
    unsigned before = rw->n_changed;
    vq_each_op_safe(rw->func, op) {
      if (op->code != VQ_OP_return && op->code != VQ_OP_call) apply(rw, op);
    }
    sweep_dead(rw->func);
    if (rw->n_changed != before) continue;
    if (rw->late) return;
    rw->late = true;
  }
}

// Where a value stands in the dataflow, however independent ops are ordered:
// how far from the arguments, and what was computed on the way.
typedef struct place {
  uint64_t depth, path;
} place;

static place place_of(const vq_value *v) {
  place p = {0, v->idx};
  if (v->kind == VQ_VALUE_CONST) p.depth = UINT64_MAX;
  if (v->kind != VQ_VALUE_RESULT) return p;
  p = *(const place *)v->def->scratch;
  p.path += v->idx;
  return p;
}

static place place_behind(const vq_op *op) {
  place p = {0, vq_op_attrs_hash(op->code, op->attrs, op->code)};
  for (unsigned i = 0; i < op->n_in; i++) {
    place in = place_of(vq_in(op, i));
    if (in.depth != UINT64_MAX && in.depth > p.depth) p.depth = in.depth;
    p.path = vq_hash_bytes(p.path, &in, sizeof in);
  }
  p.depth++;
  return p;
}

// a + b and b + a are one op: the operand nearer to the arguments stands first,
// a constant last.
static void order_operands(vq_func *f, vq_arena *temp) {
  vq_each_op(f, op) {
    if (vq_has_trait(op, VQ_TRAIT_COMM)) {
      place a = place_of(vq_in(op, 0)), b = place_of(vq_in(op, 1));
      if (a.depth > b.depth || (a.depth == b.depth && a.path > b.path)) {
        vq_value *in[] = {vq_in(op, 1), vq_in(op, 0)};
        vq_set_operands(op, in, 2);
      }
    }
    place *p = VQ_NEW(temp, place);
    *p = place_behind(op);
    op->scratch = p;
  }
  vq_each_op(f, op) op->scratch = NULL;
}

static void count_one(void *user, const vq_op *op, const char *construct) {
  (void)op;
  (void)construct;
  ++*(int64_t *)user;
}

vq_status vq_pass_recompose(vq_module *m, vq_pass_ctx *pc) {
  const vq_pass_recompose_opts *o = VQ_OPTS(pc, vq_pass_recompose);
  vq_fold_budget budget = vq_fold_allow(m, o->max_bytes, o->max_steps);
  vq_each_func(m, f) {
    if (f->kind != VQ_FUNC) continue;
    vq_rw rw = {.module = m, .func = f, .pc = pc, .budget = budget,
                .b = {.func = f, .diag = pc->diag}};
    uint32_t n_error = pc->diag->n_error;
    run_rounds(&rw);
    order_operands(f, pc->temp);
    vq_map_release(&rw.transposed);
    budget = rw.budget;
    if (pc->diag->n_error != n_error) return VQ_ERR;
  }
  int64_t n_left = 0;
  vq_recompose_leftovers(m, count_one, &n_left);
  vq_stat(pc, VQ_STAT_LEFT_OVER, n_left);
  return VQ_OK;
}
