// The module's meta entries as the runtime wants them.
#ifndef VQ_BACKEND_PREPROCESS_H
#define VQ_BACKEND_PREPROCESS_H

#include "vitq_abi.h"
#include "vq/diag.h"
#include "vq/ir.h"

// Reads the entries "preprocess.scale mean std resize crop interp". Numbers
// are decimal, lists are separated by commas.
VQ_NODISCARD vq_status vq_preprocess_read(const vq_module *m,
                                          vitq_preprocess *out, vq_diag *diag);

// The lines of entry "labels".
unsigned vq_label_count(const vq_module *m);
// Takes the next line off *rest.
vq_str vq_label_next(vq_str *rest);

// Whether an entry travels as a plain key and value.
bool vq_meta_is_plain(const vq_meta *entry);

#endif
