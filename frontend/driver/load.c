// Telling files apart and reading models.
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vq/image.h"
#include "vq/text.h"

static bool begins(const uint8_t *p, size_t n, const char *magic, size_t size) {
  return n >= size && memcmp(p, magic, size) == 0;
}

static file_kind kind_of(const uint8_t *p, size_t n) {
  if (begins(p, n, "\177ELF", 4)) return FILE_ELF;
  if (vq_npy_sniff(p, n)) return FILE_NPY;
  if (begins(p, n, "\377\330\377", 3) || begins(p, n, "\211PNG", 4))
    return FILE_PICTURE;
  size_t blank = 0;
  while (blank < n && strchr(" \t\r\n", p[blank]) && p[blank]) blank++;
  p += blank;
  n -= blank;
  if (begins(p, n, "vq ", 3) || begins(p, n, "//", 2)) return FILE_IR;
  return FILE_ONNX;
}

static bool in_memory(const driver *d, const char *path) {
  return d->memory.data && path == d->opt.file[0];
}

vq_status file_sniff(driver *d, const char *path, file_kind *out) {
  if (in_memory(d, path)) {
    *out = kind_of(d->memory.data, d->memory.n_data);
    return VQ_OK;
  }
  uint8_t head[256];
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 || fstat(fd, &st) != 0) {
    int code = errno;
    if (fd >= 0) close(fd);
    return vq_error(&d->diag, VQ_E_io, at_path(d, path), "cannot open: %s",
                    strerror(code));
  }
  ssize_t n = S_ISREG(st.st_mode) ? read(fd, head, sizeof head) : 0;
  close(fd);
  if (!S_ISREG(st.st_mode))
    return vq_error(&d->diag, VQ_E_io, at_path(d, path),
                    "expected a regular file, found a %s",
                    S_ISDIR(st.st_mode) ? "folder" : "device or pipe");
  *out = kind_of(head, n < 0 ? 0 : (size_t)n);
  return VQ_OK;
}

static vq_status wrong_kind(driver *d, const char *path, const char *found) {
  return vq_error(&d->diag, VQ_E_not_onnx, at_path(d, path),
                  "expected an ONNX model or IR text, found %s", found);
}

static vq_status load_onnx(driver *d, const char *path, loaded *out) {
  const options *o = &d->opt;
  vq_onnx_options x = {.batch = opt_count(o, OPT_batch),
                       .shape = o->list[OPT_input_shape],
                       .n_shape = o->n_list[OPT_input_shape],
                       .follow_data_symlinks =
                           opt_given(o, OPT_follow_data_symlinks)};
  if (in_memory(d, path))
    return vq_onnx_import_bytes(d->ctx, d->memory.data, d->memory.n_data, d->memory.path, &x,
                                &d->diag, &out->m, &out->summary);
  return vq_onnx_import(d->ctx, path, &x, &d->diag, &out->m, &out->summary);
}

static vq_status load_text(driver *d, const char *path, loaded *out) {
  if (opt_given(&d->opt, OPT_batch) || opt_given(&d->opt, OPT_input_shape))
    return vq_error(&d->diag, VQ_E_option, at_path(d, path),
                    "IR text has fixed shapes: --batch and --input-shape apply "
                    "to ONNX models only");
  if (in_memory(d, path))
    return vq_parse(d->ctx, (vq_str){d->memory.data, d->memory.n_data}, d->memory.path,
                    &d->diag, &out->m);
  size_t n;
  if (vq_read_file(path, &d->diag, &out->text, &n)) return VQ_ERR;
  return vq_parse(d->ctx, (vq_str){(const char *)out->text, n}, path, &d->diag,
                  &out->m);
}

vq_status load_model(driver *d, const char *path, loaded *out) {
  *out = (loaded){0};
  if (file_sniff(d, path, &out->kind)) return VQ_ERR;
  vq_status s = VQ_ERR;
  switch (out->kind) {
    case FILE_ONNX: s = load_onnx(d, path, out); break;
    case FILE_IR: s = load_text(d, path, out); break;
    case FILE_ELF:
      s = wrong_kind(d, path, "a compiled model or other binary");
      vq_note(&d->diag, (vq_loc){0},
              "compiled models are for vitqc run, eval, bench and inspect");
      break;
    case FILE_NPY: s = wrong_kind(d, path, "a NumPy array"); break;
    case FILE_PICTURE: s = wrong_kind(d, path, "a picture"); break;
  }
  if (s) loaded_release(out);
  return s;
}

void loaded_release(loaded *l) {
  if (l->m) vq_module_destroy(l->m);
  free(l->text);
  *l = (loaded){0};
}
