/* The contract between a compiled model and whoever loads it.
 *
 * A model exports one function, vitq_model_query(max_version). It returns a
 * pointer to a constant vitq_model, or NULL when the caller is older than the
 * oldest version the model can describe itself in. Structures only grow at the
 * end; `size` says how much of them exists. Everything is read-only and valid
 * while the library stays loaded. Needs stdint.h and stddef.h, C99 or C++.
 */
#ifndef VITQ_ABI_H
#define VITQ_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VITQ_ABI_VERSION 1u
#define VITQ_MAX_RANK 8
#define VITQ_ALIGN 64u /* of arena, constants and staging buffers */

/* Element types; values never change. */
enum vitq_dtype {
  VITQ_F32 = 0, VITQ_I64 = 1, VITQ_I32 = 2, VITQ_I16 = 3, VITQ_I8 = 4,
  VITQ_U8 = 5, VITQ_I4 = 6, VITQ_U4 = 7, VITQ_BOOL = 8, VITQ_BF16 = 9
};

/* CPU features a variant may require; bits never change. */
enum vitq_isa {
  VITQ_ISA_X86_64_V3 = 1 << 0,   /* AVX2 FMA BMI2 F16C */
  VITQ_ISA_X86_64_V4 = 1 << 1,   /* AVX-512 F BW CD DQ VL */
  VITQ_ISA_AVX512_VNNI = 1 << 2,
  VITQ_ISA_AVX_VNNI = 1 << 3,
  VITQ_ISA_AVX512_BF16 = 1 << 4,
  VITQ_ISA_AMX_INT8 = 1 << 5,
  VITQ_ISA_AMX_BF16 = 1 << 6,
  VITQ_ISA_AVX512_VBMI = 1 << 7
};

/* One input or output. dim[0] is the batch the code was compiled for. */
typedef struct vitq_tensor_info {
  const char *name;
  uint32_t dtype, rank;
  int64_t dim[VITQ_MAX_RANK];
  uint64_t bytes_per_sample; /* whole tensor / batch */
} vitq_tensor_info;

/* How a picture becomes the first input. Zero `size`: not stated. */
typedef struct vitq_preprocess {
  uint32_t size;       /* of this struct */
  uint32_t stated;     /* 1: the fields below are meaningful */
  uint32_t resize;     /* shorter side before cropping; 0: none */
  uint32_t crop;       /* centre crop side; 0: none */
  uint32_t interp;     /* 0 nearest, 1 bilinear, 2 bicubic */
  uint32_t channels;   /* 1 grey, 3 RGB */
  float scale;         /* pixel * scale, then (x - mean) / std */
  float mean[4], std[4];
} vitq_preprocess;

/* Computes tasks [begin, end) of a kernel. arg: results first, then operands,
 * all addresses of row-major (or packed) tensors. scratch: VITQ_ALIGNed memory
 * of the kernel's scratch_bytes, private to the calling thread. */
typedef void (*vitq_kernel_fn)(void *const *arg, int64_t begin, int64_t end,
                               void *scratch);

typedef struct vitq_kernel {
  const char *name;
  uint32_t n_arg;
  uint32_t scratch_bytes;
  int64_t n_task; /* independent units of work; any split gives equal bytes */
  int64_t macs;   /* multiply-accumulates of one whole call */
} vitq_kernel;

/* Where an argument of a step lives. */
enum vitq_space {
  VITQ_SPACE_INPUT = 0,  /* offset: index of the input */
  VITQ_SPACE_OUTPUT = 1, /* offset: index of the output */
  VITQ_SPACE_ARENA = 2,  /* offset: bytes from the arena's start */
  VITQ_SPACE_CONST = 3   /* offset: bytes from the constant blob's start */
};

typedef struct vitq_operand {
  uint64_t space, offset;
} vitq_operand;

/* One kernel call. Steps run in order; a step's tasks may run in parallel. */
typedef struct vitq_step {
  uint32_t kernel, n_arg;
  const vitq_operand *arg;
  const char *name; /* of the value it computes, for profiles */
} vitq_step;

/* One set of kernels for one ISA. `fn` runs parallel to vitq_model.kernel. */
typedef struct vitq_variant {
  const char *name;  /* "x86-64-v3" */
  uint64_t requires; /* vitq_isa mask */
  const vitq_kernel_fn *fn;
} vitq_variant;

typedef struct vitq_model {
  uint32_t abi_version, size; /* of this struct, for growth */
  const char *name, *compiler;
  uint32_t n_input, n_output;
  const vitq_tensor_info *input, *output;
  uint32_t batch; /* samples per pass over the steps */
  uint32_t n_variant;
  const vitq_variant *variant; /* best first; the last requires nothing */
  uint32_t n_kernel, n_step;
  const vitq_kernel *kernel;
  const vitq_step *step;
  uint64_t arena_bytes;
  const void *constants;
  uint64_t constant_bytes;
  const vitq_preprocess *preprocess;
  uint32_t n_label, n_meta;
  const char *const *label;
  const char *const *meta; /* n_meta pairs: key, value */
} vitq_model;

typedef const vitq_model *(*vitq_query_fn)(uint32_t max_version);
#define VITQ_QUERY_SYMBOL "vitq_model_query"

#ifdef __cplusplus
}
#endif
#endif
