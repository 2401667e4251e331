// Writing modules: as text with its data, or as a drawing.
#ifndef VQ_DRIVER_WRITE_H
#define VQ_DRIVER_WRITE_H

#include "driver.h"
#include "vq/ir.h"

// To `path`, with a side file for large constants, or to standard output ("-")
// without them. --print-locs adds where each op comes from.
VQ_NODISCARD vq_status write_ir(driver *d, const vq_module *m, const char *path);
VQ_NODISCARD vq_status write_dot(driver *d, const vq_module *m, const char *path);

#endif
