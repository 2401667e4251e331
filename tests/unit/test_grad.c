// Gradients against central differences in binary64: of every op with a rule, and
// of whole small models; and compiled against the interpreter.
#include "differences.h"

// ---- single ops ------------------------------------------------------------------------

typedef struct op_case {
  vq_opcode op;
  const char *args, *expr;
  double lo, hi;
} op_case;

static const op_case cases[] = {
#define CASE(op, args, expr, lo, hi) {VQ_OP_##op, args, expr, lo, hi},
#include "grad_cases.def"
#undef CASE
};

static const char constants[] =
    "vq 1\nmodule \"t\"\n"
    "const @i201 : tensor<3, i64> = dense<[2, 0, 1]>\n"
    "const @i2202 : tensor<2x2, i32> = dense<[2, 2, 0, 2]>\n"
    "const @i3 : tensor<i64> = dense<[3]>\n"
    "const @rows : tensor<4, i32> = dense<[1, 0, 1, 1]>\n"
    "const @holes : tensor<4, i32> = dense<[-1, 2, 0, -1]>\n"
    "const @two : tensor<f32> = fill<2>\n"
    "const @zeros : tensor<3x4, f32> = dense<[0, 0, 0, 0, 0, -1, 0, 0, 0, -1, 0, -1]>\n"
    "const @bias : tensor<1x4x3x3, f32> = random<seed = 3, std = 1>\n";

START_TEST(rule_is_right) {
  const op_case *c = &cases[_i];
  const char *type = strrchr(c->expr, ':') + 2;
  vq_strbuf text = {0};
  vq_strbuf_printf(&text, "%sfunc @main(%s) -> (y: %s) {\n  %s%s\n  return %%y\n}\n",
                   constants, c->args, type, c->expr[0] == '%' ? "" : "%y = ", c->expr);
  vq_module *m = parse(vq_strbuf_z(&text));
  OK(passes(m, "grad", &diag));
  for (unsigned i = 0; i < 4; i++) compare(c->expr, m, c->lo, c->hi);
  vq_module_destroy(m);
  vq_strbuf_release(&text);
}
END_TEST

START_TEST(every_rule_has_a_case) {
  static const vq_opcode with_rule[] = {
#define GRAD(op) VQ_OP_##op,
#define FLAT(op)
#define NONE(op, why)
#include "calib/grad_rules.def"
  };
  for (size_t i = 0; i < VQ_COUNT(with_rule); i++) {
    bool found = with_rule[i] == VQ_OP_fake_quant;  // below
    for (size_t k = 0; k < VQ_COUNT(cases); k++) found |= cases[k].op == with_rule[i];
    ck_assert_msg(found, "%s has no row in grad_cases.def", vq_op_info(with_rule[i])->name);
  }
}
END_TEST

// Its derivatives are not those of differences: rounding counts as the identity.
START_TEST(fake_quant_is_straight_through) {
  static const double scales[] = {0.25, 0};
  vq_module *m = parse(
      "vq 1\nmodule \"t\"\n"
      "func @main(%x: tensor<6, f32>, %s: tensor<f32>, %z: tensor<f32>)"
      " -> (y: tensor<6, f32>) {\n"
      "  %y = fake_quant %x, %s, %z {lo = 0, hi = 15} : tensor<6, f32>\n"
      "  return %y\n}\n");
  OK(passes(m, "grad", &diag));
  double x[] = {-2, -1.3, -0.3, 0.1, 2.55, 3.5}, seeds[] = {1, 2, 3, 4, 5, 6}, zero = 5;
  for (unsigned k = 0; k < 2; k++) {
    double scale = scales[k], want[6], by_scale = 0, by_zero = 0;
    for (unsigned i = 0; i < 6; i++) {
      double t = scale ? rint(x[i] / scale) + zero : 0, q = fmin(fmax(t, 0), 15);
      bool in = scale == 0 || t == q;
      want[i] = in ? seeds[i] : 0;
      if (scale) by_scale += seeds[i] * (q - zero - (in ? x[i] / scale : 0));
      if (!in) by_zero -= seeds[i] * scale;
    }
    const vq_func *f = func(m, "main.grad");
    double *args[] = {x, &scale, &zero, seeds};
    vq_tensor in[4], d[3];
    for (unsigned i = 0; i < 4; i++)
      in[i] = (vq_tensor){widened(f->arg[i].type, ctx), args[i]};
    wide_eval(f, in, d, &diag, &temp);
    for (unsigned i = 0; i < 6; i++) ck_assert_double_eq(doubles(&d[0])[i], want[i]);
    ck_assert_double_eq_tol(doubles(&d[1])[0], by_scale, 1e-12);
    ck_assert_double_eq(doubles(&d[2])[0], by_zero);
    vq_arena_reset(&temp);
  }
  vq_module_destroy(m);
}
END_TEST

// ---- models ----------------------------------------------------------------------------

static const char *const models[] = {"distilled", "mixed", "swin"};

static vq_module *read_model(const char *name) {
  vq_strbuf text = {0};
  char path[512], block[4096];
  snprintf(path, sizeof path, "%s/models/small/%s.vq", TEST_DATA_DIR, name);
  FILE *file = fopen(path, "rb");
  ck_assert_msg(file != NULL, "%s", path);
  for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;)
    vq_strbuf_add(&text, block, n);
  fclose(file);
  vq_module *m;
  OK(vq_parse(ctx, vq_strbuf_view(&text), path, &diag, &m));
  vq_strbuf_release(&text);
  return m;
}

START_TEST(model_is_right) {
  vq_module *m = read_model(models[_i]);
  OK(passes(m, "fold,recompose,cse,dce,grad,fold,cse,dce", &diag));
  compare(models[_i], m, -2, 2);
  vq_module_destroy(m);
}
END_TEST

static vq_status lower_grad(void *user, vq_module *m, vq_str name, vq_diag *dg) {
  (void)user, (void)name;
  return passes(m, "fold,cse,dce,rows,pack,fuse,outline,dce,plan-memory", dg);
}

// The JIT's pixels' gradient against the interpreter's.
START_TEST(model_is_compiled) {
  vq_module *m = read_model(models[_i]);
  OK(passes(m, "fold,recompose,cse,dce,grad{results=true},fold,cse,dce", &diag));
  const vq_func *f = func(m, "main.grad");
  vq_exec *jit = vq_exec_jit(lower_grad, NULL, "native");
  vq_program *p = NULL;
  OK(jit->ops->prepare(jit, m, VQ_LIT("main.grad"), &diag, &p));
  vq_tensor in[8], want[8], got[2][8];
  for (unsigned i = 0; i < f->n_arg; i++) {
    in[i] = new_tensor(f->arg[i].type);
    fill(&in[i], 0, 0);
  }
  for (unsigned i = 0; i < f->n_result; i++) {
    want[i] = new_tensor(f->result[i]);
    for (unsigned k = 0; k < 2; k++) got[k][i] = new_tensor(f->result[i]);
  }
  OK(vq_eval_func(f, in, want, &diag, NULL, NULL));
  tolerance = 2e-5;
  for (unsigned k = 0; k < 2; k++) {
    OK(jit->ops->run(p, in, got[k], k + 1, &diag));
    for (unsigned i = 0; i < f->n_result; i++) {
      check_equal(models[_i], f->result_name[i].p, &want[i], &got[k][i]);
      ck_assert_mem_eq(got[0][i].data, got[k][i].data, (size_t)vq_type_bytes(f->result[i]));
    }
  }
  jit->ops->release(p);
  jit->ops->destroy(jit);
  for (unsigned i = 0; i < f->n_arg; i++) free(in[i].data);
  for (unsigned i = 0; i < f->n_result; i++)
    free(want[i].data), free(got[0][i].data), free(got[1][i].data);
  vq_module_destroy(m);
}
END_TEST

int main(void) {
  TCase *t = tcase_create("grad");
  tcase_add_loop_test(t, rule_is_right, 0, VQ_COUNT(cases));
  tcase_add_test(t, every_rule_has_a_case);
  tcase_add_test(t, fake_quant_is_straight_through);
  tcase_add_loop_test(t, model_is_right, 0, VQ_COUNT(models));
  tcase_add_loop_test(t, model_is_compiled, 0, VQ_COUNT(models));
  int failed = run_tests(t, "gradients");
  vq_arena_release(&temp);
  return failed;
}
