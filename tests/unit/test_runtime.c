// The runtime on hand-made models: chunks, threads, alignment, refusals.
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vitq.h"
#include "vitq_rt.h"

// The model: x f32[batch, 5] -> y = (2 x + c) + 1, s = y[0] of each sample.
// Step 0 writes 2 x + c to the arena, 1 task per element; step 1 adds 1, one
// task per sample, through its scratch; step 2 copies the first elements.
enum { WIDTH = 5, BATCH = 4, COUNT = WIDTH * BATCH };
static _Alignas(64) const float constant[16] = {[8] = 0.5f};

static float get(const void *p, int64_t i) {
  float v;
  memcpy(&v, (const char *)p + 4 * i, 4);
  return v;
}

static void put(void *p, int64_t i, float v) {
  memcpy((char *)p + 4 * i, &v, 4);
}

static void k_double(void *const *arg, int64_t begin, int64_t end, void *s) {
  (void)s;
  ck_assert_uint_eq((uintptr_t)arg[0] % VITQ_ALIGN, 0);
  for (int64_t i = begin; i < end; i++)
    put(arg[0], i, 2 * get(arg[1], i) + get(arg[2], 0));
}

static void k_add(void *const *arg, int64_t begin, int64_t end, void *s) {
  ck_assert_uint_eq((uintptr_t)s % VITQ_ALIGN, 0);
  float *tmp = s;
  for (int64_t i = begin; i < end; i++) {
    for (int k = 0; k < WIDTH; k++) tmp[k] = get(arg[1], i * WIDTH + k) + 1;
    for (int k = 0; k < WIDTH; k++) put(arg[0], i * WIDTH + k, tmp[k]);
  }
}

static void k_first(void *const *arg, int64_t begin, int64_t end, void *s) {
  (void)s;
  for (int64_t i = begin; i < end; i++)
    put(arg[0], i, get(arg[1], i * WIDTH));
}

static void k_never(void *const *arg, int64_t begin, int64_t end, void *s) {
  (void)arg, (void)begin, (void)end, (void)s;
  ck_abort_msg("a variant this CPU cannot run was called");
}

#define TENSOR(n, d) {n, VITQ_F32, 2, {BATCH, d}, 4 * (d)}
static const vitq_tensor_info inputs[] = {TENSOR("x", WIDTH)};
static const vitq_tensor_info outputs[] = {TENSOR("y", WIDTH), TENSOR("s", 1)};
static const vitq_kernel kernels[] = {{"double", 3, 0, COUNT, COUNT},
                                      {"add", 2, 4 * WIDTH, BATCH, 0},
                                      {"first", 2, 0, BATCH, 0}};
static const vitq_operand args[] = {
    {VITQ_SPACE_ARENA, 64}, {VITQ_SPACE_INPUT, 0}, {VITQ_SPACE_CONST, 32},
    {VITQ_SPACE_OUTPUT, 0}, {VITQ_SPACE_ARENA, 64},
    {VITQ_SPACE_OUTPUT, 1}, {VITQ_SPACE_OUTPUT, 0}};
static const vitq_step steps[] = {
    {0, 3, args, "d"}, {1, 2, args + 3, "y"}, {2, 2, args + 5, "s"}};
static const vitq_kernel_fn never[] = {k_never, k_never, k_never};
static const vitq_kernel_fn fns[] = {k_double, k_add, k_first};
static const vitq_variant variants[] = {{"future", 1ull << 63, never},
                                        {"baseline", 0, fns}};
static const vitq_preprocess preprocess = {.size = sizeof preprocess};
static const vitq_model proto = {
    .abi_version = VITQ_ABI_VERSION, .size = sizeof proto, .name = "toy",
    .compiler = "test", .n_input = 1, .n_output = 2, .input = inputs,
    .output = outputs, .batch = BATCH, .n_variant = 2, .variant = variants,
    .n_kernel = 3, .n_step = 3, .kernel = kernels, .step = steps,
    .arena_bytes = 64 + 4 * COUNT, .constants = constant,
    .constant_bytes = sizeof constant, .preprocess = &preprocess};

static vitq_handle *open_toy(void) {
  vitq_handle *h;
  ck_assert_int_eq(vitq_open_model(&proto, &h), VITQ_OK);
  return h;
}

static void check_result(int64_t n, const char *y, const char *s) {
  for (int64_t i = 0; i < n * WIDTH; i++)
    ck_assert_float_eq(get(y, i), 2 * (float)i + 1.5f);
  for (int64_t i = 0; i < n; i++)
    ck_assert_float_eq(get(s, i), get(y, i * WIDTH));
}

// Runs n samples from and into buffers `shift` bytes off any alignment, with
// guard bytes behind the outputs and a workspace of exactly the stated size.
static void run_one(const vitq_handle *h, vitq_pool *pool, int64_t n, int shift) {
  size_t ws_size = vitq_workspace_size(h, vitq_pool_threads(pool));
  ck_assert_uint_eq(ws_size % 64, 0);
  void *ws = aligned_alloc(64, ws_size);
  memset(ws, 0xff, ws_size);
  size_t y_size = (size_t)n * WIDTH * 4, s_size = (size_t)n * 4;
  char *x = malloc(y_size + (size_t)shift + 1);
  char *y = malloc(y_size + (size_t)shift + 1);
  char *s = malloc(s_size + (size_t)shift + 1);
  for (int64_t i = 0; i < n * WIDTH; i++) put(x + shift, i, (float)i);
  y[y_size + (size_t)shift] = s[s_size + (size_t)shift] = 77;
  const void *in[] = {x + shift};
  void *out[] = {y + shift, s + shift};
  ck_assert_int_eq(vitq_run(h, n, in, out, ws, pool), VITQ_OK);
  check_result(n, y + shift, s + shift);
  ck_assert_int_eq(y[y_size + (size_t)shift], 77);
  ck_assert_int_eq(s[s_size + (size_t)shift], 77);
  free(s), free(y), free(x), free(ws);
}

START_TEST(any_count_alignment_and_pool) {
  vitq_handle *h = open_toy();
  for (unsigned t = 0; t <= 3; t++) {
    vitq_pool *pool = NULL;
    if (t) ck_assert_int_eq(vitq_pool_create(t, &pool), VITQ_OK);
    ck_assert_uint_eq(vitq_pool_threads(pool), t ? t : 1);
    for (int64_t n = 0; n <= 2 * BATCH + 1; n++)
      for (int shift = 0; shift < 4; shift++) run_one(h, pool, n, shift);
    vitq_pool_destroy(pool);
  }
  vitq_close(h);
}
END_TEST

START_TEST(pool_survives_many_runs_and_sleeps) {
  vitq_handle *h = open_toy();
  vitq_pool *pool;
  ck_assert_int_eq(vitq_pool_create(3, &pool), VITQ_OK);
  for (int i = 0; i < 400; i++) {
    run_one(h, pool, BATCH, 0);
    struct timespec nap = {0, 2000000};
    if (i % 100 == 0) nanosleep(&nap, NULL);
  }
  vitq_pool_destroy(pool);
  vitq_close(h);
}
END_TEST

START_TEST(embedded_entry_point) {
  void *ws = aligned_alloc(64, vitq_rt_workspace(&proto));
  float x[3 * WIDTH], y[3 * WIDTH], s[3];
  for (int i = 0; i < 3 * WIDTH; i++) x[i] = (float)i;
  const void *in[] = {x};
  void *out[] = {y, s};
  ck_assert_int_eq(vitq_rt_run_model(&proto, 3, in, out, ws), VITQ_OK);
  check_result(3, (char *)y, (char *)s);
  free(ws);
}
END_TEST

static void count_step(void *user, uint32_t step, double seconds) {
  int *n = user;
  ck_assert_uint_lt(step, 3);
  ck_assert_double_ge(seconds, 0);
  n[step]++;
}

START_TEST(profile_visits_every_step) {
  vitq_handle *h = open_toy();
  void *ws = aligned_alloc(64, vitq_workspace_size(h, 1));
  float x[9 * WIDTH] = {0}, y[9 * WIDTH], s[9];
  const void *in[] = {x};
  void *out[] = {y, s};
  int n[3] = {0};
  ck_assert_int_eq(
      vitq_run_profiled(h, 9, in, out, ws, NULL, count_step, n), VITQ_OK);
  for (int i = 0; i < 3; i++) ck_assert_int_eq(n[i], 3);
  free(ws);
  vitq_close(h);
}
END_TEST

START_TEST(wrong_arguments) {
  vitq_handle *h = open_toy(), *other;
  char *ws = aligned_alloc(64, vitq_workspace_size(h, 1) + 64);
  float x[WIDTH] = {0}, y[WIDTH], s[1];
  const void *in[] = {x}, *no_in[] = {NULL};
  void *out[] = {y, s}, *no_out[] = {y, NULL};
  ck_assert_int_eq(vitq_run(NULL, 1, in, out, ws, NULL), VITQ_ERR_ARGUMENT);
  ck_assert_int_eq(vitq_run(h, -1, in, out, ws, NULL), VITQ_ERR_ARGUMENT);
  ck_assert_int_eq(vitq_run(h, 1, NULL, out, ws, NULL), VITQ_ERR_ARGUMENT);
  ck_assert_int_eq(vitq_run(h, 1, no_in, out, ws, NULL), VITQ_ERR_ARGUMENT);
  ck_assert_int_eq(vitq_run(h, 1, in, no_out, ws, NULL), VITQ_ERR_ARGUMENT);
  ck_assert_int_eq(vitq_run(h, 1, in, out, NULL, NULL), VITQ_ERR_WORKSPACE);
  ck_assert_int_eq(vitq_run(h, 1, in, out, ws + 32, NULL), VITQ_ERR_WORKSPACE);
  ck_assert_int_eq(vitq_run(h, 0, NULL, NULL, NULL, NULL), VITQ_OK);
  vitq_pool *pool;
  ck_assert_int_eq(vitq_pool_create(0, &pool), VITQ_ERR_ARGUMENT);
  ck_assert_int_eq(vitq_pool_create(2, NULL), VITQ_ERR_ARGUMENT);
  ck_assert_int_eq(vitq_open(NULL, &other), VITQ_ERR_ARGUMENT);
  ck_assert_int_eq(vitq_open_model(NULL, &other), VITQ_ERR_ARGUMENT);
  ck_assert_ptr_null(other);
  free(ws);
  vitq_close(h);
}
END_TEST

START_TEST(choosing_a_variant) {
  vitq_handle *h = open_toy();
  ck_assert_str_eq(vitq_variant_name(h), "baseline");
  ck_assert_int_eq(vitq_select(h, "future"), VITQ_ERR_ISA);
  ck_assert_int_eq(vitq_select(h, "nonsense"), VITQ_ERR_ISA);
  ck_assert_ptr_nonnull(strstr(vitq_last_error(), "nonsense"));
  ck_assert_int_eq(vitq_select(h, "baseline"), VITQ_OK);
  ck_assert_str_eq(vitq_last_error(), "");
  vitq_close(h);
  vitq_model m = proto;
  m.n_variant = 1;
  ck_assert_int_eq(vitq_open_model(&m, &h), VITQ_ERR_ISA);
}
END_TEST

static void refuse(const vitq_model *m, vitq_status expected) {
  vitq_handle *h;
  ck_assert_int_eq(vitq_open_model(m, &h), expected);
  ck_assert_ptr_null(h);
  ck_assert_str_ne(vitq_last_error(), "");
}

START_TEST(broken_descriptions) {
#define REFUSE(status, ...)                \
  do {                                     \
    vitq_model m = proto;                  \
    __VA_ARGS__;                           \
    refuse(&m, status);                    \
  } while (0)
  REFUSE(VITQ_ERR_VERSION, m.abi_version = VITQ_ABI_VERSION + 1);
  REFUSE(VITQ_ERR_VERSION, m.abi_version = 0);
  REFUSE(VITQ_ERR_VERSION, m.size = 16);
  REFUSE(VITQ_ERR_NOT_MODEL, m.batch = 0);
  REFUSE(VITQ_ERR_NOT_MODEL, m.n_input = 0);
  REFUSE(VITQ_ERR_NOT_MODEL, m.output = NULL);
  REFUSE(VITQ_ERR_NOT_MODEL, m.n_kernel = 2);
  REFUSE(VITQ_ERR_NOT_MODEL, m.n_variant = 0);
  REFUSE(VITQ_ERR_NOT_MODEL, m.constant_bytes = 8);
  REFUSE(VITQ_ERR_NOT_MODEL, m.arena_bytes = 32);
  REFUSE(VITQ_ERR_NOT_MODEL, m.constants = NULL);
  REFUSE(VITQ_ERR_NOT_MODEL, m.n_label = 3);
  vitq_kernel more[3];
  memcpy(more, kernels, sizeof more);
  more[1].n_arg = 3;
  REFUSE(VITQ_ERR_NOT_MODEL, m.kernel = more);
}
END_TEST

START_TEST(files_that_are_no_models) {
  vitq_handle *h;
  ck_assert_int_eq(vitq_open("no-such-file.so", &h), VITQ_ERR_OPEN);
  ck_assert_ptr_nonnull(strstr(vitq_last_error(), "no-such-file.so"));
  char path[] = "/tmp/vitq-test-XXXXXX";
  int fd = mkstemp(path);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(write(fd, "hello, world", 12), 12);
  close(fd);
  ck_assert_int_eq(vitq_open(path, &h), VITQ_ERR_OPEN);
  remove(path);
  ck_assert_int_eq(vitq_open("/lib/x86_64-linux-gnu/libm.so.6", &h),
                   VITQ_ERR_NOT_MODEL);
  ck_assert_ptr_null(h);
}
END_TEST

START_TEST(every_status_has_a_text) {
  for (int s = VITQ_OK; s <= VITQ_ERR_MEMORY; s++)
    ck_assert_str_ne(vitq_status_text((vitq_status)s), "unknown status");
}
END_TEST

int main(void) {
  Suite *s = suite_create("runtime");
  TCase *c = tcase_create("runtime");
  tcase_add_test(c, any_count_alignment_and_pool);
  tcase_add_test(c, pool_survives_many_runs_and_sleeps);
  tcase_add_test(c, embedded_entry_point);
  tcase_add_test(c, profile_visits_every_step);
  tcase_add_test(c, wrong_arguments);
  tcase_add_test(c, choosing_a_variant);
  tcase_add_test(c, broken_descriptions);
  tcase_add_test(c, files_that_are_no_models);
  tcase_add_test(c, every_status_has_a_text);
  suite_add_tcase(s, c);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
