// Element access in storage format, strided walks, working memory.
#include "eval/eval_ops.h"

#include <stdlib.h>

void *vq_eval_alloc(size_t n, size_t size) {
  size_t bytes = n * size;
  void *p = NULL;
  if (n > SIZE_MAX / 2 / size || posix_memalign(&p, 64, bytes + !bytes) != 0)
    vq_oom(bytes);
  return p;
}

// ---- one element of each type -------------------------------------------------
// Data may come from a mapped file at any alignment, hence memcpy.

static inline int nibble_get(const void *data, int64_t i, bool is_signed) {
  int v = (((const uint8_t *)data)[i / 2] >> (i & 1 ? 4 : 0)) & 15;
  return is_signed ? (v ^ 8) - 8 : v;
}

static inline void nibble_put(void *data, int64_t i, int v) {
  uint8_t *p = (uint8_t *)data + i / 2;
  unsigned shift = i & 1 ? 4 : 0;
  *p = (uint8_t)((*p & ~(15u << shift)) | ((unsigned)v & 15u) << shift);
}

#define DTYPE(name, bits, cls, ctype)                                      \
  static inline ctype get_##name(const void *data, int64_t i) {            \
    ctype v;                                                               \
    if (bits == 4) return (ctype)nibble_get(data, i, (double)(ctype)-1 < 0); \
    memcpy(&v, (const char *)data + i * (int64_t)sizeof v, sizeof v);      \
    return v;                                                              \
  }                                                                        \
  static inline void put_##name(void *data, int64_t i, ctype v) {          \
    if (bits == 4)                                                         \
      nibble_put(data, i, (int)v);                                         \
    else                                                                   \
      memcpy((char *)data + i * (int64_t)sizeof v, &v, sizeof v);          \
  }
#include "vq/dtypes.def"
#undef DTYPE

// float -> int: toward zero, saturating at [lo, hi]; NaN gives 0.
static inline int64_t saturate(double v, int64_t lo, int64_t hi) {
  if (v != v) return 0;
  if (v <= (double)lo) return lo;
  if (v >= (double)hi) return hi;
  return (int64_t)v;
}

// The nearest bf16, half to even. The f32 on the way has its last bit set where it is not
// exact, so that it is neither rounded twice nor taken for one half.
static uint16_t bf16_of(double v) {
  float f = (float)v;
  uint32_t bits;
  memcpy(&bits, &f, sizeof f);
  if (v != v) return (uint16_t)(bits >> 16 | 0x40);
  if ((double)f != v) bits = (bits - (fabs((double)f) > fabs(v))) | 1;
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static double bf16_value(uint16_t half) {
  uint32_t bits = (uint32_t)half << 16;
  float f;
  memcpy(&f, &bits, sizeof f);
  return (double)f;
}

double vq_round_bf16(double v) { return bf16_value(bf16_of(v)); }

// ---- blocks -------------------------------------------------------------------

void vq_load_f64_n(vq_dtype t, const void *data, int64_t at, int64_t stride,
                   int64_t n, double *dst) {
  if (t == VQ_bf16) {
    for (int64_t i = 0; i < n; i++) dst[i] = bf16_value(get_bf16(data, at + i * stride));
    return;
  }
  switch (t) {
#define DTYPE(name, bits, cls, ctype)                              \
  case VQ_##name:                                                  \
    if (stride == 1)                                               \
      for (int64_t i = 0; i < n; i++)                              \
        dst[i] = (double)get_##name(data, at + i);                 \
    else                                                           \
      for (int64_t i = 0; i < n; i++)                              \
        dst[i] = (double)get_##name(data, at + i * stride);        \
    break;
#include "vq/dtypes.def"
#undef DTYPE
    case VQ_N_DTYPES: break;
  }
}

void vq_load_i64_n(vq_dtype t, const void *data, int64_t at, int64_t stride,
                   int64_t n, int64_t *dst) {
  if (vq_dtype_class_of(t) & (VQ_CLASS_FLOAT | VQ_CLASS_BF16)) {
    for (int64_t i = 0; i < n; i++)
      dst[i] = saturate(vq_load_f64(t, data, at + i * stride), INT64_MIN, INT64_MAX);
    return;
  }
  switch (t) {
#define DTYPE(name, bits, cls, ctype)                    \
  case VQ_##name:                                        \
    for (int64_t i = 0; i < n; i++)                      \
      dst[i] = (int64_t)get_##name(data, at + i * stride); \
    break;
#include "vq/dtypes.def"
#undef DTYPE
    case VQ_N_DTYPES: break;
  }
}

void vq_store_f64_n(vq_dtype t, void *data, int64_t at, int64_t stride,
                    int64_t n, const double *src) {
  if (t == VQ_f32) {
    for (int64_t i = 0; i < n; i++)
      put_f32(data, at + i * stride, (float)src[i]);
    return;
  }
  if (t == VQ_f64) {
    for (int64_t i = 0; i < n; i++) put_f64(data, at + i * stride, src[i]);
    return;
  }
  if (t == VQ_bf16) {
    for (int64_t i = 0; i < n; i++) put_bf16(data, at + i * stride, bf16_of(src[i]));
    return;
  }
  if (t == VQ_bool) {
    for (int64_t i = 0; i < n; i++)
      put_bool(data, at + i * stride, src[i] != 0);
    return;
  }
  int64_t lo, hi;
  vq_int_range(t, &lo, &hi);
  for (int64_t i = 0; i < n; i++) {
    int64_t v = saturate(src[i], lo, hi);
    vq_store_i64_n(t, data, at + i * stride, 1, 1, &v);
  }
}

void vq_store_i64_n(vq_dtype t, void *data, int64_t at, int64_t stride,
                    int64_t n, const int64_t *src) {
  if (t == VQ_bf16) {
    for (int64_t i = 0; i < n; i++)
      put_bf16(data, at + i * stride, bf16_of((double)src[i]));
    return;
  }
  if (t == VQ_bool) {
    for (int64_t i = 0; i < n; i++)
      put_bool(data, at + i * stride, src[i] != 0);
    return;
  }
  switch (t) {
#define DTYPE(name, bits, cls, ctype)                  \
  case VQ_##name:                                      \
    for (int64_t i = 0; i < n; i++)                    \
      put_##name(data, at + i * stride, (ctype)src[i]); \
    break;
#include "vq/dtypes.def"
#undef DTYPE
    case VQ_N_DTYPES: break;
  }
}

double vq_load_f64(vq_dtype t, const void *data, int64_t i) {
  double v = 0;
  vq_load_f64_n(t, data, i, 1, 1, &v);
  return v;
}

int64_t vq_load_i64(vq_dtype t, const void *data, int64_t i) {
  int64_t v = 0;
  vq_load_i64_n(t, data, i, 1, 1, &v);
  return v;
}

void vq_store_f64(vq_dtype t, void *data, int64_t i, double v) {
  vq_store_f64_n(t, data, i, 1, 1, &v);
}

void vq_store_i64(vq_dtype t, void *data, int64_t i, int64_t v) {
  vq_store_i64_n(t, data, i, 1, 1, &v);
}

// ---- walks --------------------------------------------------------------------

void vq_walk_broadcast(const vq_type *t, unsigned rank, int64_t *stride) {
  int64_t own[VQ_MAX_RANK];
  vq_type_strides(t, own);
  unsigned skip = rank - t->rank;
  for (unsigned k = 0; k < rank; k++)
    stride[k] = k < skip || t->dim[k - skip] == 1 ? 0 : own[k - skip];
}

// True when dimension k + 1 continues dimension k in every tensor.
static bool can_merge(const vq_walk *w, unsigned k) {
  for (unsigned t = 0; t < w->n_tensor; t++)
    if (w->stride[t][k] != w->stride[t][k + 1] * w->dim[k + 1]) return false;
  return true;
}

static void remove_dim(vq_walk *w, unsigned k) {
  w->rank--;
  for (unsigned i = k; i < w->rank; i++) {
    w->dim[i] = w->dim[i + 1];
    for (unsigned t = 0; t < w->n_tensor; t++)
      w->stride[t][i] = w->stride[t][i + 1];
  }
}

bool vq_walk_rows(vq_walk *w) {
  for (unsigned k = 0; k < w->rank; k++)
    if (w->dim[k] == 0) return false;
  for (unsigned k = w->rank; k-- > 0;)
    if (w->dim[k] == 1) remove_dim(w, k);
  for (unsigned k = w->rank; k-- > 1;)
    if (can_merge(w, k - 1)) {
      w->dim[k] *= w->dim[k - 1];
      remove_dim(w, k - 1);
    }
  w->n = w->rank ? w->dim[w->rank - 1] : 1;
  for (unsigned t = 0; t < w->n_tensor; t++)
    w->step[t] = w->rank ? w->stride[t][w->rank - 1] : 0;
  if (w->rank) w->rank--;
  memset(w->index, 0, sizeof w->index);
  return true;
}

bool vq_walk_next(vq_walk *w) {
  for (unsigned k = w->rank; k-- > 0;) {
    for (unsigned t = 0; t < w->n_tensor; t++) w->at[t] += w->stride[t][k];
    if (++w->index[k] < w->dim[k]) return true;
    for (unsigned t = 0; t < w->n_tensor; t++)
      w->at[t] -= w->stride[t][k] * w->dim[k];
    w->index[k] = 0;
  }
  return false;
}
