// Quant entries: interned in the context, named in a module.
#include <stdio.h>

#include "support/ctx.h"
#include "vq/ir.h"
#include "vq/strbuf.h"

bool vq_quant_equal(const vq_quant *a, const vq_quant *b) {
  if (a == b) return true;
  return a && b && a->store == b->store && a->lo == b->lo && a->hi == b->hi &&
         a->axis == b->axis && a->n == b->n &&
         memcmp(a->scale, b->scale, a->n * sizeof *a->scale) == 0 &&
         memcmp(a->zero, b->zero, a->n * sizeof *a->zero) == 0;
}

int vq_quant_axis(const vq_quant *q, unsigned rank) {
  if (q->axis == VQ_AXIS_LAST) return rank ? (int)rank - 1 : VQ_MAX_RANK;
  return q->axis < (int)rank ? q->axis : VQ_MAX_RANK;
}

// All there is to an entry, as bytes.
static void add_key(vq_strbuf *key, const vq_quant *q) {
  const int64_t head[] = {(int64_t)q->name.n, (int64_t)q->of.n, q->store, q->lo,
                          q->hi, q->axis, q->n};
  vq_strbuf_add(key, (const char *)head, sizeof head);
  vq_strbuf_add(key, q->name.p, q->name.n);
  vq_strbuf_add(key, q->of.p, q->of.n);
  vq_strbuf_add(key, (const char *)q->scale, q->n * sizeof *q->scale);
  vq_strbuf_add(key, (const char *)q->zero, q->n * sizeof *q->zero);
}

const vq_quant *vq_quant_intern(vq_ctx *ctx, const vq_quant *proto) {
  vq_strbuf key = {0};
  add_key(&key, proto);
  const vq_quant *known = vq_map_get(&ctx->quants, vq_strbuf_view(&key));
  if (!known) {
    vq_arena *a = &ctx->arena;
    vq_quant *q = VQ_NEW(a, vq_quant);
    *q = *proto;
    q->name = vq_intern(ctx, proto->name);
    q->of = vq_intern(ctx, proto->of);
    q->scale = vq_arena_copy(a, proto->scale, proto->n * sizeof *q->scale, _Alignof(float));
    q->zero = vq_arena_copy(a, proto->zero, proto->n * sizeof *q->zero, _Alignof(int32_t));
    *vq_map_put(&ctx->quants, vq_arena_str(a, vq_strbuf_view(&key))) = q;
    known = q;
  }
  vq_strbuf_release(&key);
  return known;
}

// ---- of a module ------------------------------------------------------------

const vq_quant *vq_module_quant(const vq_module *m, vq_str name) {
  return vq_map_get(&m->quants, name);
}

const vq_quant *vq_module_define_quant(vq_module *m, const vq_quant *proto) {
  if (vq_map_find(&m->quants, proto->name)) return NULL;
  const vq_quant *q = vq_quant_intern(m->ctx, proto);
  *vq_map_put(&m->quants, q->name) = (void *)q;
  return q;
}

const vq_quant *vq_module_quant_like(vq_module *m, const vq_quant *proto) {
  for (uint32_t i = 0; i < m->quants.n; i++) {
    const vq_quant *known = m->quants.entry[i].value;
    if (vq_quant_equal(known, proto)) return known;
  }
  vq_quant q = *proto;
  vq_strbuf name = {0};
  for (unsigned i = 1; vq_map_find(&m->quants, q.name); i++) {
    vq_strbuf_clear(&name);
    vq_strbuf_printf(&name, "%.*s.%u", VQ_FMT(proto->name), i);
    q.name = vq_strbuf_view(&name);
  }
  const vq_quant *made = vq_module_define_quant(m, &q);
  vq_strbuf_release(&name);
  return made;
}
