// Activation functions of integer kernels against the functions themselves.
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "vq/piecewise.h"

// Bounds that piecewise.h states.
START_TEST(test_piecewise_error) {
  vq_piecewise p;
  double worst = 0;
  ck_assert(vq_piecewise_of(VQ_LIT("gelu"), &p));
  for (int i = -9000; i <= 9000; i++) {
    double x = i / 1000.0, want = x / 2 * (1 + erf(x * M_SQRT1_2));
    worst = fmax(worst, fabs((double)vq_piecewise_at(&p, (float)x) - want));
  }
  ck_assert_double_lt(worst, 1.5e-4);
}
END_TEST

// Of codes of 16 bits, in channels of three scales.
START_TEST(test_curve_error) {
  const double steps[] = {3.6 / 32767, 5e-4, 0.01};
  for (unsigned k = 0; k < VQ_COUNT(steps); k++)
    for (double own = steps[k]; own < 0.05; own *= 3) {
      vq_curve c;
      double worst = 0;
      ck_assert(vq_curve_of(VQ_LIT("gelu"), (float)steps[k], &c));
      vq_curve_channel ch = vq_curve_channel_of(VQ_LIT("gelu"), steps[k], own, 0);
      ck_assert_uint_lt(ch.limit * ch.scale, 1 << 16);
      for (int i = INT16_MIN; i <= INT16_MAX; i++) {
        double x = i * own, want = x / 2 * (1 + erf(x * M_SQRT1_2));
        worst = fmax(worst, fabs(vq_curve_at(&c, &ch, (int16_t)i) * own - want));
      }
      ck_assert_double_lt(worst, 7e-4 + 3 * own);
    }
}
END_TEST

// A channel has a scale that others fit as well, or one of its own.
START_TEST(test_channel_scales) {
  vq_str fn = VQ_LIT("gelu");
  double step = 2e-4;
  ck_assert(vq_curve_scale_fits(fn, step, 2) && vq_curve_scale_fits(fn, 1.1 * step, 2));
  ck_assert(!vq_curve_scale_fits(fn, step, 1) && !vq_curve_scale_fits(fn, step, 4));
  ck_assert_uint_eq(vq_curve_channel_of(fn, step, step, 2).scale, 2);
  ck_assert_uint_eq(vq_curve_channel_of(fn, step, 64 * step, 0).scale, 128);
  ck_assert_int_eq(vq_curve_channel_of(fn, step, 64 * step, 0).gain, 64);
}
END_TEST

int main(void) {
  Suite *s = suite_create("curve");
  TCase *c = tcase_create("curve");
  tcase_add_test(c, test_piecewise_error);
  tcase_add_test(c, test_curve_error);
  tcase_add_test(c, test_channel_scales);
  suite_add_tcase(s, c);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_ENV);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
