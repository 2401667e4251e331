// Parser: constants and the places their data come from.
#include <math.h>

#include "eval/eval_ops.h"
#include "text/parser.h"

// One element of a literal, stored as element `i` of `data`.
static bool parse_element(vq_parser *p, vq_dtype dtype, void *data,
                          int64_t i) {
  vq_tok at = p->tok;
  int64_t lo, hi, v;
  float f;
  bool b;
  switch (vq_dtype_class_of(dtype)) {
    case VQ_CLASS_FLOAT:
      if (!vq_parser_f32(p, &f)) return false;
      memcpy((char *)data + i * (int64_t)sizeof f, &f, sizeof f);
      break;
    case VQ_CLASS_BF16:
      if (!vq_parser_f32(p, &f)) return false;
      vq_store_f64(dtype, data, i, (double)f);
      break;
    case VQ_CLASS_BOOL:
      if (!vq_parser_flag(p, &b)) return false;
      vq_store_i64(dtype, data, i, b);
      break;
    case VQ_CLASS_INT:
      vq_int_range(dtype, &lo, &hi);
      if (!vq_parser_i64(p, &v)) return false;
      if (v < lo || v > hi)
        return vq_parser_fail(p, VQ_E_parse, &at, "%lld does not fit %s",
                              (long long)v, vq_dtype_name(dtype));
      vq_store_i64(dtype, data, i, v);
      break;
  }
  return true;
}

// A line of text may ask for any amount of memory. What passes and code
// generation make of a constant is in proportion to its size.
static bool may_make(vq_parser *p, const vq_type *type, const vq_tok *at) {
  const uint64_t all = (uint64_t)1 << 30;
  uint64_t n = (uint64_t)vq_type_bytes(type);
  if (n > all - p->made)
    return vq_parser_fail(p, VQ_E_limit, at, "a constant of %llu bytes, but of "
                          "the %llu that fill and random constants may take "
                          "%llu are left", (unsigned long long)n,
                          (unsigned long long)all,
                          (unsigned long long)(all - p->made));
  p->made += n;
  return true;
}

// fill<0.05>
static bool parse_fill(vq_parser *p, vq_str name, const vq_type *type) {
  const int64_t exact = (int64_t)1 << 53;
  char one[sizeof(int64_t)] = {0};
  if (!vq_parser_want(p, '<')) return false;
  vq_tok at = p->tok;
  if (!parse_element(p, type->dtype, one, 0)) return false;
  int64_t code = type->dtype == VQ_i64 ? vq_load_i64(VQ_i64, one, 0) : 0;
  if (code > exact || code < -exact)
    return vq_parser_fail(p, VQ_E_parse, &at, "fill value beyond 2^53");
  if (!vq_parser_want(p, '>')) return false;
  vq_const_fill(p->m, name, type, vq_load_f64(type->dtype, one, 0));
  return true;
}

// dense<[1, 2, 3]>
static bool parse_dense(vq_parser *p, vq_str name, const vq_type *type,
                        const vq_tok *at) {
  int64_t n = vq_type_count(type);
  if (n > VQ_MAX_DENSE)
    return vq_parser_fail(p, VQ_E_parse, at,
                          "dense literal for %lld elements, at most %d",
                          (long long)n, VQ_MAX_DENSE);
  char data[VQ_MAX_DENSE * sizeof(int64_t)] = {0};
  if (!vq_parser_want(p, '<') || !vq_parser_want(p, '[')) return false;
  for (int64_t i = 0; i < n; i++) {
    if (i && !vq_parser_want(p, ',')) return false;
    if (!parse_element(p, type->dtype, data, i)) return false;
  }
  if (!vq_parser_want(p, ']') || !vq_parser_want(p, '>')) return false;
  vq_const_new_copy(p->m, name, type, data);
  return true;
}

// random<seed = 7, std = 0.02>
static bool parse_random(vq_parser *p, vq_str name, const vq_type *type) {
  uint64_t seed;
  float std;
  if (!vq_parser_want(p, '<') || !vq_parser_key(p, "seed") ||
      !vq_parser_u64(p, &seed) || !vq_parser_want(p, ',') ||
      !vq_parser_key(p, "std"))
    return false;
  vq_tok at = p->tok;
  if (!vq_parser_f32(p, &std)) return false;
  if (!isfinite(std))
    return vq_parser_fail(p, VQ_E_parse, &at, "std must be finite");
  if (!vq_parser_want(p, '>')) return false;
  vq_const_random(p->m, name, type, seed, std);
  return true;
}

static bool parse_checksum(vq_parser *p, vq_str *hex) {
  if (!vq_parser_key(p, "sha256")) return false;
  vq_tok at = p->tok;
  if (!vq_parser_string(p, hex)) return false;
  bool ok = hex->n == VQ_SHA256_HEX;
  for (size_t i = 0; ok && i < hex->n; i++)
    ok = memchr("0123456789abcdef", hex->p[i], 16) != NULL;
  return ok || vq_parser_fail(p, VQ_E_parse, &at,
                              "expected %d lower-case hex digits",
                              VQ_SHA256_HEX);
}

static const vq_side_file *side_file(vq_parser *p, vq_str name, vq_loc loc) {
  for (vq_side_file *f = p->sides; f; f = f->next)
    if (vq_str_eq(f->name, name)) return f;
  vq_side_file *f =
      vq_side_open(p->m, &p->temp, p->path, name, p->diag, loc);
  f->next = p->sides;
  p->sides = f;
  return f;
}

// blob<"x.vqw", offset = 0x40, sha256 = "..."> or blob<elided, sha256 = "...">
static bool parse_blob(vq_parser *p, vq_str name, const vq_type *type,
                       const vq_tok *at) {
  vq_str file = VQ_LIT(""), hex;
  uint64_t offset = 0;
  if (!vq_parser_want(p, '<')) return false;
  bool elided = vq_parser_at_word(p, "elided");
  if (elided)
    vq_parser_next(p);
  else if (!vq_parser_string(p, &file) || !vq_parser_want(p, ',') ||
           !vq_parser_key(p, "offset") || !vq_parser_u64(p, &offset))
    return false;
  if (!vq_parser_want(p, ',') || !parse_checksum(p, &hex) ||
      !vq_parser_want(p, '>'))
    return false;
  const void *bytes = NULL;
  if (!elided) {
    vq_loc loc = vq_parser_loc(p, at);
    bytes = vq_side_span(side_file(p, file, loc), offset,
                         (uint64_t)vq_type_bytes(type), hex, p->diag, loc);
    if (!bytes) {
      p->n_error++;  // reported above
      return false;
    }
  }
  vq_const *c = vq_const_new(p->m, name, type, bytes);
  if (elided) c->sha256 = vq_arena_str(&p->m->arena, hex).p;
  return true;
}

bool vq_parser_const(vq_parser *p) {
  vq_str name;
  const vq_type *type;
  vq_tok at = p->tok;
  if (!vq_parser_global(p, &name)) return false;
  if (vq_module_const(p->m, name))
    return vq_parser_fail(p, VQ_E_name, &at, "constant %s is defined twice",
                          vq_parser_z(p, '@', name));
  if (!vq_parser_want(p, ':') || !vq_parser_type(p, &type) ||
      !vq_parser_want(p, '='))
    return false;
  bool fill = vq_parser_at_word(p, "fill"), dense = vq_parser_at_word(p, "dense");
  bool random = vq_parser_at_word(p, "random");
  if ((fill || random) && !may_make(p, type, &at)) return false;
  if (!fill && !dense && !random && !vq_parser_at_word(p, "blob"))
    return vq_parser_expected(p, "fill, dense, random or blob");
  vq_parser_next(p);
  return fill     ? parse_fill(p, name, type)
         : dense  ? parse_dense(p, name, type, &at)
         : random ? parse_random(p, name, type)
                  : parse_blob(p, name, type, &at);
}
