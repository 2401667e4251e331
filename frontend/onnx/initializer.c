// Tensors of the model file: every encoding, inline or external, to IR types.
//
// float16, bfloat16 and double become f32 because all arithmetic here is f32;
// unsigned types the IR lacks become the next wider signed one. Sizes are
// checked when the tensor is declared, bytes are touched when it is used, and
// plain little-endian data at an aligned place is never copied.
#include "import.h"

#include <sys/mman.h>
#include <unistd.h>

#include <math.h>

#include "vq/eval.h"
#include "vq/strbuf.h"
#include "wire.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "ONNX's raw data is little-endian");

// ONNX element types: number, name, bits in raw data, IR type, and which typed
// field may hold the data.
typedef enum typed { T_NONE, T_FLOAT, T_INT32, T_INT64, T_DOUBLE, T_UINT64 } typed;

typedef struct data_type {
  const char *name;
  uint8_t bits;
  uint8_t dtype;
  uint8_t field;
} data_type;

enum { FLOAT16 = 10, DOUBLE = 11, UINT16 = 4, UINT32 = 12, UINT64 = 13,
       BFLOAT16 = 16 };

static const data_type types[] = {
  [1] = {"float", 32, VQ_f32, T_FLOAT},
  [2] = {"uint8", 8, VQ_u8, T_INT32},
  [3] = {"int8", 8, VQ_i8, T_INT32},
  [UINT16] = {"uint16", 16, VQ_i32, T_INT32},
  [5] = {"int16", 16, VQ_i16, T_INT32},
  [6] = {"int32", 32, VQ_i32, T_INT32},
  [7] = {"int64", 64, VQ_i64, T_INT64},
  [8] = {"string", 0, 0, T_NONE},
  [9] = {"bool", 8, VQ_bool, T_INT32},
  [FLOAT16] = {"float16", 16, VQ_f32, T_INT32},
  [DOUBLE] = {"double", 64, VQ_f32, T_DOUBLE},
  [UINT32] = {"uint32", 32, VQ_i64, T_UINT64},
  [UINT64] = {"uint64", 64, VQ_i64, T_UINT64},
  [14] = {"complex64", 0, 0, T_NONE},
  [15] = {"complex128", 0, 0, T_NONE},
  [BFLOAT16] = {"bfloat16", 16, VQ_f32, T_INT32},
};

static const data_type *type_of(int32_t data_type_number) {
  if (data_type_number < 0 || data_type_number >= (int32_t)VQ_COUNT(types) ||
      !types[data_type_number].bits)
    return NULL;
  return &types[data_type_number];
}

bool vq_ox_dtype(int32_t number, vq_dtype *out) {
  const data_type *t = type_of(number);
  if (t)
    *out = (vq_dtype)t->dtype;
  return t != NULL;
}

const char *vq_ox_data_type_name(int32_t number) {
  if (number >= 0 && number < (int32_t)VQ_COUNT(types) && types[number].name)
    return types[number].name;
  return number >= 17 && number <= 28 ? "a type of less than 8 bits or float8"
                                      : "an undefined type";
}

static vq_status fail(vq_ox *ox, vq_loc loc, vq_code code,
                      const Onnx__TensorProto *t, const char *fmt, ...)
    VQ_PRINTF(5, 6);
static vq_status fail(vq_ox *ox, vq_loc loc, vq_code code,
                      const Onnx__TensorProto *t, const char *fmt, ...) {
  vq_strbuf text = {0};
  va_list ap;
  va_start(ap, fmt);
  vq_strbuf_puts(&text, "tensor '");
  vq_strbuf_escaped(&text, vq_str_of(t->name));
  vq_strbuf_puts(&text, "': ");
  vq_strbuf_vprintf(&text, fmt, ap);
  va_end(ap);
  vq_error(ox->diag, code, loc, "%s", vq_strbuf_z(&text));
  vq_strbuf_release(&text);
  return VQ_ERR;
}

static size_t typed_count(const Onnx__TensorProto *t, unsigned field) {
  switch (field) {
    case T_FLOAT: return t->n_float_data;
    case T_INT32: return t->n_int32_data;
    case T_INT64: return t->n_int64_data;
    case T_DOUBLE: return t->n_double_data;
    case T_UINT64: return t->n_uint64_data;
    default: return 0;
  }
}

// Memory of a decoded tensor; an error past the limit.
static vq_status charge(vq_ox *ox, vq_loc loc, const Onnx__TensorProto *t,
                        uint64_t bytes) {
  if (bytes > ox->max_made - ox->made)
    return fail(ox, loc, VQ_E_limit, t, "takes %llu bytes, but of the %llu that "
                "a model of this size may take %llu are left; its tensors "
                "overlap in their file", (unsigned long long)bytes,
                (unsigned long long)ox->max_made,
                (unsigned long long)(ox->max_made - ox->made));
  ox->made += bytes;
  return VQ_OK;
}

// ---- external data -----------------------------------------------------------

typedef struct external {
  vq_str location;
  bool has_length;
  uint64_t offset, length;
} external;

static bool parse_number(const char *z, uint64_t *out) {
  uint64_t v = 0;
  if (!*z)
    return false;
  for (; *z; z++) {
    if (*z < '0' || *z > '9' || v > (INT64_MAX - 9) / 10)
      return false;
    v = v * 10 + (uint64_t)(*z - '0');
  }
  *out = v;
  return true;
}

static vq_status external_keys(vq_ox *ox, vq_loc loc,
                               const Onnx__TensorProto *t, external *e) {
  enum { LOCATION, OFFSET, LENGTH, CHECKSUM, BASEPATH, N_KEYS };
  static const char *const keys[] = {"location", "offset", "length",
                                     "checksum", "basepath"};
  unsigned seen = 0;
  for (size_t i = 0; i < t->n_external_data; i++) {
    const char *key = t->external_data[i]->key;
    const char *value = t->external_data[i]->value;
    unsigned k = 0;
    while (k < N_KEYS && (!key || strcmp(key, keys[k])))
      k++;
    if (k == N_KEYS || !value)
      return fail(ox, loc, VQ_E_external, t, "unknown external data key, "
                  "expected location, offset, length, checksum or basepath");
    if (seen >> k & 1)
      return fail(ox, loc, VQ_E_external, t, "external data key '%s' is given "
                  "twice", keys[k]);
    seen |= 1u << k;
    if (k == CHECKSUM && !ox->checksum_told) {
      ox->checksum_told = true;
      if (vq_warn(ox->diag, VQ_E_external, loc, "external data has a checksum, "
                  "which is not verified"))
        return VQ_ERR;
    }
    if (k == LOCATION)
      e->location = vq_str_of(value);
    else if ((k == OFFSET && !parse_number(value, &e->offset)) ||
             (k == LENGTH && !parse_number(value, &e->length)))
      return fail(ox, loc, VQ_E_external, t, "external data %s is no number "
                  "of at most 63 bits", keys[k]);
  }
  e->has_length = seen >> LENGTH & 1;
  if (!(seen >> LOCATION & 1))
    return fail(ox, loc, VQ_E_external, t, "external data has no location");
  return VQ_OK;
}

// A file of external data adds to what may be spent, once however it is named.
struct vq_ox_known {
  uint64_t device, inode;
  struct vq_ox_known *next;
};

static void allow_for(vq_ox *ox, const vq_external *file) {
  for (struct vq_ox_known *k = ox->external; k; k = k->next)
    if (k->device == file->device && k->inode == file->inode)
      return;
  struct vq_ox_known *k = VQ_NEW(&ox->tmp, struct vq_ox_known);
  *k = (struct vq_ox_known){file->device, file->inode, ox->external};
  ox->external = k;
  vq_ox_allow(ox, file->n);
}

// Reads the `size` bytes that `t` keeps in another file into `arena`.
static vq_status external_bytes(vq_ox *ox, vq_loc loc,
                                const Onnx__TensorProto *t, uint64_t size,
                                vq_arena *arena, uint8_t **out) {
  external e = {0};
  vq_external file;
  if (external_keys(ox, loc, t, &e) ||
      vq_external_open(ox->diag, loc, ox->path, e.location,
                       ox->opt->follow_data_symlinks, &file))
    return VQ_ERR;
  vq_status status = VQ_ERR;
  allow_for(ox, &file);
  if (e.has_length && e.length != size) {
    fail(ox, loc, VQ_E_external, t, "external data length is %llu, the shape "
         "needs %llu bytes", (unsigned long long)e.length,
         (unsigned long long)size);
  } else if (size > file.n || e.offset > file.n - size) {
    fail(ox, loc, VQ_E_external, t, "external data needs %llu bytes at %llu of "
         "a file of %llu", (unsigned long long)size,
         (unsigned long long)e.offset, (unsigned long long)file.n);
  } else if (!charge(ox, loc, t, size)) {
    *out = vq_arena_alloc(arena, size, 64);
    status = vq_external_read(&file, ox->diag, loc, e.offset, *out, size);
  }
  vq_external_close(&file);
  return status;
}

// ---- declaring ---------------------------------------------------------------

static vq_wire_span span_of(const Onnx__TensorProto *t) {
  vq_wire_span span = {0, 0};
  if (t->has_raw_data && t->raw_data.len == sizeof span)
    memcpy(&span, t->raw_data.data, sizeof span);
  return span;
}

static uint64_t raw_size(const data_type *dt, const vq_type *type) {
  return (uint64_t)vq_type_count(type) * (dt->bits / 8);
}

static vq_status check_inline(vq_ox *ox, vq_loc loc,
                              const Onnx__TensorProto *t, const data_type *dt,
                              const vq_type *type) {
  uint64_t n = (uint64_t)vq_type_count(type), bytes = raw_size(dt, type);
  size_t n_typed = t->n_float_data + t->n_int32_data + t->n_int64_data +
                   t->n_double_data + t->n_uint64_data + t->n_string_data;
  if (t->has_raw_data && n_typed)
    return fail(ox, loc, VQ_E_onnx_model, t, "holds both raw and typed data");
  if (t->has_raw_data) {
    uint64_t found = span_of(t).size;
    if (found == bytes)
      return VQ_OK;
    return fail(ox, loc, VQ_E_onnx_model, t, "holds %llu raw bytes, the shape "
                "needs %llu", (unsigned long long)found,
                (unsigned long long)bytes);
  }
  size_t found = typed_count(t, dt->field);
  if (found == n && n_typed == n)
    return VQ_OK;
  return fail(ox, loc, VQ_E_onnx_model, t, "holds %zu numbers for type %s, "
              "the shape needs %llu", found, dt->name, (unsigned long long)n);
}

vq_ox_val *vq_ox_tensor_declare(vq_ox *ox, vq_loc loc,
                                const Onnx__TensorProto *t) {
  const data_type *dt = type_of(t->data_type);
  if (!dt) {
    fail(ox, loc, VQ_E_dtype, t, "element type is %s (%d), which is not "
         "accepted", vq_ox_data_type_name(t->data_type), (int)t->data_type);
    return NULL;
  }
  const vq_type *type = NULL;
  if (t->n_dims <= VQ_MAX_RANK)
    type = vq_type_tensor(ox->ctx, (vq_dtype)dt->dtype, (unsigned)t->n_dims,
                          t->dims, NULL);
  if (!type) {
    fail(ox, loc, VQ_E_shape, t, "has rank %zu and a negative or enormous "
         "dimension, or more than %d dimensions", t->n_dims, VQ_MAX_RANK);
    return NULL;
  }
  if (t->data_location == 0 && check_inline(ox, loc, t, dt, type))
    return NULL;
  if (t->data_location != 0 && t->data_location != 1) {
    fail(ox, loc, VQ_E_onnx_model, t, "data location is %d, expected 0 or 1",
         (int)t->data_location);
    return NULL;
  }
  vq_ox_val *v = vq_ox_val_new(ox, type);
  v->name = vq_str_of(t->name);
  v->pending = t;
  return v;
}

// ---- decoding ----------------------------------------------------------------

static float half_to_float(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = h >> 10 & 31;
  uint32_t frac = h & 0x3ff, bits;
  if (exp == 31) {
    bits = 0x7f800000 | frac << 13;
  } else if (exp) {
    bits = (exp + 112) << 23 | frac << 13;
  } else {
    float tiny = (float)frac * 0x1p-24f;
    memcpy(&bits, &tiny, sizeof bits);
  }
  bits |= sign;
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

static float bfloat_to_float(uint16_t h) {
  uint32_t bits = (uint32_t)h << 16;
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

// The bits of element `i` as they would stand in raw data.
static uint64_t element(const Onnx__TensorProto *t, const data_type *dt,
                        const uint8_t *raw, int64_t i) {
  uint64_t v = 0;
  if (raw) {
    memcpy(&v, raw + i * (dt->bits / 8), dt->bits / 8);
    return v;
  }
  switch (dt->field) {
    case T_FLOAT: memcpy(&v, &t->float_data[i], 4); break;
    case T_INT32: v = (uint64_t)(int64_t)t->int32_data[i]; break;
    case T_INT64: v = (uint64_t)t->int64_data[i]; break;
    case T_DOUBLE: memcpy(&v, &t->double_data[i], 8); break;
    case T_UINT64: v = t->uint64_data[i]; break;
  }
  return v;
}

// Converts one element into storage of the IR type; an error when it has no
// place there.
static vq_status convert(int32_t number, const data_type *dt, uint64_t bits,
                         void *out, int64_t i) {
  double d;
  float f;
  switch (number) {
    case FLOAT16: f = half_to_float((uint16_t)bits); break;
    case BFLOAT16: f = bfloat_to_float((uint16_t)bits); break;
    case DOUBLE:
      memcpy(&d, &bits, sizeof d);
      f = (float)d;
      if (isinf(f) && !isinf(d))
        return VQ_ERR;
      break;
    case UINT16: vq_store_i64(VQ_i32, out, i, (uint16_t)bits); return VQ_OK;
    case UINT32: vq_store_i64(VQ_i64, out, i, (uint32_t)bits); return VQ_OK;
    case UINT64:
      vq_store_i64(VQ_i64, out, i, (int64_t)bits);
      return bits > INT64_MAX ? VQ_ERR : VQ_OK;
    default:
      if (dt->dtype == VQ_bool)
        bits = bits != 0;
      memcpy((uint8_t *)out + i * (dt->bits / 8), &bits, dt->bits / 8);
      return VQ_OK;
  }
  memcpy((float *)out + i, &f, sizeof f);
  return VQ_OK;
}

static bool stored_alike(int32_t number) {
  return number != FLOAT16 && number != BFLOAT16 && number != DOUBLE &&
         number != UINT16 && number != UINT32 && number != UINT64 &&
         types[number].dtype != VQ_bool;
}

static vq_status convert_all(vq_ox *ox, vq_loc loc, const vq_ox_val *v,
                             const Onnx__TensorProto *t, const data_type *dt,
                             const uint8_t *raw, void *out) {
  for (int64_t i = 0, n = vq_type_count(v->type); i < n; i++)
    if (convert(t->data_type, dt, element(t, dt, raw, i), out, i))
      return fail(ox, loc, VQ_E_dtype, t, "element %lld is too large for %s",
                  (long long)i, vq_dtype_name(v->type->dtype));
  return VQ_OK;
}

// Gives the memory of a file's bytes back: of weights that were copied, one
// copy is enough.
static void drop_pages(const uint8_t *p, uint64_t n) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  uintptr_t from = ((uintptr_t)p + page - 1) & -page;
  uintptr_t to = ((uintptr_t)p + n) & -page;
  if (from < to) (void)madvise((void *)from, to - from, MADV_DONTNEED);
}

vq_status vq_ox_tensor_decode(vq_ox *ox, vq_loc loc, vq_ox_val *v) {
  const Onnx__TensorProto *t = v->pending;
  const data_type *dt = type_of(t->data_type);
  uint64_t bytes = raw_size(dt, v->type);
  uint64_t size = (uint64_t)vq_type_bytes(v->type);
  const uint8_t *raw = t->has_raw_data ? ox->file.p + span_of(t).offset : NULL;
  bool elsewhere = t->data_location == 1;
  bool alike = (raw || elsewhere) && stored_alike(t->data_type);
  vq_arena encoded = {0};  // what is read only to be converted
  uint8_t *read = NULL;
  vq_status status = VQ_OK;
  v->keep = true;
  v->pending = NULL;
  if (elsewhere) {
    status = external_bytes(ox, loc, t, bytes,
                            alike ? &ox->m->arena : &encoded, &read);
    raw = read;
  }
  if (!status && alike &&
      (elsewhere || (ox->file_stays && (uintptr_t)raw % (dt->bits / 8) == 0))) {
    v->data = raw;
  } else if (!status && !(status = charge(ox, loc, t, size))) {
    void *out = vq_arena_alloc(&ox->m->arena, size, 64);
    v->data = out;
    status = alike ? (memcpy(out, raw, bytes), VQ_OK)
                   : convert_all(ox, loc, v, t, dt, raw, out);
    if (raw && !elsewhere && v->once && ox->file_stays) drop_pages(raw, bytes);
  }
  vq_arena_release(&encoded);
  return status;
}
