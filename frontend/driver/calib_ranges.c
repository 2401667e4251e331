// ranges.xml of a folder of calibration pictures.
#include "calib_ranges.h"

#include <libxml/xmlwriter.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "calib_xml.h"
#include "temporary.h"
#include "vq/strbuf.h"

enum { VERSION = 1 };

void calib_ranges_keep(void *ranges, const vq_observed_range *range, size_t n) {
  calib_ranges *r = ranges;
  vq_arena *a = &r->d->arena;
  r->range = VQ_NEW_N(a, vq_observed_range, n);
  r->n = n;
  for (size_t i = 0; i < n; i++) {
    r->range[i] = range[i];
    r->range[i].role = vq_arena_str(a, range[i].role);
    r->range[i].name = vq_arena_str(a, range[i].name);
  }
}

static const char *path_of(const calib_ranges *r, const char *dir) {
  vq_strbuf text = {0};
  vq_strbuf_printf(&text, "%s/ranges.xml", dir);
  const char *z = vq_arena_str(&r->d->arena, vq_strbuf_view(&text)).p;
  vq_strbuf_release(&text);
  return z;
}

// ---- writing ------------------------------------------------------------------------

static void attribute(xmlTextWriterPtr w, const char *name, const char *z) {
  xmlTextWriterWriteAttribute(w, (const xmlChar *)name, (const xmlChar *)z);
}

// What is no UTF-8 could not stand in the document; its bytes can.
static const char *name_of(const calib_ranges *r, vq_str name) {
  vq_strbuf text = {0};
  if (xmlCheckUTF8((const xmlChar *)vq_arena_str(&r->d->arena, name).p))
    vq_strbuf_add(&text, name.p, name.n);
  else
    for (size_t i = 0; i < name.n; i++)
      vq_strbuf_printf(&text, (unsigned char)name.p[i] < 0x80 ? "%c" : "\\x%02x",
                       (unsigned char)name.p[i]);
  const char *z = vq_arena_str(&r->d->arena, vq_strbuf_view(&text)).p;
  vq_strbuf_release(&text);
  return z;
}

static void write_range(xmlTextWriterPtr w, const calib_ranges *r, const vq_observed_range *of) {
  char lo[40], hi[40];
  snprintf(lo, sizeof lo, "%a", of->lo);
  snprintf(hi, sizeof hi, "%a", of->hi);
  xmlTextWriterStartElement(w, (const xmlChar *)"range");
  attribute(w, "role", name_of(r, of->role));
  attribute(w, "name", name_of(r, of->name));
  attribute(w, "lo", lo);
  attribute(w, "hi", hi);
  xmlTextWriterEndElement(w);
}

static void write_all(xmlTextWriterPtr w, const calib_ranges *r) {
  char number[24];
  xmlTextWriterSetIndent(w, 1);
  xmlTextWriterStartDocument(w, NULL, "UTF-8", NULL);
  xmlTextWriterStartElement(w, (const xmlChar *)"ranges");
  snprintf(number, sizeof number, "%d", VERSION);
  attribute(w, "version", number);
  attribute(w, "model", r->model);
  attribute(w, "isa", r->isa);
  snprintf(number, sizeof number, "%lld", (long long)r->samples);
  attribute(w, "samples", number);
  for (size_t i = 0; i < r->n; i++) write_range(w, r, &r->range[i]);
  xmlTextWriterEndDocument(w);
}

vq_status calib_ranges_write(const calib_ranges *r, const char *dir) {
  const char *path = path_of(r, dir);
  if (r->n == 0) {
    unlink(path);
    return VQ_OK;
  }
  xmlBufferPtr text = xmlBufferCreate();
  xmlTextWriterPtr w = text ? xmlNewTextWriterMemory(text, 0) : NULL;
  if (!w) vq_oom(BUFSIZ);
  write_all(w, r);
  xmlFreeTextWriter(w);
  vq_status s = out_write(path, (const char *)xmlBufferContent(text),
                          (size_t)xmlBufferLength(text), r->d);
  xmlBufferFree(text);
  return s;
}

// ---- comparing ----------------------------------------------------------------------

// What is compared, and what was found.
typedef struct comparison {
  const calib_ranges *r;
  calib_xml x;
  bool *met;  // of r's ranges
  size_t n, n_other;
  vq_observed_range listed, seen;  // of the first that differs
} comparison;

static bool read_limit(const comparison *c, xmlNodePtr node, const char *name, double *out) {
  const char *z = calib_xml_text(&c->x, node, name);
  char *end;
  *out = strtod(z, &end);
  return end != z && !*end && isfinite(*out);
}

static vq_status compare_one(comparison *c, xmlNodePtr node) {
  long line = xmlGetLineNo(node);
  vq_observed_range of = {vq_str_of(calib_xml_text(&c->x, node, "role")),
                      vq_str_of(calib_xml_text(&c->x, node, "name")), 0, 0};
  if (xmlStrcmp(node->name, (const xmlChar *)"range") != 0)
    return calib_xml_bad(&c->x, "line %ld has <%.40s>, expected <range>", line,
                         (const char *)node->name);
  if (!of.role.n || !read_limit(c, node, "lo", &of.lo) || !read_limit(c, node, "hi", &of.hi) ||
      of.lo > of.hi)
    return calib_xml_bad(&c->x, "line %ld needs role, name, lo and hi, not less", line);
  for (size_t i = 0; i < c->r->n && of.name.n; i++) {
    const vq_observed_range *seen = &c->r->range[i];
    if (c->met[i] || !vq_str_eq(of.role, seen->role) ||
        strcmp(of.name.p, name_of(c->r, seen->name)) != 0)
      continue;
    c->met[i] = true;
    c->n++;
    if (of.lo == seen->lo && of.hi == seen->hi) break;
    if (c->n_other++ == 0) c->listed = of, c->seen = *seen;
    break;
  }
  return VQ_OK;
}

// Whether what was kept should have given the same.
static bool is_comparable(const comparison *c) {
  const calib_xml *x = &c->x;
  return strcmp(calib_xml_text(x, x->root, "model"), c->r->model) == 0 &&
         strcmp(calib_xml_text(x, x->root, "isa"), c->r->isa) == 0 &&
         calib_xml_number(x, x->root, "samples", INT64_MAX) == c->r->samples;
}

static vq_status compare_all(comparison *c) {
  if (!is_comparable(c)) return VQ_OK;
  c->met = VQ_NEW_N(&c->r->d->arena, bool, c->r->n + 1);
  for (xmlNodePtr p = c->x.root->children; p; p = p->next)
    if (p->type == XML_ELEMENT_NODE && compare_one(c, p)) return VQ_ERR;
  if (c->n_other == 0) return VQ_OK;
  return vq_error(&c->r->d->diag, VQ_E_picture, at_path(c->r->d, c->x.path),
                  "%zu of %zu ranges are others here, and so would the model be: %.*s "
                  "'%.*s' was %a to %a and is %a to %a; without this file it is made all "
                  "the same", c->n_other, c->n, VQ_FMT(c->listed.role),
                  VQ_FMT(c->listed.name), c->listed.lo, c->listed.hi, c->seen.lo,
                  c->seen.hi);
}

vq_status calib_ranges_compare(const calib_ranges *r, const char *dir) {
  comparison c = {.r = r};
  const char *path = path_of(r, dir);
  if (r->n == 0 || access(path, F_OK) != 0) return VQ_OK;
  vq_status s = calib_xml_open(r->d, path, "ranges of a calibration", "ranges", VERSION, &c.x);
  if (!s) s = compare_all(&c);
  calib_xml_close(&c.x);
  return s;
}
