// --mixed: widths of weights, layer by layer, for a size or an error (docs/recipe.md).
#ifndef VQ_DRIVER_MIXED_H
#define VQ_DRIVER_MIXED_H

#include "driver.h"
#include "vq/exec.h"
#include "vq/ir.h"

// Gives --bits rules for layers that get weights of 4 bits. `m`: as loaded.
VQ_NODISCARD vq_status mixed_choose(driver *d, const vq_module *m, vq_exec *exec);

#endif
