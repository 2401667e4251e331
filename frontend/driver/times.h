// What --time-kernels prints.
#ifndef VQ_DRIVER_TIMES_H
#define VQ_DRIVER_TIMES_H

#include "driver.h"
#include "vq/exec.h"

// A sink that prints to the log of `d`, which outlives it.
vq_time_sink kernel_times(driver *d);

#endif
