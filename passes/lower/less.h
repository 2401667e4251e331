// Ops that compute a part of what other ops do: some of their rows, or of their columns.
//
//   slice(add(x, y))              add(slice(x), slice(y))
//   slice(linear(x, w, b))        linear(slice(x), w, b), of columns with rows of w and b
//   slice(attention(q, k, v, m))  attention(slice(q), k, v, slice(m))
//
// What stays is computed as before, bit for bit. The slices that appear are readers of
// what comes before: passes that walk backwards meet them there.
#ifndef VQ_LOWER_LESS_H
#define VQ_LOWER_LESS_H

#include "canon/fold.h"
#include "lower/span.h"
#include "passes.h"
#include "vq/build.h"

typedef struct vq_less {
  vq_pass_ctx *pc;
  vq_fold_budget budget;  // for slices of constants
  vq_builder b;           // where new ops go
  const char *suffix;     // results are called as those of which they are a part, with this
                          // behind it; NULL: they have no names
} vq_less;

// False when `op` mixes the elements of dimension k.
bool vq_less_along(const vq_op *op, unsigned k);

// A constant with data, or an elementwise op of such, as the quantizer of weights is.
bool vq_less_parameter(const vq_value *v);

// The part `s` of what `op` computes, where it works along the dimensions that are cut;
// NULL after a diagnostic.
vq_value *vq_less_compute(vq_less *l, vq_op *op, const vq_span *s);

// The part `s` of `x`: a constant of a constant with data, else a slice; NULL after a
// diagnostic.
vq_value *vq_less_part(vq_less *l, vq_value *x, const vq_span *s);

// Whether this reader, a slice or a gather_rows, is one that the part `s` is for.
typedef bool vq_less_reader(const void *user, const vq_op *reader, const vq_span *s);

// Lets the readers of op's result that `takes` accepts read `y`, which is the part `s` of it.
VQ_NODISCARD vq_status vq_less_redirect(vq_less *l, vq_op *op, vq_value *y, const vq_span *s,
                                        vq_less_reader *takes, const void *user);

#endif
