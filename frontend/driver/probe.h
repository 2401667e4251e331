// What the machine is and how fast it multiplies.
#ifndef VQ_DRIVER_PROBE_H
#define VQ_DRIVER_PROBE_H

#include "vq/strbuf.h"

// The CPU's name as the kernel states it, or "unknown CPU".
void probe_cpu_name(vq_strbuf *out);

typedef enum probe_kind { PROBE_FLOAT, PROBE_CODES } probe_kind;

typedef struct peak {
  const char *unit;  // the instructions, as in "AVX2 FMA"
  double gops;       // 1e9 additions and multiplications a second
  double share;      // of the time that this thread was running, at most 1
} peak;

// Peak rate of multiply-adds of floats or codes of one thread now, with the best
// instructions among `isa` (vitq_isa bits, which the CPU must have): the median
// of bursts of a tenth of a millisecond, most of which nobody interrupts.
peak probe_peak(probe_kind kind, uint64_t isa);

#endif
