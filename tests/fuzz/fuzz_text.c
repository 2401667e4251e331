// Fuzzes the text form: whatever parses prints, and what it prints parses to
// something that prints the same.
#include <stdlib.h>

#include "vq/ir.h"
#include "vq/strbuf.h"
#include "vq/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Parses `text` and prints it into `out`; false when it is no module.
static bool round_trip(vq_str text, unsigned flags, vq_strbuf *out) {
  vq_ctx *ctx = vq_ctx_create();
  vq_strbuf messages = {0};
  vq_diag diag;
  vq_diag_init(&diag, ctx, vq_sink_strbuf, &messages);
  vq_module *m;
  vq_status parsed = vq_parse(ctx, text, "fuzz.vq", &diag, &m);
  if ((parsed == VQ_OK) != (messages.n == 0)) abort();
  if (parsed == VQ_OK && vq_print(out, m, flags, NULL)) abort();
  vq_module_destroy(m);
  vq_strbuf_release(&messages);
  vq_ctx_destroy(ctx);
  return parsed == VQ_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  unsigned flags = VQ_PRINT_ELIDE | (size & 1 ? VQ_PRINT_LOCS : 0);
  vq_strbuf once = {0}, twice = {0};
  if (round_trip((vq_str){(const char *)data, size}, flags, &once)) {
    if (!round_trip(vq_strbuf_view(&once), flags, &twice)) abort();
    if (!vq_str_eq(vq_strbuf_view(&once), vq_strbuf_view(&twice))) abort();
  }
  vq_strbuf_release(&once);
  vq_strbuf_release(&twice);
  return 0;
}
