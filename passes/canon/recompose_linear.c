// linear from matmul by a constant, and what folds into its weight and bias.
#include "canon/rewriter.h"

// The constant [rows, cols] transposed; one copy however many ops ask.
static vq_value *transposed(vq_rw *rw, vq_value *w, int64_t rows,
                            int64_t cols) {
  vq_value **key = VQ_NEW(rw->pc->temp, vq_value *);
  *key = w;
  void **slot = vq_map_put(&rw->transposed, VQ_MAP_PTR_KEY(*key));
  if (*slot) return *slot;
  const vq_const *k = vq_const_of(w);
  const int64_t dim[] = {cols, rows};
  const vq_type *t = vq_type_tensor(rw->module->ctx, VQ_f32, 2, dim, NULL);
  if (k->init == VQ_INIT_FILL)
    return *slot = &vq_const_fill(rw->module, w->name, t, k->fill)->value;
  const char *from = vq_const_bytes(vq_const_of(w));
  if (!from) return NULL;
  vq_rw_charge(rw, vq_type_count(t));
  float *to = vq_arena_alloc(&rw->module->arena, (size_t)vq_type_bytes(t), 64);
  enum { TILE = 16 };  // a cache line of floats each way
  for (int64_t j0 = 0; j0 < rows; j0 += TILE)
    for (int64_t i0 = 0; i0 < cols; i0 += TILE)
      for (int64_t i = i0; i < cols && i < i0 + TILE; i++)
        for (int64_t j = j0; j < rows && j < j0 + TILE; j++)
          memcpy(&to[i * rows + j], from + 4 * (j * cols + i), 4);
  return *slot = &vq_const_new(rw->module, w->name, t, to)->value;
}

// True for a float constant that is a matrix, batch dimensions of 1 aside.
static bool is_matrix(vq_value *w) {
  const vq_type *t = w->type;
  if (!vq_const_of(w) || t->dtype != VQ_f32 || t->rank < 2 || t->q)
    return false;
  for (unsigned k = 0; k + 2 < t->rank; k++)
    if (t->dim[k] != 1) return false;
  return true;
}

bool vq_rule_linear(vq_rw *rw, vq_op *op) {
  vq_value *x = vq_in(op, 0), *w = vq_in(op, 1);
  if (!is_matrix(w) || vq_const_of(x) || x->type->dtype != VQ_f32 ||
      x->type->rank < 2 || x->type->rank < w->type->rank)
    return false;
  const int64_t *dim = &w->type->dim[w->type->rank - 2];
  bool oi = VQ_ATTRS(op, matmul)->transpose_b;
  w = oi ? vq_rw_recast(rw, w, 2, dim) : transposed(rw, w, dim[0], dim[1]);
  if (!w) return false;
  vq_attrs_linear a = vq_default_linear();
  return vq_rw_replace(
      rw, op, vq_rw_build(rw, VQ_OP_linear, (vq_value *[]){x, w}, 2, &a),
      "linear");
}

// W x with the constant first: a linear along the dimension before the last.
// Late, as the query of an attention may be a constant too.
bool vq_rule_linear_left(vq_rw *rw, vq_op *op) {
  vq_value *w = vq_in(op, 0), *x = vq_in(op, 1);
  if (!rw->late || !is_matrix(w) || vq_const_of(x) ||
      x->type->dtype != VQ_f32 || x->type->rank < w->type->rank)
    return false;
  int64_t perm[VQ_MAX_RANK];
  unsigned r = x->type->rank;
  for (unsigned k = 0; k < r; k++) perm[k] = k;
  perm[r - 1] = r - 2;
  perm[r - 2] = r - 1;
  if (!VQ_ATTRS(op, matmul)->transpose_b)
    x = vq_build_transpose(&rw->b, x, perm, VQ_LIT(""));
  w = vq_rw_recast(rw, w, 2, &w->type->dim[w->type->rank - 2]);
  if (!x || !w) return false;
  vq_attrs_linear a = vq_default_linear();
  vq_value *y = vq_rw_build(rw, VQ_OP_linear, (vq_value *[]){x, w}, 2, &a);
  y = y ? vq_build_transpose(&rw->b, y, perm, VQ_LIT("")) : NULL;
  return vq_rw_replace(rw, op, y, "linear");
}

// Division by a constant is a product, once no pattern needs it.
bool vq_rule_reciprocal(vq_rw *rw, vq_op *op) {
  vq_value *c = vq_in(op, 1);
  if (!rw->late || !vq_const_of(c) || c->type->dtype != VQ_f32 || c->type->q)
    return false;
  float *v = vq_rw_floats(rw, c);
  int64_t n = vq_type_count(c->type);
  for (int64_t i = 0; v && i < n; i++) {
    v[i] = 1 / v[i];
    if (!isnormal(v[i])) return false;
  }
  if (!v) return false;
  c = vq_rw_const(rw, c, c->type->rank, c->type->dim, v);
  return vq_rw_replace(rw, op,
                       vq_build_binary(&rw->b, VQ_OP_mul, vq_in(op, 0), c,
                                       VQ_LIT("")), NULL);
}

// The constant of a sum or product without leading dimensions of 1, which only
// tell how an exporter stored it.
bool vq_rule_trim_const(vq_rw *rw, vq_op *op) {
  vq_value *x, *c;
  bool swapped;
  if (!vq_with_const(op, &x, &c, &swapped) || x->type != op->out[0].type ||
      c->type->q)
    return false;
  unsigned r = c->type->rank, ones = 0;
  while (ones < r && c->type->dim[ones] == 1) ones++;
  c = ones ? vq_rw_recast(rw, c, r - ones, c->type->dim + ones) : NULL;
  if (!c) return false;
  vq_value *in[] = {swapped ? c : x, swapped ? x : c};
  vq_set_operands(op, in, 2);
  rw->n_changed++;
  return true;
}

// A linear or patch_embed with constant weights as exporters store them.
static bool plain(const vq_op *op) {
  vq_str layout = op->code == VQ_OP_linear ? VQ_ATTRS(op, linear)->layout
                                           : VQ_ATTRS(op, patch_embed)->layout;
  return vq_str_is(layout, "oi") &&
         vq_const_of(vq_in(op, 1)) &&
         (op->n_in < 3 || vq_const_of(vq_in(op, 2)));
}

// The linear or patch_embed behind an add, sub, mul or div with a row constant.
static vq_op *linear_with_row(const vq_op *op, vq_value **c, bool *swapped) {
  vq_value *x;
  if (!vq_with_const(op, &x, c, swapped)) return NULL;
  vq_op *lin = vq_def(x, VQ_OP_linear);
  if (!lin) lin = vq_def(x, VQ_OP_patch_embed);
  if (!lin || !plain(lin) || !vq_has_one_use(x) ||
      x->type != op->out[0].type ||
      !vq_is_row(*c, x->type->dim[x->type->rank - 1]))
    return NULL;
  return lin;
}

bool vq_rule_linear_bias(vq_rw *rw, vq_op *op) {
  vq_value *c;
  bool swapped;
  vq_op *lin = linear_with_row(op, &c, &swapped);
  if (!lin || (op->code == VQ_OP_sub && swapped)) return false;
  int64_t n = op->out[0].type->dim[op->out[0].type->rank - 1];
  vq_value *b = vq_rw_row(rw, c, n), *old = vq_in_opt(lin, 2);
  if (!b) return false;
  if (old || op->code == VQ_OP_sub) {
    float *sum = vq_rw_floats(rw, b);
    float *base = old ? vq_rw_floats(rw, old) : NULL;
    if (!sum || (old && !base)) return false;
    for (int64_t i = 0; i < n; i++) {
      if (op->code == VQ_OP_sub) sum[i] = -sum[i];
      if (base) sum[i] += base[i];
    }
    b = vq_rw_const(rw, old ? old : c, 1, &n, sum);
  }
  vq_value *in[] = {vq_in(lin, 0), vq_in(lin, 1), b};
  return vq_rw_replace(rw, op,
                       vq_rw_build(rw, lin->code, in, 3, lin->attrs), NULL);
}

// The columns [*begin, *end) of `v` that a slice reads. False for another op.
static bool columns_of(const vq_op *op, int64_t *begin, int64_t *end) {
  if (op->code != VQ_OP_slice) return false;
  const vq_attrs_slice *a = VQ_ATTRS(op, slice);
  unsigned last = a->begin.n - 1;
  int64_t step = a->step.n ? a->step.p[last] : 1;
  *begin = a->begin.p[last];
  *end = *begin + (a->size.p[last] - 1) * step + 1;
  return step > 0;
}

// The linear that `v` is a run of columns of, nobody else reading any of them.
static vq_op *linear_of_part(const vq_value *v, int64_t *begin) {
  int64_t end, b, e;
  const vq_op *cut = vq_def(v, VQ_OP_slice);
  vq_op *lin = cut ? vq_def(vq_in(cut, 0), VQ_OP_linear) : NULL;
  if (!lin || !plain(lin) || !columns_of(cut, begin, &end)) return NULL;
  const vq_type *t = lin->out[0].type, *part = v->type;
  if (end - *begin != part->dim[part->rank - 1]) return NULL;
  for (unsigned k = 0; k + 1 < t->rank; k++)
    if (part->dim[k] != t->dim[k]) return NULL;
  vq_each_use(&lin->out[0], u)
    if (u->user != cut &&
        (!columns_of(u->user, &b, &e) || (b < end && e > *begin)))
      return NULL;
  return lin;
}

// A bias for some columns of a linear, as where an optimizer packed q, k and v
// but left their biases.
bool vq_rule_linear_part_bias(vq_rw *rw, vq_op *op) {
  vq_value *x, *c;
  bool swapped;
  int64_t begin;
  if (!vq_with_const(op, &x, &c, &swapped) || x->type != op->out[0].type ||
      !vq_has_one_use(x))
    return false;
  vq_op *lin = linear_of_part(x, &begin);
  int64_t n = lin ? x->type->dim[x->type->rank - 1] : 0;
  if (!lin || !vq_is_row(c, n)) return false;
  int64_t n_out = vq_in(lin, 1)->type->dim[0];
  float *row = vq_rw_floats(rw, vq_rw_row(rw, c, n));
  float *sum = vq_in_opt(lin, 2)
                   ? vq_rw_floats(rw, vq_in(lin, 2))
                   : VQ_NEW_N(rw->pc->temp, float, (size_t)n_out);
  if (!row || !sum) return false;
  for (int64_t i = 0; i < n; i++) sum[begin + i] += row[i];
  vq_value *in[] = {vq_in(lin, 0), vq_in(lin, 1),
                    vq_rw_const(rw, c, 1, &n_out, sum)};
  rw->b.before = lin;
  vq_value *y = vq_rw_build(rw, VQ_OP_linear, in, 3, lin->attrs);
  return vq_rw_replace(rw, lin, y, NULL) && vq_rw_replace(rw, op, x, NULL);
}

// LayerScale and other constant factors of a linear's result. Runs after
// attention is matched: a factor on q or k belongs to the attention's scale.
bool vq_rule_linear_scale(vq_rw *rw, vq_op *op) {
  vq_value *c;
  bool swapped;
  if (!rw->late) return false;
  vq_op *lin = linear_with_row(op, &c, &swapped);
  if (!lin || (op->code == VQ_OP_div && swapped)) return false;
  vq_value *w = vq_in(lin, 1), *b = vq_in_opt(lin, 2);
  int64_t n_out = w->type->dim[0], n_in = w->type->dim[1];
  vq_value *row = vq_rw_row(rw, c, n_out);
  float *s = row ? vq_rw_floats(rw, row) : NULL;
  float *wf = vq_rw_floats(rw, w), *bf = b ? vq_rw_floats(rw, b) : NULL;
  if (!s || !wf || (b && !bf)) return false;
  for (int64_t o = 0; o < n_out; o++) {
    float f = op->code == VQ_OP_div ? 1 / s[o] : s[o];
    for (int64_t i = 0; i < n_in; i++) wf[o * n_in + i] *= f;
    if (b) bf[o] *= f;
  }
  vq_value *in[] = {vq_in(lin, 0), vq_rw_const(rw, w, 2, w->type->dim, wf),
                    b ? vq_rw_const(rw, b, 1, &n_out, bf) : NULL};
  return vq_rw_replace(
      rw, op, vq_rw_build(rw, lin->code, in, b ? 3 : 2, lin->attrs),
      "linear_scale");
}
