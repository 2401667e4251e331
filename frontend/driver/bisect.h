// --bisect: which pass makes a model another one.
#ifndef VQ_DRIVER_BISECT_H
#define VQ_DRIVER_BISECT_H

#include "driver.h"
#include "vq/ir.h"
#include "vq/pass.h"

// Runs `p` on copies of `m` and prints the pass that is to blame, if there is one.
VQ_NODISCARD vq_status bisect(driver *d, vq_module *m, const vq_pipeline *p, vq_exec *exec,
                              bool *found);

#endif
