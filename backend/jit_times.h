// How long the steps of programs that run in process take.
#ifndef VQ_BACKEND_JIT_TIMES_H
#define VQ_BACKEND_JIT_TIMES_H

#include "vitq.h"
#include "vq/exec.h"

typedef struct vq_jit_times vq_jit_times;

// Of the program made of function `func`; `sink` is told when they are closed.
vq_jit_times *vq_jit_times_open(const vq_time_sink *sink, vq_str func,
                                const vitq_model *model);
// Of another program with the same steps, on another thread; closed before `of`, to which
// it adds what it saw.
vq_jit_times *vq_jit_times_share(vq_jit_times *of);
void vq_jit_times_close(vq_jit_times *t);  // NULL is allowed
// A vitq_step_fn whose `user` is the vq_jit_times.
void vq_jit_times_step(void *user, uint32_t step, double seconds);

#endif
