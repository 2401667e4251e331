// What quantization did to each layer: measured, and as a recipe that gives the worst
// layers more bits.
#include "report.h"

#include "made.h"
#include "pictures.h"
#include "recipe.h"
#include "vq/bits.h"
#include "vq/rewrite.h"

enum { MOST_SAMPLES = 16, PICTURE_SIDE = 80 };

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
// round-weights stand refine-rows and drop-rows, which make other graphs.
void report_watch(void *user, const vq_pass *pass, const vq_module *m) {
  report *r = user;
  if (!r->run.input) r->run.input = vq_module_clone(m);
  if (strcmp(pass->name, "insert-quantizers") == 0 && !r->plain)
    r->plain = vq_module_clone(m);
  if (strcmp(pass->name, "compensate-weights") == 0 && !r->before)
    r->before = vq_module_clone(m);
  bool other = strcmp(pass->name, "refine-rows") == 0 || strcmp(pass->name, "drop-rows") == 0;
  if (other && r->before && !r->after)
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

static void add_suggestion(report *r, const vq_measured *l, vq_role of) {
  vq_strbuf why = {0};
  vq_strbuf_printf(&why, "SQNR %.1f dB", l->sqnr_alone);
  r->suggested[r->n_suggested++] =
      (suggestion){of, l->layer.block, width_of(l) >= 8,
                   vq_arena_str(&r->arena, vq_strbuf_view(&why)).p};
  vq_strbuf_release(&why);
}

void report_rule(vq_strbuf *out, const suggestion *s) {
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

// Those that were held back come last.
static vq_status keep_pictures(driver *d, report *r, const vq_exec *exec) {
  const vq_type *type = vq_module_func(r->run.input, VQ_LIT("main"))->arg[0].type;
  vq_samples all = *exec->samples;
  vq_pixel_range range[4];
  r->n_pictures_held = exec->held ? exec->held->n : 0;
  r->n_pictures = all.n += r->n_pictures_held;
  if (!picture_fits(type) || !opt_given(&d->opt, OPT_report)) return VQ_OK;
  vq_pixel_ranges_assumed(r->run.input, type->dim[1], range);
  return picture_sheet(d, &all, type, range, REPORT_PICTURES, PICTURE_SIDE, &r->sheet);
}

vq_status report_measure(driver *d, report *r, vq_exec *exec) {
  vq_measured_model of = {r->plain, r->before, r->after};
  if (!r->plain || !r->before || !r->after)
    return vq_error(&d->diag, VQ_E_option, at_path(d, "vitqc"),
                    "a report needs all passes of -O2 from insert-quantizers to drop-rows");
  if (vq_measure(&of, exec, MOST_SAMPLES, &r->arena, &d->diag, &r->m))
    return VQ_ERR;
  choose_worst(r);
  if (made_wanted(&d->opt) && keep_pictures(d, r, exec)) return VQ_ERR;
  return opt_given(&d->opt, OPT_report) ? report_run_float(d, r, exec) : VQ_OK;
}

void report_release(report *r) {
  if (r->plain) vq_module_destroy(r->plain);
  if (r->before) vq_module_destroy(r->before);
  if (r->after) vq_module_destroy(r->after);
  if (r->run.input) vq_module_destroy(r->run.input);
  vq_strbuf_release(&r->sheet);
  vq_arena_release(&r->arena);
}

// ---- what there is to say -----------------------------------------------------------

void report_layer_name(vq_strbuf *out, const vq_layer *l) {
  const char *what = l->role == VQ_ROLE_ATTN_AV ? "attention" : vq_role_name(l->role);
  if (l->block >= 0) vq_strbuf_printf(out, "block %lld ", (long long)l->block);
  vq_strbuf_puts(out, what);
}

int64_t report_kernel_bytes(const vq_op *call) {
  int64_t bytes = 0;
  for (uint32_t i = 0; i < call->n_in; i++)
    if (vq_const_of(vq_in(call, i))) bytes += vq_type_bytes(vq_in(call, i)->type);
  return bytes;
}

int64_t report_kernel_macs(const vq_op *call) {
  const vq_func *f = vq_module_func(call->func->module, VQ_ATTRS(call, call)->callee);
  int64_t macs = 0;
  vq_each_op(f, op) macs += vq_op_macs(op);
  return macs;
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
    report_rule(&text, &r->suggested[i]);
    why[i] = r->suggested[i].why;
  }
  d->opt.value[OPT_bits] = vq_strbuf_z(&text);
  vq_status s = recipe_write(d, path, &remarks);
  d->opt.value[OPT_bits] = given;
  vq_strbuf_release(&text);
  return s;
}

vq_status report_write(driver *d, report *r, const vq_module *m, const char *output,
                       const vq_pass_report *passes) {
  const options *o = &d->opt;
  sum_up(r, passes);
  if (opt_given(o, OPT_report) && report_run_compiled(d, r, output)) return VQ_ERR;
  for (unsigned i = 0; i < o->n_list[OPT_report]; i++) {
    const char *path = o->list[OPT_report][i];
    vq_status s = ends_in(path, ".html") ? report_html(d, r, m, path)
                                         : report_json(d, r, m, path);
    if (s) return VQ_ERR;
  }
  const char *recipe = opt_text(o, OPT_suggest);
  return recipe ? suggest(d, r, recipe) : VQ_OK;
}
