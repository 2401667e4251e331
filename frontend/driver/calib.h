// Calibration samples for passes, as --calib and the options around it say.
#ifndef VQ_DRIVER_CALIB_H
#define VQ_DRIVER_CALIB_H

#include "calib_ranges.h"
#include "made.h"
#include "source.h"
#include "vq/exec.h"
#include "vq/ir.h"
#include "vq/pass.h"

typedef struct calibration {
  vq_samples samples;  // n = 0: none
  driver *d;
  source pictures;
  bool is_noise, is_open;
  bool is_resumed;  // made pictures, of a run that stopped behind synthesize
  int64_t stride, count;
  uint64_t seed;
  vitq_preprocess preprocess;
  vq_pixel_range range[4];
  const vq_type *type;  // of the input
  const char *isa;      // for vq_exec_jit
  picture_store store;  // of made pictures; its `d` is NULL when they are not kept
  calib_ranges ranges;  // that passes saw; `d` is NULL when nobody asks
  vq_range_sink sink;
  double mem_limit;     // bytes; 0: none
  double until;         // when made pictures have to do; 0: when all are made
} calibration;

// Opens what --calib names for the module's input; there are no samples when passes of
// `p` make them. `out` must stay where it is.
VQ_NODISCARD vq_status calibration_open(driver *d, const vq_module *m,
                                        const vq_pipeline *p, const char *model,
                                        calibration *out);
// Lets dumps of `m`, as imported, be gone on with by the pictures of a profile.
void calibration_mark(const driver *d, vq_module *m);
// Lets `exec` have them.
void calibration_give(calibration *c, vq_exec *exec);
// Writes the pictures, or a sheet of those that are written, and the ranges that they gave
// where --calib-out or --resume says so; compares ranges with those of a --profile.
VQ_NODISCARD vq_status calibration_write(calibration *c, const vq_exec *exec);
VQ_NODISCARD vq_status calibration_close(calibration *c);

// Threads that run the model meanwhile.
unsigned calibration_threads(const options *o);

#endif
