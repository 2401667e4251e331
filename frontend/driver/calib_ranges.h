// The ranges that a folder's pictures gave: ranges.xml, beside its profile.xml.
//
//   <ranges version="1" model="6f1c..." isa="x86-64-v3" samples="64">
//     <range role="norm" name="blocks.0.norm1" lo="-0x1.8p+1" hi="0x1.2ap+2"/>
//     ...
//
// They follow from model, pictures and instructions, so they are not read to set scales:
// they are there to be looked at, to be compared, and to tell whether another machine or
// version computes what the first one did. Limits are exact, as C's %a has them.
#ifndef VQ_DRIVER_CALIB_RANGES_H
#define VQ_DRIVER_CALIB_RANGES_H

#include "driver.h"
#include "vq/exec.h"

typedef struct calib_ranges {
  driver *d;
  char model[65];  // SHA-256 of what was calibrated
  const char *isa;
  int64_t samples;
  vq_observed_range *range;
  size_t n;
} calib_ranges;

// Keeps what observe saw; to be vq_range_sink.seen, with a calib_ranges as its user.
void calib_ranges_keep(void *ranges, const vq_observed_range *range, size_t n);
// Writes what was kept to the folder. If nothing was, what is there is of another run and
// goes.
VQ_NODISCARD vq_status calib_ranges_write(const calib_ranges *r, const char *dir);
// Fails where ranges of the folder, if it has any, were the same model's by the same
// instructions and samples and are others than those kept, and where the file is none.
// Ranges that only one of both has are of another --bits; values without a name are not
// compared.
VQ_NODISCARD vq_status calib_ranges_compare(const calib_ranges *r, const char *dir);

#endif
