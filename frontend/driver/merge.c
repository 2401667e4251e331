// vitqc merge-profile: the pictures of several --calib-shard runs in one folder.
#include <stdlib.h>

#include "calib_profile.h"
#include "pictures.h"
#include "temporary.h"
#include "vq/image.h"

typedef struct shard {
  const char *dir;
  calib_profile profile;
} shard;

static vq_status check_same(driver *d, const shard *a, const shard *b) {
  const calib_profile *p = &a->profile, *q = &b->profile;
  const char *what = memcmp(p->model, q->model, sizeof p->model) ? "of another model"
                     : strcmp(p->made_by, q->made_by)            ? "in another way"
                     : p->n != q->n                              ? "for a set of another size"
                                                                 : NULL;
  if (!what) return VQ_OK;
  return vq_error(&d->diag, VQ_E_picture, at_path(d, calib_profile_path(d, b->dir)),
                  "these pictures were made %s than those of '%s'", what,
                  calib_profile_path(d, a->dir));
}

// Lists what `from` lists.
static vq_status take(driver *d, const shard *from, calib_profile *out) {
  for (int64_t i = 0; i < out->n; i++) {
    const profile_picture *p = &from->profile.picture[i];
    if (p->listed && out->picture[i].listed)
      return vq_error(&d->diag, VQ_E_picture,
                      at_path(d, calib_picture_path(d, from->dir, i)),
                      "picture %lld is in another folder, too", (long long)i);
    if (p->listed) out->picture[i] = *p;
  }
  return VQ_OK;
}

static vq_status check_complete(driver *d, const calib_profile *p) {
  int64_t i = 0, n = calib_profile_count(p);
  while (i < p->n && p->picture[i].listed) i++;
  if (i == p->n) return VQ_OK;
  return vq_error(&d->diag, VQ_E_picture, at_path(d, "vitqc"),
                  "%lld of %lld pictures are in none of the folders, the first is number "
                  "%lld", (long long)(p->n - n), (long long)p->n, (long long)i);
}

// Each picture as it is; whether it was changed is seen when it is used.
static vq_status copy(driver *d, const shard *from, const char *dir) {
  for (int64_t i = 0; i < from->profile.n; i++) {
    if (!from->profile.picture[i].listed) continue;
    uint8_t *bytes;
    size_t n;
    if (vq_read_file(calib_picture_path(d, from->dir, i), &d->diag, &bytes, &n))
      return VQ_ERR;
    vq_status s = out_write(calib_picture_path(d, dir, i), bytes, n, d);
    free(bytes);
    if (s) return VQ_ERR;
  }
  return VQ_OK;
}

// The profile is written last: without all pictures there is none.
static vq_status merge(driver *d, const char *dir) {
  unsigned n = d->opt.n_file;
  shard *s = VQ_NEW_N(&d->arena, shard, n);
  calib_profile all = {0};
  for (unsigned i = 0; i < n; i++) {
    s[i].dir = d->opt.file[i];
    calib_profile *p = &s[i].profile;
    if (calib_profile_read(d, s[i].dir, p)) return VQ_ERR;
    if (i == 0) all = calib_profile_new(d, p->model, p->made_by, p->n);
    if (check_same(d, &s[0], &s[i]) || take(d, &s[i], &all)) return VQ_ERR;
  }
  if (check_complete(d, &all) || picture_folder(d, dir)) return VQ_ERR;
  for (unsigned i = 0; i < n; i++)
    if (copy(d, &s[i], dir)) return VQ_ERR;
  return calib_profile_write(d, dir, &all);
}

int do_merge(driver *d) {
  const options *o = &d->opt;
  const char *dir = opt_text(o, OPT_merged);
  if (!o->n_file) return usage_error(d, "no folders to merge");
  if (!dir) return usage_error(d, "no output: give -o DIR");
  for (unsigned i = 0; i < o->n_file; i++)
    if (strcmp(o->file[i], dir) == 0)
      return usage_error(d, "'%s' is both a folder to merge and the output", dir);
  return exit_code(merge(d, dir));
}
