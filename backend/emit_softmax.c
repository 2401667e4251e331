// softmax along the last dimension, and its elementwise epilogue.
//
// A task is a few rows. The exponentials of a row wait in scratch, so that the
// epilogue may have any result type.
#include "chain.h"
#include "elt.h"
#include "loop.h"
#include "vmath.h"

#define TASK_ROWS 8

bool match_softmax(const vq_func *kernel, vq_kernel_plan *plan);
vq_status emit_softmax(vq_emit *e);

typedef struct softmax {
  vq_chain chain;
  const vq_value *x;
  // while emitting
  LLVMValueRef row, base;  // number of the row, its first element
  LLVMValueRef max, inv;   // scalars
} softmax;

static bool describe(const vq_func *kernel, softmax *p) {
  const vq_op *op = kernel->first;
  memset(p, 0, sizeof *p);
  if (op->code != VQ_OP_softmax || !vq_chain_match(kernel, op, &p->chain))
    return false;
  int64_t axis = VQ_ATTRS(op, softmax)->axis;
  p->x = vq_in(op, 0);
  return p->x->kind == VQ_VALUE_ARG && p->chain.cols <= (4 << 20) / 4 &&
         (axis == -1 || axis == p->x->type->rank - 1);
}

bool match_softmax(const vq_func *kernel, vq_kernel_plan *plan) {
  softmax p;
  if (!describe(kernel, &p)) return false;
  plan->n_task = (p.chain.rows + TASK_ROWS - 1) / TASK_ROWS;
  plan->scratch_bytes = (uint32_t)p.chain.cols * 4;
  return true;
}

// Lanes from `n` on become `v`.
static LLVMValueRef fill_tail(const vq_emit *e, LLVMValueRef x, unsigned n,
                              double v) {
  unsigned lanes = vq_lanes_of(LLVMTypeOf(x));
  if (n == lanes) return x;
  return LLVMBuildSelect(e->b, vq_lane_mask(e, lanes, n), x,
                         vq_kf_like(LLVMTypeOf(x), v), "");
}

static LLVMValueRef load_x(const vq_emit *e, const softmax *p, LLVMValueRef col,
                           unsigned lanes, unsigned n) {
  return vq_elt_load(e, VQ_f32, vq_arg_ptr(e, p->x), vq_add(e, p->base, col),
                     lanes, n);
}

static void max_step(const vq_emit *e, void *user, LLVMValueRef col,
                     unsigned lanes, unsigned n, LLVMValueRef *v) {
  LLVMValueRef x = fill_tail(e, load_x(e, user, col, lanes, n), n, -INFINITY);
  v[0] = vq_combine_max(e, v[0], x);
}

static void exp_step(const vq_emit *e, void *user, LLVMValueRef col,
                     unsigned lanes, unsigned n, LLVMValueRef *v) {
  const softmax *p = user;
  LLVMValueRef x = LLVMBuildFSub(e->b, load_x(e, p, col, lanes, n),
                                 vq_splat(e, p->max, lanes), "");
  x = vq_vexp(e, x);
  vq_elt_store(e, VQ_f32, x, e->scratch, col, n);
  v[0] = LLVMBuildFAdd(e->b, v[0], fill_tail(e, x, n, 0), "");
}

static void result_step(const vq_emit *e, void *user, LLVMValueRef col,
                        unsigned lanes, unsigned n, LLVMValueRef *v) {
  const softmax *p = user;
  (void)v;
  LLVMValueRef x = vq_elt_load(e, VQ_f32, e->scratch, col, lanes, n);
  x = LLVMBuildFMul(e->b, x, vq_splat(e, p->inv, lanes), "");
  vq_chain_store(e, &p->chain, x, p->row, col, lanes, n);
}

vq_status emit_softmax(vq_emit *e) {
  softmax p;
  if (!describe(e->kernel, &p)) VQ_BUG("softmax does not take this kernel");
  int64_t cols = p.chain.cols;
  unsigned lanes = vq_f32_lanes(e->target);
  LLVMTypeRef type = vq_vec_type(e->f32, lanes);
  vq_loop l;
  vq_loop_begin(e, &l, vq_mulk(e, e->begin, TASK_ROWS),
                vq_min64(e, vq_mulk(e, e->end, TASK_ROWS),
                         vq_k64(e, p.chain.rows)), 1, 0, NULL);
  p.row = l.i, p.base = vq_mulk(e, l.i, cols);
  LLVMValueRef max = vq_kf_like(type, -INFINITY), sum = LLVMConstNull(type);
  vq_row_each(e, cols, lanes, max_step, &p, 1, &max);
  p.max = vq_reduce(e, max, vq_combine_max);
  vq_row_each(e, cols, lanes, exp_step, &p, 1, &sum);
  p.inv = LLVMBuildFDiv(e->b, vq_kf32(e, 1), vq_reduce(e, sum, vq_combine_add), "");
  vq_row_each(e, cols, lanes, result_step, &p, 0, NULL);
  vq_loop_end(e, &l);
  return VQ_OK;
}
