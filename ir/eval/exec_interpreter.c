// The vq_exec that is the reference itself.
#include "vq/exec.h"

#include <stdlib.h>

struct vq_program {
  const vq_func *func;
};

static vq_status prepare(vq_exec *e, const vq_module *m, vq_str func,
                         vq_diag *diag, vq_program **out) {
  (void)e;
  const vq_func *f = vq_module_func(m, func);
  if (!f)
    return vq_error(diag, VQ_E_name, (vq_loc){0}, "no function @%.*s",
                    VQ_FMT(func));
  *out = malloc(sizeof **out);
  if (!*out) vq_oom(sizeof **out);
  (*out)->func = f;
  return VQ_OK;
}

static vq_status run(vq_program *p, const vq_tensor *in, vq_tensor *out,
                     unsigned n_thread, vq_diag *diag) {
  (void)n_thread;
  return vq_eval_func(p->func, in, out, diag, NULL, NULL);
}

static void release(vq_program *p) {
  free(p);
}

static void destroy(vq_exec *e) {
  vq_exec_drop_samples(e);
  free(e);
}

static const vq_exec_ops interpreter = {"interpreter", prepare, run, NULL, NULL,
                                        release, destroy};

vq_exec *vq_exec_interpreter(void) {
  vq_exec *e = malloc(sizeof *e);
  if (!e) vq_oom(sizeof *e);
  *e = (vq_exec){.ops = &interpreter};
  return e;
}
