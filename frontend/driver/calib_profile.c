// profile.xml of a folder of calibration pictures.
//
// It is read with libxml2. Such a file may come from anybody: nothing is loaded from
// elsewhere, a document type declaration is refused, and with it all entities.
#include "calib_profile.h"

#include <libxml/parser.h>
#include <stdlib.h>
#include <unistd.h>

#include "temporary.h"
#include "vq/image.h"

enum { MOST_PICTURES = 65536, MOST_BYTES = 1 << 24, VERSION = 1 };

VQ_PRINTF(2, 3) static const char *print(driver *d, const char *fmt, ...) {
  vq_strbuf text = {0};
  va_list args;
  va_start(args, fmt);
  vq_strbuf_vprintf(&text, fmt, args);
  va_end(args);
  const char *z = vq_arena_str(&d->arena, vq_strbuf_view(&text)).p;
  vq_strbuf_release(&text);
  return z;
}

const char *calib_profile_path(driver *d, const char *dir) {
  return print(d, "%s/profile.xml", dir);
}

const char *calib_picture_path(driver *d, const char *dir, int64_t number) {
  return print(d, "%s/%05lld.png", dir, (long long)number);
}

bool calib_profile_exists(driver *d, const char *dir) {
  return access(calib_profile_path(d, dir), F_OK) == 0;
}

calib_profile calib_profile_new(driver *d, const char model[65], const char *made_by,
                                int64_t n) {
  calib_profile p = {.n = n};
  memcpy(p.model, model, sizeof p.model);
  p.made_by = vq_arena_str(&d->arena, vq_str_of(made_by)).p;
  p.picture = VQ_NEW_N(&d->arena, profile_picture, (size_t)n);
  return p;
}

int64_t calib_profile_count(const calib_profile *p) {
  int64_t n = 0;
  for (int64_t i = 0; i < p->n; i++) n += p->picture[i].listed;
  return n;
}

// ---- writing ------------------------------------------------------------------------

vq_status calib_profile_write(driver *d, const char *dir, const calib_profile *p) {
  vq_strbuf t = {0};
  vq_strbuf_printf(&t, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<calibration "
                   "version=\"%d\" model=\"%s\" made-by=\"%s\" pictures=\"%lld\">\n",
                   VERSION, p->model, p->made_by, (long long)p->n);
  for (int64_t i = 0; i < p->n; i++)
    if (p->picture[i].listed)
      vq_strbuf_printf(&t, "  <picture number=\"%lld\" isa=\"%s\" sha256=\"%s\"/>\n",
                       (long long)i, p->picture[i].isa, p->picture[i].digest);
  vq_strbuf_puts(&t, "</calibration>\n");
  vq_status s = out_write(calib_profile_path(d, dir), t.p, t.n, d);
  vq_strbuf_release(&t);
  return s;
}

// ---- reading ------------------------------------------------------------------------

typedef struct reader {
  driver *d;
  const char *path;
  calib_profile *out;
} reader;

static vq_status bad(reader *r, const char *what) {
  return vq_error(&r->d->diag, VQ_E_picture, at_path(r->d, r->path),
                  "no profile of a calibration: %s", what);
}

// The value of an attribute, "" when there is none.
static const char *text_of(reader *r, xmlNodePtr node, const char *name) {
  xmlChar *z = xmlGetNoNsProp(node, (const xmlChar *)name);
  const char *copy = vq_arena_str(&r->d->arena, vq_str_of(z ? (const char *)z : "")).p;
  if (z) xmlFree(z);
  return copy;
}

// A whole number below `end`, or -1.
static int64_t number_of(reader *r, xmlNodePtr node, const char *name, int64_t end) {
  const char *z = text_of(r, node, name);
  size_t n = strlen(z);
  if (n == 0 || n > 9 || strspn(z, "0123456789") != n) return -1;
  int64_t v = strtoll(z, NULL, 10);
  return v < end ? v : -1;
}

static bool is_digest(const char *z) {
  return strlen(z) == 64 && strspn(z, "0123456789abcdef") == 64;
}

static bool is_word(const char *z, size_t most) {
  size_t n = strlen(z);
  return n > 0 && n < most &&
         strspn(z, "abcdefghijklmnopqrstuvwxyz0123456789=. -_") == n;
}

static vq_status read_picture(reader *r, xmlNodePtr node) {
  if (xmlStrcmp(node->name, (const xmlChar *)"picture") != 0)
    return bad(r, print(r->d, "line %ld has <%.40s>, expected <picture>",
                        xmlGetLineNo(node), (const char *)node->name));
  int64_t number = number_of(r, node, "number", r->out->n);
  const char *digest = text_of(r, node, "sha256"), *isa = text_of(r, node, "isa");
  if (number < 0 || !is_digest(digest) || !is_word(isa, sizeof r->out->picture->isa))
    return bad(r, print(r->d, "line %ld needs number, below %lld, isa and sha256",
                        xmlGetLineNo(node), (long long)r->out->n));
  profile_picture *p = &r->out->picture[number];
  if (p->listed)
    return bad(r, print(r->d, "picture %lld is listed twice", (long long)number));
  p->listed = true;
  memcpy(p->digest, digest, sizeof p->digest);
  memcpy(p->isa, isa, strlen(isa) + 1);
  return VQ_OK;
}

static vq_status read_document(reader *r, xmlDocPtr doc) {
  xmlNodePtr root = xmlDocGetRootElement(doc);
  if (!root || xmlStrcmp(root->name, (const xmlChar *)"calibration") != 0)
    return bad(r, "expected <calibration>");
  int64_t version = number_of(r, root, "version", 1 << 20);
  if (version != VERSION)
    return bad(r, print(r->d, "its version is '%.20s', this compiler reads version %d",
                        text_of(r, root, "version"), VERSION));
  const char *model = text_of(r, root, "model"), *made_by = text_of(r, root, "made-by");
  int64_t n = number_of(r, root, "pictures", MOST_PICTURES + 1);
  if (!is_digest(model) || !is_word(made_by, 256) || n < 1)
    return bad(r, print(r->d, "<calibration> needs model, made-by and pictures, 1 to %d",
                        MOST_PICTURES));
  *r->out = calib_profile_new(r->d, model, made_by, n);
  for (xmlNodePtr p = root->children; p; p = p->next)
    if (p->type == XML_ELEMENT_NODE && read_picture(r, p)) return VQ_ERR;
  return VQ_OK;
}

vq_status calib_profile_read(driver *d, const char *dir, calib_profile *out) {
  enum { OPTIONS = XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING };
  reader r = {d, calib_profile_path(d, dir), out};
  uint8_t *bytes;
  size_t n;
  if (vq_read_file(r.path, &d->diag, &bytes, &n)) return VQ_ERR;
  // Declarations are where entities come from; nothing of one is to be looked at.
  if (memmem(bytes, n, "<!DOCTYPE", 9)) {
    free(bytes);
    return bad(&r, "it has a document type declaration");
  }
  xmlDocPtr doc = n <= MOST_BYTES ? xmlReadMemory((const char *)bytes, (int)n, NULL,
                                                  "UTF-8", OPTIONS)
                                  : NULL;
  vq_status s = doc ? read_document(&r, doc) : bad(&r, "it is not well-formed XML");
  if (doc) xmlFreeDoc(doc);
  free(bytes);
  return s;
}
