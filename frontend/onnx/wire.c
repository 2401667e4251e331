// Bounded protobuf walk: checks every byte of a model and writes its skeleton.
//
// protobuf-c trusts its input more than a compiler of downloaded files may: it
// recurses without limit, allocates what counts ask for, and copies all
// weights. So this walk goes first. It is driven by wire.def, recurses at most
// MAX_DEPTH deep, and adds up what decoding will cost before anything is
// decoded. Lengths of nested messages shrink when fields are left out, so they
// are written as padded five-byte varints and patched afterwards.
#include "wire.h"

#include "vq/onnx.h"

enum { MAX_DEPTH = 48, PADDED = 5 };

// Costs are rough upper bounds of what protobuf-c and malloc take, a record of
// every field included. Time follows memory: what is cheap here decodes fast.
enum { MESSAGE_COST = 320, STRING_COST = 112, FIELD_COST = 48, NUMBER_COST = 8 };
static const uint64_t BASE_COST = 64u << 20;
static const uint64_t COST_PER_BYTE = 12;

typedef enum message {
  MSG_model,
  MSG_graph,
  MSG_node,
  MSG_attribute,
  MSG_tensor,
  MSG_entry,
  MSG_value_info,
  MSG_type,
  MSG_tensor_type,
  MSG_shape,
  MSG_dimension,
  MSG_opset,
  MSG_function,
  N_MESSAGES,
  // What is not a message continues the numbering: one column tells both.
  VARINT = N_MESSAGES,
  FIXED32,
  FIXED64S,
  FIXED32S,
  VARINTS,
  STRING,
  BYTES,
  RAW,
  META,
  SKIP,
  REFUSE
} message;

typedef enum count { MANY, ONE } count;

typedef struct field {
  uint8_t kind;  // a `message`
  uint8_t once;  // a `count`
  const char *name;
} field;

enum { MAX_FIELD = 27 };
static const field table[N_MESSAGES][MAX_FIELD] = {
#define WIRE(msg, number, kind, count, name) \
  [MSG_##msg][number] = {kind, count, name},
#include "wire.def"
#undef WIRE
};

typedef struct scan {
  vq_diag *diag;
  vq_str path;
  const uint8_t *p;
  uint64_t cost, max_cost;
  vq_strbuf *out;
  vq_wire_info *info;
} scan;

// One decoded field header plus the place of its contents.
typedef struct item {
  size_t start;       // offset of the tag
  size_t begin, end;  // contents, without tag and length
  uint32_t number, wire;
} item;

static vq_status bad(scan *s, size_t at, const char *what, const char *name) {
  return vq_error(s->diag, VQ_E_wire, vq_loc_byte(s->diag->ctx, s->path, at),
                  "%s%s%s", what, name ? " in field " : "", name ? name : "");
}

// Reads a varint at *at; false when it does not end before `end`.
static bool varint(const uint8_t *p, size_t *at, size_t end, uint64_t *out) {
  uint64_t v = 0;
  for (unsigned shift = 0; shift < 70 && *at < end; shift += 7) {
    uint8_t byte = p[(*at)++];
    v |= shift < 64 ? (uint64_t)(byte & 127) << shift : 0;
    if (byte < 128) {
      *out = v;
      return true;
    }
  }
  return false;
}

static const field *find(message msg, uint32_t number) {
  if (number >= MAX_FIELD || !table[msg][number].name)
    return NULL;
  return &table[msg][number];
}

// Decodes the header at `at`. NULL, or what is wrong with it.
static const char *header(const uint8_t *p, size_t at, size_t end, item *it) {
  uint64_t tag, length;
  it->start = at;
  if (!varint(p, &at, end, &tag) || tag > UINT32_MAX || tag < 8)
    return "broken field tag";
  it->number = (uint32_t)(tag >> 3);
  it->wire = tag & 7;
  it->begin = at;
  switch (it->wire) {
    case 0:
      if (!varint(p, &at, end, &length))
        return "truncated number";
      break;
    case 1:
    case 5: {
      size_t width = it->wire == 1 ? 8 : 4;
      if (end - at < width)
        return "truncated number";
      at += width;
      break;
    }
    case 2:
      if (!varint(p, &at, end, &length) || length > end - at)
        return "length reaches beyond the enclosing message or the file";
      it->begin = at;
      at += length;
      break;
    default: return "unknown wire type";
  }
  it->end = at;
  return NULL;
}

static bool wire_fits(unsigned kind, uint32_t wire) {
  if (kind < N_MESSAGES)
    return wire == 2;
  switch (kind) {
    case VARINT: return wire == 0;
    case FIXED32: return wire == 5;
    case VARINTS: return wire == 0 || wire == 2;
    case FIXED32S: return wire == 5 || wire == 2;
    case FIXED64S: return wire == 1 || wire == 2;
    case STRING:
    case BYTES:
    case RAW: return wire == 2;
    default: return true;
  }
}

static vq_status spend(scan *s, const item *it, uint64_t cost) {
  s->cost += cost;
  if (s->cost <= s->max_cost)
    return VQ_OK;
  return vq_error(s->diag, VQ_E_limit,
                  vq_loc_byte(s->diag->ctx, s->path, it->start),
                  "decoding this model would take more than %llu MiB",
                  (unsigned long long)(s->max_cost >> 20));
}

// Checks a packed list and counts its numbers.
static vq_status numbers(scan *s, const item *it, const field *f) {
  uint64_t n = 0, ignored;
  size_t width = f->kind == FIXED32S ? 4 : 8;
  if (it->wire != 2)
    return spend(s, it, FIELD_COST + NUMBER_COST);
  if (f->kind == VARINTS) {
    for (size_t at = it->begin; at < it->end; n++)
      if (!varint(s->p, &at, it->end, &ignored))
        return bad(s, at, "truncated number", f->name);
  } else if ((it->end - it->begin) % width) {
    return bad(s, it->start, "length is no multiple of the element", f->name);
  } else {
    n = (it->end - it->begin) / width;
  }
  return spend(s, it, n * NUMBER_COST);
}

static void put_varint(vq_strbuf *out, uint64_t v) {
  for (; v > 127; v >>= 7)
    vq_strbuf_putc(out, (char)(v | 128));
  vq_strbuf_putc(out, (char)v);
}

static vq_status walk(scan *s, message msg, size_t begin, size_t end,
                      unsigned depth);

// A nested message: its header with room for the length, its fields, then the
// length.
static vq_status nested(scan *s, message msg, const item *it, unsigned depth) {
  if (spend(s, it, MESSAGE_COST))
    return VQ_ERR;
  if (depth >= MAX_DEPTH)
    return bad(s, it->start, "messages are nested too deeply", NULL);
  s->info->n_node += msg == MSG_node;
  put_varint(s->out, it->number << 3 | 2);
  size_t mark = s->out->n;
  vq_strbuf_add(s->out, "\x80\x80\x80\x80\x00", PADDED);
  if (walk(s, msg, it->begin, it->end, depth + 1))
    return VQ_ERR;
  size_t size = s->out->n - mark - PADDED;
  if (size >> 31)
    return bad(s, it->start, "message is larger than 2 GiB without its weights",
               NULL);
  for (unsigned i = 0; i < PADDED; i++)
    s->out->p[mark + i] =
        (char)((size >> (7 * i) & 127) | (i + 1 < PADDED ? 128 : 0));
  return VQ_OK;
}

static vq_status raw(scan *s, const item *it) {
  vq_wire_span span = {it->begin, it->end - it->begin};
  put_varint(s->out, it->number << 3 | 2);
  put_varint(s->out, sizeof span);
  vq_strbuf_add(s->out, &span, sizeof span);
  return spend(s, it, STRING_COST);
}

static vq_status one_field(scan *s, const item *it, const field *f,
                           unsigned depth) {
  size_t size = it->end - it->begin;
  if (f->kind < N_MESSAGES)
    return nested(s, (message)f->kind, it, depth);
  switch (f->kind) {
    case META: s->info->metadata_bytes += it->end - it->start; return VQ_OK;
    case SKIP: return VQ_OK;
    case REFUSE:
      return vq_error(s->diag, VQ_E_unsupported,
                      vq_loc_byte(s->diag->ctx, s->path, it->start),
                      "field %s is not accepted", f->name);
    case RAW: return raw(s, it);
    case STRING:
      if (memchr(s->p + it->begin, 0, size))
        return bad(s, it->start, "NUL byte", f->name);
      if (spend(s, it, STRING_COST + size))
        return VQ_ERR;
      break;
    case BYTES:
      if (spend(s, it, STRING_COST + size))
        return VQ_ERR;
      break;
    case VARINTS:
    case FIXED32S:
    case FIXED64S:
      if (numbers(s, it, f))
        return VQ_ERR;
      break;
  }
  vq_strbuf_add(s->out, s->p + it->start, it->end - it->start);
  return VQ_OK;
}

static vq_status walk(scan *s, message msg, size_t begin, size_t end,
                      unsigned depth) {
  uint32_t seen = 0;
  for (size_t at = begin; at < end;) {
    item it;
    const char *what = header(s->p, at, end, &it);
    if (what)
      return bad(s, at, what, NULL);
    at = it.end;
    const field *f = find(msg, it.number);
    if (!f) {
      s->info->metadata_bytes += it.end - it.start;
      continue;
    }
    if (!wire_fits(f->kind, it.wire))
      return bad(s, it.start, "wrong wire type", f->name);
    if (f->once == ONE && seen >> it.number & 1)
      return bad(s, it.start, "second value for a single one", f->name);
    seen |= 1u << it.number;
    if (one_field(s, &it, f, depth))
      return VQ_ERR;
  }
  return VQ_OK;
}

vq_status vq_wire_scan(vq_diag *diag, vq_str path, const void *bytes, size_t n,
                       vq_strbuf *skeleton, vq_wire_info *info) {
  scan s = {.diag = diag, .path = path, .p = bytes, .out = skeleton,
            .info = info, .max_cost = BASE_COST + COST_PER_BYTE * n};
  *info = (vq_wire_info){0};
  return walk(&s, MSG_model, 0, n, 0);
}

// A model starts with some well-formed field of ModelProto. Text, pictures and
// ELF files do not: their first byte is no tag of that message.
bool vq_onnx_sniff(const void *bytes, size_t n) {
  uint64_t tag;
  size_t at = 0;
  if (n == 0 || !varint(bytes, &at, n, &tag) || tag >> 3 >= MAX_FIELD)
    return false;
  const field *f = find(MSG_model, (uint32_t)(tag >> 3));
  if (!f)
    return false;
  uint32_t want = f->kind == VARINT ? 0 : 2;
  return (tag & 7) == want;
}
