// Insertion-ordered hash map: an entry array and an open-addressing index.
#include "vq/map.h"

#include <stdlib.h>

#include "vq/vec.h"

static uint64_t mix(uint64_t h) {  // the finalizer of splitmix64
  h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9u;
  h = (h ^ (h >> 27)) * 0x94d049bb133111ebu;
  return h ^ (h >> 31);
}

uint64_t vq_hash_bytes(uint64_t seed, const void *p, size_t n) {
  const unsigned char *c = p;
  uint64_t h = seed ^ (n * 0x9e3779b97f4a7c15u), w;
  if (n >= 256) {  // weights: four chains, so that products overlap
    uint64_t lane[4] = {h, h + 1, h + 2, h + 3};
    for (; n >= 32; n -= 32)
      for (unsigned k = 0; k < 4; k++, c += 8) {
        memcpy(&w, c, 8);
        lane[k] = mix(lane[k] ^ w) + 0x9e3779b97f4a7c15u;
      }
    for (unsigned k = 0; k < 4; k++) h = mix(h ^ lane[k]) + k;
  }
  for (; n >= 8; n -= 8, c += 8) {
    memcpy(&w, c, 8);
    h = mix(h ^ w) + 0x9e3779b97f4a7c15u;
  }
  w = 0;
  if (n) memcpy(&w, c, n);
  return mix(h ^ w);
}

// Keys come from input files, and whoever knows the seed can make names that all
// collide. Where the program was loaded is not known in advance. Nothing that
// is iterated or printed depends on the hash.
static uint64_t key_hash(vq_str key) {
  uint64_t seed = (uint64_t)(uintptr_t)&key_hash;
  return vq_hash_bytes(seed * 0x9e3779b97f4a7c15u, key.p, key.n);
}

// The slot that holds `key`, or the empty one where it belongs.
static uint32_t *probe(const vq_map *m, vq_str key, uint64_t hash) {
  uint32_t mask = m->cap_slot - 1;
  for (uint32_t i = (uint32_t)hash & mask;; i = (i + 1) & mask) {
    uint32_t at = m->slot[i];
    if (!at) return &m->slot[i];
    const vq_map_entry *e = &m->entry[at - 1];
    if (e->hash == hash && vq_str_eq(e->key, key)) return &m->slot[i];
  }
}

static void rehash(vq_map *m, uint32_t cap) {
  free(m->slot);
  m->slot = calloc(cap, sizeof *m->slot);
  if (!m->slot) vq_oom(cap * sizeof *m->slot);
  m->cap_slot = cap;
  for (uint32_t i = 0; i < m->n; i++)
    *probe(m, m->entry[i].key, m->entry[i].hash) = i + 1;
}

void **vq_map_find(const vq_map *m, vq_str key) {
  if (!m->n) return NULL;
  uint32_t at = *probe(m, key, key_hash(key));
  return at ? &m->entry[at - 1].value : NULL;
}

void **vq_map_put(vq_map *m, vq_str key) {
  if (m->n >= m->cap_slot / 2) {
    if (m->n >= 1u << 30) vq_oom(SIZE_MAX);
    rehash(m, m->cap_slot ? m->cap_slot * 2 : 16);
  }
  uint64_t hash = key_hash(key);
  uint32_t *slot = probe(m, key, hash);
  if (*slot) return &m->entry[*slot - 1].value;
  if (m->n == m->cap_entry) {
    size_t cap = m->cap_entry;
    vq_vec_grow((void **)&m->entry, &cap, cap + 1, sizeof *m->entry);
    m->cap_entry = (uint32_t)cap;
  }
  m->entry[m->n] = (vq_map_entry){key, NULL, hash};
  *slot = ++m->n;
  return &m->entry[m->n - 1].value;
}

void *vq_map_get(const vq_map *m, vq_str key) {
  void **slot = vq_map_find(m, key);
  return slot ? *slot : NULL;
}

void vq_map_clear(vq_map *m) {
  m->n = 0;
  if (m->slot) memset(m->slot, 0, m->cap_slot * sizeof *m->slot);
}

void vq_map_release(vq_map *m) {
  free(m->entry);
  free(m->slot);
  *m = (vq_map){0};
}
