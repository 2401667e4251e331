// Unique names: a map from name to owner that also remembers, per name, below
// which suffix everything is taken, so that the n-th namesake is found at once.
#include <stdio.h>

#include "core/core.h"

typedef struct name_entry {
  void *owner;    // NULL: free
  uint32_t next;  // .1 to .(next - 1) are taken
} name_entry;

static bool try_claim(vq_arena *arena, vq_map *names, vq_str *name,
                      void *owner, name_entry **out) {
  name_entry *e = vq_map_get(names, *name);
  *out = e;
  if (e && e->owner) return false;
  *name = vq_arena_str(arena, *name);
  if (!e) {
    e = VQ_NEW(arena, name_entry);
    e->next = 1;
    *vq_map_put(names, *name) = e;
  }
  e->owner = owner;
  return true;
}

vq_str vq_name_claim(vq_arena *arena, vq_map *names, vq_str want,
                     void *owner) {
  name_entry *base, *e;
  if (!want.n) return want;
  if (try_claim(arena, names, &want, owner, &base)) return want;
  char *text = vq_arena_alloc(arena, want.n + 12, 1);
  memcpy(text, want.p, want.n);
  for (;;) {
    int n = snprintf(text + want.n, 12, ".%u", base->next++);
    vq_str name = {text, want.n + (size_t)n};
    if (try_claim(arena, names, &name, owner, &e)) return name;
  }
}

void vq_name_release(vq_map *names, vq_str name) {
  name_entry *e = vq_map_get(names, name);
  if (!e) return;
  e->owner = NULL;
  uint32_t suffix = 0, unit = 1;
  size_t i = name.n;
  for (; i > 0 && name.n - i < 9; i--, unit *= 10) {
    unsigned digit = (unsigned char)name.p[i - 1] - '0';
    if (digit > 9) break;
    suffix += digit * unit;
  }
  if (i == name.n || i == 0 || name.p[i - 1] != '.') return;
  name_entry *base = vq_map_get(names, (vq_str){name.p, i - 1});
  if (base && suffix > 0 && suffix < base->next) base->next = suffix;
}

void *vq_name_owner(const vq_map *names, vq_str name) {
  name_entry *e = vq_map_get(names, name);
  return e ? e->owner : NULL;
}
