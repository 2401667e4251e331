// scale-rows: what it finds, what it leaves as it was, and what is gained.
#include "quant/quantizer.h"
#include "small_vit.h"

enum { ROWS = 6, CHANNELS = 4, WIDE = 6, OUT = 2, SAMPLES = 16 };

// Rows of [-9, 9], row 0 of a tenth.
static vq_status load(void *user, int64_t i, float *out, vq_diag *dg) {
  (void)user, (void)dg;
  seed = (uint64_t)i + 1;
  for (int k = 0; k < ROWS * CHANNELS; k++) {
    float u = (float)(random_bits() >> 40) * 0x1p-23f - 1;
    out[k] = u * (k < CHANNELS ? 0.9f : 9);
  }
  return VQ_OK;
}

static void run(vq_module *m, const char *passes) {
  vq_samples samples = {.n = SAMPLES, .load = load};
  vq_exec *exec = vq_exec_interpreter();
  vq_pipeline *p;
  exec->samples = &samples;
  OK(vq_pipeline_parse(ctx, vq_str_of(passes), &diag, &p));
  OK(vq_pipeline_run(p, m, &diag, NULL, exec, NULL));
  vq_pipeline_destroy(p);
  exec->ops->destroy(exec);
}

// A layer behind gelu whose codes are 0..255 with scale 0.04 and zero point 5 and whose
// result's row `read` is returned. With `copies` the last channel is computed three times,
// as split-outliers does it.
static vq_module *layer(bool copies, const char *result, int rows_out) {
  vq_strbuf t = {0};
  vq_strbuf_printf(&t,
      "vq 1\nmodule \"t\"\n"
      "const @w : tensor<2x%1$d, f32> = dense<[%3$s]>\n"
      "const @b : tensor<2, f32> = dense<[1, -2]>\n"
      "const @s : tensor<f32> = dense<[0.04]>\n"
      "const @z : tensor<f32> = dense<[5]>\n"
      "const @f : tensor<6, f32> = dense<[1, 1, 1, 0.33333334, 0.33333334, 0.33333334]>\n"
      "const @o : tensor<6, f32> = dense<[0, 0, 0, -0.013333334, 0, 0.013333334]>\n"
      "func @main(%%in: tensor<6x4, f32>) -> (y: tensor<%2$dx2, f32>) {\n"
      "  %%x0 = gelu %%in : tensor<6x4, f32>\n",
      copies ? WIDE : CHANNELS, rows_out,
      copies ? "1, -2, 0.5, 1.5, 1.5, 1.5, 2, 1, -1, -1, -1, -1"
             : "1, -2, 0.5, 1.5, 2, 1, -1, -1");
  if (copies)
    vq_strbuf_printf(&t,
        "  %%a = slice %%x0 {begin = [0, 3], size = [6, 1]} : tensor<6x1, f32>\n"
        "  %%c = concat %%x0, %%a, %%a {axis = 1} : tensor<6x6, f32>\n"
        "  %%d = mul %%c, @f : tensor<6x6, f32>\n"
        "  %%x = add %%d, @o : tensor<6x6, f32>\n");
  vq_strbuf_printf(&t,
      "  %%q = fake_quant %%x%1$s, @s, @z {lo = 0, hi = 255, role = \"act\"} :"
      " tensor<6x%2$d, f32>\n"
      "  %%l = linear %%q, @w, @b : tensor<6x2, f32>\n%3$s  return %%y\n}\n",
      copies ? "" : "0", copies ? WIDE : CHANNELS, result);
  vq_module *m = parse(vq_strbuf_z(&t));
  vq_strbuf_release(&t);
  return m;
}

#define FIRST "  %y = slice %l {begin = [0, 0], size = [1, 2]} : tensor<1x2, f32>\n"
#define ALL "  %y = copy %l : tensor<6x2, f32>\n"

static const vq_op *quantizer(vq_module *m) {
  vq_each_op(vq_quant_main(m), op)
    if (vq_quant_is(op, "act")) return op;
  ck_abort_msg("no quantizer");
}

static void eval(vq_module *m, int64_t i, float *y) {
  const vq_func *f = vq_quant_main(m);
  float x[ROWS * CHANNELS];
  OK(load(NULL, i, x, &diag));
  vq_tensor in = {f->arg[0].type, x}, out = {f->result[0], y};
  OK(vq_eval_func(f, &in, &out, &diag, NULL, NULL));
}

// Largest difference of the results for samples that were not seen, with quantizers or
// without.
static double difference(vq_module *a, vq_module *b) {
  float x[ROWS * OUT], y[ROWS * OUT];
  double most = 0;
  for (int64_t i = 100; i < 120; i++) {
    eval(a, i, x), eval(b, i, y);
    for (int64_t k = 0; k < vq_type_count(vq_quant_main(a)->result[0]); k++)
      most = fmax(most, fabs((double)x[k] - (double)y[k]));
  }
  return most;
}

static vq_module *without_quantizers(const vq_module *m) {
  vq_module *c = vq_module_clone(m);
  vq_quant_drop(vq_quant_main(c));
  return c;
}

// Row 0 of the layer with codes of all rows and of its own, against the layer in float.
static void improves(bool copies, double times) {
  vq_module *m = layer(copies, FIRST, 1), *plain = vq_module_clone(m);
  vq_module *exact = without_quantizers(m);
  run(m, "scale-rows{margin=1.1}");
  vq_module *scaled = without_quantizers(m);
  ck_assert_double_lt(difference(scaled, exact), 1e-5);
  ck_assert_double_lt(times * difference(m, exact), difference(plain, exact));
  vq_module_destroy(m), vq_module_destroy(plain);
  vq_module_destroy(exact), vq_module_destroy(scaled);
}

START_TEST(test_errors) {
  improves(false, 5);
  improves(true, 5);
}
END_TEST

// All rows keep a range that holds what their codes held before.
START_TEST(test_factors) {
  vq_module *m = layer(false, FIRST, 1);
  run(m, "scale-rows{margin=1}");
  const vq_op *fq = quantizer(m), *mul = vq_quant_def(vq_in(fq, VQ_FQ_X), VQ_OP_mul);
  ck_assert_ptr_nonnull(mul);
  double s = (double)vq_quant_at(vq_in(fq, VQ_FQ_SCALE), 0);
  double z = (double)vq_quant_at(vq_in(fq, VQ_FQ_ZERO), 0);
  ck_assert_double_le(-z * s, -5 * 0.04 + 1e-6);
  ck_assert_double_ge((255 - z) * s, 250 * 0.04 - 1e-6);
  for (int64_t i = 1; i < ROWS; i++)
    ck_assert_double_eq((double)vq_quant_at(vq_in(mul, 1), i), 1);
  // gelu(0.9) = 0.734, of which samples show a little less; its least value is -0.17.
  double f = (double)vq_quant_at(vq_in(mul, 1), 0);
  ck_assert_double_ge((255 - z) * s / f, 0.6);
  ck_assert_double_le((255 - z) * s / f, 1.2);
  ck_assert_double_le(-z * s / f, -0.16);
  vq_module_destroy(m);
}
END_TEST

// Where all rows are read and where the gain is small.
START_TEST(test_left_alone) {
  static const struct {
    const char *result, *passes;
    int rows;
  } one[] = {
      {ALL, "scale-rows", ROWS},
      {FIRST, "scale-rows{least=100}", 1},
      {FIRST, "scale-rows{margin=40}", 1},
  };
  for (unsigned i = 0; i < VQ_COUNT(one); i++) {
    vq_module *m = layer(false, one[i].result, one[i].rows);
    run(m, one[i].passes);
    ck_assert_ptr_null(vq_quant_def(vq_in(quantizer(m), VQ_FQ_X), VQ_OP_mul));
    ck_assert_double_eq((double)vq_quant_at(vq_in(quantizer(m), VQ_FQ_ZERO), 0), 5);
    vq_module_destroy(m);
  }
}
END_TEST

int main(void) {
  TCase *t = tcase_create("scale_rows");
  tcase_add_test(t, test_errors);
  tcase_add_test(t, test_factors);
  tcase_add_test(t, test_left_alone);
  return run_tests(t, "scale_rows");
}
