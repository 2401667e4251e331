// A compiled model as several object files, made side by side.
#ifndef VQ_BACKEND_UNITS_H
#define VQ_BACKEND_UNITS_H

#include "emit_model.h"

typedef struct vq_objects {
  LLVMMemoryBufferRef *object;
  unsigned n;
} vq_objects;

// Compiles the tables (first object) and every kernel for every target (one
// object each) on up to `n_thread` threads, 0: one per processor. The objects
// and their order do not depend on the number of threads. `entries` as for
// vq_emit_tables. Memory of `out` is from `arena`.
VQ_NODISCARD vq_status vq_units_compile(vq_objects *out, const vq_layout *layout,
                                        const vq_target *target,
                                        unsigned n_target, bool entries,
                                        unsigned n_thread, vq_arena *arena,
                                        vq_diag *diag);

// Disposes of the buffers that are left; those taken over are set to NULL.
void vq_objects_release(vq_objects *o);

#endif
