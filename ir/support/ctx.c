// The context: owner of everything that is interned.
#include "support/ctx.h"

#include <stdlib.h>

vq_ctx *vq_ctx_create(void) {
  vq_ctx *ctx = calloc(1, sizeof *ctx);
  if (!ctx) vq_oom(sizeof *ctx);
  return ctx;
}

void vq_ctx_destroy(vq_ctx *ctx) {
  if (!ctx) return;
  if (ctx->attached) ctx->destroy_attached(ctx->attached);
  vq_map_release(&ctx->strings);
  vq_map_release(&ctx->types);
  vq_map_release(&ctx->quants);
  vq_map_release(&ctx->locs);
  vq_vec_release(&ctx->loc);
  vq_arena_release(&ctx->arena);
  free(ctx);
}

vq_arena *vq_ctx_arena(vq_ctx *ctx) { return &ctx->arena; }

void vq_ctx_attach(vq_ctx *ctx, void *thing, void (*destroy)(void *thing)) {
  ctx->attached = thing;
  ctx->destroy_attached = destroy;
}

void *vq_ctx_attached(const vq_ctx *ctx) { return ctx->attached; }

vq_str vq_intern(vq_ctx *ctx, vq_str s) {
  const char *found = vq_map_get(&ctx->strings, s);
  if (found) return (vq_str){found, s.n};
  vq_str copy = vq_arena_str(&ctx->arena, s);
  *vq_map_put(&ctx->strings, copy) = (void *)copy.p;
  return copy;
}
