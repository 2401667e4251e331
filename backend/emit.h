// What an emitter is given, and what it must state about its kernel.
//
// An emitter builds the LLVM function of one kernel for one ISA variant. The
// table emit.def is tried in order; the first emitter whose `match` accepts
// the kernel takes it. The last row, loop_nest, accepts every valid kernel.
#ifndef VQ_BACKEND_EMIT_H
#define VQ_BACKEND_EMIT_H

#include <llvm-c/Core.h>

#include "vq/diag.h"
#include "vq/ir.h"

// How a variant has the tiles of AMX (amx.h): as instructions, or for tests as
// functions over memory.
typedef enum vq_amx_form { VQ_AMX_NONE, VQ_AMX_TILES, VQ_AMX_SOFT } vq_amx_form;

// How a variant computes products of bf16 (bf16.h): as SOFT does, in f32; with vdpbf16ps;
// or with the tiles of AMX where they suit. Gradients have such products in the variants that
// name a form.
typedef enum vq_bf16_form {
  VQ_BF16_NONE,
  VQ_BF16_SOFT,
  VQ_BF16_DOT,
  VQ_BF16_TILES
} vq_bf16_form;

// One row of targets.def.
typedef struct vq_target {
  const char *name;      // "avx512vnni"
  const char *cpu;       // LLVM CPU name
  const char *features;  // LLVM feature string
  unsigned vector_bits;  // preferred vector width: 128, 256, 512
  unsigned n_vector_reg;
  bool fma, vnni;
  vq_amx_form amx;
  vq_bf16_form bf16;
  bool codes_only;    // differs from the next row in products of codes alone
  uint64_t requires;  // vitq_isa mask
} vq_target;

// A matrix product with register tiles (tile.h): m rows, handled in `parts`
// parts, and n columns; of floats, of bf16 or of codes. k elements of four codes or two
// bf16 make a sum, 0: as many as the variant likes.
typedef struct vq_product {
  int64_t m, parts, n;
  bool codes, bf16;
  int64_t k;
  bool in_place;  // tiles of whole groups may be code of the kernel (tile.h)
  bool small;     // codes of B have at most 4 bits
  bool slabs;     // the depth is divided (blocking.h)
  bool across;    // of floats: the left operand is read transposed (tile.h)
} vq_product;

// Facts about a kernel that must not depend on the variant. The kernel computes
// tasks [begin, end) of n_task; any division into ranges must give the same
// bytes. scratch_bytes is private memory per thread (at most 4 MiB).
typedef struct vq_kernel_plan {
  int64_t n_task;
  uint32_t scratch_bytes;
  const vq_value *bias;  // the kernel's argument, of a product of codes, or NULL
  unsigned bias_bytes;   // how it is stored (bias.h), not for `match` to say
  unsigned n_product;  // that the kernel computes with tiles
  vq_product product[4];
} vq_kernel_plan;

typedef struct vq_emit {
  LLVMContextRef lc;
  LLVMModuleRef mod;
  LLVMBuilderRef b;  // positioned in the entry block of fn
  LLVMValueRef fn;   // void (result..., operand..., begin, end, scratch)
  LLVMValueRef begin, end, scratch;
  LLVMValueRef *result;   // one pointer per kernel result
  LLVMValueRef *operand;  // one pointer per kernel argument
  LLVMValueRef numbers;   // what vq_number reads, or NULL
  LLVMTypeRef f32, i64, i32, i8, i1, ptr, void_;
  const vq_target *target;
  const char *model;  // prefix of names
  const vq_func *kernel;
  const vq_kernel_plan *plan;
  vq_diag *diag;
  vq_arena *temp;  // lives as long as this emission
} vq_emit;

// Whether LLVM should vectorise the loops of an emitter.
typedef enum vq_loops { VQ_LOOPS_BLOCKED, VQ_LOOPS_PLAIN } vq_loops;

typedef struct vq_emitter {
  const char *name;
  // Returns true and fills *plan when this emitter takes the kernel.
  bool (*match)(const vq_func *kernel, vq_kernel_plan *plan);
  // Builds the body up to, but without, the final `ret void`. Pointers of
  // results and operands are noalias among results; all tensors are row-major
  // with 64-byte aligned start, except model inputs and outputs, which may
  // have any alignment, and constants of fewer bytes, which are aligned to their
  // size: use alignment of one element for vector access unless the operand is a
  // larger constant or the code does not care.
  vq_status (*emit)(vq_emit *e);
  vq_loops loops;
} vq_emitter;

// The emitter that takes the kernel; with `generic` only the last row is asked.
// NULL: none, which a valid kernel of sensible size does not get.
const vq_emitter *vq_emitter_for(const vq_func *kernel, bool generic,
                                 vq_kernel_plan *plan);

#endif
