// Side files: where the data of large constants live (see vq_blob_open).
#ifndef VQ_TEXT_BLOB_H
#define VQ_TEXT_BLOB_H

#include "text/sha256.h"
#include "vq/text.h"

#define VQ_BLOB_ALIGN 64
// Constants of more elements live in a side file.
#define VQ_MAX_DENSE 16

// Stores `n` bytes, or finds them stored already.
VQ_NODISCARD vq_status vq_blob_put(vq_blob_writer *w, const void *p, size_t n,
                                   uint64_t *out_offset,
                                   char out_hex[VQ_SHA256_HEX + 1]);
vq_str vq_blob_name(const vq_blob_writer *w);

// A side file that is being read. `base` is NULL when it could not be opened
// (and that has been reported).
typedef struct vq_side_file {
  vq_str name;
  const uint8_t *base;
  uint64_t size;
  struct vq_side_file *next;
} vq_side_file;

// Reads file `name` beside `path` into memory of `m`. The descriptor
// is allocated in `arena`.
vq_side_file *vq_side_open(vq_module *m, vq_arena *arena, vq_str path,
                           vq_str name, vq_diag *diag, vq_loc loc);

// `n` bytes at `offset`, range- and checksum-checked; NULL after a diagnostic.
const void *vq_side_span(const vq_side_file *f, uint64_t offset, uint64_t n,
                         vq_str hex, vq_diag *diag, vq_loc loc);

#endif
