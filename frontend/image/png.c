// PNG through libpng, without colour management: samples as stored.
#include <setjmp.h>
#include <stdlib.h>

#include <png.h>

#include "decode.h"

typedef struct decoder {
  png_structp png;
  png_infop info;
  const uint8_t *bytes;
  size_t n, at;
  char text[128];
  vq_image image;
  png_bytep *row;
} decoder;

static void fatal(png_structp png, png_const_charp text) {
  decoder *d = png_get_error_ptr(png);
  strncpy(d->text, text, sizeof d->text - 1);
  png_longjmp(png, 1);
}

static void ignore(png_structp png, png_const_charp text) {
  (void)png, (void)text;
}

static void supply(png_structp png, png_bytep out, size_t n) {
  decoder *d = png_get_io_ptr(png);
  if (n > d->n - d->at) png_error(png, "the file ends too early");
  memcpy(out, d->bytes + d->at, n);
  d->at += n;
}

// Asks for 8-bit grey or RGB whatever the file has.
static void choose_samples(decoder *d) {
  png_byte type = png_get_color_type(d->png, d->info);
  png_set_strip_16(d->png);
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(d->png);
  if (type == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(d->png);
  png_set_strip_alpha(d->png);
  png_set_interlace_handling(d->png);
  png_read_update_info(d->png, d->info);
}

static bool decode(decoder *d, vq_loc loc, vq_diag *diag) {
  png_set_user_limits(d->png, 0x7fffffff, 0x7fffffff);
  png_set_read_fn(d->png, d, supply);
  png_read_info(d->png, d->info);
  uint32_t w = png_get_image_width(d->png, d->info);
  uint32_t h = png_get_image_height(d->png, d->info);
  if (vq_check_picture_size(w, h, loc, diag)) return false;
  choose_samples(d);
  uint32_t channels = png_get_channels(d->png, d->info);
  d->image = vq_image_alloc(w, h, channels);
  d->row = calloc(h, sizeof *d->row);
  if (!d->row) vq_oom(h * sizeof *d->row);
  for (uint32_t y = 0; y < h; y++)
    d->row[y] = d->image.px + (size_t)y * w * channels;
  png_read_image(d->png, d->row);
  png_read_end(d->png, NULL);
  return true;
}

// `d` belongs to the caller, so the jump leaves its members defined.
static bool decode_or_explain(decoder *d, vq_loc loc, vq_diag *diag) {
  if (setjmp(png_jmpbuf(d->png)) == 0) return decode(d, loc, diag);
  vq_error(diag, VQ_E_picture, loc, "not a readable PNG: %s", d->text);
  return false;
}

vq_status vq_decode_png(const uint8_t *bytes, size_t n, vq_loc loc,
                        vq_diag *diag, vq_image *out) {
  decoder d = {.bytes = bytes, .n = n};
  d.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &d, fatal, ignore);
  if (!d.png) vq_oom(0);
  d.info = png_create_info_struct(d.png);
  if (!d.info) vq_oom(0);
  bool ok = decode_or_explain(&d, loc, diag);
  png_destroy_read_struct(&d.png, &d.info, NULL);
  free(d.row);
  if (ok)
    *out = d.image;
  else
    vq_image_release(&d.image);
  return ok ? VQ_OK : VQ_ERR;
}
