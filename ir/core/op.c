// The op table in memory, expanded from ops.def, and attributes as values.
#include "vq/op.h"

#include <stdio.h>

#include "vq/arena.h"
#include "vq/map.h"

// The words that ops.def uses.
enum {
  PURE = VQ_TRAIT_PURE,
  ELTWISE = VQ_TRAIT_ELTWISE,
  COMM = VQ_TRAIT_COMM,
  VIEW = VQ_TRAIT_VIEW,
  CALL = VQ_TRAIT_CALL,
  TERM = VQ_TRAIT_TERM,
  CODES = VQ_TRAIT_CODES,
  FLOAT = VQ_CLASS_FLOAT,
  INT = VQ_CLASS_INT,
  BOOL = VQ_CLASS_BOOL,
  BF16 = VQ_CLASS_BF16,
  NUM = FLOAT | INT,
  ANY = NUM | BOOL
};

// in_<op>: the described operands, and one empty row to stay legal C.
#define OP(op, traits, formula) static const vq_operand_desc in_##op[] = {
#define IN(op, name, cls) {#name, VQ_REQUIRED, cls},
#define IN_OPT(op, name, cls) {#name, VQ_OPTIONAL, cls},
#define IN_VAR(op, name, cls) {#name, VQ_VARIADIC, cls},
#define OUT(op, name)
#define OUT_VAR(op, name)
#define ATTR(op, kind, name, def)
#define ATTR_REQ(op, kind, name)
#define END(op) {NULL, VQ_REQUIRED, 0}};
#include "vq/ops.def"
#undef OP
#undef IN
#undef IN_OPT
#undef IN_VAR
#undef END

// min_in_<op>: the number of required operands.
#define OP(op, traits, formula) enum { min_in_##op = 0
#define IN(op, name, cls) +1
#define IN_OPT(op, name, cls)
#define IN_VAR(op, name, cls)
#define END(op) };
#include "vq/ops.def"
#undef OP
#undef IN
#undef ATTR
#undef ATTR_REQ
#undef IN_VAR
#undef END

// attr_<op>: the attributes, and one empty row.
#define OP(op, traits, formula) static const vq_attr_desc attr_##op[] = {
#define IN(op, name, cls)
#define IN_VAR(op, name, cls)
#define ATTR(op, kind, name, def) \
  {#name, VQ_ATTR_##kind, false, offsetof(vq_attrs_##op, name)},
#define ATTR_REQ(op, kind, name) \
  {#name, VQ_ATTR_##kind, true, offsetof(vq_attrs_##op, name)},
#define END(op) {NULL, VQ_ATTR_i64, false, 0}};
#include "vq/ops.def"
#undef OP
#undef ATTR
#undef ATTR_REQ
#undef END

// default_<op>: an attribute struct with every default.
#define OP(op, traits, formula) static const vq_attrs_##op default_##op = {
#define ATTR(op, kind, name, def) .name = def,
#define ATTR_REQ(op, kind, name)
#define END(op) .unused_ = 0};
#include "vq/ops.def"
#undef OP
#undef IN_VAR
#undef OUT
#undef OUT_VAR
#undef ATTR
#undef END

static const vq_op_desc ops[VQ_N_OPS] = {
#define OP(op, traits_, formula_)      \
  [VQ_OP_##op] = {                     \
      .name = #op,                     \
      .formula = formula_,             \
      .traits = traits_,               \
      .in = in_##op,                   \
      .n_in = VQ_COUNT(in_##op) - 1,   \
      .min_in = min_in_##op,           \
      .attr = attr_##op,               \
      .n_attr = VQ_COUNT(attr_##op) - 1, \
      .attrs_size = sizeof(vq_attrs_##op), \
      .attrs_default = &default_##op,
#define IN_VAR(op, name, cls) .variadic_in = true,
#define OUT(op, name) .out = #name,
#define OUT_VAR(op, name) .variadic_out = true,
#define ATTR(op, kind, name, def)
#define END(op) },
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
};

const vq_op_desc *vq_op_info(vq_opcode code) { return &ops[code]; }

bool vq_op_find(vq_str name, vq_opcode *out) {
  for (int i = 0; i < VQ_N_OPS; i++) {
    if (!vq_str_is(name, ops[i].name)) continue;
    *out = (vq_opcode)i;
    return true;
  }
  return false;
}

static bool ints_equal(vq_ints a, vq_ints b) {
  return a.n == b.n && (a.n == 0 || !memcmp(a.p, b.p, a.n * sizeof *a.p));
}

bool vq_attr_equal(vq_attr_kind kind, const void *a, const void *b) {
  switch (kind) {
    case VQ_ATTR_i64:
      return *(const int64_t *)a == *(const int64_t *)b;
    case VQ_ATTR_f32:  // by bits: NaN equals itself, 0 and -0 differ
      return memcmp(a, b, sizeof(float)) == 0;
    case VQ_ATTR_flag:
      return *(const bool *)a == *(const bool *)b;
    case VQ_ATTR_str:
      return vq_str_eq(*(const vq_str *)a, *(const vq_str *)b);
    case VQ_ATTR_ints:
      return ints_equal(*(const vq_ints *)a, *(const vq_ints *)b);
    case VQ_ATTR_quant:  // names apart, as modules of several contexts may be compared
      return vq_quant_equal(*(const vq_attr_quant *)a, *(const vq_attr_quant *)b);
  }
  return false;
}

bool vq_op_attrs_equal(vq_opcode code, const void *a, const void *b) {
  const vq_op_desc *d = &ops[code];
  for (unsigned i = 0; i < d->n_attr; i++) {
    uint32_t at = d->attr[i].offset;
    if (!vq_attr_equal(d->attr[i].kind, (const char *)a + at,
                       (const char *)b + at))
      return false;
  }
  return true;
}

// Five significant digits: exporters print the same number differently.
static uint64_t hash_f32(uint64_t seed, float f) {
  char text[32];
  int n = snprintf(text, sizeof text, "%.4e", f == 0 ? 0.0 : (double)f);
  return vq_hash_bytes(seed, text, (size_t)n);
}

static uint64_t hash_field(vq_attr_kind kind, const void *a, uint64_t seed) {
  switch (kind) {
    case VQ_ATTR_i64:
      return vq_hash_bytes(seed, a, sizeof(int64_t));
    case VQ_ATTR_f32:
      return hash_f32(seed, *(const float *)a);
    case VQ_ATTR_flag:
      return vq_hash_bytes(seed, *(const bool *)a ? "t" : "f", 1);
    case VQ_ATTR_str: {
      vq_str s = *(const vq_str *)a;
      return vq_hash_bytes(seed, s.p, s.n);
    }
    case VQ_ATTR_ints: {
      vq_ints v = *(const vq_ints *)a;
      return vq_hash_bytes(seed, v.p, v.n * sizeof *v.p);
    }
    case VQ_ATTR_quant:  // the result's type has it, and hashes by content
      return seed;
  }
  return seed;
}

uint64_t vq_op_attrs_hash(vq_opcode code, const void *a, uint64_t seed) {
  const vq_op_desc *d = &ops[code];
  for (unsigned i = 0; i < d->n_attr; i++)
    seed = hash_field(d->attr[i].kind, (const char *)a + d->attr[i].offset,
                     seed);
  return seed;
}

void *vq_op_attrs_copy(vq_arena *arena, vq_opcode code, const void *a) {
  const vq_op_desc *d = &ops[code];
  char *copy = vq_arena_copy(arena, a, d->attrs_size, 16);
  for (unsigned i = 0; i < d->n_attr; i++) {
    void *field = copy + d->attr[i].offset;
    if (d->attr[i].kind == VQ_ATTR_str) {
      vq_str *s = field;
      *s = vq_arena_str(arena, *s);
    } else if (d->attr[i].kind == VQ_ATTR_ints) {
      vq_ints *v = field;
      if (v->n)
        v->p = vq_arena_copy(arena, v->p, v->n * sizeof *v->p,
                             _Alignof(int64_t));
    }
  }
  return copy;
}
