// The true classes of the pictures of an evaluation.
#ifndef VQ_DRIVER_LABELS_H
#define VQ_DRIVER_LABELS_H

#include "source.h"

// Reads the labels file `path` for the samples of `s` into a new array of s->n class
// numbers (free it). A text file has a line 'picture class' for each picture,
// in any order, or one class number a line; a .npy file has integers in the
// order of the samples. Every class lies below `n_class`.
VQ_NODISCARD vq_status labels_read(driver *d, const char *path, const source *s,
                                   int64_t n_class, int64_t **out);

#endif
