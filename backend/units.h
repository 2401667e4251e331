// A compiled model as several object files, made side by side.
#ifndef VQ_BACKEND_UNITS_H
#define VQ_BACKEND_UNITS_H

#include "emit_model.h"
#include "vq/backend.h"

typedef struct vq_objects {
  LLVMMemoryBufferRef *object;
  unsigned n;
} vq_objects;

// What a unit is compiled from.
typedef struct vq_unit {
  enum { VQ_UNIT_TABLES, VQ_UNIT_KERNEL, VQ_UNIT_TILES } kind;
  uint32_t kernel;
  const vq_target *target;
} vq_unit;

// The units of a model in the order of their objects: the tables, then target
// by target the tiles, where kernels call some, and the kernels, each where
// vq_kernel_target says.
vq_unit *vq_units_of(const vq_layout *layout, const vq_target *target,
                     unsigned n_target, unsigned *n, vq_arena *arena);

// Compiles every unit to an object, on opt->n_thread threads and with its progress; a
// NULL `opt` is that of zeros. The objects and their order do not depend on the number of
// threads. `entries` as for vq_emit_tables. Memory of `out` is from `arena`.
VQ_NODISCARD vq_status vq_units_compile(vq_objects *out, const vq_layout *layout,
                                        const vq_target *target,
                                        unsigned n_target, bool entries,
                                        const vq_backend_options *opt,
                                        vq_arena *arena, vq_diag *diag);

// Disposes of the buffers that are left; those taken over are set to NULL.
void vq_objects_release(vq_objects *o);

#endif
