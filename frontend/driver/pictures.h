// Calibration samples as pictures to look at.
#ifndef VQ_DRIVER_PICTURES_H
#define VQ_DRIVER_PICTURES_H

#include "driver.h"
#include "vitq_abi.h"
#include "vq/exec.h"

// Writes samples of `type` as dir/00000.png, ... and the first 256 of them together as
// dir/sheet/sheet.png, which is no picture of the folder. The folders are made.
VQ_NODISCARD vq_status write_pictures(driver *d, const vq_samples *s, const vq_type *type,
                                      const vitq_preprocess *preprocess, const char *dir);

#endif
