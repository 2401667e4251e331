// The verifier on modules broken by hand: each kind of damage is reported, and
// none of it makes the verifier crash, loop or read what it should not.
#include <check.h>

#include "vq/build.h"
#include "vq/ir.h"
#include "vq/strbuf.h"
#include "vq/text.h"
#include "vq/verify.h"

static const char source[] =
    "vq 1\n"
    "const @c : tensor<2, f32> = dense<[1, 2]>\n"
    "const @d : tensor<2, f32> = dense<[3, 4]>\n"
    "func @main(%x: tensor<2, f32>, %y: tensor<2, f32>) -> (tensor<2, f32>) {\n"
    "  %a = add %x, @c : tensor<2, f32>\n"
    "  %b = mul %a, %a : tensor<2, f32>\n"
    "  %k = call @k(%b) : tensor<2, f32>\n"
    "  return %k\n"
    "}\n"
    "kernel @k(%z: tensor<2, f32>) -> (tensor<2, f32>) {\n"
    "  %e = exp %z : tensor<2, f32>\n"
    "  return %e\n"
    "}\n";

static vq_ctx *ctx;
static vq_diag diag;
static vq_strbuf messages;
static vq_module *m;
static vq_func *f, *k;
static vq_op *add, *mul, *call, *ret;

static void setup(void) {
  ctx = vq_ctx_create();
  vq_diag_init(&diag, ctx, vq_sink_strbuf, &messages);
  ck_assert_int_eq(
      vq_parse(ctx, vq_str_of(source), "t.vq", &diag, &m), VQ_OK);
  f = m->first_func;
  k = f->next;
  add = f->first;
  mul = add->next;
  call = mul->next;
  ret = call->next;
}

static void teardown(void) {
  vq_strbuf_release(&messages);
  k->next = NULL;  // what destroying relies on
  vq_module_destroy(m);
  vq_ctx_destroy(ctx);
}

// The module is wrong and the messages say `what`.
static void expect(const char *what) {
  vq_strbuf_clear(&messages);
  ck_assert_int_eq(vq_verify(m, &diag), VQ_ERR);
  ck_assert_msg(messages.n && strstr(vq_strbuf_z(&messages), what),
                "no '%s' in:\n%s", what, vq_strbuf_z(&messages));
}

#define BREAK(name, damage, what) \
  START_TEST(name) {              \
    damage;                       \
    expect(what);                 \
  }                               \
  END_TEST

START_TEST(whole_is_right) {
  ck_assert_int_eq(vq_verify(m, &diag), VQ_OK);
  ck_assert_uint_eq(messages.n, 0);
}
END_TEST

// Lists.
BREAK(op_list_loops, mul->next = add, "@main: broken op list")
BREAK(op_list_prev, call->prev = add, "@main: broken op list")
BREAK(op_list_foreign, mul->func = k, "@main: broken op list")
BREAK(op_list_last, f->last = call, "@main: the op list has another end")
BREAK(func_list_loops, k->next = f, "functions: broken list")
BREAK(func_list_last, m->last_func = f, "functions: the list has another end")
BREAK(func_foreign, k->module = NULL, "functions: broken list")
BREAK(const_list_loops, m->last_const->next = m->first_const,
      "constants: broken list")
BREAK(const_list_last, m->last_const = m->first_const,
      "constants: the list has another end")

// Values.
BREAK(const_kind, m->first_const->value.kind = VQ_VALUE_ARG,
      "@c: not a constant")
BREAK(const_untyped, m->first_const->value.type = NULL, "@c: not a constant")
BREAK(const_unnamed, m->first_const->value.name = VQ_LIT(""),
      "constant without a name")
BREAK(const_namesake, m->first_const->value.name = VQ_LIT("d"),
      "two things are called @d")
BREAK(func_unnamed, k->name = VQ_LIT(""), "a function without a name")
BREAK(func_namesake, k->name = VQ_LIT("main"), "two things are called @main")
BREAK(arg_foreign, f->arg[0].func = k, "@main: an argument")
BREAK(arg_number, f->arg[1].idx = 0, "@main: an argument")
BREAK(value_namesake, mul->out[0].name = VQ_LIT("x"),
      "two things are called %x")
BREAK(result_foreign, mul->out[0].def = add, "@main: mul %b: a result")
BREAK(result_untyped, mul->out[0].type = NULL, "@main: mul %b: a result")
BREAK(opcode_unknown, mul->code = VQ_N_OPS, "@main: unknown opcode")
BREAK(attrs_missing, mul->attrs = NULL, "@main: mul %b: no attributes")
BREAK(scratch_left, mul->scratch = mul, "left its scratch pointer")

// Operands and uses.
BREAK(operand_null, mul->in[0].val = NULL, "operand 0 is no value")
BREAK(operand_foreign, mul->in[1].val = &k->arg[0], "operand 1 is no value")
BREAK(operand_user, mul->in[1].user = add, "an operand slot")
BREAK(operand_number, mul->in[1].idx = 0, "an operand slot")
BREAK(operand_itself, mul->in[1].val = &mul->out[0], "before it is defined")
BREAK(operand_later, add->in[0].val = &mul->out[0], "before it is defined")
BREAK(operand_unlisted, mul->in[1].val = &f->arg[1],
      "%y: its use list does not hold its 1 uses")
BREAK(uses_loop, mul->in[1].next = &mul->in[0], "%a: its use list")
BREAK(uses_lost, add->out[0].uses = NULL, "%a: its use list")
BREAK(uses_last, add->out[0].last_use = &mul->in[0], "%a: its use list")
BREAK(uses_prev, mul->in[1].prev = NULL, "%a: its use list")
BREAK(uses_const, m->first_const->value.uses = NULL, "@c: its use list")

// Returns.
BREAK(return_count, f->n_result = 0, "returns nothing")
BREAK(return_type, f->result[0] = vq_type_tensor(ctx, VQ_i8, 0, NULL, NULL),
      "returned value 0 has another type")
BREAK(ops_gone, f->first = f->last = NULL, "does not end with 'return'")

// Types.
BREAK(operand_missing, mul->n_in = 1, "%a: its use list")
BREAK(stated_type,
      mul->out[0].type = vq_type_tensor(ctx, VQ_f32, 0, NULL, NULL),
      "mul %b: result 0 is stated as tensor<f32> but is tensor<2, f32>")
BREAK(operand_class,
      f->arg[0].type = vq_type_tensor(ctx, VQ_bool, 0, NULL, NULL),
      "'add' operand a is tensor<bool>")
BREAK(callee_unknown, ((vq_attrs_call *)call->attrs)->callee = VQ_LIT("z"),
      "'z', which is not a function")
BREAK(call_cycle, ((vq_attrs_call *)call->attrs)->callee = VQ_LIT("main"),
      "expected 2")
BREAK(const_empty, m->first_const->bytes = NULL, "@c has no data")
BREAK(const_lost, m->first_const->init = VQ_INIT_MISSING,
      "neither data nor a checksum")
BREAK(const_random, (m->first_const->init = VQ_INIT_RANDOM,
                     m->first_const->std = INFINITY),
      "@c std is not finite")

START_TEST(fill_must_fit) {
  const double bad[] = {0.5, 128, -129, NAN, INFINITY, 1e300};
  const vq_type *i8 = vq_type_tensor(ctx, VQ_i8, 1, (int64_t[]){3}, NULL);
  vq_const *c = vq_const_fill(m, VQ_LIT("f"), i8, 127);
  ck_assert_int_eq(vq_verify(m, &diag), VQ_OK);
  for (size_t i = 0; i < VQ_COUNT(bad); i++) {
    c->fill = bad[i];
    expect("@f fill value does not fit the type");
  }
}
END_TEST

START_TEST(at_most_20_errors) {
  const vq_type *i8 = vq_type_tensor(ctx, VQ_i8, 1, (int64_t[]){3}, NULL);
  for (int i = 0; i < 100; i++) vq_const_fill(m, VQ_LIT("f"), i8, 0.5);
  expect("fill value");
  unsigned n = 0;
  for (const char *p = messages.p; (p = strstr(p, "error:")); p++) n++;
  ck_assert_uint_eq(n, 20);
}
END_TEST

// A chain of calls as long as the module must not need as much stack.
START_TEST(deep_calls) {
  vq_strbuf text = {0};
  vq_strbuf_puts(&text, "vq 1\n");
  enum { N = 20000 };
  for (int i = 0; i < N; i++)
    vq_strbuf_printf(&text,
                     "func @f%d(%%x: tensor<f32>) -> (tensor<f32>) {\n"
                     "  %%y = call @f%d(%%x) : tensor<f32>\n  return %%y\n}\n",
                     i, i + 1);
  vq_strbuf_printf(&text,
                   "func @f%d(%%x: tensor<f32>) -> (tensor<f32>) {\n"
                   "  return %%x\n}\n", N);
  vq_module *deep;
  ck_assert_int_eq(
      vq_parse(ctx, vq_strbuf_view(&text), "d.vq", &diag, &deep), VQ_OK);
  vq_module_destroy(deep);
  vq_strbuf_release(&text);
}
END_TEST

START_TEST(property_by_itself) {
  ck_assert_int_eq(vq_verify_prop(m, VQ_PROP_OUTLINED, &diag), VQ_ERR);
  ck_assert_ptr_nonnull(strstr(vq_strbuf_z(&messages), "add %a: outlined"));
  ck_assert_str_eq(vq_prop_name(VQ_PROP_PLANNED), "planned");
}
END_TEST

int main(void) {
  Suite *s = suite_create("verify");
  TCase *t = tcase_create("verify");
  const TTest *const tests[] = {
      whole_is_right,   op_list_loops,   op_list_prev,     op_list_foreign,
      op_list_last,     func_list_loops, func_list_last,   func_foreign,
      const_list_loops, const_list_last, const_kind,       const_untyped,
      const_unnamed,    const_namesake,  func_unnamed,     func_namesake,
      arg_foreign,      arg_number,      value_namesake,   result_foreign,
      result_untyped,   opcode_unknown,  attrs_missing,    scratch_left,
      operand_null,     operand_foreign, operand_user,     operand_number,
      operand_itself,   operand_later,   operand_unlisted, uses_loop,
      uses_lost,        uses_last,       uses_prev,        uses_const,
      return_count,     return_type,     ops_gone,         operand_missing,
      stated_type,      operand_class,   callee_unknown,   call_cycle,
      const_empty,      const_lost,      const_random,     fill_must_fit,
      at_most_20_errors, deep_calls,     property_by_itself};
  tcase_add_checked_fixture(t, setup, teardown);
  for (size_t i = 0; i < VQ_COUNT(tests); i++) tcase_add_test(t, tests[i]);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_ENV);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
