// What -O0 to -O3 stand for.
//
// -O0 keeps one kernel per op of the imported graph: the reference to debug
// against. -O1 rebuilds the network's own operations from the exporter's
// primitives first, so that each becomes one kernel with its epilogue.
#include "pipelines.h"

static const struct {
  const char *level, *pipeline, *missing;
} levels[] = {
    {"0", "dce,outline,plan-memory", NULL},
    {"1", "fold,recompose,cse,dce,rows,pack,fuse,outline,dce,plan-memory", NULL},
    {"2", NULL, "data-free calibration and integer kernels"},
    {"3", NULL, "data-free calibration, learned rounding and integer kernels"},
};

const char *level_pipeline(const char *level, const char **missing) {
  for (size_t i = 0; i < VQ_COUNT(levels); i++)
    if (strcmp(levels[i].level, level) == 0) {
      *missing = levels[i].missing;
      return levels[i].pipeline;
    }
  *missing = "such a level";
  return NULL;
}
