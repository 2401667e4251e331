// ONNX import: bytes of a model file to a float IR module.
#ifndef VQ_ONNX_H
#define VQ_ONNX_H

#include "vq/diag.h"
#include "vq/ir.h"

typedef struct vq_onnx_options {
  int64_t batch;             // >= 1: value of the batch dimension
  const char *const *shape;  // "input:1x3x224x224" or "1x3x224x224"
  unsigned n_shape;
  bool follow_data_symlinks;
  uint64_t max_fold_bytes;   // 0: 256 MiB; largest tensor made while folding
} vq_onnx_options;

// What the importer saw, for the summary and `inspect`.
typedef struct vq_onnx_summary {
  int64_t ir_version, opset;
  uint32_t n_node, n_initializer;
  vq_str producer;            // in the module's arena, escaped
  uint64_t metadata_bytes;    // exporter metadata that was dropped
  int64_t batch;              // batch in use
  bool batch_baked;           // the model fixes its own batch
} vq_onnx_summary;

// True when the bytes look like an ONNX model rather than IR text.
bool vq_onnx_sniff(const void *bytes, size_t n);

// Imports the file at `path`. Weights stay spans of the mapped file where their
// encoding allows. Everything computable from constants and the pinned input
// shape is computed. The result verifies; its only function is @main with the
// model's input and output names. `summary` may be NULL.
VQ_NODISCARD vq_status vq_onnx_import(vq_ctx *ctx, const char *path,
                                      const vq_onnx_options *opt, vq_diag *diag,
                                      vq_module **out, vq_onnx_summary *summary);

// The same from memory, for tests and fuzzing; external data is looked up
// beside `path` (NULL: refused).
VQ_NODISCARD vq_status vq_onnx_import_bytes(vq_ctx *ctx, const void *bytes,
                                            size_t n, const char *path,
                                            const vq_onnx_options *opt,
                                            vq_diag *diag, vq_module **out,
                                            vq_onnx_summary *summary);

#endif
