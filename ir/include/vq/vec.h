// Growing array of any element type: VQ_VEC(int) v = {0}; vq_vec_push(&v, 3);
#ifndef VQ_VEC_H
#define VQ_VEC_H

#include "vq/base.h"

#define VQ_VEC(type) \
  struct {           \
    type *p;         \
    size_t n, cap;   \
  }

// Ensures room for `want` elements of `size` bytes in *p.
void vq_vec_grow(void **p, size_t *cap, size_t want, size_t size);

#define vq_vec_reserve(v, want)                                     \
  ((want) > (v)->cap ? vq_vec_grow((void **)&(v)->p, &(v)->cap, (want), \
                                   sizeof *(v)->p)                  \
                     : (void)0)
#define vq_vec_push(v, x) \
  (vq_vec_reserve((v), (v)->n + 1), (v)->p[(v)->n++] = (x))
#define vq_vec_clear(v) ((v)->n = 0)
#define vq_vec_release(v) (vq_vec_free((void **)&(v)->p), (v)->n = (v)->cap = 0)

void vq_vec_free(void **p);

#endif
