// Made calibration pictures as files.
//
// synthesize rounds its pictures to pixels, so a PNG holds all of one. First the picture
// is written, then, about every second, the profile with checksums; all files appear
// complete or not at all. Pictures that an interrupt left unlisted are made again, with
// the same bytes.
#include "picture_store.h"

#include <unistd.h>

#include "pictures.h"
#include "vq/image.h"
#include "vq/text.h"

// Of the model as imported, in dumps of what passes made of it.
static const char digest_key[] = "calibration.model";

void picture_store_digest(const vq_module *m, char hex[65]) {
  vq_str stated = vq_meta_get(m, digest_key);
  if (stated.n == 64) {
    memcpy(hex, stated.p, 64);
    hex[64] = '\0';
    return;
  }
  static const char *const keys[] = {"preprocess.scale", "preprocess.mean",
                                     "preprocess.std"};
  vq_strbuf text = {0};
  vq_each_const(m, c) {
    char one[65];
    vq_const_digest(c, one);
    vq_print_name(&text, '@', c->value.name);
    vq_strbuf_printf(&text, " %s\n", one);
  }
  vq_each_func(m, f) vq_print_func(&text, f);
  for (size_t i = 0; i < VQ_COUNT(keys); i++)
    vq_strbuf_printf(&text, "%.*s\n", VQ_FMT(vq_meta_get(m, keys[i])));
  vq_digest(text.p, text.n, hex);
  vq_strbuf_release(&text);
}

void picture_store_mark(vq_module *m) {
  char hex[65];
  picture_store_digest(m, hex);
  vq_meta_set(m, digest_key, vq_str_of(hex));
}

static size_t n_pixels(const picture_store *s) {
  return (size_t)s->channels * s->height * s->width;
}

// ---- one picture --------------------------------------------------------------------

static vq_status check_picture(const picture_store *s, const vq_image *im, int64_t number,
                               const char *path) {
  char hex[65];
  bool fits = im->width == s->width && im->height == s->height &&
              im->channels == s->channels;
  if (fits) vq_digest(im->px, n_pixels(s), hex);
  if (fits && memcmp(hex, s->profile.picture[number].digest, sizeof hex) == 0) return VQ_OK;
  return vq_error(&s->d->diag, VQ_E_picture, at_path(s->d, path),
                  "not the picture that was made: its pixels are others than '%s' says",
                  calib_profile_path(s->d, s->dir));
}

static vq_status load(void *user, int64_t number, float *out, bool *found, vq_diag *diag) {
  picture_store *s = user;
  *found = number < s->profile.n && s->profile.picture[number].listed;
  if (!*found) return VQ_OK;
  const char *path = calib_picture_path(s->d, s->dir, number);
  vq_image im;
  if (vq_image_read(path, diag, &im)) return VQ_ERR;
  vq_status st = check_picture(s, &im, number, path);
  size_t area = (size_t)s->width * s->height;
  for (uint32_t c = 0; c < s->channels && !st; c++)
    for (size_t i = 0; i < area; i++)
      out[c * area + i] = vq_pixel_value(&s->range[c], im.px[i * s->channels + c]);
  vq_image_release(&im);
  return st;
}

static vq_status save(void *user, int64_t number, const float *x, vq_diag *diag) {
  (void)diag;  // the driver's own
  picture_store *s = user;
  vq_image im = vq_image_alloc(s->width, s->height, s->channels);
  picture_of(x, s->range, &im);
  profile_picture *p = &s->profile.picture[number];
  vq_digest(im.px, n_pixels(s), p->digest);
  vq_status st = picture_write(s->d, calib_picture_path(s->d, s->dir, number), &im);
  vq_image_release(&im);
  if (st) return VQ_ERR;
  snprintf(p->isa, sizeof p->isa, "%s", s->isa);
  p->listed = s->unwritten = true;
  return now_seconds() - s->written > 1 ? picture_store_close(s) : VQ_OK;
}

vq_status picture_store_close(picture_store *s) {
  if (!s->unwritten) return VQ_OK;
  if (calib_profile_write(s->d, s->dir, &s->profile)) return VQ_ERR;
  s->unwritten = false;
  s->written = now_seconds();
  return VQ_OK;
}

// The profile first: it lists no picture that is not there.
vq_status picture_store_limit(picture_store *s, int64_t n) {
  int64_t all = s->profile.n;
  if (n >= all) return VQ_OK;
  s->profile.n = n;
  s->unwritten = true;
  if (picture_store_close(s)) return VQ_ERR;
  for (; n < all; n++) unlink(calib_picture_path(s->d, s->dir, n));
  return VQ_OK;
}

// ---- the folder ---------------------------------------------------------------------

static vq_status check_complete(const picture_store *s) {
  int64_t missing = s->profile.n - calib_profile_count(&s->profile), first = 0;
  while (first < s->profile.n && s->profile.picture[first].listed) first++;
  if (!missing) return VQ_OK;
  return vq_error(&s->d->diag, VQ_E_picture,
                  at_path(s->d, calib_profile_path(s->d, s->dir)),
                  "%lld of %lld pictures are missing, the first is number %lld; --resume "
                  "makes them", (long long)missing, (long long)s->profile.n,
                  (long long)first);
}

static bool until_settled(const calib_profile *p) {
  return strstr(p->made_by, "settled=") != NULL;
}

// Pictures of a set that has settled: as long as that is not seen again, it may be as
// large as `want`.
static vq_status take_over(picture_store *s, const calib_profile *want) {
  profile_picture *from = s->profile.picture;
  memcpy(want->picture, from, (size_t)s->profile.n * sizeof *from);
  s->profile = *want;
  return VQ_OK;
}

// What is there has to be what would be made.
static vq_status read_profile(picture_store *s, const calib_profile *want) {
  vq_loc loc = at_path(s->d, calib_profile_path(s->d, s->dir));
  if (calib_profile_read(s->d, s->dir, &s->profile)) return VQ_ERR;
  if (memcmp(s->profile.model, want->model, sizeof want->model) != 0)
    return vq_error(&s->d->diag, VQ_E_picture, loc,
                    "these pictures were made of another model, or with another --batch, "
                    "--input-shape or --preprocess");
  if (strcmp(s->profile.made_by, want->made_by) == 0) {
    if (s->profile.n == want->n) return VQ_OK;
    if (s->profile.n < want->n && until_settled(want)) return take_over(s, want);
  }
  return vq_error(&s->d->diag, VQ_E_picture, loc,
                  "these are %lld pictures made by '%s', expected %lld by '%s'",
                  (long long)s->profile.n, s->profile.made_by, (long long)want->n,
                  want->made_by);
}

vq_status picture_store_open(driver *d, const vq_module *m, const vq_type *type,
                             const vq_pixel_range *range, const char *made_by, int64_t n,
                             const char *dir, store_use use, picture_store *out) {
  *out = (picture_store){.d = d, .dir = dir, .range = range};
  if (!picture_fits(type))
    return vq_error(&d->diag, VQ_E_unsupported, at_path(d, dir),
                    "the model's input is no picture that could be written here");
  out->channels = (uint32_t)type->dim[1];
  out->height = (uint32_t)type->dim[2], out->width = (uint32_t)type->dim[3];
  out->store = (vq_sample_store){load, save, out};
  char model[65];
  picture_store_digest(m, model);
  out->profile = calib_profile_new(d, model, made_by, n);
  if (use != STORE_COMPLETE && picture_folder(d, dir)) return VQ_ERR;
  if (use == STORE_NEW || (use == STORE_GO_ON && !calib_profile_exists(d, dir)))
    return VQ_OK;
  calib_profile want = out->profile;
  if (read_profile(out, &want)) return VQ_ERR;
  return use == STORE_COMPLETE ? check_complete(out) : VQ_OK;
}
