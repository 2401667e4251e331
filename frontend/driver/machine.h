// Something that computes outputs from inputs: a compiled model, or a model
// file executed in process.
#ifndef VQ_DRIVER_MACHINE_H
#define VQ_DRIVER_MACHINE_H

#include "driver.h"
#include "load.h"
#include "source.h"
#include "vitq.h"
#include "vq/exec.h"

// Release with machine_close. Exactly one of `handle` and `program` is set.
typedef struct machine {
  const char *path;
  driver *d;
  vitq_handle *handle;
  const vitq_model *model;
  vitq_pool *pool;  // NULL: one thread
  void *workspace;
  loaded source;
  vq_exec *exec;
  vq_program *program;
  int64_t batch, in_count, out_count;  // elements of one sample
  int64_t dim[VQ_MAX_RANK];            // shape of the input, dim[0] = batch
  unsigned rank;
} machine;

// Opens a compiled model with one float input and float outputs; the first
// output is the one that commands look at. Uses --threads and --variant.
VQ_NODISCARD vq_status machine_open(driver *d, const char *path, machine *out);

// The same, but ONNX models and IR text are accepted too and run in process.
VQ_NODISCARD vq_status machine_open_any(driver *d, const char *path,
                                        machine *out);
void machine_close(machine *m);

// in: n * in_count floats; out: n * out_count floats, the first output only.
VQ_NODISCARD vq_status machine_run(machine *m, int64_t n, const float *in,
                                   float *out);

// The same for a compiled model; `fn` hears how long each step took.
VQ_NODISCARD vq_status machine_profile(machine *m, int64_t n, const float *in,
                                       float *out, vitq_step_fn fn, void *user);

// What samples of a compiled model look like.
sample_shape machine_samples(const machine *m);

// "avx512vnni", or the name of the executor.
const char *machine_variant(const machine *m);

#endif
