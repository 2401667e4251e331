// A run of a plugin's pass, shared by the files that make up its table.
#ifndef VQ_PASSES_PLUGIN_HOST_H
#define VQ_PASSES_PLUGIN_HOST_H

#include "vq/plugin.h"

#include "vq/pass.h"

// A function that the plugin made ready to run.
struct vq_prepared {
  const vq_func *func;
  vq_program *program;
  vq_prepared *next;
};

struct vq_call {
  vq_module *m;
  vq_pass_ctx *pc;
  vq_prepared *prepared;  // not yet released
};

extern const vq_host vq_plugin_host;

// Reports what is wrong with a call and returns 0, so that calls can return it.
int vq_host_error(vq_call *c, const vq_op *op, const char *fmt, ...) VQ_PRINTF(3, 4);

// host_edit.c
int vq_host_get_attr(const vq_op *op, const char *name, vq_attr *out);
int vq_host_set_attr(vq_call *c, vq_op *op, const vq_attr *attr);
vq_value *vq_host_build(vq_call *c, vq_op *before, const char *op, size_t n_operand,
                        vq_value *const *operand, size_t n_attr, const vq_attr *attr,
                        const char *name);
int vq_host_set_operand(vq_call *c, vq_op *op, size_t i, vq_value *v);
int vq_host_replace(vq_call *c, vq_op *op, vq_value *by);
int vq_host_erase(vq_call *c, vq_op *op);
int vq_host_rename(vq_call *c, vq_value *v, const char *name);
int vq_host_read_constant(vq_call *c, const vq_value *v, int64_t first, int64_t n,
                          double *out);
vq_value *vq_host_constant(vq_call *c, const char *name, const char *dtype, size_t rank,
                           const int64_t *dim, const double *value);

// host_run.c
vq_prepared *vq_host_prepare(vq_call *c, const vq_func *f);
int vq_host_run(vq_call *c, vq_prepared *p, const void *const *in, void *const *out);
void vq_host_release(vq_call *c, vq_prepared *p);
int64_t vq_host_samples(vq_call *c);
int vq_host_sample(vq_call *c, int64_t i, float *out);

#endif
