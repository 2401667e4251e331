// The pieces of compiling that other commands use too.
#ifndef VQ_DRIVER_COMPILE_H
#define VQ_DRIVER_COMPILE_H

#include "driver.h"
#include "vq/ir.h"
#include "vq/pass.h"

// The pipeline that the options say. Free *out, if it is one, whatever the outcome.
VQ_NODISCARD vq_status make_pipeline(driver *d, vq_pipeline **out);

// Runs -O1 on a module that is to be executed in process, or the part of it that
// derivatives need; a vq_lower_fn whose `user` is the driver.
VQ_NODISCARD vq_status lower_for_jit(void *user, vq_module *m, vq_str func,
                                     vq_diag *diag);

// Parameters and multiply-accumulates of a module (of one whole batch).
typedef struct model_size {
  int64_t n_op, n_param, param_bytes, macs, batch;
} model_size;
model_size measure_module(const vq_module *m);

// Adds the ops of `f` and of what it calls to `count`, by opcode.
void count_ops(const vq_func *f, int64_t count[VQ_N_OPS]);

// "5.7 M", "1.26 G"
void add_count(vq_strbuf *out, double n);
void add_bytes(vq_strbuf *out, double n);
// "1.5MB", "2GiB": a positive number of B, KB, MB, GB, KiB, MiB or GiB.
bool read_bytes(const char *text, double *out);

#endif
