// Gram matrices of codes and rounding against them (passes/quant/gram.h).
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "quant/gram.h"
#include "quant/quantizer.h"

// Numbers that look random and are the same everywhere.
static uint32_t next(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 16;
}

// d h d^T, h by its lower triangle.
static double cost(const double *h, int64_t n, const float *w, const float *to) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++) {
      double a = (double)to[i] - (double)w[i], b = (double)to[j] - (double)w[j];
      sum += a * b * (i > j ? h[i * n + j] : h[j * n + i]);
    }
  return sum;
}

// h by hand: l is [[1, 0], [1, 2]], so that l^T l = h.
START_TEST(test_two_by_two) {
  double h[] = {2, NAN, 2, 4}, l[4], room[2 * VQ_GRAM_ROOM];
  const float w[] = {0.4f, 0.4f, 0.4f, -0.4f}, scale[] = {1, 1};
  int64_t order[] = {0, 1};
  float to[4];
  const vq_gram g = {2, h, l, order};
  ck_assert(vq_gram_damp(h, 2, 0) == 0 && h[1] == 2);
  vq_gram_factor(h, 2, order, 0, l);
  ck_assert(l[0] == 1 && l[2] == 1 && l[3] == 2);
  // 0.4 becomes 0; the other column's share of that error is 0.2.
  vq_gram_round(&g, w, 2, scale, -7, 7, room, to);
  ck_assert(to[0] == 0 && to[1] == 1);   // 0.4 + 0.2
  ck_assert(to[2] == 0 && to[3] == 0);   // -0.4 + 0.2
  ck_assert_double_eq_tol(cost(h, 2, w, to), 0.8, 1e-6);  // nearest: 1.6
  vq_gram_order(h, 2, order);
  ck_assert(order[0] == 1 && order[1] == 0);
  vq_gram_factor(h, 2, order, 0, l);
  vq_gram_round(&g, w, 1, scale, -7, 7, room, to);
  ck_assert(to[0] == 1 && to[1] == 0);
  ck_assert_double_eq_tol(cost(h, 2, w, to), 0.4, 1e-6);
}
END_TEST

START_TEST(test_damp) {
  double h[] = {2, NAN, 3, 4}, none[] = {0, NAN, 0, 0};
  ck_assert(vq_gram_damp(h, 2, 0.5) == 1.5);
  ck_assert(h[0] == 3.5 && h[1] == 3 && h[2] == 3 && h[3] == 5.5);
  ck_assert(vq_gram_damp(none, 2, 0.5) == 1);
  ck_assert(none[0] == 1 && none[1] == 0 && none[2] == 0 && none[3] == 1);
}
END_TEST

typedef struct problem {
  int64_t n, n_row;
  double *h, *l, *room;
  float *w, *to, *scale;
  int64_t *order;
} problem;

static void *room(int64_t n, size_t size) {
  void *p = calloc((size_t)n, size);
  ck_assert_ptr_nonnull(p);
  return p;
}

// Inputs where neighbouring columns agree half of the time.
static void fill_tile(int16_t *x, int64_t n, uint32_t *state) {
  for (int64_t c = 0; c < n; c++)
    for (int64_t t = 0; t < VQ_GRAM_TILE; t++) {
      int16_t v = (int16_t)((int)(next(state) % 511) - 255);
      x[c * VQ_GRAM_TILE + t] =
          c && next(state) % 2 ? x[(c - 1) * VQ_GRAM_TILE + t] : v;
    }
}

static problem make(int64_t n, int64_t n_row, int n_tile) {
  problem p = {n, n_row, room(n * n, 8), room(n * n, 8), room(n * VQ_GRAM_ROOM, 8),
               room(n * n_row, 4), room(n * n_row, 4), room(n_row, 4), room(n, 8)};
  int16_t *x = room(n * VQ_GRAM_TILE, sizeof *x);
  uint32_t state = 1;
  for (int k = 0; k < n_tile; k++) {
    fill_tile(x, n, &state);
    vq_gram_add(p.h, n, x);
  }
  for (int64_t i = 0; i < n * n_row; i++)
    p.w[i] = ((float)next(&state) / 32768 - 1) * 7;
  for (int64_t i = 0; i < n_row; i++) p.scale[i] = 1;
  for (int64_t i = 0; i < n; i++) p.order[i] = i;
  free(x);
  return p;
}

static void drop(problem *p) {
  void *all[] = {p->h, p->l, p->room, p->w, p->to, p->scale, p->order};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static vq_gram gram_of(const problem *p) {
  return (vq_gram){p->n, p->h, p->l, p->order};
}

static void solve(problem *p, double damping) {
  double more = vq_gram_damp(p->h, p->n, damping);
  vq_gram g = gram_of(p);
  vq_gram_factor(p->h, p->n, p->order, more / 2, p->l);
  vq_gram_round(&g, p->w, p->n_row, p->scale, -7, 7, p->room, p->to);
}

static void is_on_grid(const problem *p) {
  for (int64_t i = 0; i < p->n * p->n_row; i++)
    ck_assert(p->to[i] == rintf(p->to[i]) && fabsf(p->to[i]) <= 7);
}

START_TEST(test_sums_are_exact) {
  enum { N = 19 };
  static int16_t x[N * VQ_GRAM_TILE];
  double h[N * N] = {0};
  uint32_t state = 5;
  fill_tile(x, N, &state);
  for (int t = 0; t < VQ_GRAM_TILE; t++) x[t] = VQ_GRAM_MOST, x[VQ_GRAM_TILE + t] = -VQ_GRAM_MOST;
  vq_gram_add(h, N, x);
  vq_gram_add(h, N, x);
  for (int i = 0; i < N; i++)
    for (int j = 0; j <= i; j++) {
      int64_t sum = 0;
      for (int t = 0; t < VQ_GRAM_TILE; t++)
        sum += 2 * (int64_t)x[i * VQ_GRAM_TILE + t] * x[j * VQ_GRAM_TILE + t];
      ck_assert(h[i * N + j] == (double)sum);
    }
}
END_TEST

// Sizes around the blocks of the factorization.
START_TEST(test_factor) {
  static const int64_t size[] = {1, 2, 63, 64, 65, 128, 200, 321};
  problem p = make(size[_i], 1, 3);
  int64_t n = p.n;
  double worst = 0, more = vq_gram_damp(p.h, n, 0.01), mean = more / 0.01;
  vq_gram_order(p.h, n, p.order);
  vq_gram_factor(p.h, n, p.order, more / 2, p.l);
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j <= i; j++) {
      double want = p.h[p.order[i] * n + p.order[j]], sum = 0;
      for (int64_t k = i; k < n; k++) sum += p.l[k * n + i] * p.l[k * n + j];
      worst = fmax(worst, fabs(sum - want) / mean);
    }
  ck_assert_double_lt(worst, 1e-12);
  drop(&p);
}
END_TEST

START_TEST(test_costs_less_than_nearest) {
  static const int64_t rows[] = {1, 64, 67};
  problem p = make(200, rows[_i], 3);
  solve(&p, 0.01);
  is_on_grid(&p);
  double sum = 0, nearest = 0;
  for (int64_t o = 0; o < p.n_row; o++) {
    float *w = p.w + o * p.n, *to = p.to + o * p.n;
    sum += cost(p.h, p.n, w, to);
    for (int64_t i = 0; i < p.n; i++) to[i] = rintf(w[i]);
    nearest += cost(p.h, p.n, w, to);
  }
  ck_assert_double_lt(sum, nearest * 0.75);
  drop(&p);
}
END_TEST

// Fewer inputs than columns, a channel that is always 0, equal channels.
START_TEST(test_singular) {
  static const double damping[] = {1e-6, 0.01, 1};
  enum { N = 300, DEAD = 7 };
  problem p = make(N, 3, 1);
  for (int i = 0; i < N; i++) {
    p.h[i > DEAD ? i * N + DEAD : DEAD * N + i] = 0;
    if (i < 20) p.h[20 * N + i] = p.h[19 * N + (i < 19 ? i : 19)];
    if (i > 20) p.h[i * N + 20] = p.h[i * N + 19];
  }
  p.h[20 * N + 20] = p.h[19 * N + 19];
  solve(&p, damping[_i]);
  is_on_grid(&p);
  for (int o = 0; o < 3; o++)  // nothing to make up for there
    ck_assert(p.to[o * N + DEAD] == rintf(p.w[o * N + DEAD]));
  drop(&p);
}
END_TEST

START_TEST(test_no_input_is_nearest) {
  problem p = make(70, 5, 0);
  solve(&p, 0.01);
  for (int64_t i = 0; i < p.n * p.n_row; i++) ck_assert(p.to[i] == rintf(p.w[i]));
  drop(&p);
}
END_TEST

// ---- descent ------------------------------------------------------------------------

// What rows cost as they are, all together; all of them are multiples of their scales.
static double total(const problem *p, double lo, double hi) {
  double sum = 0;
  for (int64_t o = 0; o < p->n_row; o++) {
    sum += cost(p->h, p->n, p->w + o * p->n, p->to + o * p->n);
    for (int64_t i = 0; i < p->n; i++) {
      double s = (double)p->scale[o], q = nearbyint((double)p->to[o * p->n + i] / s);
      ck_assert(q >= lo && q <= hi && p->to[o * p->n + i] == (float)(q * s));
    }
  }
  return sum;
}

static void start(problem *p, double lo, double hi) {
  for (int64_t i = 0; i < p->n * p->n_row; i++) {
    double s = (double)p->scale[i / p->n], q = nearbyint((double)p->w[i] / s);
    p->to[i] = (float)((q > hi ? hi : q < lo ? lo : q) * s);
  }
}

// From nearest: less, and then no code of any row wants to change. Scales of either sign,
// codes that are clipped, rows around the size of a block.
START_TEST(test_descent) {
  static const struct { int64_t n, rows; double lo, hi; float scale; } c[] = {
      {1, 3, -4, 3, 1}, {20, 5, -4, 3, -2}, {70, 64, -8, 7, 1}, {300, 65, -127, 127, 0.06f}};
  double lo = c[_i].lo, hi = c[_i].hi;
  problem p = make(c[_i].n, c[_i].rows, 3);
  vq_gram_damp(p.h, p.n, 0.01);
  vq_gram g = gram_of(&p);
  for (int64_t o = 0; o < p.n_row; o++) p.scale[o] = c[_i].scale;
  start(&p, lo, hi);
  double before = total(&p, lo, hi);
  vq_gram_descend(&g, p.w, p.n_row, p.scale, lo, hi, p.room, p.to);
  double after = total(&p, lo, hi);
  ck_assert_double_lt(after, before);
  for (int64_t o = 0; o < p.n_row; o += p.n_row / 2 + 1) {
    float *w = p.w + o * p.n, *to = p.to + o * p.n, s = p.scale[o];
    double least = cost(p.h, p.n, w, to) * (1 - 1e-6);
    for (int64_t i = 0; i < p.n; i += p.n / 8 + 1)
      for (int step = -1; step <= 1; step += 2) {
        float was = to[i], q = rintf(was / s) + (float)step;
        if (q < (float)lo || q > (float)hi) continue;
        to[i] = q * s;
        ck_assert_double_ge(cost(p.h, p.n, w, to), least);
        to[i] = was;
      }
  }
  drop(&p);
}
END_TEST

// Rows of three columns, from where rounding in order ends: never more than that, and
// at the best codes of all for nearly all rows.
START_TEST(test_descent_finds_the_best) {
  enum { N = 3, ROWS = 200 };
  problem p = make(N, ROWS, 2);
  int best = 0;
  solve(&p, 0.01);
  double before = total(&p, -7, 7);
  vq_gram g = gram_of(&p);
  vq_gram_descend(&g, p.w, p.n_row, p.scale, -7, 7, p.room, p.to);
  ck_assert_double_le(total(&p, -7, 7), before);
  for (int64_t o = 0; o < ROWS; o++) {
    const float *w = p.w + o * N;
    float s = p.scale[o];
    double found = cost(p.h, N, w, p.to + o * N), least = INFINITY;
    for (int q = 0; q < 15 * 15 * 15; q++) {
      float to[N] = {(float)(q % 15 - 7) * s, (float)(q / 15 % 15 - 7) * s,
                     (float)(q / 225 - 7) * s};
      least = fmin(least, cost(p.h, N, w, to));
    }
    ck_assert_double_ge(found, least * (1 - 1e-9));
    best += found <= least * (1 + 1e-6);
  }
  ck_assert_int_ge(best, ROWS * 95 / 100);
  drop(&p);
}
END_TEST

// Weights that are multiples of 3 with a scale a little off it: the scale is found, and
// nothing is lost.
START_TEST(test_descent_finds_the_scale) {
  problem p = make(40, 2, 3);
  for (int64_t i = 0; i < p.n * p.n_row; i++) p.w[i] = 3 * rintf(p.w[i] / 2);
  for (int64_t o = 0; o < 2; o++) p.scale[o] = o ? -3.2f : 2.9f;
  vq_gram_damp(p.h, p.n, 0.01);
  vq_gram g = gram_of(&p);
  start(&p, -4, 4);
  vq_gram_descend(&g, p.w, p.n_row, p.scale, -4, 4, p.room, p.to);
  ck_assert(p.scale[0] == 3 && p.scale[1] == -3);
  for (int64_t i = 0; i < p.n * p.n_row; i++) ck_assert(p.to[i] == p.w[i]);
  drop(&p);
}
END_TEST

// Nothing to start from: zeros stay, and so does the scale.
START_TEST(test_descent_of_nothing) {
  problem p = make(70, 2, 1);
  for (int64_t i = 0; i < p.n * p.n_row; i++) p.w[i] = 0;
  solve(&p, 0.01);
  vq_gram g = gram_of(&p);
  vq_gram_descend(&g, p.w, p.n_row, p.scale, -7, 7, p.room, p.to);
  for (int64_t i = 0; i < p.n * p.n_row; i++) ck_assert(p.to[i] == 0);
  ck_assert(p.scale[0] == 1 && p.scale[1] == 1);
  drop(&p);
}
END_TEST

static double row_error(const float *w, int n, double scale) {
  double sum = 0;
  for (int i = 0; i < n; i++) {
    double q = fmin(fmax(nearbyint((double)w[i] / scale), -4), 3);
    sum += pow(q * scale - (double)w[i], 2);
  }
  return sum;
}

// Codes of few bits have one more below zero than above: a row whose farthest value is
// positive is counted backwards.
START_TEST(test_row_scale) {
  const float down[] = {-4, 1, 2, 3, 0, -1}, up[] = {4, -1, -2, -3, 0, 1};
  ck_assert(vq_quant_row_scale(down, 6, -4, 3) == 1);
  ck_assert(vq_quant_row_scale(up, 6, -4, 3) == -1);
  ck_assert(vq_quant_row_scale(up, 6, -4, 4) == 1);
  const float none[] = {0, 0, 0};
  ck_assert(vq_quant_row_scale(none, 3, -4, 3) > 0);
  // One far value of many: clipping it costs less than coarse codes for the others.
  float tail[200];
  for (int i = 0; i < 200; i++) tail[i] = (float)(i % 7 - 3) / 3;
  tail[0] = 6;
  double s = (double)vq_quant_row_scale(tail, 200, -4, 3), best = INFINITY;
  for (int k = 1; k <= 1000; k++) {
    best = fmin(best, row_error(tail, 200, 0.002 * k));
    best = fmin(best, row_error(tail, 200, -0.002 * k));
  }
  ck_assert_double_lt(row_error(tail, 200, s), 1.05 * best);
  ck_assert_double_lt(fabs(s), 1.4);
}
END_TEST

int main(void) {
  Suite *s = suite_create("gram");
  TCase *t = tcase_create("gram");
  tcase_set_timeout(t, 0);  // sanitizers are slow; ctest has a limit
  tcase_add_test(t, test_two_by_two);
  tcase_add_test(t, test_damp);
  tcase_add_test(t, test_sums_are_exact);
  tcase_add_loop_test(t, test_factor, 0, 8);
  tcase_add_loop_test(t, test_costs_less_than_nearest, 0, 3);
  tcase_add_loop_test(t, test_singular, 0, 3);
  tcase_add_test(t, test_no_input_is_nearest);
  tcase_add_loop_test(t, test_descent, 0, 4);
  tcase_add_test(t, test_descent_finds_the_best);
  tcase_add_test(t, test_descent_finds_the_scale);
  tcase_add_test(t, test_descent_of_nothing);
  tcase_add_test(t, test_row_scale);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_ENV);
  int n = srunner_ntests_failed(r);
  srunner_free(r);
  return n != 0;
}
