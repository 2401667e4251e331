// Element types and interned tensor types.
#include "vq/type.h"

#include "support/ctx.h"
#include "vq/strbuf.h"
#include "vq/text.h"

static const int64_t max_count = (int64_t)1 << 40;

typedef struct dtype_row {
  const char *name;
  unsigned bits;
  vq_dtype_class cls;
} dtype_row;

static const dtype_row dtypes[VQ_N_DTYPES] = {
#define DTYPE(name, bits, cls, ctype) {#name, bits, cls},
#include "vq/dtypes.def"
#undef DTYPE
};

const char *vq_dtype_name(vq_dtype t) { return dtypes[t].name; }
unsigned vq_dtype_bits(vq_dtype t) { return dtypes[t].bits; }
vq_dtype_class vq_dtype_class_of(vq_dtype t) { return dtypes[t].cls; }

void vq_int_range(vq_dtype t, int64_t *lo, int64_t *hi) {
  unsigned bits = vq_dtype_bits(t);
  bool is_unsigned = t == VQ_u8 || t == VQ_u4;
  if (t == VQ_bool) bits = 1, is_unsigned = true;
  *hi = is_unsigned ? (INT64_C(1) << bits) - 1
                    : (int64_t)(UINT64_MAX >> (65 - bits));
  *lo = is_unsigned ? 0 : -*hi - 1;
}

bool vq_dtype_parse(vq_str name, vq_dtype *out) {
  for (int t = 0; t < VQ_N_DTYPES; t++) {
    if (t == VQ_f64 || !vq_str_is(name, dtypes[t].name)) continue;
    *out = (vq_dtype)t;
    return true;
  }
  return false;
}

// False when some product of dimensions could exceed the limit; zeros count
// as ones so that strides stay bounded too.
static bool dims_fit(unsigned rank, const int64_t *dim) {
  int64_t count = 1;
  for (unsigned i = 0; i < rank; i++) {
    if (dim[i] < 0) return false;
    if (dim[i] == 0) continue;
    if (dim[i] > max_count / count) return false;
    count *= dim[i];
  }
  return true;
}

const vq_type *vq_type_tensor(vq_ctx *ctx, vq_dtype dtype, unsigned rank,
                              const int64_t *dim, const vq_quant *q) {
  if (rank > VQ_MAX_RANK || !dims_fit(rank, dim)) return NULL;
  vq_type probe;
  memset(&probe, 0, sizeof probe);  // padding is part of the key
  probe.dtype = dtype;
  probe.rank = (uint8_t)rank;
  probe.q = q;
  for (unsigned i = 0; i < rank; i++) probe.dim[i] = dim[i];
  vq_str key = {(const char *)&probe, sizeof probe};
  vq_type *found = vq_map_get(&ctx->types, key);
  if (found) return found;
  vq_type *t =
      vq_arena_copy(&ctx->arena, &probe, sizeof probe, _Alignof(vq_type));
  *vq_map_put(&ctx->types, (vq_str){(const char *)t, sizeof *t}) = t;
  return t;
}

const vq_type *vq_type_with(vq_ctx *ctx, const vq_type *t, const vq_quant *q) {
  return t->q == q ? t : vq_type_tensor(ctx, t->dtype, t->rank, t->dim, q);
}

int64_t vq_type_count(const vq_type *t) {
  int64_t count = 1;
  for (unsigned i = 0; i < t->rank; i++) count *= t->dim[i];
  return count;
}

int64_t vq_type_bytes(const vq_type *t) {
  return (vq_type_count(t) * (int64_t)dtypes[t->dtype].bits + 7) / 8;
}

bool vq_type_is(const vq_type *t, vq_dtype dtype, unsigned rank) {
  return t->dtype == dtype && t->rank == rank;
}

void vq_type_strides(const vq_type *t, int64_t stride[VQ_MAX_RANK]) {
  int64_t step = 1;
  for (unsigned i = t->rank; i-- > 0;) {
    stride[i] = step;
    if (t->dim[i]) step *= t->dim[i];
  }
}

bool vq_broadcast(const vq_type *a, const vq_type *b, unsigned *rank,
                  int64_t dim[VQ_MAX_RANK]) {
  unsigned n = a->rank > b->rank ? a->rank : b->rank;
  for (unsigned k = 1; k <= n; k++) {  // from the last dimension
    int64_t da = k <= a->rank ? a->dim[a->rank - k] : 1;
    int64_t db = k <= b->rank ? b->dim[b->rank - k] : 1;
    if (da != db && da != 1 && db != 1) return false;
    dim[n - k] = da == 1 ? db : da;
  }
  *rank = n;
  return true;
}

void vq_type_print(vq_strbuf *out, const vq_type *t) {
  vq_strbuf_puts(out, "tensor<");
  for (unsigned i = 0; i < t->rank; i++)
    vq_strbuf_printf(out, "%s%lld", i ? "x" : "", (long long)t->dim[i]);
  vq_strbuf_printf(out, "%s%s", t->rank ? ", " : "", vq_dtype_name(t->dtype));
  if (t->q) {
    vq_strbuf_puts(out, ", q=");
    vq_print_name(out, '@', t->q->name);
  }
  vq_strbuf_putc(out, '>');
}
