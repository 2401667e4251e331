// A folder that made calibration pictures are written to as they are finished, and read
// from instead of being made again: --calib-out, --resume, --profile.
#ifndef VQ_DRIVER_PICTURE_STORE_H
#define VQ_DRIVER_PICTURE_STORE_H

#include "calib_profile.h"
#include "vq/exec.h"
#include "vq/pixels.h"

typedef enum store_use {
  STORE_NEW,      // nothing of what is there counts
  STORE_GO_ON,    // pictures that are there are not made again
  STORE_COMPLETE  // all pictures have to be there
} store_use;

typedef struct picture_store {
  vq_sample_store store;
  driver *d;
  const char *dir;
  const char *isa;  // of the code that makes pictures; to be set before the first
  calib_profile profile;
  const vq_pixel_range *range;  // of each channel
  uint32_t channels, height, width;
  double written;  // when the profile was; it is not, for each of many pictures
  bool unwritten;
} picture_store;

// For `n` pictures of `type`, made of `m` by synthesize{made_by}. The folder is made
// where it has to be. `out` must stay where it is, and so must `range`.
VQ_NODISCARD vq_status picture_store_open(driver *d, const vq_module *m,
                                          const vq_type *type, const vq_pixel_range *range,
                                          const char *made_by, int64_t n, const char *dir,
                                          store_use use, picture_store *out);
// SHA-256 of what pictures and ranges depend on: constants, functions, what pixels are.
// Names of the module, its file and its classes are not among it.
void picture_store_digest(const vq_module *m, char hex[65]);
// Notes in `m`, as imported, which model it is, so that pictures made of it are known to
// fit what passes make of it.
void picture_store_mark(vq_module *m);
// There are no more than `n` pictures: time was short, or ranges had settled. What was
// made of others goes.
VQ_NODISCARD vq_status picture_store_limit(picture_store *s, int64_t n);
// Writes what is not written yet.
VQ_NODISCARD vq_status picture_store_close(picture_store *s);

#endif
