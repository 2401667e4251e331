// variation and variation_grad of the generic emitter, a row of pixels at a time, in
// vectors.
#include "chain.h"
#include "elt.h"
#include "loop.h"
#include "nest.h"

typedef LLVMValueRef val;

// ---- variation: a task is a picture ------------------------------------------------

int64_t vq_nest_variation_tasks(const vq_op *op) { return vq_in(op, 0)->type->dim[0]; }

typedef struct rows {
  val a, b;
} rows;

static void square_step(const vq_emit *e, void *user, val col, unsigned lanes, unsigned n,
                        val *sum) {
  const rows *r = user;
  val a = vq_elt_load(e, VQ_f32, r->a, col, lanes, n);
  val b = vq_elt_load(e, VQ_f32, r->b, col, lanes, n);
  val d = LLVMBuildFSub(e->b, a, b, "");
  sum[0] = vq_fma(e, d, d, sum[0]);
}

// sum + the squares of a[i] - b[i], i < n: floats for a row, rows in binary64.
static val add_squares(const vq_emit *e, val sum, val a, val b, int64_t n) {
  unsigned lanes = vq_f32_lanes(e->target);
  rows r = {a, b};
  val part = LLVMConstNull(vq_vec_type(e->f32, lanes));
  if (n <= 0) return sum;
  vq_row_each(e, n, lanes, square_step, &r, 1, &part);
  part = vq_reduce(e, part, vq_combine_add);
  return LLVMBuildFAdd(e->b, sum, LLVMBuildFPExt(e->b, part, LLVMTypeOf(sum), ""), "");
}

void vq_nest_variation(const vq_emit *e, const vq_op *op, val task, val scratch) {
  const int64_t *d = vq_in(op, 0)->type->dim, h = d[2], w = d[3];
  val x = vq_nest_ptr(e, vq_in(op, 0)), sum[4];
  (void)scratch;
  x = vq_at(e, e->f32, x, vq_mulk(e, task, d[1] * h * w));
  for (unsigned k = 0; k < 4; k++)
    sum[k] = LLVMConstNull(LLVMDoubleTypeInContext(e->lc));
  vq_loop c, i;
  vq_loop_begin(e, &c, vq_k64(e, 0), vq_k64(e, d[1]), 1, 4, sum);
  val row = vq_at(e, e->f32, x, vq_mulk(e, c.i, h * w));
  vq_loop_begin(e, &i, vq_k64(e, 0), vq_k64(e, h - 1), 1, 4, c.v);
  val at = vq_at(e, e->f32, row, vq_mulk(e, i.i, w)), below = vq_atk(e, e->f32, at, w);
  i.v[0] = add_squares(e, i.v[0], vq_atk(e, e->f32, at, 1), at, w - 1);
  i.v[1] = add_squares(e, i.v[1], below, at, w);
  i.v[2] = add_squares(e, i.v[2], below, vq_atk(e, e->f32, at, 1), w - 1);
  i.v[3] = add_squares(e, i.v[3], vq_atk(e, e->f32, below, 1), at, w - 1);
  vq_loop_end(e, &i);
  at = vq_atk(e, e->f32, row, (h - 1) * w);
  c.v[0] = add_squares(e, i.v[0], vq_atk(e, e->f32, at, 1), at, w - 1);
  for (unsigned k = 1; k < 4; k++) c.v[k] = i.v[k];
  vq_loop_end(e, &c);
  for (unsigned k = 0; k < 4; k++)
    vq_nest_store(e, op->out, vq_addk(e, vq_mulk(e, task, 4), k),
                  LLVMBuildFPTrunc(e->b, c.v[k], e->f32, ""));
}

// ---- variation_grad: a task is a row -------------------------------------------------

// Twice the weights of the steps, those from above and from below 0 where there is no row.
typedef struct grad_row {
  val x, above, below, y;
  val beside, from[4], to[4];
  bool left, right;  // whether the columns at hand have such neighbours
} grad_row;

static val add_step(const vq_emit *e, val sum, val x, val row, val col, int64_t side,
                    val weight, unsigned lanes, unsigned n) {
  val near = vq_elt_load(e, VQ_f32, row, vq_addk(e, col, side), lanes, n);
  return vq_fma(e, LLVMBuildFSub(e->b, x, near, ""), vq_splat(e, weight, lanes), sum);
}

static void grad_step(const vq_emit *e, void *user, val col, unsigned lanes, unsigned n,
                      val *v) {
  const grad_row *r = user;
  (void)v;
  val x = vq_elt_load(e, VQ_f32, r->x, col, lanes, n), sum = LLVMConstNull(LLVMTypeOf(x));
  sum = add_step(e, sum, x, r->above, col, 0, r->from[1], lanes, n);
  sum = add_step(e, sum, x, r->below, col, 0, r->to[1], lanes, n);
  if (r->left) {
    sum = add_step(e, sum, x, r->x, col, -1, r->beside, lanes, n);
    sum = add_step(e, sum, x, r->below, col, -1, r->to[2], lanes, n);
    sum = add_step(e, sum, x, r->above, col, -1, r->from[3], lanes, n);
  }
  if (r->right) {
    sum = add_step(e, sum, x, r->x, col, 1, r->beside, lanes, n);
    sum = add_step(e, sum, x, r->above, col, 1, r->from[2], lanes, n);
    sum = add_step(e, sum, x, r->below, col, 1, r->to[3], lanes, n);
  }
  vq_elt_store(e, VQ_f32, sum, r->y, col, n);
}

static void edge(const vq_emit *e, grad_row *r, int64_t col, bool left, bool right) {
  r->left = left, r->right = right;
  grad_step(e, r, vq_k64(e, col), 1, 1, NULL);
}

// The columns that have neighbours on both sides.
static void inner_step(const vq_emit *e, void *user, val col, unsigned lanes, unsigned n,
                       val *v) {
  grad_step(e, user, vq_addk(e, col, 1), lanes, n, v);
}

void vq_nest_variation_grad(const vq_emit *e, const vq_op *op, val task, val scratch) {
  const int64_t *d = op->out->type->dim, h = d[2], w = d[3];
  (void)scratch;
  val i = vq_modk(e, task, h), n = vq_divk(e, task, d[1] * h), none = vq_kf32(e, 0);
  val top = LLVMBuildICmp(e->b, LLVMIntEQ, i, vq_k64(e, 0), "");
  val end = LLVMBuildICmp(e->b, LLVMIntEQ, i, vq_k64(e, h - 1), "");
  val x = vq_nest_ptr(e, vq_in(op, 0)), at = vq_mulk(e, task, w);
  grad_row r = {.x = vq_at(e, e->f32, x, at),
                .y = vq_at(e, e->f32, vq_nest_ptr(e, op->out), at)};
  r.above = LLVMBuildSelect(e->b, top, r.x, vq_atk(e, e->f32, r.x, -w), "");
  r.below = LLVMBuildSelect(e->b, end, r.x, vq_atk(e, e->f32, r.x, w), "");
  for (unsigned k = 0; k < 4; k++) {
    val g = vq_nest_load(e, vq_in(op, 1), vq_addk(e, vq_mulk(e, n, 4), k));
    g = LLVMBuildFMul(e->b, g, vq_kf32(e, 2), "");
    if (k == 0) r.beside = g;
    r.from[k] = LLVMBuildSelect(e->b, top, none, g, "");
    r.to[k] = LLVMBuildSelect(e->b, end, none, g, "");
  }
  edge(e, &r, 0, false, w > 1);
  if (w > 1) edge(e, &r, w - 1, true, false);
  r.left = r.right = true;
  if (w > 2) vq_row_each(e, w - 2, vq_f32_lanes(e->target), inner_step, &r, 0, NULL);
}
