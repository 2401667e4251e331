// What a compiled model will contain, before any code exists: which kernels,
// which constants where, which steps with which arguments.
#ifndef VQ_BACKEND_LAYOUT_H
#define VQ_BACKEND_LAYOUT_H

#include "emit.h"
#include "vitq_abi.h"

typedef struct vq_layout_kernel {
  const vq_func *func;
  const vq_emitter *emitter;
  vq_kernel_plan plan;
  int64_t macs;
  unsigned n_number;  // numbers.h; with any, a step has one more argument: they
  int64_t work;       // of all its steps, in multiply-accumulates
  bool minor;         // of little weight in an integer model: shared among variants
} vq_layout_kernel;

typedef struct vq_layout_const {
  vq_const *c;  // NULL: the numbers of all steps
  const void *bytes;
  uint64_t offset, size;
  bool shared;  // another constant with the same bytes lies at `offset`
} vq_layout_const;

typedef struct vq_layout_step {
  const vq_op *call;
  uint32_t kernel, n_arg;
  const vitq_operand *arg;
  vq_str name;
  vq_loc loc;
} vq_layout_step;

typedef struct vq_layout {
  const vq_module *m;
  const vq_func *main;
  const char *symbol;  // a C identifier
  int64_t batch;
  vq_layout_kernel *kernel;  // in order of their first call
  vq_layout_const *constant; // by offset; those of at least VITQ_ALIGN bytes aligned to it
  vq_layout_step *step;
  uint32_t n_kernel, n_constant, n_step;
  uint64_t constant_bytes, arena_bytes;
} vq_layout;

// Fills `l` with memory from `arena`. `symbol` NULL: the module's name, with
// everything that is not part of a C identifier replaced. `generic`: no
// specialised emitters.
VQ_NODISCARD vq_status vq_layout_build(vq_layout *l, const vq_module *m,
                                       const char *symbol, bool generic,
                                       vq_arena *arena, vq_diag *diag);

#endif
