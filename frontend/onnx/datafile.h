// Files of a model: the model itself and its external data.
#ifndef VQ_ONNX_DATAFILE_H
#define VQ_ONNX_DATAFILE_H

#include "vq/diag.h"
#include "vq/ir.h"

// The model's own file: all of it, in the module's memory.
typedef struct vq_datafile {
  const uint8_t *p;
  size_t n;
} vq_datafile;

// Reads the regular file at `path`.
VQ_NODISCARD vq_status vq_datafile_load(vq_module *m, vq_diag *diag,
                                        const char *path, vq_datafile *out);

// An open file of external data.
typedef struct vq_external {
  vq_str location;
  int fd;
  uint64_t n, device, inode;
} vq_external;

// Opens external data `location` of the model at `model_path`. The location
// must be a relative path below the model's directory, without "..", and no
// part of it may be a symbolic link; with `follow` the last part may. Only
// regular files are accepted. Ends with vq_external_close.
VQ_NODISCARD vq_status vq_external_open(vq_diag *diag, vq_loc loc,
                                        const char *model_path,
                                        vq_str location, bool follow,
                                        vq_external *out);
// Reads bytes [at, at + n), which lie inside the file.
VQ_NODISCARD vq_status vq_external_read(const vq_external *e, vq_diag *diag,
                                        vq_loc loc, uint64_t at, void *to,
                                        size_t n);
void vq_external_close(vq_external *e);

#endif
