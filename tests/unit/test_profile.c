// Roles of steps from their kernels' names, and order statistics.
#include <check.h>

#include "profile.h"
#include "quantile.h"

enum { MAX_STEPS = 32 };

// Compares roles of a model with one step for each word of `kernels` (names up
// to the first underscore are enough) with the words of `want`.
static void check_roles(const char *kernels, const char *want) {
  static const char *const name[] = {
#define ROLE(id) #id,
#include "roles.def"
#undef ROLE
  };
  vitq_kernel kernel[MAX_STEPS] = {0};
  vitq_step step[MAX_STEPS] = {0};
  char word[MAX_STEPS][32], found[256] = "";
  role out[MAX_STEPS];
  uint32_t n = 0;
  for (int used; sscanf(kernels, "%31s%n", word[n], &used) == 1; n++) {
    kernels += used;
    kernel[n].name = word[n];
    step[n].kernel = n;
  }
  vitq_model m = {.n_kernel = n, .kernel = kernel, .n_step = n, .step = step};
  step_roles(&m, out);
  for (uint32_t i = 0; i < n; i++) {
    if (i) strcat(found, " ");
    strcat(found, name[out[i]]);
  }
  ck_assert_str_eq(found, want);
}

START_TEST(a_vit) {
  check_roles("quantize_1 patches_u8 layernorm_i16 gemm_u8 attention_u8 gemm_u8 "
              "layernorm_r1 gemm_gelu gemm_add layernorm_r1 gemm_m1",
              "other patch norm qkv attention proj norm fc1 fc2 norm head");
}
END_TEST

START_TEST(separate_operands_gates_and_merging) {
  check_roles("layernorm_ gemm_q gemm_k gemm_v attention_ gemm_o layernorm_ "
              "gemm_gate gemm_up mul_1 gemm_down layernorm_ gemm_merge layernorm_",
              "norm qkv qkv qkv attention proj norm fc1 fc1 other fc2 norm linear "
              "norm");
}
END_TEST

// A block with a class token's row beside all others, and the last one, which has no others.
START_TEST(rows_beside) {
  check_roles("layernorm_i16 gemm_u8 attention_u8 attention_u8 gemm_u8 gemm_i16i8 "
              "layernorm_i16 layernorm_i16 gemm_u8 gemm_i16i8 gemm_u8 gemm_i16i8 "
              "layernorm_i16 gemm_u8 gemm_u8 attention_u8 gemm_i16i8 "
              "layernorm_i16 gemm_i16i8 gemm_i16i8 layernorm_i16 gemm_i16i8",
              "norm qkv attention attention proj proj norm norm fc1 fc1 fc2 fc2 "
              "norm qkv qkv attention proj norm fc1 fc2 norm head");
}
END_TEST

START_TEST(norms_after_their_block) {
  check_roles("patches_ gemm_ attention_ gemm_ layernorm_ gemm_ gemm_ layernorm_",
              "patch qkv attention proj norm fc1 fc2 norm");
}
END_TEST

START_TEST(kernels_of_single_ops) {
  check_roles("patch_embed_1 layer_norm_1 linear_1 matmul_1 softmax_1 add_1",
              "patch norm head other other other");
  check_roles("", "");
}
END_TEST

START_TEST(quantiles) {
  double v[] = {3, 1, 2, 5, 4};
  ck_assert(quantile(v, 5, 0.5) == 3);
  ck_assert(quantile(v, 5, 0) == 1);
  ck_assert(quantile(v, 5, 1) == 5);
  ck_assert(quantile(v, 5, 0.25) == 2);
  ck_assert(quantile(v, 1, 0.5) == 1);
}
END_TEST

START_TEST(peaks_of_every_instruction_set_here) {
  uint64_t isa = vitq_cpu_isa();
  peak best = probe_peak(PROBE_CODES, isa), least = probe_peak(PROBE_CODES, 0);
  ck_assert(best.gops > 0 && least.gops > 0 && best.unit && least.unit);
  for (uint64_t bit = 1; bit <= isa; bit <<= 1)
    if (isa & bit) ck_assert(probe_peak(PROBE_FLOAT, bit).gops > 0);
}
END_TEST

int main(void) {
  Suite *s = suite_create("profile");
  TCase *tc = tcase_create("profile");
  tcase_add_test(tc, a_vit);
  tcase_add_test(tc, separate_operands_gates_and_merging);
  tcase_add_test(tc, rows_beside);
  tcase_add_test(tc, norms_after_their_block);
  tcase_add_test(tc, kernels_of_single_ops);
  tcase_add_test(tc, quantiles);
  tcase_add_test(tc, peaks_of_every_instruction_set_here);
  suite_add_tcase(s, tc);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
