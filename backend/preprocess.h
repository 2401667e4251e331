// The module's meta entries as the runtime wants them.
#ifndef VQ_BACKEND_PREPROCESS_H
#define VQ_BACKEND_PREPROCESS_H

#include "vitq_abi.h"
#include "vq/backend.h"
#include "vq/diag.h"
#include "vq/ir.h"

// The lines of entry "labels".
unsigned vq_label_count(const vq_module *m);
// Takes the next line off *rest.
vq_str vq_label_next(vq_str *rest);

// Whether an entry travels as a plain key and value. Those of preprocessing and labels
// have a form of their own, those of calibration are for dumps.
bool vq_meta_is_plain(const vq_meta *entry);

#endif
