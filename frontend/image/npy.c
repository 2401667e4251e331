// NumPy's .npy files.
//
// Magic "\x93NUMPY", two version bytes, the length of the header (16 bits in
// version 1, 32 later), then a Python dict with exactly the keys descr,
// fortran_order and shape, then the data.
#include <inttypes.h>
#include <stdlib.h>

#include "vq/image.h"
#include "vq/strbuf.h"

static const struct {
  const char *descr;
  vq_dtype dtype;
} type_table[] = {
    {"|u1", VQ_u8}, {"<u1", VQ_u8},   {"|i1", VQ_i8}, {"<i1", VQ_i8},
    {"<f4", VQ_f32}, {"<i4", VQ_i32}, {"<i8", VQ_i64},
};

typedef struct reader {
  const char *p, *end;
  vq_loc loc;
  vq_diag *diag;
} reader;

static vq_status broken(reader *r, const char *what) {
  return vq_error(r->diag, VQ_E_picture, r->loc, "not a readable .npy file: %s",
                  what);
}

static void skip_space(reader *r) {
  while (r->p < r->end && (*r->p == ' ' || *r->p == '\n' || *r->p == '\t'))
    r->p++;
}

static bool take(reader *r, char c) {
  skip_space(r);
  if (r->p == r->end || *r->p != c) return false;
  r->p++;
  return true;
}

static bool take_word(reader *r, const char *word) {
  skip_space(r);
  size_t n = strlen(word);
  if ((size_t)(r->end - r->p) < n || memcmp(r->p, word, n) != 0) return false;
  r->p += n;
  return true;
}

static bool take_string(reader *r, vq_str *out) {
  skip_space(r);
  if (r->p == r->end || (*r->p != '\'' && *r->p != '"')) return false;
  char quote = *r->p++;
  const char *end = memchr(r->p, quote, (size_t)(r->end - r->p));
  if (!end) return false;
  *out = (vq_str){r->p, (size_t)(end - r->p)};
  r->p = end + 1;
  return true;
}

static bool take_int(reader *r, int64_t *out) {
  skip_space(r);
  const char *start = r->p;
  int64_t v = 0;
  for (; r->p < r->end && *r->p >= '0' && *r->p <= '9'; r->p++) {
    if (v > INT64_MAX / 10 - 1) return false;
    v = v * 10 + (*r->p - '0');
  }
  *out = v;
  return r->p != start;
}

static vq_status read_descr(reader *r, vq_npy *out) {
  vq_str descr;
  if (!take_string(r, &descr)) return broken(r, "no element type");
  for (size_t i = 0; i < VQ_COUNT(type_table); i++)
    if (vq_str_is(descr, type_table[i].descr)) {
      out->dtype = type_table[i].dtype;
      return VQ_OK;
    }
  return vq_error(r->diag, VQ_E_picture, r->loc,
                  "the array has element type '%.*s', expected uint8 or "
                  "float32 (or int8, int32, int64 for labels), little-endian",
                  VQ_FMT(descr));
}

static vq_status read_order(reader *r) {
  if (take_word(r, "False")) return VQ_OK;
  if (!take_word(r, "True")) return broken(r, "fortran_order is no truth value");
  vq_error(r->diag, VQ_E_picture, r->loc,
           "the array is stored by columns (Fortran order), expected C order");
  vq_note(r->diag, (vq_loc){0},
          "save it with numpy.save(path, numpy.ascontiguousarray(array))");
  return VQ_ERR;
}

static vq_status read_shape(reader *r, vq_npy *out) {
  if (!take(r, '(')) return broken(r, "shape is no tuple");
  out->rank = 0;
  while (!take(r, ')')) {
    if (out->rank == VQ_MAX_RANK) return broken(r, "more than 8 dimensions");
    if (!take_int(r, &out->dim[out->rank++])) return broken(r, "a bad dimension");
    if (!take(r, ',') && (r->p == r->end || *r->p != ')'))
      return broken(r, "shape is no tuple");
  }
  return VQ_OK;
}

static vq_status read_header(reader *r, vq_npy *out) {
  unsigned seen = 0;
  if (!take(r, '{')) return broken(r, "the header is no dictionary");
  while (!take(r, '}')) {
    vq_str key;
    vq_status s;
    if (!take_string(r, &key) || !take(r, ':'))
      return broken(r, "the header is no dictionary");
    if (vq_str_is(key, "descr")) {
      s = read_descr(r, out);
      seen |= 1;
    } else if (vq_str_is(key, "fortran_order")) {
      s = read_order(r);
      seen |= 2;
    } else if (vq_str_is(key, "shape")) {
      s = read_shape(r, out);
      seen |= 4;
    } else {
      s = broken(r, "an unknown key in the header");
    }
    if (s) return s;
    take(r, ',');
  }
  return seen == 7 ? VQ_OK : broken(r, "a key is missing in the header");
}

// The header's place, or false when the file is too short or of a new version.
static bool find_header(const uint8_t *p, size_t n, size_t *at, size_t *size) {
  if (n < 10 || p[6] < 1 || p[6] > 3) return false;
  *at = p[6] == 1 ? 10 : 12;
  if (n < *at) return false;
  *size = p[8] | (size_t)p[9] << 8;
  if (p[6] > 1) *size |= (size_t)p[10] << 16 | (size_t)p[11] << 24;
  return *size <= n - *at;
}

static vq_status check_size(reader *r, const vq_npy *a, size_t have) {
  uint64_t bytes = vq_dtype_bits(a->dtype) / 8;
  for (unsigned i = 0; i < a->rank; i++) {
    uint64_t d = (uint64_t)a->dim[i];
    if (d && bytes > (uint64_t)INT64_MAX / d) return broken(r, "a huge shape");
    bytes *= d;
  }
  if (bytes <= have) return VQ_OK;
  return vq_error(r->diag, VQ_E_picture, r->loc,
                  "the array needs %" PRIu64 " bytes of data, found %zu", bytes,
                  have);
}

static vq_status parse(const uint8_t *file, size_t n, reader *r, vq_npy *out) {
  size_t at, size;
  if (!vq_npy_sniff(file, n)) return broken(r, "no NUMPY magic");
  if (!find_header(file, n, &at, &size))
    return broken(r, "the header is cut off or of an unknown version");
  r->p = (const char *)file + at;
  r->end = r->p + size;
  if (read_header(r, out)) return VQ_ERR;
  if (check_size(r, out, n - at - size)) return VQ_ERR;
  out->count = 1;
  for (unsigned i = 0; i < out->rank; i++) out->count *= out->dim[i];
  out->data = out->file + at + size;
  return VQ_OK;
}

bool vq_npy_sniff(const void *bytes, size_t n) {
  return n >= 6 && memcmp(bytes, "\x93NUMPY", 6) == 0;
}

vq_status vq_npy_parse(uint8_t *file, size_t n, vq_loc loc, vq_diag *diag,
                       vq_npy *out) {
  reader r = {.loc = loc, .diag = diag};
  *out = (vq_npy){.file = file};
  vq_status s = parse(file, n, &r, out);
  if (s) vq_npy_release(out);
  return s;
}

vq_status vq_npy_read(const char *path, vq_diag *diag, vq_npy *out) {
  uint8_t *file;
  size_t n;
  if (vq_read_file(path, diag, &file, &n)) return VQ_ERR;
  return vq_npy_parse(file, n, vq_loc_path(diag->ctx, vq_str_of(path)), diag,
                      out);
}

void vq_npy_release(vq_npy *a) {
  free(a->file);
  *a = (vq_npy){0};
}

void vq_npy_header(vq_strbuf *out, vq_dtype dtype, unsigned rank,
                   const int64_t *dim) {
  const char *descr = "|u1";
  for (size_t i = 0; i < VQ_COUNT(type_table); i++)
    if (type_table[i].dtype == dtype) descr = type_table[i].descr;
  vq_strbuf h = {0};
  vq_strbuf_printf(&h, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                   descr);
  for (unsigned i = 0; i < rank; i++)
    vq_strbuf_printf(&h, "%s%" PRId64, i ? ", " : "", dim[i]);
  vq_strbuf_puts(&h, rank == 1 ? ",), }" : "), }");
  while ((10 + h.n + 1) % 64) vq_strbuf_putc(&h, ' ');
  vq_strbuf_putc(&h, '\n');
  vq_strbuf_add(out, "\x93NUMPY\1\0", 8);
  vq_strbuf_putc(out, (char)(h.n & 0xff));
  vq_strbuf_putc(out, (char)(h.n >> 8));
  vq_strbuf_add(out, h.p, h.n);
  vq_strbuf_release(&h);
}
