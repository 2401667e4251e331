// The IR: modules of constants and straight-line functions over SSA values.
//
// A module owns everything below it in one arena; erased ops are unlinked, not
// freed. Fields may be read by anyone; only build.h and rewrite.h change them,
// because use lists must stay right. There are no regions: a fused kernel is a
// `kernel` function called from `@main`, which is the model itself.
//
// Invariants (checked by vq_verify): a value is used only after its definition
// in the same function, or is a constant of the module; names are unique per
// function (values) and per module (functions, constants); the last op of a
// function, and only it, is `return`.
#ifndef VQ_IR_H
#define VQ_IR_H

#include "vq/arena.h"
#include "vq/map.h"
#include "vq/op.h"
#include "vq/type.h"

// One operand slot of an op, linked into the list of its value's uses.
struct vq_use {
  vq_value *val;
  vq_op *user;
  vq_use *prev, *next;  // in order of creation
  uint32_t idx;         // operand number
};

typedef enum vq_value_kind {
  VQ_VALUE_RESULT,
  VQ_VALUE_ARG,
  VQ_VALUE_CONST
} vq_value_kind;

struct vq_value {
  const vq_type *type;
  vq_value_kind kind;
  uint32_t idx;   // result or argument number
  vq_op *def;     // RESULT only
  vq_func *func;  // ARG only
  vq_use *uses, *last_use;
  vq_str name;  // without sigil; empty: printed as a number
};

struct vq_op {
  vq_opcode code;
  uint32_t n_in, n_out;
  vq_loc loc;
  vq_op *prev, *next;
  vq_func *func;
  vq_use *in;
  vq_value *out;
  void *attrs;  // struct vq_attrs_<op>
  void *scratch;  // the running pass's own; NULL between passes
};

typedef enum vq_init {
  VQ_INIT_BYTES,   // `bytes` holds the data (maybe a span of a mapped file)
  VQ_INIT_FILL,    // every element is `fill`; bytes made on demand
  VQ_INIT_RANDOM,  // normal numbers from (seed, std), bytes made on demand
  VQ_INIT_MISSING  // read from a dump without its side file
} vq_init;

// A constant of the module; `value` comes first so that a vq_value of kind
// CONST can be cast to it (vq_const_of).
struct vq_const {
  vq_value value;
  vq_init init;
  double fill;
  uint64_t seed;
  float std;
  const void *bytes;  // vq_type_bytes(value.type), or NULL until made
  const char *sha256; // MISSING: the absent bytes' checksum, 64 hex digits
  vq_module *module;
  vq_const *prev, *next;
};

typedef enum vq_func_kind { VQ_FUNC, VQ_KERNEL } vq_func_kind;

struct vq_func {
  vq_str name;
  vq_func_kind kind;
  vq_value *arg;
  uint32_t n_arg;
  const vq_type **result;
  vq_str *result_name;  // empty for kernels
  uint32_t n_result;
  vq_op *first, *last;
  vq_module *module;
  vq_func *prev, *next;
  vq_map names;   // of arguments and results, see core/names.c
  uint64_t hash;  // KERNEL: as outlined; 0: not known
};

// Free-form facts that travel with the model, in order: preprocessing, labels,
// the producer. Keys are dotted lower-case words.
typedef struct vq_meta {
  vq_str key, value;
  struct vq_meta *next;
} vq_meta;

// What a module is known to be; passes state which they need, give and break.
typedef enum vq_prop {
  VQ_PROP_OUTLINED = 1u << 0,  // @main is calls, views and return only
  VQ_PROP_PLANNED = 1u << 1    // every call has arena offsets
} vq_prop;

struct vq_module {
  vq_ctx *ctx;
  vq_arena arena;
  vq_str name;  // symbol-safe, from the file name
  vq_func *first_func, *last_func;
  vq_const *first_const, *last_const;
  vq_meta *meta;
  unsigned props;      // vq_prop mask
  uint64_t arena_size; // bytes of run-time arena once PLANNED
  struct vq_mapping *mappings;  // mapped files that constants point into
  vq_map func_names, const_names;
  vq_map quants;  // name -> vq_quant; types may have stopped to need some
};

#define VQ_ATTRS(op, name) \
  ((const vq_attrs_##name *)vq_op_attrs((op), VQ_OP_##name))

// The attribute struct of `op`, which must have opcode `code`.
static inline const void *vq_op_attrs(const vq_op *op, vq_opcode code) {
  assert(op->code == code);
  (void)code;
  return op->attrs;
}

static inline vq_value *vq_in(const vq_op *op, unsigned i) {
  return op->in[i].val;
}

// Operand `i`, or NULL when an optional one is missing.
static inline vq_value *vq_in_opt(const vq_op *op, unsigned i) {
  return i < op->n_in ? op->in[i].val : NULL;
}

static inline vq_const *vq_const_of(vq_value *v) {
  return v->kind == VQ_VALUE_CONST ? (vq_const *)v : NULL;
}

// True when some trait of `mask` is set for the op's code.
static inline bool vq_has_trait(const vq_op *op, unsigned mask) {
  return (vq_op_info(op->code)->traits & mask) != 0;
}

bool vq_has_one_use(const vq_value *v);
unsigned vq_use_count(const vq_value *v);

#define vq_each_op(func, op) \
  for (vq_op *op = (func)->first; op; op = op->next)
// Safe when the body erases `op` (and only `op`).
#define vq_each_op_safe(func, op)                                       \
  for (vq_op *op = (func)->first, *op##_next = op ? op->next : NULL; op; \
       op = op##_next, op##_next = op ? op->next : NULL)
#define vq_each_func(module, f) \
  for (vq_func *f = (module)->first_func; f; f = f->next)
#define vq_each_const(module, c) \
  for (vq_const *c = (module)->first_const; c; c = c->next)
#define vq_each_use(v, u) for (vq_use *u = (v)->uses; u; u = u->next)

// ---- modules --------------------------------------------------------------
vq_module *vq_module_create(vq_ctx *ctx, vq_str name);
void vq_module_destroy(vq_module *m);  // also unmaps its files

// Hands a mapped or heap block to the module: constants may point into it and
// it is unmapped (mapped) or freed (not mapped) with the module.
void vq_module_own(vq_module *m, void *base, size_t size, bool mapped);

vq_func *vq_module_func(const vq_module *m, vq_str name);    // or NULL
vq_const *vq_module_const(const vq_module *m, vq_str name);  // or NULL
vq_value *vq_func_value(const vq_func *f, vq_str name);      // or NULL

// The quant entry of that name, or NULL.
const vq_quant *vq_module_quant(const vq_module *m, vq_str name);
// Adds a copy of `proto`; NULL when its name is taken.
const vq_quant *vq_module_define_quant(vq_module *m, const vq_quant *proto);
// The first entry that is equal to `proto` but for its name, else a new one; a taken
// name gets a suffix ".1", ".2", ...
const vq_quant *vq_module_quant_like(vq_module *m, const vq_quant *proto);

vq_str vq_meta_get(const vq_module *m, const char *key);  // empty when absent
void vq_meta_set(vq_module *m, const char *key, vq_str value);

// The data of a constant as stored bytes, materialised when needed; NULL only
// for VQ_INIT_MISSING.
const void *vq_const_bytes(vq_const *c);
// Element `i` of a constant read as a double or int64 (exact for int64).
double vq_const_f64(vq_const *c, int64_t i);
int64_t vq_const_i64(vq_const *c, int64_t i);

// A hash of `f`'s dataflow: ops, types, attributes, constants' types and (with
// `with_data`) their bytes, but no names and no locations. Callees hash by
// content. Two functions with equal hashes compute the same thing.
uint64_t vq_func_hash(const vq_func *f, bool with_data);
uint64_t vq_module_hash(const vq_module *m, bool with_data);  // of @main

// Multiply-accumulates of one op (matmul, linear, conv2d, patch_embed,
// attention), 0 for others.
int64_t vq_op_macs(const vq_op *op);
// Steps that evaluating `op` takes, of about 10 ns: elements touched, more where
// one is hard to compute, words of the result, and multiply-accumulates.
uint64_t vq_op_steps(const vq_op *op);

#endif
