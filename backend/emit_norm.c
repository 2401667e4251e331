// layer_norm over the last dimension, of floats or of codes, and its elementwise
// epilogue.
//
// A task is a few rows. Each row is swept three times from the nearest cache:
// sum, sum of squared differences, result. The two-pass variance costs a sweep
// and loses no digits when the mean is large. Rows may come through a table
// (rows.h); those put together from several runs are gathered in scratch.
//
// Codes (i16) need one sweep for both sums: pmaddwd adds pairs of codes and of
// squares. Two squares make at most 2^31, which is why those are unsigned.
#include "chain.h"
#include "elt.h"
#include "loop.h"
#include "numbers.h"
#include "quant.h"
#include "rows.h"
#include "vmath.h"

#define TASK_ROWS 8
#define MAX_SCRATCH (4 << 20)

bool match_norm(const vq_func *kernel, vq_kernel_plan *plan);
vq_status emit_norm(vq_emit *e);

typedef struct norm {
  vq_chain chain;
  vq_rows rows;
  const vq_value *gamma, *beta;
  const vq_op *op;
  vq_dtype type;  // of x: f32 or i16
  // while emitting
  LLVMValueRef row, x;           // number of the row, its address
  LLVMValueRef mean, inv_sigma;  // scalars
} norm;

static bool describe(const vq_func *kernel, norm *p) {
  const vq_op *op = vq_rows_anchor(kernel);
  memset(p, 0, sizeof *p);
  if (op->code != VQ_OP_layer_norm || !vq_chain_match(kernel, op, &p->chain) ||
      !vq_rows_match(kernel, vq_in(op, 0), &p->rows))
    return false;
  p->gamma = vq_in_opt(op, 1), p->beta = vq_in_opt(op, 2);
  p->type = vq_in(op, 0)->type->dtype;
  p->op = op;
  for (unsigned i = 1; i < op->n_in; i++)
    if (vq_in(op, i)->kind != VQ_VALUE_ARG) return false;
  return vq_rows_in_place(&p->rows) || p->chain.cols <= MAX_SCRATCH / 4;
}

bool match_norm(const vq_func *kernel, vq_kernel_plan *plan) {
  norm p;
  if (!describe(kernel, &p)) return false;
  plan->n_task = (p.chain.rows + TASK_ROWS - 1) / TASK_ROWS;
  if (!vq_rows_in_place(&p.rows))
    plan->scratch_bytes = (uint32_t)p.chain.cols * 4;
  return true;
}

static LLVMValueRef load_x(const vq_emit *e, const norm *p, LLVMValueRef col,
                           unsigned lanes, unsigned n) {
  LLVMValueRef x = vq_elt_load(e, p->type, p->x, col, lanes, n);
  if (p->type == VQ_f32) return x;
  return LLVMBuildSIToFP(e->b, vq_quant_widen(e, p->type, x, e->i32),
                         vq_vec_type(e->f32, lanes), "");
}

static void sum_step(const vq_emit *e, void *user, LLVMValueRef col,
                     unsigned lanes, unsigned n, LLVMValueRef *v) {
  v[0] = LLVMBuildFAdd(e->b, v[0], load_x(e, user, col, lanes, n), "");
}

static LLVMValueRef centred(const vq_emit *e, const norm *p, LLVMValueRef col,
                            unsigned lanes, unsigned n) {
  return LLVMBuildFSub(e->b, load_x(e, p, col, lanes, n),
                       vq_splat(e, p->mean, lanes), "");
}

static void square_step(const vq_emit *e, void *user, LLVMValueRef col,
                        unsigned lanes, unsigned n, LLVMValueRef *v) {
  LLVMValueRef d = centred(e, user, col, lanes, n);
  if (n < lanes)
    d = LLVMBuildSelect(e->b, vq_lane_mask(e, lanes, n), d,
                        LLVMConstNull(LLVMTypeOf(d)), "");
  v[0] = vq_fma(e, d, d, v[0]);
}

// ---- sums of codes -------------------------------------------------------------

static LLVMValueRef add_products(const vq_emit *e, LLVMValueRef a, LLVMValueRef b) {
  LLVMValueRef arg[] = {a, b};
  unsigned lanes = vq_lanes_of(LLVMTypeOf(a));
  return vq_intrinsic(e, lanes == 32   ? "llvm.x86.avx512.pmaddw.d.512"
                         : lanes == 16 ? "llvm.x86.avx2.pmadd.wd"
                                       : "llvm.x86.sse2.pmadd.wd", NULL, 0, arg, 2);
}

// v: sums of codes in i32, of squares in i64, for half as many lanes.
static void code_step(const vq_emit *e, void *user, LLVMValueRef col,
                      unsigned lanes, unsigned n, LLVMValueRef *v) {
  const norm *p = user;
  LLVMValueRef x = vq_elt_load(e, p->type, p->x, col, lanes, n);
  LLVMValueRef ones = vq_ki_like(LLVMTypeOf(x), 1);
  v[0] = LLVMBuildAdd(e->b, v[0], add_products(e, x, ones), "");
  LLVMValueRef square = LLVMBuildZExt(e->b, add_products(e, x, x),
                                      vq_vec_type(e->i64, lanes / 2), "");
  v[1] = LLVMBuildAdd(e->b, v[1], square, "");
}

static LLVMValueRef add_ints(const vq_emit *e, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildAdd(e->b, a, b, "");
}

static void code_scalars(const vq_emit *e, norm *p, unsigned lanes) {
  LLVMValueRef v[] = {LLVMConstNull(vq_vec_type(e->i32, lanes)),
                      LLVMConstNull(vq_vec_type(e->i64, lanes))};
  vq_row_each(e, p->chain.cols, 2 * lanes, code_step, p, 2, v);
  LLVMValueRef sum = LLVMBuildSExt(e->b, vq_reduce(e, v[0], add_ints), e->i64, "");
  vq_quant_norm(e, sum, vq_reduce(e, v[1], add_ints), p->chain.cols, vq_number(e, p->op),
                &p->mean, &p->inv_sigma);
}

// ---- sums of floats, results ---------------------------------------------------

static void float_scalars(const vq_emit *e, norm *p, unsigned lanes) {
  int64_t cols = p->chain.cols;
  LLVMValueRef count = vq_kf32(e, (float)cols), one = vq_kf32(e, 1);
  LLVMValueRef sum = LLVMConstNull(vq_vec_type(e->f32, lanes)), square = sum;
  vq_row_each(e, cols, lanes, sum_step, p, 1, &sum);
  p->mean = LLVMBuildFDiv(e->b, vq_reduce(e, sum, vq_combine_add), count, "");
  vq_row_each(e, cols, lanes, square_step, p, 1, &square);
  LLVMValueRef var =
      LLVMBuildFDiv(e->b, vq_reduce(e, square, vq_combine_add), count, "");
  var = LLVMBuildFAdd(e->b, var, vq_number(e, p->op), "");
  p->inv_sigma = LLVMBuildFDiv(e->b, one, vq_vsqrt(e, var), "");
}

// Of codes nothing is fused.
static LLVMValueRef scaled(const vq_emit *e, const norm *p, LLVMValueRef y,
                           LLVMValueRef g, LLVMValueRef b) {
  if (g && b && p->type == VQ_f32) return vq_fma(e, y, g, b);
  if (g) y = LLVMBuildFMul(e->b, y, g, "");
  return b ? LLVMBuildFAdd(e->b, y, b, "") : y;
}

static LLVMValueRef load_column(const vq_emit *e, const vq_value *v,
                                LLVMValueRef col, unsigned lanes, unsigned n) {
  return v ? vq_elt_load(e, VQ_f32, vq_arg_ptr(e, v), col, lanes, n) : NULL;
}

static void result_step(const vq_emit *e, void *user, LLVMValueRef col,
                        unsigned lanes, unsigned n, LLVMValueRef *v) {
  const norm *p = user;
  (void)v;
  LLVMValueRef y = LLVMBuildFMul(e->b, centred(e, p, col, lanes, n),
                                 vq_splat(e, p->inv_sigma, lanes), "");
  y = scaled(e, p, y, load_column(e, p->gamma, col, lanes, n),
             load_column(e, p->beta, col, lanes, n));
  vq_chain_store(e, &p->chain, y, p->row, col, lanes, n);
}

vq_status emit_norm(vq_emit *e) {
  norm p;
  if (!describe(e->kernel, &p)) VQ_BUG("norm does not take this kernel");
  int64_t cols = p.chain.cols;
  unsigned lanes = vq_f32_lanes(e->target);
  vq_loop l;
  vq_loop_begin(e, &l, vq_mulk(e, e->begin, TASK_ROWS),
                vq_min64(e, vq_mulk(e, e->end, TASK_ROWS),
                         vq_k64(e, p.chain.rows)), 1, 0, NULL);
  p.row = l.i, p.x = e->scratch;
  if (vq_rows_in_place(&p.rows))
    p.x = vq_rows_at(e, &p.rows, p.row);
  else
    vq_rows_copy(e, &p.rows, p.row, p.x, lanes);
  (p.type == VQ_f32 ? float_scalars : code_scalars)(e, &p, lanes);
  vq_row_each(e, cols, lanes, result_step, &p, 0, NULL);
  vq_loop_end(e, &l);
  return VQ_OK;
}
