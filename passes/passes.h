// Declarations expanded from passes.def: every pass function and the struct
// its options are stored in. Internal to passes/.
#ifndef VQ_PASSES_H
#define VQ_PASSES_H

#include "vq/pass.h"

typedef int64_t vq_opt_I64;
typedef double vq_opt_F64;
typedef bool vq_opt_FLAG;
typedef vq_str vq_opt_STR;

// vq_status vq_pass_x(...); typedef struct vq_pass_x_opts { ... };
// A running pass reads its options with VQ_OPTS(pc, vq_pass_x)->field.
#define PASS(name, fn, needs, gives, kills, help) \
  vq_status fn(vq_module *m, vq_pass_ctx *pc);    \
  typedef struct fn##_opts {
#define OPT(fn, kind, key, field, def, choices, help) vq_opt_##kind field;
#define END(fn) \
  char unused_; \
  }             \
  fn##_opts;
#include "passes.def"
#undef PASS
#undef OPT
#undef END

#define VQ_OPTS(pc, fn) ((const fn##_opts *)(pc)->opts)

#endif
