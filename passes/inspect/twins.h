// Which functions and ops of two modules correspond.
#ifndef VQ_PASSES_TWINS_H
#define VQ_PASSES_TWINS_H

#include "vq/ir.h"

// One function of a pair, its ops numbered in program order.
typedef struct vq_twin_side {
  const vq_func *f;
  const vq_op **op;
  uint32_t n;
  uint32_t *twin;  // number of the other side's op + 1; 0: it has none
  uint64_t *hash;  // of everything an op computes from
  vq_map number;   // op -> its number + 1
} vq_twin_side;

typedef struct vq_twins vq_twins;

// Functions in pairs: a[i] and b[i]. One of them is NULL for a function that only
// one module has; these come last.
typedef struct vq_twin_pair {
  vq_twin_side a, b;
} vq_twin_pair;
struct vq_twins {
  vq_arena arena;
  vq_twin_pair *pair;
  unsigned n;
  vq_map digest;    // constant -> checksum of its data, in hex
  vq_map function;  // function of `a` -> its twin
};

void vq_twins_find(vq_twins *t, const vq_module *a, const vq_module *b);
void vq_twins_release(vq_twins *t);

// The same type, in whatever context.
bool vq_same_type(const vq_type *a, const vq_type *b);
// Constants of the same type and data.
bool vq_twins_same_const(vq_twins *t, vq_value *a, vq_value *b);
// Values of a pair: the same argument or constant, or results of twins.
bool vq_twins_same_value(vq_twins *t, const vq_twin_pair *p, vq_value *a, vq_value *b);
// The callee of `b` is the twin of the callee of `a`.
bool vq_twins_same_callee(const vq_twins *t, const vq_op *a, const vq_op *b);

#endif
