// Output files: written beside their place and renamed when complete.
#ifndef VQ_BACKEND_OUTPUT_H
#define VQ_BACKEND_OUTPUT_H

#include "vq/backend.h"

typedef struct vq_output {
  const char *path;  // borrowed
  char *temp;        // "<path>.<pid>.<n>.tmp"; NULL once gone
  int fd;
  const vq_backend_options *opt;
  vq_diag *diag;
  bool direct;  // the path is a device or a pipe: written in place
} vq_output;

// Creates the temporary file. After an error there is nothing to release.
VQ_NODISCARD vq_status vq_output_open(vq_output *o, const char *path,
                                      const vq_backend_options *opt,
                                      vq_diag *diag);
VQ_NODISCARD vq_status vq_output_write(vq_output *o, const void *p, size_t n);
// Puts the file in its place; on an error the temporary file is removed.
VQ_NODISCARD vq_status vq_output_commit(vq_output *o);
void vq_output_abort(vq_output *o);

// The whole of it for data that is already in memory.
VQ_NODISCARD vq_status vq_output_file(const char *path, const void *p, size_t n,
                                      const vq_backend_options *opt,
                                      vq_diag *diag);

#endif
