// Helpers of the tests of kernels: one module that holds all cases as text, every
// variant that runs here, any division into tasks.
#ifndef VQ_TEST_KERNEL_CASES_H
#define VQ_TEST_KERNEL_CASES_H

#include <check.h>
#include <dirent.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "emulate.h"
#include "recorded.h"
#include "vitq.h"
#include "vq/backend.h"
#include "vq/pass.h"
#include "vq/strbuf.h"
#include "vq/text.h"

// One @main that holds all cases: its arguments, its body, its results.
typedef struct text {
  vq_strbuf constants, arg, body, type, result;
  unsigned n_arg, n_case;
} text;

static vq_ctx *ctx;
static vq_diag diag;
static vq_strbuf messages;
static char dir[64];

#define OK(call) \
  ck_assert_msg((call) == VQ_OK, "%s: %s", #call, vq_strbuf_z(&messages))

static inline void setup(void) {
  ctx = vq_ctx_create();
  vq_diag_init(&diag, ctx, vq_sink_strbuf, &messages);
  strcpy(dir, "/tmp/test_kernels.XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(dir));
}

static inline void teardown(void) {
  rmdir(dir);
  vq_ctx_destroy(ctx);
  vq_strbuf_release(&messages);
}

// ---- text of cases -----------------------------------------------------------

static inline unsigned arg(text *t, const char *shape) {
  vq_strbuf_printf(&t->arg, "%s%%a%u: tensor<%s>", t->n_arg ? ", " : "",
                   t->n_arg, shape);
  return t->n_arg++;
}

static inline const char *shape(const char *fmt, ...) VQ_PRINTF(1, 2);
static inline const char *shape(const char *fmt, ...) {
  static char s[8][64];
  static unsigned at;
  va_list ap;
  va_start(ap, fmt);
  at = (at + 1) % 8;
  vsnprintf(s[at], sizeof *s, fmt, ap);
  va_end(ap);
  return s[at];
}

// %v<case> is the case's result.
static inline void result(text *t, const char *type) {
  vq_strbuf_printf(&t->type, "%stensor<%s>", t->n_case ? ", " : "", type);
  vq_strbuf_printf(&t->result, "%s%%v%u", t->n_case ? ", " : "", t->n_case);
  t->n_case++;
}

// ---- running -----------------------------------------------------------------

static inline void *aligned(int64_t bytes) {
  void *p = NULL;
  ck_assert_int_eq(posix_memalign(&p, 64, (size_t)bytes + 64), 0);
  return memset(p, 0x5a, (size_t)bytes + 64);
}

// Floats in [-1, 1), all codes of 16 bits or less, sums (i32) of 20 bits.
static inline void fill(const vq_tensor *t, uint32_t *seed) {
  vq_dtype type = t->type->dtype;
  unsigned bits = vq_dtype_bits(type) > 16 ? 20 : vq_dtype_bits(type);
  int64_t n = vq_type_count(t->type);
  for (int64_t i = 0; i < n; i++) {
    *seed = *seed * 1664525u + 1013904223u;
    if (type == VQ_f32 || type == VQ_bf16)
      vq_store_f64(type, t->data, i, (int32_t)*seed / 2147483648.0);
    else
      vq_store_i64(type, t->data, i, (int32_t)*seed >> (32 - bits));
  }
}

// Against the largest element; 0: equal.
static double tolerance = 1e-5;

// Check takes long over each assertion, so there is none for each element.
static inline void compare(const vq_tensor *want, const void *got, const char *what) {
  double most = 0, error = 0;
  int64_t n = vq_type_count(want->type);
  for (int64_t i = 0; i < n; i++) {
    double a = vq_load_f64(want->type->dtype, want->data, i);
    double b = vq_load_f64(want->type->dtype, got, i);
    most = fmax(most, fabs(a));
    if (tolerance == 0 ? a != b : isnan(b))
      ck_abort_msg("%s: element %lld is %.9g, expected %.9g", what, (long long)i, b, a);
    error = fmax(error, fabs(a - b));
  }
  ck_assert_msg(error <= tolerance * most, "%s: error %g of %g", what, error, most);
}

// Runs one step whole and in pieces of 1, 2, 3, ... tasks.
static inline void run_step(const vitq_model *m, const vitq_step *s,
                     const vq_tensor *in, const vq_tensor *want) {
  const vitq_kernel *k = &m->kernel[s->kernel];
  vitq_kernel_fn fn = m->variant[0].fn[s->kernel];
  void *at[16], *scratch = aligned(k->scratch_bytes);
  char *out[2][16];
  unsigned n_out = 0;
  ck_assert_uint_le(s->n_arg, VQ_COUNT(at));
  for (unsigned i = 0; i < s->n_arg; i++) {
    if (s->arg[i].space == VITQ_SPACE_CONST) {
      at[i] = (char *)(uintptr_t)m->constants + s->arg[i].offset;
    } else if (s->arg[i].space == VITQ_SPACE_INPUT) {
      at[i] = in[s->arg[i].offset].data;
    } else {
      ck_assert_uint_eq(s->arg[i].space, VITQ_SPACE_OUTPUT);
      ck_assert_uint_eq(n_out++, i);
      for (int j = 0; j < 2; j++)
        out[j][i] = aligned(vq_type_bytes(want[s->arg[i].offset].type));
    }
  }
  ck_assert_uint_ge(n_out, 1);
  memcpy(at, out[0], n_out * sizeof *at);
  fn(at, 0, k->n_task, scratch);
  memcpy(at, out[1], n_out * sizeof *at);
  for (int64_t b = 0, n = 1; b < k->n_task; b += n, n = n % 3 + 1)
    fn(at, b, b + n < k->n_task ? b + n : k->n_task, scratch);
  for (unsigned i = 0; i < n_out; i++) {
    const vq_tensor *y = &want[s->arg[i].offset];
    int64_t bytes = vq_type_bytes(y->type);
    compare(y, out[0][i], k->name);
    // Also the 64 bytes behind the result, which must be untouched.
    ck_assert_msg(memcmp(out[0][i], out[1][i], (size_t)bytes + 64) == 0,
                  "%s depends on the division into tasks", k->name);
    for (int j = 0; j < 64; j++)
      if (out[0][i][bytes + j] != 0x5a) ck_abort_msg("%s writes behind its result", k->name);
    free(out[0][i]), free(out[1][i]);
  }
  free(scratch);
}

// Runs every kernel. Not through a handle, which would refuse what this CPU cannot run.
static inline void run_variant(const char *path, const char *cpu, const vq_tensor *in,
                               const vq_tensor *want) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  ck_assert_msg(library != NULL, "%s", dlerror());
  vitq_query_fn query;
  *(void **)&query = dlsym(library, VITQ_QUERY_SYMBOL);
  const vitq_model *model = query(VITQ_ABI_VERSION);
  ck_assert_str_eq(model->variant[0].name, cpu);
  for (unsigned i = 0; i < model->n_step; i++)
    run_step(model, &model->step[i], in, want);
  dlclose(library);
}

static inline void run_emulated(const char *path, const char *cpu, const vq_tensor *in,
                                const vq_tensor *want) {
#if defined(__x86_64__)
  emulate_begin();
  run_variant(path, cpu, in, want);
  printf("%s: EMULATED, this CPU has none of it: %lu signals\n", cpu, emulate_end());
  fflush(stdout);
#else
  (void)path, (void)cpu, (void)in, (void)want;
#endif
}

// Makes the shared object of one variant, or finds out whether the other half made it.
static inline bool have_object(const vq_module *m, const char *cpu, const char *path) {
#ifdef RECORDED
  (void)m, (void)cpu;
  return access(path, F_OK) == 0;
#else
  vq_backend_options opt = {.cpu = cpu, .runtime_lib = TEST_RUNTIME_LIB};
  if (path) OK(vq_backend_emit(m, VQ_EMIT_SO, path, &opt, &diag));
  return path != NULL;
#endif
}

// AMX and AVX-VNNI are emulated where this CPU lacks them; whatever else it lacks, the
// variant is not run. All that it lacks is recorded.
static inline void try_variant(const vq_module *m, const vq_target_info *t,
                               const vq_tensor *in, const vq_tensor *want) {
  const uint64_t known = VITQ_ISA_AMX_INT8 | VITQ_ISA_AVX_VNNI;
  bool native = vq_target_runs_here(t->requires);
  bool runs = vq_target_runs_here(t->requires & ~known);
  bool wanted = RECORDED_ONLY || !native;
  const char *record = wanted ? record_path(shape("%s.so", t->name)) : NULL;
  const char *path = record ? record : runs ? shape("%s/model.so", dir) : NULL;
  bool have = have_object(m, t->name, path);
  if (have && native) {
    run_variant(path, t->name, in, want);
    if (RECORDED_ONLY) printf("%s: RUN\n", t->name);
  } else if (have && runs) {
    run_emulated(path, t->name, in, want);
  } else if (!RECORDED_ONLY || have) {
    printf("%s: SKIPPED, this CPU cannot run it%s\n", t->name, record ? ", RECORDED" : "");
  }
  if (have && !record) unlink(path);
}

static inline vq_tensor *tensors(unsigned n, const vq_type *const *type) {
  vq_tensor *t = calloc(n, sizeof *t);
  for (unsigned i = 0; i < n; i++)
    t[i] = (vq_tensor){type[i], aligned(vq_type_bytes(type[i]))};
  return t;
}

static inline void release(vq_tensor *t, unsigned n) {
  for (unsigned i = 0; i < n; i++) free(t[i].data);
  free(t);
}

static inline vq_module *parse(text *t, vq_strbuf *source) {
  vq_module *m = NULL;
  vq_strbuf_printf(source, "vq 1\n%sfunc @main(%s) -> (%s) {\n%s  return %s\n}\n",
                   vq_strbuf_z(&t->constants), vq_strbuf_z(&t->arg), vq_strbuf_z(&t->type),
                   vq_strbuf_z(&t->body), vq_strbuf_z(&t->result));
  OK(vq_parse(ctx, vq_strbuf_view(source), "cases.vq", &diag, &m));
  vq_strbuf_release(&t->constants);
  vq_strbuf_release(&t->arg), vq_strbuf_release(&t->body);
  vq_strbuf_release(&t->type), vq_strbuf_release(&t->result);
  return m;
}

static inline void plan(vq_module *m) {
#ifndef RECORDED
  vq_pipeline *p = NULL;
  OK(vq_pipeline_parse(ctx, VQ_LIT("pack,fuse,outline,plan-memory"), &diag, &p));
  vq_instrument ins = {.verify_each = true};
  OK(vq_pipeline_run(p, m, &diag, &ins, NULL, NULL));
  vq_pipeline_destroy(p);
#else
  (void)m;
#endif
}

static inline void check_cases(text *t) {
  vq_strbuf source = {0};
  vq_module *m = parse(t, &source);
  vq_func *f = vq_module_func(m, VQ_LIT("main"));
  unsigned n_in = f->n_arg, n_out = f->n_result;
  const vq_type **type = calloc(n_in, sizeof *type);
  for (unsigned i = 0; i < n_in; i++) type[i] = f->arg[i].type;
  vq_tensor *in = tensors(n_in, type), *want = tensors(n_out, f->result);
  uint32_t seed = 1;
  for (unsigned i = 0; i < n_in; i++) fill(&in[i], &seed);
  n_record++;
  expected_results(f, in, want, &diag);
  plan(m);
  unsigned n_target;
  const vq_target_info *target = vq_target_list(&n_target);
  for (unsigned i = 0; i < n_target; i++)
    try_variant(m, &target[i], in, want);
  release(in, n_in), release(want, n_out);
  free(type);
  vq_module_destroy(m);
  vq_strbuf_release(&source);
}

static inline int run_kernel_tests(TCase *c, const char *name) {
  Suite *s = suite_create(name);
  tcase_set_timeout(c, 0);
  tcase_add_checked_fixture(c, setup, teardown);
  suite_add_tcase(s, c);
  SRunner *r = srunner_create(s);
  srunner_set_fork_status(r, CK_NOFORK);
  srunner_run_all(r, CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}

#endif
