// Modules: constants, facts, owned memory.
#include <stdlib.h>
#include <sys/mman.h>

#include "core/core.h"
#include "vq/build.h"
#include "vq/eval.h"
#include "vq/rng.h"

struct vq_mapping {
  void *base;
  size_t size;
  bool mapped;
  struct vq_mapping *next;
};

vq_module *vq_module_create(vq_ctx *ctx, vq_str name) {
  vq_module *m = calloc(1, sizeof *m);
  if (!m) vq_oom(sizeof *m);
  m->ctx = ctx;
  m->name = vq_arena_str(&m->arena, name);
  return m;
}

void vq_module_destroy(vq_module *m) {
  if (!m) return;
  for (struct vq_mapping *p = m->mappings; p; p = p->next) {
    if (p->mapped)
      munmap(p->base, p->size);
    else
      free(p->base);
  }
  vq_each_func(m, f) vq_map_release(&f->names);
  vq_map_release(&m->func_names);
  vq_map_release(&m->const_names);
  vq_map_release(&m->quants);
  vq_arena_release(&m->arena);
  free(m);
}

void vq_module_own(vq_module *m, void *base, size_t size, bool mapped) {
  struct vq_mapping *p = VQ_NEW(&m->arena, struct vq_mapping);
  *p = (struct vq_mapping){base, size, mapped, m->mappings};
  m->mappings = p;
}

vq_func *vq_module_func(const vq_module *m, vq_str name) {
  return vq_name_owner(&m->func_names, name);
}

vq_const *vq_module_const(const vq_module *m, vq_str name) {
  return vq_name_owner(&m->const_names, name);
}

vq_str vq_meta_get(const vq_module *m, const char *key) {
  for (vq_meta *e = m->meta; e; e = e->next)
    if (vq_str_is(e->key, key)) return e->value;
  return VQ_LIT("");
}

void vq_meta_set(vq_module *m, const char *key, vq_str value) {
  vq_meta **at = &m->meta;
  while (*at && !vq_str_is((*at)->key, key)) at = &(*at)->next;
  if (!*at) {
    *at = VQ_NEW(&m->arena, vq_meta);
    (*at)->key = vq_arena_str(&m->arena, vq_str_of(key));
  }
  (*at)->value = vq_arena_str(&m->arena, value);
}

// ---- constants -----------------------------------------------------------------

static vq_const *const_new(vq_module *m, vq_str name, const vq_type *type,
                           vq_init init) {
  vq_const *c = VQ_NEW(&m->arena, vq_const);
  if (!name.n) name = VQ_LIT("c");
  c->value.type = type;
  c->value.kind = VQ_VALUE_CONST;
  c->value.name = vq_name_claim(&m->arena, &m->const_names, name, c);
  c->init = init;
  c->module = m;
  c->prev = m->last_const;
  *(c->prev ? &c->prev->next : &m->first_const) = c;
  m->last_const = c;
  return c;
}

vq_const *vq_const_new(vq_module *m, vq_str name, const vq_type *type,
                       const void *bytes) {
  vq_const *c =
      const_new(m, name, type, bytes ? VQ_INIT_BYTES : VQ_INIT_MISSING);
  c->bytes = bytes;
  return c;
}

void vq_set_const_quant(vq_const *c, const vq_quant *q) {
  assert(!c->value.uses);
  c->value.type = vq_type_with(c->module->ctx, c->value.type, q);
}

vq_const *vq_const_new_copy(vq_module *m, vq_str name, const vq_type *type,
                            const void *bytes) {
  size_t n = (size_t)vq_type_bytes(type);
  return vq_const_new(m, name, type, vq_arena_copy(&m->arena, bytes, n, 64));
}

vq_const *vq_const_fill(vq_module *m, vq_str name, const vq_type *type,
                        double value) {
  vq_const *c = const_new(m, name, type, VQ_INIT_FILL);
  c->fill = value;
  return c;
}

vq_const *vq_const_random(vq_module *m, vq_str name, const vq_type *type,
                          uint64_t seed, float std) {
  vq_const *c = const_new(m, name, type, VQ_INIT_RANDOM);
  c->seed = seed;
  c->std = std;
  return c;
}

vq_const *vq_const_scalar_f32(vq_module *m, vq_str name, float v) {
  return vq_const_new_copy(m, name,
                           vq_type_tensor(m->ctx, VQ_f32, 0, NULL, NULL), &v);
}

vq_const *vq_const_vec_i64(vq_module *m, vq_str name, unsigned n,
                           const int64_t *v) {
  int64_t dim = n;
  return vq_const_new_copy(m, name,
                           vq_type_tensor(m->ctx, VQ_i64, 1, &dim, NULL), v);
}

const void *vq_const_bytes(vq_const *c) {
  if (c->bytes || c->init == VQ_INIT_MISSING) return c->bytes;
  const vq_type *t = c->value.type;
  void *bytes =
      vq_arena_alloc(&c->module->arena, (size_t)vq_type_bytes(t), 64);
  vq_rng rng = {c->seed};
  for (int64_t i = 0, n = vq_type_count(t); i < n; i++) {
    double v = c->init == VQ_INIT_FILL ? c->fill
                                       : (double)c->std * vq_rng_normal(&rng);
    vq_store_f64(t->dtype, bytes, i, v);
  }
  c->bytes = bytes;
  return bytes;
}

double vq_const_f64(vq_const *c, int64_t i) {
  const void *bytes = vq_const_bytes(c);
  return bytes ? vq_load_f64(c->value.type->dtype, bytes, i) : NAN;
}

int64_t vq_const_i64(vq_const *c, int64_t i) {
  const void *bytes = vq_const_bytes(c);
  return bytes ? vq_load_i64(c->value.type->dtype, bytes, i) : 0;
}
