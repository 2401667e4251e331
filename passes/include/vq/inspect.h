// Looking at modules from outside: differences, parts, drawings.
#ifndef VQ_INSPECT_H
#define VQ_INSPECT_H

#include "vq/diag.h"
#include "vq/ir.h"

typedef struct vq_diff_count {
  unsigned removed, added, changed;
} vq_diff_count;

// Appends what it takes to make `b` out of `a`, nothing when they compute the
// same: ops are matched by what they compute and by what reads them, so neither
// names nor the order of independent ops count. The modules may belong to
// different contexts.
vq_diff_count vq_diff(vq_strbuf *out, const vq_module *a, const vq_module *b);

// ---- parts --------------------------------------------------------------------
// A set of ops of @main, in program order.
typedef struct vq_op_list {
  vq_op **p;
  size_t n, cap;
} vq_op_list;
void vq_op_list_release(vq_op_list *l);

// Blocks of the network: as many as it has attentions, numbered from 0. A block
// begins with what its attention reads off the residual stream.
unsigned vq_block_count(const vq_module *m);
VQ_NODISCARD vq_status vq_select_block(const vq_module *m, unsigned block, vq_diag *diag,
                                       vq_op_list *out);
// What is at most `depth` ops away from the value called `name`.
VQ_NODISCARD vq_status vq_select_around(const vq_module *m, vq_str name, unsigned depth,
                                        vq_diag *diag, vq_op_list *out);

// Erases every other op of @main: values that come from outside become arguments,
// those that are read outside results. Kernels and constants that nothing names any
// more go, too, and properties that do not hold any more.
VQ_NODISCARD vq_status vq_keep_only(vq_module *m, const vq_op_list *keep, vq_diag *diag);

// ---- small modules ----------------------------------------------------------------
typedef struct vq_shrink_test {
  bool (*interesting)(void *user, const vq_module *m);
  void *user;
} vq_shrink_test;

// The smallest module that can be made of `m` step by step so that each step is
// interesting; `m` has to be. The same module and answers give the same result.
// Destroy it before `m`, which keeps the data of its constants.
vq_module *vq_shrink(const vq_module *m, const vq_shrink_test *test, unsigned *n_test);

// ---- drawings -------------------------------------------------------------------
// Appends the module as a graph for Graphviz, a cluster for each function.
void vq_dot(vq_strbuf *out, const vq_module *m);

#endif
