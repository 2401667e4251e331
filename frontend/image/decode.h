// The picture decoders, one per format.
#ifndef VQ_IMAGE_DECODE_H
#define VQ_IMAGE_DECODE_H

#include "vq/image.h"

VQ_NODISCARD vq_status vq_decode_jpeg(const uint8_t *bytes, size_t n, vq_loc loc,
                                      vq_diag *diag, vq_image *out);
VQ_NODISCARD vq_status vq_decode_png(const uint8_t *bytes, size_t n, vq_loc loc,
                                     vq_diag *diag, vq_image *out);

// An error when the size is zero or beyond VQ_IMAGE_MAX_PIXELS.
VQ_NODISCARD vq_status vq_check_picture_size(uint64_t width, uint64_t height,
                                             vq_loc loc, vq_diag *diag);

#endif
