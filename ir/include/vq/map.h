// Hash map from byte strings (or pointers) to pointers, with stable order:
// iteration follows insertion, so nothing depends on addresses.
#ifndef VQ_MAP_H
#define VQ_MAP_H

#include "vq/base.h"

typedef struct vq_map_entry {
  vq_str key;
  void *value;
  uint64_t hash;
} vq_map_entry;

// Zero-initialise to start. Keys are borrowed: keep their bytes alive.
typedef struct vq_map {
  vq_map_entry *entry;  // in insertion order, `n` of them
  uint32_t *slot;       // open addressing: index into entry + 1, or 0
  uint32_t n, cap_entry, cap_slot;
} vq_map;

uint64_t vq_hash_bytes(uint64_t seed, const void *p, size_t n);

// Returns the value slot of `key`, or NULL when absent.
void **vq_map_find(const vq_map *m, vq_str key);

// Returns the value slot of `key`, inserting a NULL value when absent.
void **vq_map_put(vq_map *m, vq_str key);

// Convenience: the value of `key` or NULL.
void *vq_map_get(const vq_map *m, vq_str key);

void vq_map_clear(vq_map *m);
void vq_map_release(vq_map *m);

// Pointer keys hash the pointer's own bytes. Pass the address of a variable
// that outlives the map, or of a field of the object itself.
#define VQ_MAP_PTR_KEY(ptr_var) ((vq_str){(const char *)&(ptr_var), sizeof(ptr_var)})

#endif
