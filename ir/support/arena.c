// Bump allocation out of zeroed chunks, freed as a whole.
//
// Chunks grow with the arena. A request that would take much of a fresh chunk
// gets one of its own behind the newest, so that the room left in the newest one
// is not lost.
#include "vq/arena.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MIN_CHUNK = 64 << 10, MAX_CHUNK = 32 << 20, HUGE_FROM = 4 << 20 };

struct vq_arena_chunk {
  struct vq_arena_chunk *older;
  size_t size;  // bytes behind this header
};

// Weights fill large chunks at once: with huge pages, where the system has them,
// that takes a page fault for two megabytes instead of one for four kilobytes.
static void want_huge_pages(char *p, size_t size) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  char *from = p + (-(uintptr_t)p & (page - 1));
  size_t n = (size - (size_t)(from - p)) & ~(page - 1);
  (void)madvise(from, n, MADV_HUGEPAGE);  // advice: works as well without
}

static struct vq_arena_chunk *chunk_new(size_t size) {
  if (size > SIZE_MAX - sizeof(struct vq_arena_chunk)) vq_oom(size);
  struct vq_arena_chunk *c = calloc(1, sizeof *c + size);
  if (!c) vq_oom(size);
  if (size >= HUGE_FROM) want_huge_pages((char *)c, size);
  c->size = size;
  return c;
}

// Bytes to skip at `p` to reach a multiple of `align`.
static size_t padding(const char *p, size_t align) {
  return -(uintptr_t)p & (align - 1);
}

static void *alloc_alone(vq_arena *a, size_t size, size_t align) {
  if (size > SIZE_MAX - align) vq_oom(size);
  struct vq_arena_chunk *c = chunk_new(size + align);
  if (a->chunk) {
    c->older = a->chunk->older;
    a->chunk->older = c;
  } else {
    a->chunk = c;
    a->used = c->size;
  }
  char *p = (char *)(c + 1);
  return p + padding(p, align);
}

// A quarter of what is there, which bounds what is reserved in vain.
static size_t chunk_size(const vq_arena *a) {
  size_t size = MIN_CHUNK;
  while (size < MAX_CHUNK && size < a->total / 4) size *= 2;
  return size;
}

void *vq_arena_alloc(vq_arena *a, size_t size, size_t align) {
  assert(align > 0 && align <= 64 && (align & (align - 1)) == 0);
  if (size == 0) size = 1;  // pointers stay distinct
  a->total += size;
  size_t fresh = chunk_size(a);
  if (size > fresh / 4) return alloc_alone(a, size, align);
  if (a->chunk) {
    char *p = (char *)(a->chunk + 1) + a->used;
    size_t pad = padding(p, align);
    if (pad + size <= a->chunk->size - a->used) {
      a->used += pad + size;
      return p + pad;
    }
  }
  struct vq_arena_chunk *c = chunk_new(fresh);
  c->older = a->chunk;
  a->chunk = c;
  char *p = (char *)(c + 1);
  size_t pad = padding(p, align);
  a->used = pad + size;
  return p + pad;
}

vq_str vq_arena_str(vq_arena *a, vq_str s) {
  char *p = vq_arena_alloc(a, s.n + 1, 1);
  if (s.n) memcpy(p, s.p, s.n);
  return (vq_str){p, s.n};
}

void *vq_arena_copy(vq_arena *a, const void *p, size_t size, size_t align) {
  void *copy = vq_arena_alloc(a, size, align);
  if (size) memcpy(copy, p, size);
  return copy;
}

void vq_arena_reset(vq_arena *a) {
  struct vq_arena_chunk *c = a->chunk;
  while (c && c->older) {
    struct vq_arena_chunk *older = c->older;
    free(c);
    c = older;
  }
  if (c) memset(c + 1, 0, c->size);
  *a = (vq_arena){.chunk = c};
}

void vq_arena_release(vq_arena *a) {
  for (struct vq_arena_chunk *c = a->chunk, *older; c; c = older) {
    older = c->older;
    free(c);
  }
  *a = (vq_arena){0};
}
