// The bounded pre-scan of a model's bytes, before protobuf-c sees them.
#ifndef VQ_ONNX_WIRE_H
#define VQ_ONNX_WIRE_H

#include "vq/diag.h"
#include "vq/strbuf.h"

// What stands in the skeleton where a tensor's raw_data stood: its place in
// the file, as two little-endian words.
typedef struct vq_wire_span {
  uint64_t offset, size;
} vq_wire_span;

typedef struct vq_wire_info {
  uint64_t metadata_bytes;  // doc strings, metadata and unknown fields dropped
  uint32_t n_node;          // nodes of all graphs and functions
} vq_wire_info;

// Walks all of `bytes` and writes the skeleton: the same model in which every
// raw_data is a vq_wire_span and exporter metadata is gone. Whatever decodes
// the skeleton meets no truncated field, no wrong wire type, no repeated
// singular field, no NUL inside a string, bounded nesting and a bounded sum of
// sizes. Errors carry the byte offset.
VQ_NODISCARD vq_status vq_wire_scan(vq_diag *diag, vq_str path,
                                    const void *bytes, size_t n,
                                    vq_strbuf *skeleton, vq_wire_info *info);

#endif
