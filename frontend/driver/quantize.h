// What the options of quantization say to the passes of a level.
#ifndef VQ_DRIVER_QUANTIZE_H
#define VQ_DRIVER_QUANTIZE_H

#include "driver.h"
#include "vq/pass.h"

// Whether --calib says that activations stay float.
bool weights_only(const driver *d);

// Gives the passes of a level's pipeline what --bits and --calib mean for them.
VQ_NODISCARD vq_status quantize_options(driver *d, vq_pipeline *p);

#endif
