// Matrix products, convolution and attention of sizes that fit no block,
// against plain loops: the same bits, because the order of sums is defined. Powers of two
// in words against their bound.
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "vq/eval.h"
#include "vq/exp2.h"
#include "vq/strbuf.h"
#include "vq/text.h"

typedef struct world {
  vq_ctx *ctx;
  vq_diag diag;
  vq_strbuf messages;
  vq_module *m;
  float *y;
  int64_t n;
} world;

// Evaluates a module whose @main has no arguments and one result.
static void evaluate(world *w, const char *text) {
  *w = (world){.ctx = vq_ctx_create()};
  vq_diag_init(&w->diag, w->ctx, vq_sink_strbuf, &w->messages);
  vq_status st = vq_parse(w->ctx, vq_str_of(text), "t.vq", &w->diag, &w->m);
  ck_assert_msg(st == VQ_OK, "%s", vq_strbuf_z(&w->messages));
  const vq_func *f = vq_module_func(w->m, VQ_LIT("main"));
  w->n = vq_type_count(f->result[0]);
  w->y = calloc((size_t)w->n, sizeof *w->y);
  vq_tensor out = {f->result[0], w->y};
  ck_assert_int_eq(vq_eval_func(f, NULL, &out, &w->diag, NULL, NULL), VQ_OK);
}

static const float *data(const world *w, const char *name) {
  return vq_const_bytes(vq_module_const(w->m, vq_str_of(name)));
}

static void end(world *w) {
  free(w->y);
  vq_module_destroy(w->m);
  vq_strbuf_release(&w->messages);
  vq_ctx_destroy(w->ctx);
}

#define HEAD "vq 1\nmodule \"t\"\n"

START_TEST(test_matmul) {
  world w;
  evaluate(&w, HEAD
           "const @a : tensor<2x1x37x19, f32> = random<seed = 1, std = 1>\n"
           "const @b : tensor<3x19x21, f32> = random<seed = 2, std = 1>\n"
           "func @main() -> (tensor<2x3x37x21, f32>) {\n"
           "  %y = matmul @a, @b : tensor<2x3x37x21, f32>\n"
           "  return %y\n}\n");
  const float *a = data(&w, "a"), *b = data(&w, "b");
  for (int i = 0; i < w.n; i++) {
    int n = i % 21, m = i / 21 % 37, k2 = i / 777 % 3, k1 = i / 2331;
    double sum = 0;
    for (int k = 0; k < 19; k++)
      sum += (double)a[(k1 * 37 + m) * 19 + k] *
             (double)b[(k2 * 19 + k) * 21 + n];
    ck_assert_msg(w.y[i] == (float)sum, "element %d", i);
  }
  end(&w);
}
END_TEST

START_TEST(test_linear_layouts) {
  world w;
  evaluate(&w, HEAD
           "const @x : tensor<2x35x21, f32> = random<seed = 1, std = 1>\n"
           "const @w : tensor<37x21, f32> = random<seed = 2, std = 1>\n"
           "const @b : tensor<37, f32> = random<seed = 3, std = 1>\n"
           "func @main() -> (tensor<2x2x35x37, f32>) {\n"
           "  %p = pack_weight @w : tensor<3x21x16, f32>\n"
           "  %u = linear @x, @w, @b : tensor<2x35x37, f32>\n"
           "  %v = linear @x, %p, @b {layout = \"panel16\", out = 37} :"
           " tensor<2x35x37, f32>\n"
           "  %r = reshape %u {shape = [1, 2, 35, 37]} :"
           " tensor<1x2x35x37, f32>\n"
           "  %s = reshape %v {shape = [1, 2, 35, 37]} :"
           " tensor<1x2x35x37, f32>\n"
           "  %y = concat %r, %s {axis = 0} : tensor<2x2x35x37, f32>\n"
           "  return %y\n}\n");
  const float *x = data(&w, "x"), *m = data(&w, "w"), *b = data(&w, "b");
  for (int i = 0; i < w.n / 2; i++) {
    double sum = 0;
    for (int k = 0; k < 21; k++)
      sum += (double)x[i / 37 * 21 + k] * (double)m[i % 37 * 21 + k];
    sum += (double)b[i % 37];
    ck_assert_msg(w.y[i] == (float)sum, "element %d", i);
    ck_assert_msg(w.y[i + w.n / 2] == w.y[i], "packed element %d", i);
  }
  end(&w);
}
END_TEST

// Codes of four bits in each layout.
START_TEST(test_code_layouts) {
  world w;
  evaluate(&w, HEAD
           "const @x : tensor<5x21, u8> = random<seed = 1, std = 90>\n"
           "const @w : tensor<37x21, i4> = random<seed = 2, std = 4>\n"
           "func @main() -> (tensor<4x5x37, f32>) {\n"
           "  %p = pack_weight @w {layout = \"panel16x4\"} : tensor<3x6x16x4, i4>\n"
           "  %q = pack_weight @w {layout = \"panel16x8\"} : tensor<3x3x16x4x2, i4>\n"
           "  %e = pack_weight @w : tensor<3x21x16, i4>\n"
           "  %a = linear @x, @w : tensor<5x37, i32>\n"
           "  %b = linear @x, %p {layout = \"panel16x4\", out = 37} : tensor<5x37, i32>\n"
           "  %c = linear @x, %q {layout = \"panel16x8\", out = 37} : tensor<5x37, i32>\n"
           "  %d = linear @x, %e {layout = \"panel16\", out = 37} : tensor<5x37, i32>\n"
           "  %r = concat %a, %b, %c, %d {axis = 0} : tensor<20x37, i32>\n"
           "  %f = cast %r {to = \"f32\"} : tensor<20x37, f32>\n"
           "  %y = reshape %f {shape = [4, 5, 37]} : tensor<4x5x37, f32>\n"
           "  return %y\n}\n");
  float most = 0;
  for (int i = 0; i < w.n; i++) {
    most = fmaxf(most, fabsf(w.y[i]));
    ck_assert_msg(w.y[i] == w.y[i % (w.n / 4)], "element %d", i);
  }
  ck_assert(most > 1000);
  end(&w);
}
END_TEST

START_TEST(test_conv2d) {
  world w;
  evaluate(&w, HEAD
           "const @x : tensor<2x4x9x7, f32> = random<seed = 1, std = 1>\n"
           "const @w : tensor<6x2x3x2, f32> = random<seed = 2, std = 1>\n"
           "const @b : tensor<6, f32> = random<seed = 3, std = 1>\n"
           "func @main() -> (tensor<2x6x5x6, f32>) {\n"
           "  %y = conv2d @x, @w, @b {stride = [2, 1], pad = [1, 0, 2, 1],"
           " dilation = [1, 2], groups = 2} : tensor<2x6x5x6, f32>\n"
           "  return %y\n}\n");
  const float *x = data(&w, "x"), *k = data(&w, "w"), *b = data(&w, "b");
  for (int i = 0; i < w.n; i++) {
    int j = i % 6, r = i / 6 % 5, o = i / 30 % 6, n = i / 180;
    double sum = 0;
    for (int c = 0; c < 2; c++)
      for (int u = 0; u < 3; u++)
        for (int v = 0; v < 2; v++) {
          int h = 2 * r + u - 1, q = j + 2 * v;
          if (h >= 0 && h < 9 && q < 7)
            sum += (double)x[((n * 4 + o / 3 * 2 + c) * 9 + h) * 7 + q] *
                   (double)k[((o * 2 + c) * 3 + u) * 2 + v];
        }
    ck_assert_msg(w.y[i] == (float)(sum + (double)b[o]), "element %d", i);
  }
  end(&w);
}
END_TEST

START_TEST(test_patch_embed) {
  world w;
  evaluate(&w, HEAD
           "const @x : tensor<2x3x8x12, f32> = random<seed = 1, std = 1>\n"
           "const @w : tensor<18x48, f32> = random<seed = 2, std = 1>\n"
           "const @k : tensor<18x3x4x4, f32> = random<seed = 2, std = 1>\n"
           "func @main() -> (tensor<2x6x18, f32>) {\n"
           "  %c = conv2d @x, @k {stride = [4, 4], pad = [0, 0, 0, 0],"
           " dilation = [1, 1]} : tensor<2x18x2x3, f32>\n"
           "  %r = reshape %c {shape = [2, 18, 6]} : tensor<2x18x6, f32>\n"
           "  %t = transpose %r {perm = [0, 2, 1]} : tensor<2x6x18, f32>\n"
           "  %e = patch_embed @x, @w {patch = [4, 4]} :"
           " tensor<2x6x18, f32>\n"
           "  %y = sub %e, %t : tensor<2x6x18, f32>\n"
           "  return %y\n}\n");
  for (int i = 0; i < w.n; i++) ck_assert(w.y[i] == 0);
  end(&w);
}
END_TEST

enum { B = 2, N = 35, M = 40, H = 3, D = 5, E = 7 };

static double attend(const world *w, int b, int n, int h, int e) {
  const float *q = data(w, "q"), *k = data(w, "k"), *v = data(w, "v"),
              *bias = data(w, "bias");
  double s[M], most = (double)-INFINITY, sum = 0, y = 0;
  for (int m = 0; m < M; m++) {
    double dot = 0;
    for (int d = 0; d < D; d++)
      dot += (double)q[(b * N + n) * H * D + h * D + d] *
             (double)k[(b * M + m) * H * D + h * D + d];
    s[m] = dot * 0.25 + (double)bias[(h * N + n) * M + m];
    most = s[m] > most ? s[m] : most;
  }
  for (int m = 0; m < M; m++) sum += s[m] = exp(s[m] - most);
  for (int m = 0; m < M; m++)
    y += s[m] / sum * (double)v[(b * M + m) * H * E + h * E + e];
  return y;
}

START_TEST(test_attention) {
  world w;
  evaluate(&w, HEAD
           "const @q : tensor<2x35x15, f32> = random<seed = 1, std = 2>\n"
           "const @k : tensor<2x40x15, f32> = random<seed = 2, std = 2>\n"
           "const @v : tensor<2x40x21, f32> = random<seed = 3, std = 2>\n"
           "const @bias : tensor<1x3x35x40, f32> = random<seed = 4, std = 1>\n"
           "func @main() -> (tensor<2x35x21, f32>) {\n"
           "  %y = attention @q, @k, @v, @bias {heads = 3, scale = 0.25} :"
           " tensor<2x35x21, f32>\n"
           "  return %y\n}\n");
  for (int i = 0; i < w.n; i++)
    ck_assert_msg(w.y[i] == (float)attend(&w, i / (H * E) / N, i / (H * E) % N,
                                          i / E % H, i % E),
                  "element %d", i);
  end(&w);
}
END_TEST

// What exp2.h states, of every exponent.
START_TEST(test_exp2) {
  for (int levels = 1; levels < 1 << VQ_EXP2_BITS; levels += levels < 256 ? 1 : 255) {
    vq_exp2 p = vq_exp2_of(levels);
    double worst = 0;
    int last = 0;
    bool grows = true;
    for (int d = INT16_MIN; d <= 0; d++) {
      int code = vq_exp2_code(&p, d);
      grows &= code >= last;
      last = code;
      worst = fmax(worst, fabs(code - levels * exp2(d / (double)VQ_EXP2_STEPS)));
    }
    ck_assert_double_le(worst, levels < 256 ? 0.54 : 1.8);
    ck_assert(grows);
    ck_assert_int_eq(last, levels);
  }
}
END_TEST

int main(void) {
  Suite *s = suite_create("eval_nn");
  TCase *t = tcase_create("eval_nn");
  tcase_set_timeout(t, 0);
  tcase_add_test(t, test_matmul);
  tcase_add_test(t, test_linear_layouts);
  tcase_add_test(t, test_code_layouts);
  tcase_add_test(t, test_conv2d);
  tcase_add_test(t, test_patch_embed);
  tcase_add_test(t, test_attention);
  tcase_add_test(t, test_exp2);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
