// Samples for a model, preprocessed as it states.
#include "source.h"

#include <inttypes.h>
#include <sys/stat.h>

#include "load.h"

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

// ---- pixels ---------------------------------------------------------------------

static vq_status need_picture_input(source *s) {
  vq_loc loc = at_path(s->d, s->path);
  if (s->to.rank != 4)
    return vq_error(&s->d->diag, VQ_E_picture, loc,
                    "the model takes a tensor of rank %u, pictures need rank 4",
                    s->to.rank);
  const vitq_preprocess *p = s->to.preprocess;
  if (!p->stated) {
    vq_error(&s->d->diag, VQ_E_picture, loc,
             "'%s' does not say how pixels become inputs, expected float32 "
             ".npy data", s->to.path);
    vq_note(&s->d->diag, (vq_loc){0},
            "compile it with --preprocess='scale=1/255 mean=... std=... "
            "resize=... crop=...'");
    return VQ_ERR;
  }
  s->preproc = (vq_preproc){.resize = p->resize, .crop = p->crop,
                            .interp = (vq_interp)p->interp, .scale = p->scale};
  memcpy(s->preproc.mean, p->mean, sizeof p->mean);
  memcpy(s->preproc.std, p->std, sizeof p->std);
  return VQ_OK;
}

static vq_status make_tensor(const source *s, vq_image *im, vq_loc loc,
                             float *out) {
  const int64_t *d = s->to.dim;
  return vq_image_tensor(im, &s->preproc, (uint32_t)d[1], (uint32_t)d[2],
                         (uint32_t)d[3], loc, &s->d->diag, out);
}

static vq_status load_picture(const source *s, const char *path, float *out) {
  vq_image im;
  if (vq_image_read(path, &s->d->diag, &im)) return VQ_ERR;
  vq_status st = make_tensor(s, &im, at_path(s->d, path), out);
  vq_image_release(&im);
  return st;
}

// ---- arrays ---------------------------------------------------------------------

static void add_shape(vq_strbuf *out, unsigned rank, const int64_t *dim) {
  vq_strbuf_putc(out, '[');
  for (unsigned i = 0; i < rank; i++)
    vq_strbuf_printf(out, "%s%" PRId64, i ? ", " : "", dim[i]);
  vq_strbuf_putc(out, ']');
}

static vq_status wrong_shape(source *s, const char *expected) {
  vq_strbuf found = {0}, model = {0};
  add_shape(&found, s->array.rank, s->array.dim);
  add_shape(&model, s->to.rank - 1, s->to.dim + 1);
  vq_error(&s->d->diag, VQ_E_picture, at_path(s->d, s->path),
           "the array has shape %s, expected %s; one sample of the model is %s",
           vq_strbuf_z(&found), expected, vq_strbuf_z(&model));
  vq_strbuf_release(&found);
  vq_strbuf_release(&model);
  return VQ_ERR;
}

// [n, sample...] or one sample.
static vq_status check_floats(source *s) {
  const vq_npy *a = &s->array;
  unsigned rank = s->to.rank - 1, skip = a->rank == rank + 1;
  if (a->rank != rank + skip) return wrong_shape(s, "samples one after another");
  for (unsigned i = 0; i < rank; i++)
    if (a->dim[i + skip] != s->to.dim[i + 1])
      return wrong_shape(s, "samples one after another");
  s->n = skip ? a->dim[0] : 1;
  return VQ_OK;
}

// [h, w], [n, h, w], [n, h, w, 1 or 3].
static vq_status check_pixels(source *s) {
  const vq_npy *a = &s->array;
  if (need_picture_input(s)) return VQ_ERR;
  if (a->rank < 2 || a->rank > 4)
    return wrong_shape(s, "uint8 [n, height, width(, channels)]");
  if (a->rank == 4 && a->dim[3] != 1 && a->dim[3] != 3)
    return wrong_shape(s, "1 or 3 channels in the last dimension");
  unsigned at = a->rank == 2 ? 0 : 1;
  int64_t h = a->dim[at], w = a->dim[at + 1];
  if (h < 1 || w < 1 || h > (int64_t)VQ_IMAGE_MAX_PIXELS / w)
    return wrong_shape(s, "pictures of 1 to 2^28 pixels");
  s->n = at ? a->dim[0] : 1;
  return VQ_OK;
}

static vq_status load_pixels(const source *s, int64_t i, float *out) {
  const vq_npy *a = &s->array;
  const int64_t *d = a->dim + (a->rank > 2);
  vq_image im = vq_image_alloc((uint32_t)d[1], (uint32_t)d[0],
                               a->rank == 4 ? (uint32_t)a->dim[3] : 1);
  size_t bytes = (size_t)im.width * im.height * im.channels;
  memcpy(im.px, (const uint8_t *)a->data + (size_t)i * bytes, bytes);
  vq_status st = make_tensor(s, &im, at_path(s->d, s->path), out);
  vq_image_release(&im);
  return st;
}

static vq_status open_array(source *s) {
  if (vq_npy_read(s->path, &s->d->diag, &s->array)) return VQ_ERR;
  if (s->array.dtype == VQ_f32) return check_floats(s);
  if (s->array.dtype == VQ_u8) return check_pixels(s);
  return vq_error(&s->d->diag, VQ_E_picture, at_path(s->d, s->path),
                  "expected uint8 pixels or float32 tensors, found %s",
                  vq_dtype_name(s->array.dtype));
}

// ---- any source -----------------------------------------------------------------

static vq_status open_any(source *s) {
  struct stat st;
  if (stat(s->path, &st) == 0 && S_ISDIR(st.st_mode)) {
    if (need_picture_input(s)) return VQ_ERR;
    if (vq_list_pictures(s->path, &s->d->diag, &s->list)) return VQ_ERR;
    s->n = (int64_t)s->list.n;
    return VQ_OK;
  }
  file_kind kind;
  if (file_sniff(s->d, s->path, &kind)) return VQ_ERR;
  if (kind == FILE_NPY) return open_array(s);
  s->n = 1;
  if (kind == FILE_PICTURE) return need_picture_input(s);
  return vq_error(&s->d->diag, VQ_E_picture, at_path(s->d, s->path),
                  "expected a JPEG or PNG picture, a .npy file or a folder");
}

vq_status source_open(driver *d, const sample_shape *to, const char *path,
                      source *out) {
  *out = (source){.d = d, .to = *to, .path = path};
  vq_status st = open_any(out);
  if (st) source_close(out);
  return st;
}

void source_close(source *s) {
  vq_path_list_release(&s->list);
  vq_npy_release(&s->array);
}

vq_status source_load(const source *s, int64_t i, float *out) {
  if (s->list.n) return load_picture(s, s->list.path[i], out);
  if (!s->array.file) return load_picture(s, s->path, out);
  if (s->array.dtype == VQ_u8) return load_pixels(s, i, out);
  size_t bytes = (size_t)s->to.count * sizeof(float);
  memcpy(out, (const char *)s->array.data + (size_t)i * bytes, bytes);
  return VQ_OK;
}

void source_name(const source *s, int64_t i, vq_strbuf *out) {
  const char *path = s->list.n ? s->list.path[i] : s->path;
  vq_strbuf_escaped(out, vq_str_of(base_name(path)));
  if (s->array.file && s->n > 1) vq_strbuf_printf(out, "[%" PRId64 "]", i);
}
