// Where samples come from: pictures, folders of them, NumPy arrays.
#ifndef VQ_DRIVER_SOURCE_H
#define VQ_DRIVER_SOURCE_H

#include "machine.h"
#include "vq/image.h"

typedef struct source {
  driver *d;
  const machine *m;
  const char *path;
  vq_path_list list;  // pictures; empty for an array
  vq_npy array;
  int64_t n;          // samples
  vq_preproc preproc;
} source;

// Opens what `path` names and checks that `m` can take it. Pixels need a model
// that states its preprocessing.
VQ_NODISCARD vq_status source_open(driver *d, const machine *m, const char *path,
                                   source *out);
void source_close(source *s);

// Writes sample `i` as m->in_count floats.
VQ_NODISCARD vq_status source_load(const source *s, int64_t i, float *out);

// A name for sample `i`: "cat.jpg", "test.npy[3]".
void source_name(const source *s, int64_t i, vq_strbuf *out);

#endif
