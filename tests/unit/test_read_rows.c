// Rows that results are read from (passes/quant/read_rows.h).
#include "quant/read_rows.h"

#include "quant/quantizer.h"
#include "small_vit.h"

// %x: 6 tokens of 4 channels. The rows that `tail`, which computes %y, reads of them as
// a text, "*.*..." say, or "" if there are none to be told from the others.
static void reads(const char *tail, const char *want) {
  static const char head[] =
      "vq 1\nmodule \"t\"\n"
      "const @w : tensor<4x4, f32> = random<seed = 1, std = 1>\n"
      "const @rows : tensor<3, i32> = dense<[0, 7, 6]>\n"
      "func @main(%in: tensor<2x6x4, f32>) -> (y: tensor<2x4, f32>) {\n"
      "  %q = linear %in, @w : tensor<2x6x4, f32>\n"
      "  %x = attention %q, %q, %q {heads = 2, scale = 1} : tensor<2x6x4, f32>\n";
  vq_strbuf text = {0};
  vq_arena arena = {0};
  vq_read_rows rows;
  char got[16] = "";
  vq_strbuf_printf(&text, "%s%s  return %%y\n}\n", head, tail);
  vq_module *m = parse(vq_strbuf_z(&text));
  if (vq_read_rows_find(vq_quant_main(m), &arena, &rows)) {
    int64_t n = 0;
    ck_assert_int_eq(rows.n, 6);
    for (int64_t i = 0; i < rows.n; i++) {
      got[i] = rows.read[i] ? '*' : '.';
      n += rows.read[i];
    }
    ck_assert_int_eq(rows.n_read, n);
  }
  ck_assert_str_eq(got, want);
  vq_arena_release(&arena);
  vq_module_destroy(m);
  vq_strbuf_release(&text);
}

#define TOKEN(NAME, I)                                                   \
  "  %" NAME " = slice %x {begin = [0, " #I ", 0], size = [2, 1, 4]} : " \
  "tensor<2x1x4, f32>\n"

START_TEST(test_class_token) {
  reads(TOKEN("c", 0)
        "  %r = reshape %c {shape = [2, 4]} : tensor<2x4, f32>\n"
        "  %n = layer_norm %r : tensor<2x4, f32>\n"
        "  %y = linear %n, @w : tensor<2x4, f32>\n",
        "*.....");
}
END_TEST

// The mean of two heads that read a token each.
START_TEST(test_distilled) {
  reads(TOKEN("c", 0) TOKEN("d", 1)
        "  %a = linear %c, @w : tensor<2x1x4, f32>\n"
        "  %b = linear %d, @w : tensor<2x1x4, f32>\n"
        "  %s = add %a, %b : tensor<2x1x4, f32>\n"
        "  %y = reshape %s {shape = [2, 4]} : tensor<2x4, f32>\n",
        "**....");
}
END_TEST

// Rows of both samples count alike.
START_TEST(test_table) {
  reads("  %t = gather_rows %x, @rows : tensor<3x4, f32>\n"
        "  %y = slice %t {begin = [0, 0], size = [2, 4]} : tensor<2x4, f32>\n",
        "");  // what rows of three are is not asked
  reads("  %t = gather_rows %x, @rows : tensor<3x4, f32>\n"
        "  %n = layer_norm %t : tensor<3x4, f32>\n"
        "  %u = reshape %n {shape = [12]} : tensor<12, f32>\n"
        "  %v = slice %u {begin = [0], size = [8]} : tensor<8, f32>\n"
        "  %y = reshape %v {shape = [2, 4]} : tensor<2x4, f32>\n",
        "**....");
}
END_TEST

START_TEST(test_all_rows) {
  reads("  %y = reduce_mean %x {axes = [1], keep = false} : tensor<2x4, f32>\n", "");
  reads(TOKEN("c", 0)  // a token and the mean
        "  %a = reshape %c {shape = [2, 4]} : tensor<2x4, f32>\n"
        "  %b = reduce_mean %x {axes = [1], keep = false} : tensor<2x4, f32>\n"
        "  %y = add %a, %b : tensor<2x4, f32>\n",
        "");
  reads("  %c = slice %x {begin = [0, 0, 0], size = [2, 4, 4]} : tensor<2x4x4, f32>\n"
        "  %a = reshape %c {shape = [2, 16]} : tensor<2x16, f32>\n"
        "  %y = slice %a {begin = [0, 0], size = [2, 4]} : tensor<2x4, f32>\n",
        "");  // more than half
}
END_TEST

// Every other row.
START_TEST(test_steps) {
  reads("  %c = slice %x {begin = [0, 5, 0], size = [2, 3, 4], step = [1, -2, 1]} : "
        "tensor<2x3x4, f32>\n"
        "  %a = reshape %c {shape = [2, 12]} : tensor<2x12, f32>\n"
        "  %y = slice %a {begin = [0, 0], size = [2, 4]} : tensor<2x4, f32>\n",
        ".*.*.*");
}
END_TEST

// ---- what compensate-weights makes of them -------------------------------------------

enum { PIXELS = 3 * 16 * 16, LOGITS = 5, HELD_OUT = 64 };

static vq_status load(void *user, int64_t i, float *out, vq_diag *dg) {
  (void)user, (void)dg;
  uint32_t state = (uint32_t)i * 2654435761u + 1;
  for (int k = 0; k < PIXELS; k++) {
    state = state * 1664525u + 1013904223u;
    out[k] = (float)(state >> 16) / 32768 - 1;
  }
  return VQ_OK;
}

static void logits(vq_module *m, int64_t i, float *y) {
  const vq_func *f = vq_quant_main(m);
  float x[PIXELS];
  OK(load(NULL, i, x, &diag));
  vq_tensor in = {f->arg[0].type, x}, out = {f->result[0], y};
  OK(vq_eval_func(f, &in, &out, &diag, NULL, NULL));
}

static void quantize(vq_module *m, const char *compensate) {
  vq_samples samples = {.n = 32, .load = load};
  vq_exec *exec = vq_exec_interpreter();
  vq_strbuf text = {0};
  vq_pipeline *p;
  exec->samples = &samples;
  vq_strbuf_printf(&text, "insert-quantizers{bits=w3a8},observe,split-outliers,"
                          "reparam-layernorm,%s,round-weights", compensate);
  OK(vq_pipeline_parse(ctx, vq_strbuf_view(&text), &diag, &p));
  OK(vq_pipeline_run(p, m, &diag, NULL, exec, NULL));
  vq_pipeline_destroy(p);
  exec->ops->destroy(exec);
  vq_strbuf_release(&text);
}

// Of small ViT number `k`, on samples that nothing was learned from.
static double error_of(unsigned k, const char *compensate) {
  vq_module *m = small_vit(1);
  float want[HELD_OUT][LOGITS], got[LOGITS];
  double sum = 0;
  for (vq_const *c = m->first_const; c; c = c->next) c->seed += 100 * k;
  for (int i = 0; i < HELD_OUT; i++) logits(m, 1000 + i, want[i]);
  quantize(m, compensate);
  for (int i = 0; i < HELD_OUT; i++) {
    logits(m, 1000 + i, got);
    for (int c = 0; c < LOGITS; c++) sum += pow((double)got[c] - (double)want[i][c], 2);
  }
  vq_module_destroy(m);
  return sqrt(sum);
}

// In the geometric mean of 12 networks; measured: 0.92.
START_TEST(test_errors_of_rows_that_are_read) {
  double sum = 0;
  for (unsigned k = 0; k < 12; k++)
    sum += log(error_of(k, "compensate-weights{read-share=0.3}") /
               error_of(k, "compensate-weights{read-share=0}"));
  ck_assert_double_lt(exp(sum / 12), 0.97);
}
END_TEST

int main(void) {
  TCase *t = tcase_create("read_rows");
  tcase_add_test(t, test_class_token);
  tcase_add_test(t, test_distilled);
  tcase_add_test(t, test_table);
  tcase_add_test(t, test_all_rows);
  tcase_add_test(t, test_steps);
  tcase_add_test(t, test_errors_of_rows_that_are_read);
  return run_tests(t, "read_rows");
}
