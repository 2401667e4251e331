// The report as a page: one file, no script, readable on a phone.
#include <libxml/HTMLtree.h>
#include <math.h>

#include "compile.h"
#include "recipe.h"
#include "report.h"
#include "temporary.h"
#include "vq/bits.h"

static const char style[] =
    ":root{color-scheme:light dark;--fg:#1b1b1b;--bg:#fff;--line:#ddd;--bad:#fde8e4;"
    "--box:#f4f4f4;--bar:#3b6ea5}"
    "@media(prefers-color-scheme:dark){:root{--fg:#e4e4e4;--bg:#17191c;--line:#3a3d42;"
    "--bad:#4a241f;--box:#24272b;--bar:#7fb0e6}}"
    "body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:76rem;padding:1rem;"
    "color:var(--fg);background:var(--bg)}"
    "h1{font-size:1.5rem;overflow-wrap:anywhere}h2{font-size:1.2rem;margin-top:2rem}"
    "p,li{max-width:46rem;overflow-wrap:anywhere}"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{padding:.25rem .6rem;text-align:right;white-space:nowrap;"
    "border-bottom:1px solid var(--line);background:var(--bg)}"
    "th{vertical-align:bottom;font-weight:600;white-space:normal}"
    "@media(max-width:40rem){body{padding:.75rem}th,td{padding:.25rem .4rem;"
    "font-size:.875rem}}"
    "th:first-child,td:first-child{text-align:left;position:sticky;left:0}"
    ".wide{overflow-x:auto}.bad td{background:var(--bad)}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--box);"
    "padding:.75rem;font-size:.875rem}"
    "figure{margin:0}img{display:block;max-width:100%;height:auto;"
    "image-rendering:pixelated}"
    "svg{display:block;margin-left:auto}path{fill:var(--bar)}"
    ".long td:first-child{position:static}";

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
  set(wide, "tabindex", "0");  // to be scrolled by keys
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

static void add_summary(xmlNodePtr body, const report *r, const vq_module *m) {
  xmlNodePtr list = add(body, "ul", NULL);
  vq_strbuf size = {0};
  add_bytes(&size, (double)r->weight_bytes);
  add_f(list, "li", "Weights of layers: %s", vq_strbuf_z(&size));
  vq_strbuf_clear(&size);
  add_bytes(&size, (double)r->run.file_bytes);
  if (r->run.file_bytes) add_f(list, "li", "The file: %s", vq_strbuf_z(&size));
  add_f(list, "li", "Multiplications on integers: %.2f %%", 100 * r->integer_share);
  if (r->run.n_step)
    add_f(list, "li", "Time of one batch, one thread, %s: %.3f ms", r->run.isa,
          1e-3 * r->run.total_us);
  vq_str recipe = vq_meta_get(m, RECIPE_META);
  if (recipe.n) add_f(list, "li", "SHA-256 of the recipe: %.*s", VQ_FMT(recipe));
  vq_strbuf_release(&size);
}

static void add_rows(xmlNodePtr table, const char *what, const vq_rows *rows) {
  if (!rows->n) return;
  xmlNodePtr row = add(table, "tr", NULL);
  double db = vq_sums_sqnr(&rows->all);
  add(row, "td", what);
  add_f(row, "td", "%lld", (long long)rows->n);
  add_f(row, "td", "%.1f %%", 100 * vq_rows_agreement(rows));
  add_f(row, "td", "%.6f", vq_rows_cosine(rows));
  add_f(row, "td", "%.6f", rows->cosine_least);
  add_decibels(row, db);
}

// The proxy of accuracy that there is without labels.
static void add_results(xmlNodePtr body, const report *r) {
  add(body, "h2", "Results");
  add(body, "p",
      "Against the float model. That stands for accuracy, it is none: vitqc eval measures "
      "accuracy. Samples are those that it was calibrated with, which flatter a little, and "
      "ones that were held back; made ones are classified more easily than others.");
  xmlNodePtr table = ADD_TABLE(body, "results of", "samples", "same class", "cosine, mean",
                               "worst", "SQNR");
  add_rows(table, "compiled", &r->run.rows);
  add_rows(table, "compiled, held back", &r->run.held);
  add_rows(table, "simulated", &r->m.result);
  if (r->run.why_not) add_f(body, "p", "The compiled model was not run: %s.", r->run.why_not);
  add(body, "p", "Simulated: floats rounded to codes, all but probabilities inside attention. "
                 "Numbers of layers below are of this simulation.");
}

// "data:image/png;base64,...": the page needs no other file.
static void set_picture(xmlNodePtr img, const vq_strbuf *png) {
  static const char digit[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  vq_strbuf uri = {0};
  vq_strbuf_puts(&uri, "data:image/png;base64,");
  for (size_t i = 0; i < png->n; i += 3) {
    uint32_t v = 0;
    for (size_t k = 0; k < 3; k++)
      v = v << 8 | (i + k < png->n ? (unsigned char)png->p[i + k] : 0u);
    for (size_t k = 0; k < 4; k++)
      vq_strbuf_putc(&uri, i + k > png->n ? '=' : digit[v >> (18 - 6 * k) & 63]);
  }
  set(img, "src", vq_strbuf_z(&uri));
  vq_strbuf_release(&uri);
}

static void add_pictures(xmlNodePtr body, const report *r) {
  if (!r->sheet.n) return;
  add(body, "h2", "Made pictures");
  xmlNodePtr figure = add(body, "figure", NULL), img = add(figure, "img", NULL);
  set(img, "alt", "calibration pictures that were made out of the model");
  set(img, "width", "600");
  set_picture(img, &r->sheet);
  add_f(figure, "figcaption",
        "%s%lld calibration pictures that were made out of the model, of which the last %lld "
        "were held back. --calib-out=DIR keeps them.",
        r->n_pictures > REPORT_PICTURES ? "The first of " : "The ", (long long)r->n_pictures,
        (long long)r->n_pictures_held);
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

static void add_rate(xmlNodePtr row, const report_run *r, uint32_t i) {
  const step_rate *t = i < r->n_step ? &r->rate[i] : NULL;
  add(row, "td", t ? r->role[i] : "-");
  if (t) {
    add_f(row, "td", "%.1f", t->us);
    add_f(row, "td", "%.1f", 100 * t->share);
  }
  if (t && t->gops > 0) {
    add_f(row, "td", "%.1f", t->gops);
    add_f(row, "td", "%.0f", 100 * t->of_peak);
    return;
  }
  for (int k = t ? 2 : 0; k < 4; k++) add(row, "td", "-");
}

// Steps are calls, in their order.
static void add_kernels(xmlNodePtr body, const report *r, const vq_module *m) {
  add(body, "h2", "Kernels");
  add(body, "p", "In the order of execution: constants that a kernel reads, multiply-adds, and, "
                 "where the model was run, the median of its time, its share of all of it, the "
                 "rate and what that is of the CPU's peak in %. Times are of this machine at "
                 "that moment, alone of all numbers here.");
  xmlNodePtr table = ADD_TABLE(body, "kernel", "bytes", "MACs", "role", "us", "%", "Gop/s",
                               "% of peak");
  set(table->parent, "class", "long");
  uint32_t i = 0;
  vq_each_op(vq_module_func(m, VQ_LIT("main")), op) {
    if (op->code != VQ_OP_call) continue;
    xmlNodePtr row = add(table, "tr", NULL), cell;
    vq_str callee = VQ_ATTRS(op, call)->callee;
    cell = add_f(row, "td", "%.*s", VQ_FMT(callee));
    if (op->out->name.n) set(cell, "title", op->out->name.p);
    add_f(row, "td", "%lld", (long long)report_kernel_bytes(op));
    add_f(row, "td", "%lld", (long long)report_kernel_macs(op));
    add_rate(row, &r->run, i++);
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
  add_summary(body, r, m);
  add_results(body, r);
  add_pictures(body, r);
  add_worst(body, r);
  add_layers(body, r);
  add_residual(body, r);
  add_weights(body, r);
  add_kernels(body, r, m);
  xmlChar *text;
  int n;
  htmlDocDumpMemoryFormat(doc, &text, &n, 1);
  vq_status s = out_write(path, text, (size_t)n, d);
  xmlFree(text);
  xmlFreeDoc(doc);
  vq_strbuf_release(&title);
  return s;
}
