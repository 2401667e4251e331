// q, k and v, or gate and value, as slices of one packed linear.
//
// However an exporter cuts q, k and v (three linears, one with interleaved
// heads, one in another order), each is a selection of output rows of a linear
// over the same input. The rows are gathered into one weight, q then k then v.
// The two halves of a gated MLP (SwiGLU) are the same thing.
#include "canon/rewriter.h"

typedef struct part {
  vq_op *lin;
  int64_t *row;  // row[j]: which output of `lin` feature j is
  int64_t n;
} part;

// Reads [.., n] as rows of a linear over the positions before.
static bool read_part(vq_rw *rw, vq_value *v, part *p) {
  vq_view view;
  vq_value *root = vq_view_root(v, &view);
  p->lin = root ? vq_def(root, VQ_OP_linear) : NULL;
  if (!p->lin || view.rank < 2) return false;
  if (!vq_str_is(VQ_ATTRS(p->lin, linear)->layout, "oi")) return false;
  for (unsigned i = 1; i < p->lin->n_in; i++) {
    vq_const *c = vq_const_of(vq_in(p->lin, i));
    if (!c || !vq_const_bytes(c)) return false;
  }
  const vq_type *t = root->type;
  int64_t n_out = t->dim[t->rank - 1], n_pos = vq_type_count(t) / n_out;
  const int64_t flat[] = {vq_view_count(&view) / view.dim[view.rank - 1],
                          view.dim[view.rank - 1]};
  if (flat[0] != n_pos || !vq_view_reshape(&view, 2, flat)) return false;
  vq_view_simplify(&view);
  unsigned i = view.first[1], end = view.first[2];
  bool positions = n_pos == 1 ? i == 0
                              : i == 1 && view.atom[0].stride == n_out;
  if (!positions || view.offset >= n_out) return false;
  p->n = flat[1];
  p->row = VQ_NEW_N(rw->pc->temp, int64_t, (size_t)p->n);
  for (int64_t j = 0; j < p->n; j++) {
    int64_t rest = j, at = view.offset;
    for (unsigned k = end; k-- > i; rest /= view.atom[k].size)
      at += rest % view.atom[k].size * view.atom[k].stride;
    if (at >= n_out) return false;
    p->row[j] = at;
  }
  return true;
}

// True when the parts are slices in order of one linear of the shape `lead`
// but for its last dimension.
static bool is_packed(const part *p, unsigned n, const vq_type *lead) {
  int64_t at = 0;
  const vq_type *t = p[0].lin->out[0].type;
  if (t->rank != lead->rank) return false;
  for (unsigned k = 0; k + 1 < t->rank; k++)
    if (t->dim[k] != lead->dim[k]) return false;
  for (unsigned i = 0; i < n; i++) {
    if (p[i].lin != p[0].lin) return false;
    for (int64_t j = 0; j < p[i].n; j++)
      if (p[i].row[j] != at++) return false;
  }
  return at == vq_in(p[0].lin, 1)->type->dim[0];
}

// True when nothing but these parts reads the linears.
static bool only_these(const part *p, unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    unsigned n_same = 0;
    for (unsigned j = 0; j < n; j++) n_same += p[j].lin == p[i].lin;
    if (vq_use_count(&p[i].lin->out[0]) > n_same) return false;
  }
  return true;
}

static vq_value *gather_weight(vq_rw *rw, const part *p, unsigned n_part,
                               int64_t n) {
  vq_value *like = vq_in(p[0].lin, 1);
  int64_t n_in = like->type->dim[1], at = 0;
  float *w = VQ_NEW_N(rw->pc->temp, float, (size_t)(n * n_in));
  for (unsigned i = 0; i < n_part; i++) {
    const char *from = vq_const_bytes(vq_const_of(vq_in(p[i].lin, 1)));
    if (!from) return NULL;
    for (int64_t j = 0; j < p[i].n; j++, at++)
      memcpy(w + at * n_in, from + p[i].row[j] * n_in * 4, (size_t)n_in * 4);
  }
  return vq_rw_const(rw, like, 2, (int64_t[]){n, n_in}, w);
}

// The gathered bias, zero where a part has none; NULL when no part has one.
static vq_value *gather_bias(vq_rw *rw, const part *p, unsigned n_part,
                             int64_t n) {
  vq_value *like = NULL;
  int64_t at = 0;
  float *b = VQ_NEW_N(rw->pc->temp, float, (size_t)n);
  for (unsigned i = 0; i < n_part; at += p[i++].n) {
    vq_value *c = vq_in_opt(p[i].lin, 2);
    if (!c) continue;
    if (!like) like = c;
    for (int64_t j = 0; j < p[i].n; j++)
      b[at + j] = (float)vq_const_f64(vq_const_of(c), p[i].row[j]);
  }
  return like ? vq_rw_const(rw, like, 1, &n, b) : NULL;
}

vq_value *vq_rw_plain_input(const vq_op *lin) {
  vq_view view;
  vq_value *x = vq_in(lin, 0), *root = vq_view_root(x, &view);
  return root && vq_view_is_reshape(&view, vq_type_count(root->type)) ? root : x;
}

bool vq_rw_pack(vq_rw *rw, vq_value **v, unsigned n_part, const vq_type *lead,
                bool owned) {
  part p[VQ_MAX_PARTS] = {0};
  for (unsigned i = 0; i < n_part; i++)
    if (!read_part(rw, v[i], &p[i]) ||
        vq_rw_plain_input(p[i].lin) != vq_rw_plain_input(p[0].lin))
      return false;
  if (is_packed(p, n_part, lead) || !(owned || only_these(p, n_part)))
    return false;
  unsigned last = lead->rank - 1;
  int64_t shape[VQ_MAX_RANK], begin[VQ_MAX_RANK] = {0}, n = 0;
  memcpy(shape, lead->dim, sizeof shape);
  shape[last] = vq_in(p[0].lin, 1)->type->dim[1];
  for (unsigned i = 0; i < n_part; i++) n += p[i].n;
  vq_value *in[] = {vq_rw_reshape(rw, vq_rw_plain_input(p[0].lin), lead->rank,
                                  shape),
                    gather_weight(rw, p, n_part, n),
                    gather_bias(rw, p, n_part, n)};
  if (!in[0] || !in[1]) return false;
  vq_attrs_linear a = vq_default_linear();
  vq_value *y = vq_rw_build(rw, VQ_OP_linear, in, in[2] ? 3 : 2, &a);
  vq_attrs_slice cut = {.begin = {begin, lead->rank}, .size = {shape, lead->rank}};
  for (unsigned i = 0; i < n_part; begin[last] += p[i++].n) {
    shape[last] = p[i].n;
    v[i] = y ? vq_rw_build(rw, VQ_OP_slice, &y, 1, &cut) : NULL;
    if (!v[i]) return false;
  }
  return true;
}

bool vq_rule_attention_pack(vq_rw *rw, vq_op *op) {
  vq_value *in[] = {vq_in(op, 0), vq_in(op, 1), vq_in(op, 2), vq_in_opt(op, 3)};
  if (in[0]->type->dim[1] != in[1]->type->dim[1] ||
      !vq_rw_pack(rw, in, 3, in[0]->type, false))
    return false;
  return vq_rw_replace(
      rw, op, vq_rw_build(rw, VQ_OP_attention, in, op->n_in, op->attrs),
      "packed_qkv");
}

// act(a) * b with a and b from linears over one value: the gate stands first.
bool vq_rule_gated_pack(vq_rw *rw, vq_op *op) {
  for (unsigned i = 0; i < 2; i++) {
    const vq_op *act = vq_in(op, i)->def;
    if (vq_in(op, i)->kind != VQ_VALUE_RESULT ||
        (act->code != VQ_OP_silu && act->code != VQ_OP_gelu &&
         act->code != VQ_OP_relu))
      continue;
    vq_value *v[] = {vq_in(act, 0), vq_in(op, 1 - i)};
    if (v[0]->type != v[1]->type || v[0]->type != op->out[0].type) return false;
    if (!vq_has_one_use(vq_in(op, i)) || !vq_rw_pack(rw, v, 2, v[0]->type, false))
      return false;
    v[0] = vq_rw_build(rw, act->code, v, 1, act->attrs);
    return vq_rw_replace(rw, op, vq_rw_build(rw, VQ_OP_mul, v, 2, NULL),
                         "packed_gate");
  }
  return false;
}
