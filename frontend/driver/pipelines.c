// What -O0 to -O3 stand for.
//
// -O0 keeps one kernel per op of the imported graph: the reference to debug
// against. -O1 rebuilds the network's own operations from the exporter's
// primitives first, so that each becomes one kernel with its epilogue. -O2 is
// -O1 with the float operations turned into integer ones in between. There rows
// that nothing reads are dropped late: calibration sees them, for ranges that one
// row of few pictures does not show.
#include "pipelines.h"

static const struct {
  const char *level, *pipeline, *missing;
} levels[] = {
    {"0", "dce,outline,plan-memory", NULL},
    {"1", "fold,recompose,cse,dce,drop-rows,rows,pack,fuse,outline,dce,plan-memory",
     NULL},
    {"2", "fold,recompose,cse,dce,rows,fold-pixels,insert-quantizers,observe,"
          "split-outliers,reparam-layernorm,compensate-weights,round-weights,"
          "refine-rows,score-quant,drop-rows,freeze-quant,lower-int,cse,dce,rows,pack,"
          "fuse,outline,dce,plan-memory",
     NULL},
    {"3", NULL, "learned rounding"},
};

const char derivative_pipeline[] =
    "fold,cse,dce,rows,pack,fuse,outline,dce,plan-memory";

const char *level_pipeline(const char *level, const char **missing) {
  for (size_t i = 0; i < VQ_COUNT(levels); i++)
    if (strcmp(levels[i].level, level) == 0) {
      *missing = levels[i].missing;
      return levels[i].pipeline;
    }
  *missing = "such a level";
  return NULL;
}
