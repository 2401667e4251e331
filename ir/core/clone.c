// Copies of ops and of whole modules.
#include "core/core.h"
#include "vq/rewrite.h"

static void map_put(vq_map *map, vq_arena *arena, const vq_value *from,
                    vq_value *to) {
  const void *key = vq_arena_copy(arena, &from, sizeof from, _Alignof(void *));
  *vq_map_put(map, (vq_str){key, sizeof from}) = to;
}

vq_op *vq_clone_op(vq_builder *b, const vq_op *op, vq_map *map) {
  vq_arena *arena = &b->func->module->arena;
  vq_value *few_in[8], **in = few_in;
  const vq_type *few_out[8], **out = few_out;
  if (op->n_in > VQ_COUNT(few_in)) in = VQ_NEW_N(arena, vq_value *, op->n_in);
  if (op->n_out > VQ_COUNT(few_out))
    out = VQ_NEW_N(arena, const vq_type *, op->n_out);
  for (unsigned i = 0; i < op->n_in; i++) {
    vq_value *v = vq_map_get(map, VQ_MAP_PTR_KEY(op->in[i].val));
    in[i] = v ? v : op->in[i].val;
  }
  for (unsigned i = 0; i < op->n_out; i++) out[i] = op->out[i].type;
  vq_op *copy = vq_op_new(b->func, b->before, op->loc, op->code, in, op->n_in,
                          op->attrs, out, op->n_out);
  for (unsigned i = 0; i < op->n_out; i++) {
    vq_rename_value(b->func, &copy->out[i], op->out[i].name);
    map_put(map, arena, &op->out[i], &copy->out[i]);
  }
  return copy;
}

static void clone_const(vq_module *to, const vq_const *c, vq_map *map) {
  vq_const *copy = vq_const_new(to, c->value.name, c->value.type, NULL);
  copy->init = c->init;
  copy->fill = c->fill;
  copy->seed = c->seed;
  copy->std = c->std;
  copy->sha256 = c->sha256;
  // Made-up bytes live in the old arena and can be made again.
  copy->bytes = c->init == VQ_INIT_BYTES ? c->bytes : NULL;
  map_put(map, &to->arena, &c->value, &copy->value);
}

static void clone_func(vq_module *to, const vq_func *f, vq_map *map) {
  vq_arena *a = &to->arena;
  const vq_type **type = VQ_NEW_N(a, const vq_type *, f->n_arg);
  vq_str *name = VQ_NEW_N(a, vq_str, f->n_arg);
  for (unsigned i = 0; i < f->n_arg; i++) {
    type[i] = f->arg[i].type;
    name[i] = f->arg[i].name;
  }
  vq_func *copy = vq_func_create(to, f->kind, f->name, f->n_arg, type, name);
  copy->hash = f->hash;
  for (unsigned i = 0; i < f->n_arg; i++)
    map_put(map, a, &f->arg[i], &copy->arg[i]);
  vq_builder b = {.func = copy};
  vq_each_op(f, op) vq_clone_op(&b, op, map);
  copy->n_result = f->n_result;
  copy->result = VQ_NEW_N(a, const vq_type *, f->n_result);
  copy->result_name = VQ_NEW_N(a, vq_str, f->n_result);
  for (unsigned i = 0; i < f->n_result; i++) {
    copy->result[i] = f->result[i];
    copy->result_name[i] = vq_arena_str(a, f->result_name[i]);
  }
}

vq_module *vq_module_clone(const vq_module *m) {
  vq_module *to = vq_module_create(m->ctx, m->name);
  vq_map map = {0};
  vq_each_const(m, c) clone_const(to, c, &map);
  vq_each_func(m, f) clone_func(to, f, &map);
  vq_meta **tail = &to->meta;
  for (const vq_meta *e = m->meta; e; e = e->next) {
    *tail = VQ_NEW(&to->arena, vq_meta);
    (*tail)->key = vq_arena_str(&to->arena, e->key);
    (*tail)->value = vq_arena_str(&to->arena, e->value);
    tail = &(*tail)->next;
  }
  for (uint32_t i = 0; i < m->quants.n; i++) {
    const vq_quant *q = m->quants.entry[i].value;
    *vq_map_put(&to->quants, q->name) = (void *)q;
  }
  to->props = m->props;
  to->arena_size = m->arena_size;
  vq_map_release(&map);
  return to;
}
