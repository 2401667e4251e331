// Growth of the arrays of vec.h.
#include "vq/vec.h"

#include <stdlib.h>

void vq_vec_grow(void **p, size_t *cap, size_t want, size_t size) {
  size_t n = *cap < 8 ? 8 : *cap + *cap / 2;
  if (n < want) n = want;
  if (n > SIZE_MAX / size) vq_oom(SIZE_MAX);
  void *q = realloc(*p, n * size);
  if (!q) vq_oom(n * size);
  *p = q;
  *cap = n;
}

void vq_vec_free(void **p) {
  free(*p);
  *p = NULL;
}
