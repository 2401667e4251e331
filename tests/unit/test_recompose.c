// recompose keeps meaning (every golden input, before against after), and brings
// all spellings in a file of tests/passes/spellings to one form.
#include <check.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vq/eval.h"
#include "vq/pass.h"
#include "vq/recompose.h"
#include "vq/strbuf.h"
#include "vq/text.h"

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

typedef void (*part_fn)(const char *file, vq_str text, unsigned at, void *user);

// Calls `fn` for each part of each file in a folder of tests/passes.
static void each_part(const char *folder_name, int min_files, part_fn fn,
                      void *user) {
  const char *cut = "// -----";
  folder files;
  char where[1024], path[4096];
  snprintf(where, sizeof where, "%s/passes/%s", TEST_DATA_DIR, folder_name);
  list(&files, where, ".vq");
  ck_assert_int_ge(files.n, min_files);
  for (int i = 0; i < files.n; i++) {
    static char text[1 << 16];
    snprintf(path, sizeof path, "%s/%s.vq", where, files.name[i]);
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    unsigned at = 0;
    for (char *part = text, *end; part; part = end ? end + strlen(cut) : NULL) {
      end = strstr(part, cut);
      size_t size = end ? (size_t)(end - part) : strlen(part);
      fn(path, (vq_str){part, size}, at++, user);
    }
  }
  list_release(&files);
}

static void golden_part(const char *file, vq_str text, unsigned at, void *user) {
  (void)at;
  (void)user;
  check_meaning(file, text);
}

START_TEST(golden_inputs_keep_their_meaning) {
  each_part("recompose", 6, golden_part, NULL);
}
END_TEST

// ---- spellings ----------------------------------------------------------------

// The form and the result of a file's first part.
typedef struct reference {
  uint64_t hash;
  float *y;
  int64_t n;
} reference;

static void name_leftover(void *user, const vq_op *op, const char *construct) {
  ck_abort_msg("%s: %s is left over of %s", (const char *)user,
               vq_op_info(op->code)->name, construct);
}

// Part 0 is the reference; the others, which compute the same from the same
// constants, must become it.
static void spelling(const char *file, vq_str text, unsigned at, void *user) {
  reference *ref = user;
  vq_ctx *ctx = vq_ctx_create();
  vq_diag diag;
  vq_strbuf said = {0};
  vq_module *m = NULL;
  float *in[MAX_ARGS];
  int64_t n;
  char name[4200];
  snprintf(name, sizeof name, "%s, part %u", file, at);
  vq_diag_init(&diag, ctx, vq_sink_strbuf, &said);
  ck_assert_msg(!vq_parse(ctx, text, file, &diag, &m), "%s: %s", name,
                vq_strbuf_z(&said));
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  for (unsigned i = 0; i < f->n_arg; i++) in[i] = noise(f->arg[i].type, i + 1);
  float *before = evaluate(m, in, &n, &diag);
  run(m, "fold,recompose,cse,dce", &diag);
  vq_recompose_leftovers(m, name_leftover, name);
  float *after = evaluate(m, in, &n, &diag);
  double d = distance(after, before, n);
  ck_assert_msg(d < 1e-5, "%s: differs by %g", name, d);
  if (at == 0) {
    free(ref->y);
    *ref = (reference){vq_module_hash(m, false), after, n};
  } else {
    ck_assert_int_eq(n, ref->n);
    d = distance(after, ref->y, n);
    ck_assert_msg(d < 1e-5, "%s: differs by %g from part 0", name, d);
    ck_assert_msg(vq_module_hash(m, false) == ref->hash, "%s: another form",
                  name);
    free(after);
  }
  for (unsigned i = 0; i < f->n_arg; i++) free(in[i]);
  free(before);
  vq_module_destroy(m);
  vq_strbuf_release(&said);
  vq_ctx_destroy(ctx);
}

START_TEST(spellings_have_one_form) {
  reference ref = {0};
  each_part("spellings", 20, spelling, &ref);
  free(ref.y);
}
END_TEST

int main(void) {
  Suite *s = suite_create("recompose");
  TCase *t = tcase_create("recompose");
  tcase_add_test(t, golden_inputs_keep_their_meaning);
  tcase_add_test(t, spellings_have_one_form);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_ENV);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
