// Diagnostics: collected, located, never printed by library code.
//
// A library function that fails calls vq_error() and returns its result:
//   return vq_error(dg, VQ_E_SHAPE, op->loc, "expected rank 3, found %u", r);
// The sink decides what to do with the text. Messages are lower case, have no
// final period, and say what was found and what was expected.
#ifndef VQ_DIAG_H
#define VQ_DIAG_H

#include <stdarg.h>

#include "vq/base.h"

typedef enum vq_severity { VQ_NOTE, VQ_WARNING, VQ_ERROR } vq_severity;

// One row of diag.def each: VQ_E_shape, VQ_E_parse, ...
typedef enum vq_code {
#define DIAG(name, help) VQ_E_##name,
#include "vq/diag.def"
#undef DIAG
  VQ_N_CODES
} vq_code;

const char *vq_code_name(vq_code code);  // kebab-case, "shape-mismatch"
const char *vq_code_help(vq_code code);

typedef struct vq_message {
  vq_severity severity;
  vq_code code;
  vq_loc loc;
  vq_str text;  // valid only during the callback
} vq_message;

// Receives each message as it is emitted. `user` is the sink's own.
typedef void (*vq_sink_fn)(void *user, const vq_ctx *ctx, const vq_message *m);

// Collects counts and forwards to the sink. Thread-compatible.
struct vq_diag {
  vq_ctx *ctx;
  vq_sink_fn sink;  // NULL: messages are counted and dropped
  void *user;
  uint32_t n_error, n_warning;
  uint32_t max_error;  // after this many, errors are counted only; 0: no limit
  bool werror;         // warnings count and print as errors
  bool muted;          // the last message was over the limit: so are its notes
};

void vq_diag_init(vq_diag *d, vq_ctx *ctx, vq_sink_fn sink, void *user);

// Emits an error and returns VQ_ERR, so that callers can return it.
vq_status vq_error(vq_diag *d, vq_code code, vq_loc loc, const char *fmt, ...)
    VQ_PRINTF(4, 5);
// Emits a warning. Returns VQ_ERR only under `werror`.
vq_status vq_warn(vq_diag *d, vq_code code, vq_loc loc, const char *fmt, ...)
    VQ_PRINTF(4, 5);
// Adds a note to the message before it: a way out, or the other place involved.
void vq_note(vq_diag *d, vq_loc loc, const char *fmt, ...) VQ_PRINTF(3, 4);

// A sink that keeps every message as rendered text; for tests and libraries.
// `user` is a vq_strbuf*.
void vq_sink_strbuf(void *user, const vq_ctx *ctx, const vq_message *m);

// Renders "path:line:col: error: text [code]\n" (or the ONNX, byte and pass
// forms), with the source line and a caret when the text is still mapped.
void vq_message_render(vq_strbuf *out, const vq_ctx *ctx, const vq_message *m,
                       bool color);

// The parts of it: the place, "" when it is unknown, and the text, both made safe to
// show on a terminal.
void vq_loc_render(vq_strbuf *out, const vq_ctx *ctx, vq_loc loc);
void vq_message_text(vq_strbuf *out, const vq_message *m);

// ---- locations -----------------------------------------------------------
// Paths and names are copied. Names are escaped when rendered.

typedef enum vq_loc_kind {
  VQ_LOC_NONE,
  VQ_LOC_TEXT,  // path:line:col
  VQ_LOC_ONNX,  // path:#node(name)
  VQ_LOC_BYTE,  // path:0x1a2f
  VQ_LOC_PATH   // path: or a tool name such as "vitqc:"
} vq_loc_kind;

typedef struct vq_loc_info {
  vq_loc_kind kind;
  vq_str path, name;  // name: ONNX node name (may be empty)
  uint64_t a, b;      // line and column; node index; byte offset
  vq_str line;        // TEXT: the source line, or empty
} vq_loc_info;

vq_loc vq_loc_text(vq_ctx *ctx, vq_str path, uint32_t line, uint32_t col,
                   vq_str source_line_or_empty);
vq_loc vq_loc_onnx(vq_ctx *ctx, vq_str path, uint64_t node, vq_str name);
vq_loc vq_loc_byte(vq_ctx *ctx, vq_str path, uint64_t offset);
vq_loc vq_loc_path(vq_ctx *ctx, vq_str path);
vq_loc_info vq_loc_decode(const vq_ctx *ctx, vq_loc loc);

#endif
