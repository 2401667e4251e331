// Writing small JSON objects.
#include "json.h"

#include <inttypes.h>
#include <math.h>

#include "temporary.h"

static void add_string(vq_strbuf *out, const char *s) {
  vq_strbuf_putc(out, '"');
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (c < 0x20)
      vq_strbuf_printf(out, "\\u%04x", c);
    else if (c == '"' || c == '\\')
      vq_strbuf_printf(out, "\\%c", c);
    else
      vq_strbuf_putc(out, (char)c);
  }
  vq_strbuf_putc(out, '"');
}

static void begin_member(json *j, const char *key) {
  if (j->depth) {
    vq_strbuf_printf(&j->text, "%s\n%*s", j->first ? "" : ",",
                     (int)(2 * j->depth), "");
    if (key) {
      add_string(&j->text, key);
      vq_strbuf_puts(&j->text, ": ");
    }
  }
  j->first = false;
}

static void begin(json *j, const char *key, char bracket) {
  begin_member(j, key);
  vq_strbuf_putc(&j->text, bracket);
  j->depth++;
  j->first = true;
}

static void end(json *j, char bracket) {
  j->depth--;
  vq_strbuf_printf(&j->text, "\n%*s%c", (int)(2 * j->depth), "", bracket);
  if (j->depth == 0) vq_strbuf_putc(&j->text, '\n');
  j->first = false;
}

void json_begin(json *j, const char *key_or_null) { begin(j, key_or_null, '{'); }
void json_end(json *j) { end(j, '}'); }
void json_begin_list(json *j, const char *key) { begin(j, key, '['); }
void json_end_list(json *j) { end(j, ']'); }

void json_int(json *j, const char *key, int64_t v) {
  begin_member(j, key);
  vq_strbuf_printf(&j->text, "%" PRId64, v);
}

void json_number(json *j, const char *key, double v) {
  begin_member(j, key);
  if (isfinite(v))
    vq_strbuf_printf(&j->text, "%.10g", v);
  else
    vq_strbuf_puts(&j->text, "null");
}

void json_counts(json *j, const char *key, const int64_t *v, unsigned n) {
  begin_member(j, key);
  vq_strbuf_putc(&j->text, '[');
  for (unsigned i = 0; i < n; i++)
    vq_strbuf_printf(&j->text, "%s%" PRId64, i ? ", " : "", v[i]);
  vq_strbuf_putc(&j->text, ']');
}

void json_text(json *j, const char *key, const char *v) {
  begin_member(j, key);
  add_string(&j->text, v);
}

vq_status json_write(json *j, const char *path, driver *d) {
  vq_status s = out_write(path, j->text.p, j->text.n, d);
  vq_strbuf_release(&j->text);
  return s;
}
