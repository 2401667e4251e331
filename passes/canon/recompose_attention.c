// attention from matmul, softmax and matmul.
//
// Anchored at the second product, P V with P = softmax(S). S is walked down to
// the first product Q K^T through scalar factors (which gather in `scale`),
// constant additions and masks (which gather in the bias) and reshapes of
// leading dimensions. Q, K and V are traced to index maps over the tensors they
// are cut from, again collecting scalar factors, so how heads were split does
// not matter: the maps are re-read as token-major [B, N, heads * d] and spelled
// canonically, which for a packed linear is one slice.
#include "canon/rewriter.h"

#define MAX_TERMS 4

// c * x for a view x of `root`.
typedef struct edge {
  vq_value *root;
  vq_view view;
  double scale;
} edge;

// A constant added to the scores, broadcast to `shape`; `mask`: a condition
// that keeps (true) or replaces a score by `fill`.
typedef struct term {
  vq_value *c;
  const vq_type *shape;
  double factor;
  bool is_mask, keep_when;
} term;

typedef struct scores {
  double scale;
  vq_value *head_scale;  // [heads, 1, 1] or NULL
  term term[MAX_TERMS];
  unsigned n_term;
  const vq_op *product;  // Q K^T
} scores;

// `outer`, a view over a tensor of type `t` that itself is the view `*inner`.
static bool compose_views(vq_view *inner, const vq_view *outer,
                          const vq_type *t) {
  vq_step step[VQ_VIEW_STEPS];
  vq_view r = *inner;
  int n = vq_view_steps(outer, t->rank, t->dim, step);
  if (n < 0) return false;
  for (int i = 0; i < n; i++) {
    const vq_step *s = &step[i];
    bool ok = s->kind == VQ_STEP_RESHAPE     ? vq_view_reshape(&r, s->rank, s->a)
              : s->kind == VQ_STEP_TRANSPOSE ? vq_view_transpose(&r, s->a)
                                             : vq_view_slice(&r, s->a, s->size,
                                                             s->step);
    if (!ok) return false;
  }
  *inner = r;
  return true;
}

static bool trace(vq_value *v, edge *e) {
  vq_value *x;
  vq_view inner;
  double c;
  e->scale = 1;
  e->root = vq_view_root(v, &e->view);
  while (e->root && vq_unscale(e->root, &x, &c)) {
    vq_value *r = vq_view_root(x, &inner);
    if (!r || !compose_views(&inner, &e->view, e->root->type)) break;
    e->root = r;
    e->view = inner;
    e->scale *= c;
  }
  return e->root != NULL;
}

static bool same_last_two(const vq_type *a, const vq_type *b) {
  return a->rank >= 2 && b->rank >= 2 &&
         a->dim[a->rank - 1] == b->dim[b->rank - 1] &&
         a->dim[a->rank - 2] == b->dim[b->rank - 2];
}

static bool add_term(scores *s, term t) {
  if (s->n_term == MAX_TERMS || t.c->type->q ||
      !vq_const_bytes(vq_const_of(t.c)))
    return false;
  s->term[s->n_term++] = t;
  return true;
}

// True for a constant that gives each head of scores shaped `t` one factor.
static bool is_per_head(vq_value *c, const vq_type *t) {
  int64_t heads = t->rank >= 4 ? t->dim[t->rank - 3] : 0;
  const vq_type *k = c->type;
  return heads > 1 && k->rank >= 3 && vq_type_count(k) == heads &&
         k->dim[k->rank - 3] == heads && k->dtype == VQ_f32 && !k->q &&
         vq_const_bytes(vq_const_of(c));
}

// One step down from `op`, whose value is a score; the next value or NULL.
static vq_value *step_down(scores *s, vq_op *op) {
  vq_value *x, *c;
  double k;
  bool swapped;
  const vq_type *t = op->out[0].type;
  if (vq_unscale(&op->out[0], &x, &k)) {
    s->scale *= k;
    return x;
  }
  if (op->code == VQ_OP_reshape)
    return same_last_two(vq_in(op, 0)->type, t) ? vq_in(op, 0) : NULL;
  if (op->code == VQ_OP_mul && vq_with_const(op, &x, &c, &swapped)) {
    if (s->head_scale || x->type != t || !is_per_head(c, t)) return NULL;
    s->head_scale = c;
    return x;
  }
  if (op->code == VQ_OP_add || op->code == VQ_OP_sub) {
    // A term below a factor for each head would need another for each head.
    if (s->head_scale || !vq_with_const(op, &x, &c, &swapped) || x->type != t ||
        (op->code == VQ_OP_sub && swapped))
      return NULL;
    double sign = op->code == VQ_OP_sub ? -1 : 1;
    return add_term(s, (term){c, t, sign * s->scale, false, false}) ? x : NULL;
  }
  if (op->code != VQ_OP_select || !vq_const_of(vq_in(op, 0))) return NULL;
  bool keep = !vq_const_of(vq_in(op, 1));  // select(c, score, fill)
  x = vq_in(op, keep ? 1 : 2);
  if (!vq_const_uniform(vq_in(op, keep ? 2 : 1), &k) || x->type != t) return NULL;
  if (k * s->scale > -1e4) return NULL;
  term m = {vq_in(op, 0), t, -INFINITY, true, keep};
  return add_term(s, m) ? x : NULL;
}

static bool read_scores(vq_value *v, scores *s) {
  *s = (scores){.scale = 1};
  for (;;) {
    if (v->kind != VQ_VALUE_RESULT) return false;
    s->product = vq_def(v, VQ_OP_matmul);
    if (s->product) return true;
    v = step_down(s, v->def);
    if (!v) return false;
  }
}

// The softmax under `v`: through reshapes of leading dimensions and the guard
// select(isnan(p), 0, p) that scaled_dot_product_attention writes.
static vq_op *probabilities(vq_value *v) {
  double zero;
  while (v->kind == VQ_VALUE_RESULT) {
    vq_op *op = v->def;
    if (op->code == VQ_OP_softmax) {
      int64_t axis = VQ_ATTRS(op, softmax)->axis;
      return axis == -1 || axis == v->type->rank - 1 ? op : NULL;
    }
    if (op->code == VQ_OP_reshape && same_last_two(vq_in(op, 0)->type, v->type)) {
      v = vq_in(op, 0);
      continue;
    }
    const vq_op *nan =
        op->code == VQ_OP_select ? vq_def(vq_in(op, 0), VQ_OP_isnan) : NULL;
    if (!nan || vq_in(nan, 0) != vq_in(op, 2) ||
        !vq_const_uniform(vq_in(op, 1), &zero) || zero != 0)
      return NULL;
    v = vq_in(op, 2);
  }
  return NULL;
}

// ---- bias -----------------------------------------------------------------

// The element of constant `t` that the leading index `lead` of the scores
// reads at row and column 0, with its row and column strides.
static int64_t term_at(const term *t, int64_t lead, int64_t *row,
                       int64_t *col) {
  const vq_type *c = t->c->type, *s = t->shape;
  int64_t stride[VQ_MAX_RANK], at = 0;
  vq_type_strides(c, stride);
  *row = *col = 0;
  for (unsigned k = s->rank; k-- > 0;) {
    int ck = (int)c->rank - (int)(s->rank - k);
    int64_t st = ck >= 0 && c->dim[ck] > 1 ? stride[ck] : 0;
    if (k == s->rank - 1u) *col = st;
    else if (k == s->rank - 2u) *row = st;
    else {
      at += lead % s->dim[k] * st;
      lead /= s->dim[k];
    }
  }
  return at;
}

static double term_value(const term *t, int64_t i) {
  vq_const *c = vq_const_of(t->c);
  if (t->is_mask)
    return (vq_const_i64(c, i) != 0) == t->keep_when ? 0 : -INFINITY;
  return t->factor * vq_const_f64(c, i);
}

// Adds every term for one leading index to the n x m scores at `out`.
static void add_terms(const scores *s, int64_t lead, int64_t n, int64_t m,
                      float *out) {
  int64_t row[MAX_TERMS], col[MAX_TERMS], at[MAX_TERMS];
  for (unsigned k = 0; k < s->n_term; k++)
    at[k] = term_at(&s->term[k], lead, &row[k], &col[k]);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < m; j++) {
      double sum = 0;
      for (unsigned k = 0; k < s->n_term; k++)
        sum += term_value(&s->term[k], at[k] + i * row[k] + j * col[k]);
      out[i * m + j] = (float)sum;
    }
}

// True when leading indices `a` and `b` read the same elements.
static bool same_terms(const scores *s, int64_t a, int64_t b) {
  int64_t row, col;
  for (unsigned k = 0; k < s->n_term; k++)
    if (term_at(&s->term[k], a, &row, &col) !=
        term_at(&s->term[k], b, &row, &col))
      return false;
  return true;
}

// The smallest divisor p of `batch` such that picture b reads what b % p reads.
static int64_t batch_period(const scores *s, int64_t batch, int64_t heads) {
  for (int64_t p = 1; p < batch; p++) {
    bool same = batch % p == 0;
    for (int64_t i = p * heads; same && i < batch * heads; i++)
      same = same_terms(s, i, i - p * heads);
    if (same) return p;
  }
  return batch;
}

static bool heads_read_alike(const scores *s, int64_t batch, int64_t heads) {
  for (int64_t i = 0; i < batch * heads; i++)
    if (!same_terms(s, i, i / heads * heads)) return false;
  return true;
}

// The smallest divisor p of `n` such that the n blocks at `data` repeat.
static int64_t data_period(const float *data, int64_t n, int64_t block) {
  for (int64_t p = 1; p < n; p++)
    if (n % p == 0 && memcmp(data, data + p * block,
                             (size_t)((n - p) * block) * sizeof *data) == 0)
      return p;
  return n;
}

// Heads share one bias when every picture's block repeats with period 1.
static bool heads_alike(const float *data, int64_t batch, int64_t heads,
                        int64_t block) {
  for (int64_t b = 0; b < batch; b++)
    if (data_period(data + b * heads * block, heads, block) != 1) return false;
  return true;
}

typedef struct shape {
  int64_t batch, heads, n, m, d, e;
} shape;

// The bias operand [Bb, Hb, N, M]; *out is NULL when it would be all zero.
// False when a row is masked out completely: attention has no value for it.
static bool make_bias(vq_rw *rw, const scores *s, const shape *g,
                      vq_value **out) {
  *out = NULL;
  if (s->n_term == 0) return true;
  const int64_t max_count = INT64_C(1) << 26;  // 256 MiB
  int64_t block = g->n * g->m, batch = batch_period(s, g->batch, g->heads);
  int64_t heads = heads_read_alike(s, batch, g->heads) ? 1 : g->heads;
  if (block > max_count / (batch * heads)) return false;
  int64_t count = batch * heads * block, step = g->heads / heads;
  if ((uint64_t)count > rw->budget.left) return false;
  vq_rw_charge(rw, count);
  float *data = VQ_NEW_N(rw->pc->temp, float, (size_t)count);
  for (int64_t i = 0; i < batch * heads; i++)
    add_terms(s, i * step, g->n, g->m, data + i * block);
  bool zero = true;
  for (int64_t i = 0; i < count; i += g->m) {
    bool open = false;
    for (int64_t j = 0; j < g->m; j++) {
      zero &= data[i + j] == 0;
      open |= data[i + j] > -INFINITY;
    }
    if (!open) return false;
  }
  if (zero) return true;
  batch = data_period(data, batch, heads * block);
  if (heads_alike(data, batch, heads, block)) {
    for (int64_t b = 1; b < batch; b++)
      memmove(data + b * block, data + b * heads * block,
              (size_t)block * sizeof *data);
    heads = 1;
  }
  const int64_t dim[] = {batch, heads, g->n, g->m};
  *out = vq_rw_const(rw, s->term[s->n_term - 1].c, 4, dim, data);
  return true;
}

// ---- operands ---------------------------------------------------------------

// Heads of [B * heads, N, width] operands: the inner digit of dimension 0 when
// it steps by one head's width.
static int64_t inner_heads(const edge *e, int64_t width) {
  vq_view v = e->view;
  vq_view_simplify(&v);
  const vq_atom *a = &v.atom[v.first[1]];
  return v.first[1] > v.first[0] && a[-1].stride == width ? a[-1].size : 1;
}

// Re-reads [.., rows, width] as [B, rows, heads * width].
static bool token_major(edge *e, const shape *g, int64_t rows, int64_t width) {
  const int64_t split[] = {g->batch, g->heads, rows, width};
  const int64_t joined[] = {g->batch, rows, g->heads * width};
  const int64_t perm[] = {0, 2, 1, 3};
  return vq_view_reshape(&e->view, 4, split) &&
         vq_view_transpose(&e->view, perm) &&
         vq_view_reshape(&e->view, 3, joined);
}

static bool swap_last_two(edge *e) {
  int64_t perm[VQ_MAX_RANK];
  unsigned r = e->view.rank;
  for (unsigned k = 0; k < r; k++) perm[k] = k;
  perm[r - 1] = r - 2;
  perm[r - 2] = r - 1;
  return vq_view_transpose(&e->view, perm);
}

static int64_t lead_count(const vq_type *t) {
  int64_t n = 1;
  for (unsigned k = 0; k + 2 < t->rank; k++) n *= t->dim[k];
  return n;
}

// Traces q, k and v and finds the sizes; all three end token-major.
static bool read_operands(const vq_op *qk, const vq_op *pv, edge e[3],
                          shape *g) {
  vq_value *v[3] = {vq_in(qk, 0), vq_in(qk, 1), vq_in(pv, 1)};
  int64_t lead = lead_count(qk->out[0].type);
  for (unsigned i = 0; i < 3; i++) {
    const vq_type *t = v[i]->type;
    if (t->rank < 2 || t->dtype != VQ_f32 || lead_count(t) != lead ||
        !trace(v[i], &e[i]))
      return false;
  }
  if (!VQ_ATTRS(qk, matmul)->transpose_b && !swap_last_two(&e[1])) return false;
  if (VQ_ATTRS(pv, matmul)->transpose_b && !swap_last_two(&e[2])) return false;
  unsigned r = e[0].view.rank, rv = e[2].view.rank;
  g->n = e[0].view.dim[r - 2];
  g->d = e[0].view.dim[r - 1];
  g->m = e[2].view.dim[rv - 2];
  g->e = e[2].view.dim[rv - 1];
  g->heads = 1;
  if (r >= 4) g->heads = e[0].view.dim[r - 3];
  for (unsigned i = 0; i < 3 && r == 3 && g->heads == 1; i++)
    if (e[i].view.rank == 3) g->heads = inner_heads(&e[i], i < 2 ? g->d : g->e);
  if (lead % g->heads) return false;
  g->batch = lead / g->heads;
  return token_major(&e[0], g, g->n, g->d) &&
         token_major(&e[1], g, g->m, g->d) && token_major(&e[2], g, g->m, g->e);
}

// `q`, [B, N, heads * d], times one factor for each head (SwinV2).
static vq_value *times_heads(vq_rw *rw, vq_value *q, vq_value *c,
                             const shape *g) {
  int64_t n = g->heads * g->d;
  float *row = VQ_NEW_N(rw->pc->temp, float, (size_t)n);
  if (vq_type_count(c->type) != g->heads) return NULL;
  for (int64_t i = 0; i < n; i++)
    row[i] = (float)vq_const_f64(vq_const_of(c), i / g->d);
  return vq_build_binary(&rw->b, VQ_OP_mul, q, vq_rw_const(rw, c, 1, &n, row),
                         VQ_LIT(""));
}

// A product of factors spelled in different roundings: 1/sqrt(d) exactly when
// it is that.
static float clean_scale(double s, int64_t d) {
  double want = 1 / sqrt((double)d);
  return (float)(fabs(s - want) <= 1e-5 * want ? want : s);
}

bool vq_rule_attention(vq_rw *rw, vq_op *op) {
  scores s;
  edge e[3];
  shape g;
  vq_value *in[4];
  vq_op *p = probabilities(vq_in(op, 0));
  if (!p || !read_scores(vq_in(p, 0), &s) || !isfinite((float)s.scale))
    return false;
  if (lead_count(op->out[0].type) != lead_count(s.product->out[0].type) ||
      !read_operands(s.product, op, e, &g) || !make_bias(rw, &s, &g, &in[3]))
    return false;
  for (unsigned i = 0; i < 3; i++) {
    in[i] = vq_rw_view(rw, e[i].root, &e[i].view);
    if (!in[i]) return false;
  }
  if (s.head_scale &&
      !(in[0] = times_heads(rw, in[0], s.head_scale, &g)))
    return false;
  vq_attrs_attention a = {
      .heads = g.heads,
      .scale = clean_scale(s.scale * e[0].scale * e[1].scale, g.d)};
  vq_value *y = vq_rw_build(rw, VQ_OP_attention, in, in[3] ? 4 : 3, &a);
  if (!y) return false;
  if (e[2].scale != 1) {  // a factor on v is a factor on the result
    vq_const *c = vq_const_scalar_f32(rw->module, VQ_LIT("v.scale"),
                                      (float)e[2].scale);
    y = vq_build_binary(&rw->b, VQ_OP_mul, y, &c->value, VQ_LIT(""));
  }
  const int64_t split[] = {g.batch, g.n, g.heads, g.e}, perm[] = {0, 2, 1, 3};
  y = vq_build_transpose(&rw->b, vq_rw_reshape(rw, y, 4, split), perm,
                         VQ_LIT(""));
  const vq_type *t = op->out[0].type;
  return vq_rw_replace(rw, op, vq_rw_reshape(rw, y, t->rank, t->dim),
                       "attention");
}

// The scale of queries that are constants (a pooling head's) is in these: exporters
// leave any share of it there.
static vq_value *scaled_query(vq_rw *rw, vq_value *c, double scale) {
  const vq_type *t = c->type;
  float *q = vq_rw_floats(rw, c);
  if (!q) return NULL;
  for (int64_t i = 0; i < vq_type_count(t); i++) q[i] = (float)(q[i] * scale);
  return vq_rw_const(rw, c, t->rank, t->dim, q);
}

// Scalar factors on q and k join attention's scale.
bool vq_rule_attention_scale(vq_rw *rw, vq_op *op) {
  edge e[2];
  const vq_attrs_attention *old = VQ_ATTRS(op, attention);
  double scale = old->scale;
  vq_value *in[4];
  for (unsigned i = 0; i < op->n_in; i++) in[i] = vq_in(op, i);
  bool any = false;
  for (unsigned i = 0; i < 2; i++) {
    if (!trace(in[i], &e[i])) return false;
    any |= e[i].scale != 1;
    scale *= e[i].scale;
  }
  vq_attrs_attention a = *old;
  bool fixed = vq_const_of(e[0].root) && e[0].root->type->dtype == VQ_f32;
  a.scale = fixed ? 1 : clean_scale(scale, in[0]->type->dim[2] / a.heads);
  if (!any && a.scale == old->scale) return false;
  if (fixed && !(e[0].root = scaled_query(rw, e[0].root, scale))) return false;
  for (unsigned i = 0; i < 2; i++)
    if ((e[i].scale != 1 || (fixed && i == 0)) &&
        !(in[i] = vq_rw_view(rw, e[i].root, &e[i].view)))
      return false;
  return vq_rw_replace(rw, op,
                       vq_rw_build(rw, VQ_OP_attention, in, op->n_in, &a),
                       NULL);
}
