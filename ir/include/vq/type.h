// Tensor types and quantization entries, interned: equal means same pointer.
#ifndef VQ_TYPE_H
#define VQ_TYPE_H

#include "vq/base.h"

#define VQ_MAX_RANK 8

typedef enum vq_dtype_class {
  VQ_CLASS_FLOAT = 1u << 0,
  VQ_CLASS_INT = 1u << 1,
  VQ_CLASS_BOOL = 1u << 2,
  VQ_CLASS_BF16 = 1u << 3
} vq_dtype_class;

typedef enum vq_dtype {
#define DTYPE(name, bits, cls, ctype) VQ_##name,
#include "vq/dtypes.def"
#undef DTYPE
  VQ_N_DTYPES
} vq_dtype;

// Name, storage bits and class of an element type.
const char *vq_dtype_name(vq_dtype t);
unsigned vq_dtype_bits(vq_dtype t);
vq_dtype_class vq_dtype_class_of(vq_dtype t);
// Smallest and largest value of an integer (or bool) type.
void vq_int_range(vq_dtype t, int64_t *lo, int64_t *hi);
// Returns false when `name` is no dtype of the text form.
bool vq_dtype_parse(vq_str name, vq_dtype *out);

// tensor<d0x...xd(rank-1), dtype, q=@name>. Every dimension is at least 0 and
// the element count fits in 2^40; a scalar has rank 0.
struct vq_type {
  vq_dtype dtype;
  uint8_t rank;
  int64_t dim[VQ_MAX_RANK];
  const vq_quant *q;  // NULL: plain numbers
};

enum { VQ_AXIS_NONE = -1, VQ_AXIS_LAST = VQ_MAX_RANK };

// What codes lo..hi stand for: real = scale[i] * (code - zero[i]), i along `axis`: a
// dimension's number, VQ_AXIS_LAST, or VQ_AXIS_NONE, where n is 1 and i is 0. A scale is
// finite and not 0; it may be negative where zero is 0, as those of narrow weights. A
// zero point has 16 bits; it is no code where the range of numbers does not hold 0.
struct vq_quant {
  vq_str name;     // without '@'; unique in a module
  vq_dtype store;  // i4 u4 i8 u8 i16 i32
  int32_t lo, hi;  // codes of `store`
  int32_t axis;
  uint32_t n;
  const float *scale;
  const int32_t *zero;
  vq_str of;       // what it was made for, in words; maybe empty
};

// Interns. `dim` holds `rank` entries; `q` may be NULL. Returns NULL (and no
// diagnostic) if a dimension is negative, the rank exceeds VQ_MAX_RANK or the
// element count exceeds 2^40.
const vq_type *vq_type_tensor(vq_ctx *ctx, vq_dtype dtype, unsigned rank,
                              const int64_t *dim, const vq_quant *q);

// The same shape and elements with another quantization, NULL for plain numbers.
const vq_type *vq_type_with(vq_ctx *ctx, const vq_type *t, const vq_quant *q);

// Interns a copy of `proto`, by all its fields. Modules name entries: see ir.h.
const vq_quant *vq_quant_intern(vq_ctx *ctx, const vq_quant *proto);
// The dimension of a tensor of that rank along which `q` has scales, -1 for none;
// VQ_MAX_RANK or more when there is no such dimension.
int vq_quant_axis(const vq_quant *q, unsigned rank);
// Codes mean the same under both, whatever the entries are called. Takes NULL.
bool vq_quant_equal(const vq_quant *a, const vq_quant *b);

int64_t vq_type_count(const vq_type *t);   // elements
int64_t vq_type_bytes(const vq_type *t);   // storage, nibbles rounded up
bool vq_type_is(const vq_type *t, vq_dtype dtype, unsigned rank);
// Row-major element strides.
void vq_type_strides(const vq_type *t, int64_t stride[VQ_MAX_RANK]);
// NumPy broadcasting of two shapes; false when they do not fit.
bool vq_broadcast(const vq_type *a, const vq_type *b, unsigned *rank,
                  int64_t dim[VQ_MAX_RANK]);
// "tensor<1x197x192, f32>"
void vq_type_print(vq_strbuf *out, const vq_type *t);

// The context owns interned types, quants, strings and the source map; it
// lives as long as anything made from it. Thread-compatible.
vq_ctx *vq_ctx_create(void);
void vq_ctx_destroy(vq_ctx *ctx);
vq_arena *vq_ctx_arena(vq_ctx *ctx);
// One thing of a higher layer that lives as long as the context, in place of the one
// before it; destroyed first.
void vq_ctx_attach(vq_ctx *ctx, void *thing, void (*destroy)(void *thing));
void *vq_ctx_attached(const vq_ctx *ctx);
vq_str vq_intern(vq_ctx *ctx, vq_str s);  // NUL-terminated copy, shared

#endif
