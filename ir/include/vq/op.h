// Opcodes, attribute structs and descriptors, all expanded from ops.def.
#ifndef VQ_OP_H
#define VQ_OP_H

#include <math.h>

#include "vq/base.h"
#include "vq/type.h"

typedef enum vq_trait {
  VQ_TRAIT_PURE = 1u << 0,     // no effect but its results; may be removed
  VQ_TRAIT_ELTWISE = 1u << 1,  // y[i] depends on operands at i (broadcast) only
  VQ_TRAIT_COMM = 1u << 2,     // a and b may swap
  VQ_TRAIT_VIEW = 1u << 3,     // the result may share its operand's memory
  VQ_TRAIT_CALL = 1u << 4,
  VQ_TRAIT_TERM = 1u << 5,
  VQ_TRAIT_CODES = 1u << 6     // knows codes: operands may have a quant entry
} vq_trait;

// A list of integers inside an attribute struct; borrowed memory.
typedef struct vq_ints {
  const int64_t *p;
  uint32_t n;
} vq_ints;
#define VQ_NO_INTS ((vq_ints){NULL, 0})
#define VQ_INTS(...)                                        \
  ((vq_ints){(const int64_t[]){__VA_ARGS__},                \
             sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)})

typedef int64_t vq_attr_i64;
typedef float vq_attr_f32;
typedef bool vq_attr_flag;
typedef vq_str vq_attr_str;
typedef vq_ints vq_attr_ints;
typedef const vq_quant *vq_attr_quant;
typedef enum vq_attr_kind {
  VQ_ATTR_i64,
  VQ_ATTR_f32,
  VQ_ATTR_flag,
  VQ_ATTR_str,
  VQ_ATTR_ints,
  VQ_ATTR_quant  // NULL: none
} vq_attr_kind;

typedef enum vq_opcode {
#define OP(name, traits, formula) VQ_OP_##name,
#define IN(op, name, cls)
#define IN_OPT(op, name, cls)
#define IN_VAR(op, name, cls)
#define OUT(op, name)
#define OUT_VAR(op, name)
#define ATTR(op, kind, name, def)
#define ATTR_REQ(op, kind, name)
#define END(op)
#include "vq/ops.def"
#undef OP
#undef ATTR
#undef ATTR_REQ
#undef END
  VQ_N_OPS
} vq_opcode;

// struct vq_attrs_<op>, one field per attribute (a dummy byte keeps C legal).
#define OP(name, traits, formula) typedef struct vq_attrs_##name {
#define ATTR(op, kind, name, def) vq_attr_##kind name;
#define ATTR_REQ(op, kind, name) vq_attr_##kind name;
#define END(op) \
  char unused_; \
  }             \
  vq_attrs_##op;
#include "vq/ops.def"
#undef OP
#undef ATTR
#undef ATTR_REQ
#undef END

// vq_attrs_<op> vq_default_<op>(void): every attribute at its default,
// required ones zero.
#define OP(op, traits, formula)                         \
  static inline vq_attrs_##op vq_default_##op(void) {   \
    vq_attrs_##op a;                                    \
    memset(&a, 0, sizeof a);
#define ATTR(op, kind, name, def) a.name = def;
#define ATTR_REQ(op, kind, name)
#define END(op) \
  return a;     \
  }
#include "vq/ops.def"
#undef OP
#undef IN
#undef IN_OPT
#undef IN_VAR
#undef OUT
#undef OUT_VAR
#undef ATTR
#undef ATTR_REQ
#undef END

typedef enum vq_arity { VQ_REQUIRED, VQ_OPTIONAL, VQ_VARIADIC } vq_arity;

typedef struct vq_operand_desc {
  const char *name;
  vq_arity arity;
  unsigned classes;  // mask of vq_dtype_class
} vq_operand_desc;

typedef struct vq_attr_desc {
  const char *name;
  vq_attr_kind kind;
  bool required;
  uint32_t offset;  // into the attribute struct
} vq_attr_desc;

typedef struct vq_op_desc {
  const char *name, *formula;
  unsigned traits;
  const vq_operand_desc *in;
  unsigned n_in, min_in;  // described operands; fewest accepted
  bool variadic_in;       // any number, all described by in[0]
  bool variadic_out;      // results as the callee says (call) or none (return)
  const char *out;        // result name, NULL when variadic_out or none
  const vq_attr_desc *attr;
  unsigned n_attr;
  size_t attrs_size;
  const void *attrs_default;  // one attribute struct
} vq_op_desc;

const vq_op_desc *vq_op_info(vq_opcode code);
// Returns false when no op has that name.
bool vq_op_find(vq_str name, vq_opcode *out);

// Appends the whole table as Markdown (docs/ops.md).
void vq_ops_markdown(vq_strbuf *out);

// Attribute structs as values: equality, hash, deep copy into `arena`.
bool vq_attr_equal(vq_attr_kind kind, const void *a, const void *b);  // one
bool vq_op_attrs_equal(vq_opcode code, const void *a, const void *b);
uint64_t vq_op_attrs_hash(vq_opcode code, const void *a, uint64_t seed);
void *vq_op_attrs_copy(vq_arena *arena, vq_opcode code, const void *a);

#endif
