// Reading files, and finding out which decoder a picture needs.
#include "decode.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static vq_status cannot(const char *what, int code, vq_loc loc, vq_diag *diag) {
  return vq_error(diag, VQ_E_io, loc, "cannot %s: %s", what, strerror(code));
}

// Reads up to `n` bytes; a file that shrinks meanwhile gives fewer.
static ssize_t read_all(int fd, uint8_t *p, size_t n) {
  size_t done = 0;
  while (done < n) {
    ssize_t k = read(fd, p + done, n - done);
    if (k < 0 && errno == EINTR) continue;
    if (k < 0) return -1;
    if (k == 0) break;
    done += (size_t)k;
  }
  return (ssize_t)done;
}

static vq_status read_open(int fd, vq_loc loc, vq_diag *diag, uint8_t **out,
                           size_t *n) {
  struct stat st;
  if (fstat(fd, &st) != 0) return cannot("read", errno, loc, diag);
  if (!S_ISREG(st.st_mode))
    return vq_error(diag, VQ_E_io, loc, "expected a regular file, found a %s",
                    S_ISDIR(st.st_mode) ? "folder" : "device or pipe");
  size_t size = (size_t)st.st_size;
  uint8_t *p = malloc(size + 1);
  if (!p) vq_oom(size);
  ssize_t got = read_all(fd, p, size);
  if (got < 0) {
    int code = errno;
    free(p);
    return cannot("read", code, loc, diag);
  }
  *out = p;
  *n = (size_t)got;
  return VQ_OK;
}

vq_status vq_read_file(const char *path, vq_diag *diag, uint8_t **out,
                       size_t *n) {
  vq_loc loc = vq_loc_path(diag->ctx, vq_str_of(path));
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return cannot("open", errno, loc, diag);
  vq_status s = read_open(fd, loc, diag, out, n);
  close(fd);
  return s;
}

vq_status vq_check_picture_size(uint64_t width, uint64_t height, vq_loc loc,
                                vq_diag *diag) {
  if (width && height && width <= VQ_IMAGE_MAX_PIXELS &&
      height <= VQ_IMAGE_MAX_PIXELS / width)
    return VQ_OK;
  return vq_error(diag, VQ_E_picture, loc,
                  "the picture is %llux%llu, expected 1 to 2^28 pixels",
                  (unsigned long long)width, (unsigned long long)height);
}

vq_status vq_image_decode(const void *bytes, size_t n, vq_loc loc, vq_diag *diag,
                          vq_image *out) {
  static const uint8_t jpeg[] = {0xff, 0xd8, 0xff};
  static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  *out = (vq_image){0};
  if (n >= sizeof jpeg && memcmp(bytes, jpeg, sizeof jpeg) == 0)
    return vq_decode_jpeg(bytes, n, loc, diag, out);
  if (n >= sizeof png && memcmp(bytes, png, sizeof png) == 0)
    return vq_decode_png(bytes, n, loc, diag, out);
  return vq_error(diag, VQ_E_picture, loc,
                  "neither a JPEG nor a PNG picture");
}

vq_status vq_image_read(const char *path, vq_diag *diag, vq_image *out) {
  uint8_t *bytes;
  size_t n;
  if (vq_read_file(path, diag, &bytes, &n)) return VQ_ERR;
  vq_status s = vq_image_decode(
      bytes, n, vq_loc_path(diag->ctx, vq_str_of(path)), diag, out);
  free(bytes);
  return s;
}
