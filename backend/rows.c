// Rows through a table. See rows.h.
#include "rows.h"

#include "chain.h"
#include "elt.h"
#include "loop.h"

static bool moves_rows(const vq_op *op) {
  return op->code == VQ_OP_gather_rows || op->code == VQ_OP_reshape;
}

const vq_op *vq_rows_anchor(const vq_func *kernel) {
  const vq_op *op = kernel->first;
  while (moves_rows(op)) op = op->next;
  return op;
}

bool vq_rows_match(const vq_func *kernel, const vq_value *v, vq_rows *r) {
  unsigned before = 0, seen = 0;
  for (const vq_op *op = kernel->first; moves_rows(op); op = op->next) before++;
  if (v->type->rank == 0 || vq_dtype_bits(v->type->dtype) < 8) return false;
  *r = (vq_rows){.cols = v->type->dim[v->type->rank - 1], .pieces = 1};
  r->piece = r->cols;
  for (; v->kind == VQ_VALUE_RESULT && moves_rows(v->def); v = vq_in(v->def, 0)) {
    const vq_op *op = v->def;
    seen++;
    if (op->code == VQ_OP_reshape) continue;
    if (r->table || vq_in(op, 1)->kind != VQ_VALUE_ARG) return false;
    const vq_attrs_gather_rows *a = VQ_ATTRS(op, gather_rows);
    r->table = vq_in(op, 1);
    r->n = r->table->type->dim[0];
    r->piece = op->out->type->dim[1];
    r->pad = a->pad, r->value = a->value;
    if (r->n == 0 || r->piece == 0 || r->cols % r->piece) return false;
    r->m = vq_type_count(vq_in(op, 0)->type) / r->piece / a->groups;
    r->pieces = r->cols / r->piece;
  }
  r->x = v;
  return v->kind == VQ_VALUE_ARG && seen == before && r->cols > 0 &&
         (!r->table || r->m > 0);
}

bool vq_rows_in_place(const vq_rows *r) {
  return !r->table || (r->pieces == 1 && !r->pad);
}

static LLVMValueRef row_at(const vq_emit *e, const vq_rows *r,
                           LLVMValueRef row) {
  LLVMTypeRef elem = vq_elt_storage(e, r->x->type->dtype);
  return vq_at(e, elem, vq_arg_ptr(e, r->x), vq_mulk(e, row, r->piece));
}

// Entry `i` of the table over all groups; *from is the row of x, which lies
// inside x whatever the entry is.
static LLVMValueRef entry(const vq_emit *e, const vq_rows *r, LLVMValueRef i,
                          LLVMValueRef *from) {
  LLVMValueRef last = vq_k64(e, r->m - 1);
  bool one = vq_type_count(r->x->type) / r->piece == r->m;
  LLVMValueRef at = one ? i : vq_modk(e, i, r->n);
  LLVMValueRef t = vq_elt_load(e, VQ_i32, vq_arg_ptr(e, r->table), at, 1, 1);
  t = LLVMBuildSExt(e->b, t, e->i64, "");
  LLVMValueRef bad = LLVMBuildICmp(e->b, LLVMIntUGT, t, last, "");
  *from = LLVMBuildSelect(e->b, bad, last, t, "");
  if (!one) *from = vq_add(e, *from, vq_mulk(e, vq_divk(e, i, r->n), r->m));
  return t;
}

LLVMValueRef vq_rows_at(const vq_emit *e, const vq_rows *r, LLVMValueRef row) {
  assert(vq_rows_in_place(r));
  if (!r->table) return row_at(e, r, row);
  LLVMValueRef from;
  entry(e, r, row, &from);
  return row_at(e, r, from);
}

static void fill_run(const vq_emit *e, const vq_rows *r, LLVMValueRef to) {
  vq_dtype t = r->x->type->dtype;
  vq_loop l;
  vq_loop_range(e, &l, r->piece, 1);
  vq_elt_store(e, t, vq_elt_const(e, t, r->value), to, l.i, 1);
  vq_loop_end(e, &l);
}

static void copy_piece(const vq_emit *e, const vq_rows *r, LLVMValueRef i,
                       LLVMValueRef to, unsigned lanes) {
  LLVMTypeRef elem = vq_elt_storage(e, r->x->type->dtype);
  LLVMValueRef from = i;
  vq_if f;
  if (r->table) {
    LLVMValueRef t = entry(e, r, i, &from);
    if (r->pad) {
      vq_if_begin(e, &f, LLVMBuildICmp(e->b, LLVMIntSLT, t, vq_k64(e, 0), ""));
      fill_run(e, r, to);
      vq_if_else(e, &f);
    }
  }
  vq_copy_run(e, elem, to, row_at(e, r, from), r->piece, lanes);
  if (r->pad) vq_if_end(e, &f);
}

void vq_rows_copy(const vq_emit *e, const vq_rows *r, LLVMValueRef row,
                  LLVMValueRef to, unsigned lanes) {
  if (r->pieces == 1) {
    copy_piece(e, r, row, to, lanes);
    return;
  }
  LLVMTypeRef elem = vq_elt_storage(e, r->x->type->dtype);
  vq_loop l;
  vq_loop_range(e, &l, r->pieces, 1);
  copy_piece(e, r, vq_add(e, vq_mulk(e, row, r->pieces), l.i),
             vq_at(e, elem, to, vq_mulk(e, l.i, r->piece)), lanes);
  vq_loop_end(e, &l);
}
