// Compiled code against the interpreter: every op, every variant that runs
// here, files and JIT; then the other outputs and the ways to fail.
#include <check.h>
#include <dirent.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

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

static void setup(void) {
  ctx = vq_ctx_create();
  vq_strbuf_clear(&messages);
  vq_diag_init(&diag, ctx, vq_sink_strbuf, &messages);
  strcpy(dir, "/tmp/test_backend.XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void) {
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

static const char *in_dir(const char *name) {
  static char path[4][512];
  static unsigned at;
  at = (at + 1) % 4;
  snprintf(path[at], sizeof path[at], "%s/%s", dir, name);
  return path[at];
}

#define OK(call) \
  ck_assert_msg((call) == VQ_OK, "%s: %s", #call, vq_strbuf_z(&messages))

static vq_status lower(void *user, vq_module *m, vq_diag *dg) {
  (void)user;
  vq_pipeline *p;
  if (vq_pipeline_parse(ctx, VQ_LIT("outline,plan-memory"), dg, &p)) return VQ_ERR;
  vq_status st = vq_pipeline_run(p, m, dg, NULL, NULL, NULL);
  vq_pipeline_destroy(p);
  return st;
}

static vq_module *parse(const char *text) {
  vq_module *m;
  OK(vq_parse(ctx, vq_str_of(text), "test.vq", &diag, &m));
  return m;
}

static vq_backend_options options(void) {
  return (vq_backend_options){.runtime_lib = TEST_RUNTIME_LIB};
}

// ---- numbers -----------------------------------------------------------------

static uint64_t seed = 1;

static uint64_t random_bits(void) {
  uint64_t z = (seed += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// lo == hi: [-2, 2] for floats, everything for integers.
static void fill(vq_tensor *t, double lo, double hi) {
  vq_dtype type = t->type->dtype;
  int64_t n = vq_type_count(t->type);
  for (int64_t i = 0; i < n; i++) {
    uint64_t r = random_bits();
    double u = (double)(r >> 11) * 0x1p-53;
    if (type == VQ_f32)
      vq_store_f64(type, t->data, i, lo == hi ? u * 4 - 2 : lo + u * (hi - lo));
    else if (type == VQ_bool)
      vq_store_i64(type, t->data, i, (int64_t)(r >> 63));
    else if (lo == hi)
      vq_store_i64(type, t->data, i, (int64_t)r >> (r % 60));
    else
      vq_store_i64(type, t->data, i, (int64_t)floor(lo + u * (hi - lo)));
  }
}

static vq_tensor new_tensor(const vq_type *t) {
  return (vq_tensor){t, calloc(1, (size_t)vq_type_bytes(t) + 64)};
}

static void check_equal(const char *what, const char *name, const vq_tensor *want,
                        const vq_tensor *got) {
  vq_dtype type = want->type->dtype;
  int64_t n = vq_type_count(want->type);
  double scale = 0;
  for (int64_t i = 0; i < n && type == VQ_f32; i++) {
    double w = fabs(vq_load_f64(type, want->data, i));
    if (isfinite(w) && w > scale) scale = w;
  }
  for (int64_t i = 0; i < n; i++) {
    if (type != VQ_f32) {
      ck_assert_msg(vq_load_i64(type, want->data, i) ==
                        vq_load_i64(type, got->data, i),
                    "%s: %s[%lld] is %lld, expected %lld", what, name,
                    (long long)i, (long long)vq_load_i64(type, got->data, i),
                    (long long)vq_load_i64(type, want->data, i));
      continue;
    }
    double w = vq_load_f64(type, want->data, i), g = vq_load_f64(type, got->data, i);
    bool same = isfinite(w) ? fabs(w - g) <= 1e-5 * scale + 1e-30
                            : w == g || (isnan(w) && isnan(g));
    ck_assert_msg(same, "%s: %s[%lld] is %.9g, expected %.9g", what, name,
                  (long long)i, g, w);
  }
}

typedef struct data {
  vq_func *f;
  vq_tensor in[MAX_CASE * 4], want[MAX_CASE], got[MAX_CASE];
} data;

// Inputs for @main and what the interpreter makes of them.
static data *make_data(vq_module *m, double (*range)[2]) {
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
  OK(vq_eval_func(d->f, d->in, d->want, &diag, NULL, NULL));
  return d;
}

static void check_data(data *d, const char *what) {
  for (unsigned i = 0; i < d->f->n_result; i++) {
    char name[64];
    snprintf(name, sizeof name, "%.*s", VQ_FMT(d->f->result_name[i]));
    check_equal(what, name, &d->want[i], &d->got[i]);
    memset(d->got[i].data, 0, (size_t)vq_type_bytes(d->got[i].type));
  }
}

static void free_data(data *d) {
  for (unsigned i = 0; i < MAX_CASE * 4; i++) free(d->in[i].data);
  for (unsigned i = 0; i < MAX_CASE; i++) {
    free(d->want[i].data);
    free(d->got[i].data);
  }
  free(d);
}

static void run_handle(vitq_handle *h, data *d, unsigned n_thread) {
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

// Compiles `m` to a shared object and runs it in every variant.
static void check_so(vq_module *m, data *d, bool generic) {
  vq_module *copy = vq_module_clone(m);
  OK(lower(NULL, copy, &diag));
  vq_backend_options opt = options();
  opt.generic = generic;
  OK(vq_backend_emit(copy, VQ_EMIT_SO, in_dir("m.so"), &opt, &diag));
  vitq_handle *h;
  ck_assert_msg(vitq_open(in_dir("m.so"), &h) == VITQ_OK, "%s", vitq_last_error());
  const vitq_model *model = vitq_describe(h);
  ck_assert_uint_eq(model->n_variant, 3);
  for (uint32_t v = 0; v < model->n_variant; v++) {
    if (!vq_target_runs_here(model->variant[v].requires)) continue;
    ck_assert_int_eq(vitq_select(h, model->variant[v].name), VITQ_OK);
    run_handle(h, d, 1);
    check_data(d, model->variant[v].name);
    run_handle(h, d, 3);
    check_data(d, "three threads");
  }
  vitq_close(h);
  vq_module_destroy(copy);
}

static void check_jit(vq_module *m, data *d) {
  vq_exec *e = vq_exec_jit(lower, NULL);
  vq_program *p;
  OK(e->ops->prepare(e, m, VQ_LIT("main"), &diag, &p));
  OK(e->ops->run(p, d->in, d->got, 1, &diag));
  check_data(d, "jit");
  OK(e->ops->run(p, d->in, d->got, 2, &diag));
  check_data(d, "jit, two threads");
  e->ops->release(p);
  e->ops->destroy(e);
}

static void check_all(vq_module *m, double (*range)[2]) {
  data *d = make_data(m, range);
  check_so(m, d, true);
  check_so(m, d, false);
  check_jit(m, d);
  free_data(d);
}

// ---- every op ------------------------------------------------------------------

typedef struct op_case {
  vq_opcode op;
  const void *attrs;
  struct operand {
    int dtype;  // VQ_N_DTYPES: none
    unsigned rank;
    int64_t dim[6];
  } in[4];
  double lo, hi;
} op_case;

#define N(...) (sizeof((int[]){__VA_ARGS__}) / sizeof(int))
#define T(type, ...) {VQ_##type, N(__VA_ARGS__), {__VA_ARGS__}}
#define VQ__Bool VQ_bool  // VQ_##bool, once stdbool has had its say
#define S(type) {VQ_##type, 0, {0}}
#define END {VQ_N_DTYPES, 0, {0}}
#define A(op, ...) &(vq_attrs_##op){__VA_ARGS__}

#define UNARY(op, type) {VQ_OP_##op, NULL, {T(type, 3, 1, 37), END}, 0, 0}
#define POSITIVE(op) {VQ_OP_##op, NULL, {T(f32, 3, 37), END}, 0.01, 9}
#define BINARY(op, type) \
  {VQ_OP_##op, NULL, {T(type, 3, 5, 17), T(type, 3, 5, 17), END}, 0, 0}, \
  {VQ_OP_##op, NULL, {T(type, 3, 1, 17), T(type, 5, 1), END}, 0, 0}
#define REDUCE(op, type) \
  {VQ_OP_##op, A(op, .axes = VQ_INTS(2), .keep = true), {T(type, 3, 5, 37), END}, 0, 0}, \
  {VQ_OP_##op, A(op, .axes = VQ_INTS(0, 2), .keep = false), {T(type, 3, 5, 7), END}, 0, 0}, \
  {VQ_OP_##op, A(op, .axes = VQ_INTS(1), .keep = false), {T(type, 3, 5, 7), END}, 0, 0}

typedef vq_module *(*case_fn)(const op_case *c, unsigned n, double (*range)[2]);

// Attribute lists live no longer than this call.
static vq_module *with_cases(case_fn use, double (*range)[2]) {
  const op_case cases[] = {
    {VQ_OP_copy, NULL, {T(i32, 3, 5), END}, 0, 0},
    {VQ_OP_copy, NULL, {T(i4, 3, 5), END}, 0, 0},
    {VQ_OP_copy, NULL, {S(f32), END}, 0, 0},
    {VQ_OP_reshape, A(reshape, .shape = VQ_INTS(5, 6)), {T(f32, 3, 10), END}, 0, 0},
    {VQ_OP_transpose, A(transpose, .perm = VQ_INTS(2, 0, 1)), {T(f32, 3, 5, 7), END}, 0, 0},
    {VQ_OP_transpose, A(transpose, .perm = VQ_INTS(1, 0)), {T(u4, 3, 5), END}, 0, 0},
    {VQ_OP_slice, A(slice, .begin = VQ_INTS(1, 2), .size = VQ_INTS(2, 7),
        .step = VQ_NO_INTS), {T(f32, 5, 11), END}, 0, 0},
    {VQ_OP_slice, A(slice, .begin = VQ_INTS(4, 1), .size = VQ_INTS(3, 4), .step = VQ_INTS(-2,
        3)), {T(i8, 5, 11), END}, 0, 0},
    {VQ_OP_concat, A(concat, .axis = 1), {T(f32, 3, 1, 7), T(f32, 3, 4, 7), T(f32, 3, 2, 7),
        END}, 0, 0},
    {VQ_OP_concat, A(concat, .axis = 1), {T(i4, 3, 1), T(i4, 3, 4), END}, 0, 0},
    {VQ_OP_expand, A(expand, .shape = VQ_INTS(2, 3, 5)), {T(f32, 3, 1), END}, 0, 0},
    {VQ_OP_gather, A(gather, .axis = 0), {T(f32, 5, 7), T(i64, 4), END}, 0, 5},
    {VQ_OP_gather, A(gather, .axis = 1), {T(f32, 3, 5, 7), T(i32, 2, 2), END}, 0, 5},
    {VQ_OP_gather, A(gather, .axis = 1), {T(u8, 3, 5), S(i64), END}, 0, 5},
    {VQ_OP_pad, A(pad, .lo = VQ_INTS(1, 0), .hi = VQ_INTS(0, 3), .value = 2.5f), {T(f32, 3,
        5), END}, 0, 0},
    {VQ_OP_pad, A(pad, .lo = VQ_INTS(1, 2), .hi = VQ_INTS(3, 1), .value = -3.0f), {T(i4, 3,
        5), END}, 0, 0},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("i32")), {T(f32, 3, 37), END}, -1e10, 1e10},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("i64")), {T(f32, 3, 37), END}, -100, 100},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("u8")), {T(f32, 3, 37), END}, -100, 400},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("bool")), {T(f32, 3, 37), END}, 0, 0},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("f32")), {T(bool, 3, 37), END}, 0, 0},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("f32")), {T(i64, 3, 37), END}, 0, 0},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("i4")), {T(i32, 3, 37), END}, -100, 100},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("i16")), {T(u4, 3, 37), END}, 0, 0},
    UNARY(neg, f32), UNARY(neg, i32), UNARY(neg, i4), UNARY(abs, f32),
    UNARY(abs, i64), UNARY(sign, f32), UNARY(sign, i8), UNARY(floor, f32),
    UNARY(ceil, f32), UNARY(round, f32), POSITIVE(sqrt), UNARY(exp, f32),
    POSITIVE(log), UNARY(erf, f32), UNARY(tanh, f32), UNARY(sigmoid, f32),
    UNARY(sin, f32), UNARY(cos, f32), UNARY(relu, f32), UNARY(relu, i16),
    UNARY(gelu, f32),
    {VQ_OP_gelu, A(gelu, .form = VQ_LIT("tanh")), {T(f32, 3, 37), END}, -9, 9},
    {VQ_OP_gelu, A(gelu, .form = VQ_LIT("sigmoid")), {T(f32, 3, 37), END}, -9, 9},
    UNARY(silu, f32),
    {VQ_OP_clip, A(clip, .lo = -0.5f, .hi = 1.0f), {T(f32, 3, 37), END}, 0, 0},
    {VQ_OP_clip, A(clip, .lo = -5, .hi = 100.0f), {T(i32, 3, 37), END}, -300, 300},
    UNARY(isnan, f32), UNARY(not, bool),
    BINARY(add, f32), BINARY(add, i32), BINARY(add, u4), BINARY(sub, f32),
    BINARY(sub, i8), BINARY(mul, f32), BINARY(mul, i64), BINARY(div, f32),
    BINARY(div, i32), BINARY(div, u8), BINARY(mod, f32), BINARY(mod, i32),
    {VQ_OP_mod, A(mod, .fmod = true), {T(f32, 3, 7), T(f32, 7), END}, 0, 0},
    {VQ_OP_mod, A(mod, .fmod = true), {T(i8, 3, 7), T(i8, 7), END}, 0, 0},
    {VQ_OP_pow, NULL, {T(f32, 3, 37), T(f32, 37), END}, 0.1, 3},
    BINARY(min, f32), BINARY(min, u8), BINARY(max, f32), BINARY(max, i16),
    BINARY(equal, f32), BINARY(equal, bool), BINARY(equal, i4),
    BINARY(less, f32), BINARY(less, u8), BINARY(less_equal, f32),
    BINARY(less_equal, i64), BINARY(and, bool), BINARY(or, bool),
    BINARY(xor, bool),
    {VQ_OP_select, NULL, {T(bool, 3, 1), T(f32, 17), T(f32, 3, 17), END}, 0, 0},
    {VQ_OP_select, NULL, {T(bool, 3, 17), T(i4, 3, 17), S(i4), END}, 0, 0},
    REDUCE(reduce_sum, f32), REDUCE(reduce_sum, i32), REDUCE(reduce_sum, i4),
    REDUCE(reduce_mean, f32), REDUCE(reduce_max, f32), REDUCE(reduce_max, u8),
    REDUCE(reduce_min, f32), REDUCE(reduce_min, i64), REDUCE(reduce_prod, f32),
    REDUCE(reduce_prod, i16),
    {VQ_OP_matmul, NULL, {T(f32, 5, 7), T(f32, 7, 19), END}, 0, 0},
    {VQ_OP_matmul, NULL, {T(f32, 2, 1, 5, 33), T(f32, 3, 33, 19), END}, 0, 0},
    {VQ_OP_matmul, A(matmul, .transpose_b = true), {T(f32, 3, 5, 37), T(f32, 3, 19, 37),
        END}, 0, 0},
    {VQ_OP_matmul, NULL, {T(i32, 5, 7), T(i32, 7, 3), END}, 0, 0},
    {VQ_OP_matmul, A(matmul, .transpose_b = true), {T(i4, 5, 7), T(i4, 3, 7), END}, 0, 0},
    {VQ_OP_linear, NULL, {T(f32, 2, 7, 37), T(f32, 19, 37), T(f32, 19), END}, 0, 0},
    {VQ_OP_linear, NULL, {T(f32, 7, 5), T(f32, 19, 5), END}, 0, 0},
    {VQ_OP_linear, A(linear, .layout = VQ_LIT("panel16"), .out = 35), {T(f32, 7, 37), T(f32,
        3, 37, 16), T(f32, 35), END}, 0, 0},
    {VQ_OP_linear, A(linear, .layout = VQ_LIT("panel16"), .out = 32), {T(f32, 1, 37), T(f32,
        2, 37, 16), END}, 0, 0},
    {VQ_OP_pack_weight, NULL, {T(f32, 35, 7), END}, 0, 0},
    {VQ_OP_conv2d, A(conv2d, .stride = VQ_INTS(1, 1), .pad = VQ_INTS(1, 1, 1, 1),
        .dilation = VQ_INTS(1, 1), .groups = 1), {T(f32, 2, 3, 7, 9), T(f32, 5, 3, 3, 3),
        T(f32, 5), END}, 0, 0},
    {VQ_OP_conv2d, A(conv2d, .stride = VQ_INTS(2, 3), .pad = VQ_INTS(2, 0, 1, 3),
        .dilation = VQ_INTS(2, 1), .groups = 2), {T(f32, 1, 4, 11, 13), T(f32, 6, 2, 3, 2),
        END}, 0, 0},
    {VQ_OP_conv2d, A(conv2d, .stride = VQ_INTS(4, 4), .pad = VQ_INTS(0, 0, 0, 0),
        .dilation = VQ_INTS(1, 1), .groups = 1), {T(f32, 1, 3, 12, 16), T(f32, 7, 3, 4, 4),
        END}, 0, 0},
    {VQ_OP_patch_embed, A(patch_embed, .patch = VQ_INTS(4, 2), .layout = VQ_LIT("oi"),
        .out = 0), {T(f32, 2, 3, 12, 10), T(f32, 7, 24), T(f32, 7), END}, 0, 0},
    {VQ_OP_patch_embed, A(patch_embed, .patch = VQ_INTS(4, 4), .layout = VQ_LIT("panel16"),
        .out = 19), {T(f32, 1, 3, 12, 8), T(f32, 2, 48, 16), END}, 0, 0},
    {VQ_OP_layer_norm, NULL, {T(f32, 2, 5, 37), T(f32, 37), T(f32, 37), END}, 0, 0},
    {VQ_OP_layer_norm, A(layer_norm, .eps = 1e-3f), {T(f32, 7, 3), END}, 0, 0},
    {VQ_OP_softmax, A(softmax, .axis = -1), {T(f32, 3, 5, 37), END}, -20, 20},
    {VQ_OP_softmax, A(softmax, .axis = 1), {T(f32, 3, 5, 7), END}, -20, 20},
    {VQ_OP_attention, A(attention, .heads = 3, .scale = 0.5f), {T(f32, 2, 5, 12), T(f32, 2,
        7, 12), T(f32, 2, 7, 15), END}, 0, 0},
    {VQ_OP_attention, A(attention, .heads = 2, .scale = 0.25f), {T(f32, 4, 19, 64), T(f32, 4,
        19, 64), T(f32, 4, 19, 64), T(f32, 2, 1, 19, 19)}, 0, 0},
  };
  return use(cases, VQ_COUNT(cases), range);
}

// @main computes every case from arguments of its own.
static vq_module *op_module(const op_case *c, unsigned n_case,
                            double (*range)[2]) {
  const vq_type *type[MAX_CASE * 4];
  vq_str name[MAX_CASE * 4] = {{0}}, result[MAX_CASE];
  vq_value *y[MAX_CASE];
  unsigned n = 0, at = 0;
  for (unsigned i = 0; i < n_case; i++)
    for (unsigned k = 0; k < 4 && c[i].in[k].dtype != VQ_N_DTYPES; k++) {
      const struct operand *o = &c[i].in[k];
      type[n] = vq_type_tensor(ctx, (vq_dtype)o->dtype, o->rank, o->dim, NULL);
      bool table = c[i].op == VQ_OP_gather && k == 0;
      range[n][0] = table ? 0 : c[i].lo;
      range[n++][1] = table ? 0 : c[i].hi;
    }
  vq_module *m = vq_module_create(ctx, VQ_LIT("ops"));
  vq_func *f = vq_func_create(m, VQ_FUNC, VQ_LIT("main"), n, type, name);
  vq_builder b = {f, NULL, {0}, &diag};
  for (unsigned i = 0; i < n_case; i++) {
    vq_value *in[4];
    unsigned k = 0;
    for (; k < 4 && c[i].in[k].dtype != VQ_N_DTYPES; k++) in[k] = &f->arg[at++];
    char text[64];
    snprintf(text, sizeof text, "%s_%u", vq_op_info(c[i].op)->name, i);
    result[i] = vq_intern(ctx, vq_str_of(text));
    y[i] = vq_build1(&b, c[i].op, in, k, c[i].attrs, result[i]);
    ck_assert_msg(y[i] != NULL, "%s: %s", text, vq_strbuf_z(&messages));
  }
  OK(vq_build_return(&b, n_case, y, result));
  return m;
}

static vq_module *check_coverage(const op_case *c, unsigned n,
                                 double (*range)[2]) {
  (void)range;
  for (unsigned op = 0; op < VQ_N_OPS; op++) {
    bool found = op == VQ_OP_return || op == VQ_OP_call;
    for (unsigned i = 0; i < n; i++) found |= c[i].op == op;
    ck_assert_msg(found, "no case for %s", vq_op_info((vq_opcode)op)->name);
  }
  return NULL;
}

START_TEST(every_op_has_a_case) { with_cases(check_coverage, NULL); }
END_TEST

START_TEST(every_op_is_compiled) {
  static double range[MAX_CASE * 4][2];
  vq_module *m = with_cases(op_module, range);
  check_all(m, range);
  vq_module_destroy(m);
}
END_TEST

// ---- kernels of several ops ------------------------------------------------------

static const char *const programs[] = {
    // A chain, a broadcast, a view, a constant and a tensor returned twice.
    "vq 1\nmodule \"chain\"\n"
    "const @w : tensor<7x5, f32> = random<seed = 3, std = 0.5>\n"
    "func @main(%x: tensor<3x7, f32>, %c: tensor<1x5, f32>)"
    " -> (a: tensor<3x5, f32>, b: tensor<15, f32>, c: tensor<1x5, f32>,"
    " d: tensor<3x5, f32>) {\n"
    "  %0 = matmul %x, @w : tensor<3x5, f32>\n"
    "  %1 = add %0, %c : tensor<3x5, f32>\n"
    "  %2 = gelu %1 : tensor<3x5, f32>\n"
    "  %3 = reshape %2 {shape = [15]} : tensor<15, f32>\n"
    "  %4 = mul %3, %3 : tensor<15, f32>\n"
    "  return %2, %4, %c, %2\n}\n",
    // A kernel of two heavy ops, inline movement and two results.
    "vq 1\nmodule \"fused\"\n"
    "kernel @k(%a: tensor<5x7, f32>, %b: tensor<5x9, f32>)"
    " -> (tensor<5x5, f32>, tensor<7x5, f32>) {\n"
    "  %t = transpose %a {perm = [1, 0]} : tensor<7x5, f32>\n"
    "  %e = exp %t : tensor<7x5, f32>\n"
    "  %m = matmul %a, %e : tensor<5x5, f32>\n"
    "  %s = softmax %m : tensor<5x5, f32>\n"
    "  %l = slice %b {begin = [0, 2], size = [5, 5]} : tensor<5x5, f32>\n"
    "  %y = add %s, %l : tensor<5x5, f32>\n"
    "  return %y, %e\n}\n"
    "func @main(%a: tensor<5x7, f32>, %b: tensor<5x9, f32>)"
    " -> (y: tensor<5x5, f32>, e: tensor<7x5, f32>) {\n"
    "  %y, %e = call @k(%a, %b) : tensor<5x5, f32>,"
    " tensor<7x5, f32>\n"
    "  return %y, %e\n}\n",
    // Nibbles between ops of one kernel, an argument returned, a constant used
    // inside the kernel.
    "vq 1\nmodule \"nibbles\"\n"
    "const @three : tensor<i4> = dense<[3]>\n"
    "kernel @k(%a: tensor<3x5, i4>) -> (tensor<3x5, i4>, tensor<3x5, i4>,"
    " tensor<3, i4>) {\n"
    "  %b = add %a, @three : tensor<3x5, i4>\n"
    "  %c = mul %b, %a : tensor<3x5, i4>\n"
    "  %s = reduce_sum %c {axes = [1], keep = false} : tensor<3, i4>\n"
    "  return %c, %a, %s\n}\n"
    "func @main(%a: tensor<3x5, i4>) -> (c: tensor<3x5, i4>, a: tensor<3x5, i4>,"
    " s: tensor<3, i4>) {\n"
    "  %c, %d, %s = call @k(%a) : tensor<3x5, i4>,"
    " tensor<3x5, i4>, tensor<3, i4>\n"
    "  return %c, %d, %s\n}\n",
    // Empty tensors.
    "vq 1\nmodule \"empty\"\n"
    "func @main(%a: tensor<0x3, f32>, %b: tensor<2x0, f32>)"
    " -> (x: tensor<0x3, f32>, s: tensor<2, f32>, m: tensor<2x3, f32>,"
    " p: tensor<1x3, f32>, q: tensor<0x3, f32>) {\n"
    "  %x = exp %a : tensor<0x3, f32>\n"
    "  %s = reduce_sum %b {axes = [1], keep = false} : tensor<2, f32>\n"
    "  %m = matmul %b, %a : tensor<2x3, f32>\n"
    "  %p = pad %a {lo = [1, 0], hi = [0, 0], value = 2} : tensor<1x3, f32>\n"
    "  %q = softmax %a : tensor<0x3, f32>\n"
    "  return %x, %s, %m, %p, %q\n}\n",
};

START_TEST(programs_run) {
  vq_module *m = parse(programs[_i]);
  check_all(m, NULL);
  vq_module_destroy(m);
}
END_TEST

// ---- what a file holds -------------------------------------------------------------

static vq_module *lowered(unsigned program) {
  vq_module *m = parse(programs[program]);
  OK(lower(NULL, m, &diag));
  return m;
}

static char *slurp(const char *path, size_t *n) {
  FILE *f = fopen(path, "rb");
  ck_assert_msg(f != NULL, "%s", path);
  fseek(f, 0, SEEK_END);
  *n = (size_t)ftell(f);
  rewind(f);
  char *p = calloc(1, *n + 1);
  ck_assert_uint_eq(fread(p, 1, *n, f), *n);
  fclose(f);
  return p;
}

static const struct form {
  vq_emit_kind kind;
  const char *starts, *holds;
} forms[] = {
    {VQ_EMIT_LLVM, "; ModuleID = 'chain'", "@vqk_matmul_3x5__x86_64_v4"},
    {VQ_EMIT_BC, "BC", ""},
    {VQ_EMIT_ASM, "\t.text", "vqk_matmul_3x5__x86_64_v3"},
    {VQ_EMIT_OBJ, "\177ELF", ""},
    {VQ_EMIT_ARCHIVE, "!<arch>\n/", ""},
    {VQ_EMIT_SO, "\177ELF", ""},
    {VQ_EMIT_HEADER, "/* Compiled by vitqc", "int chain_run("},
};

START_TEST(two_builds_are_equal) {
  const struct form *f = &forms[_i];
  size_t n[2];
  char *text[2];
  for (unsigned i = 0; i < 2; i++) {
    vq_module *m = lowered(0);
    vq_backend_options opt = options();
    const char *path = in_dir(i ? "a.out" : "another name");
    OK(vq_backend_emit(m, f->kind, path, &opt, &diag));
    text[i] = slurp(path, &n[i]);
    vq_module_destroy(m);
  }
  ck_assert_uint_eq(n[0], n[1]);
  ck_assert_mem_eq(text[0], text[1], n[0]);
  ck_assert_mem_eq(text[0], f->starts, strlen(f->starts));
  ck_assert_ptr_nonnull(strstr(text[0], *f->holds ? f->holds : text[0]));
  for (unsigned i = 0; i < 2; i++) free(text[i]);
}
END_TEST

// The C entry point from a shared object and, two models in one program, from
// archives.
START_TEST(c_programs_can_call_models) {
  static const char source[] =
      "#include \"chain.h\"\n#include \"fused.h\"\n#include <stdlib.h>\n"
      "int main(void) {\n"
      "  float x[21] = {1}, c[5] = {0}, a[15], b[15], d[5], e[15];\n"
      "  const void *in[] = {x, c};\n  void *out[] = {a, b, d, e};\n"
      "  void *ws = aligned_alloc(64, (chain_workspace() + 63) / 64 * 64 + 64);\n"
      "  return chain_run(1, in, out, ws) || a[0] != e[0] ||"
      " fused_workspace() == 0 || CHAIN_INPUT0_BYTES != sizeof x;\n}\n";
  vq_backend_options opt = options();
  for (unsigned i = 0; i < 2; i++) {
    vq_module *m = lowered(i);
    OK(vq_backend_emit(m, VQ_EMIT_ARCHIVE, in_dir(i ? "f.a" : "c.a"), &opt, &diag));
    OK(vq_backend_emit(m, VQ_EMIT_HEADER, in_dir(i ? "fused.h" : "chain.h"), &opt,
                       &diag));
    vq_module_destroy(m);
  }
  FILE *f = fopen(in_dir("p.c"), "w");
  fputs(source, f);
  fclose(f);
  char line[2048];
  snprintf(line, sizeof line,
           "cd %s && cc -std=c11 -Wall -Werror p.c c.a f.a %s -lm -lpthread -o p"
           " && ./p", dir, TEST_RUNTIME_LIB);
  ck_assert_int_eq(system(line), 0);
}
END_TEST

START_TEST(a_library_exports_its_entries_only) {
  vq_module *m = lowered(0);
  vq_backend_options opt = options();
  opt.symbol = "net";
  OK(vq_backend_emit(m, VQ_EMIT_SO, in_dir("m.so"), &opt, &diag));
  vq_module_destroy(m);
  void *lib = dlopen(in_dir("m.so"), RTLD_NOW | RTLD_LOCAL);
  ck_assert_msg(lib != NULL, "%s", dlerror());
  ck_assert_ptr_nonnull(dlsym(lib, "net_run"));
  ck_assert_ptr_nonnull(dlsym(lib, "net_query"));
  ck_assert_ptr_nonnull(dlsym(lib, "net_workspace"));
  ck_assert_ptr_nonnull(dlsym(lib, VITQ_QUERY_SYMBOL));
  ck_assert_ptr_null(dlsym(lib, "net_constants"));
  ck_assert_ptr_null(dlsym(lib, "vitq_rt_run_model"));
  dlclose(lib);
}
END_TEST

START_TEST(meta_travels) {
  vq_module *m = parse(programs[0]);
  vq_meta_set(m, "preprocess.scale", VQ_LIT("0.00392156886"));
  vq_meta_set(m, "preprocess.mean", VQ_LIT("0.5,0.25,0.125"));
  vq_meta_set(m, "preprocess.std", VQ_LIT("2"));
  vq_meta_set(m, "preprocess.crop", VQ_LIT("224"));
  vq_meta_set(m, "preprocess.interp", VQ_LIT("bilinear"));
  vq_meta_set(m, "labels", VQ_LIT("cat\ndog\r\nold boot\n"));
  vq_meta_set(m, "producer", VQ_LIT("pytorch"));
  OK(lower(NULL, m, &diag));
  vq_backend_options opt = options();
  OK(vq_backend_emit(m, VQ_EMIT_SO, in_dir("m.so"), &opt, &diag));
  vq_module_destroy(m);
  vitq_handle *h;
  ck_assert_int_eq(vitq_open(in_dir("m.so"), &h), VITQ_OK);
  const vitq_model *d = vitq_describe(h);
  ck_assert_str_eq(d->name, "chain");
  ck_assert_uint_eq(d->preprocess->stated, 1);
  ck_assert_uint_eq(d->preprocess->crop, 224);
  ck_assert_uint_eq(d->preprocess->interp, 1);
  ck_assert(d->preprocess->mean[1] == 0.25f && d->preprocess->std[3] == 2.0f);
  ck_assert_uint_eq(d->n_label, 3);
  ck_assert_str_eq(d->label[1], "dog");
  ck_assert_uint_eq(d->n_meta, 1);
  ck_assert_str_eq(d->meta[1], "pytorch");
  ck_assert_uint_eq((uintptr_t)d->constants % 64, 0);
  ck_assert_str_eq(d->input[1].name, "c");
  vitq_close(h);
}
END_TEST

// ---- failing -----------------------------------------------------------------------

static void expect_failure(vq_module *m, vq_emit_kind kind, const char *path,
                           const vq_backend_options *opt, const char *text) {
  uint32_t before = diag.n_error;
  vq_strbuf_clear(&messages);
  ck_assert_int_eq(vq_backend_emit(m, kind, path, opt, &diag), VQ_ERR);
  ck_assert_uint_eq(diag.n_error, before + 1);
  ck_assert_msg(strstr(vq_strbuf_z(&messages), text) != NULL, "%s",
                vq_strbuf_z(&messages));
}

static unsigned count_files(void) {
  unsigned n = 0;
  DIR *d = opendir(dir);
  for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

START_TEST(failures_leave_no_file) {
  vq_module *m = lowered(0);
  vq_backend_options opt = options();
  expect_failure(m, VQ_EMIT_SO, in_dir("none/m.so"), &opt, "cannot create");
  expect_failure(m, VQ_EMIT_OBJ, dir, &opt, "Is a directory");
  expect_failure(m, VQ_EMIT_SO, "/dev/null", &opt, "not a regular file");
  opt.linker = "no-such-linker";
  expect_failure(m, VQ_EMIT_SO, in_dir("m.so"), &opt, "cannot run the linker");
  opt.linker = "false";
  expect_failure(m, VQ_EMIT_SO, in_dir("m.so"), &opt, "exit code 1");
  opt = options();
  opt.triple = "riscv64-linux-gnu";
  expect_failure(m, VQ_EMIT_OBJ, in_dir("m.o"), &opt, "unknown target");
  opt.triple = NULL;
  opt.cpu = "z80";
  expect_failure(m, VQ_EMIT_OBJ, in_dir("m.o"), &opt, "x86-64-v3");
  vq_module_destroy(m);
  m = parse(programs[0]);
  opt = options();
  expect_failure(m, VQ_EMIT_OBJ, in_dir("m.o"), &opt, "not lowered");
  vq_meta_set(m, "preprocess.mean", VQ_LIT("0.5,oops"));
  OK(lower(NULL, m, &diag));
  expect_failure(m, VQ_EMIT_OBJ, in_dir("m.o"), &opt, "preprocess.mean");
  vq_module_destroy(m);
  ck_assert_uint_eq(count_files(), 0);
}
END_TEST

START_TEST(one_cpu_alone) {
  vq_module *m = lowered(0);
  vq_backend_options opt = options();
  opt.cpu = "x86-64";
  OK(vq_backend_emit(m, VQ_EMIT_SO, in_dir("m.so"), &opt, &diag));
  vq_module_destroy(m);
  vitq_handle *h;
  ck_assert_int_eq(vitq_open(in_dir("m.so"), &h), VITQ_OK);
  ck_assert_uint_eq(vitq_describe(h)->n_variant, 1);
  ck_assert_str_eq(vitq_variant_name(h), "x86-64");
  vitq_close(h);
}
END_TEST

int main(void) {
  Suite *s = suite_create("backend");
  TCase *t = tcase_create("backend");
  tcase_set_timeout(t, 0);
  tcase_add_checked_fixture(t, setup, teardown);
  tcase_add_test(t, every_op_has_a_case);
  tcase_add_test(t, every_op_is_compiled);
  tcase_add_loop_test(t, programs_run, 0, VQ_COUNT(programs));
  tcase_add_loop_test(t, two_builds_are_equal, 0, VQ_COUNT(forms));
  tcase_add_test(t, c_programs_can_call_models);
  tcase_add_test(t, a_library_exports_its_entries_only);
  tcase_add_test(t, meta_travels);
  tcase_add_test(t, failures_leave_no_file);
  tcase_add_test(t, one_cpu_alone);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_set_fork_status(r, CK_NOFORK);
  srunner_run_all(r, CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
