// Calibration samples as pictures to look at.
#include "pictures.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "calib_profile.h"
#include "temporary.h"

enum { MOST_ON_SHEET = 256, GAP = 2 };

bool picture_fits(const vq_type *t) {
  return t && t->rank == 4 && (t->dim[1] == 1 || t->dim[1] == 3) && t->dim[2] > 0 &&
         t->dim[2] < 8192 && t->dim[3] > 0 && t->dim[3] < 8192;
}

void picture_of(const float *x, const vq_pixel_range *range, vq_image *im) {
  size_t area = (size_t)im->width * im->height;
  for (size_t c = 0; c < im->channels; c++)
    for (size_t i = 0; i < area; i++)
      im->px[i * im->channels + c] = vq_pixel_nearest(&range[c], x[c * area + i]);
}

vq_status picture_folder(driver *d, const char *path) {
  if (mkdir(path, 0777) == 0 || errno == EEXIST) return VQ_OK;
  return vq_error(&d->diag, VQ_E_io, at_path(d, path), "cannot create the folder: %s",
                  strerror(errno));
}

vq_status picture_write(driver *d, const char *path, const vq_image *im) {
  vq_strbuf png = {0};
  vq_image_encode(im, &png);
  vq_status st = out_write(path, png.p, png.n, d);
  vq_strbuf_release(&png);
  return st;
}

// Puts `im` at place `i` of the sheet.
static void paste(vq_image *sheet, int64_t columns, int64_t i, const vq_image *im) {
  size_t row = (size_t)im->width * im->channels;
  size_t x = (size_t)(i % columns) * (im->width + GAP);
  size_t y = (size_t)(i / columns) * (im->height + GAP);
  for (size_t k = 0; k < im->height; k++)
    memcpy(sheet->px + ((y + k) * sheet->width + x) * im->channels, im->px + k * row, row);
}

static vq_image blank_sheet(const vq_image *im, int64_t n, int64_t *columns) {
  *columns = 1;
  while (*columns * *columns < n) ++*columns;
  int64_t rows = (n + *columns - 1) / *columns;
  vq_image sheet = vq_image_alloc((uint32_t)*columns * (im->width + GAP) - GAP,
                                  (uint32_t)rows * (im->height + GAP) - GAP, im->channels);
  memset(sheet.px, 255, (size_t)sheet.width * sheet.height * sheet.channels);
  return sheet;
}

static vq_status write_each(driver *d, const vq_samples *s, const vq_pixel_range *range,
                            const char *dir, bool each, vq_image *im, vq_image *sheet,
                            int64_t columns) {
  size_t count = (size_t)im->width * im->height * im->channels;
  float *x = malloc(count * sizeof *x);
  if (!x) vq_oom(count * sizeof *x);
  vq_status st = VQ_OK;
  for (int64_t i = 0; i < s->n && !st; i++) {
    st = s->load(s->user, i, x, &d->diag);
    if (!st) picture_of(x, range, im);
    if (!st && i < MOST_ON_SHEET) paste(sheet, columns, i, im);
    if (!st && each) st = picture_write(d, calib_picture_path(d, dir, i), im);
  }
  free(x);
  return st;
}

vq_status picture_sheet(driver *d, const vq_samples *s, const vq_type *type,
                        const vq_pixel_range *range, int64_t most, uint32_t side,
                        vq_strbuf *png) {
  uint32_t width = (uint32_t)type->dim[3], height = (uint32_t)type->dim[2];
  uint32_t channels = (uint32_t)type->dim[1], longer = width > height ? width : height;
  size_t count = (size_t)width * height * channels;
  float *x = malloc(count * sizeof *x);
  if (!x) vq_oom(count * sizeof *x);
  vq_image sheet = {0};
  vq_status st = VQ_OK;
  int64_t columns = 1, n = s->n < most ? s->n : most;
  for (int64_t i = 0; i < n && !st; i++) {
    vq_image im = vq_image_alloc(width, height, channels);
    st = s->load(s->user, i, x, &d->diag);
    if (!st) picture_of(x, range, &im);
    if (!st && longer > side)
      vq_image_resize(&im, (width * side + longer - 1) / longer,
                      (height * side + longer - 1) / longer, VQ_INTERP_BICUBIC);
    if (!st && i == 0) sheet = blank_sheet(&im, n, &columns);
    if (!st) paste(&sheet, columns, i, &im);
    vq_image_release(&im);
  }
  if (!st && n) vq_image_encode(&sheet, png);
  vq_image_release(&sheet);
  free(x);
  return st;
}

vq_status write_pictures(driver *d, const vq_samples *s, const vq_type *type,
                         const vq_pixel_range *range, const char *dir, bool each) {
  if (!s || s->n < 1 || !picture_fits(type))
    return vq_error(&d->diag, VQ_E_unsupported, at_path(d, dir),
                    "nothing was calibrated with pictures that could be written here");
  vq_strbuf folder = {0}, path = {0};
  vq_strbuf_printf(&folder, "%s/sheet", dir);
  vq_strbuf_printf(&path, "%s/sheet.png", folder.p);
  vq_image im = vq_image_alloc((uint32_t)type->dim[3], (uint32_t)type->dim[2],
                               (uint32_t)type->dim[1]);
  int64_t columns, most = s->n < MOST_ON_SHEET ? s->n : MOST_ON_SHEET;
  vq_image sheet = blank_sheet(&im, most, &columns);
  vq_status st = picture_folder(d, dir);
  if (!st) st = picture_folder(d, folder.p);
  if (!st) st = write_each(d, s, range, dir, each, &im, &sheet, columns);
  if (!st) st = picture_write(d, path.p, &sheet);
  vq_image_release(&sheet);
  vq_image_release(&im);
  vq_strbuf_release(&folder);
  vq_strbuf_release(&path);
  return st;
}
