// How long a compiled model takes, for the line that a compilation ends with.
#ifndef VQ_DRIVER_LATENCY_H
#define VQ_DRIVER_LATENCY_H

// Seconds for a sample, by one thread: the fastest run of a sixth of a second.
// 0: the model does not run here.
double latency_of(const char *path);

#endif
