// The interpreter, op by op, against results worked out by hand.
#include <check.h>
#include <stdlib.h>

#include "vq/exec.h"
#include "vq/strbuf.h"
#include "vq/text.h"

typedef struct op_case {
  vq_opcode code;
  const char *in[4];
  const char *expr, *want;
  double tolerance;
} op_case;

static const op_case cases[] = {
#define CASE(op, a, b, c, d, expr, want, tol) \
  {VQ_OP_##op, {a, b, c, d}, expr, want, tol},
#include "eval_cases.def"
#undef CASE
};

typedef struct world {
  vq_ctx *ctx;
  vq_diag diag;
  vq_strbuf messages;
  vq_module *m;
} world;

static world world_of(const char *text) {
  world w = {.ctx = vq_ctx_create()};
  vq_diag_init(&w.diag, w.ctx, vq_sink_strbuf, NULL);
  static vq_strbuf messages;
  vq_strbuf_clear(&messages);
  w.diag.user = &messages;
  vq_status st = vq_parse(w.ctx, vq_str_of(text), "t.vq", &w.diag, &w.m);
  ck_assert_msg(st == VQ_OK, "%s%s", text, vq_strbuf_z(&messages));
  return w;
}

static const char *messages_of(const world *w) {
  return vq_strbuf_z(w->diag.user);
}

static void world_end(world *w) {
  vq_module_destroy(w->m);
  vq_ctx_destroy(w->ctx);
  vq_strbuf_release(w->diag.user);
}

static void build_text(vq_strbuf *out, const op_case *c) {
  vq_strbuf_puts(out, "vq 1\nmodule \"t\"\n");
  for (unsigned i = 0; i < 4 && c->in[i]; i++)
    vq_strbuf_printf(out, "const @%c : %s\n", (char)('a' + i), c->in[i]);
  int n_type = (int)(strstr(c->want, " = ") - c->want);
  vq_strbuf_printf(out, "const @want : %s\n", c->want);
  vq_strbuf_printf(out, "func @main() -> (%.*s) {\n  %%y = %s : %.*s\n",
                   n_type, c->want, c->expr, n_type, c->want);
  vq_strbuf_puts(out, "  return %y\n}\n");
}

static bool near(const op_case *c, const vq_tensor *got, const void *want) {
  int64_t n = vq_type_count(got->type);
  if (c->tolerance == 0)
    return memcmp(got->data, want, (size_t)vq_type_bytes(got->type)) == 0;
  for (int64_t i = 0; i < n; i++) {
    double a = vq_load_f64(got->type->dtype, got->data, i);
    double b = vq_load_f64(got->type->dtype, want, i);
    if (!(fabs(a - b) <= c->tolerance)) return false;
  }
  return true;
}

START_TEST(test_op) {
  const op_case *c = &cases[_i];
  vq_strbuf text = {0};
  build_text(&text, c);
  world w = world_of(vq_strbuf_z(&text));
  const vq_func *f = vq_module_func(w.m, VQ_LIT("main"));
  vq_tensor y = {f->result[0], calloc(1, (size_t)vq_type_bytes(f->result[0]))};
  ck_assert_int_eq(vq_eval_func(f, NULL, &y, &w.diag, NULL, NULL), VQ_OK);
  const void *want =
      vq_const_bytes(vq_module_const(w.m, VQ_LIT("want")));
  if (!near(c, &y, want)) {
    for (int64_t i = 0; i < vq_type_count(y.type); i++)
      vq_strbuf_printf(&text, "[%lld] %.9g, expected %.9g\n", (long long)i,
                       vq_load_f64(y.type->dtype, y.data, i),
                       vq_load_f64(y.type->dtype, want, i));
    ck_abort_msg("%s", vq_strbuf_z(&text));
  }
  free(y.data);
  vq_strbuf_release(&text);
  world_end(&w);
}
END_TEST

START_TEST(test_every_op_has_a_case) {
  for (unsigned op = 0; op < VQ_N_OPS; op++) {
    unsigned n = 0;
    for (size_t i = 0; i < VQ_COUNT(cases); i++) n += cases[i].code == op;
    bool structure =
        vq_op_info(op)->traits & (VQ_TRAIT_CALL | VQ_TRAIT_TERM);
    ck_assert_msg(n > 0 || structure, "op %s has no row in eval_cases.def",
                  vq_op_info(op)->name);
  }
}
END_TEST

// ---- functions ----------------------------------------------------------------

static const char program[] =
    "vq 1\nmodule \"t\"\n"
    "kernel @k(%p: tensor<2, f32>) -> (tensor<2, f32>, tensor<2, f32>) {\n"
    "  %n = neg %p : tensor<2, f32>\n"
    "  %unused = abs %p : tensor<2, f32>\n"
    "  return %n, %p\n"
    "}\n"
    "func @main(%x: tensor<2, f32>) -> (tensor<2, f32>, tensor<2, f32>) {\n"
    "  %s = add %x, %x : tensor<2, f32>\n"
    "  %u, %v = call @k(%s) : tensor<2, f32>, tensor<2, f32>\n"
    "  %w = mul %u, %v : tensor<2, f32>\n"
    "  return %w, %s\n"
    "}\n";

static void trace(void *user, const vq_value *v, const vq_tensor *t) {
  float first;
  memcpy(&first, t->data, sizeof first);
  vq_strbuf_printf(user, "%.*s=%g ", VQ_FMT(v->name), (double)first);
}

START_TEST(test_calls_and_trace) {
  world w = world_of(program);
  float x[2] = {3, -1}, y0[2], y1[2];
  const vq_func *f = vq_module_func(w.m, VQ_LIT("main"));
  vq_tensor in = {f->arg[0].type, x};
  vq_tensor out[] = {{f->result[0], y0}, {f->result[1], y1}};
  vq_strbuf seen = {0};
  ck_assert_int_eq(vq_eval_func(f, &in, out, &w.diag, trace, &seen), VQ_OK);
  ck_assert_str_eq(vq_strbuf_z(&seen), "s=6 n=-6 unused=6 u=-6 v=6 w=-36 ");
  ck_assert(y0[0] == -36 && y0[1] == -4 && y1[0] == 6 && y1[1] == -2);
  vq_strbuf_release(&seen);
  world_end(&w);
}
END_TEST

START_TEST(test_exec_interpreter) {
  world w = world_of(program);
  float x[2] = {1, 2}, y0[2], y1[2];
  vq_exec *e = vq_exec_interpreter();
  vq_program *p = NULL;
  ck_assert_int_eq(
      e->ops->prepare(e, w.m, VQ_LIT("absent"), &w.diag, &p), VQ_ERR);
  ck_assert_ptr_nonnull(strstr(messages_of(&w), "absent"));
  ck_assert_int_eq(e->ops->prepare(e, w.m, VQ_LIT("main"), &w.diag, &p),
                   VQ_OK);
  const vq_func *f = vq_module_func(w.m, VQ_LIT("main"));
  vq_tensor in = {f->arg[0].type, x};
  vq_tensor out[] = {{f->result[0], y0}, {f->result[1], y1}};
  ck_assert_int_eq(e->ops->run(p, &in, out, 4, &w.diag), VQ_OK);
  ck_assert(y0[0] == -4 && y0[1] == -16);
  e->ops->release(p);
  e->ops->destroy(e);
  world_end(&w);
}
END_TEST

// ---- what it refuses ------------------------------------------------------------

static void expect_error(const char *text, const char *part) {
  world w = world_of(text);
  const vq_func *f = vq_module_func(w.m, VQ_LIT("main"));
  char data[64];
  vq_tensor y = {f->result[0], data};
  ck_assert_int_eq(vq_eval_func(f, NULL, &y, &w.diag, NULL, NULL), VQ_ERR);
  ck_assert_msg(strstr(messages_of(&w), part) != NULL, "%s",
                messages_of(&w));
  world_end(&w);
}

START_TEST(test_gather_out_of_range) {
  static const char *const index[] = {"2", "-1"};
  for (unsigned i = 0; i < 2; i++) {
    vq_strbuf text = {0};
    vq_strbuf_printf(
        &text,
        "vq 1\nmodule \"t\"\nconst @a : tensor<2, f32> = fill<1>\n"
        "const @i : tensor<1, i64> = dense<[%s]>\n"
        "func @main() -> (tensor<1, f32>) {\n"
        "  %%y = gather @a, @i : tensor<1, f32>\n  return %%y\n}\n",
        index[i]);
    expect_error(vq_strbuf_z(&text), "is outside dimension 0");
    vq_strbuf_release(&text);
  }
}
END_TEST

START_TEST(test_missing_data) {
  expect_error(
      "vq 1\nmodule \"t\"\n"
      "const @w : tensor<1, f32> = blob<elided, sha256 = \""
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\">\n"
      "func @main() -> (tensor<1, f32>) {\n"
      "  %y = neg @w : tensor<1, f32>\n  return %y\n}\n",
      "@w is missing");
}
END_TEST

// ---- element access ---------------------------------------------------------------

START_TEST(test_elements) {
  for (vq_dtype t = 0; t < VQ_N_DTYPES; t++) {
    char data[64];
    memset(data, 0x55, sizeof data);
    for (int64_t i = 0; i < 7; i++) vq_store_i64(t, data, i, i & 1 ? 1 : 0);
    for (int64_t i = 0; i < 7; i++) {
      ck_assert_int_eq(vq_load_i64(t, data, i), i & 1);
      ck_assert(vq_load_f64(t, data, i) == (double)(i & 1));
    }
    ck_assert_int_eq(data[7 * vq_dtype_bits(t) / 8 + 1], 0x55);
  }
}
END_TEST

START_TEST(test_saturation) {
  static const struct {
    vq_dtype t;
    int64_t lo, hi;
  } range[] = {{VQ_i32, INT32_MIN, INT32_MAX}, {VQ_i16, INT16_MIN, INT16_MAX},
               {VQ_i8, -128, 127},             {VQ_u8, 0, 255},
               {VQ_i4, -8, 7},                 {VQ_u4, 0, 15}};
  for (unsigned i = 0; i < VQ_COUNT(range); i++) {
    int64_t data = 0;
    vq_dtype t = range[i].t;
    vq_store_f64(t, &data, 0, 1e18);
    ck_assert_int_eq(vq_load_i64(t, &data, 0), range[i].hi);
    vq_store_f64(t, &data, 0, -1e18);
    ck_assert_int_eq(vq_load_i64(t, &data, 0), range[i].lo);
    vq_store_i64(t, &data, 0, range[i].hi + 1);
    ck_assert_int_eq(vq_load_i64(t, &data, 0), range[i].lo);
  }
}
END_TEST

int main(void) {
  Suite *s = suite_create("eval");
  TCase *t = tcase_create("eval");
  tcase_set_timeout(t, 0);
  tcase_add_loop_test(t, test_op, 0, VQ_COUNT(cases));
  tcase_add_test(t, test_every_op_has_a_case);
  tcase_add_test(t, test_calls_and_trace);
  tcase_add_test(t, test_exec_interpreter);
  tcase_add_test(t, test_gather_out_of_range);
  tcase_add_test(t, test_missing_data);
  tcase_add_test(t, test_elements);
  tcase_add_test(t, test_saturation);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
