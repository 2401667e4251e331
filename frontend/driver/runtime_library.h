// Where the runtime archive is that goes into models.
#ifndef VQ_DRIVER_RUNTIME_LIBRARY_H
#define VQ_DRIVER_RUNTIME_LIBRARY_H

#include "driver.h"

// The path of libvitq_rt.a, in the driver's arena; NULL after an error.
const char *runtime_library(driver *d);

#endif
