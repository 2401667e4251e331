// Matrix products of the generic emitter: matmul, linear, patch_embed, conv2d,
// attention.
//
// One task is one row of the result. With the right operand in [k, n] order the
// row is accumulated in memory, four k at a time, in loops LLVM vectorises;
// with [n, k] each element is a dot product in vectors of partial sums.
#include "chain.h"
#include "elt.h"
#include "loop.h"
#include "nest.h"

typedef LLVMValueRef val;

static val f32_ptr(const vq_emit *e, const vq_value *v, val at) {
  return vq_at(e, e->f32, vq_nest_ptr(e, v), at);
}

static val load_f32(const vq_emit *e, val base, val at) {
  return vq_elt_load(e, VQ_f32, base, at, 1, 1);
}

static void store_f32(const vq_emit *e, val v, val base, val at) {
  vq_elt_store(e, VQ_f32, v, base, at, 1);
}

// ---- matmul ------------------------------------------------------------------------

// Element offsets: row `y` of the result, the rows of a and b it is made of.
typedef struct product {
  const vq_value *a, *b, *y;
  vq_dtype t;
  val a_at, b_at, y_at;
  int64_t k, n;
} product;

val vq_nest_matrix(const vq_emit *e, const vq_value *v, val const *idx, unsigned rank) {
  vq_type lead = *v->type;
  int64_t matrix = lead.dim[lead.rank - 1] * lead.dim[lead.rank - 2];
  lead.rank = (uint8_t)(lead.rank - 2);
  return vq_mulk(e, vq_nest_flatten(e, &lead, idx, rank), matrix);
}

// y[j] += sum over u of a[k + u] b[k + u, j].
static void add_rows(const vq_emit *e, const product *p, val k, unsigned n_row) {
  val a[4];
  for (unsigned u = 0; u < n_row; u++)
    a[u] = vq_nest_load(e, p->a, vq_add(e, p->a_at, vq_addk(e, k, u)));
  val row = vq_add(e, p->b_at, vq_mulk(e, k, p->n));
  vq_loop j;
  vq_loop_range(e, &j, p->n, 1);
  val at = vq_add(e, p->y_at, j.i), acc = vq_nest_load(e, p->y, at);
  for (unsigned u = 0; u < n_row; u++) {
    val from = vq_add(e, row, vq_addk(e, j.i, (int64_t)u * p->n));
    acc = vq_nest_mac(e, p->t, a[u], vq_nest_load(e, p->b, from), acc);
  }
  vq_nest_store(e, p->y, at, acc);
  vq_loop_end(e, &j);
}

static void by_rows(const vq_emit *e, const product *p) {
  int64_t whole = p->k - p->k % 4;
  vq_loop l;
  vq_loop_range(e, &l, p->n, 1);
  vq_nest_store(e, p->y, vq_add(e, p->y_at, l.i),
                LLVMConstNull(vq_elt_type(e, p->t, 1)));
  vq_loop_end(e, &l);
  vq_loop_range(e, &l, whole, 4);
  add_rows(e, p, l.i, 4);
  vq_loop_end(e, &l);
  vq_loop_begin(e, &l, vq_k64(e, whole), vq_k64(e, p->k), 1, 0, NULL);
  add_rows(e, p, l.i, 1);
  vq_loop_end(e, &l);
}

static val int_dot(const vq_emit *e, const product *p, val b_at) {
  val acc = LLVMConstNull(vq_elt_type(e, p->t, 1));
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), vq_k64(e, p->k), 1, 1, &acc);
  val a = vq_nest_load(e, p->a, vq_add(e, p->a_at, l.i));
  val b = vq_nest_load(e, p->b, vq_add(e, b_at, l.i));
  l.v[0] = vq_nest_mac(e, p->t, a, b, l.v[0]);
  vq_loop_end(e, &l);
  return l.v[0];
}

static void by_dots(const vq_emit *e, const product *p) {
  vq_loop j;
  vq_loop_range(e, &j, p->n, 1);
  val b_at = vq_add(e, p->b_at, vq_mulk(e, j.i, p->k));
  val v = p->t == VQ_f32
              ? vq_run_dot(e, f32_ptr(e, p->a, p->a_at), f32_ptr(e, p->b, b_at),
                           p->k)
              : int_dot(e, p, b_at);
  vq_nest_store(e, p->y, vq_add(e, p->y_at, j.i), v);
  vq_loop_end(e, &j);
}

void vq_nest_matmul(const vq_emit *e, const vq_op *op, val task, val scratch) {
  (void)scratch;
  const vq_type *t = op->out[0].type;
  unsigned lead = t->rank - 2u;
  val idx[VQ_MAX_RANK];
  product p = {.a = vq_in(op, 0), .b = vq_in(op, 1), .y = &op->out[0],
               .t = t->dtype, .n = t->dim[t->rank - 1]};
  p.k = p.a->type->dim[p.a->type->rank - 1];
  vq_nest_unflatten(e, t, t->rank - 1u, task, idx);
  p.a_at = vq_add(e, vq_nest_matrix(e, p.a, idx, lead), vq_mulk(e, idx[lead], p.k));
  p.b_at = vq_nest_matrix(e, p.b, idx, lead);
  p.y_at = vq_mulk(e, task, p.n);
  if (VQ_ATTRS(op, matmul)->transpose_b)
    by_dots(e, &p);
  else
    by_rows(e, &p);
}

// ---- linear and patch_embed ------------------------------------------------------------

// y[o] = b[o] + sum_i x[i] w[o, i] at addresses x and y; `op` has w and b.
static void dense_row(const vq_emit *e, const vq_op *op, val x, val y,
                      int64_t n_in, int64_t n_out) {
  val w = vq_nest_ptr(e, vq_in(op, 1));
  val b = op->n_in > 2 ? vq_nest_ptr(e, vq_in(op, 2)) : NULL;
  vq_loop o;
  vq_loop_range(e, &o, n_out, 1);
  val from = vq_at(e, e->f32, w, vq_mulk(e, o.i, n_in));
  val v = vq_run_dot(e, x, from, n_in);
  if (b) v = LLVMBuildFAdd(e->b, v, load_f32(e, b, o.i), "");
  store_f32(e, v, y, o.i);
  vq_loop_end(e, &o);
}

// Columns [at, at + n) of the same with w in panels of 16.
static void panel(const vq_emit *e, const vq_op *op, val x, val y, val at,
                  int64_t n_in, unsigned n) {
  LLVMTypeRef vec = LLVMVectorType(e->f32, 16);
  val w = vq_at(e, e->f32, vq_nest_ptr(e, vq_in(op, 1)), vq_mulk(e, at, n_in));
  val acc = LLVMConstNull(vec);
  if (op->n_in > 2)
    acc = vq_elt_load(e, VQ_f32, vq_nest_ptr(e, vq_in(op, 2)), at, 16, n);
  vq_loop i;
  vq_loop_begin(e, &i, vq_k64(e, 0), vq_k64(e, n_in), 1, 1, &acc);
  val row = vq_elt_load(e, VQ_f32, w, vq_mulk(e, i.i, 16), 16, 16);
  i.v[0] = vq_fma(e, vq_splat(e, load_f32(e, x, i.i), 16), row, i.v[0]);
  vq_loop_end(e, &i);
  vq_elt_store(e, VQ_f32, i.v[0], y, at, n);
}

static void panel_row(const vq_emit *e, const vq_op *op, val x, val y,
                      int64_t n_in, int64_t n_out) {
  int64_t whole = n_out - n_out % 16;
  vq_loop o;
  vq_loop_range(e, &o, whole, 16);
  panel(e, op, x, y, o.i, n_in, 16);
  vq_loop_end(e, &o);
  if (whole < n_out)
    panel(e, op, x, y, vq_k64(e, whole), n_in, (unsigned)(n_out - whole));
}

// Weights of f32 as they are or in panels of single elements.
static bool is_plain(const vq_op *op, vq_str layout) {
  return vq_in(op, 1)->type->dtype == VQ_f32 &&
         (vq_str_is(layout, "oi") || vq_str_is(layout, "panel16"));
}

void vq_nest_linear(const vq_emit *e, const vq_op *op, val task, val scratch) {
  (void)scratch;
  const vq_type *tx = vq_in(op, 0)->type, *ty = op->out[0].type;
  int64_t n_in = tx->dim[tx->rank - 1], n_out = ty->dim[ty->rank - 1];
  vq_str layout = VQ_ATTRS(op, linear)->layout;
  if (!is_plain(op, layout)) {
    vq_nest_any_row(e, op, layout, n_in, task);
    return;
  }
  val x = f32_ptr(e, vq_in(op, 0), vq_mulk(e, task, n_in));
  val y = f32_ptr(e, &op->out[0], vq_mulk(e, task, n_out));
  bool packed = vq_str_is(layout, "panel16");
  (packed ? panel_row : dense_row)(e, op, x, y, n_in, n_out);
}

static int64_t patch_size(const vq_op *op) {
  const int64_t *p = VQ_ATTRS(op, patch_embed)->patch.p;
  return vq_in(op, 0)->type->dim[1] * p[0] * p[1];
}

int64_t vq_nest_patch_scratch(const vq_op *op) {
  return patch_size(op) * (int64_t)sizeof(float);
}

// Gathers the patch of a task, (c, u, v) in order, into `to`.
static void gather_patch(const vq_emit *e, const vq_op *op, val task, val to) {
  const vq_type *t = vq_in(op, 0)->type;
  const int64_t *p = VQ_ATTRS(op, patch_embed)->patch.p;
  int64_t per_row = t->dim[3] / p[1], n = t->dim[2] / p[0] * per_row;
  val image = vq_divk(e, task, n), i = vq_modk(e, task, n);
  val y0 = vq_mulk(e, vq_divk(e, i, per_row), p[0]);
  val x0 = vq_mulk(e, vq_modk(e, i, per_row), p[1]);
  vq_loop c, u, v;
  vq_loop_range(e, &c, t->dim[1], 1);
  vq_loop_range(e, &u, p[0], 1);
  val idx[] = {image, c.i, vq_add(e, y0, u.i), x0};
  val from = vq_nest_flatten(e, t, idx, 4);
  val at = vq_mulk(e, vq_add(e, vq_mulk(e, c.i, p[0]), u.i), p[1]);
  vq_loop_range(e, &v, p[1], 1);
  store_f32(e, vq_nest_load(e, vq_in(op, 0), vq_add(e, from, v.i)), to,
            vq_add(e, at, v.i));
  vq_loop_end(e, &v);
  vq_loop_end(e, &u);
  vq_loop_end(e, &c);
}

void vq_nest_patch_embed(const vq_emit *e, const vq_op *op, val task,
                         val scratch) {
  int64_t n_in = patch_size(op), n_out = op->out[0].type->dim[2];
  vq_str layout = VQ_ATTRS(op, patch_embed)->layout;
  if (!is_plain(op, layout)) {
    vq_nest_any_row(e, op, layout, n_in, task);
    return;
  }
  gather_patch(e, op, task, scratch);
  val y = f32_ptr(e, &op->out[0], vq_mulk(e, task, n_out));
  bool packed = vq_str_is(layout, "panel16");
  (packed ? panel_row : dense_row)(e, op, scratch, y, n_in, n_out);
}

// ---- conv2d ----------------------------------------------------------------------------

// What a task computes: output row i of channel o of picture n.
typedef struct conv {
  const vq_op *op;
  const vq_attrs_conv2d *a;
  const vq_type *x, *w, *y;
  val n, o, i, y_at;
} conv;

// ceil(max(0, v) / step), at most `most`.
static val ceil_div(const vq_emit *e, val v, int64_t step, int64_t most) {
  val up = vq_addk(e, v, step - 1), zero = vq_k64(e, 0);
  val neg = LLVMBuildICmp(e->b, LLVMIntSLT, up, zero, "");
  val q = vq_divk(e, LLVMBuildSelect(e->b, neg, zero, up, ""), step);
  return vq_min64(e, q, vq_k64(e, most));
}

// y[j] += w[o, c, u, v] x[.., j * stride + v * dilation - pad] for every j that
// reads inside the row.
static void conv_tap(const vq_emit *e, const conv *k, val c, val u, val v,
                     val x_row) {
  int64_t stride = k->a->stride.p[1], width = k->x->dim[3];
  val shift = vq_addk(e, vq_mulk(e, v, k->a->dilation.p[1]), -k->a->pad.p[1]);
  val first = LLVMBuildNeg(e->b, shift, "");
  val lo = ceil_div(e, first, stride, k->y->dim[3]);
  val hi = ceil_div(e, vq_addk(e, first, width), stride, k->y->dim[3]);
  val idx[] = {k->o, c, u, v};
  val w = vq_nest_load(e, vq_in(k->op, 1), vq_nest_flatten(e, k->w, idx, 4));
  vq_loop j;
  vq_loop_begin(e, &j, lo, hi, 1, 0, NULL);
  val at = vq_add(e, k->y_at, j.i);
  val from = vq_add(e, x_row, vq_add(e, vq_mulk(e, j.i, stride), shift));
  val x = vq_nest_load(e, vq_in(k->op, 0), from);
  vq_nest_store(e, &k->op->out[0], at,
                vq_fma(e, w, x, vq_nest_load(e, &k->op->out[0], at)));
  vq_loop_end(e, &j);
}

static void conv_channel(const vq_emit *e, const conv *k, val c) {
  int64_t per_group = k->w->dim[1], out = k->w->dim[0] / k->a->groups;
  val group = vq_divk(e, k->o, out);
  val channel = vq_add(e, vq_mulk(e, group, per_group), c);
  vq_loop u, v;
  vq_if inside;
  vq_loop_range(e, &u, k->w->dim[2], 1);
  val row = vq_add(e, vq_mulk(e, k->i, k->a->stride.p[0]),
                   vq_addk(e, vq_mulk(e, u.i, k->a->dilation.p[0]),
                           -k->a->pad.p[0]));
  vq_if_begin(e, &inside, LLVMBuildICmp(e->b, LLVMIntULT, row,
                                        vq_k64(e, k->x->dim[2]), ""));
  val idx[] = {k->n, channel, row, vq_k64(e, 0)};
  val x_row = vq_nest_flatten(e, k->x, idx, 4);
  vq_loop_range(e, &v, k->w->dim[3], 1);
  conv_tap(e, k, c, u.i, v.i, x_row);
  vq_loop_end(e, &v);
  vq_if_end(e, &inside);
  vq_loop_end(e, &u);
}

void vq_nest_conv2d(const vq_emit *e, const vq_op *op, val task, val scratch) {
  (void)scratch;
  val idx[VQ_MAX_RANK];
  conv k = {.op = op, .a = VQ_ATTRS(op, conv2d), .x = vq_in(op, 0)->type,
            .w = vq_in(op, 1)->type, .y = op->out[0].type};
  vq_nest_unflatten(e, k.y, 3, task, idx);
  k.n = idx[0];
  k.o = idx[1];
  k.i = idx[2];
  k.y_at = vq_mulk(e, task, k.y->dim[3]);
  val start = op->n_in > 2 ? vq_nest_load(e, vq_in(op, 2), k.o) : vq_kf32(e, 0);
  vq_loop l;
  vq_loop_range(e, &l, k.y->dim[3], 1);
  vq_nest_store(e, &op->out[0], vq_add(e, k.y_at, l.i), start);
  vq_loop_end(e, &l);
  vq_loop_range(e, &l, k.w->dim[1], 1);
  conv_channel(e, &k, l.i);
  vq_loop_end(e, &l);
}

// ---- attention -----------------------------------------------------------------------------

typedef struct heads {
  const vq_op *op;
  int64_t n_head, m, d, dv;  // tokens attended to; widths of q and v per head
  val b, n, score;
} heads;

int64_t vq_nest_attention_scratch(const vq_op *op) {
  return vq_in(op, 1)->type->dim[1] * (int64_t)sizeof(float);
}

// score[j] = scale * q . k[j] + bias
static void head_scores(const vq_emit *e, const heads *a, val h) {
  const vq_value *q = vq_in(a->op, 0), *k = vq_in(a->op, 1);
  const vq_value *bias = vq_in_opt(a->op, 3);
  val col = vq_mulk(e, h, a->d), row[] = {a->b, a->n, col};
  val q_at = f32_ptr(e, q, vq_nest_flatten(e, q->type, row, 3));
  vq_loop j;
  vq_loop_range(e, &j, a->m, 1);
  val at[] = {a->b, j.i, col};
  val s = vq_run_dot(e, q_at, f32_ptr(e, k, vq_nest_flatten(e, k->type, at, 3)),
                     a->d);
  s = LLVMBuildFMul(e->b, s, vq_kf32(e, VQ_ATTRS(a->op, attention)->scale), "");
  if (bias) {
    val idx[] = {vq_modk(e, a->b, bias->type->dim[0]),
                 vq_modk(e, h, bias->type->dim[1]), a->n, j.i};
    val add = vq_nest_load(e, bias, vq_nest_flatten(e, bias->type, idx, 4));
    s = LLVMBuildFAdd(e->b, s, add, "");
  }
  store_f32(e, s, a->score, j.i);
  vq_loop_end(e, &j);
}

// y[h, c] = sum_j score[j] v[j, h, c]
static void head_output(const vq_emit *e, const heads *a, val h) {
  const vq_value *v = vq_in(a->op, 2), *y = &a->op->out[0];
  val col = vq_mulk(e, h, a->dv), row[] = {a->b, a->n, col};
  val y_at = vq_nest_flatten(e, y->type, row, 3);
  vq_loop j, c;
  vq_loop_range(e, &c, a->dv, 1);
  vq_nest_store(e, y, vq_add(e, y_at, c.i), vq_kf32(e, 0));
  vq_loop_end(e, &c);
  vq_loop_range(e, &j, a->m, 1);
  val at[] = {a->b, j.i, col}, p = load_f32(e, a->score, j.i);
  val from = vq_nest_flatten(e, v->type, at, 3);
  vq_loop_range(e, &c, a->dv, 1);
  val to = vq_add(e, y_at, c.i);
  val x = vq_nest_load(e, v, vq_add(e, from, c.i));
  vq_nest_store(e, y, to, vq_fma(e, p, x, vq_nest_load(e, y, to)));
  vq_loop_end(e, &c);
  vq_loop_end(e, &j);
}

void vq_nest_attention(const vq_emit *e, const vq_op *op, val task, val scratch) {
  heads a = {.op = op, .n_head = VQ_ATTRS(op, attention)->heads,
             .m = vq_in(op, 1)->type->dim[1], .score = scratch};
  val idx[VQ_MAX_RANK];
  a.d = vq_in(op, 0)->type->dim[2] / a.n_head;
  a.dv = vq_in(op, 2)->type->dim[2] / a.n_head;
  vq_nest_unflatten(e, op->out[0].type, 2, task, idx);
  a.b = idx[0];
  a.n = idx[1];
  vq_loop h;
  vq_loop_range(e, &h, a.n_head, 1);
  head_scores(e, &a, h.i);
  vq_run_softmax(e, (vq_run){scratch, a.m, 1}, (vq_run){scratch, a.m, 1});
  head_output(e, &a, h.i);
  vq_loop_end(e, &h);
}
