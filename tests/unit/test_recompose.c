// recompose keeps meaning (every golden input, before against after), leaves
// nothing over in the exported models, and brings each family to one form.
#include <check.h>
#include <dirent.h>
#include <math.h>

#include "npy.h"
#include "vq/eval.h"
#include "vq/onnx.h"
#include "vq/pass.h"
#include "vq/recompose.h"
#include "vq/strbuf.h"
#include "vq/text.h"
#include "vq/vec.h"

#define MAX_FILES 512
#define MAX_ARGS 8

typedef struct folder {
  char *name[MAX_FILES];
  int n;
} folder;

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

// The files of `path` that end in `suffix`, without it, in order.
static void list(folder *f, const char *path, const char *suffix) {
  DIR *d = opendir(path);
  size_t k = strlen(suffix);
  f->n = 0;
  for (struct dirent *e; d && (e = readdir(d));) {
    size_t n = strlen(e->d_name);
    if (n > k && !strcmp(e->d_name + n - k, suffix) && f->n < MAX_FILES)
      f->name[f->n++] = strndup(e->d_name, n - k);
  }
  if (d) closedir(d);
  qsort(f->name, (size_t)f->n, sizeof *f->name, by_name);
}

static void list_release(folder *f) {
  for (int i = 0; i < f->n; i++) free(f->name[i]);
}

static void run(vq_module *m, const char *passes, vq_diag *diag) {
  vq_pipeline *p = NULL;
  vq_instrument ins = {.verify_each = true};
  ck_assert(!vq_pipeline_parse(m->ctx, vq_str_of(passes), diag, &p));
  ck_assert(!vq_pipeline_run(p, m, diag, &ins, NULL, NULL));
  vq_pipeline_destroy(p);
}

// Evaluates @main; the caller frees the single result.
static float *evaluate(const vq_module *m, float *const *in, int64_t *n,
                       vq_diag *diag) {
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  vq_tensor arg[MAX_ARGS], out;
  for (unsigned i = 0; i < f->n_arg; i++)
    arg[i] = (vq_tensor){f->arg[i].type, in[i]};
  *n = vq_type_count(f->result[0]);
  out = (vq_tensor){f->result[0], calloc((size_t)*n, sizeof(float))};
  ck_assert(!vq_eval_func(f, arg, &out, diag, NULL, NULL));
  return out.data;
}

// Largest difference as a share of the largest value.
static double distance(const float *a, const float *b, int64_t n) {
  double most = 0, top = 1e-30;
  for (int64_t i = 0; i < n; i++) {
    most = fmax(most, isfinite(a[i]) ? fabs((double)a[i] - b[i]) : INFINITY);
    top = fmax(top, fabs(b[i]));
  }
  return most / top;
}

static void count_op(void *user, const vq_op *op) {
  (void)op;
  ++*(int *)user;
}

// ---- golden inputs ------------------------------------------------------------

static float *noise(const vq_type *t, unsigned seed) {
  int64_t n = vq_type_count(t);
  float *x = malloc((size_t)n * sizeof *x);
  uint32_t s = seed * 2654435761u + 1;
  for (int64_t i = 0; i < n; i++) {
    s = s * 1664525u + 1013904223u;
    x[i] = (float)(s >> 8) / 8388608.0f - 1;
  }
  return x;
}

static void check_meaning(const char *file, vq_str text) {
  vq_ctx *ctx = vq_ctx_create();
  vq_diag diag;
  vq_strbuf said = {0};
  vq_module *m = NULL;
  float *in[MAX_ARGS];
  int64_t n;
  vq_diag_init(&diag, ctx, vq_sink_strbuf, &said);
  ck_assert_msg(!vq_parse(ctx, text, file, &diag, &m), "%s: %s", file,
                vq_strbuf_z(&said));
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  unsigned n_arg = f->n_arg;
  for (unsigned i = 0; i < n_arg; i++) in[i] = noise(f->arg[i].type, i + 1);
  float *before = evaluate(m, in, &n, &diag);
  run(m, "recompose", &diag);
  float *after = evaluate(m, in, &n, &diag);
  double d = distance(after, before, n);
  ck_assert_msg(d < 1e-5, "%s: differs by %g", file, d);
  uint64_t hash = vq_module_hash(m, true);
  run(m, "recompose", &diag);
  ck_assert_msg(vq_module_hash(m, true) == hash, "%s: not a fixed point", file);
  for (unsigned i = 0; i < n_arg; i++) free(in[i]);
  free(before);
  free(after);
  vq_module_destroy(m);
  vq_strbuf_release(&said);
  vq_ctx_destroy(ctx);
}

START_TEST(golden_inputs_keep_their_meaning) {
  const char *where = TEST_DATA_DIR "/passes/recompose", *cut = "// -----";
  folder files;
  char path[4096];
  list(&files, where, ".vq");
  ck_assert_int_gt(files.n, 5);
  for (int i = 0; i < files.n; i++) {
    static char text[1 << 16];
    snprintf(path, sizeof path, "%s/%s.vq", where, files.name[i]);
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    for (char *part = text, *end; part; part = end ? end + strlen(cut) : NULL) {
      end = strstr(part, cut);
      size_t size = end ? (size_t)(end - part) : strlen(part);
      check_meaning(path, (vq_str){part, size});
    }
  }
  list_release(&files);
}
END_TEST

// ---- exported models ------------------------------------------------------------

// One network in one codebase: "vit", "swin_timm", ...
static void family_of(const char *name, char *out, size_t size) {
  static const char *const ends[] = {"_ts", "_dy", "_manual", "_sdpa",
                                     "_eager"};
  snprintf(out, size, "%s", name);
  for (unsigned i = 0; i < VQ_COUNT(ends); i++) {
    char *p = strstr(out, ends[i]);
    if (p) *p = 0;
  }
  if (!strncmp(out, "vit_", 4)) out[3] = 0;
}

// The weights of a module in the order of its ops, which its hash has fixed.
typedef VQ_VEC(double) numbers;

static void collect(const vq_module *m, numbers *out) {
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  vq_each_op(f, op) {
    if (op->code != VQ_OP_linear && op->code != VQ_OP_layer_norm &&
        op->code != VQ_OP_patch_embed)
      continue;
    for (unsigned i = 1; i < op->n_in; i++) {
      int64_t n = vq_type_count(vq_in(op, i)->type);
      for (int64_t j = 0; j < n; j++)
        vq_vec_push(out, vq_const_f64(vq_const_of(vq_in(op, i)), j));
    }
  }
}

typedef struct family {
  char name[64];
  uint64_t hash;
  numbers weights;
} family;

static void check_output(const char *path, const vq_module *m, vq_diag *diag) {
  char file[4200];
  npy in, want;
  int64_t n;
  snprintf(file, sizeof file, "%s.in.npy", path);
  ck_assert_msg(npy_read(file, &in), "%s", file);
  snprintf(file, sizeof file, "%s.out.npy", path);
  ck_assert_msg(npy_read(file, &want), "%s", file);
  float *got = evaluate(m, &in.data, &n, diag);
  ck_assert_int_eq(n, want.n);
  double d = distance(got, want.data, n);
  ck_assert_msg(d < 1e-4, "%s: differs by %g", path, d);
  free(got);
  free(in.data);
  free(want.data);
}

static void check_family(const char *name, const vq_module *m, family *known,
                         int *n_known) {
  family f = {.hash = vq_module_hash(m, false)};
  family_of(name, f.name, sizeof f.name);
  collect(m, &f.weights);
  for (int i = 0; i < *n_known; i++) {
    if (strcmp(known[i].name, f.name)) continue;
    ck_assert_msg(known[i].hash == f.hash, "%s: another form", name);
    ck_assert_uint_eq(known[i].weights.n, f.weights.n);
    double most = 0;
    for (size_t j = 0; j < f.weights.n; j++)
      most = fmax(most, fabs(known[i].weights.p[j] - f.weights.p[j]));
    ck_assert_msg(most < 1e-6, "%s: weights differ by %g", name, most);
    vq_vec_release(&f.weights);
    return;
  }
  known[(*n_known)++] = f;
}

START_TEST(exported_models_have_one_form) {
  const char *data = getenv("VITQC_DATA");
  char where[2048], path[4096];
  static family known[MAX_FILES];
  int n_known = 0;
  folder files;
  if (!data) {
    fprintf(stderr, "SKIPPED: VITQC_DATA is not set\n");
    return;
  }
  snprintf(where, sizeof where, "%s/fixtures", data);
  list(&files, where, ".onnx");
  ck_assert_int_gt(files.n, 0);
  for (int i = 0; i < files.n; i++) {
    vq_ctx *ctx = vq_ctx_create();
    vq_diag diag;
    vq_strbuf said = {0};
    vq_module *m = NULL;
    int n_left = 0;
    vq_diag_init(&diag, ctx, vq_sink_strbuf, &said);
    snprintf(path, sizeof path, "%s/%s.onnx", where, files.name[i]);
    vq_onnx_options opt = {.batch = 1};
    ck_assert_msg(!vq_onnx_import(ctx, path, &opt, &diag, &m, NULL), "%s: %s",
                  path, vq_strbuf_z(&said));
    run(m, "fold,recompose,cse,dce", &diag);
    vq_recompose_leftovers(m, count_op, &n_left);
    ck_assert_msg(n_left == 0, "%s: %d ops left over", files.name[i], n_left);
    path[strlen(path) - strlen(".onnx")] = 0;
    check_output(path, m, &diag);
    check_family(files.name[i], m, known, &n_known);
    vq_module_destroy(m);
    vq_strbuf_release(&said);
    vq_ctx_destroy(ctx);
  }
  for (int i = 0; i < n_known; i++) vq_vec_release(&known[i].weights);
  ck_assert_int_lt(n_known, files.n);
  list_release(&files);
}
END_TEST

int main(void) {
  Suite *s = suite_create("recompose");
  TCase *t = tcase_create("recompose");
  tcase_add_test(t, golden_inputs_keep_their_meaning);
  tcase_add_test(t, exported_models_have_one_form);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_ENV);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
