// Bump allocation: objects live until the whole arena is reset or released.
#ifndef VQ_ARENA_H
#define VQ_ARENA_H

#include "vq/base.h"

// Thread-compatible: one thread at a time. Zero-initialise to start.
struct vq_arena {
  struct vq_arena_chunk *chunk;  // newest first
  size_t used;                   // bytes used in the newest chunk
  size_t total;                  // bytes handed out since the last reset
};

// Returns `size` zeroed bytes aligned to `align` (a power of two, at most 64).
// Never NULL. `size` 0 gives a valid unique pointer.
void *vq_arena_alloc(vq_arena *a, size_t size, size_t align);

// Copies `n` bytes of `p` plus a terminating NUL; the view excludes the NUL.
vq_str vq_arena_str(vq_arena *a, vq_str s);

// Copies `size` bytes with alignment `align`.
void *vq_arena_copy(vq_arena *a, const void *p, size_t size, size_t align);

// Frees everything but the first chunk, which is kept for reuse.
void vq_arena_reset(vq_arena *a);

// Frees everything; the arena may be used again afterwards.
void vq_arena_release(vq_arena *a);

#define VQ_NEW(arena, type) \
  ((type *)vq_arena_alloc((arena), sizeof(type), _Alignof(type)))
#define VQ_NEW_N(arena, type, n) \
  ((type *)vq_arena_alloc((arena), sizeof(type) * (n), _Alignof(type)))

#endif
