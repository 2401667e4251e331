// Graphs of f32 evaluated in binary64, by the interpreter's own functions: what
// central differences need.
#ifndef VQ_TEST_WIDE_H
#define VQ_TEST_WIDE_H

#include <check.h>
#include <stdlib.h>

#include "vq/eval.h"

static inline const vq_type *widened(const vq_type *t, vq_ctx *types) {
  return t->dtype == VQ_f32 ? vq_type_tensor(types, VQ_f64, t->rank, t->dim, NULL) : t;
}

static inline vq_tensor wide_new(const vq_type *t, vq_ctx *types, vq_arena *a) {
  t = widened(t, types);
  return (vq_tensor){t, vq_arena_alloc(a, (size_t)vq_type_bytes(t), 64)};
}

static inline vq_tensor wide_const(vq_const *c, vq_ctx *types, vq_arena *a) {
  vq_tensor t = wide_new(c->value.type, types, a);
  int64_t n = vq_type_count(t.type);
  for (int64_t i = 0; i < n; i++)
    if (t.type->dtype == VQ_f64)
      vq_store_f64(VQ_f64, t.data, i, vq_const_f64(c, i));
    else
      vq_store_i64(t.type->dtype, t.data, i, vq_const_i64(c, i));
  return t;
}

// Evaluates `f`, which calls nothing, on arguments with f64 for f32. out: one
// tensor for each result, valid until `a` is reset.
static inline void wide_eval(const vq_func *f, const vq_tensor *in, vq_tensor *out,
                             vq_diag *report, vq_arena *a) {
  vq_ctx *types = f->module->ctx;
  vq_map map = {0};
  for (unsigned i = 0; i < f->n_arg; i++) {
    const vq_value **key = VQ_NEW(a, const vq_value *);
    *key = &f->arg[i];
    *vq_map_put(&map, VQ_MAP_PTR_KEY(*key)) = (void *)&in[i];
  }
  vq_each_op(f, op) {
    vq_tensor *t = VQ_NEW_N(a, vq_tensor, op->n_in + 1);
    for (unsigned i = 0; i < op->n_in; i++) {
      vq_value *v = vq_in(op, i);
      vq_const *c = vq_const_of(v);
      t[i] = c ? wide_const(c, types, a) : *(vq_tensor *)vq_map_get(&map, VQ_MAP_PTR_KEY(v));
    }
    if (op->code == VQ_OP_return) {
      for (unsigned i = 0; i < op->n_in; i++) out[i] = t[i];
      break;
    }
    ck_assert_uint_eq(op->n_out, 1);
    vq_tensor *y = t + op->n_in;
    *y = wide_new(op->out->type, types, a);
    ck_assert_int_eq(vq_eval_op(op, t, y, report), VQ_OK);
    const vq_value **key = VQ_NEW(a, const vq_value *);
    *key = op->out;
    *vq_map_put(&map, VQ_MAP_PTR_KEY(*key)) = y;
  }
  vq_map_release(&map);
}

#endif
