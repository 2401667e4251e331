// Parser: numbers, types, quantization entries, locations.
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "text/parser.h"

// ---- numbers --------------------------------------------------------------

// Digits of `s` in base 10, or 16 behind 0x; false on anything else.
static bool read_digits(vq_str s, uint64_t *out) {
  unsigned base = 10;
  if (s.n > 2 && s.p[0] == '0' && s.p[1] == 'x') {
    base = 16;
    s = (vq_str){s.p + 2, s.n - 2};
  }
  uint64_t v = 0;
  for (size_t i = 0; i < s.n; i++) {
    char c = s.p[i];
    unsigned d = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                        : 99;
    if (d >= base || v > (UINT64_MAX - d) / base) return false;
    v = v * base + d;
  }
  *out = v;
  return s.n > 0;
}

bool vq_parser_u64(vq_parser *p, uint64_t *out) {
  if (p->tok.kind != VQ_TOK_WORD || !read_digits(p->tok.text, out))
    return vq_parser_expected(p, "a number below 2^64");
  vq_parser_next(p);
  return true;
}

bool vq_parser_i64(vq_parser *p, int64_t *out) {
  vq_str s = p->tok.text;
  bool negative = p->tok.kind == VQ_TOK_WORD && s.n > 0 && s.p[0] == '-';
  uint64_t limit = (uint64_t)INT64_MAX + negative, v;
  if (negative) s = (vq_str){s.p + 1, s.n - 1};
  if (p->tok.kind != VQ_TOK_WORD || !read_digits(s, &v) || v > limit)
    return vq_parser_expected(p, "an integer of 64 bits");
  *out = (int64_t)(negative ? 0 - v : v);
  vq_parser_next(p);
  return true;
}

// A decimal fraction: digits, '.', exponent. strtof alone would also take
// "inf", "nan" and hexadecimal fractions.
static bool is_decimal(vq_str s) {
  if (s.n == 0 || s.n > 60) return false;
  for (size_t i = 0; i < s.n; i++)
    if (!strchr("0123456789+-.e", s.p[i]) || s.p[i] == 0) return false;
  return true;
}

bool vq_parser_f32(vq_parser *p, float *out) {
  vq_str s = p->tok.text;
  uint64_t bits;
  if (p->tok.kind != VQ_TOK_WORD) return vq_parser_expected(p, "a number");
  if (s.n == 10 && s.p[1] == 'x' && read_digits(s, &bits)) {
    uint32_t low = (uint32_t)bits;
    memcpy(out, &low, sizeof low);
  } else {
    char text[64], *end = text;
    if (is_decimal(s)) {
      memcpy(text, s.p, s.n);
      text[s.n] = '\0';
      *out = strtof(text, &end);
    }
    if (end == text || *end) return vq_parser_expected(p, "a number");
    if (!isfinite(*out))
      return vq_parser_expected(p, "a number that fits binary32");
  }
  vq_parser_next(p);
  return true;
}

bool vq_parser_flag(vq_parser *p, bool *out) {
  *out = vq_parser_at_word(p, "true");
  if (!*out && !vq_parser_at_word(p, "false"))
    return vq_parser_expected(p, "true or false");
  vq_parser_next(p);
  return true;
}

bool vq_parser_string(vq_parser *p, vq_str *out) {
  if (p->tok.kind != VQ_TOK_STRING)
    return vq_parser_expected(p, "a string in quotes");
  *out = p->tok.text;
  vq_parser_next(p);
  return true;
}

bool vq_parser_global(vq_parser *p, vq_str *out) {
  if (p->tok.kind != VQ_TOK_GLOBAL)
    return vq_parser_expected(p, "a name such as @x");
  *out = p->tok.text;
  vq_parser_next(p);
  return true;
}

bool vq_parser_ints(vq_parser *p, vq_i64_vec *out) {
  if (!vq_parser_want(p, '[')) return false;
  while (!vq_parser_at(p, ']')) {
    int64_t v = 0;
    if (out->n && !vq_parser_want(p, ',')) return false;
    if (!vq_parser_i64(p, &v)) return false;
    vq_vec_push(out, v);
  }
  vq_parser_next(p);
  return true;
}

// ---- types ----------------------------------------------------------------

bool vq_parser_dtype(vq_parser *p, vq_dtype *out) {
  if (p->tok.kind != VQ_TOK_WORD || !vq_dtype_parse(p->tok.text, out))
    return vq_parser_expected(p, "an element type such as f32");
  vq_parser_next(p);
  return true;
}

// 1x197x192: one word to the lexer.
static bool parse_dims(vq_parser *p, unsigned *rank, int64_t *dim) {
  vq_str s = p->tok.text;
  *rank = 0;
  for (size_t i = 0, from = 0; i <= s.n; i++) {
    if (i < s.n && s.p[i] != 'x') continue;
    uint64_t v;
    if (!read_digits((vq_str){s.p + from, i - from}, &v) || v > INT64_MAX)
      return vq_parser_expected(p, "dimensions such as 1x197x192");
    if (*rank == VQ_MAX_RANK)
      return vq_parser_fail(p, VQ_E_limit, &p->tok,
                            "more than %d dimensions", VQ_MAX_RANK);
    dim[(*rank)++] = (int64_t)v;
    from = i + 1;
  }
  vq_parser_next(p);
  return true;
}

bool vq_parser_quant_name(vq_parser *p, const vq_quant **out) {
  vq_tok at = p->tok;
  vq_str name;
  if (!vq_parser_global(p, &name)) return false;
  *out = vq_module_quant(p->m, name);
  return *out || vq_parser_fail(p, VQ_E_name, &at, "no quant entry %s above",
                                vq_parser_z(p, '@', name));
}

bool vq_parser_type(vq_parser *p, const vq_type **out) {
  vq_tok at = p->tok;
  vq_dtype dtype;
  unsigned rank = 0;
  int64_t dim[VQ_MAX_RANK];
  const vq_quant *q = NULL;
  if (!vq_parser_at_word(p, "tensor"))
    return vq_parser_expected(p, "a type such as tensor<1x3, f32>");
  vq_parser_next(p);
  if (!vq_parser_want(p, '<')) return false;
  if (p->tok.kind == VQ_TOK_WORD && p->tok.text.n > 0 &&
      p->tok.text.p[0] >= '0' && p->tok.text.p[0] <= '9')
    if (!parse_dims(p, &rank, dim) || !vq_parser_want(p, ',')) return false;
  if (!vq_parser_dtype(p, &dtype)) return false;
  if (vq_parser_take(p, ',')) {
    if (!vq_parser_key(p, "q") || !vq_parser_quant_name(p, &q)) return false;
  }
  if (!vq_parser_want(p, '>')) return false;
  *out = vq_type_tensor(p->ctx, dtype, rank, dim, q);
  return *out || vq_parser_fail(p, VQ_E_limit, &at,
                                "tensor of more than 2^40 elements");
}

// ---- quant entries ----------------------------------------------------------

// One number, or a list of them in brackets.
static bool parse_scales(vq_parser *p, bool list, vq_f32_vec *out) {
  if (list && !vq_parser_want(p, '[')) return false;
  do {
    float v;
    if (!vq_parser_f32(p, &v)) return false;
    vq_vec_push(out, v);
  } while (list && vq_parser_take(p, ','));
  return !list || vq_parser_want(p, ']');
}

// One number for all `n`, or a list of them in brackets.
static bool parse_zeros(vq_parser *p, size_t n, vq_i32_vec *out) {
  bool list = vq_parser_take(p, '[');
  do {
    vq_tok at = p->tok;
    int64_t v = 0;
    if (!vq_parser_i64(p, &v)) return false;
    if (v < INT16_MIN || v > INT16_MAX)
      return vq_parser_fail(p, VQ_E_parse, &at, "zero point beyond 16 bits");
    for (size_t i = 0; i < (list ? 1 : n); i++) vq_vec_push(out, (int32_t)v);
  } while (list && vq_parser_take(p, ','));
  return !list || vq_parser_want(p, ']');
}

// lo = -7, hi = 7, or all codes of q->store.
static bool parse_codes(vq_parser *p, vq_quant *q) {
  int64_t least = 0, most = 0, lo, hi;
  vq_tok at = p->tok;
  if (vq_dtype_class_of(q->store) != VQ_CLASS_INT || q->store == VQ_i64)
    return vq_parser_fail(p, VQ_E_parse, &at,
                          "codes of %s, expected integers of at most 32 bits",
                          vq_dtype_name(q->store));
  vq_int_range(q->store, &least, &most);
  lo = least, hi = most;
  if (vq_parser_at_word(p, "lo") &&
      (!vq_parser_key(p, "lo") || !vq_parser_i64(p, &lo) || !vq_parser_want(p, ',') ||
       !vq_parser_key(p, "hi") || !vq_parser_i64(p, &hi) || !vq_parser_want(p, ',')))
    return false;
  if (lo < least || lo > hi || hi > most)
    return vq_parser_fail(p, VQ_E_parse, &at,
                          "codes %lld to %lld, expected a part of %lld to %lld",
                          (long long)lo, (long long)hi, (long long)least, (long long)most);
  q->lo = (int32_t)lo, q->hi = (int32_t)hi;
  return true;
}

// uniform<u8, lo = 0, hi = 15, of = "...", axis = 1, scale = [...], zero = [...]>
static bool parse_uniform(vq_parser *p, vq_quant *q, vq_f32_vec *scale,
                          vq_i32_vec *zero) {
  int64_t axis = -1;
  if (!vq_parser_want_word(p, "uniform") || !vq_parser_want(p, '<') ||
      !vq_parser_dtype(p, &q->store) || !vq_parser_want(p, ',') || !parse_codes(p, q))
    return false;
  if (vq_parser_at_word(p, "of") && (!vq_parser_key(p, "of") ||
      !vq_parser_string(p, &q->of) || !vq_parser_want(p, ',')))
    return false;
  if (vq_parser_at_word(p, "axis")) {
    if (!vq_parser_key(p, "axis")) return false;
    vq_tok at = p->tok;
    if (vq_parser_at_word(p, "last")) {
      axis = VQ_AXIS_LAST;
      vq_parser_next(p);
    } else if (!vq_parser_i64(p, &axis)) {
      return false;
    } else if (axis < 0 || axis >= VQ_MAX_RANK)
      return vq_parser_fail(p, VQ_E_parse, &at,
                            "axis %lld, expected 0 to %d or last", (long long)axis,
                            VQ_MAX_RANK - 1);
    if (!vq_parser_want(p, ',')) return false;
  }
  if (!vq_parser_key(p, "scale") || !parse_scales(p, axis >= 0, scale) ||
      !vq_parser_want(p, ',') || !vq_parser_key(p, "zero") ||
      !parse_zeros(p, scale->n, zero) || !vq_parser_want(p, '>'))
    return false;
  q->axis = (int32_t)axis;
  return true;
}

bool vq_parser_quant(vq_parser *p) {
  vq_quant proto = {0};
  vq_f32_vec scale = {0};
  vq_i32_vec zero = {0};
  vq_tok at = p->tok;
  bool ok = vq_parser_global(p, &proto.name) && vq_parser_want(p, '=') &&
            parse_uniform(p, &proto, &scale, &zero);
  if (ok && scale.n != zero.n)
    ok = vq_parser_fail(p, VQ_E_parse, &at,
                        "%zu scales but %zu zero points", scale.n, zero.n);
  proto.n = (uint32_t)scale.n;
  proto.scale = scale.p;
  proto.zero = zero.p;
  if (ok && !vq_module_define_quant(p->m, &proto))
    ok = vq_parser_fail(p, VQ_E_name, &at, "quant entry %s is defined twice",
                        vq_parser_z(p, '@', proto.name));
  vq_vec_release(&scale);
  vq_vec_release(&zero);
  return ok;
}

// ---- locations --------------------------------------------------------------

// onnx("m.onnx", node = 41, name = "/Add"), text("m.vq", 3, 5),
// byte("m.onnx", 0x1a2f), path("m.onnx")
static bool parse_place(vq_parser *p, vq_loc *out) {
  static const char *const kinds[] = {"onnx", "text", "byte", "path"};
  unsigned kind = 0;
  vq_str path, name = VQ_LIT("");
  uint64_t a = 0, b = 0;
  while (kind < VQ_COUNT(kinds) && !vq_parser_at_word(p, kinds[kind])) kind++;
  if (kind == VQ_COUNT(kinds))
    return vq_parser_expected(p, "onnx, text, byte or path");
  vq_parser_next(p);
  bool ok = vq_parser_want(p, '(') && vq_parser_string(p, &path);
  if (ok && kind == 0)
    ok = vq_parser_want(p, ',') && vq_parser_key(p, "node") &&
         vq_parser_u64(p, &a) && vq_parser_want(p, ',') &&
         vq_parser_key(p, "name") && vq_parser_string(p, &name);
  if (ok && (kind == 1 || kind == 2))
    ok = vq_parser_want(p, ',') && vq_parser_u64(p, &a);
  if (ok && kind == 1)
    ok = vq_parser_want(p, ',') && vq_parser_u64(p, &b);
  if (!ok || !vq_parser_want(p, ')')) return false;
  if (kind == 1 && (a > UINT32_MAX || b > UINT32_MAX))
    return vq_parser_fail(p, VQ_E_parse, &p->tok, "line or column beyond 2^32");
  *out = kind == 0   ? vq_loc_onnx(p->ctx, path, a, name)
         : kind == 1 ? vq_loc_text(p->ctx, path, (uint32_t)a, (uint32_t)b,
                                   VQ_LIT(""))
         : kind == 2 ? vq_loc_byte(p->ctx, path, a)
                     : vq_loc_path(p->ctx, path);
  return true;
}

// loc #12 = onnx(...)
bool vq_parser_loc_entry(vq_parser *p) {
  vq_loc loc;
  if (!vq_parser_want(p, '#')) return false;
  vq_tok at = p->tok;
  if (at.kind != VQ_TOK_WORD) return vq_parser_expected(p, "a number");
  vq_parser_next(p);
  if (!vq_parser_want(p, '=') || !parse_place(p, &loc))
    return false;
  void **slot = vq_map_put(&p->locs, at.text);
  if (*slot)
    return vq_parser_fail(p, VQ_E_name, &at, "location #%.*s is defined twice",
                          VQ_FMT(at.text));
  *slot = VQ_NEW(&p->temp, vq_loc);
  *(vq_loc *)*slot = loc;
  return true;
}
