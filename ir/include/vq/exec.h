// Running a function of a module without caring how: interpreter or JIT.
//
// Passes that execute graphs (calibration, plugins, tests) take a vq_exec; the
// driver decides which one they get, so `ir` and `passes` never see LLVM.
#ifndef VQ_EXEC_H
#define VQ_EXEC_H

#include "vq/eval.h"

typedef struct vq_exec vq_exec;
typedef struct vq_program vq_program;  // one prepared function

typedef struct vq_exec_ops {
  const char *name;  // "interpreter", "jit"
  // Prepares function `func` of `m`; `m` must stay unchanged and alive until
  // the program is released.
  vq_status (*prepare)(vq_exec *e, const vq_module *m, vq_str func,
                       vq_diag *diag, vq_program **out);
  // in: n_arg tensors, out: n_result tensors, memory by the caller. `n_thread`
  // is a hint, 0 means that of the executor; results do not depend on it.
  vq_status (*run)(vq_program *p, const vq_tensor *in, vq_tensor *out,
                   unsigned n_thread, vq_diag *diag);
  // Another program of the same function, to run on another thread at the same time,
  // with `n_thread` threads. Released before `p`. NULL: such programs there are none.
  vq_status (*share)(const vq_program *p, unsigned n_thread, vq_diag *diag,
                     vq_program **out);
  // Bytes of `p` that programs share, and that each run by one thread works in beside its
  // operands.
  void (*memory)(const vq_program *p, uint64_t *shared, uint64_t *each);
  void (*release)(vq_program *p);
  void (*destroy)(vq_exec *e);
} vq_exec_ops;

// Calibration samples: inputs of a model, one at a time, each as the model
// takes it (f32, preprocessed, without the batch dimension).
typedef struct vq_samples {
  int64_t n;
  vq_status (*load)(void *user, int64_t i, float *out, vq_diag *diag);
  // Called between samples; `done` of `total` steps. A failure stops. May be
  // NULL.
  vq_status (*progress)(void *user, const char *what, int64_t done,
                        int64_t total);
  void *user;
  // Asked by a pass that makes samples, while some are missing: whether those that
  // are finished will do. May be NULL.
  bool (*enough)(void *user);
} vq_samples;

// Where samples that a pass makes outlive it, by number.
typedef struct vq_sample_store {
  // Reads a sample that is there; *found says whether.
  vq_status (*load)(void *user, int64_t number, float *out, bool *found, vq_diag *diag);
  // Called as soon as a sample is finished.
  vq_status (*save)(void *user, int64_t number, const float *x, vq_diag *diag);
  void *user;
} vq_sample_store;

// The range of an activation over all samples, over all of its channels: what its
// quantizer's scale follows from. With 0 wherever its codes have to have one.
typedef struct vq_observed_range {
  vq_str role, name;  // of the quantizer; of the value, or of what reads it
  double lo, hi;
} vq_observed_range;

// Is told of all ranges, each time that they are observed.
typedef struct vq_range_sink {
  void (*seen)(void *user, const vq_observed_range *range, size_t n);
  void *user;
} vq_range_sink;

// How long a kernel of a program took, in all steps that it is called in.
typedef struct vq_kernel_time {
  const char *kernel;
  unsigned n_step;
  int64_t macs;   // multiply-adds of a run
  double least;   // seconds: the sum of each step's fastest
  double mean;    // of a run
} vq_kernel_time;

// Is told of each program that was run, when it is released.
typedef struct vq_time_sink {
  void (*took)(void *user, vq_str func, int64_t runs, const vq_kernel_time *time, size_t n);
  void *user;
} vq_time_sink;

struct vq_exec {
  const vq_exec_ops *ops;
  unsigned n_thread;          // to run with; 0 is 1
  uint64_t memory_limit;      // of bytes that running takes; 0: none
  bool bf16;                  // gradients are to have products of bf16 (pass autocast)
  const vq_samples *samples;  // what passes calibrate with; NULL: nothing
  const vq_sample_store *store;  // NULL: made samples live as long as this
  const vq_range_sink *ranges;   // NULL: nobody asks for them
  const vq_time_sink *times;     // NULL: nobody asks; before programs are prepared
  struct vq_held_back *held;     // what a pass leaves for vq_score; NULL: nothing
  struct vq_made_samples *made;  // what a pass made; NULL: nothing
};

// Makes `n` samples of `count` numbers each what passes calibrate with from here on.
// `data` comes from malloc and belongs to `e` then. The progress of the samples
// before goes on being reported.
void vq_exec_keep_samples(vq_exec *e, int64_t n, int64_t count, float *data);
void vq_exec_drop_samples(vq_exec *e);  // for e->ops->destroy

// The last `n` samples that were kept are not to be calibrated with: on these the
// quantized model is compared with `model`, which belongs to `e` then.
void vq_exec_hold_back(vq_exec *e, int64_t n, vq_module *model);

// How near a quantized model is to the float one on samples held back.
typedef struct vq_score {
  int64_t n, agree;  // samples; of these, with the same largest logit
  double cosine;     // of logits, mean
  double seconds;    // of the float model for a sample, by one thread: never the same again
  unsigned n_block;
  double *block;     // signal to noise of the residual stream behind each, in dB
} vq_score;

typedef struct vq_held_back {
  int64_t n;
  vq_module *model;
  vq_score score;  // n = 0: not compared
} vq_held_back;

// Backed by vq_eval_func. Free with e->ops->destroy(e).
vq_exec *vq_exec_interpreter(void);

#endif
