// Reading models: what a file is, and modules from ONNX or IR text.
#ifndef VQ_DRIVER_LOAD_H
#define VQ_DRIVER_LOAD_H

#include "driver.h"
#include "vq/ir.h"
#include "vq/onnx.h"

typedef enum file_kind {
  FILE_ONNX,  // or nothing else that is known
  FILE_IR,
  FILE_ELF,
  FILE_NPY,
  FILE_PICTURE
} file_kind;

// Decides by content. An unreadable file is an error.
VQ_NODISCARD vq_status file_sniff(driver *d, const char *path, file_kind *out);

typedef struct loaded {
  vq_module *m;
  file_kind kind;
  vq_onnx_summary summary;  // ONNX only
  uint8_t *text;            // IR only: locations point into it
} loaded;

// Imports or parses the model at `path`, with the options --batch,
// --input-shape and --follow-data-symlinks.
VQ_NODISCARD vq_status load_model(driver *d, const char *path, loaded *out);
void loaded_release(loaded *l);

// Appends the text of --preprocess, or that of the file it names, without # comments.
VQ_NODISCARD vq_status preprocess_text(driver *d, const char *option, vq_strbuf *out);
// Stores --preprocess and --labels in the module.
VQ_NODISCARD vq_status store_preprocess(driver *d, vq_module *m);
VQ_NODISCARD vq_status store_labels(driver *d, vq_module *m);

#endif
