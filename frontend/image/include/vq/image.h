// Pictures and NumPy arrays: from files to the tensors a vision model takes.
//
// Decoding and resizing give the same bytes as Pillow does, because that is what
// models were trained and measured with.
#ifndef VQ_IMAGE_H
#define VQ_IMAGE_H

#include "vq/diag.h"
#include "vq/type.h"

// ---- pictures ---------------------------------------------------------------

// 8-bit samples, rows top to bottom, channels interleaved: 1 grey, 3 RGB.
typedef struct vq_image {
  uint32_t width, height, channels;
  uint8_t *px;  // owned; vq_image_release
} vq_image;

#define VQ_IMAGE_MAX_PIXELS ((uint64_t)1 << 28)

// Allocates an uninitialised picture. width and height must be at least 1 and
// their product at most VQ_IMAGE_MAX_PIXELS.
vq_image vq_image_alloc(uint32_t width, uint32_t height, uint32_t channels);
void vq_image_release(vq_image *im);

// Reads a JPEG or PNG file; its kind is decided by content. Palettes are
// expanded, transparency is dropped, 16-bit samples lose their low byte.
VQ_NODISCARD vq_status vq_image_read(const char *path, vq_diag *diag,
                                     vq_image *out);
// The same from memory; `loc` is where diagnostics point.
VQ_NODISCARD vq_status vq_image_decode(const void *bytes, size_t n, vq_loc loc,
                                       vq_diag *diag, vq_image *out);

// Appends the file of a PNG picture: grey, or RGB of 3 channels.
void vq_image_encode(const vq_image *im, vq_strbuf *out);

// RGB to grey (ITU-R 601-2 luma) or grey to RGB, in place; channels is 1 or 3.
void vq_image_convert(vq_image *im, uint32_t channels);

typedef enum vq_interp {
  VQ_INTERP_NEAREST,
  VQ_INTERP_BILINEAR,
  VQ_INTERP_BICUBIC
} vq_interp;

// Resizes in place; bilinear and bicubic are antialiased when shrinking.
void vq_image_resize(vq_image *im, uint32_t width, uint32_t height,
                     vq_interp interp);

// Keeps a side x side square in the middle, in place; `side` fits the picture.
// An odd surplus leaves the smaller margin at the left and top, as Hugging Face's
// processors do; torchvision rounds half to even, which is one pixel off for a
// surplus of 3, 7, 11, ...
void vq_image_crop(vq_image *im, uint32_t side);

// How a picture becomes a tensor: convert, resize, crop, then for each sample
// (px * scale - mean) / std.
typedef struct vq_preproc {
  uint32_t resize;  // shorter side; 0: keep the size
  uint32_t crop;    // centre square; 0: keep everything
  vq_interp interp;
  float scale, mean[4], std[4];
} vq_preproc;

// Writes `im` (changed in place) as f32 [channels, height, width] to `out`. A
// picture that does not come out at that size is an error at `loc`.
VQ_NODISCARD vq_status vq_image_tensor(vq_image *im, const vq_preproc *pp,
                                       uint32_t channels, uint32_t height,
                                       uint32_t width, vq_loc loc,
                                       vq_diag *diag, float *out);

// ---- files ------------------------------------------------------------------

// The whole of a regular file, with room for one more byte; free(*out).
VQ_NODISCARD vq_status vq_read_file(const char *path, vq_diag *diag,
                                    uint8_t **out, size_t *n);

typedef struct vq_path_list {
  char **path;
  size_t n;
} vq_path_list;

// The .jpg, .jpeg and .png files (any case) of a folder, sorted by name.
VQ_NODISCARD vq_status vq_list_pictures(const char *dir, vq_diag *diag,
                                        vq_path_list *out);
void vq_path_list_release(vq_path_list *l);

// ---- NumPy arrays -----------------------------------------------------------

// A .npy file in memory: u8, i8, i32, i64 or f32, row-major.
typedef struct vq_npy {
  vq_dtype dtype;
  unsigned rank;
  int64_t dim[VQ_MAX_RANK], count;
  void *data;      // points into `file`; alignment of one byte is guaranteed
  uint8_t *file;   // owned; vq_npy_release
} vq_npy;

bool vq_npy_sniff(const void *bytes, size_t n);
VQ_NODISCARD vq_status vq_npy_read(const char *path, vq_diag *diag, vq_npy *out);
// The same from memory, which moves to `out` (freed on error).
VQ_NODISCARD vq_status vq_npy_parse(uint8_t *file, size_t n, vq_loc loc,
                                    vq_diag *diag, vq_npy *out);
void vq_npy_release(vq_npy *a);

// The header of a version 1.0 file; the row-major data follows it.
void vq_npy_header(vq_strbuf *out, vq_dtype dtype, unsigned rank,
                   const int64_t *dim);

#endif
