// Outlining: a group of ops becomes a kernel and a call of it.
//
// The call stands where the last op of the group stood. There every input of
// the group is defined; what must move are the ops in between that use the
// group's results, directly or not. They go behind the call, in order. If one
// of them also feeds the group, the group is not convex and stays as it is.
//
// The kernel's arguments are named after the operands they are first used as
// and its values are numbered, so that equal groups give equal kernels down to
// the text, whichever comes first.
//
// Inside, codes are plain numbers, for blocks that compute the same with other scales
// share a kernel: factors come as operands. What the codes stand for is said where
// the kernel is called.
#include "core/core.h"
#include "vq/rewrite.h"
#include "vq/vec.h"

typedef struct group {
  vq_op *const *op;
  unsigned n;
  vq_func *func;
  vq_map member;          // vq_op* of the group
  vq_map argument;        // vq_value* from outside
  VQ_VEC(vq_value *) in;  // in order of first use
  VQ_VEC(vq_str) in_name;
  VQ_VEC(vq_value *) out;  // used outside, in order of definition
  VQ_VEC(vq_op *) after;   // to be moved behind the call
} group;

static bool is_in(const vq_map *set, vq_op *const *op) {
  return vq_map_find(set, VQ_MAP_PTR_KEY(*op)) != NULL;
}

// True when an operand of `op` is the result of an op in `set`.
static bool uses_any(const vq_op *op, const vq_map *set) {
  for (unsigned i = 0; i < op->n_in; i++) {
    vq_value *v = op->in[i].val;
    if (v->kind == VQ_VALUE_RESULT && is_in(set, &v->def)) return true;
  }
  return false;
}

// Fills g->after; complains when the group is not convex.
static vq_status check_convex(group *g, vq_diag *diag) {
  vq_map late = {0};  // ops outside that depend on the group
  vq_status status = VQ_OK;
  for (vq_op *op = g->op[0];; op = op->next) {
    if (!op) VQ_BUG("the ops to outline are not in program order");
    if (is_in(&g->member, &op)) {
      if (uses_any(op, &late)) {
        status = vq_error(diag, VQ_E_structure, op->loc,
                          "cannot outline '%s' with the ops before it: an op"
                          " outside the group lies between them",
                          vq_op_info(op->code)->name);
        break;
      }
    } else if (uses_any(op, &g->member) || uses_any(op, &late)) {
      if (op->n_out)
        vq_map_put(&late, VQ_MAP_PTR_KEY(op->out[0].def));
      vq_vec_push(&g->after, op);
    }
    if (op == g->op[g->n - 1]) break;
  }
  vq_map_release(&late);
  return status;
}

static void find_inputs(group *g) {
  for (unsigned k = 0; k < g->n; k++) {
    const vq_op *op = g->op[k];
    const vq_op_desc *d = vq_op_info(op->code);
    for (unsigned i = 0; i < op->n_in; i++) {
      vq_value *v = op->in[i].val;
      if (v->kind == VQ_VALUE_RESULT && is_in(&g->member, &v->def)) continue;
      vq_str key = VQ_MAP_PTR_KEY(op->in[i].val);
      if (vq_map_find(&g->argument, key)) continue;
      vq_map_put(&g->argument, key);
      vq_vec_push(&g->in, v);
      vq_vec_push(&g->in_name,
                  vq_str_of(d->in[d->variadic_in ? 0 : i].name));
    }
  }
}

static void find_outputs(group *g) {
  for (unsigned k = 0; k < g->n; k++) {
    for (unsigned i = 0; i < g->op[k]->n_out; i++) {
      vq_value *v = &g->op[k]->out[i];
      bool outside = false;
      vq_each_use(v, u) outside |= !is_in(&g->member, &u->user);
      if (outside) vq_vec_push(&g->out, v);
    }
  }
}

static const vq_type *plain(const vq_type *t, vq_ctx *ctx) {
  return vq_type_with(ctx, t, NULL);
}

// Takes the quant entries off an op of a kernel.
static void forget_quant(vq_op *op) {
  vq_ctx *ctx = op->func->module->ctx;
  for (unsigned i = 0; i < op->n_out; i++)
    op->out[i].type = plain(op->out[i].type, ctx);
  const vq_op_desc *d = vq_op_info(op->code);
  for (unsigned i = 0; i < d->n_attr; i++)
    if (d->attr[i].kind == VQ_ATTR_quant)
      *(vq_attr_quant *)((char *)op->attrs + d->attr[i].offset) = NULL;
  if (op->code == VQ_OP_quantize) ((vq_attrs_quantize *)op->attrs)->folded = false;
  if (op->code == VQ_OP_requantize) ((vq_attrs_requantize *)op->attrs)->folded = false;
}

static vq_func *make_kernel(group *g, vq_str name) {
  vq_module *m = g->func->module;
  vq_arena *a = &m->arena;
  const vq_type **type = VQ_NEW_N(a, const vq_type *, g->in.n);
  for (size_t i = 0; i < g->in.n; i++) type[i] = plain(g->in.p[i]->type, m->ctx);
  vq_func *k = vq_func_create(m, VQ_KERNEL, name, (unsigned)g->in.n, type,
                              g->in_name.p);
  // Before its caller, so that a reader of the text knows it.
  vq_func_unlink(k);
  vq_func_link(k, g->func);
  vq_map map = {0};
  for (unsigned i = 0; i < g->in.n; i++)
    *vq_map_put(&map, VQ_MAP_PTR_KEY(g->in.p[i])) = &k->arg[i];
  vq_builder b = {.func = k};
  for (unsigned i = 0; i < g->n; i++) {
    vq_op *op = vq_clone_op(&b, g->op[i], &map);
    forget_quant(op);
    for (unsigned j = 0; j < op->n_out; j++)
      vq_rename_value(k, &op->out[j], VQ_LIT(""));
  }
  vq_value **result = VQ_NEW_N(a, vq_value *, g->out.n);
  for (size_t i = 0; i < g->out.n; i++)
    result[i] = vq_map_get(&map, VQ_MAP_PTR_KEY(g->out.p[i]));
  vq_map_release(&map);
  vq_op_new(k, NULL, g->op[g->n - 1]->loc, VQ_OP_return, result,
            (unsigned)g->out.n, NULL, NULL, 0);
  vq_func_set_results(k, (unsigned)g->out.n, result, NULL);
  k->hash = vq_func_hash(k, false);
  return k;
}

// The first kernel with the body of `k`; `k` itself is erased if there is one.
static vq_func *share_kernel(vq_func *k) {
  vq_module *m = k->module;
  vq_each_func(m, f) {
    if (f == k || f->kind != VQ_KERNEL || !f->last) continue;
    if (!f->hash) f->hash = vq_func_hash(f, false);
    if (f->hash != k->hash || !vq_func_equal(f, k)) continue;
    vq_erase_func(m, k);
    return f;
  }
  return k;
}

static vq_op *make_call(group *g, const vq_func *kernel) {
  vq_arena *a = &g->func->module->arena;
  vq_op *last = g->op[g->n - 1];
  vq_attrs_call attrs = vq_default_call();
  attrs.callee = kernel->name;
  vq_op *call = vq_op_new(g->func, last->next, last->loc, VQ_OP_call, g->in.p,
                          (unsigned)g->in.n, &attrs, kernel->result,
                          kernel->n_result);
  vq_op *rest = call->next;
  for (size_t i = 0; i < g->after.n; i++) vq_move_op(g->after.p[i], rest);
  vq_str *name = VQ_NEW_N(a, vq_str, g->out.n);
  for (size_t i = 0; i < g->out.n; i++) {
    name[i] = g->out.p[i]->name;
    vq_set_call_quant(call, (unsigned)i, g->out.p[i]->type->q);
    vq_replace_all_uses(g->out.p[i], &call->out[i]);
  }
  for (unsigned i = g->n; i-- > 0;) vq_erase_op(g->op[i]);
  for (size_t i = 0; i < g->out.n; i++)
    vq_rename_value(g->func, &call->out[i], name[i]);
  return call;
}

vq_op *vq_outline(vq_diag *diag, vq_op *const *ops, unsigned n, vq_str name) {
  assert(n > 0);
  group g = {.op = ops, .n = n, .func = ops[0]->func};
  vq_op *call = NULL;
  for (unsigned i = 0; i < n; i++)
    vq_map_put(&g.member, VQ_MAP_PTR_KEY(ops[i]));
  if (!check_convex(&g, diag)) {
    find_inputs(&g);
    find_outputs(&g);
    if (g.out.n)
      call = make_call(&g, share_kernel(make_kernel(&g, name)));
    else
      vq_error(diag, VQ_E_structure, ops[0]->loc,
               "cannot outline '%s': no result of the group is used",
               vq_op_info(ops[0]->code)->name);
  }
  vq_map_release(&g.member);
  vq_map_release(&g.argument);
  vq_vec_release(&g.in);
  vq_vec_release(&g.in_name);
  vq_vec_release(&g.out);
  vq_vec_release(&g.after);
  return call;
}
