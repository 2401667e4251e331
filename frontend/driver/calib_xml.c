// XML files of a folder of calibration pictures, by libxml2.
#include "calib_xml.h"

#include <libxml/parser.h>
#include <stdlib.h>

#include "vq/image.h"
#include "vq/strbuf.h"

enum { MOST_BYTES = 1 << 24 };

vq_status calib_xml_bad(const calib_xml *x, const char *fmt, ...) {
  vq_strbuf text = {0};
  va_list args;
  va_start(args, fmt);
  vq_strbuf_vprintf(&text, fmt, args);
  va_end(args);
  vq_status s = vq_error(&x->d->diag, VQ_E_picture, at_path(x->d, x->path), "no %s: %s",
                         x->what, vq_strbuf_z(&text));
  vq_strbuf_release(&text);
  return s;
}

const char *calib_xml_text(const calib_xml *x, xmlNodePtr node, const char *name) {
  xmlChar *z = xmlGetNoNsProp(node, (const xmlChar *)name);
  const char *copy = vq_arena_str(&x->d->arena, vq_str_of(z ? (const char *)z : "")).p;
  if (z) xmlFree(z);
  return copy;
}

int64_t calib_xml_number(const calib_xml *x, xmlNodePtr node, const char *name, int64_t end) {
  const char *z = calib_xml_text(x, node, name);
  size_t n = strlen(z);
  if (n == 0 || n > 9 || strspn(z, "0123456789") != n) return -1;
  int64_t v = strtoll(z, NULL, 10);
  return v < end ? v : -1;
}

bool calib_xml_is_digest(const char *z) {
  return strlen(z) == 64 && strspn(z, "0123456789abcdef") == 64;
}

bool calib_xml_is_word(const char *z, size_t most) {
  size_t n = strlen(z);
  return n > 0 && n < most &&
         strspn(z, "abcdefghijklmnopqrstuvwxyz0123456789=. -_") == n;
}

static vq_status check_root(calib_xml *x, const char *root, int64_t version) {
  x->root = xmlDocGetRootElement(x->doc);
  if (!x->root || xmlStrcmp(x->root->name, (const xmlChar *)root) != 0)
    return calib_xml_bad(x, "expected <%s>", root);
  if (calib_xml_number(x, x->root, "version", 1 << 20) != version)
    return calib_xml_bad(x, "its version is '%.20s', this compiler reads version %lld",
                         calib_xml_text(x, x->root, "version"), (long long)version);
  return VQ_OK;
}

vq_status calib_xml_open(driver *d, const char *path, const char *what, const char *root,
                         int64_t version, calib_xml *out) {
  enum { OPTIONS = XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING };
  *out = (calib_xml){.d = d, .path = path, .what = what};
  uint8_t *bytes;
  size_t n;
  if (vq_read_file(path, &d->diag, &bytes, &n)) return VQ_ERR;
  // Declarations are where entities come from; nothing of one is to be looked at.
  if (memmem(bytes, n, "<!DOCTYPE", 9)) {
    free(bytes);
    return calib_xml_bad(out, "it has a document type declaration");
  }
  if (n <= MOST_BYTES)
    out->doc = xmlReadMemory((const char *)bytes, (int)n, NULL, "UTF-8", OPTIONS);
  free(bytes);
  if (!out->doc) return calib_xml_bad(out, "it is not well-formed XML");
  return check_root(out, root, version);
}

void calib_xml_close(calib_xml *x) {
  if (x->doc) xmlFreeDoc(x->doc);
  x->doc = NULL;
}
