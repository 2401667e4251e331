// Reproducers: what it takes to see a fault of the compiler again.
#ifndef VQ_DRIVER_REPRODUCER_H
#define VQ_DRIVER_REPRODUCER_H

#include "driver.h"
#include "vq/ir.h"

// Where one would be written: --reproducer, or beside `output`; NULL: nowhere.
const char *reproducer_path(driver *d, const char *output);
// The options that what a pass or the backend does depends on, as words.
vq_str reproducer_options(driver *d);

// While the backend works on `m`, a fault of its own saves it.
void reproducer_arm(driver *d, const vq_module *m, const char *output);
void reproducer_disarm(void);

// --run-reproducer: takes over what the file's first line says, unless the command
// line says otherwise.
VQ_NODISCARD vq_status reproducer_take(driver *d);

#endif
