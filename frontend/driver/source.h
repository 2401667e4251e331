// Where samples come from: pictures, folders of them, NumPy arrays.
#ifndef VQ_DRIVER_SOURCE_H
#define VQ_DRIVER_SOURCE_H

#include "driver.h"
#include "vitq.h"
#include "vq/image.h"

// What samples are made for: one float input of a model.
typedef struct sample_shape {
  const char *path;  // of the model, for messages
  unsigned rank;
  const int64_t *dim;  // of the input, dim[0] = batch
  int64_t count;       // elements of one sample
  const vitq_preprocess *preprocess;
} sample_shape;

typedef struct source {
  driver *d;
  sample_shape to;
  const char *path;
  vq_path_list list;  // pictures; empty for an array
  vq_npy array;
  int64_t n;          // samples
  vq_preproc preproc;
} source;

// Opens what `path` names and checks that it fits. Pixels need a model that
// states its preprocessing.
VQ_NODISCARD vq_status source_open(driver *d, const sample_shape *to,
                                   const char *path, source *out);
void source_close(source *s);

// Writes sample `i` as to.count floats.
VQ_NODISCARD vq_status source_load(const source *s, int64_t i, float *out);

// A name for sample `i`: "cat.jpg", "test.npy[3]".
void source_name(const source *s, int64_t i, vq_strbuf *out);

#endif
