// The report as a page: one file, no script, readable on a phone.
#include <libxml/HTMLtree.h>
#include <math.h>

#include "compile.h"
#include "report.h"
#include "temporary.h"
#include "vq/bits.h"

static const char style[] =
    "body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:70rem;padding:1rem;"
    "color:#1b1b1b;background:#fff}"
    "h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.2rem;margin-top:2rem}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{padding:.25rem .6rem;text-align:right;white-space:nowrap;"
    "border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}"
    ".wide{overflow-x:auto}.bad{background:#fde8e4}"
    "pre{overflow-x:auto;background:#f4f4f4;padding:.75rem}svg{display:block}"
    "path{fill:#3b6ea5}";

static xmlNodePtr add(xmlNodePtr to, const char *name, const char *text) {
  return xmlNewTextChild(to, NULL, (const xmlChar *)name, (const xmlChar *)text);
}

static void set(xmlNodePtr node, const char *name, const char *value) {
  xmlNewProp(node, (const xmlChar *)name, (const xmlChar *)value);
}

static xmlNodePtr add_f(xmlNodePtr to, const char *name, const char *fmt, ...)
    VQ_PRINTF(3, 4);
static xmlNodePtr add_f(xmlNodePtr to, const char *name, const char *fmt, ...) {
  vq_strbuf text = {0};
  va_list args;
  va_start(args, fmt);
  vq_strbuf_vprintf(&text, fmt, args);
  va_end(args);
  xmlNodePtr node = add(to, name, vq_strbuf_z(&text));
  vq_strbuf_release(&text);
  return node;
}

static xmlNodePtr add_table(xmlNodePtr to, const char *const *head, unsigned n) {
  xmlNodePtr wide = add(to, "div", NULL), table, row;
  set(wide, "class", "wide");
  table = add(wide, "table", NULL);
  row = add(add(table, "thead", NULL), "tr", NULL);
  for (unsigned i = 0; i < n; i++) add(row, "th", head[i]);
  return add(table, "tbody", NULL);
}
#define ADD_TABLE(to, ...)                               \
  add_table(to, (const char *const[]){__VA_ARGS__},      \
            sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

// Counts as bars, their height the root of them, so that tails can be seen.
static void add_histogram(xmlNodePtr to, const vq_measured_codes *c) {
  enum { BAR = 3, HEIGHT = 24 };
  int64_t most = 0;
  vq_strbuf text = {0};
  for (int i = 0; i < VQ_MEASURE_CELLS; i++) most = c->cell[i] > most ? c->cell[i] : most;
  xmlNodePtr cell = add(to, "td", NULL), svg, path;
  if (!most) return;
  svg = add(cell, "svg", NULL);
  vq_strbuf_printf(&text, "0 0 %d %d", BAR * VQ_MEASURE_CELLS, HEIGHT);
  set(svg, "viewBox", text.p);
  set(svg, "width", "96");
  set(svg, "height", "24");
  set(svg, "role", "img");
  vq_strbuf_clear(&text);
  vq_strbuf_printf(&text, "%.4g to %.4g", c->least, c->most);
  add(svg, "title", text.p);
  vq_strbuf_clear(&text);
  for (int i = 0; i < VQ_MEASURE_CELLS; i++) {
    double h = HEIGHT * sqrt((double)c->cell[i] / (double)most);
    if (c->cell[i]) vq_strbuf_printf(&text, "M%d %dv-%.2fh%dv%.2fz", BAR * i, HEIGHT, h, BAR, h);
  }
  path = add(svg, "path", NULL);
  set(path, "d", vq_strbuf_z(&text));
  vq_strbuf_release(&text);
}

static void add_bits(xmlNodePtr row, const vq_measured_codes *c) {
  if (c->bits)
    add_f(row, "td", "%d", c->bits);
  else
    add(row, "td", "float");
}

static void add_decibels(xmlNodePtr row, double v) {
  if (isfinite(v))
    add_f(row, "td", "%.1f", v);
  else
    add(row, "td", v > 0 ? "exact" : "-");
}

static void add_codes(xmlNodePtr row, const vq_measured_codes *c) {
  add_f(row, "td", "%.2f", 100 * c->saturated);
  add_f(row, "td", "%.0f", 100 * c->dead);
  add_f(row, "td", "%.1f", c->spread);
}

// ---- parts --------------------------------------------------------------------------

static void add_summary(xmlNodePtr body, const report *r) {
  xmlNodePtr list = add(body, "ul", NULL);
  vq_strbuf size = {0};
  add_bytes(&size, (double)r->weight_bytes);
  add_f(list, "li", "Weights of layers: %s", vq_strbuf_z(&size));
  add_f(list, "li", "Multiplications on integers: %.2f %%", 100 * r->integer_share);
  add_f(list, "li", "Results: SQNR %.1f dB, cosine %.5f, the same largest class in %.1f %%",
        vq_sums_sqnr(&r->m.result.all), vq_rows_cosine(&r->m.result), 100 * vq_rows_agreement(&r->m.result));
  if (r->score.n)
    add_f(list, "li", "On %lld pictures held back: the same largest class in %.1f %%, cosine %.5f",
          (long long)r->score.n, 100 * (double)r->score.agree / (double)r->score.n,
          r->score.cosine);
  add_f(body, "p",
        "Measured on %lld of the samples that it was calibrated with, quantized against "
        "float. That stands for accuracy, it is none: vitqc eval measures accuracy. Codes of "
        "probabilities are not in these numbers.", (long long)r->m.n_sample);
  vq_strbuf_release(&size);
}

static void add_worst(xmlNodePtr body, const report *r) {
  add(body, "h2", "The worst layers");
  add(body, "p", "Lowest SQNR of a layer by itself, on exact inputs. In a recipe these lines "
                 "give them more bits; --suggest=FILE writes them.");
  vq_strbuf lines = {0};
  for (unsigned i = 0; i < r->n_suggested; i++) {
    const suggestion *s = &r->suggested[i];
    vq_strbuf_printf(&lines, "<layer role=\"%s\"", vq_role_name(s->role));
    if (s->block >= 0) vq_strbuf_printf(&lines, " block=\"%lld\"", (long long)s->block);
    if (!s->wide && vq_role_has_weights(s->role)) vq_strbuf_puts(&lines, " weight-bits=\"8\"");
    vq_strbuf_printf(&lines, " %s why=\"%s\"/>\n",
                     s->wide ? "float=\"true\"" : "act-bits=\"8\"", s->why);
  }
  add(body, "pre", vq_strbuf_z(&lines));
  vq_strbuf_release(&lines);
}

static bool is_worst(const report *r, unsigned i) {
  for (unsigned k = 0; k < r->n_worst; k++)
    if (r->worst[k] == i) return true;
  return false;
}

static xmlNodePtr add_row(xmlNodePtr table, const vq_layer *l) {
  vq_strbuf name = {0};
  xmlNodePtr row = add(table, "tr", NULL), cell;
  report_layer_name(&name, l);
  cell = add(row, "td", vq_strbuf_z(&name));
  if (l->result.n) set(cell, "title", l->result.p);
  vq_strbuf_release(&name);
  return row;
}

static void add_layers(xmlNodePtr body, const report *r) {
  add(body, "h2", "Layers");
  add(body, "p", "SQNR in dB: alone, with exact inputs; in the model, with everything "
                 "quantized. Shares in %: inputs beyond their range, codes that no input has. "
                 "Spread: the widest channel over the median one.");
  xmlNodePtr table = ADD_TABLE(body, "layer", "weight bits", "input bits", "alone", "in model",
                               "cosine", "beyond", "dead", "spread", "input", "weights");
  for (unsigned i = 0; i < r->m.n; i++) {
    const vq_measured *l = &r->m.layer[i];
    if (l->layer.role == VQ_ROLE_RESIDUAL) continue;
    xmlNodePtr row = add_row(table, &l->layer);
    if (is_worst(r, i)) set(row, "class", "bad");
    if (vq_role_has_weights(l->layer.role))
      add_bits(row, &l->weights);
    else
      add(row, "td", "");
    add_bits(row, &l->input);
    add_decibels(row, l->sqnr_alone);
    add_decibels(row, l->sqnr);
    add_f(row, "td", "%.5f", l->cosine);
    add_codes(row, &l->input);
    add_histogram(row, &l->input);
    add_histogram(row, &l->weights);
  }
}

static void add_weights(xmlNodePtr body, const report *r) {
  add(body, "h2", "Weights");
  xmlNodePtr table =
      ADD_TABLE(body, "layer", "parameters", "bits", "bytes", "beyond", "dead", "spread");
  for (unsigned i = 0; i < r->m.n; i++) {
    const vq_measured *l = &r->m.layer[i];
    if (!vq_role_has_weights(l->layer.role)) continue;
    xmlNodePtr row = add_row(table, &l->layer);
    int bits = l->weights.bits ? l->weights.bits : VQ_BITS_FLOAT;
    add_f(row, "td", "%lld", (long long)l->params);
    add_bits(row, &l->weights);
    add_f(row, "td", "%lld", (long long)((l->params * bits + 7) / 8));
    add_codes(row, &l->weights);
  }
}

static void add_residual(xmlNodePtr body, const report *r) {
  add(body, "h2", "The residual stream");
  xmlNodePtr table = ADD_TABLE(body, "after", "bits", "SQNR in model", "cosine", "spread",
                               "values");
  for (unsigned i = 0; i < r->m.n; i++) {
    const vq_measured *l = &r->m.layer[i];
    if (l->layer.role != VQ_ROLE_RESIDUAL) continue;
    xmlNodePtr row = add(table, "tr", NULL);
    add(row, "td", l->layer.result.n ? l->layer.result.p : "-");
    add_bits(row, &l->input);
    add_decibels(row, l->sqnr);
    add_f(row, "td", "%.5f", l->cosine);
    add_f(row, "td", "%.1f", l->input.spread);
    add_histogram(row, &l->input);
  }
}

static void add_kernels(xmlNodePtr body, const vq_module *m) {
  add(body, "h2", "Kernels");
  xmlNodePtr table = ADD_TABLE(body, "kernel", "bytes of constants");
  vq_each_op(vq_module_func(m, VQ_LIT("main")), op) {
    if (op->code != VQ_OP_call) continue;
    xmlNodePtr row = add(table, "tr", NULL);
    vq_str callee = VQ_ATTRS(op, call)->callee;
    add_f(row, "td", "%.*s", VQ_FMT(callee));
    add_f(row, "td", "%lld", (long long)report_kernel_bytes(op));
  }
}

static void add_head(xmlNodePtr html, const char *title) {
  xmlNodePtr head = add(html, "head", NULL), node = add(head, "meta", NULL);
  set(node, "charset", "utf-8");
  node = add(head, "meta", NULL);
  set(node, "name", "viewport");
  set(node, "content", "width=device-width, initial-scale=1");
  add(head, "title", title);
  add(head, "style", style);
}

vq_status report_html(driver *d, const report *r, const vq_module *m, const char *path) {
  htmlDocPtr doc = htmlNewDocNoDtD(NULL, NULL);
  xmlCreateIntSubset(doc, (const xmlChar *)"html", NULL, NULL);
  xmlNodePtr html = xmlNewDocNode(doc, NULL, (const xmlChar *)"html", NULL);
  vq_strbuf title = {0};
  vq_strbuf_printf(&title, "%.*s, quantized", VQ_FMT(m->name));
  xmlDocSetRootElement(doc, html);
  set(html, "lang", "en");
  add_head(html, vq_strbuf_z(&title));
  xmlNodePtr body = add(html, "body", NULL);
  add(body, "h1", title.p);
  add_summary(body, r);
  add_worst(body, r);
  add_layers(body, r);
  add_residual(body, r);
  add_weights(body, r);
  add_kernels(body, m);
  xmlChar *text;
  int n;
  htmlDocDumpMemoryFormat(doc, &text, &n, 1);
  vq_status s = out_write(path, text, (size_t)n, &d->diag);
  xmlFree(text);
  xmlFreeDoc(doc);
  vq_strbuf_release(&title);
  return s;
}
