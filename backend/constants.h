// The constants of a model as an object file.
#ifndef VQ_BACKEND_CONSTANTS_H
#define VQ_BACKEND_CONSTANTS_H

#include "layout.h"
#include "output.h"

// Bytes of the object.
uint64_t vq_constants_object_size(const vq_layout *l);

// Writes an ELF object that defines the hidden symbol <symbol>_constants.
VQ_NODISCARD vq_status vq_constants_object_write(vq_output *o, const vq_layout *l);

// Copies the constants of `l` to `blob` (constant_bytes, zeroed).
void vq_constants_fill(const vq_layout *l, void *blob);

#endif
