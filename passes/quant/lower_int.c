// lower-int: operations on dequantized codes become operations on codes.
//
// After freeze-quant every code is quantize, then dequantize, then used. Rules
// move the dequantize towards the results, until it meets the next quantize and
// the two become one requantize:
//
//   slice, gather_rows, reshape, ...    move codes instead of numbers
//   linear, patch_embed                 sum in i32, dequantized per channel; the
//                                       zero point of x goes into the bias
//   layer_norm                          reads i16 codes; it does not care for
//                                       their scale but in eps
//   reduce_mean                         of codes, times their scale
//   attention                           attention_int; scales join the score's
//   gelu, silu                          piecewise, and of sums that become codes of 8 bits
//                                       behind it piecewise_int
//   concat, sliced and moved results    quantize moves up instead
//
// What no rule takes stays float, between a dequantize and a quantize: slow, and
// counted in the statistics. Constants made here are computed in binary64 and
// rounded once, so the arithmetic of docs/integer-semantics.md sees few of them.
#include "quant/lower_int.h"

#include "vq/map.h"

static const vq_lower_rule rules[] = {
    {VQ_OP_slice, vq_lower_move},       {VQ_OP_gather_rows, vq_lower_move},
    {VQ_OP_reshape, vq_lower_move},     {VQ_OP_transpose, vq_lower_move},
    {VQ_OP_copy, vq_lower_move},        {VQ_OP_expand, vq_lower_move},
    {VQ_OP_gather, vq_lower_move},      {VQ_OP_pad, vq_lower_move},
    {VQ_OP_concat, vq_lower_concat},    {VQ_OP_linear, vq_lower_linear},
    {VQ_OP_patch_embed, vq_lower_linear},
    {VQ_OP_layer_norm, vq_lower_norm},  {VQ_OP_reduce_mean, vq_lower_mean},
    {VQ_OP_attention, vq_lower_attention},
    {VQ_OP_gelu, vq_lower_act},         {VQ_OP_silu, vq_lower_act},
    {VQ_OP_quantize, vq_lower_slices},  {VQ_OP_quantize, vq_lower_requantize},
    {VQ_OP_quantize, vq_lower_quantize_act},
    {VQ_OP_quantize, vq_lower_factor},  {VQ_OP_quantize, vq_lower_norm_scale},
    {VQ_OP_quantize, vq_lower_quantize_concat}, {VQ_OP_quantize, vq_lower_quantize_move},
    {VQ_OP_quantize, vq_lower_quantize_const},
    {VQ_OP_quantize, vq_lower_quantize_table},
};

// ---- what rules share ------------------------------------------------------------

bool vq_lower_fine_code(const vq_value *v, vq_coded *c) {
  const vq_op *op = vq_quant_def(v, VQ_OP_dequantize);
  if (!op) return false;
  *c = (vq_coded){vq_in(op, 0), vq_in(op, 1), vq_in_opt(op, 2), VQ_ATTRS(op, dequantize)->fine};
  return vq_const_of(c->scale) && (!c->zero || vq_const_of(c->zero));
}

bool vq_lower_code(const vq_value *v, vq_coded *c) {
  return vq_lower_fine_code(v, c) && !c->fine;
}

bool vq_lower_is_scalar(const vq_coded *c) {
  return vq_type_count(c->scale->type) == 1 &&
         (!c->zero || vq_type_count(c->zero->type) == 1);
}

bool vq_lower_scalar_code(const vq_value *v, vq_coded *c) {
  return vq_lower_code(v, c) && vq_lower_is_scalar(c);
}

double vq_lower_scale(const vq_coded *c) {
  return vq_const_f64(vq_const_of(c->scale), 0);
}

double vq_lower_zero(const vq_coded *c) {
  return c->zero ? vq_const_f64(vq_const_of(c->zero), 0) : 0;
}

bool vq_lower_replace(vq_lowering *lo, vq_op *op, vq_value *v) {
  if (!v) {
    lo->failed = true;
    return false;
  }
  if (!v->name.n && v->kind == VQ_VALUE_RESULT && op->out->name.n)
    vq_rename_value(op->func, v, op->out->name);
  vq_replace_op(op, v);
  return true;
}

vq_value *vq_lower_dequantize(vq_lowering *lo, vq_value *q, vq_value *scale,
                              vq_value *zero) {
  vq_value *in[] = {q, scale, zero};
  return q ? vq_build1(&lo->b, VQ_OP_dequantize, in, zero ? 3 : 2, NULL, VQ_LIT(""))
           : NULL;
}

// ---- the pass ----------------------------------------------------------------------

static bool apply(vq_lowering *lo, vq_op *op) {
  for (size_t i = 0; i < VQ_COUNT(rules); i++) {
    if (op->code != rules[i].code) continue;
    lo->b = (vq_builder){op->func, op, op->loc, lo->pc->diag};
    if (rules[i].fn(lo, op)) return true;
    if (lo->failed) return false;
  }
  return false;
}

static void remove_dead(vq_func *f) {
  for (vq_op *op = f->last, *prev; op; op = prev) {
    prev = op->prev;
    if (op->n_out == 1 && !op->out->uses && vq_has_trait(op, VQ_TRAIT_PURE))
      vq_erase_op(op);
  }
}

static bool sweep(vq_lowering *lo, vq_func *f) {
  bool changed = false;
  for (vq_op *op = f->first, *next; op && !lo->failed; op = next) {
    next = op->next;
    changed |= apply(lo, op);
  }
  remove_dead(f);
  return changed;
}

// ---- what stayed float -------------------------------------------------------------

// Float work that is part of something else: elementwise ops behind an integer one
// are its epilogue, those in front of the first quantize make codes of the input.
typedef struct islands {
  vq_map epilogue, prologue;  // ops, by their result
} islands;

static bool is_float_work(const vq_op *op) {
  if (!op->n_out || !op->n_in || vq_has_trait(op, VQ_TRAIT_VIEW)) return false;
  return op->code != VQ_OP_piecewise && op->out->type->dtype == VQ_f32 &&
         vq_in(op, 0)->type->dtype == VQ_f32;
}

static bool has(const vq_map *set, const vq_op *op) {
  return vq_map_find(set, VQ_MAP_PTR_KEY(op->out)) != NULL;
}

static bool is_epilogue(const islands *s, const vq_op *op) {
  for (unsigned i = 0; i < op->n_in; i++) {
    const vq_value *v = vq_in(op, i);
    if (v->kind == VQ_VALUE_RESULT &&
        (!is_float_work(v->def) || has(&s->epilogue, v->def)))
      return true;
  }
  return false;
}

static bool is_prologue(const islands *s, const vq_op *op) {
  for (unsigned i = 0; i < op->n_in; i++) {
    const vq_value *v = vq_in(op, i);
    if (v->kind == VQ_VALUE_RESULT && !has(&s->prologue, v->def)) return false;
  }
  vq_each_use(op->out, u)
    if (u->user->code != VQ_OP_quantize && !vq_has_trait(u->user, VQ_TRAIT_ELTWISE))
      return false;
  return true;
}

static bool is_island(islands *s, const vq_op *op) {
  if (!is_float_work(op)) return false;
  if (!vq_has_trait(op, VQ_TRAIT_ELTWISE)) return true;
  vq_map *set = is_epilogue(s, op) ? &s->epilogue
                : is_prologue(s, op) ? &s->prologue
                                     : NULL;
  if (set) vq_map_put(set, VQ_MAP_PTR_KEY(op->out));
  return !set;
}

static void report(const vq_func *f, vq_pass_ctx *pc) {
  islands s = {{0}, {0}};
  vq_each_op(f, op) {
    int64_t macs = vq_op_macs(op);
    bool is_int = op->code == VQ_OP_attention_int ||
                  (op->n_in && vq_in(op, 0)->type->dtype != VQ_f32);
    if (macs) vq_stat(pc, is_int ? VQ_STAT_INT_MACS : VQ_STAT_FLOAT_MACS, macs);
    if (is_island(&s, op)) vq_stat(pc, vq_op_info(op->code)->name, 1);
  }
  vq_map_release(&s.epilogue);
  vq_map_release(&s.prologue);
}

vq_status vq_pass_lower_int(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_quant_main(m);
  vq_lowering lo = {.m = m, .pc = pc};
  if (!f) return VQ_OK;
  while (sweep(&lo, f)) continue;
  if (lo.failed) return VQ_ERR;
  report(f, pc);
  return VQ_OK;
}
