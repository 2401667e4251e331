// JPEG through libjpeg, whose fatal errors become diagnostics.
//
// libjpeg leaves by longjmp, so everything it may have allocated hangs on one
// struct that outlives the jump and is released in one place.
#include <setjmp.h>
#include <stdio.h>

#include <jpeglib.h>
#include <jerror.h>

#include "decode.h"

typedef struct decoder {
  struct jpeg_decompress_struct info;
  struct jpeg_error_mgr error;
  jmp_buf escape;
  char text[JMSG_LENGTH_MAX];
  vq_image image;
  uint8_t *row;  // of four CMYK samples; NULL otherwise
} decoder;

static void fatal(j_common_ptr info) {
  decoder *d = info->client_data;
  info->err->format_message(info, d->text);
  longjmp(d->escape, 1);
}

// Warnings are about data that still decodes, except for a file that ends too
// early, whose rest libjpeg would paint grey.
static void message(j_common_ptr info, int level) {
  if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) fatal(info);
}

// Four samples per pixel, stored inverted when the file has Adobe's marker.
static void cmyk_to_rgb(const uint8_t *in, uint8_t *out, uint32_t n,
                        bool inverted) {
  for (uint32_t i = 0; i < n; i++)
    for (uint32_t c = 0; c < 3; c++) {
      unsigned ink = in[4 * i + c], black = in[4 * i + 3];
      if (!inverted) ink = 255 - ink, black = 255 - black;
      unsigned v = ink * black + 128;  // divide by 255, to nearest
      out[3 * i + c] = (uint8_t)((v + (v >> 8)) >> 8);
    }
}

static void choose_colours(struct jpeg_decompress_struct *info) {
  if (info->jpeg_color_space == JCS_GRAYSCALE)
    info->out_color_space = JCS_GRAYSCALE;
  else if (info->jpeg_color_space == JCS_CMYK ||
           info->jpeg_color_space == JCS_YCCK)
    info->out_color_space = JCS_CMYK;
  else
    info->out_color_space = JCS_RGB;
}

static void read_rows(decoder *d) {
  struct jpeg_decompress_struct *info = &d->info;
  size_t stride = (size_t)d->image.width * d->image.channels;
  while (info->output_scanline < info->output_height) {
    uint8_t *out = d->image.px + info->output_scanline * stride;
    JSAMPROW row = d->row ? d->row : out;
    jpeg_read_scanlines(info, &row, 1);
    if (d->row)
      cmyk_to_rgb(d->row, out, d->image.width, info->saw_Adobe_marker);
  }
}

// Returns false after a diagnostic that is not libjpeg's.
static bool decode(decoder *d, const uint8_t *bytes, size_t n, vq_loc loc,
                   vq_diag *diag) {
  struct jpeg_decompress_struct *info = &d->info;
  jpeg_create_decompress(info);
  jpeg_mem_src(info, bytes, (unsigned long)n);
  jpeg_read_header(info, TRUE);
  if (vq_check_picture_size(info->image_width, info->image_height, loc, diag))
    return false;
  choose_colours(info);
  jpeg_start_decompress(info);
  bool cmyk = info->out_color_space == JCS_CMYK;
  d->image = vq_image_alloc(info->output_width, info->output_height,
                            info->out_color_space == JCS_GRAYSCALE ? 1 : 3);
  if (cmyk)
    d->row = info->mem->alloc_large((j_common_ptr)info, JPOOL_IMAGE,
                                    (size_t)info->output_width * 4);
  read_rows(d);
  jpeg_finish_decompress(info);
  return true;
}

// `d` belongs to the caller, so the jump leaves its members defined.
static bool decode_or_explain(decoder *d, const uint8_t *bytes, size_t n,
                              vq_loc loc, vq_diag *diag) {
  if (setjmp(d->escape) == 0) return decode(d, bytes, n, loc, diag);
  vq_error(diag, VQ_E_picture, loc, "not a readable JPEG: %s", d->text);
  return false;
}

vq_status vq_decode_jpeg(const uint8_t *bytes, size_t n, vq_loc loc,
                         vq_diag *diag, vq_image *out) {
  decoder d;
  memset(&d, 0, sizeof d);
  d.info.err = jpeg_std_error(&d.error);
  d.info.client_data = &d;
  d.error.error_exit = fatal;
  d.error.emit_message = message;
  bool ok = decode_or_explain(&d, bytes, n, loc, diag);
  jpeg_destroy_decompress(&d.info);
  if (ok)
    *out = d.image;
  else
    vq_image_release(&d.image);
  return ok ? VQ_OK : VQ_ERR;
}
