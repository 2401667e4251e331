// Pictures in memory: colour conversion, cropping, tensors.
#include "vq/image.h"

#include <stdlib.h>

vq_image vq_image_alloc(uint32_t width, uint32_t height, uint32_t channels) {
  size_t bytes = (size_t)width * height * channels;
  uint8_t *px = malloc(bytes);
  if (!px) vq_oom(bytes);
  return (vq_image){width, height, channels, px};
}

void vq_image_release(vq_image *im) {
  free(im->px);
  *im = (vq_image){0};
}

// Replaces *im by `by`.
static void become(vq_image *im, vq_image by) {
  free(im->px);
  *im = by;
}

// Luma weights in 16 bits; they add up to 65536.
static uint8_t luma(const uint8_t *p) {
  return (uint8_t)((p[0] * 19595u + p[1] * 38470u + p[2] * 7471u + 0x8000u) >>
                   16);
}

void vq_image_convert(vq_image *im, uint32_t channels) {
  if (im->channels == channels) return;
  vq_image to = vq_image_alloc(im->width, im->height, channels);
  size_t n = (size_t)im->width * im->height;
  for (size_t i = 0; i < n; i++) {
    if (channels == 1)
      to.px[i] = luma(im->px + 3 * i);
    else
      memset(to.px + 3 * i, im->px[i], 3);
  }
  become(im, to);
}

void vq_image_crop(vq_image *im, uint32_t side) {
  if (im->width == side && im->height == side) return;
  vq_image to = vq_image_alloc(side, side, im->channels);
  uint32_t left = (im->width - side) / 2, top = (im->height - side) / 2;
  size_t row = (size_t)side * im->channels;
  for (uint32_t y = 0; y < side; y++) {
    size_t from = ((size_t)(top + y) * im->width + left) * im->channels;
    memcpy(to.px + y * row, im->px + from, row);
  }
  become(im, to);
}

// Shorter side to `side`; the longer one in proportion, rounded down.
static vq_status resize_shorter(vq_image *im, uint32_t side, vq_interp interp,
                                vq_loc loc, vq_diag *diag) {
  uint32_t w = im->width, h = im->height, shorter = w < h ? w : h;
  uint64_t nw = (uint64_t)w * side / shorter, nh = (uint64_t)h * side / shorter;
  if (nw > VQ_IMAGE_MAX_PIXELS || nh > VQ_IMAGE_MAX_PIXELS ||
      nw * nh > VQ_IMAGE_MAX_PIXELS)
    return vq_error(diag, VQ_E_picture, loc,
                    "resizing %ux%u to a shorter side of %u gives more than "
                    "2^28 pixels", w, h, side);
  vq_image_resize(im, (uint32_t)nw, (uint32_t)nh, interp);
  return VQ_OK;
}

static vq_status shape_picture(vq_image *im, const vq_preproc *pp,
                               uint32_t height, uint32_t width, vq_loc loc,
                               vq_diag *diag) {
  uint32_t w = im->width, h = im->height;
  if (pp->resize && resize_shorter(im, pp->resize, pp->interp, loc, diag))
    return VQ_ERR;
  if (pp->crop && (im->width < pp->crop || im->height < pp->crop))
    return vq_error(diag, VQ_E_picture, loc,
                    "the picture is %ux%u%s, too small for the centre crop of "
                    "%ux%u", im->width, im->height,
                    pp->resize ? " after resizing" : "", pp->crop, pp->crop);
  if (pp->crop) vq_image_crop(im, pp->crop);
  if (im->width == width && im->height == height) return VQ_OK;
  vq_error(diag, VQ_E_picture, loc,
           "the picture is %ux%u%s, the model takes %ux%u", im->width,
           im->height, pp->resize || pp->crop ? " after preprocessing" : "",
           width, height);
  vq_note(diag, (vq_loc){0},
          "it was %ux%u; compile with --preprocess='resize=%u crop=%u ...' to "
          "have pictures brought to size", w, h, width < height ? width : height,
          width < height ? width : height);
  return VQ_ERR;
}

vq_status vq_image_tensor(vq_image *im, const vq_preproc *pp, uint32_t channels,
                          uint32_t height, uint32_t width, vq_loc loc,
                          vq_diag *diag, float *out) {
  if (channels != 1 && channels != 3)
    return vq_error(diag, VQ_E_picture, loc,
                    "the model takes %u channels, pictures have 1 or 3",
                    channels);
  vq_image_convert(im, channels);
  if (shape_picture(im, pp, height, width, loc, diag)) return VQ_ERR;
  size_t n = (size_t)im->width * im->height;
  for (uint32_t c = 0; c < channels; c++)
    for (size_t i = 0; i < n; i++)
      out[c * n + i] =
          ((float)im->px[i * channels + c] * pp->scale - pp->mean[c]) /
          pp->std[c];
  return VQ_OK;
}
