// The specialised emitters against the interpreter: sizes around every vector
// and tile boundary, every variant that runs here, any division into tasks.
#include <check.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vitq.h"
#include "vq/backend.h"
#include "vq/eval.h"
#include "vq/pass.h"
#include "vq/strbuf.h"
#include "vq/text.h"

#define MAX_CASE 64

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

static void setup(void) {
  ctx = vq_ctx_create();
  vq_diag_init(&diag, ctx, vq_sink_strbuf, &messages);
  strcpy(dir, "/tmp/test_kernels.XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void) {
  rmdir(dir);
  vq_ctx_destroy(ctx);
  vq_strbuf_release(&messages);
}

// ---- cases -------------------------------------------------------------------

static unsigned arg(text *t, const char *shape) {
  vq_strbuf_printf(&t->arg, "%s%%a%u: tensor<%s>", t->n_arg ? ", " : "",
                   t->n_arg, shape);
  return t->n_arg++;
}

static const char *shape(const char *fmt, ...) VQ_PRINTF(1, 2);
static const char *shape(const char *fmt, ...) {
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
static void result(text *t, const char *type) {
  vq_strbuf_printf(&t->type, "%stensor<%s>", t->n_case ? ", " : "", type);
  vq_strbuf_printf(&t->result, "%s%%v%u", t->n_case ? ", " : "", t->n_case);
  t->n_case++;
}

// epilogue: 0 none, 1 gelu, 2 residual, 3 scale per column, cut at a bool
static void add_gemm(text *t, int m, int n, int k, bool bias, int epilogue) {
  const char *y = shape("%dx%d, f32", m, n);
  unsigned x = arg(t, shape("%dx%d, f32", m, k));
  unsigned w = arg(t, shape("%dx%dx16, f32", (n + 15) / 16, k));
  unsigned c = t->n_case;
  vq_strbuf b = {0};
  if (bias) vq_strbuf_printf(&b, ", %%a%u", arg(t, shape("%d, f32", n)));
  vq_strbuf_printf(&t->body,
                   "  %%%s%u = linear %%a%u, %%a%u%s {layout = \"panel16\","
                   " out = %d} : tensor<%s>\n",
                   epilogue ? "g" : "v", c, x, w, vq_strbuf_z(&b), n, y);
  vq_strbuf_release(&b);
  if (epilogue == 1)
    vq_strbuf_printf(&t->body, "  %%v%u = gelu %%g%u : tensor<%s>\n", c, c, y);
  if (epilogue == 2)
    vq_strbuf_printf(&t->body, "  %%v%u = add %%a%u, %%g%u : tensor<%s>\n", c,
                     arg(t, y), c, y);
  if (epilogue == 3) {
    unsigned s = arg(t, shape("%d, f32", n)), r = arg(t, shape("%dx1, f32", m));
    const char *cut = shape("%dx%d, bool", m, n);
    vq_strbuf_printf(&t->body,
                     "  %%h%u = mul %%g%u, %%a%u : tensor<%s>\n"
                     "  %%v%u = less %%a%u, %%h%u : tensor<%s>\n",
                     c, c, s, y, c, r, c, cut);
    y = cut;
  }
  result(t, y);
}

// 0 qkv packed in one tensor: n == m, d == e. `batch_b` 0: no bias.
static void add_attention(text *t, int batch, int heads, int n, int m, int d,
                          int e, bool packed, int batch_b) {
  unsigned c = t->n_case, q = 0, k = 0, v = 0;
  const char *in[3] = {shape("%dx%dx%d, f32", batch, n, heads * d),
                       shape("%dx%dx%d, f32", batch, m, heads * d),
                       shape("%dx%dx%d, f32", batch, m, heads * e)};
  vq_strbuf s = {0};
  if (packed) {
    unsigned x = arg(t, shape("%dx%dx%d, f32", batch, n, 3 * heads * d));
    for (int i = 0; i < 3; i++)
      vq_strbuf_printf(&t->body,
                       "  %%s%u.%d = slice %%a%u {begin = [0, 0, %d], size ="
                       " [%d, %d, %d]} : tensor<%s>\n",
                       c, i, x, i * heads * d, batch, n, heads * d, in[0]);
    vq_strbuf_printf(&s, "%%s%u.0, %%s%u.1, %%s%u.2", c, c, c);
  } else {
    q = arg(t, in[0]), k = arg(t, in[1]), v = arg(t, in[2]);
    vq_strbuf_printf(&s, "%%a%u, %%a%u, %%a%u", q, k, v);
  }
  if (batch_b)
    vq_strbuf_printf(&s, ", %%a%u",
                     arg(t, shape("%dx%dx%dx%d, f32", batch_b, heads, n, m)));
  const char *y = shape("%dx%dx%d, f32", batch, n, heads * e);
  vq_strbuf_printf(&t->body,
                   "  %%v%u = attention %s {heads = %d, scale = 0.5} :"
                   " tensor<%s>\n",
                   c, vq_strbuf_z(&s), heads, y);
  vq_strbuf_release(&s);
  result(t, y);
}

static void add_patches(text *t, int batch, int h, int w, int ph, int pw, int o) {
  int k = 3 * ph * pw;
  const char *y = shape("%dx%dx%d, f32", batch, h / ph * (w / pw), o);
  unsigned x = arg(t, shape("%dx3x%dx%d, f32", batch, h, w));
  unsigned p = arg(t, shape("%dx%dx16, f32", (o + 15) / 16, k));
  vq_strbuf_printf(&t->body,
                   "  %%v%u = patch_embed %%a%u, %%a%u {patch = [%d, %d],"
                   " layout = \"panel16\", out = %d} : tensor<%s>\n",
                   t->n_case, x, p, ph, pw, o, y);
  result(t, y);
}

static void add_rows(text *t, const char *op, int rows, int cols, bool gamma) {
  const char *y = shape("%dx%d, f32", rows, cols);
  vq_strbuf s = {0};
  vq_strbuf_printf(&s, "%%a%u", arg(t, y));
  if (gamma)
    for (int i = 0; i < 2; i++)
      vq_strbuf_printf(&s, ", %%a%u", arg(t, shape("%d, f32", cols)));
  vq_strbuf_printf(&t->body, "  %%v%u = %s %s : tensor<%s>\n", t->n_case, op,
                   vq_strbuf_z(&s), y);
  vq_strbuf_release(&s);
  result(t, y);
}

// An anchor whose rows come through a table of constants: `pieces` runs of
// `piece` elements of x make a row; with pad, every seventh run is -2.
static void add_table(text *t, bool norm, int groups, int rows, int pieces,
                      int piece, bool pad) {
  unsigned c = t->n_case, x = arg(t, shape("%dx5x%d, f32", groups, piece));
  int n = rows * pieces, cols = pieces * piece;
  vq_strbuf_printf(&t->constants, "const @t%u : tensor<%d, i32> = dense<[", c, n);
  for (int i = 0; i < n; i++)
    vq_strbuf_printf(&t->constants, "%s%d", i ? ", " : "",
                     pad && i % 7 == 3 ? -1 : i * 3 % 5);
  vq_strbuf_printf(&t->constants, "]>\n");
  vq_strbuf_printf(&t->body,
                   "  %%t%u = gather_rows %%a%u, @t%u {groups = %d%s} :"
                   " tensor<%dx%d, f32>\n",
                   c, x, c, groups, pad ? ", pad = true, value = -2" : "",
                   groups * n, piece);
  vq_strbuf_printf(&t->body,
                   "  %%r%u = reshape %%t%u {shape = [%d, 1, %d]} :"
                   " tensor<%dx1x%d, f32>\n",
                   c, c, groups * rows, cols, groups * rows, cols);
  const char *y = shape("%dx1x%d, f32", groups * rows, norm ? cols : 37);
  if (norm)
    vq_strbuf_printf(&t->body, "  %%g%u = layer_norm %%r%u : tensor<%s>\n", c, c,
                     y);
  else
    vq_strbuf_printf(&t->body,
                     "  %%g%u = linear %%r%u, %%a%u {layout = \"panel16\","
                     " out = 37} : tensor<%s>\n",
                     c, c, arg(t, shape("3x%dx16, f32", cols)), y);
  vq_strbuf_printf(&t->body, "  %%v%u = add %%g%u, %%a%u : tensor<%s>\n", c, c,
                   arg(t, y), y);
  result(t, y);
}

static void add_binary(text *t, const char *op, const char *a, const char *b,
                       const char *y) {
  unsigned x = arg(t, a), z = arg(t, b);
  vq_strbuf_printf(&t->body, "  %%v%u = %s %%a%u, %%a%u : tensor<%s>\n",
                   t->n_case, op, x, z, y);
  result(t, y);
}

// ---- running -----------------------------------------------------------------

static void *aligned(int64_t bytes) {
  void *p = NULL;
  ck_assert_int_eq(posix_memalign(&p, 64, (size_t)bytes + 64), 0);
  return memset(p, 0x5a, (size_t)bytes + 64);
}

static void fill(const vq_tensor *t, uint32_t *seed) {
  for (int64_t i = 0; i < vq_type_count(t->type); i++) {
    *seed = *seed * 1664525u + 1013904223u;
    vq_store_f64(t->type->dtype, t->data, i, (int32_t)*seed / 2147483648.0);
  }
}

static void compare(const vq_tensor *want, const void *got, const char *what) {
  double most = 0, error = 0;
  for (int64_t i = 0; i < vq_type_count(want->type); i++) {
    double a = vq_load_f64(want->type->dtype, want->data, i);
    double b = vq_load_f64(want->type->dtype, got, i);
    most = fmax(most, fabs(a));
    ck_assert_msg(!isnan(b), "%s: element %lld is not a number", what,
                  (long long)i);
    error = fmax(error, fabs(a - b));
  }
  ck_assert_msg(error <= 1e-5 * most, "%s: error %g of %g", what, error, most);
}

// Runs one step whole and in pieces of 1, 2, 3, ... tasks.
static void run_step(const vitq_model *m, const vitq_step *s,
                     const vq_tensor *in, const vq_tensor *want) {
  const vitq_kernel *k = &m->kernel[s->kernel];
  vitq_kernel_fn fn = m->variant[0].fn[s->kernel];
  void *at[16], *scratch = aligned(k->scratch_bytes);
  const vq_tensor *y = &want[s->arg[0].offset];
  int64_t bytes = vq_type_bytes(y->type);
  char *out[2] = {aligned(bytes), aligned(bytes)};
  ck_assert_uint_le(s->n_arg, VQ_COUNT(at));
  ck_assert_uint_eq(s->arg[0].space, VITQ_SPACE_OUTPUT);
  for (unsigned i = 1; i < s->n_arg; i++) {
    if (s->arg[i].space == VITQ_SPACE_CONST) {
      at[i] = (char *)(uintptr_t)m->constants + s->arg[i].offset;
      continue;
    }
    ck_assert_uint_eq(s->arg[i].space, VITQ_SPACE_INPUT);
    at[i] = in[s->arg[i].offset].data;
  }
  at[0] = out[0];
  fn(at, 0, k->n_task, scratch);
  compare(y, out[0], k->name);
  at[0] = out[1];
  for (int64_t b = 0, n = 1; b < k->n_task; b += n, n = n % 3 + 1)
    fn(at, b, b + n < k->n_task ? b + n : k->n_task, scratch);
  // Also the 64 bytes behind the result, which must be untouched.
  ck_assert_msg(memcmp(out[0], out[1], (size_t)bytes + 64) == 0,
                "%s depends on the division into tasks", k->name);
  for (int i = 0; i < 64; i++) ck_assert_int_eq(out[0][bytes + i], 0x5a);
  free(out[0]), free(out[1]), free(scratch);
}

static void run_variant(const vq_module *m, const char *cpu,
                        const vq_tensor *in, const vq_tensor *want) {
  char path[96];
  snprintf(path, sizeof path, "%s/model.so", dir);
  vq_backend_options opt = {.cpu = cpu, .runtime_lib = TEST_RUNTIME_LIB};
  OK(vq_backend_emit(m, VQ_EMIT_SO, path, &opt, &diag));
  vitq_handle *h = NULL;
  ck_assert_msg(vitq_open(path, &h) == VITQ_OK, "%s", vitq_last_error());
  const vitq_model *model = vitq_describe(h);
  ck_assert_str_eq(model->variant[0].name, cpu);
  for (unsigned i = 0; i < model->n_step; i++)
    run_step(model, &model->step[i], in, want);
  vitq_close(h);
  unlink(path);
}

static vq_tensor *tensors(unsigned n, const vq_type *const *type) {
  vq_tensor *t = calloc(n, sizeof *t);
  for (unsigned i = 0; i < n; i++)
    t[i] = (vq_tensor){type[i], aligned(vq_type_bytes(type[i]))};
  return t;
}

static void release(vq_tensor *t, unsigned n) {
  for (unsigned i = 0; i < n; i++) free(t[i].data);
  free(t);
}

static vq_module *parse(text *t, vq_strbuf *source) {
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

static void check_cases(text *t) {
  vq_strbuf source = {0};
  vq_module *m = parse(t, &source);
  vq_func *f = vq_module_func(m, VQ_LIT("main"));
  unsigned n_in = f->n_arg, n_out = f->n_result;
  const vq_type **type = calloc(n_in, sizeof *type);
  for (unsigned i = 0; i < n_in; i++) type[i] = f->arg[i].type;
  vq_tensor *in = tensors(n_in, type), *want = tensors(n_out, f->result);
  uint32_t seed = 1;
  for (unsigned i = 0; i < n_in; i++) fill(&in[i], &seed);
  OK(vq_eval_func(f, in, want, &diag, NULL, NULL));
  vq_pipeline *p = NULL;
  OK(vq_pipeline_parse(ctx, VQ_LIT("pack,fuse,outline,plan-memory"), &diag, &p));
  vq_instrument ins = {.verify_each = true};
  OK(vq_pipeline_run(p, m, &diag, &ins, NULL, NULL));
  vq_pipeline_destroy(p);
  unsigned n_target;
  const vq_target_info *target = vq_target_list(&n_target);
  for (unsigned i = 0; i < n_target; i++)
    if (vq_target_runs_here(target[i].requires))
      run_variant(m, target[i].name, in, want);
  release(in, n_in), release(want, n_out);
  free(type);
  vq_module_destroy(m);
  vq_strbuf_release(&source);
}

START_TEST(gemm) {
  // rows, columns, depth: around 1, 4, 6, 8, 14, 16, 32 and 128 in each.
  static const int size[][3] = {
      {1, 1, 1},   {1, 67, 33},  {1, 300, 5},  {2, 17, 7},   {3, 129, 4},
      {5, 33, 16}, {7, 32, 3},   {13, 31, 8},  {14, 16, 2},  {15, 48, 13},
      {29, 15, 1}, {31, 64, 17}, {67, 40, 67}, {113, 65, 9}, {197, 8, 6}};
  text t = {.n_arg = 0};
  for (unsigned i = 0; i < VQ_COUNT(size); i++)
    add_gemm(&t, size[i][0], size[i][1], size[i][2], i % 2, (int)i % 4 % 3);
  add_gemm(&t, 33, 37, 11, true, 3);
  add_patches(&t, 2, 32, 24, 8, 4, 33);
  add_patches(&t, 1, 15, 21, 5, 7, 16);
  check_cases(&t);
}
END_TEST

START_TEST(attention) {
  text t = {.n_arg = 0};
  add_attention(&t, 1, 1, 1, 1, 1, 1, false, 0);
  add_attention(&t, 2, 3, 17, 17, 8, 8, true, 0);
  add_attention(&t, 1, 2, 67, 67, 7, 7, true, 1);
  add_attention(&t, 2, 1, 3, 33, 5, 31, false, 2);
  add_attention(&t, 1, 3, 31, 14, 16, 17, false, 0);
  check_cases(&t);
}
END_TEST

START_TEST(rows) {
  text t = {.n_arg = 0};
  static const int size[][2] = {{1, 1}, {9, 7}, {17, 16}, {8, 33}, {3, 67}};
  for (unsigned i = 0; i < VQ_COUNT(size); i++) {
    add_rows(&t, "layer_norm", size[i][0], size[i][1], i % 2);
    add_rows(&t, "softmax", size[i][0], size[i][1], false);
  }
  check_cases(&t);
}
END_TEST

// Rows that end in, at and across whole vectors; more than one block of rows.
START_TEST(tables) {
  text t = {.n_arg = 0};
  static const int size[][4] = {
      {1, 5, 1, 33}, {1, 2, 3, 7}, {2, 14, 1, 16}, {3, 4, 4, 8}, {19, 6, 2, 20}};
  for (unsigned i = 0; i < VQ_COUNT(size); i++)
    for (unsigned k = 0; k < 4; k++)
      add_table(&t, k & 1, size[i][0], size[i][1], size[i][2], size[i][3], k & 2);
  check_cases(&t);
}
END_TEST

START_TEST(elementwise) {
  text t = {.n_arg = 0};
  add_binary(&t, "add", "4x5x6, f32", "4x1x6, f32", "4x5x6, f32");
  add_binary(&t, "sub", "4x1x6, f32", "3x1x5x1, f32", "3x4x5x6, f32");
  add_binary(&t, "max", "f32", "10007, f32", "10007, f32");
  add_binary(&t, "mul", "3x67, f32", "3x1, f32", "3x67, f32");
  add_binary(&t, "less", "7x33, f32", "7x33, f32", "7x33, bool");
  check_cases(&t);
}
END_TEST

int main(void) {
  Suite *s = suite_create("kernels");
  TCase *c = tcase_create("kernels");
  tcase_set_timeout(c, 0);
  tcase_add_checked_fixture(c, setup, teardown);
  tcase_add_test(c, gemm);
  tcase_add_test(c, attention);
  tcase_add_test(c, rows);
  tcase_add_test(c, tables);
  tcase_add_test(c, elementwise);
  suite_add_tcase(s, c);
  SRunner *r = srunner_create(s);
  srunner_set_fork_status(r, CK_NOFORK);
  srunner_run_all(r, CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
