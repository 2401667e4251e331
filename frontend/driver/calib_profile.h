// What a folder of calibration pictures says about them: profile.xml.
//
//   <calibration version="1" model="6f1c..." made-by="seed=1 steps=50" pictures="36">
//     <picture number="0" isa="avx512vnni" sha256="9f2c..."/>
//     ...
//
// The pictures themselves are 00000.png, 00001.png, ... beside it. A picture that is
// finished is listed, so a file that is not listed is none: what was interrupted goes on
// from here.
#ifndef VQ_DRIVER_CALIB_PROFILE_H
#define VQ_DRIVER_CALIB_PROFILE_H

#include "driver.h"

typedef struct profile_picture {
  bool listed;
  char digest[65];  // SHA-256 of its pixels
  char isa[32];     // of the code that made it
} profile_picture;

typedef struct calib_profile {
  char model[65];         // SHA-256 of what the pictures were made of
  const char *made_by;    // options of the pass synthesize, all but the numbers
  int64_t n;              // pictures of the whole set
  profile_picture *picture;  // by number
} calib_profile;

// An empty profile; made_by is copied. Its memory is the driver's.
calib_profile calib_profile_new(driver *d, const char model[65], const char *made_by,
                                int64_t n);
VQ_NODISCARD vq_status calib_profile_read(driver *d, const char *dir, calib_profile *out);
VQ_NODISCARD vq_status calib_profile_write(driver *d, const char *dir,
                                           const calib_profile *p);
// Whether there is one to read.
bool calib_profile_exists(driver *d, const char *dir);
int64_t calib_profile_count(const calib_profile *p);  // of listed pictures

// The path of a file of the folder; of picture `number`. In the driver's memory.
const char *calib_profile_path(driver *d, const char *dir);
const char *calib_picture_path(driver *d, const char *dir, int64_t number);

#endif
