// profile.xml of a folder of calibration pictures.
#include "calib_profile.h"

#include <libxml/tree.h>
#include <unistd.h>

#include "calib_xml.h"
#include "temporary.h"

enum { MOST_PICTURES = 65536, VERSION = 1 };

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

static vq_status read_picture(const calib_xml *x, xmlNodePtr node, calib_profile *out) {
  long line = xmlGetLineNo(node);
  if (xmlStrcmp(node->name, (const xmlChar *)"picture") != 0)
    return calib_xml_bad(x, "line %ld has <%.40s>, expected <picture>", line,
                         (const char *)node->name);
  int64_t number = calib_xml_number(x, node, "number", out->n);
  const char *digest = calib_xml_text(x, node, "sha256");
  const char *isa = calib_xml_text(x, node, "isa");
  if (number < 0 || !calib_xml_is_digest(digest) ||
      !calib_xml_is_word(isa, sizeof out->picture->isa))
    return calib_xml_bad(x, "line %ld needs number, below %lld, isa and sha256", line,
                         (long long)out->n);
  profile_picture *p = &out->picture[number];
  if (p->listed)
    return calib_xml_bad(x, "picture %lld is listed twice", (long long)number);
  p->listed = true;
  memcpy(p->digest, digest, sizeof p->digest);
  memcpy(p->isa, isa, strlen(isa) + 1);
  return VQ_OK;
}

static vq_status read_pictures(const calib_xml *x, calib_profile *out) {
  const char *model = calib_xml_text(x, x->root, "model");
  const char *made_by = calib_xml_text(x, x->root, "made-by");
  int64_t n = calib_xml_number(x, x->root, "pictures", MOST_PICTURES + 1);
  if (!calib_xml_is_digest(model) || !calib_xml_is_word(made_by, 256) || n < 1)
    return calib_xml_bad(x, "<calibration> needs model, made-by and pictures, 1 to %d",
                         MOST_PICTURES);
  *out = calib_profile_new(x->d, model, made_by, n);
  for (xmlNodePtr p = x->root->children; p; p = p->next)
    if (p->type == XML_ELEMENT_NODE && read_picture(x, p, out)) return VQ_ERR;
  return VQ_OK;
}

vq_status calib_profile_read(driver *d, const char *dir, calib_profile *out) {
  calib_xml x;
  vq_status s = calib_xml_open(d, calib_profile_path(d, dir), "profile of a calibration",
                               "calibration", VERSION, &x);
  if (!s) s = read_pictures(&x, out);
  calib_xml_close(&x);
  return s;
}
