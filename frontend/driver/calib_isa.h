// Which instructions calibration runs on: --calib-isa, or what a profile recorded.
#ifndef VQ_DRIVER_CALIB_ISA_H
#define VQ_DRIVER_CALIB_ISA_H

#include "calib_profile.h"

// Name of the row of targets.def whose float code runs the model while it is calibrated.
// Where --calib-isa is not given it is the one that the pictures of `p` were made with;
// of different ones the least demanding. Without pictures (p may be NULL) it is the best
// that runs here. Fails when the CPU lacks it.
VQ_NODISCARD vq_status calib_isa_choose(driver *d, const calib_profile *p, const char **out);

// Where neither --calib-isa nor pictures of `p` (may be NULL) name a row, so that *out is the
// best one for floats: a row whose gradients have products of bf16 in its place, if it runs
// here and is faster at the largest product of `m` (vq/bf16_probe.h).
VQ_NODISCARD vq_status calib_isa_probe(driver *d, const calib_profile *p, const vq_module *m,
                                       const char **out);

#endif
