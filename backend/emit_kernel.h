// From kernels, or what they share, and an ISA variant to LLVM functions.
#ifndef VQ_BACKEND_EMIT_KERNEL_H
#define VQ_BACKEND_EMIT_KERNEL_H

#include "layout.h"
#include "llvm.h"
#include "tile.h"
#include "vq/strbuf.h"

// Appends the name of a kernel's function for `t`, unique among models with
// different symbols: "fashion.gemm_m197n768k192_bias_gelu.avx512vnni".
void vq_kernel_symbol(vq_strbuf *s, const vq_layout *l, uint32_t kernel,
                      const vq_target *t);

// Whose code a kernel has in variant `t`, `end` being behind the rows compiled: that of
// the next row where the two do not differ, else its own. Minor kernels (layout.h) have that
// of the next row without VNNI.
const vq_target *vq_kernel_target(const vq_layout_kernel *k, const vq_target *t,
                                  const vq_target *end);
// Whether any kernel of a model has code of its own in variant `t`. If none has, the
// model has no such variant.
bool vq_target_has_code(const vq_layout *l, const vq_target *t, const vq_target *end);

// Adds the function, hidden and of type vitq_kernel_fn, to an empty module and
// optimizes it.
VQ_NODISCARD vq_status vq_emit_kernel(vq_llvm *l, const vq_layout *layout,
                                      uint32_t kernel, const vq_target *t);

// The register tiles that the kernels of `t` itself call (tile.h), in the order of their
// first use. Rows and vectors are at most 16 and 8, of floats and of codes.
typedef struct vq_tiles {
  vq_tile_id id[256];
  unsigned n;
} vq_tiles;
void vq_tiles_of(vq_tiles *s, const vq_layout *l, const vq_target *t,
                 const vq_target *end);

// Adds the tiles, hidden, to an empty module and optimizes them.
VQ_NODISCARD vq_status vq_emit_tiles(vq_llvm *l, const vq_layout *layout,
                                     const vq_target *t, const vq_target *end);

#endif
