// See blocking.h.
#include "blocking.h"

#include "tile.h"

#define CACHE_BYTES (256 << 10)  // of A, in one sweep over the columns
#define WIDE_BYTES (320 << 10)   // the same where elements are widened to eight bytes
#define SUMS_BYTES (5 << 19)     // of sums that wait
// Of a column in a slab. The weights of a slab, of the 16 columns of a group of AVX2 or the
// 32 of AVX-512, fit in the nearest cache beside the rows of a tile, or nearly.
#define SLAB_BYTES 1024

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Of a block, in whole panels.
static int64_t sums_bytes(int64_t n) {
  return ceil_div(n, VQ_PANEL) * VQ_PANEL * VQ_TASK_ROWS * 4;
}

int64_t vq_blocking_bytes(const vq_blocking *b, int64_t n) {
  return b->n_slab > 1 ? b->step * sums_bytes(n) : 0;
}

// Blocks whose rows of `k` elements fit, in steps of equal size.
static int64_t step_of(int64_t blocks, int64_t most) {
  most = most < 1 ? 1 : most > blocks ? blocks : most;
  return ceil_div(blocks, ceil_div(blocks, most));
}

vq_blocking vq_blocking_of(int64_t blocks, int64_t n, int64_t k, int64_t bytes,
                           int64_t few) {
  int64_t room = (bytes > 4 ? WIDE_BYTES : CACHE_BYTES) / (VQ_TASK_ROWS * bytes);
  int64_t longest = SLAB_BYTES / bytes;
  int64_t sums = SUMS_BYTES / sums_bytes(n);
  vq_blocking b = {step_of(blocks, room / k), k, 1};
  if (room / k >= few || k <= longest || sums < 1) return b;
  b.slab = ceil_div(ceil_div(k, ceil_div(k, longest)), 4) * 4;
  b.n_slab = ceil_div(k, b.slab);
  int64_t most = room / b.slab;
  b.step = step_of(blocks, most < sums ? most : sums);
  return b;
}
