// What a module states about its pictures.
#include "vq/pixels.h"

#include <math.h>
#include <stdlib.h>

#include "vq/strbuf.h"

// Number `i` of a list "x,y,z", or the only one; `missing` for an absent entry.
static double number(const vq_module *m, const char *key, int64_t i, double missing) {
  vq_str text = vq_meta_get(m, key);
  vq_strbuf z = {0};
  double v = missing;
  if (text.n) {
    vq_strbuf_add(&z, text.p, text.n);
    const char *at = vq_strbuf_z(&z);
    for (int64_t k = 0; k < i && strchr(at, ','); k++) at = strchr(at, ',') + 1;
    v = strtod(at, NULL);
  }
  vq_strbuf_release(&z);
  return v;
}

static void bound(vq_pixel_range *r) {
  float a = vq_pixel_value(r, 0), b = vq_pixel_value(r, 255);
  r->lo = fminf(a, b), r->hi = fmaxf(a, b);
}

bool vq_pixel_ranges(const vq_module *m, int64_t n_channel, vq_pixel_range *out) {
  if (n_channel < 1 || n_channel > 4 || !vq_meta_get(m, "preprocess.scale").n)
    return false;
  for (int64_t c = 0; c < n_channel; c++) {
    vq_pixel_range *r = &out[c];
    r->scale = number(m, "preprocess.scale", 0, 1);
    r->mean = number(m, "preprocess.mean", c, 0);
    r->std = number(m, "preprocess.std", c, 1);
    bound(r);
    if (!isfinite(r->lo) || !isfinite(r->hi) || r->std == 0 || r->scale == 0) return false;
  }
  return true;
}

void vq_pixel_ranges_assumed(const vq_module *m, int64_t n_channel, vq_pixel_range *out) {
  if (vq_pixel_ranges(m, n_channel, out)) return;
  for (int64_t c = 0; c < n_channel; c++) {
    out[c] = (vq_pixel_range){.scale = 1 / 51.0, .mean = 2.5, .std = 1};
    bound(&out[c]);
  }
}

// As vq_image_tensor has it.
float vq_pixel_value(const vq_pixel_range *r, uint8_t p) {
  return ((float)p * (float)r->scale - (float)r->mean) / (float)r->std;
}

uint8_t vq_pixel_nearest(const vq_pixel_range *r, float x) {
  double p = ((double)x * r->std + r->mean) / r->scale;
  return (uint8_t)nearbyint(p > 0 ? p < 255 ? p : 255 : 0);
}
