// Gradients of ops that move elements.
//
// What is read through a table of constant indices gets its gradient through the
// inverse table: row i of the operand sums up the rows of the result that read it.
// Where each row is read at most once that is one gather_rows; where up to r read
// it, the table has r entries a row, and a sum over them follows.
#include "calib/grad_rule.h"

RULE(reshape) {
  ADD(0, RESHAPE(DY, A->type->rank, A->type->dim));
  return VQ_OK;
}

RULE(transpose) {
  vq_ints perm = VQ_ATTRS(op, transpose)->perm;
  int64_t back[VQ_MAX_RANK];
  for (unsigned k = 0; k < perm.n; k++) back[perm.p[k]] = k;
  ADD(0, TRANSPOSE(DY, back));
  return VQ_OK;
}

RULE(expand) {
  ADD(0, DY);  // summed up to the shape of the operand
  return VQ_OK;
}

RULE(concat) {
  int64_t axis = VQ_ATTRS(op, concat)->axis, begin[VQ_MAX_RANK] = {0};
  for (unsigned i = 0; i < op->n_in; i++) {
    const vq_type *t = vq_in(op, i)->type;
    ADD(i, SLICE(DY, begin, t->dim));
    begin[axis] += t->dim[axis];
  }
  return VQ_OK;
}

RULE(pad) {
  ADD(0, SLICE(DY, VQ_ATTRS(op, pad)->lo.p, A->type->dim));
  return VQ_OK;
}

// ---- tables ----------------------------------------------------------------------

// Rows of the result: `n` for each of `groups` groups of `m` operand rows; row i of
// a group was read from row from[i], or from nowhere if that is -1.
typedef struct table {
  int64_t groups, n, m, cols;
  const int64_t *from;
} table;

static int64_t most_readers(const table *t, int64_t *count) {
  int64_t most = 1;
  for (int64_t i = 0; i < t->n; i++) {
    if (t->from[i] < 0) continue;
    if (++count[t->from[i]] > most) most = count[t->from[i]];
  }
  return most;
}

// For each operand row its `most` readers, -1 where there are fewer.
static vq_value *inverse(vq_grad *g, const table *t, int64_t most, bool *holes) {
  int64_t n = t->m * most;
  int32_t *to = VQ_NEW_N(g->pc->temp, int32_t, (size_t)n);
  int64_t *at = VQ_NEW_N(g->pc->temp, int64_t, (size_t)t->m);
  for (int64_t i = 0; i < n; i++) to[i] = -1;
  for (int64_t i = 0; i < t->n; i++) {
    int64_t row = t->from[i];
    if (row >= 0) to[row * most + at[row]++] = (int32_t)i;
  }
  *holes = false;
  for (int64_t i = 0; i < n; i++) *holes |= to[i] < 0;
  const vq_type *type = vq_type_tensor(g->m->ctx, VQ_i32, 1, &n, NULL);
  return &vq_const_new_copy(g->m, VQ_LIT("readers"), type, to)->value;
}

// The gradient of the operand in rows, [groups * m, cols].
static vq_value *scatter(vq_grad *g, const table *t, vq_value *d) {
  int64_t *count = VQ_NEW_N(g->pc->temp, int64_t, (size_t)t->m);
  int64_t most = most_readers(t, count);
  vq_attrs_gather_rows a = {.groups = t->groups};
  vq_value *in[] = {
      RESHAPE(d, 2, (int64_t[]){t->groups * t->n, t->cols}),
      inverse(g, t, most, &a.pad)};
  vq_value *rows = vq_build1(&g->b, VQ_OP_gather_rows, in, 2, &a, VQ_LIT(""));
  if (most == 1) return rows;
  int64_t dim[] = {t->groups * t->m, most, t->cols};
  return SUM(RESHAPE(rows, 3, dim), 1u << 1, false);
}

// Reads a constant of indices below `m`, -1 too if `holes`.
static vq_status read_table(vq_grad *g, const vq_op *op, bool holes, table *t) {
  vq_const *c = vq_const_of(B);
  if (!c || c->init == VQ_INIT_MISSING)
    return vq_grad_refuse(g, op, "the rows that it reads are not constant");
  int64_t *from = VQ_NEW_N(g->pc->temp, int64_t, (size_t)t->n);
  for (int64_t i = 0; i < t->n; i++) {
    from[i] = vq_const_i64(c, i);
    if (from[i] >= t->m || from[i] < (holes ? -1 : 0) || t->n > INT32_MAX)
      return vq_grad_refuse(g, op, "it reads outside of its operand");
  }
  t->from = from;
  return VQ_OK;
}

// Dimensions before, at and after `axis`.
static table rows_along(const vq_type *x, unsigned axis, int64_t n) {
  table t = {.groups = 1, .n = n, .m = x->dim[axis], .cols = 1};
  for (unsigned k = 0; k < axis; k++) t.groups *= x->dim[k];
  for (unsigned k = axis + 1; k < x->rank; k++) t.cols *= x->dim[k];
  return t;
}

RULE(gather) {
  if (!vq_grad_wants(g, op, 0)) return VQ_OK;
  table t = rows_along(A->type, (unsigned)VQ_ATTRS(op, gather)->axis,
                       vq_type_count(B->type));
  if (read_table(g, op, false, &t)) return VQ_ERR;
  ADD(0, RESHAPE(scatter(g, &t, DY), A->type->rank, A->type->dim));
  return VQ_OK;
}

RULE(gather_rows) {
  if (!vq_grad_wants(g, op, 0)) return VQ_OK;
  const vq_attrs_gather_rows *a = VQ_ATTRS(op, gather_rows);
  table t = {.groups = a->groups, .n = B->type->dim[0], .m = 1,
             .cols = A->type->dim[A->type->rank - 1]};
  for (unsigned k = 0; k + 1 < A->type->rank; k++) t.m *= A->type->dim[k];
  t.m /= a->groups;
  if (read_table(g, op, a->pad, &t)) return VQ_ERR;
  ADD(0, RESHAPE(scatter(g, &t, DY), A->type->rank, A->type->dim));
  return VQ_OK;
}

// ---- slice -------------------------------------------------------------------------

// `d` with the elements of dimension `axis` where a slice took them from.
static vq_value *spread(vq_grad *g, vq_value *d, unsigned axis, int64_t dim,
                        int64_t begin, int64_t step) {
  if (!d) return NULL;
  vq_type x = *d->type;
  int64_t n = x.dim[axis];
  x.dim[axis] = dim;
  int64_t *from = VQ_NEW_N(g->pc->temp, int64_t, (size_t)n);
  for (int64_t i = 0; i < n; i++) from[i] = begin + i * step;
  table t = rows_along(&x, axis, n);
  t.from = from;
  return RESHAPE(scatter(g, &t, d), x.rank, x.dim);
}

RULE(slice) {
  if (!vq_grad_wants(g, op, 0)) return VQ_OK;
  const vq_attrs_slice *a = VQ_ATTRS(op, slice);
  const vq_type *x = A->type;
  int64_t begin[VQ_MAX_RANK];
  vq_value *d = DY;
  for (unsigned k = 0; k < x->rank; k++) {
    begin[k] = a->begin.p[k];
    if (!a->step.n || a->step.p[k] == 1) continue;
    d = spread(g, d, k, x->dim[k], begin[k], a->step.p[k]);
    begin[k] = 0;
  }
  return vq_grad_add_part(g, op, 0, d, begin);
}
