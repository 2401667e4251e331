// refine-rows: what it gains, and that it computes the same function. What it makes, and what
// it leaves as it was: tests/passes/quantize/refine-rows.vq.
#include "quant/quantizer.h"
#include "small_vit.h"

enum { SIZE = 3 * 16 * 16, OUT = 5, SAMPLES = 16 };

static vq_status load(void *user, int64_t i, float *out, vq_diag *dg) {
  (void)user, (void)dg;
  seed = (uint64_t)i + 1;
  for (int k = 0; k < SIZE; k++) out[k] = (float)(random_bits() >> 40) * 0x1p-23f - 1;
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

static vq_module *quantized(const char *bits) {
  char passes[100];
  vq_module *m = small_vit(1);
  snprintf(passes, sizeof passes, "insert-quantizers{bits=%s},observe,"
           "split-outliers,reparam-layernorm", bits);
  run(m, passes);
  return m;
}

static void eval(vq_module *m, int64_t i, float *y) {
  const vq_func *f = vq_quant_main(m);
  float x[SIZE];
  OK(load(NULL, i, x, &diag));
  vq_tensor in = {f->arg[0].type, x}, out = {f->result[0], y};
  OK(vq_eval_func(f, &in, &out, &diag, NULL, NULL));
}

// Mean square of the differences of results for samples that were not seen.
static double difference(vq_module *a, vq_module *b) {
  float x[OUT], y[OUT];
  double sum = 0;
  for (int64_t i = 100; i < 120; i++) {
    eval(a, i, x), eval(b, i, y);
    for (int k = 0; k < OUT; k++) sum += pow((double)x[k] - (double)y[k], 2) / (20 * OUT);
  }
  return sum;
}

static unsigned n_fine(vq_module *m) {
  unsigned n = 0;
  vq_each_op(vq_quant_main(m), op)
    if (op->code == VQ_OP_fake_quant) n += VQ_ATTRS(op, fake_quant)->fine > 0;
  return n;
}

// Against float activations with the same codes of weights. Noise of keys and values is what
// is left.
START_TEST(test_errors) {
  static const char *const bits[] = {"w8a8", "w8a6", "w8a4"};
  for (unsigned i = 0; i < VQ_COUNT(bits); i++) {
    vq_module *exact = quantized("w8afloat"), *plain = quantized(bits[i]);
    vq_module *fine = quantized(bits[i]);
    run(fine, "refine-rows");
    ck_assert_uint_eq(n_fine(fine), 4);  // o, norm, act, linear
    double before = difference(plain, exact), after = difference(fine, exact);
    ck_assert_msg(after * 3 < before, "%s: %g, was %g", bits[i], after, before);
    vq_module_destroy(exact), vq_module_destroy(plain), vq_module_destroy(fine);
  }
}
END_TEST

// Without quantizers nothing has changed but what is rounded.
START_TEST(test_function) {
  vq_module *exact = small_vit(1), *m = quantized("w8a8");
  run(m, "refine-rows");
  vq_quant_drop(vq_quant_main(m));
  ck_assert_double_lt(difference(m, exact), 1e-11);
  vq_module_destroy(m), vq_module_destroy(exact);
}
END_TEST

int main(void) {
  TCase *t = tcase_create("refine_rows");
  tcase_add_test(t, test_errors);
  tcase_add_test(t, test_function);
  return run_tests(t, "refine_rows");
}
