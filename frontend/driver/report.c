// What quantization did to each layer: measured, as JSON, and as a recipe that gives the
// worst layers more bits.
#include "report.h"

#include <math.h>
#include <stdlib.h>

#include "json.h"
#include "recipe.h"
#include "vq/bits.h"
#include "vq/rewrite.h"

enum { MOST_SAMPLES = 16 };

bool report_wanted(const options *o) {
  return opt_given(o, OPT_report) || opt_given(o, OPT_suggest);
}

static bool ends_in(const char *s, const char *suffix) {
  size_t n = strlen(s), m = strlen(suffix);
  return n > m && strcmp(s + n - m, suffix) == 0;
}

const char *report_unknown(const options *o) {
  for (unsigned i = 0; i < o->n_list[OPT_report]; i++) {
    const char *path = o->list[OPT_report][i];
    if (!ends_in(path, ".html") && !ends_in(path, ".json")) return path;
  }
  return NULL;
}

// ---- measuring ----------------------------------------------------------------------

// Activations have scales and weights are floats in front of compensate-weights; behind
// round-weights stands drop-rows, which makes another graph.
void report_watch(void *user, const vq_pass *pass, const vq_module *m) {
  report *r = user;
  if (strcmp(pass->name, "insert-quantizers") == 0 && !r->plain)
    r->plain = vq_module_clone(m);
  if (strcmp(pass->name, "compensate-weights") == 0 && !r->before)
    r->before = vq_module_clone(m);
  if (strcmp(pass->name, "drop-rows") == 0 && r->before && !r->after)
    r->after = vq_module_clone(m);
}

static int width_of(const vq_measured *l) {
  int w = l->weights.bits ? l->weights.bits : VQ_BITS_FLOAT;
  int a = l->input.bits ? l->input.bits : VQ_BITS_FLOAT;
  return w < a ? w : a;
}

// Worse first; layers that are as bad as each other in the order of the program.
static void sort(const report *r, unsigned *at, unsigned n) {
  for (unsigned i = 1; i < n; i++)
    for (unsigned k = i; k && r->m.layer[at[k]].sqnr_alone < r->m.layer[at[k - 1]].sqnr_alone;
         k--) {
      unsigned swap = at[k];
      at[k] = at[k - 1];
      at[k - 1] = swap;
    }
}

static void add_suggestion(report *r, const vq_measured *l, vq_role role) {
  vq_strbuf why = {0};
  vq_strbuf_printf(&why, "SQNR %.1f dB", l->sqnr_alone);
  r->suggested[r->n_suggested++] =
      (suggestion){role, l->layer.block, width_of(l) >= 8,
                   vq_arena_str(&r->arena, vq_strbuf_view(&why)).p};
  vq_strbuf_release(&why);
}

// As --bits says it.
static void add_rule(vq_strbuf *out, const suggestion *s) {
  vq_strbuf_puts(out, vq_role_name(s->role));
  if (s->block >= 0) vq_strbuf_printf(out, "+block:%lld", (long long)s->block);
  vq_strbuf_printf(out, "=%s", s->wide ? "float" : vq_role_has_weights(s->role) ? "w8a8" : "a8");
}

// A quarter of the layers that are not floats: what has less than 8 bits gets them, what
// has 8 becomes floats.
static void choose_worst(report *r) {
  unsigned n = 0, *at = VQ_NEW_N(&r->arena, unsigned, r->m.n + 1);
  for (unsigned i = 0; i < r->m.n; i++) {
    const vq_measured *l = &r->m.layer[i];
    if (l->layer.role != VQ_ROLE_RESIDUAL && width_of(l) != VQ_BITS_FLOAT) at[n++] = i;
  }
  sort(r, at, n);
  r->worst = at;
  r->n_worst = (n + 3) / 4;
  r->suggested = VQ_NEW_N(&r->arena, suggestion, 2 * r->n_worst);
  for (unsigned i = 0; i < r->n_worst; i++) {
    const vq_measured *l = &r->m.layer[at[i]];
    if (l->layer.role == VQ_ROLE_ATTN_AV) add_suggestion(r, l, VQ_ROLE_ATTN_QK);
    add_suggestion(r, l, l->layer.role);
  }
}

vq_status report_measure(driver *d, report *r, vq_exec *exec) {
  vq_measured_model of = {r->plain, r->before, r->after};
  if (!r->plain || !r->before || !r->after)
    return vq_error(&d->diag, VQ_E_option, at_path(d, "vitqc"),
                    "a report needs all passes of -O2 from insert-quantizers to drop-rows");
  if (vq_measure(&of, exec, MOST_SAMPLES, &r->arena, &d->diag, &r->m))
    return VQ_ERR;
  choose_worst(r);
  return VQ_OK;
}

void report_release(report *r) {
  if (r->plain) vq_module_destroy(r->plain);
  if (r->before) vq_module_destroy(r->before);
  if (r->after) vq_module_destroy(r->after);
  vq_arena_release(&r->arena);
}

// ---- what there is to say -----------------------------------------------------------

void report_layer_name(vq_strbuf *out, const vq_layer *l) {
  const char *role = l->role == VQ_ROLE_ATTN_AV ? "attention" : vq_role_name(l->role);
  if (l->block >= 0) vq_strbuf_printf(out, "block %lld ", (long long)l->block);
  vq_strbuf_puts(out, role);
}

int64_t report_kernel_bytes(const vq_op *call) {
  int64_t bytes = 0;
  for (uint32_t i = 0; i < call->n_in; i++)
    if (vq_const_of(vq_in(call, i))) bytes += vq_type_bytes(vq_in(call, i)->type);
  return bytes;
}

static void sum_up(report *r, const vq_pass_report *passes) {
  double macs[2] = {0, 0};
  for (unsigned i = 0; i < passes->n_stat; i++) {
    const vq_stat_entry *e = &passes->stat[i];
    if (strcmp(e->pass, "lower-int") != 0) continue;
    if (strcmp(e->name, VQ_STAT_INT_MACS) == 0) macs[1] += (double)e->n;
    if (strcmp(e->name, VQ_STAT_FLOAT_MACS) == 0) macs[0] += (double)e->n;
  }
  r->integer_share = macs[0] + macs[1] > 0 ? macs[1] / (macs[0] + macs[1]) : 0;
  for (unsigned i = 0; i < r->m.n; i++) {
    int bits = r->m.layer[i].weights.bits;
    r->weight_bytes += (r->m.layer[i].params * (bits ? bits : VQ_BITS_FLOAT) + 7) / 8;
  }
}

// ---- JSON ---------------------------------------------------------------------------

static void codes_json(json *j, const char *key, const vq_measured_codes *c) {
  json_begin(j, key);
  json_int(j, "bits", c->bits ? c->bits : VQ_BITS_FLOAT);
  json_number(j, "least", c->least);
  json_number(j, "most", c->most);
  json_number(j, "saturated", c->saturated);
  json_number(j, "dead", c->dead);
  json_number(j, "spread", c->spread);
  json_counts(j, "histogram", c->cell, VQ_MEASURE_CELLS);
  json_end(j);
}

static void layer_json(json *j, const vq_measured *l) {
  json_begin(j, NULL);
  json_text(j, "role", vq_role_name(l->layer.role));
  if (l->layer.block >= 0) json_int(j, "block", l->layer.block);
  if (l->layer.stage >= 0) json_int(j, "stage", l->layer.stage);
  json_text(j, "result", l->layer.result.p);
  if (l->layer.role != VQ_ROLE_RESIDUAL) json_number(j, "sqnr_alone_db", l->sqnr_alone);
  json_number(j, "sqnr_db", l->sqnr);
  json_number(j, "cosine", l->cosine);
  json_int(j, "macs", l->macs);
  if (vq_role_has_weights(l->layer.role)) {
    json_int(j, "params", l->params);
    codes_json(j, "weights", &l->weights);
  }
  codes_json(j, "input", &l->input);
  json_end(j);
}

static void kernels_json(json *j, const vq_module *m) {
  json_begin_list(j, "kernels");
  vq_each_op(vq_module_func(m, VQ_LIT("main")), op) {
    if (op->code != VQ_OP_call) continue;
    json_begin(j, NULL);
    json_text(j, "kernel", vq_arena_str(vq_ctx_arena(m->ctx), VQ_ATTRS(op, call)->callee).p);
    json_int(j, "bytes", report_kernel_bytes(op));
    json_end(j);
  }
  json_end_list(j);
}

static vq_status report_json(driver *d, const report *r, const vq_module *m, const char *path) {
  json j = {0};
  json_begin(&j, NULL);
  json_int(&j, "samples", r->m.n_sample);
  json_number(&j, "sqnr_db", vq_sums_sqnr(&r->m.result.all));
  json_number(&j, "cosine", vq_rows_cosine(&r->m.result));
  json_number(&j, "agreement", vq_rows_agreement(&r->m.result));
  json_number(&j, "integer_share", r->integer_share);
  json_int(&j, "weight_bytes", r->weight_bytes);
  if (r->score.n) {
    json_begin(&j, "held_back");
    json_int(&j, "samples", r->score.n);
    json_number(&j, "agreement", (double)r->score.agree / (double)r->score.n);
    json_number(&j, "cosine", r->score.cosine);
    json_end(&j);
  }
  json_begin_list(&j, "layers");
  for (unsigned i = 0; i < r->m.n; i++) layer_json(&j, &r->m.layer[i]);
  json_end_list(&j);
  json_begin_list(&j, "suggestions");
  for (unsigned i = 0; i < r->n_suggested; i++) {
    vq_strbuf rule = {0};
    add_rule(&rule, &r->suggested[i]);
    json_begin(&j, NULL);
    json_text(&j, "rule", rule.p);
    json_text(&j, "why", r->suggested[i].why);
    json_end(&j);
    vq_strbuf_release(&rule);
  }
  json_end_list(&j);
  kernels_json(&j, m);
  json_end(&j);
  return json_write(&j, path, &d->diag);
}

// ---- a recipe -----------------------------------------------------------------------

static vq_status suggest(driver *d, const report *r, const char *path) {
  const char *bits = opt_text(&d->opt, OPT_bits), *given = d->opt.value[OPT_bits];
  const char **why = VQ_NEW_N(&d->arena, const char *, r->n_suggested);
  recipe_remarks remarks = {.n = r->n_suggested, .why = why};
  vq_strbuf text = {0};
  for (const char *c = bits; *c; c++) remarks.first += *c == ',';
  vq_strbuf_puts(&text, bits);
  for (unsigned i = 0; i < r->n_suggested; i++) {
    vq_strbuf_putc(&text, ',');
    add_rule(&text, &r->suggested[i]);
    why[i] = r->suggested[i].why;
  }
  d->opt.value[OPT_bits] = vq_strbuf_z(&text);
  vq_status s = recipe_write(d, path, &remarks);
  d->opt.value[OPT_bits] = given;
  vq_strbuf_release(&text);
  return s;
}

vq_status report_write(driver *d, report *r, const vq_module *m,
                       const vq_pass_report *passes) {
  const options *o = &d->opt;
  sum_up(r, passes);
  for (unsigned i = 0; i < o->n_list[OPT_report]; i++) {
    const char *path = o->list[OPT_report][i];
    vq_status s = ends_in(path, ".html") ? report_html(d, r, m, path)
                                         : report_json(d, r, m, path);
    if (s) return VQ_ERR;
  }
  const char *recipe = opt_text(o, OPT_suggest);
  return recipe ? suggest(d, r, recipe) : VQ_OK;
}
