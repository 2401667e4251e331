// From options to a recipe.
#include <libxml/xmlwriter.h>

#include "load.h"
#include "recipe.h"
#include "recipe_xml.h"
#include "temporary.h"
#include "vq/bits.h"
#include "vq/text.h"

typedef struct writer {
  driver *d;
  const char *path;
  xmlTextWriterPtr w;
  bool open;  // an element
  vq_status s;
} writer;

static void close_element(writer *w) {
  if (w->open) xmlTextWriterEndElement(w->w);
  w->open = false;
}

static void element(writer *w, recipe_element e) {
  close_element(w);
  xmlTextWriterStartElement(w->w, (const xmlChar *)recipe_element_name(e));
  w->open = true;
}

// Options may say what the form of recipes has no words for.
static void attr(writer *w, recipe_attr a, vq_str value) {
  const char *z = vq_arena_str(&w->d->arena, value).p;
  if (recipe_value_wrong(a, z))
    w->s = vq_error(&w->d->diag, VQ_E_option, at_path(w->d, w->path),
                    "a recipe's %s cannot be '%s', expected %s", recipe_attr_name(a), z,
                    recipe_value_wrong(a, z));
  else
    xmlTextWriterWriteAttribute(w->w, (const xmlChar *)recipe_attr_name(a), (const xmlChar *)z);
}

static void attr_z(writer *w, recipe_attr a, const char *value) {
  if (value) attr(w, a, vq_str_of(value));
}

static void width(writer *w, recipe_attr a, int bits) {
  char text[16];
  snprintf(text, sizeof text, "%d", bits);
  if (bits) attr_z(w, a, bits == VQ_BITS_FLOAT ? "float" : text);
}

static void range(writer *w, recipe_attr a, const int64_t r[2]) {
  char text[64];
  if (r[0] < 0) return;
  if (r[0] == r[1])
    snprintf(text, sizeof text, "%lld", (long long)r[0]);
  else
    snprintf(text, sizeof text, "%lld..%lld", (long long)r[0], (long long)r[1]);
  attr_z(w, a, text);
}

static void selector(writer *w, const vq_rule *r) {
  element(w, IN_layer);
  if (r->has_role) attr_z(w, AT_role, vq_role_name(r->role));
  range(w, AT_block, r->block);
  range(w, AT_stage, r->stage);
  if (r->name.n) attr(w, AT_name, r->name);
}

// ---- elements -----------------------------------------------------------------------

static void inputs(writer *w) {
  const options *o = &w->d->opt;
  const char *batch = o->value[OPT_batch];
  unsigned n = o->n_list[OPT_input_shape];
  for (unsigned i = 0; i < n; i++) {
    const char *text = o->list[OPT_input_shape][i], *colon = strrchr(text, ':');
    element(w, IN_input);
    if (colon) attr(w, AT_input_name, (vq_str){text, (size_t)(colon - text)});
    attr_z(w, AT_shape, colon ? colon + 1 : text);
    if (i == 0) attr_z(w, AT_batch, batch);
  }
  if (n || !batch) return;
  element(w, IN_input);
  attr_z(w, AT_batch, batch);
}

static void preprocess(writer *w) {
  const char *said = opt_text(&w->d->opt, OPT_preprocess);
  vq_strbuf text = {0};
  if (!said) return;
  w->s = preprocess_text(w->d, said, &text);
  element(w, IN_preprocess);
  for (const char *p = vq_strbuf_z(&text); !w->s && *(p += strspn(p, " \t\r\n"));) {
    size_t n = strcspn(p, " \t\r\n"), key = strcspn(p, "=");
    for (int a = AT_scale; a <= AT_interp; a++) {
      const char *name = recipe_attr_name((recipe_attr)a);
      if (key < n && strlen(name) == key && memcmp(name, p, key) == 0)
        attr(w, (recipe_attr)a, (vq_str){p + key + 1, n - key - 1});
    }
    p += n;
  }
  vq_strbuf_release(&text);
}

static void calibration(writer *w) {
  const options *o = &w->d->opt;
  if (opt_given(o, OPT_profile)) return;  // a folder of pictures is no part of a recipe
  element(w, IN_calibration);
  attr_z(w, AT_from, opt_text(o, OPT_calib));
  attr_z(w, AT_size, o->value[OPT_calib_size]);
  attr_z(w, AT_steps, o->value[OPT_calib_steps]);
  attr_z(w, AT_seed, o->value[OPT_seed]);
  attr_z(w, AT_time, o->value[OPT_calib_time]);
  attr_z(w, AT_settled, o->value[OPT_calib_settled]);
}

// What a budget chose is among the rules, so the budget itself is not written.
static vq_status rules(writer *w, const recipe_remarks *remarks) {
  const options *o = &w->d->opt;
  vq_arena *arena = &w->d->arena;
  vq_diag *diag = &w->d->diag;
  vq_bits bits;
  vq_rules observer, code;
  if (vq_bits_parse(arena, vq_str_of(opt_text(o, OPT_bits)), diag, &bits) ||
      vq_rules_parse(arena, "observer", vq_str_of(opt_text(o, OPT_observer)), diag, &observer) ||
      vq_rules_parse(arena, "probability", vq_str_of(opt_text(o, OPT_probability)), diag, &code))
    return VQ_ERR;
  element(w, IN_defaults);
  width(w, AT_all_weights, bits.all.w);
  width(w, AT_all_acts, bits.all.a);
  attr(w, AT_all_observer, observer.all);
  attr(w, AT_all_code, code.all);
  for (unsigned i = 0; i < bits.rules.n; i++) {
    const vq_rule *r = &bits.rules.rule[i];
    bool weightless = r->has_role && !vq_role_has_weights(r->role);
    bool none = bits.of[i].w == VQ_BITS_FLOAT && bits.of[i].a == VQ_BITS_FLOAT;
    selector(w, r);
    if (none) attr_z(w, AT_all_float, "true");
    if (!none && !weightless) width(w, AT_weights, bits.of[i].w);
    if (!none) width(w, AT_acts, bits.of[i].a);
    if (remarks && i >= remarks->first && i - remarks->first < remarks->n)
      attr_z(w, AT_why, remarks->why[i - remarks->first]);
  }
  for (unsigned i = 0; i < observer.n; i++) {
    selector(w, &observer.rule[i]);
    attr(w, AT_observer, observer.rule[i].value);
  }
  for (unsigned i = 0; i < code.n; i++) {
    selector(w, &code.rule[i]);
    attr(w, AT_code, code.rule[i].value);
  }
  return VQ_OK;
}

vq_status recipe_text(driver *d, const char *path, const recipe_remarks *or_null,
                      vq_strbuf *out) {
  xmlBufferPtr buffer = xmlBufferCreate();
  writer w = {.d = d, .path = path, .w = xmlNewTextWriterMemory(buffer, 0)};
  if (!buffer || !w.w) VQ_BUG("libxml2 has no memory");
  xmlTextWriterSetIndent(w.w, 1);
  xmlTextWriterStartDocument(w.w, NULL, "UTF-8", NULL);
  xmlTextWriterStartElement(w.w, (const xmlChar *)"recipe");
  xmlTextWriterWriteAttribute(w.w, (const xmlChar *)"xmlns",
                              (const xmlChar *)RECIPE_NAMESPACE);
  attr_z(&w, AT_version, "1");
  inputs(&w);
  preprocess(&w);
  calibration(&w);
  if (rules(&w, or_null)) w.s = VQ_ERR;
  close_element(&w);
  xmlTextWriterEndDocument(w.w);
  xmlFreeTextWriter(w.w);
  if (!w.s)
    vq_strbuf_add(out, (const char *)xmlBufferContent(buffer), (size_t)xmlBufferLength(buffer));
  xmlBufferFree(buffer);
  return w.s;
}

vq_status recipe_write(driver *d, const char *path, const recipe_remarks *or_null) {
  vq_strbuf text = {0};
  vq_status s = recipe_text(d, path, or_null, &text);
  if (!s) s = out_write(path, text.p, text.n, d);
  vq_strbuf_release(&text);
  return s;
}

vq_status recipe_mark(driver *d, vq_module *m) {
  const char *written = opt_text(&d->opt, OPT_emit_recipe);
  const char *path = written ? written : opt_text(&d->opt, OPT_recipe);
  if (!path) return VQ_OK;
  char hex[65];
  vq_strbuf text = {0};
  vq_status s = recipe_text(d, path, NULL, &text);
  if (!s) {
    vq_digest(text.p, text.n, hex);
    vq_meta_set(m, RECIPE_META, vq_str_of(hex));
  }
  vq_strbuf_release(&text);
  return s;
}
