// q, k and v as slices of one packed linear.
//
// However an exporter cuts q, k and v (three linears, one with interleaved
// heads, one in another order), each is a selection of output rows of a linear
// over the same input. The rows are gathered into one weight, q then k then v.
#include "canon/rewriter.h"

typedef struct part {
  vq_op *lin;
  int64_t *row;  // row[j]: which output of `lin` feature j is
  int64_t n;
} part;

// Reads [B, N, n] as rows of a linear over B * N positions.
static bool read_part(vq_rw *rw, vq_value *v, part *p) {
  vq_view view;
  vq_value *root = vq_view_root(v, &view);
  p->lin = root ? vq_def(root, VQ_OP_linear) : NULL;
  if (!p->lin || view.rank != 3) return false;
  if (!vq_str_is(VQ_ATTRS(p->lin, linear)->layout, "oi")) return false;
  for (unsigned i = 1; i < p->lin->n_in; i++) {
    vq_const *c = vq_const_of(vq_in(p->lin, i));
    if (!c || !vq_const_bytes(c)) return false;
  }
  const vq_type *t = root->type;
  int64_t n_out = t->dim[t->rank - 1], n_pos = vq_type_count(t) / n_out;
  const int64_t flat[] = {view.dim[0] * view.dim[1], view.dim[2]};
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

// True when the three are slices in order of one linear shaped [B, N, ..].
static bool is_packed(const part p[3], const vq_type *q) {
  int64_t at = 0;
  const vq_type *t = p[0].lin->out[0].type;
  if (t->rank != 3 || t->dim[0] != q->dim[0] || t->dim[1] != q->dim[1])
    return false;
  if (p[0].lin != p[1].lin || p[1].lin != p[2].lin) return false;
  for (unsigned i = 0; i < 3; i++)
    for (int64_t j = 0; j < p[i].n; j++)
      if (p[i].row[j] != at++) return false;
  return at == vq_in(p[0].lin, 1)->type->dim[0];
}

// True when nothing but these three operands reads the linears.
static bool only_these(const part p[3]) {
  for (unsigned i = 0; i < 3; i++) {
    unsigned n = 0;
    for (unsigned j = 0; j < 3; j++) n += p[j].lin == p[i].lin;
    if (vq_use_count(&p[i].lin->out[0]) > n) return false;
  }
  return true;
}

static vq_value *gather_weight(vq_rw *rw, const part p[3], int64_t n) {
  vq_value *like = vq_in(p[0].lin, 1);
  int64_t n_in = like->type->dim[1], at = 0;
  float *w = VQ_NEW_N(rw->pc->temp, float, (size_t)(n * n_in));
  for (unsigned i = 0; i < 3; i++) {
    const char *from = vq_const_bytes(vq_const_of(vq_in(p[i].lin, 1)));
    if (!from) return NULL;
    for (int64_t j = 0; j < p[i].n; j++, at++)
      memcpy(w + at * n_in, from + p[i].row[j] * n_in * 4, (size_t)n_in * 4);
  }
  return vq_rw_const(rw, like, 2, (int64_t[]){n, n_in}, w);
}

// The gathered bias, zero where a part has none; NULL when no part has one.
static vq_value *gather_bias(vq_rw *rw, const part p[3], int64_t n) {
  vq_value *like = NULL;
  int64_t at = 0;
  float *b = VQ_NEW_N(rw->pc->temp, float, (size_t)n);
  for (unsigned i = 0; i < 3; at += p[i++].n) {
    vq_value *c = vq_in_opt(p[i].lin, 2);
    if (!c) continue;
    if (!like) like = c;
    for (int64_t j = 0; j < p[i].n; j++)
      b[at + j] = (float)vq_const_f64(vq_const_of(c), p[i].row[j]);
  }
  return like ? vq_rw_const(rw, like, 1, &n, b) : NULL;
}

bool vq_rule_attention_pack(vq_rw *rw, vq_op *op) {
  part p[3];
  vq_value *in[4];
  for (unsigned i = 0; i < 3; i++)
    if (!read_part(rw, vq_in(op, i), &p[i])) return false;
  vq_value *x = vq_in(p[0].lin, 0);
  if (vq_in(p[1].lin, 0) != x || vq_in(p[2].lin, 0) != x) return false;
  const vq_type *q = vq_in(op, 0)->type;
  if (is_packed(p, q) || !only_these(p)) return false;
  int64_t n = p[0].n + p[1].n + p[2].n;
  const int64_t shape[] = {q->dim[0], q->dim[1], vq_in(p[0].lin, 1)->type->dim[1]};
  vq_value *lin_in[] = {vq_rw_reshape(rw, x, 3, shape),
                        gather_weight(rw, p, n), gather_bias(rw, p, n)};
  if (!lin_in[1]) return false;
  vq_attrs_linear a = vq_default_linear();
  vq_value *y = vq_rw_build(rw, VQ_OP_linear, lin_in, lin_in[2] ? 3 : 2, &a);
  int64_t begin[] = {0, 0, 0}, size[] = {q->dim[0], q->dim[1], 0};
  vq_attrs_slice cut = {.begin = {begin, 3}, .size = {size, 3}};
  for (unsigned i = 0; i < 3; begin[2] += p[i++].n) {
    size[2] = p[i].n;
    in[i] = vq_rw_build(rw, VQ_OP_slice, &y, 1, &cut);
  }
  in[3] = vq_in_opt(op, 3);
  return vq_rw_replace(
      rw, op, vq_rw_build(rw, VQ_OP_attention, in, op->n_in, op->attrs),
      "packed_qkv");
}
