// Calibration samples for passes, as --calib, --calib-size and --seed say.
#ifndef VQ_DRIVER_CALIB_H
#define VQ_DRIVER_CALIB_H

#include "source.h"
#include "vq/exec.h"
#include "vq/ir.h"

typedef struct calibration {
  vq_samples samples;  // n = 0: none
  driver *d;
  source pictures;
  bool is_noise, is_open;
  int64_t stride, count;
  uint64_t seed;
  vitq_preprocess preprocess;
} calibration;

// Opens what --calib names for the module's input; without --calib there are no
// samples. `out` must stay where it is.
VQ_NODISCARD vq_status calibration_open(driver *d, const vq_module *m,
                                        const char *model, calibration *out);
void calibration_close(calibration *c);

#endif
