// Resampling by separable convolution in fixed point.
//
// Output pixel x of a row looks at the inputs around (x + 0.5) * scale - 0.5,
// scale = in / out. When shrinking, the kernel is stretched by `scale`, so that
// every input contributes (antialiasing). Weights are normalised in binary64,
// rounded to 22 fractional bits (half away from zero) and applied in 32-bit
// integers; rows first, then columns, with an 8-bit picture between. Each of
// these choices is Pillow's, and changing any changes pixels.
#include <math.h>
#include <stdlib.h>

#include "vq/image.h"

enum { BITS = 22 };

// Kernels; their support is the distance beyond which they are 0.
static double bilinear(double x) {
  x = fabs(x);
  return x < 1 ? 1 - x : 0;
}

// Keys' cubic with a = -1/2.
static double bicubic(double x) {
  const double a = -0.5;
  x = fabs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// For each output: which inputs, and their weights (`width` slots each).
typedef struct weights {
  uint32_t width;
  uint32_t *first, *count;
  int32_t *w;
} weights;

static void *grab(size_t n, size_t size) {
  void *p = calloc(n, size);
  if (!p) vq_oom(n * size);
  return p;
}

// Fills the weights of output `x`; tmp has room for one set.
static void fill_weights(weights *k, uint32_t x, uint32_t in, double scale,
                         vq_interp interp, double *tmp) {
  double stretch = scale > 1 ? scale : 1;
  double support = (interp == VQ_INTERP_BICUBIC ? 2.0 : 1.0) * stretch;
  double centre = (x + 0.5) * scale, sum = 0;
  double lo = centre - support + 0.5, hi = centre + support + 0.5;
  uint32_t first = lo > 0 ? (uint32_t)lo : 0;
  uint32_t last = hi < in ? (uint32_t)hi : in;
  for (uint32_t i = first; i < last; i++) {
    double d = ((double)i - centre + 0.5) * (1.0 / stretch);
    tmp[i - first] = interp == VQ_INTERP_BICUBIC ? bicubic(d) : bilinear(d);
    sum += tmp[i - first];
  }
  k->first[x] = first;
  k->count[x] = last - first;
  int32_t *w = k->w + (size_t)x * k->width;
  for (uint32_t i = 0; i < last - first; i++) {
    double v = (sum != 0 ? tmp[i] / sum : tmp[i]) * (1 << BITS);
    w[i] = (int32_t)(v < 0 ? v - 0.5 : v + 0.5);
  }
}

static weights make_weights(uint32_t in, uint32_t out, vq_interp interp) {
  double scale = (double)in / out, stretch = scale > 1 ? scale : 1;
  double support = (interp == VQ_INTERP_BICUBIC ? 2.0 : 1.0) * stretch;
  weights k = {.width = (uint32_t)ceil(support) * 2 + 1};
  k.first = grab(out, sizeof *k.first);
  k.count = grab(out, sizeof *k.count);
  k.w = grab((size_t)out * k.width, sizeof *k.w);
  double *tmp = grab(k.width, sizeof *tmp);
  for (uint32_t x = 0; x < out; x++)
    fill_weights(&k, x, in, scale, interp, tmp);
  free(tmp);
  return k;
}

static void release_weights(weights *k) {
  free(k->first);
  free(k->count);
  free(k->w);
}

static uint8_t clip(int32_t v) {
  v >>= BITS;
  return v < 0 ? 0 : v > 255 ? 255 : (uint8_t)v;
}

// out = weighted sum of k->count[x] samples of `in`, `stride` apart.
static uint8_t convolve(const weights *k, uint32_t x, const uint8_t *in,
                        size_t stride) {
  const int32_t *w = k->w + (size_t)x * k->width;
  const uint8_t *p = in + k->first[x] * stride;
  int32_t sum = 1 << (BITS - 1);
  for (uint32_t i = 0; i < k->count[x]; i++) sum += p[i * stride] * w[i];
  return clip(sum);
}

static void resize_rows(vq_image *im, uint32_t width, vq_interp interp) {
  weights k = make_weights(im->width, width, interp);
  vq_image to = vq_image_alloc(width, im->height, im->channels);
  uint32_t ch = im->channels;
  for (uint32_t y = 0; y < im->height; y++) {
    const uint8_t *in = im->px + (size_t)y * im->width * ch;
    uint8_t *out = to.px + (size_t)y * width * ch;
    for (uint32_t x = 0; x < width; x++)
      for (uint32_t c = 0; c < ch; c++)
        out[(size_t)x * ch + c] = convolve(&k, x, in + c, ch);
  }
  release_weights(&k);
  vq_image_release(im);
  *im = to;
}

static void resize_columns(vq_image *im, uint32_t height, vq_interp interp) {
  weights k = make_weights(im->height, height, interp);
  vq_image to = vq_image_alloc(im->width, height, im->channels);
  size_t row = (size_t)im->width * im->channels;
  for (uint32_t y = 0; y < height; y++)
    for (size_t i = 0; i < row; i++)
      to.px[y * row + i] = convolve(&k, y, im->px + i, row);
  release_weights(&k);
  vq_image_release(im);
  *im = to;
}

// Source offsets of `out` samples. The position is accumulated, not computed
// afresh, because where it falls on a border the rounding decides.
static size_t *nearest_table(uint32_t in, uint32_t out, size_t stride) {
  size_t *t = grab(out, sizeof *t);
  double scale = (double)in / out, at = scale * 0.5;
  for (uint32_t i = 0; i < out; i++, at += scale)
    t[i] = (at < in ? (uint32_t)at : in - 1) * stride;
  return t;
}

static void resize_nearest(vq_image *im, uint32_t width, uint32_t height) {
  uint32_t ch = im->channels;
  vq_image to = vq_image_alloc(width, height, ch);
  size_t *column = nearest_table(im->width, width, ch);
  size_t *row = nearest_table(im->height, height, (size_t)im->width * ch);
  uint8_t *out = to.px;
  for (uint32_t y = 0; y < height; y++)
    for (uint32_t x = 0; x < width; x++, out += ch)
      memcpy(out, im->px + row[y] + column[x], ch);
  free(row);
  free(column);
  vq_image_release(im);
  *im = to;
}

void vq_image_resize(vq_image *im, uint32_t width, uint32_t height,
                     vq_interp interp) {
  if (im->width == width && im->height == height) return;
  if (interp == VQ_INTERP_NEAREST) {
    resize_nearest(im, width, height);
    return;
  }
  if (im->width != width) resize_rows(im, width, interp);
  if (im->height != height) resize_columns(im, height, interp);
}
