// Building, replacing and deriving constants for the rules of recompose.
#include "canon/rewriter.h"

vq_value *vq_rw_build(vq_rw *rw, vq_opcode code, vq_value *const *in,
                      unsigned n_in, const void *attrs) {
  return vq_build1(&rw->b, code, in, n_in, attrs, VQ_LIT(""));
}

vq_value *vq_rw_fold(vq_rw *rw, vq_opcode code, vq_value *const *in,
                     unsigned n_in, const void *attrs) {
  vq_op *op = vq_build(&rw->b, code, in, n_in, attrs, in[0]->name);
  vq_value *v = NULL;
  if (!op) return NULL;
  bool failed = vq_fold_spend(&rw->budget, op, rw->pc) &&
                vq_fold_op(op, rw->pc, &v) != VQ_OK;
  vq_erase_op(op);
  return failed ? NULL : v;
}

vq_value *vq_rw_reshape(vq_rw *rw, vq_value *x, unsigned rank,
                        const int64_t *dim) {
  if (x && x->type->rank == rank &&
      memcmp(x->type->dim, dim, rank * sizeof *dim) == 0)
    return x;
  return vq_build_reshape(&rw->b, x, rank, dim, VQ_LIT(""));
}

// Erases `op` and then every op above it that is dead without it. An erased op
// marks itself through its scratch slot: it may be reached a second time.
static void erase_dead(vq_op *op) {
  enum { MAX = 8 };
  vq_op *def[MAX];
  unsigned n = 0;
  for (unsigned i = 0; i < op->n_in && n < MAX; i++)
    if (vq_in(op, i)->kind == VQ_VALUE_RESULT) def[n++] = vq_in(op, i)->def;
  vq_erase_op(op);
  op->scratch = op;
  for (unsigned i = 0; i < n; i++)
    if (!def[i]->scratch && vq_has_trait(def[i], VQ_TRAIT_PURE) &&
        !def[i]->out[0].uses)
      erase_dead(def[i]);
}

bool vq_rw_replace(vq_rw *rw, vq_op *op, vq_value *v, const char *stat) {
  if (!v) return false;
  if (v->type != op->out[0].type) {  // codes that lose on the way what they mean
    if (v->kind == VQ_VALUE_RESULT && !v->uses) erase_dead(v->def);
    return false;
  }
  vq_func *f = op->func;
  vq_str name = op->out[0].name;
  vq_replace_all_uses(&op->out[0], v);
  erase_dead(op);
  if (v->kind == VQ_VALUE_RESULT && !v->name.n) vq_rename_value(f, v, name);
  rw->n_changed++;
  if (stat) vq_stat(rw->pc, stat, 1);
  return true;
}

void vq_rw_charge(vq_rw *rw, int64_t n_element) {
  uint64_t n = (uint64_t)n_element, *left = &rw->budget.left;
  *left -= n < *left ? n : *left;
}

vq_value *vq_rw_recast(vq_rw *rw, vq_value *c, unsigned rank,
                       const int64_t *dim) {
  vq_const *k = vq_const_of(c);
  const vq_type *t =
      vq_type_tensor(rw->module->ctx, c->type->dtype, rank, dim, NULL);
  if (t == c->type) return c;
  if (k->init == VQ_INIT_FILL)
    return &vq_const_fill(rw->module, c->name, t, k->fill)->value;
  const void *bytes = vq_const_bytes(k);
  return bytes ? &vq_const_new(rw->module, c->name, t, bytes)->value : NULL;
}

vq_value *vq_rw_row(vq_rw *rw, vq_value *c, int64_t n) {
  if (vq_type_count(c->type) == n) return vq_rw_recast(rw, c, 1, &n);
  const vq_type *t = vq_type_tensor(rw->module->ctx, VQ_f32, 1, &n, NULL);
  return &vq_const_fill(rw->module, c->name, t, vq_const_f64(vq_const_of(c), 0))
              ->value;
}

vq_value *vq_rw_const(vq_rw *rw, vq_value *like, unsigned rank,
                      const int64_t *dim, const float *data) {
  const vq_type *t = vq_type_tensor(rw->module->ctx, VQ_f32, rank, dim, NULL);
  vq_rw_charge(rw, vq_type_count(t));
  return &vq_const_new_copy(rw->module, like->name, t, data)->value;
}

float *vq_rw_floats(vq_rw *rw, vq_value *c) {
  size_t bytes = (size_t)vq_type_bytes(c->type);
  vq_rw_charge(rw, vq_type_count(c->type));
  const void *from = vq_const_bytes(vq_const_of(c));
  return from ? vq_arena_copy(rw->pc->temp, from, bytes, _Alignof(float))
              : NULL;
}
