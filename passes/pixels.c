// What a module states about its pictures.
#include "pixels.h"

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

bool vq_pixel_ranges(const vq_module *m, int64_t n_channel, vq_pixel_range *out) {
  if (n_channel < 1 || n_channel > 4 || !vq_meta_get(m, "preprocess.scale").n)
    return false;
  for (int64_t c = 0; c < n_channel; c++) {
    vq_pixel_range *r = &out[c];
    r->scale = number(m, "preprocess.scale", 0, 1);
    r->mean = number(m, "preprocess.mean", c, 0);
    r->std = number(m, "preprocess.std", c, 1);
    double a = -r->mean / r->std, b = (255 * r->scale - r->mean) / r->std;
    r->lo = (float)fmin(a, b), r->hi = (float)fmax(a, b);
    if (!isfinite(r->lo) || !isfinite(r->hi) || r->std == 0 || r->scale == 0) return false;
  }
  return true;
}
