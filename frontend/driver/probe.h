// What the machine is and how fast it multiplies.
#ifndef VQ_DRIVER_PROBE_H
#define VQ_DRIVER_PROBE_H

#include "vq/strbuf.h"

// The CPU's name as the kernel states it, or "unknown CPU".
void probe_cpu_name(vq_strbuf *out);

// Peak of float multiply-adds of one thread now, in GFLOP/s: the median of
// some bursts of at least half a millisecond. `unit` says with which registers.
double probe_peak(const char **unit);

#endif
