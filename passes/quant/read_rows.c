// The rows of tokens that a model's results are read from.
//
// Results are followed backwards through what works row by row, to slices and tables
// that pick rows. Attention or a mean on the way, or a long way, says that there is no
// such place.
#include "quant/read_rows.h"

enum { FAR = 64 };  // ops; heads are short

typedef struct search {
  vq_arena *arena;
  vq_read_rows *rows;
  bool *read;
  unsigned left;
} search;

static bool follow(search *s, const vq_value *v);

// The rows of `x`, which must be as many as those found before.
static bool begin(search *s, const vq_type *x) {
  int64_t n = x->rank < 2 ? 0 : x->dim[x->rank - 2];
  if (s->read) return n == s->rows->n;
  if (n < 1) return false;
  s->rows->n = n;
  s->read = VQ_NEW_N(s->arena, bool, (size_t)n);
  memset(s->read, 0, (size_t)n * sizeof *s->read);
  return true;
}

static void pick(search *s, int64_t i) {
  s->rows->n_read += !s->read[i];
  s->read[i] = true;
}

static bool pick_slice(search *s, const vq_op *op) {
  const vq_type *x = vq_in(op, 0)->type, *y = op->out->type;
  const vq_attrs_slice *a = VQ_ATTRS(op, slice);
  if (x->rank < 2 || y->dim[x->rank - 2] == x->dim[x->rank - 2])
    return follow(s, vq_in(op, 0));
  if (!begin(s, x)) return false;
  unsigned k = x->rank - 2;
  int64_t step = a->step.n ? a->step.p[k] : 1;
  for (int64_t i = 0; i < a->size.p[k]; i++) pick(s, a->begin.p[k] + i * step);
  return true;
}

static bool pick_rows(search *s, const vq_op *op) {
  vq_const *table = vq_const_of(vq_in(op, 1));
  if (!table || !vq_const_bytes(table) || !begin(s, vq_in(op, 0)->type)) return false;
  for (int64_t i = 0; i < vq_type_count(table->value.type); i++) {
    int64_t row = vq_const_i64(table, i);
    if (row >= 0) pick(s, row % s->rows->n);
  }
  return true;
}

static bool follow(search *s, const vq_value *v) {
  if (v->kind != VQ_VALUE_RESULT) return true;
  const vq_op *op = v->def;
  if (s->left == 0) return false;
  s->left--;
  switch ((int)op->code) {
    case VQ_OP_slice: return pick_slice(s, op);
    case VQ_OP_gather_rows: return pick_rows(s, op);
    case VQ_OP_copy:
    case VQ_OP_reshape:
    case VQ_OP_fake_quant:
    case VQ_OP_layer_norm:
    case VQ_OP_softmax:
    case VQ_OP_linear: return follow(s, vq_in(op, 0));
    default: break;
  }
  if (!vq_has_trait(op, VQ_TRAIT_ELTWISE)) return false;
  for (unsigned i = 0; i < op->n_in; i++)
    if (!follow(s, vq_in(op, i))) return false;
  return true;
}

bool vq_read_rows_find(const vq_func *f, vq_arena *arena, vq_read_rows *rows) {
  *rows = (vq_read_rows){0};
  search s = {arena, rows, NULL, FAR};
  if (!f->last || f->last->code != VQ_OP_return) return false;
  for (unsigned i = 0; i < f->last->n_in; i++)
    if (!follow(&s, vq_in(f->last, i))) return false;
  rows->read = s.read;
  return s.read && 2 * rows->n_read <= rows->n;
}
