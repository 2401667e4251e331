// What vq_measure says about layers, against the definition.
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "vq/measure.h"
#include "vq/pass.h"
#include "vq/rewrite.h"
#include "vq/strbuf.h"
#include "vq/text.h"

enum { TOKENS = 3, WIDTH = 8, HIDDEN = 12, SAMPLES = 5 };

static const char text[] =
    "vq 1\nmodule \"t\"\n"
    "const @w1 : tensor<12x8, f32> = random<seed = 1, std = 0.4>\n"
    "const @w2 : tensor<8x12, f32> = random<seed = 2, std = 0.3>\n"
    "const @head : tensor<4x8, f32> = random<seed = 3, std = 1>\n"
    "func @main(%x: tensor<2x3x8, f32>) -> (y: tensor<2x3x4, f32>) {\n"
    "  %h = linear %x, @w1 : tensor<2x3x12, f32>\n"
    "  %g = gelu %h : tensor<2x3x12, f32>\n"
    "  %f = linear %g, @w2 : tensor<2x3x8, f32>\n"
    "  %r = add %x, %f : tensor<2x3x8, f32>\n"
    "  %n = layer_norm %r : tensor<2x3x8, f32>\n"
    "  %y = linear %n, @head : tensor<2x3x4, f32>\n"
    "  return %y\n}\n";

typedef struct world {
  vq_ctx *ctx;
  vq_diag diag;
  vq_strbuf messages;
  vq_arena arena;
  vq_exec *exec;
  vq_samples samples;
  vq_module *plain, *before, *after;
  vq_measures got;
} world;

static vq_status load(void *user, int64_t i, float *out, vq_diag *diag) {
  (void)user, (void)diag;
  for (int k = 0; k < TOKENS * WIDTH; k++)
    out[k] = (float)sin(0.37 * k * (double)(i + 1) + (double)i);
  return VQ_OK;
}

static vq_module *with_passes(world *w, const vq_module *from, const char *passes) {
  vq_module *m = NULL;
  vq_pipeline *p;
  if (from)
    m = vq_module_clone(from);
  else
    ck_assert_int_eq(vq_parse(w->ctx, vq_str_of(text), "t.vq", &w->diag, &m), VQ_OK);
  ck_assert_int_eq(vq_pipeline_parse(w->ctx, vq_str_of(passes), &w->diag, &p), VQ_OK);
  vq_status s = vq_pipeline_run(p, m, &w->diag, NULL, w->exec, NULL);
  ck_assert_msg(s == VQ_OK, "%s", vq_strbuf_z(&w->messages));
  vq_pipeline_destroy(p);
  return m;
}

// A batch of two does not divide five samples.
static void begin(world *w, const char *bits) {
  *w = (world){.ctx = vq_ctx_create(), .samples = {.n = SAMPLES, .load = load}};
  vq_diag_init(&w->diag, w->ctx, vq_sink_strbuf, &w->messages);
  w->exec = vq_exec_interpreter();
  w->exec->samples = &w->samples;
  vq_strbuf passes = {0};
  vq_strbuf_printf(&passes, "insert-quantizers{bits='%s'},observe{observer=minmax}", bits);
  w->plain = with_passes(w, NULL, "");
  w->before = with_passes(w, w->plain, passes.p);
  w->after = with_passes(w, w->before, "round-weights");
  vq_measured_model of = {w->plain, w->before, w->after};
  vq_status s = vq_measure(&of, w->exec, SAMPLES, &w->arena, &w->diag, &w->got);
  ck_assert_msg(s == VQ_OK, "%s", vq_strbuf_z(&w->messages));
  vq_strbuf_release(&passes);
}

static void end(world *w) {
  vq_module_destroy(w->plain);
  vq_module_destroy(w->before);
  vq_module_destroy(w->after);
  w->exec->ops->destroy(w->exec);
  vq_arena_release(&w->arena);
  vq_ctx_destroy(w->ctx);
  vq_strbuf_release(&w->messages);
}

static const vq_measured *layer(const world *w, vq_role role) {
  for (unsigned i = 0; i < w->got.n; i++)
    if (w->got.layer[i].layer.role == role) return &w->got.layer[i];
  ck_abort();
}

static double coded(double x, const vq_op *fq, int64_t c) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  vq_value *s = vq_in(fq, 1), *z = vq_in(fq, 2);
  double scale = vq_const_f64(vq_const_of(s), vq_type_count(s->type) > 1 ? c : 0);
  double zero = vq_const_f64(vq_const_of(z), vq_type_count(z->type) > 1 ? c : 0);
  double code = nearbyint(x / scale) + zero;
  return scale * (fmin(fmax(code, (double)a->lo), (double)a->hi) - zero);
}

// SQNR of the first layer, which reads the input, element by element.
static double first_layer(const world *w) {
  vq_op *op = vq_module_func(w->after, VQ_LIT("main"))->first;
  while (op->code != VQ_OP_linear) op = op->next;
  const vq_op *x = vq_in(op, 0)->def, *q = vq_in(op, 1)->def;
  vq_const *k = vq_const_of(vq_in(q, 0));
  double signal = 0, noise = 0;
  for (int i = 0; i < SAMPLES; i++) {
    float in[TOKENS * WIDTH];
    load(NULL, i, in, NULL);
    for (int t = 0; t < TOKENS; t++)
      for (int o = 0; o < HIDDEN; o++) {
        double y = 0, z = 0;
        for (int c = 0; c < WIDTH; c++) {
          double v = (double)in[t * WIDTH + c], m = vq_const_f64(k, o * WIDTH + c);
          y += v * m, z += coded(v, x, c) * coded(m, q, o);
        }
        signal += y * y, noise += (y - z) * (y - z);
      }
  }
  return 10 * log10(signal / noise);
}

START_TEST(test_first_layer) {
  world w;
  begin(&w, "w4a5");
  const vq_measured *l = layer(&w, VQ_ROLE_FC1);
  ck_assert_double_eq_tol(l->sqnr_alone, first_layer(&w), 1e-3);
  ck_assert_double_eq_tol(l->sqnr, l->sqnr_alone, 1e-3);  // nothing is in front of it
  ck_assert_int_eq(l->params, 96);
  ck_assert_int_eq(l->macs, TOKENS * 96);
  ck_assert_int_eq(l->weights.bits, 4);
  ck_assert_int_eq(l->input.bits, 5);
  ck_assert(vq_str_is(l->layer.result, "h") && vq_str_is(l->layer.weights, "w1"));
  int64_t n = 0, weights = 0;
  for (int i = 0; i < VQ_MEASURE_CELLS; i++)
    n += l->input.cell[i], weights += l->weights.cell[i];
  ck_assert_int_eq(n, SAMPLES * TOKENS * WIDTH);
  ck_assert_int_eq(weights, 96);
  ck_assert_double_eq(l->input.saturated, 0);  // minmax
  ck_assert(l->input.dead >= 0 && l->input.dead < 0.5);
  ck_assert_double_eq_tol(l->input.most, 1, 0.01);
  ck_assert_int_eq(w.got.n_sample, SAMPLES);
  ck_assert_uint_eq(w.got.n, 4);
  end(&w);
}
END_TEST

// Six decibels a bit; errors in front of a layer add to its own.
START_TEST(test_widths) {
  world four, eight;
  begin(&four, "w4a4");
  begin(&eight, "w8a8");
  static const vq_role role[] = {VQ_ROLE_FC1, VQ_ROLE_FC2, VQ_ROLE_HEAD};
  for (unsigned i = 0; i < 3; i++) {
    const vq_measured *a = layer(&four, role[i]), *b = layer(&eight, role[i]);
    if (role[i] == VQ_ROLE_HEAD) {  // at least 8 bits
      ck_assert_double_lt(fabs(b->sqnr_alone - a->sqnr_alone), 1e-9);
      ck_assert_double_lt(a->sqnr, a->sqnr_alone - 3);
    } else {
      ck_assert_double_gt(b->sqnr_alone - a->sqnr_alone, 18);
      ck_assert_double_lt(b->sqnr_alone - a->sqnr_alone, 30);
    }
  }
  ck_assert_double_gt(layer(&four, VQ_ROLE_RESIDUAL)->cosine, 0.98);
  ck_assert_double_lt(layer(&four, VQ_ROLE_RESIDUAL)->sqnr, four.got.layer[0].sqnr + 10);
  ck_assert_double_gt(vq_sums_sqnr(&eight.got.result.all), vq_sums_sqnr(&four.got.result.all) + 12);
  ck_assert_double_gt(vq_rows_cosine(&eight.got.result), 0.999);
  end(&four);
  end(&eight);
}
END_TEST

START_TEST(test_floats) {
  world w;
  begin(&w, "w8a8,fc2=float,head=float,fc1=float,residual=float");
  ck_assert_uint_eq(w.got.n, 3);
  for (unsigned i = 0; i < w.got.n; i++) {
    ck_assert(isinf(w.got.layer[i].sqnr_alone) && isinf(w.got.layer[i].sqnr));
    ck_assert_int_eq(w.got.layer[i].weights.bits, 0);
    ck_assert_int_eq(w.got.layer[i].input.bits, 0);
    ck_assert_int_gt(w.got.layer[i].input.cell[VQ_MEASURE_CELLS / 2], 0);
  }
  ck_assert_double_eq(vq_rows_agreement(&w.got.result), 1);
  ck_assert(isinf(vq_sums_sqnr(&w.got.result.all)));
  end(&w);
}
END_TEST

// ---- sums ----------------------------------------------------------------------------

START_TEST(test_sums) {
  static const float a[] = {1, 2, -2, 0}, b[] = {1, 2, -1, 2}, none[4] = {0};
  vq_sums s = {0}, zeros = {0}, half = {0};
  vq_sums_add(&s, a, b, 4);
  ck_assert_double_eq_tol(vq_sums_sqnr(&s), 10 * log10(9. / 5), 1e-12);
  ck_assert_double_eq_tol(vq_sums_cosine(&s), 7 / sqrt(90), 1e-12);
  vq_sums_add(&zeros, none, none, 4);
  ck_assert(isinf(vq_sums_sqnr(&zeros)) && vq_sums_cosine(&zeros) == 1);
  vq_sums_add(&half, none, a, 4);
  ck_assert(vq_sums_sqnr(&half) == -INFINITY && vq_sums_cosine(&half) == 0);
}
END_TEST

// A result that is no number is the worst there is, whatever comes behind it.
START_TEST(test_rows) {
  static const float a[] = {0, 3, 4}, b[] = {0, 4, 3}, bad[] = {NAN, 3, 4};
  vq_rows r = {0};
  ck_assert(vq_rows_agreement(&r) == 1 && vq_rows_cosine(&r) == 1);
  vq_rows_add(&r, a, a, 3);
  vq_rows_add(&r, a, b, 3);
  ck_assert_int_eq(r.n, 2);
  ck_assert_double_eq(vq_rows_agreement(&r), 0.5);
  ck_assert_double_eq_tol(vq_rows_cosine(&r), (1 + 24. / 25) / 2, 1e-12);
  ck_assert_double_eq_tol(r.cosine_least, 24. / 25, 1e-12);
  ck_assert_double_eq(r.difference, 1);
  ck_assert_double_eq(r.all.noise, 2);
  vq_rows_add(&r, a, bad, 3);
  vq_rows_add(&r, a, a, 3);
  ck_assert(isnan(r.cosine_least) && isnan(r.difference));
  ck_assert_int_eq(r.agree, 3);  // 4 is the largest number
  ck_assert_int_eq(vq_largest(bad, 3), 2);
}
END_TEST

START_TEST(test_refused) {
  world w;
  begin(&w, "w8a8");
  vq_measures got;
  vq_module *other = with_passes(&w, NULL, "insert-quantizers{bits='w8a8,fc1=float'}");
  vq_measured_model of = {w.plain, w.before, other};
  ck_assert_int_eq(vq_measure(&of, w.exec, 1, &w.arena, &w.diag, &got), VQ_ERR);
  ck_assert(strstr(vq_strbuf_z(&w.messages), "differs in more than constants"));
  vq_module *less = vq_module_clone(w.plain);
  vq_value *v = vq_func_value(vq_module_func(less, VQ_LIT("main")), VQ_LIT("y"));
  vq_builder b = {v->def->func, v->def, {0}, &w.diag};
  vq_replace_op(v->def, vq_build1(&b, VQ_OP_slice, &(vq_value *){vq_in(v->def, 0)}, 1,
                                  &(vq_attrs_slice){.begin = VQ_INTS(0, 0, 0),
                                                    .size = VQ_INTS(2, 3, 4)},
                                  VQ_LIT("")));
  of = (vq_measured_model){less, w.before, w.after};
  ck_assert_int_eq(vq_measure(&of, w.exec, 1, &w.arena, &w.diag, &got), VQ_ERR);
  ck_assert(strstr(vq_strbuf_z(&w.messages), "changed the layers"));
  vq_module_destroy(less);
  w.exec->samples = NULL;
  of = (vq_measured_model){w.plain, w.before, w.after};
  ck_assert_int_eq(vq_measure(&of, w.exec, 1, &w.arena, &w.diag, &got), VQ_ERR);
  ck_assert(strstr(vq_strbuf_z(&w.messages), "a report needs calibration samples"));
  vq_module_destroy(other);
  end(&w);
}
END_TEST

int main(void) {
  Suite *s = suite_create("measure");
  TCase *c = tcase_create("measure");
  tcase_add_test(c, test_first_layer);
  tcase_add_test(c, test_widths);
  tcase_add_test(c, test_floats);
  tcase_add_test(c, test_sums);
  tcase_add_test(c, test_rows);
  tcase_add_test(c, test_refused);
  suite_add_tcase(s, c);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_ENV);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
