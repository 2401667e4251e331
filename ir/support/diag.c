// Diagnostics: counting, forwarding to the sink, rendering as text.
#include "vq/diag.h"

#include "vq/strbuf.h"

// Code names with '-' for '_', made from the literals at compile time.
#define AT(z, i) ((z)[(i) < sizeof(z) ? (i) : sizeof(z) - 1])
#define KEBAB(z, i) (AT(z, i) == '_' ? '-' : AT(z, i))
#define KEBAB4(z, i) \
  KEBAB(z, i), KEBAB(z, (i) + 1), KEBAB(z, (i) + 2), KEBAB(z, (i) + 3)
static const char code_name[VQ_N_CODES][17] = {
#define DIAG(name, help) \
  {KEBAB4(#name, 0), KEBAB4(#name, 4), KEBAB4(#name, 8), KEBAB4(#name, 12)},
#include "vq/diag.def"
#undef DIAG
};
#define DIAG(name, help) \
  _Static_assert(sizeof #name <= sizeof code_name[0], "code name too long");
#include "vq/diag.def"
#undef DIAG

static const char *const code_help[VQ_N_CODES] = {
#define DIAG(name, help) help,
#include "vq/diag.def"
#undef DIAG
};

const char *vq_code_name(vq_code code) { return code_name[code]; }
const char *vq_code_help(vq_code code) { return code_help[code]; }

void vq_diag_init(vq_diag *d, vq_ctx *ctx, vq_sink_fn sink, void *user) {
  *d = (vq_diag){.ctx = ctx, .sink = sink, .user = user};
}

static void emit(vq_diag *d, vq_severity severity, vq_code code, vq_loc loc,
                 const char *fmt, va_list ap) {
  if (!d->sink || d->muted) return;
  vq_strbuf text = {0};
  vq_strbuf_vprintf(&text, fmt, ap);
  vq_message m = {severity, code, loc, vq_strbuf_view(&text)};
  d->sink(d->user, d->ctx, &m);
  vq_strbuf_release(&text);
}

vq_status vq_error(vq_diag *d, vq_code code, vq_loc loc, const char *fmt, ...) {
  d->muted = d->max_error && d->n_error >= d->max_error;
  d->n_error++;
  va_list ap;
  va_start(ap, fmt);
  emit(d, VQ_ERROR, code, loc, fmt, ap);
  va_end(ap);
  return VQ_ERR;
}

vq_status vq_warn(vq_diag *d, vq_code code, vq_loc loc, const char *fmt, ...) {
  d->muted = d->werror && d->max_error && d->n_error >= d->max_error;
  if (d->werror)
    d->n_error++;
  else
    d->n_warning++;
  va_list ap;
  va_start(ap, fmt);
  emit(d, d->werror ? VQ_ERROR : VQ_WARNING, code, loc, fmt, ap);
  va_end(ap);
  return d->werror ? VQ_ERR : VQ_OK;
}

void vq_note(vq_diag *d, vq_loc loc, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  emit(d, VQ_NOTE, VQ_N_CODES, loc, fmt, ap);
  va_end(ap);
}

void vq_sink_strbuf(void *user, const vq_ctx *ctx, const vq_message *m) {
  vq_message_render(user, ctx, m, false);
}

// Bytes of the character at `p`; 0 where a byte must not reach a terminal: what
// controls it, what hides or reorders text, and what is no UTF-8.
static size_t printable(const char *z, size_t n) {
  const unsigned char *p = (const unsigned char *)z;
  if (*p < 0x80) return *p >= 0x20 && *p != 0x7f;
  size_t size = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
  if (*p < 0xc2 || *p > 0xf4 || size > n) return 0;
  uint32_t c = *p & (0x7fu >> size);
  for (size_t i = 1; i < size; i++) {
    if ((p[i] & 0xc0) != 0x80) return 0;
    c = c << 6 | (p[i] & 0x3f);
  }
  bool overlong = c < (size == 4 ? 0x10000u : size == 3 ? 0x800u : 0xa0u);
  bool surrogate = c >= 0xd800 && c <= 0xdfff;
  bool hidden = c == 0xad || c == 0xfeff || (c >= 0x200b && c <= 0x200f) ||
                (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f);
  return overlong || surrogate || hidden || c > 0x10ffff ? 0 : size;
}

// Names and texts come from the input: they must neither steer the terminal nor
// fill it. Past `max` bytes only "..." is shown.
static void put_safe(vq_strbuf *out, vq_str s, size_t max) {
  for (size_t i = 0, size; i < s.n; i += size) {
    if (i >= max) {
      vq_strbuf_puts(out, "...");
      return;
    }
    if ((size = printable(s.p + i, s.n - i)) != 0) {
      vq_strbuf_add(out, s.p + i, size);
      continue;
    }
    size = 1;
    if (s.p[i] == '\n')
      vq_strbuf_puts(out, "\\n");
    else
      vq_strbuf_printf(out, "\\x%02x", (unsigned char)s.p[i]);
  }
}

enum { MAX_NAME = 160, MAX_TEXT = 1600, MAX_PATH = 4096 };

static void put_place(vq_strbuf *out, const vq_loc_info *at) {
  if (at->kind == VQ_LOC_NONE) return;
  put_safe(out, at->path, MAX_PATH);
  switch (at->kind) {
    case VQ_LOC_TEXT:
      vq_strbuf_printf(out, ":%llu:%llu", (unsigned long long)at->a,
                       (unsigned long long)at->b);
      break;
    case VQ_LOC_ONNX:
      vq_strbuf_printf(out, ":#%llu", (unsigned long long)at->a);
      if (at->name.n) {
        vq_strbuf_putc(out, '(');
        put_safe(out, at->name, MAX_NAME);
        vq_strbuf_putc(out, ')');
      }
      break;
    case VQ_LOC_BYTE:
      vq_strbuf_printf(out, ":0x%llx", (unsigned long long)at->a);
      break;
    case VQ_LOC_NONE:
    case VQ_LOC_PATH:
      break;
  }
}

void vq_loc_render(vq_strbuf *out, const vq_ctx *ctx, vq_loc loc) {
  vq_loc_info at = vq_loc_decode(ctx, loc);
  put_place(out, &at);
}

void vq_message_text(vq_strbuf *out, const vq_message *m) {
  put_safe(out, m->text, MAX_TEXT);
}

// The source line and a caret under column `b`. Of a long line only a window
// around the column is shown.
static void put_caret(vq_strbuf *out, const vq_loc_info *at, bool color) {
  enum { BEFORE = 80, WIDTH = 160 };
  if (at->kind != VQ_LOC_TEXT || !at->line.p) return;
  if (at->b == 0 || at->b > at->line.n + 1) return;
  size_t col = (size_t)at->b - 1;
  size_t from = at->line.n > WIDTH && col > BEFORE ? col - BEFORE : 0;
  size_t to = at->line.n - from > WIDTH ? from + WIDTH : at->line.n;
  while (from < col && (at->line.p[from] & 0xc0) == 0x80) from++;
  for (size_t i = from, size; i < to; i += size) {
    size = at->line.p[i] == '\t' ? 1 : printable(at->line.p + i, to - i);
    vq_strbuf_add(out, size ? at->line.p + i : "?", size ? size : 1);
    size += !size;
  }
  vq_strbuf_putc(out, '\n');
  for (size_t i = from; i < col; i++) {
    unsigned char c = (unsigned char)at->line.p[i];
    if ((c & 0xc0) == 0x80) continue;  // inside a UTF-8 character
    vq_strbuf_putc(out, c == '\t' ? '\t' : ' ');
  }
  vq_strbuf_puts(out, color ? "\033[1;32m^\033[0m\n" : "^\n");
}

void vq_message_render(vq_strbuf *out, const vq_ctx *ctx, const vq_message *m,
                       bool color) {
  static const char *const word[] = {"note", "warning", "error"};
  static const char *const paint[] = {"\033[1;36m", "\033[1;35m", "\033[1;31m"};
  vq_loc_info at = vq_loc_decode(ctx, m->loc);
  if (color) vq_strbuf_puts(out, "\033[1m");
  put_place(out, &at);
  if (at.kind != VQ_LOC_NONE) vq_strbuf_puts(out, ": ");
  if (color) vq_strbuf_puts(out, paint[m->severity]);
  vq_strbuf_printf(out, "%s: ", word[m->severity]);
  if (color) vq_strbuf_puts(out, "\033[0m");
  vq_message_text(out, m);
  if (m->severity != VQ_NOTE)
    vq_strbuf_printf(out, " [%s]", vq_code_name(m->code));
  vq_strbuf_putc(out, '\n');
  put_caret(out, &at, color);
}
