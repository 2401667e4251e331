// The entry points of a model that is called without a handle.
#include "rt.h"
#include "vitq_rt.h"

size_t vitq_rt_workspace(const vitq_model *m) { return rt_workspace(m, 1); }

// The CPU is asked on every call: a few microseconds, and no writable storage
// in the model.
int vitq_rt_run_model(const vitq_model *m, int64_t n, const void *const *in,
                      void *const *out, void *workspace) {
  const vitq_variant *v = rt_pick_variant(m, vitq_cpu_isa());
  if (!v) return VITQ_ERR_ISA;
  return (int)rt_execute(&(rt_job){.model = m, .variant = v, .n = n, .in = in,
                                   .out = out, .workspace = workspace});
}
