// Growing text buffer.
#include "vq/strbuf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

// Ensures room for `more` bytes and the NUL behind them.
static void reserve(vq_strbuf *b, size_t more) {
  if (more > SIZE_MAX / 2 - b->n) vq_oom(more);
  size_t want = b->n + more + 1;
  if (want <= b->cap) return;
  size_t cap = b->cap < 64 ? 64 : b->cap * 2;
  if (cap < want) cap = want;
  char *p = realloc(b->p, cap);
  if (!p) vq_oom(cap);
  b->p = p;
  b->cap = cap;
}

void vq_strbuf_add(vq_strbuf *b, const void *bytes, size_t n) {
  reserve(b, n);
  if (n) memcpy(b->p + b->n, bytes, n);
  b->n += n;
  b->p[b->n] = '\0';
}

void vq_strbuf_puts(vq_strbuf *b, const char *z) {
  vq_strbuf_add(b, z, strlen(z));
}

void vq_strbuf_putc(vq_strbuf *b, char c) { vq_strbuf_add(b, &c, 1); }

void vq_strbuf_printf(vq_strbuf *b, const char *fmt, ...) {
  va_list ap;
  va_start(ap, fmt);
  vq_strbuf_vprintf(b, fmt, ap);
  va_end(ap);
}

void vq_strbuf_vprintf(vq_strbuf *b, const char *fmt, va_list ap) {
  va_list again;
  va_copy(again, ap);
  int n = vsnprintf(NULL, 0, fmt, ap);
  if (n < 0) VQ_BUG("vsnprintf refused '%s'", fmt);
  reserve(b, (size_t)n);
  vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
  va_end(again);
  b->n += (size_t)n;
}

void vq_strbuf_f32(vq_strbuf *b, float f) {
  char text[32];
  if (!isfinite(f)) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    vq_strbuf_printf(b, "0x%08x", bits);
    return;
  }
  if (fabsf(f) < 1e6f && f == truncf(f)) {  // 100, where %g would say 1e+02
    vq_strbuf_printf(b, "%.0f", (double)f);
    return;
  }
  for (int digits = 1; digits <= 9; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, (double)f);
    if (strtof(text, NULL) == f) break;
  }
  vq_strbuf_puts(b, text);
}

void vq_strbuf_escaped(vq_strbuf *b, vq_str s) {
  for (size_t i = 0; i < s.n; i++) {
    unsigned char c = (unsigned char)s.p[i];
    if (c == '\n')
      vq_strbuf_puts(b, "\\n");
    else if (c == '\t')
      vq_strbuf_puts(b, "\\t");
    else if (c == '"' || c == '\\')
      vq_strbuf_add(b, (char[]){'\\', (char)c}, 2);
    else if (c < 0x20 || c == 0x7f)
      vq_strbuf_printf(b, "\\x%02x", c);
    else
      vq_strbuf_putc(b, (char)c);
  }
}

vq_str vq_strbuf_view(const vq_strbuf *b) { return (vq_str){b->p, b->n}; }

const char *vq_strbuf_z(const vq_strbuf *b) { return b->p ? b->p : ""; }

void vq_strbuf_clear(vq_strbuf *b) {
  b->n = 0;
  if (b->p) b->p[0] = '\0';
}

void vq_strbuf_release(vq_strbuf *b) {
  free(b->p);
  *b = (vq_strbuf){0};
}
