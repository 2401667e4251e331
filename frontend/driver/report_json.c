// The report as JSON (docs/report.md).
#include "recipe.h"
#include "report.h"
#include "vq/bits.h"

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

// Steps are calls, in their order.
static void kernels_json(json *j, const report *r, const vq_module *m) {
  uint32_t i = 0;
  json_begin_list(j, "kernels");
  vq_each_op(vq_module_func(m, VQ_LIT("main")), op) {
    if (op->code != VQ_OP_call) continue;
    json_begin(j, NULL);
    json_text(j, "kernel", vq_arena_str(vq_ctx_arena(m->ctx), VQ_ATTRS(op, call)->callee).p);
    json_text(j, "value", vq_arena_str(vq_ctx_arena(m->ctx), op->out->name).p);
    json_int(j, "bytes", report_kernel_bytes(op));
    json_int(j, "macs", report_kernel_macs(op));
    if (i < r->run.n_step) {
      const step_rate *t = &r->run.rate[i];
      json_text(j, "role", r->run.role[i]);
      json_number(j, "us", t->us);
      json_number(j, "share", t->share);
      json_number(j, "gops", t->gops);
      json_number(j, "of_peak", t->of_peak);
    }
    json_end(j);
    i++;
  }
  json_end_list(j);
}

// The keys of eval.
static void rows_json(json *j, const vq_rows *r) {
  json_int(j, "n", r->n);
  json_number(j, "agreement", vq_rows_agreement(r));
  json_number(j, "cosine_mean", vq_rows_cosine(r));
  json_number(j, "cosine_min", r->cosine_least);
  json_number(j, "max_abs_diff", r->difference);
}

static void run_json(json *j, const report_run *r) {
  json_begin(j, "compiled");
  json_int(j, "file_bytes", r->file_bytes);
  if (r->why_not) {
    json_text(j, "not_run", r->why_not);
  } else {
    json_text(j, "isa", r->isa);
    json_number(j, "us", r->total_us);
    rows_json(j, &r->rows);
    if (r->held.n) {
      json_begin(j, "held_back");
      rows_json(j, &r->held);
      json_end(j);
    }
  }
  json_end(j);
}

vq_status report_json(driver *d, const report *r, const vq_module *m, const char *path) {
  json j = {0};
  json_begin(&j, NULL);
  run_json(&j, &r->run);
  vq_str recipe = vq_meta_get(m, RECIPE_META);
  if (recipe.n) json_text(&j, "recipe_sha256", vq_arena_str(&d->arena, recipe).p);
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
  if (r->n_pictures) {
    json_int(&j, "pictures", r->n_pictures);
    json_int(&j, "pictures_held_back", r->n_pictures_held);
  }
  json_begin_list(&j, "layers");
  for (unsigned i = 0; i < r->m.n; i++) layer_json(&j, &r->m.layer[i]);
  json_end_list(&j);
  json_begin_list(&j, "suggestions");
  for (unsigned i = 0; i < r->n_suggested; i++) {
    vq_strbuf rule = {0};
    report_rule(&rule, &r->suggested[i]);
    json_begin(&j, NULL);
    json_text(&j, "rule", rule.p);
    json_text(&j, "why", r->suggested[i].why);
    json_end(&j);
    vq_strbuf_release(&rule);
  }
  json_end_list(&j);
  kernels_json(&j, r, m);
  json_end(&j);
  return json_write(&j, path, d);
}
