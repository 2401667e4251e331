// Writes ONNX models byte by byte, right or wrong, for tests.
#ifndef ONNX_WRITER_H
#define ONNX_WRITER_H

#include <stdlib.h>

#include "vq/strbuf.h"

enum { T_F32 = 1, T_U8 = 2, T_I32 = 6, T_I64 = 7, T_STR = 8, T_BOOL = 9,
       T_F16 = 10, T_F64 = 11, T_BF16 = 16 };

static inline void pb_raw_varint(vq_strbuf *b, uint64_t v) {
  for (; v > 127; v >>= 7)
    vq_strbuf_putc(b, (char)(v | 128));
  vq_strbuf_putc(b, (char)v);
}

static inline void pb_int(vq_strbuf *b, unsigned field, int64_t v) {
  pb_raw_varint(b, field << 3);
  pb_raw_varint(b, (uint64_t)v);
}

static inline void pb_bytes(vq_strbuf *b, unsigned field, const void *p,
                            size_t n) {
  pb_raw_varint(b, field << 3 | 2);
  pb_raw_varint(b, n);
  vq_strbuf_add(b, p, n);
}

static inline void pb_str(vq_strbuf *b, unsigned field, const char *z) {
  pb_bytes(b, field, z, strlen(z));
}

static inline void pb_f32(vq_strbuf *b, unsigned field, float v) {
  pb_raw_varint(b, field << 3 | 5);
  vq_strbuf_add(b, &v, 4);
}

// Appends `sub` as a message and releases it.
static inline void pb_msg(vq_strbuf *b, unsigned field, vq_strbuf *sub) {
  pb_bytes(b, field, sub->p, sub->n);
  vq_strbuf_release(sub);
}

// ---- attributes: append to an attribute list -------------------------------
static inline void at_open(vq_strbuf *a, const char *name, int type) {
  *a = (vq_strbuf){0};
  pb_str(a, 1, name);
  pb_int(a, 20, type);
}

static inline void at_int(vq_strbuf *list, const char *name, int64_t v) {
  vq_strbuf a;
  at_open(&a, name, 2);
  pb_int(&a, 3, v);
  pb_msg(list, 5, &a);
}

static inline void at_f32(vq_strbuf *list, const char *name, float v) {
  vq_strbuf a;
  at_open(&a, name, 1);
  pb_f32(&a, 2, v);
  pb_msg(list, 5, &a);
}

static inline void at_str(vq_strbuf *list, const char *name, const char *v) {
  vq_strbuf a;
  at_open(&a, name, 3);
  pb_str(&a, 4, v);
  pb_msg(list, 5, &a);
}

static inline void at_ints(vq_strbuf *list, const char *name, unsigned n,
                           const int64_t *v) {
  vq_strbuf a;
  at_open(&a, name, 7);
  for (unsigned i = 0; i < n; i++)
    pb_int(&a, 8, v[i]);
  pb_msg(list, 5, &a);
}

// A nested message (a tensor: field 5, a graph: field 6).
static inline void at_msg(vq_strbuf *list, const char *name, int type,
                          unsigned field, vq_strbuf *sub) {
  vq_strbuf a;
  at_open(&a, name, type);
  pb_msg(&a, field, sub);
  pb_msg(list, 5, &a);
}

// ---- tensors ---------------------------------------------------------------
static inline vq_strbuf tensor_head(const char *name, int type, unsigned rank,
                                    const int64_t *dim) {
  vq_strbuf t = {0};
  for (unsigned i = 0; i < rank; i++)
    pb_int(&t, 1, dim[i]);
  pb_int(&t, 2, type);
  pb_str(&t, 8, name);
  return t;
}

static inline vq_strbuf tensor_raw(const char *name, int type, unsigned rank,
                                   const int64_t *dim, const void *p,
                                   size_t n) {
  vq_strbuf t = tensor_head(name, type, rank, dim);
  pb_bytes(&t, 9, p, n);
  return t;
}

static inline void init_f32(vq_strbuf *g, const char *name, unsigned rank,
                            const int64_t *dim, const float *v) {
  size_t n = 4;
  for (unsigned i = 0; i < rank; i++)
    n *= (size_t)dim[i];
  vq_strbuf t = tensor_raw(name, T_F32, rank, dim, v, n);
  pb_msg(g, 5, &t);
}

static inline void init_i64(vq_strbuf *g, const char *name, int64_t n,
                            const int64_t *v) {
  vq_strbuf t = tensor_raw(name, T_I64, 1, &n, v, (size_t)n * 8);
  pb_msg(g, 5, &t);
}

// ---- graphs ----------------------------------------------------------------
// `dims` like "batch,3,4"; names are symbolic. Field 11: input, 12: output.
static inline void value_info(vq_strbuf *g, unsigned field, const char *name,
                              int type, const char *dims) {
  vq_strbuf shape = {0}, tensor = {0}, t = {0}, info = {0};
  while (*dims) {
    size_t n = strcspn(dims, ",");
    vq_strbuf d = {0};
    if (*dims >= '0' && *dims <= '9')
      pb_int(&d, 1, atoll(dims));
    else
      pb_bytes(&d, 2, dims, n);
    pb_msg(&shape, 1, &d);
    dims += n + (dims[n] == ',');
  }
  pb_int(&tensor, 1, type);
  pb_msg(&tensor, 2, &shape);
  pb_msg(&t, 1, &tensor);
  pb_str(&info, 1, name);
  pb_msg(&info, 2, &t);
  pb_msg(g, field, &info);
}

static inline void split_names(vq_strbuf *node, unsigned field,
                               const char *names) {
  while (*names) {
    size_t n = strcspn(names, ",");
    pb_bytes(node, field, names, n);
    names += n + (names[n] == ',');
  }
}

// `attrs` is released; NULL for none. Names are separated by commas.
static inline vq_strbuf make_node(const char *op, const char *in,
                                  const char *out, vq_strbuf *attrs) {
  vq_strbuf node = {0};
  const char *dot = strrchr(op, '.');
  split_names(&node, 1, in);
  split_names(&node, 2, out);
  pb_str(&node, 4, dot ? dot + 1 : op);
  if (dot)
    pb_bytes(&node, 7, op, (size_t)(dot - op));
  if (attrs) {
    vq_strbuf_add(&node, attrs->p, attrs->n);
    vq_strbuf_release(attrs);
  }
  return node;
}

static inline void add_node(vq_strbuf *g, const char *op, const char *in,
                            const char *out, vq_strbuf *attrs) {
  vq_strbuf node = make_node(op, in, out, attrs);
  pb_msg(g, 1, &node);
}

static inline void add_opset(vq_strbuf *m, unsigned field, const char *domain,
                             int64_t version) {
  vq_strbuf o = {0};
  pb_str(&o, 1, domain);
  pb_int(&o, 2, version);
  pb_msg(m, field, &o);
}

// Releases the graph, which comes last: a cut anywhere cuts it.
static inline vq_strbuf make_model(vq_strbuf *graph, int64_t opset) {
  vq_strbuf m = {0};
  pb_int(&m, 1, 8);
  pb_str(&m, 2, "test");
  add_opset(&m, 8, "", opset);
  add_opset(&m, 8, "com.microsoft", 1);
  pb_msg(&m, 7, graph);
  return m;
}

#endif
