// Ops of the generic emitter that walk rows: concat, reductions, softmax,
// layer_norm and its gradient.
//
// Float sums are kept in vectors of partial sums (LLVM may not reorder a sum,
// we may): reductions in binary64, the others in binary32.
#include "chain.h"
#include "elt.h"
#include "loop.h"
#include "nest.h"
#include "quant.h"
#include "vmath.h"

typedef LLVMValueRef val;

// ---- concat ------------------------------------------------------------------------

static int64_t inner_of(const vq_type *t, unsigned axis) {
  int64_t n = 1;
  for (unsigned k = axis; k < t->rank; k++) n *= t->dim[k];
  return n;
}

static unsigned concat_axis(const vq_op *op) {
  return vq_nest_axis(VQ_ATTRS(op, concat)->axis, op->out[0].type->rank);
}

int64_t vq_nest_concat_tasks(const vq_op *op) {
  int64_t n = 1;
  for (unsigned k = 0; k < concat_axis(op); k++) n *= op->out[0].type->dim[k];
  return n;
}

void vq_nest_concat(const vq_emit *e, const vq_op *op, val task, val scratch) {
  (void)scratch;
  unsigned axis = concat_axis(op);
  val to = vq_mulk(e, task, inner_of(op->out[0].type, axis));
  for (unsigned i = 0; i < op->n_in; i++) {
    int64_t n = inner_of(vq_in(op, i)->type, axis);
    vq_loop l;
    vq_loop_range(e, &l, n, 1);
    val from = vq_add(e, vq_mulk(e, task, n), l.i);
    vq_nest_store(e, &op->out[0], vq_add(e, to, l.i),
                  vq_nest_load(e, vq_in(op, i), from));
    vq_loop_end(e, &l);
    to = vq_addk(e, to, n);
  }
}

// ---- reductions --------------------------------------------------------------------

typedef struct reduction {
  const vq_op *op;
  const vq_value *x;
  bool reduced[VQ_MAX_RANK];
  int64_t stride[VQ_MAX_RANK];
  int64_t count;  // elements per result
  unsigned row;   // innermost reduced dimension
} reduction;

// The reductions have equal attribute structs.
_Static_assert(sizeof(vq_attrs_reduce_sum) == sizeof(vq_attrs_reduce_max) &&
                   sizeof(vq_attrs_reduce_sum) == sizeof(vq_attrs_reduce_mean),
               "one reader serves all reductions");

static void describe(reduction *r, const vq_op *op) {
  const vq_attrs_reduce_sum *a = op->attrs;
  *r = (reduction){.op = op, .x = vq_in(op, 0), .count = 1};
  const vq_type *t = r->x->type;
  vq_type_strides(t, r->stride);
  for (uint32_t i = 0; i < a->axes.n; i++)
    r->reduced[vq_nest_axis(a->axes.p[i], t->rank)] = true;
  for (unsigned k = 0; k < t->rank; k++) {
    if (!r->reduced[k]) continue;
    r->count *= t->dim[k];
    r->row = k;
  }
}

// Columns of the result that are made side by side, a vector at a time: floats whose last
// dimension is not reduced. 0: one by one.
static int64_t columns(const reduction *r) {
  const vq_type *t = r->x->type;
  bool last = r->count == 1 || !t->rank || r->reduced[t->rank - 1];
  return t->dtype != VQ_f32 || last || t->dim[t->rank - 1] < 2 ? 0 : t->dim[t->rank - 1];
}

int64_t vq_nest_reduce_tasks(const vq_op *op) {
  reduction r;
  describe(&r, op);
  int64_t cols = columns(&r);
  return vq_type_count(op->out[0].type) / (cols ? cols : 1);
}

static val larger(const vq_emit *e, val a, val b) {
  LLVMTypeRef t = LLVMTypeOf(a);
  return vq_intrinsic(e, "llvm.maximum", &t, 1, (val[]){a, b}, 2);
}
static val smaller(const vq_emit *e, val a, val b) {
  LLVMTypeRef t = LLVMTypeOf(a);
  return vq_intrinsic(e, "llvm.minimum", &t, 1, (val[]){a, b}, 2);
}
static val product(const vq_emit *e, val a, val b) {
  return LLVMBuildFMul(e->b, a, b, "");
}

static vq_combine float_step(vq_opcode code) {
  switch (code) {
    case VQ_OP_reduce_max: return larger;
    case VQ_OP_reduce_min: return smaller;
    case VQ_OP_reduce_prod: return product;
    default: return vq_combine_add;
  }
}

static bool is_unsigned(vq_dtype t) { return t == VQ_u8 || t == VQ_u4; }

static val int_step(const vq_emit *e, const vq_op *op, val a, val b) {
  vq_dtype t = vq_in(op, 0)->type->dtype;
  val one = LLVMConstInt(LLVMTypeOf(a), 1, false);
  switch (op->code) {
    case VQ_OP_reduce_mean:  // in i64
      return LLVMBuildAdd(e->b, a, vq_quant_widen(e, t, b, e->i64), "");
    case VQ_OP_reduce_sum: return vq_nest_mac(e, t, b, one, a);
    case VQ_OP_reduce_prod:
      return vq_nest_mac(e, t, a, b, LLVMConstNull(LLVMTypeOf(a)));
    default: break;
  }
  val less = LLVMBuildICmp(e->b, is_unsigned(t) ? LLVMIntULT : LLVMIntSLT, a, b, "");
  bool max = op->code == VQ_OP_reduce_max;
  return LLVMBuildSelect(e->b, less, max ? b : a, max ? a : b, "");
}

// The result for no elements at all, in type `like`.
static val neutral(const vq_op *op, LLVMTypeRef like) {
  vq_dtype t = vq_in(op, 0)->type->dtype;
  unsigned bits = vq_dtype_bits(t);
  int64_t top = (int64_t)(UINT64_MAX >> (64 - bits + !is_unsigned(t)));
  int64_t bottom = is_unsigned(t) ? 0 : -top - 1;
  switch (op->code) {
    case VQ_OP_reduce_max:
      return t == VQ_f32 ? vq_kf_like(like, -INFINITY) : vq_ki_like(like, bottom);
    case VQ_OP_reduce_min:
      return t == VQ_f32 ? vq_kf_like(like, INFINITY) : vq_ki_like(like, top);
    case VQ_OP_reduce_prod:
      return t == VQ_f32 ? vq_kf_like(like, 1) : vq_ki_like(like, 1);
    default: return LLVMConstNull(like);
  }
}

typedef struct reduce_row {
  const reduction *r;
  val at;  // element offset of the row
} reduce_row;

// One vector of the row; lanes beyond n keep what was accumulated.
static void reduce_body(const vq_emit *e, void *user, val col, unsigned lanes,
                        unsigned n, val *acc) {
  const reduce_row *row = user;
  const reduction *r = row->r;
  val at = vq_add(e, row->at, vq_mulk(e, col, r->stride[r->row]));
  if (r->x->type->dtype != VQ_f32) {
    acc[0] = int_step(e, r->op, acc[0], vq_nest_load(e, r->x, at));
    return;
  }
  val x = vq_elt_load(e, VQ_f32, vq_nest_ptr(e, r->x), at, lanes, n);
  x = LLVMBuildFPExt(e->b, x, LLVMTypeOf(acc[0]), "");
  val next = float_step(r->op->code)(e, acc[0], x);
  acc[0] = n == lanes ? next
                      : LLVMBuildSelect(e->b, vq_lane_mask(e, lanes, n), next,
                                        acc[0], "");
}

// Loops over reduced dimensions from `k` on, carrying `acc`.
static val reduce_from(const vq_emit *e, const reduction *r, unsigned k, val at,
                       unsigned lanes, val acc) {
  while (k < r->row && !r->reduced[k]) k++;
  if (k == r->row) {
    reduce_row row = {r, at};
    vq_row_each(e, r->x->type->dim[k], lanes, reduce_body, &row, 1, &acc);
    return acc;
  }
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), vq_k64(e, r->x->type->dim[k]), 1, 1, &acc);
  val in = vq_add(e, at, vq_mulk(e, l.i, r->stride[k]));
  l.v[0] = reduce_from(e, r, k + 1, in, lanes, l.v[0]);
  vq_loop_end(e, &l);
  return l.v[0];
}

// Offset in x of the first element that result `task` covers.
static val first_element(const vq_emit *e, const reduction *r, val task) {
  val at = vq_k64(e, 0);
  const vq_type *t = r->x->type;
  for (unsigned k = t->rank; k-- > 0;) {
    if (r->reduced[k] || t->dim[k] == 1) continue;
    at = vq_add(e, at, vq_mulk(e, vq_modk(e, task, t->dim[k]), r->stride[k]));
    task = vq_divk(e, task, t->dim[k]);
  }
  return at;
}

// The exact sum in i64, the quotient in binary64.
static void int_mean(const vq_emit *e, const reduction *r, val task, bool none) {
  val sum = vq_k64(e, 0);
  if (none)
    sum = int_step(e, r->op, sum, vq_nest_load(e, r->x, task));
  else
    sum = reduce_from(e, r, 0, first_element(e, r, task), 1, sum);
  LLVMTypeRef f64 = LLVMDoubleTypeInContext(e->lc);
  val y = LLVMBuildSIToFP(e->b, sum, f64, "");
  y = LLVMBuildFDiv(e->b, y, LLVMConstReal(f64, (double)r->count), "");
  vq_nest_store(e, &r->op->out[0], task, LLVMBuildFPTrunc(e->b, y, e->f32, ""));
}

static val finish(const vq_emit *e, const reduction *r, val acc) {
  LLVMTypeRef type = LLVMTypeOf(acc);
  if (r->op->code == VQ_OP_reduce_mean)
    acc = LLVMBuildFDiv(e->b, acc, vq_kf_like(type, (double)r->count), "");
  return LLVMBuildFPTrunc(e->b, acc, vq_vec_type(e->f32, vq_lanes_of(type)), "");
}

// Loops over reduced dimensions from `k` on: `lanes` columns at a time.
static val reduce_columns(const vq_emit *e, const reduction *r, unsigned k, val at,
                          unsigned lanes, unsigned n, val acc) {
  while (k <= r->row && !r->reduced[k]) k++;
  if (k > r->row) {
    val x = vq_elt_load(e, VQ_f32, vq_nest_ptr(e, r->x), at, lanes, n);
    x = LLVMBuildFPExt(e->b, x, LLVMTypeOf(acc), "");
    return float_step(r->op->code)(e, acc, x);
  }
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), vq_k64(e, r->x->type->dim[k]), 1, 1, &acc);
  val in = vq_add(e, at, vq_mulk(e, l.i, r->stride[k]));
  l.v[0] = reduce_columns(e, r, k + 1, in, lanes, n, l.v[0]);
  vq_loop_end(e, &l);
  return l.v[0];
}

typedef struct result_row {
  const reduction *r;
  val from, to;  // element offsets in x and in the result
} result_row;

static void columns_body(const vq_emit *e, void *user, val col, unsigned lanes, unsigned n,
                         val *v) {
  const result_row *row = user;
  const reduction *r = row->r;
  LLVMTypeRef type = vq_vec_type(LLVMDoubleTypeInContext(e->lc), lanes);
  (void)v;
  val acc = reduce_columns(e, r, 0, vq_add(e, row->from, col), lanes, n,
                           neutral(r->op, type));
  vq_elt_store(e, VQ_f32, finish(e, r, acc), vq_nest_ptr(e, r->op->out),
               vq_add(e, row->to, col), n);
}

void vq_nest_reduce(const vq_emit *e, const vq_op *op, val task, val scratch) {
  (void)scratch;
  reduction r;
  describe(&r, op);
  int64_t cols = columns(&r);
  if (cols) {
    val to = vq_mulk(e, task, cols);
    result_row row = {&r, first_element(e, &r, to), to};
    vq_row_each(e, cols, vq_f32_lanes(e->target), columns_body, &row, 0, NULL);
    return;
  }
  bool f = r.x->type->dtype == VQ_f32;
  bool none = ((const vq_attrs_reduce_sum *)op->attrs)->axes.n == 0;
  if (!f && op->code == VQ_OP_reduce_mean) {
    int_mean(e, &r, task, none);
    return;
  }
  if (none) {
    vq_nest_store(e, &op->out[0], task, vq_nest_load(e, r.x, task));
    return;
  }
  unsigned lanes = f && r.stride[r.row] == 1 ? vq_f32_lanes(e->target) : 1;
  LLVMTypeRef type = f ? LLVMDoubleTypeInContext(e->lc)
                       : vq_elt_type(e, r.x->type->dtype, 1);
  val acc = neutral(op, vq_vec_type(type, lanes));
  acc = reduce_from(e, &r, 0, first_element(e, &r, task), lanes, acc);
  if (f) acc = vq_reduce(e, acc, float_step(op->code));
  vq_nest_store(e, &op->out[0], task, f ? finish(e, &r, acc) : acc);
}

// ---- runs of f32 -------------------------------------------------------------------

typedef struct run_pass {
  vq_run x, y;
  val k;      // splatted on use
  val gamma, beta;  // bases, or NULL
} run_pass;

static val load_run(const vq_emit *e, const vq_run *r, val col, unsigned lanes,
                    unsigned n) {
  return vq_elt_load(e, VQ_f32, r->base, vq_mulk(e, col, r->step), lanes, n);
}

static void store_run(const vq_emit *e, const vq_run *r, val col, val v,
                      unsigned n) {
  vq_elt_store(e, VQ_f32, v, r->base, vq_mulk(e, col, r->step), n);
}

static unsigned run_lanes(const vq_emit *e, const vq_run *r) {
  return r->step == 1 ? vq_f32_lanes(e->target) : 1;
}

// acc in the first n lanes is replaced by v.
static val keep_tail(const vq_emit *e, val acc, val v, unsigned lanes,
                     unsigned n) {
  if (n == lanes) return v;
  return LLVMBuildSelect(e->b, vq_lane_mask(e, lanes, n), v, acc, "");
}

static void max_body(const vq_emit *e, void *user, val col, unsigned lanes,
                     unsigned n, val *acc) {
  run_pass *p = user;
  val m = larger(e, acc[0], load_run(e, &p->x, col, lanes, n));
  acc[0] = keep_tail(e, acc[0], m, lanes, n);
}

static void exp_body(const vq_emit *e, void *user, val col, unsigned lanes,
                     unsigned n, val *acc) {
  run_pass *p = user;
  val d = LLVMBuildFSub(e->b, load_run(e, &p->x, col, lanes, n),
                        vq_splat(e, p->k, lanes), "");
  val v = vq_vexp(e, d);
  store_run(e, &p->y, col, v, n);
  acc[0] = keep_tail(e, acc[0], LLVMBuildFAdd(e->b, acc[0], v, ""), lanes, n);
}

static void div_body(const vq_emit *e, void *user, val col, unsigned lanes,
                     unsigned n, val *acc) {
  (void)acc;
  run_pass *p = user;
  store_run(e, &p->y, col,
            LLVMBuildFDiv(e->b, load_run(e, &p->y, col, lanes, n),
                          vq_splat(e, p->k, lanes), ""), n);
}

// Runs `body` over x with one accumulator that starts at `start`, and combines
// its lanes.
static val fold(const vq_emit *e, run_pass *p, vq_row_fn body, double start,
                vq_combine f) {
  unsigned lanes = run_lanes(e, &p->x);
  val acc = vq_kf_like(vq_vec_type(e->f32, lanes), start);
  vq_row_each(e, p->x.n, lanes, body, p, 1, &acc);
  return vq_reduce(e, acc, f);
}

void vq_run_softmax(const vq_emit *e, vq_run x, vq_run y) {
  run_pass p = {.x = x, .y = y};
  p.k = fold(e, &p, max_body, -INFINITY, larger);
  p.k = fold(e, &p, exp_body, 0, vq_combine_add);
  vq_row_each(e, x.n, run_lanes(e, &x), div_body, &p, 0, NULL);
}

static void dot_body(const vq_emit *e, void *user, val col, unsigned lanes,
                     unsigned n, val *acc) {
  run_pass *p = user;
  acc[0] = vq_fma(e, load_run(e, &p->x, col, lanes, n),
                  load_run(e, &p->y, col, lanes, n), acc[0]);
}

val vq_run_dot(const vq_emit *e, val a, val b, int64_t n) {
  run_pass p = {.x = {a, n, 1}, .y = {b, n, 1}};
  return fold(e, &p, dot_body, 0, vq_combine_add);
}

// ---- softmax and layer_norm ----------------------------------------------------------

int64_t vq_nest_softmax_tasks(const vq_op *op) {
  const vq_type *t = op->out[0].type;
  unsigned axis = vq_nest_axis(VQ_ATTRS(op, softmax)->axis, t->rank);
  return t->dim[axis] ? vq_type_count(t) / t->dim[axis] : 0;
}

void vq_nest_softmax(const vq_emit *e, const vq_op *op, val task, val scratch) {
  (void)scratch;
  const vq_type *t = op->out[0].type;
  unsigned axis = vq_nest_axis(VQ_ATTRS(op, softmax)->axis, t->rank);
  int64_t n = t->dim[axis], inner = inner_of(t, axis) / n;
  val outer = vq_mulk(e, vq_divk(e, task, inner), n * inner);
  val at = vq_add(e, outer, vq_modk(e, task, inner));
  vq_run x = {vq_at(e, e->f32, vq_nest_ptr(e, vq_in(op, 0)), at), n, inner};
  vq_run y = {vq_at(e, e->f32, vq_nest_ptr(e, &op->out[0]), at), n, inner};
  vq_run_softmax(e, x, y);
}

static void sum_body(const vq_emit *e, void *user, val col, unsigned lanes,
                     unsigned n, val *acc) {
  run_pass *p = user;
  acc[0] = LLVMBuildFAdd(e->b, acc[0], load_run(e, &p->x, col, lanes, n), "");
}

static void square_body(const vq_emit *e, void *user, val col, unsigned lanes,
                        unsigned n, val *acc) {
  run_pass *p = user;
  val d = LLVMBuildFSub(e->b, load_run(e, &p->x, col, lanes, n),
                        vq_splat(e, p->k, lanes), "");
  acc[0] = keep_tail(e, acc[0], vq_fma(e, d, d, acc[0]), lanes, n);
}

// y = (x - k) * scale * gamma + beta; scale is carried.
static void norm_body(const vq_emit *e, void *user, val col, unsigned lanes,
                      unsigned n, val *scale) {
  run_pass *p = user;
  val d = LLVMBuildFSub(e->b, load_run(e, &p->x, col, lanes, n),
                        vq_splat(e, p->k, lanes), "");
  d = LLVMBuildFMul(e->b, d, vq_splat(e, scale[0], lanes), "");
  if (p->gamma)
    d = LLVMBuildFMul(e->b, d, vq_elt_load(e, VQ_f32, p->gamma, col, lanes, n), "");
  if (p->beta)
    d = LLVMBuildFAdd(e->b, d, vq_elt_load(e, VQ_f32, p->beta, col, lanes, n), "");
  store_run(e, &p->y, col, d, n);
}

void vq_nest_layer_norm(const vq_emit *e, const vq_op *op, val task, val scratch) {
  (void)scratch;
  const vq_type *t = op->out[0].type;
  if (vq_in(op, 0)->type->dtype != VQ_f32) {
    vq_nest_int_norm(e, op, task);
    return;
  }
  int64_t n = t->dim[t->rank - 1];
  val at = vq_mulk(e, task, n), count = vq_kf32(e, (float)n);
  run_pass p = {
      .x = {vq_at(e, e->f32, vq_nest_ptr(e, vq_in(op, 0)), at), n, 1},
      .y = {vq_at(e, e->f32, vq_nest_ptr(e, &op->out[0]), at), n, 1},
      .gamma = op->n_in > 1 ? vq_nest_ptr(e, vq_in(op, 1)) : NULL,
      .beta = op->n_in > 2 ? vq_nest_ptr(e, vq_in(op, 2)) : NULL};
  val sum = fold(e, &p, sum_body, 0, vq_combine_add);
  p.k = LLVMBuildFDiv(e->b, sum, count, "");
  val var = LLVMBuildFDiv(e->b, fold(e, &p, square_body, 0, vq_combine_add),
                          count, "");
  var = LLVMBuildFAdd(e->b, var, vq_kf32(e, VQ_ATTRS(op, layer_norm)->eps), "");
  val scale = LLVMBuildFDiv(e->b, vq_kf32(e, 1), vq_vsqrt(e, var), "");
  vq_row_each(e, n, run_lanes(e, &p.x), norm_body, &p, 1, &scale);
}

// The derivative of a row: sums of g and of g (x - mean), then
// y = (g - mean_g - slope (x - mean)) * inv.
typedef struct norm_grad {
  vq_run x, g, y;
  val mean, mean_g, slope, inv;
} norm_grad;

static val centred(const vq_emit *e, const norm_grad *p, val col, unsigned lanes,
                   unsigned n) {
  return LLVMBuildFSub(e->b, load_run(e, &p->x, col, lanes, n),
                       vq_splat(e, p->mean, lanes), "");
}

// Sums of x and of g side by side, and then of squares of x - mean and of its products with
// g: sums wait for each other, two take as long as one. Lanes beyond the row have x = g = 0.
static void sums_body(const vq_emit *e, void *user, val col, unsigned lanes, unsigned n,
                      val *acc) {
  norm_grad *p = user;
  acc[0] = LLVMBuildFAdd(e->b, acc[0], load_run(e, &p->x, col, lanes, n), "");
  acc[1] = LLVMBuildFAdd(e->b, acc[1], load_run(e, &p->g, col, lanes, n), "");
}

static void moments_body(const vq_emit *e, void *user, val col, unsigned lanes, unsigned n,
                         val *acc) {
  norm_grad *p = user;
  val d = keep_tail(e, vq_kf_like(vq_vec_type(e->f32, lanes), 0),
                    centred(e, p, col, lanes, n), lanes, n);
  acc[0] = vq_fma(e, d, d, acc[0]);
  acc[1] = vq_fma(e, load_run(e, &p->g, col, lanes, n), d, acc[1]);
}

// The means over a row of the two sums that `body` makes.
static void means(const vq_emit *e, norm_grad *p, vq_row_fn body, val *mean) {
  unsigned lanes = run_lanes(e, &p->x);
  val acc[] = {vq_kf_like(vq_vec_type(e->f32, lanes), 0), NULL};
  acc[1] = acc[0];
  vq_row_each(e, p->x.n, lanes, body, p, 2, acc);
  for (unsigned i = 0; i < 2; i++)
    mean[i] = LLVMBuildFDiv(e->b, vq_reduce(e, acc[i], vq_combine_add),
                            vq_kf32(e, (float)p->x.n), "");
}

static void norm_grad_body(const vq_emit *e, void *user, val col, unsigned lanes,
                           unsigned n, val *acc) {
  (void)acc;
  norm_grad *p = user;
  val g = LLVMBuildFSub(e->b, load_run(e, &p->g, col, lanes, n),
                        vq_splat(e, p->mean_g, lanes), "");
  val part = LLVMBuildFMul(e->b, vq_splat(e, p->slope, lanes),
                           centred(e, p, col, lanes, n), "");
  g = LLVMBuildFSub(e->b, g, part, "");
  store_run(e, &p->y, col,
            LLVMBuildFMul(e->b, g, vq_splat(e, p->inv, lanes), ""), n);
}

void vq_nest_layer_norm_grad(const vq_emit *e, const vq_op *op, val task,
                             val scratch) {
  (void)scratch;
  const vq_type *t = op->out[0].type;
  int64_t n = t->dim[t->rank - 1];
  val at = vq_mulk(e, task, n), mean[2];
  norm_grad p = {
      .x = {vq_at(e, e->f32, vq_nest_ptr(e, vq_in(op, 0)), at), n, 1},
      .g = {vq_at(e, e->f32, vq_nest_ptr(e, vq_in(op, 1)), at), n, 1},
      .y = {vq_at(e, e->f32, vq_nest_ptr(e, &op->out[0]), at), n, 1}};
  means(e, &p, sums_body, mean);
  p.mean = mean[0], p.mean_g = mean[1];
  means(e, &p, moments_body, mean);
  val var = LLVMBuildFAdd(e->b, mean[0], vq_kf32(e, VQ_ATTRS(op, layer_norm_grad)->eps), "");
  p.inv = LLVMBuildFDiv(e->b, vq_kf32(e, 1), vq_vsqrt(e, var), "");
  p.slope = LLVMBuildFMul(e->b, mean[1], LLVMBuildFMul(e->b, p.inv, p.inv, ""), "");
  vq_row_each(e, n, run_lanes(e, &p.x), norm_grad_body, &p, 0, NULL);
}
