// What the readers of a result see of it. See span.h.
#include "lower/span.h"

#define MOST_SLICES 16  // that a result is divided for: all pairs are looked at

vq_span vq_span_whole(const vq_type *t) {
  vq_span s = {{0}, {0}};
  memcpy(s.size, t->dim, t->rank * sizeof *t->dim);
  return s;
}

int64_t vq_span_step(const vq_attrs_slice *a, unsigned k) {
  return a->step.n ? a->step.p[k] : 1;
}

static void include(vq_span *s, unsigned k, int64_t from, int64_t to) {
  int64_t end = s->lo[k] + s->size[k];
  if (s->size[k] == 0 || from < s->lo[k]) s->lo[k] = from;
  if (s->size[k] == 0 || to > end) end = to;
  s->size[k] = end - s->lo[k];
}

bool vq_span_add_slice(const vq_op *op, vq_span *s) {
  const vq_attrs_slice *a = VQ_ATTRS(op, slice);
  if (vq_type_count(op->out->type) == 0) return false;
  for (unsigned k = 0; k < a->begin.n; k++) {
    if (vq_span_step(a, k) < 0) return false;
    include(s, k, a->begin.p[k],
            a->begin.p[k] + (a->size.p[k] - 1) * vq_span_step(a, k) + 1);
  }
  return true;
}

unsigned vq_span_first_picked(const vq_op *op) {
  return VQ_ATTRS(op, gather_rows)->groups > 1;
}

static bool read_rows(const vq_op *op, vq_span *s) {
  const vq_attrs_gather_rows *a = VQ_ATTRS(op, gather_rows);
  const vq_type *x = vq_in(op, 0)->type;
  vq_const *table = vq_const_of(vq_in(op, 1));
  unsigned first = vq_span_first_picked(op), last = x->rank - 1;
  if (!table || !vq_const_bytes(table) || a->pad ||
      (a->groups > 1 && a->groups != x->dim[0]))
    return false;
  if (first) include(s, 0, 0, x->dim[0]);
  include(s, last, 0, x->dim[last]);
  for (int64_t i = 0; i < vq_type_count(table->value.type); i++) {
    int64_t row = vq_const_i64(table, i);
    if (row < 0) return false;
    for (unsigned k = last; k-- > first; row /= x->dim[k])
      include(s, k, row % x->dim[k], row % x->dim[k] + 1);
    if (row) return false;
  }
  return true;
}

bool vq_span_add_reader(const vq_use *u, vq_span *s) {
  const vq_op *op = u->user;
  if (op->code == VQ_OP_slice) return vq_span_add_slice(op, s);
  return op->code == VQ_OP_gather_rows && u->idx == 0 && read_rows(op, s);
}

bool vq_span_read(const vq_value *v, vq_span *s) {
  memset(s, 0, sizeof *s);
  if (!v->uses || v->type->rank < 2 || vq_type_count(v->type) == 0) return false;
  vq_each_use(v, u)
    if (!vq_span_add_reader(u, s)) return false;
  return true;
}

static int64_t rows_of(unsigned rank, const int64_t *size) {
  int64_t n = 1;
  for (unsigned k = 0; k + 1 < rank; k++) n *= size[k];
  return n;
}

// Elements that need no longer be computed when `v` is divided at a column.
static int64_t saved_at(const vq_value *v, int64_t column) {
  const vq_type *t = v->type;
  unsigned last = t->rank - 1;
  int64_t all = rows_of(t->rank, t->dim), saved = 0;
  vq_span side[2] = {{{0}, {0}}, {{0}, {0}}};
  vq_each_use(v, u) {
    vq_span s = {{0}, {0}};
    vq_span_add_slice(u->user, &s);
    bool right = s.lo[last] >= column;
    if (!right && s.lo[last] + s.size[last] > column) return 0;
    vq_span_add_slice(u->user, &side[right]);
  }
  for (unsigned i = 0; i < 2; i++) {
    int64_t rows = rows_of(t->rank, side[i].size);
    if (rows == 0) return 0;
    if (rows <= all / 2) saved += (all - rows) * (i ? t->dim[last] - column : column);
  }
  return saved;
}

bool vq_span_divide(const vq_value *v, int64_t *column) {
  vq_span s;
  int64_t best = 0;
  unsigned n = 0;
  if (!vq_span_read(v, &s)) return false;
  vq_each_use(v, u)
    if (u->user->code != VQ_OP_slice || ++n > MOST_SLICES) return false;
  vq_each_use(v, u) {
    const vq_attrs_slice *a = VQ_ATTRS(u->user, slice);
    int64_t at = a->begin.p[v->type->rank - 1], saved = saved_at(v, at);
    if (saved > best) best = saved, *column = at;
  }
  return best > 0;
}
