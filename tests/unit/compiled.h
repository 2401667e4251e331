// Helpers of the tests that compile: a module, its inputs, and the comparison of
// compiled results with the interpreter's.
#ifndef VQ_TEST_COMPILED_H
#define VQ_TEST_COMPILED_H

#include <check.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "recorded.h"
#include "vitq.h"
#include "vq/backend.h"
#include "vq/build.h"
#include "vq/pass.h"
#include "vq/rewrite.h"
#include "vq/strbuf.h"
#include "vq/text.h"

#define MAX_CASE 256

static vq_ctx *ctx;
static vq_diag diag;
static vq_strbuf messages;
static char dir[64];

static inline void setup(void) {
  ctx = vq_ctx_create();
  vq_strbuf_clear(&messages);
  vq_diag_init(&diag, ctx, vq_sink_strbuf, &messages);
  strcpy(dir, "/tmp/test_backend.XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(dir));
}

static inline void teardown(void) {
  DIR *d = opendir(dir);
  for (struct dirent *e; (e = readdir(d));) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
    if (e->d_name[0] != '.') unlink(path);
  }
  closedir(d);
  rmdir(dir);
  vq_ctx_destroy(ctx);
  vq_strbuf_release(&messages);
}

static inline const char *in_dir(const char *name) {
  static char path[4][512];
  static unsigned at;
  at = (at + 1) % 4;
  snprintf(path[at], sizeof path[at], "%s/%s", dir, name);
  return path[at];
}

#define OK(call) \
  ck_assert_msg((call) == VQ_OK, "%s: %s", #call, vq_strbuf_z(&messages))

static inline vq_status lower(void *user, vq_module *m, vq_str name, vq_diag *dg) {
  (void)user, (void)name;
  vq_pipeline *p;
  if (vq_pipeline_parse(ctx, VQ_LIT("outline,plan-memory"), dg, &p)) return VQ_ERR;
  vq_status st = vq_pipeline_run(p, m, dg, NULL, NULL, NULL);
  vq_pipeline_destroy(p);
  return st;
}

static inline vq_module *parse(const char *text) {
  vq_module *m;
  OK(vq_parse(ctx, vq_str_of(text), "test.vq", &diag, &m));
  return m;
}

static inline vq_backend_options options(void) {
  return (vq_backend_options){.runtime_lib = TEST_RUNTIME_LIB};
}

// ---- numbers -----------------------------------------------------------------

static uint64_t seed = 1;

static inline uint64_t random_bits(void) {
  uint64_t z = (seed += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// lo == hi: [-2, 2] for floats, everything for integers.
static inline void fill(vq_tensor *t, double lo, double hi) {
  vq_dtype type = t->type->dtype;
  int64_t n = vq_type_count(t->type);
  for (int64_t i = 0; i < n; i++) {
    uint64_t r = random_bits();
    double u = (double)(r >> 11) * 0x1p-53;
    if (type == VQ_f32 || type == VQ_bf16)
      vq_store_f64(type, t->data, i, lo == hi ? u * 4 - 2 : lo + u * (hi - lo));
    else if (type == VQ_bool)
      vq_store_i64(type, t->data, i, (int64_t)(r >> 63));
    else if (lo == hi)
      vq_store_i64(type, t->data, i, (int64_t)r >> (r % 60));
    else
      vq_store_i64(type, t->data, i, (int64_t)floor(lo + u * (hi - lo)));
  }
}

static inline vq_tensor new_tensor(const vq_type *t) {
  return (vq_tensor){t, calloc(1, (size_t)vq_type_bytes(t) + 64)};
}

// Of float results, against the largest element; 0: equal.
static double tolerance = 1e-5;

static inline void check_equal(const char *what, const char *name,
                               const vq_tensor *want,
                               const vq_tensor *got) {
  vq_dtype type = want->type->dtype;
  int64_t n = vq_type_count(want->type);
  double scale = 0;
  for (int64_t i = 0; i < n && type == VQ_f32; i++) {
    double w = fabs(vq_load_f64(type, want->data, i));
    if (isfinite(w) && w > scale) scale = w;
  }
  // Check takes long over each assertion, so there is none for each element.
  for (int64_t i = 0; i < n; i++) {
    if (type != VQ_f32) {
      vq_dtype as = type == VQ_bf16 ? VQ_i16 : type;  // its bits
      long long w = vq_load_i64(as, want->data, i), g = vq_load_i64(as, got->data, i);
      if (w != g)
        ck_abort_msg("%s: %s[%lld] is %lld, expected %lld", what, name, (long long)i, g, w);
      continue;
    }
    double w = vq_load_f64(type, want->data, i), g = vq_load_f64(type, got->data, i);
    bool same = isfinite(w) ? fabs(w - g) <= tolerance * (scale + 1e-25)
                            : w == g || (isnan(w) && isnan(g));
    if (!same)
      ck_abort_msg("%s: %s[%lld] is %.9g, expected %.9g", what, name, (long long)i, g, w);
  }
}

typedef struct data {
  vq_func *f;
  vq_tensor in[MAX_CASE * 4], want[MAX_CASE], got[MAX_CASE];
} data;

// Inputs for @main and what the interpreter makes of them.
static inline data *make_data(vq_module *m, double (*range)[2]) {
  data *d = calloc(1, sizeof *d);
  d->f = vq_module_func(m, VQ_LIT("main"));
  for (unsigned i = 0; i < d->f->n_arg; i++) {
    d->in[i] = new_tensor(d->f->arg[i].type);
    fill(&d->in[i], range ? range[i][0] : 0, range ? range[i][1] : 0);
  }
  for (unsigned i = 0; i < d->f->n_result; i++) {
    d->want[i] = new_tensor(d->f->result[i]);
    d->got[i] = new_tensor(d->f->result[i]);
  }
  n_record++;
  expected_results(d->f, d->in, d->want, &diag);
  return d;
}

static inline void check_data(data *d, const char *what) {
  for (unsigned i = 0; i < d->f->n_result; i++) {
    char name[64];
    snprintf(name, sizeof name, "%.*s", VQ_FMT(d->f->result_name[i]));
    check_equal(what, name, &d->want[i], &d->got[i]);
    memset(d->got[i].data, 0, (size_t)vq_type_bytes(d->got[i].type));
  }
}

static inline void free_data(data *d) {
  for (unsigned i = 0; i < MAX_CASE * 4; i++) free(d->in[i].data);
  for (unsigned i = 0; i < MAX_CASE; i++) {
    free(d->want[i].data);
    free(d->got[i].data);
  }
  free(d);
}

static inline void run_handle(vitq_handle *h, data *d, unsigned n_thread) {
  const void *in[MAX_CASE * 4];
  void *out[MAX_CASE];
  for (unsigned i = 0; i < d->f->n_arg; i++) in[i] = d->in[i].data;
  for (unsigned i = 0; i < d->f->n_result; i++) out[i] = d->got[i].data;
  vitq_pool *pool;
  ck_assert_int_eq(vitq_pool_create(n_thread, &pool), VITQ_OK);
  size_t size = (vitq_workspace_size(h, n_thread) + 63) & ~(size_t)63;
  void *ws = aligned_alloc(64, size ? size : 64);
  ck_assert_int_eq(vitq_run(h, vitq_describe(h)->batch, in, out, ws, pool),
                   VITQ_OK);
  free(ws);
  vitq_pool_destroy(pool);
}

// The shared object of all variants.
static inline const char *all_variants(vq_module *m, bool generic) {
  const char *record = record_path(generic ? "generic.so" : "so");
#ifdef RECORDED
  (void)m;
  return record;
#else
  const char *path = record ? record : in_dir("m.so");
  vq_module *copy = vq_module_clone(m);
  OK(lower(NULL, copy, VQ_LIT("main"), &diag));
  vq_backend_options opt = options();
  opt.generic = generic;
  OK(vq_backend_emit(copy, VQ_EMIT_SO, path, &opt, &diag));
  vq_module_destroy(copy);
  return path;
#endif
}

// Compiles `m` to a shared object and runs it in every variant.
static inline void check_so(vq_module *m, data *d, bool generic) {
  vitq_handle *h;
  ck_assert_msg(vitq_open(all_variants(m, generic), &h) == VITQ_OK, "%s", vitq_last_error());
  const vitq_model *model = vitq_describe(h);
  ck_assert_uint_ge(model->n_variant, 3);
  for (uint32_t v = 0; v < model->n_variant; v++) {
    if (!vq_target_runs_here(model->variant[v].requires)) continue;
    ck_assert_int_eq(vitq_select(h, model->variant[v].name), VITQ_OK);
    run_handle(h, d, 1);
    check_data(d, model->variant[v].name);
    run_handle(h, d, 3);
    check_data(d, "three threads");
    if (RECORDED_ONLY) printf("%s: RUN\n", model->variant[v].name);
  }
  vitq_close(h);
}

static inline void check_jit(vq_module *m, data *d) {
#ifndef RECORDED
  vq_exec *e = vq_exec_jit(lower, NULL, "native");
  vq_program *p;
  OK(e->ops->prepare(e, m, VQ_LIT("main"), &diag, &p));
  OK(e->ops->run(p, d->in, d->got, 1, &diag));
  check_data(d, "jit");
  OK(e->ops->run(p, d->in, d->got, 2, &diag));
  check_data(d, "jit, two threads");
  e->ops->release(p);
  e->ops->destroy(e);
#else
  (void)m, (void)d;
#endif
}

static inline void check_all(vq_module *m, double (*range)[2]) {
  data *d = make_data(m, range);
  check_so(m, d, true);
  check_so(m, d, false);
  check_jit(m, d);
  free_data(d);
}

static inline int run_tests(TCase *t, const char *name) {
  Suite *s = suite_create(name);
  tcase_set_timeout(t, 0);
  tcase_add_checked_fixture(t, setup, teardown);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_set_fork_status(r, CK_NOFORK);
  srunner_run_all(r, CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}

#endif
