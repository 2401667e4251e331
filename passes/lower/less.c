// Ops on a part of their rows. See less.h.
#include "lower/less.h"

#include "vq/rewrite.h"
#include "vq/strbuf.h"

bool vq_less_along(const vq_op *op, unsigned k) {
  unsigned rank = op->out->type->rank;
  if (k + 1 >= rank) return false;
  switch ((int)op->code) {
    case VQ_OP_slice:
    case VQ_OP_layer_norm:
    case VQ_OP_linear: return true;
    case VQ_OP_softmax: {
      int64_t axis = VQ_ATTRS(op, softmax)->axis;
      return k != (axis < 0 ? axis + rank : axis);
    }
    case VQ_OP_attention: return k == 1;
    default: return vq_has_trait(op, VQ_TRAIT_ELTWISE);
  }
}

static bool has_data(const vq_value *v) {
  return v->kind == VQ_VALUE_CONST && ((const vq_const *)v)->init != VQ_INIT_MISSING;
}

bool vq_less_parameter(const vq_value *v) {
  if (v->kind != VQ_VALUE_RESULT) return has_data(v);
  if (!vq_has_trait(v->def, VQ_TRAIT_ELTWISE)) return false;
  for (unsigned i = 0; i < v->def->n_in; i++)
    if (!has_data(vq_in(v->def, i))) return false;
  return true;
}

// ---- rewriting -------------------------------------------------------------------

static vq_value *sliced(vq_builder *b, vq_value *x, const vq_span *s, vq_str name) {
  vq_attrs_slice a = vq_default_slice();
  a.begin = (vq_ints){s->lo, x->type->rank};
  a.size = (vq_ints){s->size, x->type->rank};
  return vq_build1(b, VQ_OP_slice, &x, 1, &a, name);
}

vq_value *vq_less_part(vq_less *l, vq_value *x, const vq_span *s) {
  vq_span all = vq_span_whole(x->type);
  size_t bytes = x->type->rank * sizeof *s->lo;
  if (!memcmp(s->lo, all.lo, bytes) && !memcmp(s->size, all.size, bytes)) return x;
  if (x->kind == VQ_VALUE_RESULT && vq_less_parameter(x)) return vq_less_compute(l, x->def, s);
  const vq_const *from = vq_const_of(x);
  vq_value *y = sliced(&l->b, x, s, from ? x->name : VQ_LIT("")), *c;
  if (!y || !from || from->init == VQ_INIT_MISSING ||
      !vq_fold_spend(&l->budget, y->def, l->pc))
    return y;
  if (vq_fold_op(y->def, l->pc, &c)) return NULL;
  vq_replace_op(y->def, c);
  return c;
}

// What operand `i` must be for the part `s` of the result: operands of
// elementwise ops are aligned at their last dimensions, and broadcast.
static vq_span operand_span(const vq_op *op, unsigned i, const vq_span *s) {
  const vq_type *t = vq_in(op, i)->type, *to = op->out->type;
  vq_span x = vq_span_whole(t);
  if (op->code == VQ_OP_attention) {
    unsigned k = i == 0 ? 1 : 2;  // tokens of q, rows of the bias
    if (i == 0 || i == 3) x.lo[k] = s->lo[1], x.size[k] = s->size[1];
  } else if (vq_has_trait(op, VQ_TRAIT_ELTWISE)) {
    unsigned skip = to->rank - t->rank;
    for (unsigned k = 0; k < t->rank; k++)
      if (t->dim[k] != 1) x.lo[k] = s->lo[k + skip], x.size[k] = s->size[k + skip];
  } else if (i == 0) {  // the others are parameters of the last dimension
    for (unsigned k = 0; k + 1 < t->rank; k++)
      x.lo[k] = s->lo[k], x.size[k] = s->size[k];
  } else if (s->size[to->rank - 1] != to->dim[to->rank - 1]) {  // rows of w and b
    x.lo[0] = s->lo[to->rank - 1], x.size[0] = s->size[to->rank - 1];
  }
  return x;
}

static vq_str name_of(const vq_less *l, const vq_op *op) {
  vq_strbuf text = {0};
  if (!l->suffix || !op->out->name.n) return VQ_LIT("");
  vq_strbuf_printf(&text, "%.*s%s", VQ_FMT(op->out->name), l->suffix);
  vq_str name = vq_arena_str(l->pc->temp, vq_strbuf_view(&text));
  vq_strbuf_release(&text);
  return name;
}

// slice of slice: one slice of the same operand.
static vq_value *slice_less(vq_less *l, vq_op *op, const vq_span *s) {
  vq_attrs_slice a = *VQ_ATTRS(op, slice);
  vq_value *x = vq_in(op, 0);
  int64_t begin[VQ_MAX_RANK];
  for (unsigned k = 0; k < x->type->rank; k++)
    begin[k] = a.begin.p[k] + s->lo[k] * vq_span_step(&a, k);
  a.begin.p = begin, a.size.p = s->size;
  return vq_build1(&l->b, VQ_OP_slice, &x, 1, &a, name_of(l, op));
}

vq_value *vq_less_compute(vq_less *l, vq_op *op, const vq_span *s) {
  if (op->code == VQ_OP_slice) return slice_less(l, op, s);
  vq_value **in = VQ_NEW_N(l->pc->temp, vq_value *, op->n_in);
  for (unsigned i = 0; i < op->n_in; i++) {
    vq_span x = operand_span(op, i, s);
    in[i] = vq_less_part(l, vq_in(op, i), &x);
    if (!in[i]) return NULL;
  }
  return vq_build1(&l->b, op->code, in, op->n_in, op->attrs, name_of(l, op));
}

static vq_value *reader_slice(vq_builder *b, const vq_op *reader, vq_value *y,
                              const vq_span *s) {
  vq_attrs_slice a = *VQ_ATTRS(reader, slice);
  int64_t begin[VQ_MAX_RANK];
  if (reader->out->type == y->type) return y;
  for (unsigned k = 0; k < a.begin.n; k++) begin[k] = a.begin.p[k] - s->lo[k];
  a.begin.p = begin;
  return vq_build1(b, VQ_OP_slice, &y, 1, &a, VQ_LIT(""));
}

// Row `row` of `from`, in rows of the part `s` of it; dimensions before `first`
// are no part of the number.
static int64_t row_within(const vq_type *from, const vq_span *s, unsigned first,
                          int64_t row) {
  int64_t at = 0, size = 1;
  for (unsigned k = from->rank - 1; k-- > first; row /= from->dim[k]) {
    at += (row % from->dim[k] - s->lo[k]) * size;
    size *= s->size[k];
  }
  return at;
}

static vq_value *reader_rows(vq_builder *b, vq_pass_ctx *pc, const vq_op *reader,
                             vq_value *y, const vq_span *s) {
  const vq_type *from = vq_in(reader, 0)->type, *to = reader->out->type;
  vq_const *table = vq_const_of(vq_in(reader, 1));
  int64_t n = vq_type_count(table->value.type);
  int32_t *row = VQ_NEW_N(pc->temp, int32_t, (size_t)n);
  bool same = vq_type_count(y->type) == vq_type_count(to);
  for (int64_t i = 0; i < n; i++) {
    row[i] = (int32_t)row_within(from, s, vq_span_first_picked(reader), vq_const_i64(table, i));
    same &= row[i] == i;
  }
  if (same) return vq_build_reshape(b, y, to->rank, to->dim, VQ_LIT(""));
  vq_module *m = b->func->module;
  vq_value *in[] = {y, &vq_const_new_copy(m, VQ_LIT("rows"), table->value.type, row)->value};
  return vq_build1(b, VQ_OP_gather_rows, in, 2, reader->attrs, VQ_LIT(""));
}

vq_status vq_less_redirect(vq_less *l, vq_op *op, vq_value *y, const vq_span *s,
                           vq_less_reader *takes, const void *user) {
  for (vq_use *u = op->out->uses, *next; u; u = next) {
    vq_op *reader = u->user;
    next = u->next;
    if (!takes(user, reader, s)) continue;
    vq_builder b = {op->func, reader, reader->loc, l->pc->diag};
    vq_value *v = reader->code == VQ_OP_slice ? reader_slice(&b, reader, y, s)
                                              : reader_rows(&b, l->pc, reader, y, s);
    if (!v) return VQ_ERR;
    vq_replace_op(reader, v);
  }
  return VQ_OK;
}

