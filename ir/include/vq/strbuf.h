// Growing text buffer, always NUL-terminated once anything was appended.
#ifndef VQ_STRBUF_H
#define VQ_STRBUF_H

#include <stdarg.h>

#include "vq/base.h"

// Zero-initialise to start. `p` may be NULL while `n` is 0.
struct vq_strbuf {
  char *p;
  size_t n, cap;
};

void vq_strbuf_add(vq_strbuf *b, const void *bytes, size_t n);
void vq_strbuf_puts(vq_strbuf *b, const char *z);
void vq_strbuf_putc(vq_strbuf *b, char c);
void vq_strbuf_printf(vq_strbuf *b, const char *fmt, ...) VQ_PRINTF(2, 3);
void vq_strbuf_vprintf(vq_strbuf *b, const char *fmt, va_list ap);

// Appends the shortest decimal that reads back as exactly `f`; NaN and
// infinities as the bit pattern "0x7fc00000". Integral values keep no ".0".
void vq_strbuf_f32(vq_strbuf *b, float f);

// Appends `s` with control bytes, quotes and backslashes escaped as \n \t \"
// \\ or \xHH, so that hostile names can neither break a line nor a terminal.
void vq_strbuf_escaped(vq_strbuf *b, vq_str s);

vq_str vq_strbuf_view(const vq_strbuf *b);
const char *vq_strbuf_z(const vq_strbuf *b);  // "" when empty
void vq_strbuf_clear(vq_strbuf *b);           // keeps the memory
void vq_strbuf_release(vq_strbuf *b);

#endif
