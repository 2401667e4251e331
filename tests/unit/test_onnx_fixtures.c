// Every exported model under $VITQC_DATA/fixtures imports, verifies, and
// computes what PyTorch computed.
#include <check.h>
#include <dirent.h>
#include <math.h>
#include <time.h>

#include "npy.h"
#include "vq/eval.h"
#include "vq/onnx.h"
#include "vq/strbuf.h"

static char *name[512];
static int n_name;
static char folder[3072];

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static void find_models(void) {
  const char *data = getenv("VITQC_DATA");
  snprintf(folder, sizeof folder, "%s/fixtures", data ? data : "");
  DIR *d = data ? opendir(folder) : NULL;
  for (struct dirent *e; d && (e = readdir(d));) {
    size_t n = strlen(e->d_name);
    if (n > 5 && !strcmp(e->d_name + n - 5, ".onnx") && n_name < 512)
      name[n_name++] = strndup(e->d_name, n - 5);
  }
  if (d)
    closedir(d);
  qsort(name, (size_t)n_name, sizeof *name, by_name);
}

static vq_module *import(vq_ctx *ctx, const char *model, int64_t batch,
                         vq_onnx_summary *s) {
  char path[4096];
  vq_strbuf text = {0};
  vq_diag diag;
  vq_module *m = NULL;
  vq_diag_init(&diag, ctx, vq_sink_strbuf, &text);
  snprintf(path, sizeof path, "%s/%s.onnx", folder, model);
  vq_onnx_options opt = {.batch = batch};
  vq_status status = vq_onnx_import(ctx, path, &opt, &diag, &m, s);
  ck_assert_msg(status == VQ_OK, "%s: %s", model, vq_strbuf_z(&text));
  vq_strbuf_release(&text);
  return m;
}

static int64_t count_ops(const vq_func *f) {
  int64_t n = 0;
  vq_each_op(f, op) n++;
  return n;
}

// Largest difference from the recorded output, as a share of its largest
// value. Every sample of the batch gets the same picture.
static double compare(const vq_module *m, const char *model, int64_t batch) {
  char path[4096];
  npy in, out;
  snprintf(path, sizeof path, "%s/%s.in.npy", folder, model);
  ck_assert_msg(npy_read(path, &in), "%s", path);
  snprintf(path, sizeof path, "%s/%s.out.npy", folder, model);
  ck_assert_msg(npy_read(path, &out), "%s", path);
  const vq_func *f = m->first_func;
  ck_assert_int_eq(vq_type_count(f->arg[0].type), in.n * batch);
  ck_assert_int_eq(vq_type_count(f->result[0]), out.n * batch);
  float *x = malloc((size_t)(in.n * batch) * 4);
  float *y = calloc((size_t)(out.n * batch), 4);
  for (int64_t b = 0; b < batch; b++)
    memcpy(x + b * in.n, in.data, (size_t)in.n * 4);
  vq_tensor tx = {f->arg[0].type, x}, ty = {f->result[0], y};
  vq_diag diag;
  vq_diag_init(&diag, m->ctx, NULL, NULL);
  ck_assert(vq_eval_func(f, &tx, &ty, &diag, NULL, NULL) == VQ_OK);
  double worst = 0, scale = 0;
  for (int64_t i = 0; i < out.n; i++)
    scale = fmax(scale, fabs(out.data[i]));
  for (int64_t i = 0; i < out.n * batch; i++) {
    double d = fabs((double)y[i] - out.data[i % out.n]);
    worst = d > worst || isnan(d) ? d : worst;
  }
  free(x);
  free(y);
  free(in.data);
  free(out.data);
  return worst / scale;
}

static void check_model(const char *model, int64_t batch) {
  vq_ctx *ctx = vq_ctx_create();
  vq_onnx_summary s;
  clock_t start = clock();
  vq_module *m = import(ctx, model, batch, &s);
  double ms = (double)(clock() - start) * 1000.0 / CLOCKS_PER_SEC;
  ck_assert_uint_gt(s.n_node, 0);
  ck_assert_int_eq(s.batch, batch);
  double error = compare(m, model, batch);
  printf("%-28s batch %d: %5u nodes -> %4lld ops, %6.1f ms, error %.1e\n",
         model, (int)batch, s.n_node,
         (long long)count_ops(m->first_func), ms, error);
  ck_assert_msg(error < 1e-4, "%s: error %g", model, error);
  vq_module_destroy(m);
  vq_ctx_destroy(ctx);
}

START_TEST(fixture) { check_model(name[_i], 1); }
END_TEST

START_TEST(batch_of_three) {
  if (strstr(name[_i], "_dyn"))
    check_model(name[_i], 3);
}
END_TEST

int main(void) {
  find_models();
  if (!n_name) {
    printf("SKIPPED: VITQC_DATA names no folder with fixtures/*.onnx\n");
    return 0;
  }
  Suite *s = suite_create("onnx_fixtures");
  TCase *t = tcase_create("fixtures");
  tcase_set_timeout(t, 0);
  tcase_add_loop_test(t, fixture, 0, n_name);
  tcase_add_loop_test(t, batch_of_three, 0, n_name);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  while (n_name)
    free(name[--n_name]);
  return failed != 0;
}
