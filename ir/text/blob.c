// Side files: content-addressed writing, checked reading.
//
// A side file is the concatenation of blobs at offsets that are multiples of
// VQ_BLOB_ALIGN; it has no header. The text says where each blob is, how long
// (by the type) and what its SHA-256 is, so a stale or foreign file is found
// out before anything computes with it.
#include "text/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vq/file.h"
#include "vq/ir.h"

// ---- writing --------------------------------------------------------------

typedef struct blob {
  uint8_t digest[VQ_SHA256_BYTES];
  uint64_t offset;
} blob;

struct vq_blob_writer {
  vq_ctx *ctx;
  vq_diag *diag;
  vq_arena arena;
  const char *path, *temp;
  vq_str name;
  FILE *file;  // opened at the first blob
  uint64_t size;
  vq_map seen;  // digest -> blob
};

static vq_status io_error(vq_blob_writer *w, const char *what) {
  vq_loc loc = vq_loc_path(w->ctx, vq_str_of(w->path));
  return vq_error(w->diag, VQ_E_io, loc, "cannot %s: %s", what,
                  strerror(errno));
}

vq_blob_writer *vq_blob_open(vq_ctx *ctx, vq_diag *diag, const char *path,
                             vq_str name) {
  vq_blob_writer *w = calloc(1, sizeof *w);
  if (!w) vq_oom(sizeof *w);
  w->ctx = ctx;
  w->diag = diag;
  w->path = vq_arena_str(&w->arena, vq_str_of(path)).p;
  w->name = vq_arena_str(&w->arena, name);
  struct stat st;
  if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
    vq_error(diag, VQ_E_io, vq_loc_path(ctx, vq_str_of(path)),
             "cannot write: not a regular file");
    vq_blob_abort(w);
    return NULL;
  }
  return w;
}

// Creates the temporary file beside the final one; names in use are skipped.
static vq_status open_temp(vq_blob_writer *w) {
  for (unsigned i = 0; i < 100; i++) {
    vq_strbuf temp = {0};
    vq_strbuf_printf(&temp, "%s.%ld.%u.tmp", w->path, (long)getpid(), i);
    int fd = open(vq_strbuf_z(&temp),
                  O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) {
      w->temp = vq_arena_str(&w->arena, vq_strbuf_view(&temp)).p;
      w->file = fdopen(fd, "wb");
      if (!w->file) close(fd);
    }
    vq_strbuf_release(&temp);
    if (fd >= 0 || errno != EEXIST) break;
  }
  return w->file ? VQ_OK : io_error(w, "create");
}

vq_status vq_blob_put(vq_blob_writer *w, const void *p, size_t n,
                      uint64_t *out_offset, char out_hex[VQ_SHA256_HEX + 1]) {
  static const char zero[VQ_BLOB_ALIGN];
  if (!w->file && open_temp(w) != VQ_OK) return VQ_ERR;
  blob b = {.offset = w->size};
  vq_sha256(p, n, b.digest);
  vq_sha256_to_hex(b.digest, out_hex);
  void **slot = vq_map_find(&w->seen, (vq_str){(char *)b.digest, sizeof b.digest});
  if (slot) {
    *out_offset = ((const blob *)*slot)->offset;
    return VQ_OK;
  }
  size_t pad = (size_t)(-n & (VQ_BLOB_ALIGN - 1));
  if (fwrite(p, 1, n, w->file) != n || fwrite(zero, 1, pad, w->file) != pad)
    return io_error(w, "write");
  w->size += n + pad;
  *out_offset = b.offset;
  blob *kept = vq_arena_copy(&w->arena, &b, sizeof b, _Alignof(blob));
  *vq_map_put(&w->seen, (vq_str){(char *)kept->digest, sizeof b.digest}) = kept;
  return VQ_OK;
}

vq_str vq_blob_name(const vq_blob_writer *w) { return w->name; }

vq_status vq_blob_commit(vq_blob_writer *w) {
  vq_status status = VQ_OK;
  if (w->file) {
    bool bad = fflush(w->file) != 0;
    bad |= fclose(w->file) != 0;
    w->file = NULL;
    if (bad)
      status = io_error(w, "write");
    else if (rename(w->temp, w->path) != 0)
      status = io_error(w, "rename the finished file");
    else
      w->temp = NULL;
  }
  vq_blob_abort(w);
  return status;
}

void vq_blob_abort(vq_blob_writer *w) {
  if (w->file) fclose(w->file);
  if (w->temp) unlink(w->temp);
  vq_map_release(&w->seen);
  vq_arena_release(&w->arena);
  free(w);
}

// ---- reading --------------------------------------------------------------

// Relative, without "..", so that a dump can only name files near it.
static bool is_contained(vq_str name) {
  if (name.n == 0 || name.p[0] == '/' || memchr(name.p, 0, name.n))
    return false;
  for (size_t i = 0, start = 0; i <= name.n; i++) {
    if (i < name.n && name.p[i] != '/') continue;
    if (i - start == 2 && memcmp(name.p + start, "..", 2) == 0) return false;
    start = i + 1;
  }
  return true;
}

// The contents of `file`; NULL: *why says why.
static void *load_file(const char *file, uint64_t *size, const char **why) {
  int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) {
    *why = strerror(errno);
    return NULL;
  }
  void *base = vq_fd_load(fd, UINT64_MAX, size, why);
  close(fd);
  return base;
}

vq_side_file *vq_side_open(vq_module *m, vq_arena *arena, vq_str path,
                           vq_str name, vq_diag *diag, vq_loc loc) {
  vq_side_file *f = VQ_NEW(arena, vq_side_file);
  f->name = vq_arena_str(arena, name);
  vq_strbuf quoted = {0};
  vq_strbuf_escaped(&quoted, name);
  if (!is_contained(name)) {
    vq_error(diag, VQ_E_blob, loc,
             "side file '%s' must be relative and must not contain '..'",
             vq_strbuf_z(&quoted));
  } else if (path.n == 0) {
    vq_error(diag, VQ_E_blob, loc, "side file '%s' cannot be found: this text is no file",
             vq_strbuf_z(&quoted));
  } else {
    size_t dir = path.n;
    while (dir > 0 && path.p[dir - 1] != '/') dir--;
    vq_strbuf file = {0};
    vq_strbuf_add(&file, path.p, dir);
    vq_strbuf_add(&file, name.p, name.n);
    const char *why;
    void *base = load_file(vq_strbuf_z(&file), &f->size, &why);
    if (why)
      vq_error(diag, VQ_E_blob, loc, "cannot read side file '%s': %s",
               vq_strbuf_z(&quoted), why);
    else
      vq_module_own(m, base, (size_t)f->size, true);
    f->base = base;
    vq_strbuf_release(&file);
  }
  vq_strbuf_release(&quoted);
  return f;
}

const void *vq_side_span(const vq_side_file *f, uint64_t offset, uint64_t n,
                         vq_str hex, vq_diag *diag, vq_loc loc) {
  if (!f->base) return NULL;
  if (offset % VQ_BLOB_ALIGN) {
    vq_error(diag, VQ_E_blob, loc,
             "offset 0x%" PRIx64 " is not a multiple of %d", offset,
             VQ_BLOB_ALIGN);
    return NULL;
  }
  if (n > f->size || offset > f->size - n) {
    vq_error(diag, VQ_E_blob, loc,
             "%" PRIu64 " bytes at 0x%" PRIx64 " are outside the side file of %"
             PRIu64 " bytes", n, offset, f->size);
    return NULL;
  }
  char found[VQ_SHA256_HEX + 1];
  vq_sha256_hex(f->base + offset, (size_t)n, found);
  if (!vq_str_is(hex, found)) {
    vq_error(diag, VQ_E_blob, loc, "checksum mismatch: the text says %.*s, the "
             "side file has %s", VQ_FMT(hex), found);
    return NULL;
  }
  return f->base + offset;
}
