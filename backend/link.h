// Making a shared object or one object with the system's compiler driver.
#ifndef VQ_BACKEND_LINK_H
#define VQ_BACKEND_LINK_H

#include "vq/backend.h"

// Links all of `archive` into `path`: with the runtime of `opt` into a shared
// object (VQ_EMIT_SO), or into one object (VQ_EMIT_OBJ). Under dry_run only the
// job line is passed on.
VQ_NODISCARD vq_status vq_link(vq_emit_kind kind, const char *archive,
                               const char *path, const vq_backend_options *opt,
                               vq_diag *diag);

#endif
