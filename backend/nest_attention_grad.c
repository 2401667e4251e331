// attention_softmax and attention_grad of the generic emitter: a task is a query of a
// head, and a head of a sample, query by query.
#include "elt.h"
#include "loop.h"
#include "nest.h"

typedef LLVMValueRef val;

typedef struct head {
  const vq_op *op;
  int64_t heads, n, m, d, e;
  float scale;
  val b, h;       // sample and head
  val q, g, p;    // rows of the query at hand
  val ds;         // of it, in scratch
} head;

int64_t vq_nest_attention_grad_tasks(const vq_op *op) {
  return vq_in(op, 0)->type->dim[0] * VQ_ATTRS(op, attention_grad)->heads;
}

int64_t vq_nest_attention_grad_scratch(const vq_op *op) {
  return vq_in(op, 2)->type->dim[1] * (int64_t)sizeof(float);
}

// Address of token `i` of operand `v`, `size` elements of this head.
static val token(const vq_emit *e, const head *a, const vq_value *v, val i, int64_t size) {
  val idx[] = {a->b, i, vq_mulk(e, a->h, size)};
  return vq_at(e, e->f32, vq_nest_ptr(e, v), vq_nest_flatten(e, v->type, idx, 3));
}

// Of the result: token `i` behind `before` tokens of width d.
static val result(const vq_emit *e, const head *a, int64_t before, val i, int64_t size) {
  val at = vq_mulk(e, a->b, a->op->out->type->dim[1]);
  at = vq_add(e, vq_addk(e, at, before * a->heads * a->d), vq_mulk(e, i, a->heads * size));
  at = vq_add(e, at, vq_mulk(e, a->h, size));
  return vq_at(e, e->f32, vq_nest_ptr(e, a->op->out), at);
}

static val get(const vq_emit *e, val base, val i) {
  return vq_elt_load(e, VQ_f32, base, i, 1, 1);
}

static void put(const vq_emit *e, val x, val base, val i) {
  vq_elt_store(e, VQ_f32, x, base, i, 1);
}

// y[0 .. n) += a * x[0 .. n)
static void add_times(const vq_emit *e, val y, val a, val x, int64_t n) {
  vq_loop l;
  vq_loop_range(e, &l, n, 1);
  put(e, vq_fma(e, a, get(e, x, l.i), get(e, y, l.i)), y, l.i);
  vq_loop_end(e, &l);
}

static void clear(const vq_emit *e, const head *a, int64_t before, int64_t n, int64_t size) {
  vq_loop i, c;
  vq_loop_range(e, &i, n, 1);
  val y = result(e, a, before, i.i, size);
  vq_loop_range(e, &c, size, 1);
  put(e, vq_kf32(e, 0), y, c.i);
  vq_loop_end(e, &c);
  vq_loop_end(e, &i);
}

static void query(const vq_emit *e, head *a, val i) {
  const vq_value *p = vq_in(a->op, 4);
  val idx[] = {a->b, a->h, i, vq_k64(e, 0)};
  a->p = vq_at(e, e->f32, vq_nest_ptr(e, p), vq_nest_flatten(e, p->type, idx, 4));
  a->q = token(e, a, vq_in(a->op, 0), i, a->d), a->g = token(e, a, vq_in(a->op, 3), i, a->e);
  vq_loop j;
  vq_loop_range(e, &j, a->m, 1);
  put(e, vq_run_dot(e, a->g, token(e, a, vq_in(a->op, 2), j.i, a->e), a->e), a->ds, j.i);
  vq_loop_end(e, &j);
  val mean = vq_run_dot(e, a->p, a->ds, a->m), dq = result(e, a, 0, i, a->d);
  vq_loop_range(e, &j, a->m, 1);
  val w = get(e, a->p, j.i);
  val ds = LLVMBuildFSub(e->b, get(e, a->ds, j.i), mean, "");
  ds = LLVMBuildFMul(e->b, LLVMBuildFMul(e->b, w, ds, ""), vq_kf32(e, a->scale), "");
  add_times(e, dq, ds, token(e, a, vq_in(a->op, 1), j.i, a->d), a->d);
  add_times(e, result(e, a, a->n, j.i, a->d), ds, a->q, a->d);
  add_times(e, result(e, a, a->n + a->m, j.i, a->e), w, a->g, a->e);
  vq_loop_end(e, &j);
}

void vq_nest_attention_grad(const vq_emit *e, const vq_op *op, val task, val scratch) {
  const vq_attrs_attention_grad *at = VQ_ATTRS(op, attention_grad);
  const int64_t *q = vq_in(op, 0)->type->dim, *v = vq_in(op, 2)->type->dim;
  head a = {.op = op, .heads = at->heads, .n = q[1], .m = v[1], .d = q[2] / at->heads,
            .e = v[2] / at->heads, .scale = at->scale, .ds = scratch};
  a.b = vq_divk(e, task, a.heads), a.h = vq_modk(e, task, a.heads);
  clear(e, &a, 0, a.n + a.m, a.d);
  clear(e, &a, a.n + a.m, a.m, a.e);
  vq_loop i;
  vq_loop_range(e, &i, a.n, 1);
  query(e, &a, i.i);
  vq_loop_end(e, &i);
}

void vq_nest_attention_softmax(const vq_emit *e, const vq_op *op, val task, val scratch) {
  const vq_attrs_attention_softmax *at = VQ_ATTRS(op, attention_softmax);
  const vq_value *bias = vq_in_opt(op, 2), *p = op->out;
  head a = {.op = op, .heads = at->heads, .m = p->type->dim[3],
            .d = vq_in(op, 0)->type->dim[2] / at->heads};
  val idx[VQ_MAX_RANK], first = vq_mulk(e, task, a.m);
  (void)scratch;
  vq_nest_unflatten(e, p->type, 3, task, idx);
  a.b = idx[0], a.h = idx[1];
  a.q = token(e, &a, vq_in(op, 0), idx[2], a.d);
  a.p = vq_at(e, e->f32, vq_nest_ptr(e, p), first);
  vq_loop j;
  vq_loop_range(e, &j, a.m, 1);
  val s = vq_run_dot(e, a.q, token(e, &a, vq_in(op, 1), j.i, a.d), a.d);
  s = LLVMBuildFMul(e->b, s, vq_kf32(e, at->scale), "");
  if (bias) {
    val b[] = {vq_modk(e, a.b, bias->type->dim[0]), vq_modk(e, a.h, bias->type->dim[1]),
               idx[2], j.i};
    val add = vq_nest_load(e, bias, vq_nest_flatten(e, bias->type, b, 4));
    s = LLVMBuildFAdd(e->b, s, add, "");
  }
  put(e, s, a.p, j.i);
  vq_loop_end(e, &j);
  vq_run_softmax(e, (vq_run){a.p, a.m, 1}, (vq_run){a.p, a.m, 1});
}
