// Reading the XML of recipes.
//
// libxml2 says what is well-formed and calls back for each start tag. It does not know
// where attributes are, and errors of its RELAX NG validator name lines only. So the
// tags that it reports are found again in the text, one after the other, which is easy
// for a document that is well-formed so far and has no declarations. recipe.rng says the
// same as this file; a test compares the two.
//
// A recipe may come from anybody. A document type declaration ends reading before
// anything of it is looked at, nothing is ever loaded from anywhere else, and what is
// not in the table is an error at its first occurrence, so that depth is bounded, too.
#include "recipe_xml.h"

#include <libxml/parser.h>
#include <libxml/parserInternals.h>

#include "vq/strbuf.h"
#include "vq/suggest.h"
#include "vq/type.h"

typedef struct reader {
  vq_str text;
  const char *path;
  vq_arena *arena;
  vq_diag *diag;
  recipe_items *out;
  xmlParserCtxtPtr ctxt;
  const char *at;  // behind the last start tag that was reported
  recipe_element open[4];
  unsigned depth;
  bool seen[N_RECIPE_ELEMENTS];
  bool failed;
} reader;

static const struct {
  const char *name;
  bool once;
} elements[] = {
#define ELEMENT(name, once) {#name, once},
#define ATTR(element, id, spelling, kind, help)
#include "recipe.def"
#undef ELEMENT
#undef ATTR
};

static const struct {
  recipe_element element;
  const char *spelling;
} attrs[] = {
#define ELEMENT(name, once)
#define ATTR(element, id, spelling, kind, help) {IN_##element, spelling},
#include "recipe.def"
#undef ELEMENT
#undef ATTR
};

const char *recipe_element_name(recipe_element e) { return elements[e].name; }
const char *recipe_attr_name(recipe_attr a) { return attrs[a].spelling; }

// ---- places -------------------------------------------------------------------------

static vq_loc loc_of_line(reader *r, uint32_t line, uint32_t col) {
  const char *p = r->text.p, *end = p + r->text.n;
  for (uint32_t i = 1; i < line && p < end; i++) {
    const char *next = memchr(p, '\n', (size_t)(end - p));
    p = next ? next + 1 : end;
  }
  const char *stop = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
  size_t n = (size_t)((stop ? stop : end) - p);
  if (n && p[n - 1] == '\r') n--;
  return vq_loc_text(r->diag->ctx, vq_str_of(r->path), line, col, (vq_str){p, n});
}

static vq_loc loc_of(reader *r, const char *at) {
  uint32_t line = 1;
  const char *start = r->text.p;
  for (const char *p = start; p < at; p++)
    if (*p == '\n') line++, start = p + 1;
  return loc_of_line(r, line, (uint32_t)(at - start) + 1);
}

static void fail(reader *r) {
  r->failed = true;
  xmlStopParser(r->ctxt);
}

static const char *end_of(const reader *r) { return r->text.p + r->text.n; }

// Behind the next `mark` from `p` on.
static const char *behind(const reader *r, const char *p, const char *mark) {
  const char *q = memmem(p, (size_t)(end_of(r) - p), mark, strlen(mark));
  return q ? q + strlen(mark) : end_of(r);
}

static bool starts(const reader *r, const char *p, const char *word) {
  size_t n = strlen(word);
  return (size_t)(end_of(r) - p) >= n && memcmp(p, word, n) == 0;
}

// The next start tag, CDATA section or character that is no white space.
static const char *next_content(const reader *r) {
  const char *p = r->at, *end = end_of(r);
  while (p < end) {
    if (memchr(" \t\r\n", *p, 4))
      p++;
    else if (starts(r, p, "<!--"))
      p = behind(r, p + 4, "-->");
    else if (starts(r, p, "<?"))
      p = behind(r, p, "?>");
    else if (starts(r, p, "</"))
      p = behind(r, p, ">");
    else
      return p;
  }
  return end;
}

typedef struct tag_place {
  const char *name, *value, *behind;  // of an attribute; the tag
} tag_place;

// Where the attribute `name` of the start tag at `tag` is.
static tag_place find_place(const reader *r, const char *tag, const char *name) {
  const char *p = tag, *end = end_of(r);
  tag_place found = {tag, tag, end};
  while (p < end && !memchr(" \t\r\n/>", *p, 6)) p++;
  while (p < end && *p != '>') {
    if (memchr(" \t\r\n/=", *p, 6)) {
      p++;
      continue;
    }
    const char *word = p;
    while (p < end && !memchr(" \t\r\n=", *p, 5)) p++;
    size_t n = (size_t)(p - word);
    while (p < end && *p != '"' && *p != '\'') p++;
    if (p == end) break;
    if (n == strlen(name) && memcmp(word, name, n) == 0)
      found.name = word, found.value = p + 1;
    const char *close = memchr(p + 1, *p, (size_t)(end - p - 1));
    p = close ? close + 1 : end;
  }
  if (p < end) found.behind = p + 1;
  return found;
}

// ---- elements -----------------------------------------------------------------------

static void unknown_element(reader *r, const char *name, const char *tag) {
  vq_suggest s = vq_suggest_start(vq_str_of(name));
  vq_strbuf there = {0};
  for (int e = 1; e < N_RECIPE_ELEMENTS; e++) {
    vq_suggest_offer(&s, elements[e].name);
    vq_strbuf_printf(&there, "%s%s", e > 1 ? ", " : "", elements[e].name);
  }
  if (r->depth == 0)
    vq_error(r->diag, VQ_E_option, loc_of(r, tag),
             "expected <recipe xmlns=\"" RECIPE_NAMESPACE "\" version=\"1\">, found <%s>", name);
  else if (r->depth > 1)
    vq_error(r->diag, VQ_E_option, loc_of(r, tag), "<%s> stands in <%s>, which has no content",
             name, elements[r->open[r->depth - 1]].name);
  else
    vq_error(r->diag, VQ_E_option, loc_of(r, tag),
             "there is no element <%s>%s%s%s; there are %s", name,
             s.best ? "; did you mean '" : "", s.best ? s.best : "", s.best ? "'?" : "",
             vq_strbuf_z(&there));
  vq_strbuf_release(&there);
  fail(r);
}

static bool find_element(const reader *r, const char *name, const char *uri,
                         recipe_element *out) {
  if (!uri || strcmp(uri, RECIPE_NAMESPACE) != 0) return false;
  for (int e = 0; e < N_RECIPE_ELEMENTS; e++)
    if (strcmp(elements[e].name, name) == 0 && (e == IN_recipe) == (r->depth == 0) &&
        r->depth < 2) {
      *out = (recipe_element)e;
      return true;
    }
  return false;
}

static bool find_attr(recipe_element e, const char *name, recipe_attr *out) {
  for (int a = 0; a < N_RECIPE_ATTRS; a++)
    if (attrs[a].element == e && strcmp(attrs[a].spelling, name) == 0) {
      *out = (recipe_attr)a;
      return true;
    }
  return false;
}

static void unknown_attr(reader *r, recipe_element e, const char *name, const char *at) {
  vq_suggest s = vq_suggest_start(vq_str_of(name));
  for (int a = 0; a < N_RECIPE_ATTRS; a++)
    if (attrs[a].element == e) vq_suggest_offer(&s, attrs[a].spelling);
  vq_error(r->diag, VQ_E_option, loc_of(r, at), "<%s> has no attribute '%s'%s%s%s",
           elements[e].name, name, s.best ? "; did you mean '" : "", s.best ? s.best : "",
           s.best ? "'?" : "");
  fail(r);
}

// An ampersand comes as "&#38;" from a parser that is not told to replace entities.
static const char *copy_value(reader *r, const char *v, size_t n) {
  static const char amp[] = "&#38;";
  vq_strbuf out = {0};
  for (size_t i = 0; i < n; i++) {
    vq_strbuf_putc(&out, v[i]);
    if (n - i >= sizeof amp - 1 && memcmp(v + i, amp, sizeof amp - 1) == 0)
      i += sizeof amp - 2;
  }
  const char *z = vq_arena_str(r->arena, vq_strbuf_view(&out)).p;
  vq_strbuf_release(&out);
  return z;
}

// attr: name, prefix, namespace, value, its end.
static void take_attr(reader *r, recipe_item *it, const char *tag, const xmlChar **attr) {
  const char *name = (const char *)attr[0];
  vq_strbuf full = {0};
  if (attr[1]) vq_strbuf_printf(&full, "%s:", (const char *)attr[1]);
  vq_strbuf_puts(&full, name);
  tag_place place = find_place(r, tag, vq_strbuf_z(&full));
  recipe_attr a;
  if (attr[1] || !find_attr(it->element, name, &a)) {
    unknown_attr(r, it->element, full.p, place.name);
  } else {
    it->value[a] = copy_value(r, (const char *)attr[3], (size_t)(attr[4] - attr[3]));
    it->at[a] = loc_of(r, place.value);
    const char *expected = recipe_value_wrong(a, it->value[a]);
    if (expected) {
      vq_error(r->diag, VQ_E_option, it->at[a], "%s of <%s> is '%s', expected %s", name,
               elements[it->element].name, it->value[a], expected);
      fail(r);
    }
  }
  vq_strbuf_release(&full);
}

static void start_element(void *user, const xmlChar *local, const xmlChar *prefix,
                          const xmlChar *uri, int n_namespace, const xmlChar **namespaces,
                          int n_attr, int n_default, const xmlChar **attr) {
  (void)prefix, (void)n_namespace, (void)namespaces, (void)n_default;
  reader *r = user;
  if (r->failed) return;
  const char *tag = next_content(r);
  recipe_item *it = VQ_NEW(r->arena, recipe_item);
  if (!find_element(r, (const char *)local, (const char *)uri, &it->element)) {
    unknown_element(r, (const char *)local, tag);
    return;
  }
  it->loc = loc_of(r, tag);
  if (elements[it->element].once && r->seen[it->element]) {
    vq_error(r->diag, VQ_E_option, it->loc, "a second <%s>", elements[it->element].name);
    fail(r);
    return;
  }
  r->seen[it->element] = true;
  for (int i = 0; i < n_attr && !r->failed; i++) take_attr(r, it, tag, attr + 5 * i);
  r->at = find_place(r, tag, "").behind;
  r->open[r->depth++] = it->element;
  vq_vec_push(r->out, it);
}

static void end_element(void *user, const xmlChar *local, const xmlChar *prefix,
                        const xmlChar *uri) {
  (void)local, (void)prefix, (void)uri;
  reader *r = user;
  if (!r->failed) r->depth--;
}

// ---- everything else ----------------------------------------------------------------

static void text_content(void *user, const xmlChar *text, int n) {
  reader *r = user;
  int blank = 0;
  while (blank < n && memchr(" \t\r\n", text[blank], 4)) blank++;
  if (blank == n || r->failed) return;
  vq_error(r->diag, VQ_E_option, loc_of(r, next_content(r)), "there is no text in recipes");
  fail(r);
}

static void doctype(void *user, const xmlChar *name, const xmlChar *id, const xmlChar *uri) {
  (void)name, (void)id, (void)uri;
  reader *r = user;
  vq_error(r->diag, VQ_E_option, loc_of(r, next_content(r)),
           "a recipe has no document type declaration");
  fail(r);
}

static void xml_error(void *user, xmlErrorPtr e) {
  reader *r = user;
  if (r->failed || e->level == XML_ERR_WARNING) return;
  size_t n = e->message ? strcspn(e->message, "\n") : 0;
  uint32_t line = e->line > 0 ? (uint32_t)e->line : 1;
  vq_error(r->diag, VQ_E_option, loc_of_line(r, line, e->int2 > 0 ? (uint32_t)e->int2 : 1),
           "not well-formed: %.*s", (int)n, n ? e->message : "");
  fail(r);
}

vq_status recipe_xml_read(vq_str text, const char *path, vq_arena *arena, vq_diag *diag,
                          recipe_items *out) {
  enum { OPTIONS = XML_PARSE_NONET };
  reader r = {.text = text, .path = path, .arena = arena, .diag = diag, .out = out,
              .at = text.p, .ctxt = xmlNewParserCtxt()};
  if (!r.ctxt) VQ_BUG("libxml2 has no memory");
  *r.ctxt->sax = (xmlSAXHandler){.initialized = XML_SAX2_MAGIC,
                                 .startElementNs = start_element,
                                 .endElementNs = end_element,
                                 .characters = text_content,
                                 .cdataBlock = text_content,
                                 .internalSubset = doctype,
                                 .serror = (xmlStructuredErrorFunc)xml_error};
  r.ctxt->userData = &r;
  // Other encodings would move the places.
  xmlDocPtr doc = xmlCtxtReadMemory(r.ctxt, text.p, (int)text.n, NULL, "UTF-8", OPTIONS);
  if (!r.failed && !r.seen[IN_recipe]) {
    vq_error(diag, VQ_E_option, loc_of_line(&r, 1, 1), "not well-formed: nothing is in it");
    r.failed = true;
  }
  if (doc) xmlFreeDoc(doc);
  xmlFreeParserCtxt(r.ctxt);
  return r.failed ? VQ_ERR : VQ_OK;
}
