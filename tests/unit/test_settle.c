// Ranges that settle: the rule on numbers whose ranges are known, and the set of pictures
// that follows from it, however they come to be.
#include "calib/settle.h"

#include "calib/synthesize.h"
#include "small_vit.h"

enum { COUNT = 3 * 16 * 16, WIDTH = 4096, MOST = 40 };

// ---- the rule ----------------------------------------------------------------------

typedef struct judge {
  vq_arena scratch;
  vq_exec *e;
  vq_pass_ctx pc;
  vq_settle s;
  vq_module *m;
} judge;

// What is looked at of a sample are its WIDTH numbers as they are.
static void open_judge(judge *j, int batch, double percent) {
  vq_strbuf t = {0};
  vq_strbuf_printf(&t,
      "vq 1\nmodule \"t\"\n"
      "const @w : tensor<2x%2$d, f32> = fill<1.0>\n"
      "func @main(%%x: tensor<%1$dx%2$dx1, f32>) -> (y: tensor<%1$dx2, f32>) {\n"
      "  %%r = reshape %%x {shape = [%1$d, %2$d]} : tensor<%1$dx%2$d, f32>\n"
      "  %%y = linear %%r, @w : tensor<%1$dx2, f32>\n"
      "  return %%y\n}\n", batch, WIDTH);
  *j = (judge){.e = vq_exec_interpreter(), .m = parse(vq_strbuf_z(&t))};
  j->pc = (vq_pass_ctx){.ctx = ctx, .diag = &diag, .temp = &j->scratch, .exec = j->e};
  OK(vq_settle_open(&j->s, j->m, percent, &j->pc));
  vq_strbuf_release(&t);
}

static void close_judge(judge *j) {
  vq_settle_close(&j->s);
  vq_module_destroy(j->m);
  j->e->ops->destroy(j->e);
  vq_arena_release(&j->scratch);
}

// A cycle whose numbers are equally spaced from -most to most.
static bool see(judge *j, float most) {
  static float x[VQ_SETTLE_CYCLE * WIDTH];
  bool settled;
  for (int i = 0; i < VQ_SETTLE_CYCLE * WIDTH; i++)
    x[i] = most * (2 * (float)(i % WIDTH) / (WIDTH - 1) - 1);
  OK(vq_settle_see(&j->s, x, &settled));
  return settled;
}

// It takes as many cycles as are looked back; a wider one unsettles these, and so do
// ranges that creep, until as many as that are behind it.
START_TEST(ranges_are_compared) {
  for (int batch = 1; batch <= 6; batch++) {
    judge j;
    open_judge(&j, batch, 5);
    ck_assert(!see(&j, 1));
    ck_assert(!see(&j, 1));
    ck_assert(see(&j, 1));
    ck_assert(see(&j, 1.04f));
    ck_assert(!see(&j, 2));
    ck_assert(!see(&j, 2));
    ck_assert(see(&j, 2));
    close_judge(&j);
  }
}
END_TEST

// Numbers to 1.2 behind twice as many to 1 move either end by a tenth of the range.
START_TEST(percentages_are_of_the_range) {
  judge near, far;
  open_judge(&near, 1, 11);
  open_judge(&far, 1, 9);
  for (int i = 0; i < 2; i++) ck_assert(!see(&near, 1) && !see(&far, 1));
  ck_assert(see(&near, 1.2f));
  ck_assert(!see(&far, 1.2f));
  close_judge(&near);
  close_judge(&far);
}
END_TEST

// One number far away, as photographs have them, is no range; numbers that are not
// finite never settle.
START_TEST(outliers_do_not_count) {
  static float x[VQ_SETTLE_CYCLE * WIDTH];
  judge j;
  bool settled = false;
  open_judge(&j, 1, 1);
  for (int k = 0; k < 3; k++) {
    for (int i = 0; i < VQ_SETTLE_CYCLE * WIDTH; i++) x[i] = 1 + (float)(i % 100) / 100;
    x[7] = 1e30f, x[8] = -1e30f * (float)k;
    OK(vq_settle_see(&j.s, x, &settled));
  }
  ck_assert(settled);
  for (int k = 0; k < 4; k++) {
    for (int i = 0; i < VQ_SETTLE_CYCLE * WIDTH; i++) x[i] = i % 2 ? NAN : -INFINITY;
    OK(vq_settle_see(&j.s, x, &settled));
    ck_assert(!settled);
  }
  close_judge(&j);
}
END_TEST

START_TEST(something_has_to_be_looked_at) {
  vq_arena scratch = {0};
  vq_exec *e = vq_exec_interpreter();
  vq_pass_ctx pc = {.ctx = ctx, .diag = &diag, .temp = &scratch, .exec = e};
  vq_settle s;
  vq_module *m = parse("vq 1\nmodule \"t\"\nfunc @main(%x: tensor<2x3, f32>) ->"
                       " (y: tensor<2x3, f32>) {\n  return %x\n}\n");
  ck_assert_int_eq(vq_settle_open(&s, m, 5, &pc), VQ_ERR);
  ck_assert_ptr_nonnull(strstr(vq_strbuf_z(&messages), "no range could settle"));
  vq_settle_close(&s);
  vq_module_destroy(m);
  e->ops->destroy(e);
  vq_arena_release(&scratch);
}
END_TEST

// ---- sets of pictures --------------------------------------------------------------

typedef struct album {
  bool there[MOST];
  float x[MOST][COUNT];
  int n_save;
} album;

static vq_status album_load(void *user, int64_t i, float *out, bool *found, vq_diag *dg) {
  album *a = user;
  (void)dg;
  *found = a->there[i];
  if (*found) memcpy(out, a->x[i], sizeof a->x[i]);
  return VQ_OK;
}

static vq_status album_save(void *user, int64_t i, const float *x, vq_diag *dg) {
  album *a = user;
  (void)dg;
  ck_assert(!a->there[i]);
  a->there[i] = true;
  memcpy(a->x[i], x, sizeof a->x[i]);
  a->n_save++;
  return VQ_OK;
}

static vq_status lower_all(void *user, vq_module *m, vq_str name, vq_diag *dg) {
  (void)user, (void)name;
  vq_pipeline *p;
  if (vq_pipeline_parse(ctx, VQ_LIT("fold,cse,dce,rows,pack,fuse,outline,dce,plan-memory"),
                        dg, &p))
    return VQ_ERR;
  vq_status st = vq_pipeline_run(p, m, dg, NULL, NULL, NULL);
  vq_pipeline_destroy(p);
  return st;
}

// Compiled code where there are threads.
static vq_exec *exec_for(unsigned n_thread) {
  vq_exec *e = n_thread ? vq_exec_jit(lower_all, NULL, "x86-64") : vq_exec_interpreter();
  e->n_thread = n_thread;
  return e;
}

// How many pictures ranges settled by, within `percent`; *held are held back.
static int64_t make(album *a, double percent, int batch, unsigned n_thread, int64_t *held) {
  vq_exec *e = exec_for(n_thread);
  vq_sample_store store = {album_load, album_save, a};
  vq_module *m = small_vit(batch);
  vq_strbuf text = {0};
  vq_pipeline *p;
  e->store = &store;
  vq_strbuf_printf(&text, "synthesize{count=%d held=4 steps=1 settled=%g}", MOST, percent);
  OK(vq_pipeline_parse(ctx, vq_strbuf_view(&text), &diag, &p));
  OK(vq_pipeline_run(p, m, &diag, NULL, e, NULL));
  int64_t n = e->samples->n;
  *held = e->held->n;
  float x[COUNT];
  for (int64_t i = 0; i < n + *held; i++) {
    ck_assert(a->there[i]);
    OK(e->samples->load(e->samples->user, i, x, &diag));
    ck_assert_mem_eq(x, a->x[i], sizeof x);
  }
  vq_strbuf_release(&text);
  vq_pipeline_destroy(p);
  vq_module_destroy(m);
  e->ops->destroy(e);
  return n;
}

// What the rule says of the first `n` pictures, and of none before.
static void expect_first(const album *a, double percent, int64_t n) {
  vq_arena scratch = {0};
  vq_exec *e = exec_for(0);
  vq_pass_ctx pc = {.ctx = ctx, .diag = &diag, .temp = &scratch, .exec = e};
  vq_settle s;
  vq_module *m = small_vit(1);
  OK(vq_settle_open(&s, m, percent, &pc));
  for (int64_t i = 0; i < n; i += VQ_SETTLE_CYCLE) {
    bool settled;
    OK(vq_settle_see(&s, a->x[i], &settled));
    ck_assert_int_eq(settled, i + VQ_SETTLE_CYCLE == n);
  }
  vq_settle_close(&s);
  vq_module_destroy(m);
  e->ops->destroy(e);
  vq_arena_release(&scratch);
}

// The smallest set that has settled, in any batch and whatever was there before.
START_TEST(sets_are_a_matter_of_numbers) {
  static album one, other;
  static const double percent[] = {3, 8, 30};
  int64_t held, again, last = MOST;
  for (size_t k = 0; k < VQ_COUNT(percent); k++) {
    memset(&one, 0, sizeof one);
    int64_t n = make(&one, percent[k], 1, 0, &held);
    size_t bytes = (size_t)(n + held) * sizeof one.x[0];
    ck_assert_msg(n < last && n % 4 == 0, "%lld behind %lld", (long long)n, (long long)last);
    ck_assert_int_eq(held, (n + 7) / 8);
    expect_first(&one, percent[k], n);
    last = n;
    memset(&other, 0, sizeof other);
    ck_assert_int_eq(make(&other, percent[k], 3, 0, &again), n);
    ck_assert_int_eq(again, held);
    ck_assert_mem_eq(one.x, other.x, bytes);
    for (int i = 0; i < MOST; i++) other.there[i] &= i % 5 != 2;
    for (int left = 1; left >= 0; left--) {  // what is missing is made, then nothing
      other.n_save = 0;
      ck_assert_int_eq(make(&other, percent[k], 1, 0, &again), n);
      ck_assert(again == held && (other.n_save > 0) == left);
      ck_assert_mem_eq(one.x, other.x, bytes);
    }
  }
}
END_TEST

// By any number of threads.
START_TEST(threads_make_the_same_set) {
  static album one, two;
  int64_t held, again, n = make(&one, 8, 1, 1, &held);
  ck_assert_int_lt(n, MOST - 4);
  ck_assert_int_eq(make(&two, 8, 1, 3, &again), n);
  ck_assert_int_eq(again, held);
  ck_assert_mem_eq(one.x, two.x, (size_t)(n + held) * sizeof one.x[0]);
}
END_TEST

// What does not settle is as large as it may be.
START_TEST(sets_end) {
  static album a;
  int64_t held;
  ck_assert_int_eq(make(&a, 1e-6, 1, 0, &held), MOST - 4);
  ck_assert_int_eq(held, 4);
  ck_assert_int_eq(a.n_save, MOST);
}
END_TEST

int main(void) {
  TCase *t = tcase_create("settle");
  tcase_add_test(t, ranges_are_compared);
  tcase_add_test(t, percentages_are_of_the_range);
  tcase_add_test(t, outliers_do_not_count);
  tcase_add_test(t, something_has_to_be_looked_at);
  tcase_add_test(t, sets_are_a_matter_of_numbers);
  tcase_add_test(t, threads_make_the_same_set);
  tcase_add_test(t, sets_end);
  return run_tests(t, "settled ranges");
}
