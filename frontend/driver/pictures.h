// Calibration samples as pictures to look at.
#ifndef VQ_DRIVER_PICTURES_H
#define VQ_DRIVER_PICTURES_H

#include "driver.h"
#include "vq/exec.h"
#include "vq/image.h"
#include "vq/pixels.h"

// Whether samples of a type can be written: [batch, 1 or 3, height, width].
bool picture_fits(const vq_type *type);
// The picture that is nearest to sample `x`, into `im` of its size.
void picture_of(const float *x, const vq_pixel_range *range, vq_image *im);
VQ_NODISCARD vq_status picture_write(driver *d, const char *path, const vq_image *im);
VQ_NODISCARD vq_status picture_folder(driver *d, const char *path);  // may be there

// Appends the PNG of a sheet: the first `most` samples of `type` one beside the other,
// made smaller where a side is longer than `side`.
VQ_NODISCARD vq_status picture_sheet(driver *d, const vq_samples *s, const vq_type *type,
                                     const vq_pixel_range *range, int64_t most,
                                     uint32_t side, vq_strbuf *png);

// Writes samples of `type`, if `each`, as dir/00000.png, ... and the first 256 of them
// together as dir/sheet/sheet.png, which is no picture of the folder. The folders are made.
VQ_NODISCARD vq_status write_pictures(driver *d, const vq_samples *s, const vq_type *type,
                                      const vq_pixel_range *range, const char *dir,
                                      bool each);

#endif
