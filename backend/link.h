// Making a shared object with the system's compiler driver.
#ifndef VQ_BACKEND_LINK_H
#define VQ_BACKEND_LINK_H

#include "vq/backend.h"

// Links `object` with the runtime of `opt` into `path`. Under dry_run only the
// job line is passed on.
VQ_NODISCARD vq_status vq_link_shared(const char *object, const char *path,
                                      const vq_backend_options *opt,
                                      vq_diag *diag);

#endif
