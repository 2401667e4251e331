// Fuzz target: any bytes through pre-scan, decoding, import and verification.
#include "vq/onnx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  vq_ctx *ctx = vq_ctx_create();
  vq_diag diag;
  vq_module *m;
  vq_onnx_summary summary;
  vq_onnx_options opt = {.batch = 1, .max_fold_bytes = 16 << 20};
  vq_diag_init(&diag, ctx, NULL, NULL);
  if (!vq_onnx_import_bytes(ctx, data, size, NULL, &opt, &diag, &m, &summary))
    vq_module_destroy(m);
  vq_ctx_destroy(ctx);
  return 0;
}
