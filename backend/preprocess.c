// Preprocessing, labels and other facts out of the module's meta entries.
#include "preprocess.h"

#include <math.h>
#include <stdlib.h>

static vq_status bad(vq_diag *diag, const char *key, vq_str value,
                     const char *expected) {
  return vq_error(diag, VQ_E_option, (vq_loc){0},
                  "%s is '%.*s', expected %s", key, VQ_FMT(value), expected);
}

// Reads up to `max` comma-separated finite numbers; *n says how many.
static bool read_numbers(vq_str text, float *out, unsigned max, unsigned *n) {
  char buf[256];
  *n = 0;
  if (text.n == 0 || text.n >= sizeof buf) return false;
  memcpy(buf, text.p, text.n);
  buf[text.n] = 0;
  char *p = buf;
  for (;;) {
    char *end;
    float v = strtof(p, &end);
    if (end == p || !isfinite(v) || *n == max) return false;
    out[(*n)++] = v;
    if (*end == 0) return true;
    if (*end != ',') return false;
    p = end + 1;
  }
}

static vq_status read_list(const vq_module *m, const char *key, float out[4],
                           float fill, uint32_t *stated, uint32_t *channels,
                           vq_diag *diag) {
  vq_str text = vq_meta_get(m, key);
  for (unsigned i = 0; i < 4; i++) out[i] = fill;
  if (!text.n) return VQ_OK;
  unsigned n;
  if (!read_numbers(text, out, 4, &n) || n == 2)
    return bad(diag, key, text, "1, 3 or 4 numbers");
  *stated = 1;
  if (n == 1) out[1] = out[2] = out[3] = out[0];
  else if (*channels && *channels != n)
    return bad(diag, key, text, "as many numbers as there are channels");
  return VQ_OK;
}

static vq_status read_side(const vq_module *m, const char *key, uint32_t *out,
                           uint32_t *stated, vq_diag *diag) {
  vq_str text = vq_meta_get(m, key);
  float v;
  unsigned n;
  if (!text.n) return VQ_OK;
  if (!read_numbers(text, &v, 1, &n) || v < 0 || v > 65536 || v != floorf(v))
    return bad(diag, key, text, "a whole number of pixels from 0 to 65536");
  *stated = 1;
  *out = (uint32_t)v;
  return VQ_OK;
}

static vq_status read_interp(const vq_module *m, vitq_preprocess *out,
                             vq_diag *diag) {
  static const char *const name[] = {"nearest", "bilinear", "bicubic"};
  vq_str text = vq_meta_get(m, "preprocess.interp");
  out->interp = 2;
  if (!text.n) return VQ_OK;
  out->stated = 1;
  for (uint32_t i = 0; i < VQ_COUNT(name); i++) {
    out->interp = i;
    if (vq_str_is(text, name[i])) return VQ_OK;
  }
  return bad(diag, "preprocess.interp", text, "nearest, bilinear or bicubic");
}

// Channels of the first input when it is a picture [N, C, H, W].
static uint32_t input_channels(const vq_module *m) {
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  if (!f || f->n_arg == 0 || f->arg[0].type->rank != 4) return 0;
  int64_t c = f->arg[0].type->dim[1];
  return c >= 1 && c <= 4 ? (uint32_t)c : 0;
}

vq_status vq_preprocess_read(const vq_module *m, vitq_preprocess *out,
                             vq_diag *diag) {
  memset(out, 0, sizeof *out);
  out->size = sizeof *out;
  out->channels = input_channels(m);
  uint32_t one = 1;
  float scale[4];
  if (read_list(m, "preprocess.scale", scale, 1.0f, &out->stated, &one, diag) ||
      read_list(m, "preprocess.mean", out->mean, 0.0f, &out->stated,
                &out->channels, diag) ||
      read_list(m, "preprocess.std", out->std, 1.0f, &out->stated,
                &out->channels, diag) ||
      read_side(m, "preprocess.resize", &out->resize, &out->stated, diag) ||
      read_side(m, "preprocess.crop", &out->crop, &out->stated, diag))
    return VQ_ERR;
  out->scale = scale[0];
  for (unsigned i = 0; i < 4; i++)
    if (out->std[i] == 0.0f)
      return bad(diag, "preprocess.std", vq_meta_get(m, "preprocess.std"),
                 "numbers other than 0");
  return read_interp(m, out, diag);
}

vq_str vq_label_next(vq_str *rest) {
  const char *end = memchr(rest->p, '\n', rest->n);
  vq_str line = {rest->p, end ? (size_t)(end - rest->p) : rest->n};
  size_t used = end ? line.n + 1 : line.n;
  rest->p += used;
  rest->n -= used;
  if (line.n && line.p[line.n - 1] == '\r') line.n--;
  return line;
}

unsigned vq_label_count(const vq_module *m) {
  unsigned n = 0;
  for (vq_str rest = vq_meta_get(m, "labels"); rest.n; n++) vq_label_next(&rest);
  return n;
}

bool vq_meta_is_plain(const vq_meta *entry) {
  return !vq_str_is(entry->key, "labels") &&
         !vq_str_starts(entry->key, VQ_LIT("preprocess")) &&
         !vq_str_starts(entry->key, VQ_LIT("calibration"));
}
