// Calibration samples for passes, as --calib, --calib-size, --calib-steps and --seed
// say.
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
  const vq_type *type;  // of the input
  double since, shown;  // when the bar began, when it was drawn; 0: never
  int64_t done;
} calibration;

// Opens what --calib names for the module's input; there are no samples when passes
// make them. `out` must stay where it is.
VQ_NODISCARD vq_status calibration_open(driver *d, const vq_module *m,
                                        const char *model, calibration *out);
void calibration_close(calibration *c);

// Whether the samples are pictures that a pass makes out of the model.
bool calibration_is_made(const options *o);
// `pipeline`, that of a level, with this pass where one of it learns from samples.
const char *calibration_pass(driver *d, const char *pipeline);
// Threads that run the model meanwhile.
unsigned calibration_threads(const options *o);

#endif
