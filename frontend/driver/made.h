// Which calibration pictures are to be made out of the model, where they are kept, and
// which of them this run makes: from the options, or from the profile that they name.
#ifndef VQ_DRIVER_MADE_H
#define VQ_DRIVER_MADE_H

#include "picture_store.h"
#include "vq/pass.h"

typedef struct made_plan {
  const char *made_by;    // options of synthesize, all but the numbers
  int64_t n, held;        // of pictures, and how many of these are held back
  int64_t shard, shards;  // --calib-shard=i/n; 0 of 1 without
  bool settled;           // --calib-settled: there may be fewer
  const char *dir;        // NULL: they are not kept
  store_use use;
} made_plan;

// Whether --calib says that pictures are made.
bool made_wanted(const options *o);
// Seconds that --calib-time gives to making them; 0: as many as it takes.
double made_seconds(const options *o);
// Whether options on made pictures fit together; returns EXIT_USAGE after a message.
int made_check(driver *d);
VQ_NODISCARD vq_status made_plan_read(driver *d, made_plan *out);
// Adds synthesize to a level's pipeline, where passes of it learn from samples. With
// --calib-shard nothing comes behind it.
VQ_NODISCARD vq_status made_plan_pass(driver *d, const made_plan *plan, vq_pipeline *p);

#endif
