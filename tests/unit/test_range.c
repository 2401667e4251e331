// Ranges of codes from histograms.
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "quant/range.h"

// Ten cells from -4 to 6: one value at each end, the others from -1 to 3.
START_TEST(test_observers) {
  static const uint32_t bin[10] = {1, 0, 0, 20, 20, 20, 20, 0, 0, 1};
  static const vq_histogram h = {-4, 6, bin, 10};
  static const vq_levels plain = {0, 255, false, 0}, even = {-127, 127, true, 0};
  static const struct {
    const char *observer;
    const vq_levels *q;
    double scale, zero;
  } row[] = {{"minmax", &plain, 10.0 / 255, 102},        {"minmax", &even, 6.0 / 127, 0},
             {"percentile:97", &plain, 4.0 / 255, 64},   {"percentile:97", &even, 3.0 / 127, 0},
             {"percentile:100", &plain, 10.0 / 255, 102}, {"percentile:98.9", &even, 6.0 / 127, 0},
             {"percentile:98", &even, 4.0 / 127, 0},     {"percentile", &plain, 10.0 / 255, 102}};
  for (size_t i = 0; i < VQ_COUNT(row); i++) {
    vq_observer how;
    float scale, zero;
    ck_assert(vq_observer_read(vq_str_of(row[i].observer), &how));
    vq_range_fit(&how, row[i].q, &h, 1, &scale, &zero);
    ck_assert_msg(fabs((double)scale - row[i].scale) < 1e-6 && (double)zero == row[i].zero,
                  "%s: %g, %g", row[i].observer, (double)scale, (double)zero);
  }
  vq_observer how;
  static const char *const bad[] = {"", "max", "percentile:", "percentile:0", "percentile:101",
                                    "percentile:9x", "percentile:-1", "percentile:1.2.3",
                                    "percentile:99.99999999999999"};
  for (size_t i = 0; i < VQ_COUNT(bad); i++)
    ck_assert_msg(!vq_observer_read(vq_str_of(bad[i]), &how), "%s", bad[i]);
}
END_TEST

int main(void) {
  Suite *s = suite_create("range");
  TCase *c = tcase_create("range");
  tcase_add_test(c, test_observers);
  suite_add_tcase(s, c);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_ENV);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
