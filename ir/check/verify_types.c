// Verifier, types: quantized types, constants, inferred results, call cycles.
#include <math.h>

#include "check/checker.h"
#include "eval/eval_ops.h"
#include "vq/build.h"
#include "vq/strbuf.h"

// ---- types ----------------------------------------------------------------

static const char *type_z(vq_checker *c, const vq_type *t) {
  vq_strbuf b = {0};
  vq_type_print(&b, t);
  const char *z = vq_arena_str(&c->temp, vq_strbuf_view(&b)).p;
  vq_strbuf_release(&b);
  return z;
}

// What is wrong with the quantization of `t`, or NULL.
static const char *quant_fault(const vq_type *t) {
  const vq_quant *q = t->q;
  int64_t lo, hi;
  int axis = vq_quant_axis(q, t->rank);
  if (vq_dtype_class_of(q->store) != VQ_CLASS_INT || q->store == VQ_i64)
    return "codes must be integers of at most 32 bits";
  if (q->store != t->dtype) return "the codes have another element type";
  if (axis >= t->rank) return "the axis is not a dimension";
  if (q->n != (axis < 0 ? 1 : t->dim[axis]))
    return "the number of scales does not fit the axis";
  vq_int_range(q->store, &lo, &hi);
  if (q->lo < lo || q->lo > q->hi || q->hi > hi) return "lo to hi are not codes";
  for (uint32_t i = 0; i < q->n; i++) {
    if (q->scale[i] == 0 || !isfinite(q->scale[i]))
      return "a scale is 0 or not finite";
    if (q->zero[i] < INT16_MIN || q->zero[i] > INT16_MAX)
      return "a zero point is beyond 16 bits";
    if (q->scale[i] < 0 && q->zero[i] != 0)
      return "a scale is negative, its zero point not 0";
  }
  return NULL;
}

static void check_type(vq_checker *c, const vq_type *t, vq_loc loc) {
  const char *fault = t->q ? quant_fault(t) : NULL;
  if (fault)
    vq_checker_fail(c, VQ_E_type, loc, "%s: %s", type_z(c, t), fault);
}

// ---- constants --------------------------------------------------------------

// The value must be one of the type: printing and reading back keep it.
static bool fill_fits(const vq_const *k) {
  vq_dtype t = k->value.type->dtype;
  int64_t lo, hi;
  if (vq_dtype_class_of(t) == VQ_CLASS_FLOAT) return true;
  if (t == VQ_bf16) return isnan(k->fill) || vq_round_bf16(k->fill) == k->fill;
  vq_int_range(t, &lo, &hi);
  return fabs(k->fill) <= 0x1p53 && k->fill == trunc(k->fill) &&
         (int64_t)k->fill >= lo && (int64_t)k->fill <= hi;
}

static void check_const(vq_checker *c, const vq_const *k) {
  const char *who = vq_checker_z(c, '@', k->value.name), *what = NULL;
  check_type(c, k->value.type, (vq_loc){0});
  switch (k->init) {
    case VQ_INIT_BYTES:
      if (!k->bytes) what = "has no data";
      break;
    case VQ_INIT_FILL:
      if (!fill_fits(k)) what = "fill value does not fit the type";
      break;
    case VQ_INIT_RANDOM:
      if (!isfinite(k->std)) what = "std is not finite";
      break;
    case VQ_INIT_MISSING:
      if (!k->sha256) what = "has neither data nor a checksum";
      break;
  }
  if (what)
    vq_checker_fail(c, VQ_E_structure, (vq_loc){0}, "%s %s", who, what);
}

// ---- ops --------------------------------------------------------------------

static void check_op(vq_checker *c, const vq_op *op) {
  vq_value **in = VQ_NEW_N(&c->temp, vq_value *, op->n_in);
  const vq_type **out = VQ_NEW_N(&c->temp, const vq_type *, op->n_out);
  unsigned n_out = 0;
  for (uint32_t i = 0; i < op->n_in; i++) in[i] = vq_in(op, i);
  if (vq_infer((vq_module *)c->m, c->diag, op->loc, op->code, in, op->n_in,
               op->attrs, out, op->n_out, &n_out) != VQ_OK) {
    c->n_error++;  // reported by inference
    return;
  }
  if (n_out != op->n_out) {
    vq_checker_fail(c, VQ_E_structure, op->loc, "%s has %u results, not %u",
                    vq_checker_op(c, op), op->n_out, n_out);
    return;
  }
  for (uint32_t i = 0; i < n_out; i++) {
    check_type(c, op->out[i].type, op->loc);
    const vq_type *t = op->out[i].type;
    if (op->code == VQ_OP_call && !out[i]->q) t = vq_type_with(c->m->ctx, t, NULL);
    if (t != out[i])
      vq_checker_fail(c, VQ_E_type, op->loc,
                      "%s: result %u is stated as %s but is %s",
                      vq_checker_op(c, op), i, type_z(c, op->out[i].type),
                      type_z(c, out[i]));
  }
}

// ---- call cycles --------------------------------------------------------------

// Depth first without recursion: the path is linked through `caller`.
typedef struct visit {
  const vq_func *func;
  const vq_op *at;  // next op to look at
  struct visit *caller;
  bool on_path;
} visit;

static visit *visit_of(vq_checker *c, vq_map *seen, const vq_func *f) {
  visit *v = VQ_NEW(&c->temp, visit);
  *v = (visit){f, f->first, NULL, true};
  *vq_map_put(seen, f->name) = v;
  return v;
}

static void walk_calls(vq_checker *c, vq_map *seen, visit *v) {
  while (v) {
    const vq_op *op = v->at;
    if (!op) {
      v->on_path = false;
      v = v->caller;
      continue;
    }
    v->at = op->next;
    if (op->code != VQ_OP_call) continue;
    const vq_func *f = vq_module_func(c->m, VQ_ATTRS(op, call)->callee);
    if (!f) continue;
    visit *callee = vq_map_get(seen, f->name);
    if (!callee) {
      callee = visit_of(c, seen, f);
      callee->caller = v;
      v = callee;
    } else if (callee->on_path) {
      vq_checker_fail(c, VQ_E_structure, op->loc,
                      "%s: this call closes a cycle through %s",
                      vq_checker_op(c, op), vq_checker_z(c, '@', f->name));
    }
  }
}

void vq_check_types(vq_checker *c) {
  vq_each_const(c->m, k) check_const(c, k);
  vq_each_func(c->m, f) {
    for (uint32_t i = 0; i < f->n_arg; i++)
      check_type(c, f->arg[i].type, (vq_loc){0});
    vq_each_op(f, op)
      if (!vq_checker_full(c)) check_op(c, op);
  }
  vq_map seen = {0};
  vq_each_func(c->m, f)
    if (!vq_map_find(&seen, f->name)) walk_calls(c, &seen, visit_of(c, &seen, f));
  vq_map_release(&seen);
}
