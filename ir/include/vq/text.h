// The canonical text form: vq_parse and vq_print are each other's inverse.
//
//   vq 1
//   module "vit_tiny"
//   meta "preprocess" = "scale=1/255 mean=.5,.5,.5"
//   const @w : tensor<576x192, f32> = blob<"x.vqw", offset = 0x40, sha256 = "9f2c...">
//   func @main(%x: tensor<1x197x192, f32>) -> (logits: tensor<1x197x576, f32>) {
//     %qkv = linear %x, @w : tensor<1x197x576, f32>
//     return %qkv
//   }
//
// Result types stand at the definition only. Attributes equal to their default
// are not printed; their order is the op table's. Names of [A-Za-z0-9_.$-]
// print bare, others in quotes. See docs/ir.md for the grammar.
#ifndef VQ_TEXT_H
#define VQ_TEXT_H

#include "vq/diag.h"
#include "vq/ir.h"
#include "vq/strbuf.h"

typedef enum vq_print_flags {
  VQ_PRINT_LOCS = 1u << 0,   // `loc(#n)` and a table at the end
  VQ_PRINT_ELIDE = 1u << 1   // no side file: large constants print as
                             // blob<elided, sha256 = "...">
} vq_print_flags;

// Where large constants of one or several dumps go. Content-addressed: equal
// bytes are stored once, at offsets aligned to 64.
typedef struct vq_blob_writer vq_blob_writer;

// Opens `path` for writing (through a temporary file renamed at commit). `name`
// is what the text will say, relative to the .vq file's directory.
vq_blob_writer *vq_blob_open(vq_ctx *ctx, vq_diag *diag, const char *path,
                             vq_str name);
VQ_NODISCARD vq_status vq_blob_commit(vq_blob_writer *w);  // frees w
void vq_blob_abort(vq_blob_writer *w);                     // frees w, no file

// Prints `m`. `blobs` may be NULL when VQ_PRINT_ELIDE is set or the module has
// no large constant (more than 16 elements and not a fill or random literal).
VQ_NODISCARD vq_status vq_print(vq_strbuf *out, const vq_module *m,
                                unsigned flags, vq_blob_writer *blobs);
// Writes `head` (comment lines, or empty) and the text of `m` to `path`, as a
// whole or not at all. Without `blobs`, large constants go to a side file of
// its own, `path` + "w".
VQ_NODISCARD vq_status vq_save(const vq_module *m, const char *path,
                               vq_str head, unsigned flags,
                               vq_blob_writer *blobs, vq_diag *diag);
void vq_print_op(vq_strbuf *out, const vq_op *op);  // one line, for messages
void vq_print_func(vq_strbuf *out, const vq_func *f);

// Appends `sigil` (0: none) and `name`, quoted when it is not bare. Values
// without a name print as numbers, so `%` quotes names of digits only.
void vq_print_name(vq_strbuf *out, char sigil, vq_str name);

// Appends "%x", "%3" or "@w": a value as ops of its function name it.
void vq_print_value(vq_strbuf *out, const vq_value *v);
// Appends one attribute's value; `field` points at it.
void vq_print_attr(vq_strbuf *out, vq_attr_kind kind, const void *field);
// The checksum of a constant's data that a dump states, also when the data are
// missing: 64 hex digits and a NUL.
void vq_const_digest(vq_const *c, char hex[65]);
// The same of any bytes.
void vq_digest(const void *p, size_t n, char hex[65]);

// Parses `text` (which must stay alive as long as `m`'s locations are
// rendered). Side files are looked up relative to `path`'s directory, mapped
// read-only, range- and checksum-checked. The module is verified. A `path` that is NULL
// or empty stands for text that is no file and has no side files.
VQ_NODISCARD vq_status vq_parse(vq_ctx *ctx, vq_str text, const char *path,
                                vq_diag *diag, vq_module **out);

#endif
