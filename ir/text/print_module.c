// Printer, module level: facts, quantization entries, constants, locations.
#include "eval/eval_ops.h"
#include "text/blob.h"
#include "text/printer.h"
#include "vq/strbuf.h"
#include "vq/verify.h"

static void put_quoted(vq_strbuf *out, vq_str s) {
  vq_strbuf_putc(out, '"');
  vq_strbuf_escaped(out, s);
  vq_strbuf_putc(out, '"');
}

// ---- quant entries: those that types of the module name, in that order --------

static bool is_even(const vq_quant *q) {
  for (uint32_t i = 1; i < q->n; i++)
    if (q->zero[i] != q->zero[0]) return false;
  return true;
}

// What is short comes first, so that the beginning of a line tells most.
static void put_quant_head(vq_strbuf *out, const vq_quant *q) {
  int64_t lo, hi;
  vq_int_range(q->store, &lo, &hi);
  vq_strbuf_puts(out, "quant ");
  vq_print_name(out, '@', q->name);
  vq_strbuf_printf(out, " = uniform<%s, ", vq_dtype_name(q->store));
  if (q->lo != lo || q->hi != hi) vq_strbuf_printf(out, "lo = %d, hi = %d, ", q->lo, q->hi);
  if (q->of.n) {
    vq_strbuf_puts(out, "of = ");
    put_quoted(out, q->of);
    vq_strbuf_puts(out, ", ");
  }
  if (q->axis == VQ_AXIS_LAST)
    vq_strbuf_puts(out, "axis = last, ");
  else if (q->axis != VQ_AXIS_NONE)
    vq_strbuf_printf(out, "axis = %d, ", q->axis);
}

static void put_quant(vq_strbuf *out, const vq_quant *q) {
  bool list = q->axis != VQ_AXIS_NONE, zeros = list && !is_even(q);
  put_quant_head(out, q);
  vq_strbuf_puts(out, list ? "scale = [" : "scale = ");
  for (uint32_t i = 0; i < q->n; i++) {
    if (i) vq_strbuf_puts(out, ", ");
    vq_strbuf_f32(out, q->scale[i]);
  }
  vq_strbuf_puts(out, list ? "], zero = " : ", zero = ");
  if (zeros) vq_strbuf_putc(out, '[');
  for (uint32_t i = 0; i < (zeros ? q->n : 1); i++)
    vq_strbuf_printf(out, "%s%d", i ? ", " : "", q->zero[i]);
  vq_strbuf_puts(out, zeros ? "]>\n" : ">\n");
}

static void see_type(vq_strbuf *out, vq_map *seen, const vq_type *t) {
  if (!t->q || vq_map_find(seen, t->q->name)) return;
  vq_map_put(seen, t->q->name);
  put_quant(out, t->q);
}

static void put_quants(vq_strbuf *out, const vq_module *m) {
  vq_map seen = {0};
  vq_each_const(m, c) see_type(out, &seen, c->value.type);
  vq_each_func(m, f) {
    for (uint32_t i = 0; i < f->n_arg; i++)
      see_type(out, &seen, f->arg[i].type);
    for (uint32_t i = 0; i < f->n_result; i++)
      see_type(out, &seen, f->result[i]);
    vq_each_op(f, op)
      for (uint32_t i = 0; i < op->n_out; i++)
        see_type(out, &seen, op->out[i].type);
  }
  vq_map_release(&seen);
}

// ---- constants ----------------------------------------------------------------

static void put_element(vq_strbuf *out, vq_dtype dtype, const void *data,
                        int64_t i) {
  float f;
  switch (vq_dtype_class_of(dtype)) {
    case VQ_CLASS_FLOAT:
      memcpy(&f, (const char *)data + i * (int64_t)sizeof f, sizeof f);
      vq_strbuf_f32(out, f);
      break;
    case VQ_CLASS_BF16:
      vq_strbuf_f32(out, (float)vq_load_f64(dtype, data, i));
      break;
    case VQ_CLASS_BOOL:
      vq_strbuf_puts(out, vq_load_i64(dtype, data, i) ? "true" : "false");
      break;
    case VQ_CLASS_INT:
      vq_strbuf_printf(out, "%lld", (long long)vq_load_i64(dtype, data, i));
      break;
  }
}

static void put_fill(vq_strbuf *out, const vq_const *c) {
  char one[sizeof(int64_t)] = {0};
  vq_store_f64(c->value.type->dtype, one, 0, c->fill);
  vq_strbuf_puts(out, "fill<");
  put_element(out, c->value.type->dtype, one, 0);
  vq_strbuf_putc(out, '>');
}

static void put_dense(vq_strbuf *out, const vq_const *c) {
  vq_strbuf_puts(out, "dense<[");
  for (int64_t i = 0, n = vq_type_count(c->value.type); i < n; i++) {
    if (i) vq_strbuf_puts(out, ", ");
    put_element(out, c->value.type->dtype, c->bytes, i);
  }
  vq_strbuf_puts(out, "]>");
}

static vq_status put_blob(vq_strbuf *out, const vq_const *c, bool elide,
                          vq_blob_writer *blobs) {
  size_t n = (size_t)vq_type_bytes(c->value.type);
  char hex[VQ_SHA256_HEX + 1];
  if (!blobs && !elide) VQ_BUG("a large constant, but no side file to put it");
  if (!elide) {
    uint64_t offset;
    if (vq_blob_put(blobs, c->bytes, n, &offset, hex)) return VQ_ERR;
    vq_strbuf_puts(out, "blob<");
    put_quoted(out, vq_blob_name(blobs));
    vq_strbuf_printf(out, ", offset = 0x%llx, ", (unsigned long long)offset);
  } else {
    vq_sha256_hex(c->bytes, n, hex);
    vq_strbuf_puts(out, "blob<elided, ");
  }
  vq_strbuf_printf(out, "sha256 = \"%s\">", hex);
  return VQ_OK;
}

void vq_const_digest(vq_const *c, char hex[65]) {
  const void *bytes = vq_const_bytes(c);
  if (bytes)
    vq_sha256_hex(bytes, (size_t)vq_type_bytes(c->value.type), hex);
  else
    memcpy(hex, c->sha256, VQ_SHA256_HEX + 1);
}

void vq_digest(const void *p, size_t n, char hex[65]) { vq_sha256_hex(p, n, hex); }

static vq_status put_const(vq_strbuf *out, const vq_const *c, bool elide,
                           vq_blob_writer *blobs) {
  vq_strbuf_puts(out, "const ");
  vq_print_name(out, '@', c->value.name);
  vq_strbuf_puts(out, " : ");
  vq_type_print(out, c->value.type);
  vq_strbuf_puts(out, " = ");
  vq_status status = VQ_OK;
  switch (c->init) {
    case VQ_INIT_FILL:
      put_fill(out, c);
      break;
    case VQ_INIT_RANDOM:
      vq_strbuf_printf(out, "random<seed = %llu, std = ",
                       (unsigned long long)c->seed);
      vq_strbuf_f32(out, c->std);
      vq_strbuf_putc(out, '>');
      break;
    case VQ_INIT_MISSING:
      vq_strbuf_printf(out, "blob<elided, sha256 = \"%s\">", c->sha256);
      break;
    case VQ_INIT_BYTES:
      if (vq_type_count(c->value.type) <= VQ_MAX_DENSE)
        put_dense(out, c);
      else
        status = put_blob(out, c, elide, blobs);
      break;
  }
  vq_strbuf_putc(out, '\n');
  return status;
}

// ---- locations ------------------------------------------------------------------

uint32_t vq_loc_number(vq_loc_table *t, vq_loc loc) {
  if (loc.id == 0) return 0;
  while (t->number.n <= loc.id) vq_vec_push(&t->number, 0);
  if (t->number.p[loc.id] == 0) {
    vq_vec_push(&t->loc, loc);
    t->number.p[loc.id] = (uint32_t)t->loc.n;
  }
  return t->number.p[loc.id];
}

static void put_loc(vq_strbuf *out, const vq_loc_info *at) {
  switch (at->kind) {
    case VQ_LOC_NONE:
    case VQ_LOC_PATH:
      vq_strbuf_puts(out, "path(");
      put_quoted(out, at->path);
      break;
    case VQ_LOC_ONNX:
      vq_strbuf_puts(out, "onnx(");
      put_quoted(out, at->path);
      vq_strbuf_printf(out, ", node = %llu, name = ", (unsigned long long)at->a);
      put_quoted(out, at->name);
      break;
    case VQ_LOC_TEXT:
      vq_strbuf_puts(out, "text(");
      put_quoted(out, at->path);
      vq_strbuf_printf(out, ", %llu, %llu", (unsigned long long)at->a,
                       (unsigned long long)at->b);
      break;
    case VQ_LOC_BYTE:
      vq_strbuf_puts(out, "byte(");
      put_quoted(out, at->path);
      vq_strbuf_printf(out, ", 0x%llx", (unsigned long long)at->a);
      break;
  }
  vq_strbuf_puts(out, ")\n");
}

static void put_locs(vq_strbuf *out, const vq_module *m,
                     const vq_loc_table *t) {
  for (size_t i = 0; i < t->loc.n; i++) {
    vq_loc_info at = vq_loc_decode(m->ctx, t->loc.p[i]);
    vq_strbuf_printf(out, "loc #%zu = ", i + 1);
    put_loc(out, &at);
  }
}

// ---- the module -------------------------------------------------------------------

static void put_facts(vq_strbuf *out, const vq_module *m) {
  vq_strbuf_puts(out, "vq 1\nmodule ");
  put_quoted(out, m->name);
  vq_strbuf_putc(out, '\n');
  for (const vq_meta *e = m->meta; e; e = e->next) {
    vq_strbuf_puts(out, "meta ");
    put_quoted(out, e->key);
    vq_strbuf_puts(out, " = ");
    put_quoted(out, e->value);
    vq_strbuf_putc(out, '\n');
  }
  const char *before = "properties ";
  for (unsigned prop = 1; vq_prop_name(prop); prop <<= 1) {
    if (!(m->props & prop)) continue;
    vq_strbuf_printf(out, "%s%s", before, vq_prop_name(prop));
    before = ", ";
  }
  if (*before == ',') vq_strbuf_putc(out, '\n');
  if (m->arena_size)
    vq_strbuf_printf(out, "arena %llu\n", (unsigned long long)m->arena_size);
}

vq_status vq_print(vq_strbuf *out, const vq_module *m, unsigned flags,
                   vq_blob_writer *blobs) {
  vq_loc_table locs = {0};
  put_facts(out, m);
  put_quants(out, m);
  vq_status status = VQ_OK;
  vq_each_const(m, c)
    if (put_const(out, c, flags & VQ_PRINT_ELIDE, blobs) != VQ_OK)
      status = VQ_ERR;
  vq_each_func(m, f) {
    vq_strbuf_putc(out, '\n');
    vq_print_func_locs(out, f, flags & VQ_PRINT_LOCS ? &locs : NULL);
  }
  if (locs.loc.n) vq_strbuf_putc(out, '\n');
  put_locs(out, m, &locs);
  vq_vec_release(&locs.loc);
  vq_vec_release(&locs.number);
  return status;
}
