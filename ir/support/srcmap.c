// Source locations: interned, so that a vq_loc is one small number.
#include "support/ctx.h"

// What makes two locations the same. Paths and names are interned already.
typedef struct loc_key {
  const char *path, *name;
  uint64_t kind, a, b;
} loc_key;

static vq_loc intern_loc(vq_ctx *ctx, vq_loc_info info) {
  info.path = vq_intern(ctx, info.path);
  info.name = vq_intern(ctx, info.name);
  loc_key key = {info.path.p, info.name.p, info.kind, info.a, info.b};
  uintptr_t id = (uintptr_t)vq_map_get(
      &ctx->locs, (vq_str){(const char *)&key, sizeof key});
  if (!id) {
    vq_vec_push(&ctx->loc, info);
    id = ctx->loc.n;
    const char *kept =
        vq_arena_copy(&ctx->arena, &key, sizeof key, _Alignof(loc_key));
    *vq_map_put(&ctx->locs, (vq_str){kept, sizeof key}) = (void *)id;
  }
  ctx->loc.p[id - 1].line = info.line;  // the older text may be gone
  return (vq_loc){(uint32_t)id};
}

vq_loc vq_loc_text(vq_ctx *ctx, vq_str path, uint32_t line, uint32_t col,
                   vq_str source_line_or_empty) {
  return intern_loc(ctx, (vq_loc_info){.kind = VQ_LOC_TEXT,
                                       .path = path,
                                       .a = line,
                                       .b = col,
                                       .line = source_line_or_empty});
}

vq_loc vq_loc_onnx(vq_ctx *ctx, vq_str path, uint64_t node, vq_str name) {
  return intern_loc(ctx, (vq_loc_info){.kind = VQ_LOC_ONNX,
                                       .path = path,
                                       .name = name,
                                       .a = node});
}

vq_loc vq_loc_byte(vq_ctx *ctx, vq_str path, uint64_t offset) {
  return intern_loc(
      ctx, (vq_loc_info){.kind = VQ_LOC_BYTE, .path = path, .a = offset});
}

vq_loc vq_loc_path(vq_ctx *ctx, vq_str path) {
  return intern_loc(ctx, (vq_loc_info){.kind = VQ_LOC_PATH, .path = path});
}

vq_loc_info vq_loc_decode(const vq_ctx *ctx, vq_loc loc) {
  if (loc.id == 0 || loc.id > ctx->loc.n)
    return (vq_loc_info){.kind = VQ_LOC_NONE};
  return ctx->loc.p[loc.id - 1];
}
