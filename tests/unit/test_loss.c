// Losses on pictures: their values against formulas spelled out, their gradients
// against central differences.
#include "calib/grad.h"
#include "calib/loss.h"
#include "differences.h"

typedef vq_value *build_fn(vq_builder *b, vq_value *const *arg, vq_value *stop[2]);

// @main of the loss `build` makes of arguments of these shapes, and @main.grad.
static vq_module *loss_module(build_fn *build, unsigned n, const vq_type *const *type) {
  vq_arena scratch = {0};
  vq_pass_ctx pc = {.ctx = ctx, .diag = &diag, .temp = &scratch};
  vq_module *m = vq_module_create(ctx, VQ_LIT("loss"));
  vq_str name[] = {VQ_LIT("x"), VQ_LIT("t")}, loss = VQ_LIT("loss");
  vq_func *f = vq_func_create(m, VQ_FUNC, VQ_LIT("main"), n, type, name);
  vq_builder b = {f, NULL, {0}, &diag};
  vq_value *stop[2] = {NULL, NULL}, *wrt[2] = {NULL};
  vq_value *arg[] = {&f->arg[0], n > 1 ? &f->arg[1] : NULL};
  vq_value *y = build(&b, arg, stop);
  OK(vq_build_return(&b, 1, &y, &loss));
  for (unsigned i = 0; i < n; i++) wrt[i] = &f->arg[i];
  vq_grad_request r = {.wrt = wrt, .n_wrt = n, .stop = stop, .n_stop = stop[0] ? 2 : 0};
  ck_assert_msg(vq_grad_build(f, &r, &pc) != NULL, "%s", vq_strbuf_z(&messages));
  vq_arena_release(&scratch);
  OK(passes(m, "fold,cse,dce", &diag));
  return m;
}

static const vq_type *shape(unsigned rank, const int64_t *dim) {
  return vq_type_tensor(ctx, VQ_f32, rank, dim, NULL);
}
#define SHAPE(...) shape(VQ_COUNT(((int64_t[]){__VA_ARGS__})), (int64_t[]){__VA_ARGS__})

// @main of arguments x (and t); its result, until `temp` is reset.
static const double *values(vq_module *m, double *x, double *t) {
  const vq_func *f = func(m, "main");
  double *args[] = {x, t};
  vq_tensor in[2], out[1];
  for (unsigned i = 0; i < f->n_arg; i++)
    in[i] = (vq_tensor){widened(f->arg[i].type, ctx), args[i]};
  wide_eval(f, in, out, &diag, &temp);
  return doubles(out);
}

static void random_numbers(double *x, int n, double lo, double hi) {
  for (int i = 0; i < n; i++) x[i] = uniform(lo, hi);
}

#define NEAR(got, want) ck_assert_double_eq_tol(got, want, 1e-6)

// ---- class ---------------------------------------------------------------------------

static vq_value *class_loss(vq_builder *b, vq_value *const *arg, vq_value *stop[2]) {
  (void)stop;
  return vq_loss_class(b, arg[0], arg[1]);
}

START_TEST(class_is_cross_entropy) {
  vq_module *m = loss_module(class_loss, 2, (const vq_type *[]){SHAPE(2, 4), SHAPE(2, 4)});
  double x[] = {1, 2, 0.5, -1, 1000, 0, 998, -1000}, t[] = {0, 0, 1, 0, 0.5, 0, 0.5, 0};
  const double *y = values(m, x, t);
  NEAR(y[0], log(exp(1) + exp(2) + exp(0.5) + exp(-1)) - 0.5);
  NEAR(y[1], log1p(exp(-2)) + 1);
  vq_arena_reset(&temp);
  compare("class", m, -3, 3);
  vq_module_destroy(m);
}
END_TEST

// ---- variation -------------------------------------------------------------------------

enum { CHANNELS = 3, SIZE = 5, PICTURE = CHANNELS * SIZE * SIZE };

static vq_value *variation_loss(vq_builder *b, vq_value *const *arg, vq_value *stop[2]) {
  (void)stop;
  return vq_loss_variation(b, arg[0]);
}

static double norm_of_steps(const double *x, int dy, int dx) {
  double sum = 0;
  for (int c = 0; c < CHANNELS; c++)
    for (int i = 0; i + dy < SIZE; i++)
      for (int j = 0; j < SIZE; j++) {
        if (j + dx < 0 || j + dx >= SIZE) continue;
        const double *at = x + (c * SIZE + i) * SIZE + j;
        double d = at[dy * SIZE + dx] - at[0];
        sum += d * d;
      }
  return sqrt(sum);
}

START_TEST(variation_is_of_each_picture) {
  const vq_type *t = SHAPE(2, CHANNELS, SIZE, SIZE);
  vq_module *m = loss_module(variation_loss, 1, &t);
  double x[2 * PICTURE];
  random_numbers(x, 2 * PICTURE, -2, 2);
  const double *y = values(m, x, NULL);
  for (int i = 0; i < 2; i++) {
    const double *p = x + i * PICTURE;
    NEAR(y[i], norm_of_steps(p, 0, 1) + norm_of_steps(p, 1, 0) + norm_of_steps(p, 1, -1) +
                   norm_of_steps(p, 1, 1));
  }
  vq_arena_reset(&temp);
  compare("variation", m, -2, 2);
  vq_module_destroy(m);
}
END_TEST

// A picture of one colour has no gradient; it must not become one of NaN.
START_TEST(variation_of_nothing) {
  const vq_type *t = SHAPE(1, CHANNELS, SIZE, SIZE);
  vq_module *m = loss_module(variation_loss, 1, &t);
  const vq_func *f = func(m, "main.grad");
  double x[PICTURE] = {0}, seeds[] = {1};
  vq_tensor in[] = {{widened(f->arg[0].type, ctx), x}, {widened(f->arg[1].type, ctx), seeds}};
  vq_tensor d[1];
  wide_eval(f, in, d, &diag, &temp);
  for (int i = 0; i < PICTURE; i++) ck_assert_double_eq(doubles(d)[i], 0);
  vq_arena_reset(&temp);
  vq_module_destroy(m);
}
END_TEST

// ---- entropy of similarities -------------------------------------------------------------

enum { PICTURES = 2, WINDOWS = 2, TOKENS = 6, HEADS = 2, WIDTH = 3 };
enum { ATTENTION = WINDOWS * TOKENS * HEADS * WIDTH };  // of one picture
enum { PATCHES = TOKENS - 1, PAIRS = WINDOWS * PATCHES * PATCHES };

static vq_patches patches_of(vq_value *y) {
  return (vq_patches){.y = y, .pictures = PICTURES, .heads = HEADS, .skip = 1};
}

static vq_value *gauss_loss(vq_builder *b, vq_value *const *arg, vq_value *stop[2]) {
  (void)stop;
  vq_patches p = patches_of(arg[0]);
  return vq_loss_entropy_gauss(b, &p);
}

static vq_value *kde_loss(vq_builder *b, vq_value *const *arg, vq_value *stop[2]) {
  vq_patches p = patches_of(arg[0]);
  return vq_loss_entropy_kde(b, &p, stop);
}

static vq_module *entropy_module(build_fn *build) {
  const vq_type *t = SHAPE(PICTURES * WINDOWS, TOKENS, HEADS * WIDTH);
  return loss_module(build, 1, &t);
}

// All similarities of a picture by the formula.
static void similarities(const double *x, double *s) {
  for (int w = 0; w < WINDOWS; w++, x += TOKENS * HEADS * WIDTH) {
    double u[PATCHES][WIDTH];
    for (int i = 0; i < PATCHES; i++)
      for (int c = 0; c < WIDTH; c++) {
        const double *row = x + (i + 1) * HEADS * WIDTH + c;
        u[i][c] = (row[0] + row[WIDTH]) / 2;
      }
    for (int i = 0; i < PATCHES; i++)
      for (int j = 0; j < PATCHES; j++) {
        double dot = 0, a = 0, b = 0;
        for (int c = 0; c < WIDTH; c++) {
          dot += u[i][c] * u[j][c];
          a += u[i][c] * u[i][c];
          b += u[j][c] * u[j][c];
        }
        *s++ = dot / sqrt(a * b);
      }
  }
}

START_TEST(gauss_entropy_is_that_of_the_variance) {
  vq_module *m = entropy_module(gauss_loss);
  double x[PICTURES * ATTENTION], s[PAIRS];
  random_numbers(x, PICTURES * ATTENTION, -2, 2);
  const double *y = values(m, x, NULL);
  for (int i = 0; i < PICTURES; i++) {
    double sum = 0, square = 0;
    similarities(x + i * ATTENTION, s);
    for (int k = 0; k < PAIRS; k++) sum += s[k], square += s[k] * s[k];
    double var = square / PAIRS - sum / PAIRS * (sum / PAIRS);
    NEAR(y[i], 0.5 * log(2 * M_PI * M_E * var));
  }
  vq_arena_reset(&temp);
  compare("entropy, gauss", m, -2, 2);
  vq_module_destroy(m);
}
END_TEST

static double density_entropy(const double *s, int n) {
  double lo = INFINITY, hi = -INFINITY, sum = 0;
  for (int i = 0; i < n; i++) lo = fmin(lo, s[i]), hi = fmax(hi, s[i]);
  for (int k = 0; k < 10; k++) {
    double x = lo + (hi - lo) * k / 9, p = 1e-4;
    for (int i = 0; i < n; i++)
      p += exp(-(x - s[i]) * (x - s[i]) / 2e-4) / (n * 0.01 * sqrt(2 * M_PI));
    sum -= p * log(p) * (k == 0 || k == 9 ? 0.5 : 1) * (hi - lo) / 9;
  }
  return sum;
}

START_TEST(kde_entropy_is_that_of_all_pairs) {
  vq_module *m = entropy_module(kde_loss);
  double x[PICTURES * ATTENTION], s[PAIRS];
  random_numbers(x, PICTURES * ATTENTION, -2, 2);
  const double *y = values(m, x, NULL);
  for (int i = 0; i < PICTURES; i++) {
    similarities(x + i * ATTENTION, s);
    ck_assert_double_eq_tol(y[i], density_entropy(s, PAIRS), 1e-4);
  }
  vq_arena_reset(&temp);
  vq_module_destroy(m);
}
END_TEST

static vq_value *samples_loss(vq_builder *b, vq_value *const *arg, vq_value *stop[2]) {
  return vq_loss_density_entropy(b, arg[0], stop);
}

// The grid's ends are samples of their own, so that they stay where they are.
static vq_value *fenced_loss(vq_builder *b, vq_value *const *arg, vq_value *stop[2]) {
  static const float ends[] = {-1, 1};
  vq_const *c = vq_const_new_copy(b->func->module, VQ_LIT("ends"), SHAPE(1, 2), ends);
  vq_attrs_concat a = {.axis = 1};
  vq_value *in[] = {&c->value, arg[0]};
  vq_value *all = vq_build1(b, VQ_OP_concat, in, 2, &a, VQ_LIT(""));
  return vq_loss_density_entropy(b, all, stop);
}

START_TEST(density_entropy_of_known_samples) {
  const vq_type *t = SHAPE(1, 9);
  vq_module *m = loss_module(samples_loss, 1, &t);
  double x[] = {1, 1, 1, 0.4, 0.4, 0.1, 0.1, 0.7, 0.7};
  ck_assert_double_eq_tol(values(m, x, NULL)[0], -6.556472, 1e-5);
  vq_arena_reset(&temp);
  vq_module_destroy(m);
  t = SHAPE(1, 40);
  m = loss_module(fenced_loss, 1, &t);
  for (int i = 0; i < 4; i++) compare("entropy, kde", m, -0.9, 0.9);
  vq_module_destroy(m);
}
END_TEST

// ---- similarity of heads -----------------------------------------------------------------

enum { QUERIES = TOKENS - 1 };

static vq_value *heads_loss(vq_builder *b, vq_value *const *arg, vq_value *stop[2]) {
  (void)stop;
  vq_attended p = {.q = arg[0], .k = arg[1], .pictures = PICTURES, .heads = HEADS, .skip = 1};
  return vq_loss_heads(b, &p);
}

// Scores of the keys by head h, from 0 to 1.
static void view(const double *q, const double *k, int h, double a[QUERIES]) {
  double lo = INFINITY, hi = -INFINITY;
  for (int j = 0; j < QUERIES; j++) {
    a[j] = 0;
    for (int c = 0; c < WIDTH; c++)
      a[j] += q[h * WIDTH + c] * k[((j + 1) * HEADS + h) * WIDTH + c];
    lo = fmin(lo, a[j]), hi = fmax(hi, a[j]);
  }
  for (int j = 0; j < QUERIES; j++) a[j] = (a[j] - lo) / (hi - lo + 1e-8);
}

static double structural(const double *a, const double *b, int n) {
  double m[2] = {0}, s[3] = {0};
  for (int i = 0; i < n; i++) {
    m[0] += a[i] / n, m[1] += b[i] / n;
    s[0] += a[i] * a[i] / n, s[1] += b[i] * b[i] / n, s[2] += a[i] * b[i] / n;
  }
  double v = s[0] - m[0] * m[0] + s[1] - m[1] * m[1], c = s[2] - m[0] * m[1];
  return (2 * m[0] * m[1] + 1e-4) * (2 * c + 9e-4) /
         ((m[0] * m[0] + m[1] * m[1] + 1e-4) * (v + 9e-4));
}

START_TEST(heads_are_compared_by_structure) {
  const vq_type *t = SHAPE(PICTURES * WINDOWS, TOKENS, HEADS * WIDTH);
  vq_module *m = loss_module(heads_loss, 2, (const vq_type *[]){t, t});
  double q[PICTURES * ATTENTION], k[PICTURES * ATTENTION], a[2][QUERIES];
  random_numbers(q, PICTURES * ATTENTION, -2, 2);
  random_numbers(k, PICTURES * ATTENTION, -2, 2);
  const double *y = values(m, q, k);
  for (int i = 0; i < PICTURES; i++) {
    double sum = 0;
    for (int w = 0; w < WINDOWS; w++)
      for (int r = 1; r < TOKENS; r++) {
        int at = (i * WINDOWS + w) * TOKENS * HEADS * WIDTH;
        for (int h = 0; h < HEADS; h++) view(q + at + r * HEADS * WIDTH, k + at, h, a[h]);
        double s = structural(a[0], a[1], QUERIES);
        sum += 2 * (1 - s * s);
      }
    NEAR(y[i], sum / (WINDOWS * QUERIES * HEADS * HEADS));
  }
  vq_arena_reset(&temp);
  for (int i = 0; i < 4; i++) compare("heads", m, -2, 2);
  vq_module_destroy(m);
}
END_TEST

static vq_value *two_views_loss(vq_builder *b, vq_value *const *arg, vq_value *stop[2]) {
  (void)stop;
  vq_attended p = {.q = arg[0], .k = arg[1], .pictures = 1, .heads = 2};
  return vq_loss_heads(b, &p);
}

// Of four ordered pairs two are of a head with itself.
START_TEST(heads_of_known_views) {
  const vq_type *t = SHAPE(1, 4, 2);
  vq_module *m = loss_module(two_views_loss, 2, (const vq_type *[]){t, t});
  double q[] = {1, 1, 1, 1, 1, 1, 1, 1}, k[] = {0, 0.1, 0.2, 0, 0.6, 1, 1, 0.8};
  ck_assert_double_eq_tol(values(m, q, k)[0], 0.336981 / 2, 1e-5);
  for (int i = 0; i < 8; i++) q[i] = 1 + i / 2, k[i] = i / 2;  // all heads the same
  vq_arena_reset(&temp);
  ck_assert_double_eq_tol(values(m, q, k)[0], 0, 1e-6);
  vq_arena_reset(&temp);
  vq_module_destroy(m);
}
END_TEST

int main(void) {
  TCase *t = tcase_create("loss");
  tcase_add_test(t, class_is_cross_entropy);
  tcase_add_test(t, variation_is_of_each_picture);
  tcase_add_test(t, variation_of_nothing);
  tcase_add_test(t, gauss_entropy_is_that_of_the_variance);
  tcase_add_test(t, kde_entropy_is_that_of_all_pairs);
  tcase_add_test(t, density_entropy_of_known_samples);
  tcase_add_test(t, heads_are_compared_by_structure);
  tcase_add_test(t, heads_of_known_views);
  int failed = run_tests(t, "losses");
  vq_arena_release(&temp);
  return failed;
}
