// Files of a model: the model itself and its external data.
#ifndef VQ_ONNX_DATAFILE_H
#define VQ_ONNX_DATAFILE_H

#include "vq/diag.h"
#include "vq/ir.h"

typedef struct vq_datafile {
  const uint8_t *p;
  size_t n;
  vq_str location;  // as the model names it; empty for the model itself
  struct vq_datafile *next;
} vq_datafile;

// Loads the regular file at `path`.
VQ_NODISCARD vq_status vq_datafile_model(vq_module *m, vq_diag *diag,
                                         const char *path, vq_datafile *out);

// Loads external data `location` of the model at `model_path`. The location
// must be a relative path below the model's directory, without "..", and no
// part of it may be a symbolic link; with `follow` the last part may. Only
// regular files are accepted.
VQ_NODISCARD vq_status vq_datafile_external(vq_module *m, vq_diag *diag,
                                            vq_loc loc, const char *model_path,
                                            vq_str location, bool follow,
                                            vq_datafile *out);

#endif
