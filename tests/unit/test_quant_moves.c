// The quantizer passes where tokens move: codes are moved, numbers are not.
#include <check.h>
#include <math.h>

#include "vq/pass.h"
#include "vq/rewrite.h"
#include "vq/strbuf.h"
#include "vq/text.h"

#define N_IN (3 * 3 * 8)
#define N_OUT 7

// A grid of 3 x 3 tokens, padded to windows of 2 x 2; the mean of all tokens.
static const char windows[] =
    "vq 1\nmodule \"t\"\n"
    "const @g1 : tensor<8, f32> = random<seed = 1, std = 2>\n"
    "const @b1 : tensor<8, f32> = random<seed = 2, std = 1>\n"
    "const @wqkv : tensor<24x8, f32> = random<seed = 3, std = 0.3>\n"
    "const @bqkv : tensor<24, f32> = random<seed = 4, std = 0.1>\n"
    "const @wo : tensor<8x8, f32> = random<seed = 5, std = 0.3>\n"
    "const @mask : tensor<4x1x4x4, f32> = random<seed = 6, std = 2>\n"
    "const @g2 : tensor<8, f32> = random<seed = 7, std = 2>\n"
    "const @b2 : tensor<8, f32> = random<seed = 8, std = 1>\n"
    "const @wh : tensor<7x8, f32> = random<seed = 9, std = 0.5>\n"
    "func @main(%x: tensor<1x3x3x8, f32>) -> (y: tensor<1x7, f32>) {\n"
    "  %r0 = add %x, %x : tensor<1x3x3x8, f32>\n"
    "  %n = layer_norm %r0, @g1, @b1 : tensor<1x3x3x8, f32>\n"
    "  %p = pad %n {lo = [0, 0, 0, 0], hi = [0, 1, 1, 0]} : tensor<1x4x4x8, f32>\n"
    "  %w1 = reshape %p {shape = [2, 2, 2, 16]} : tensor<2x2x2x16, f32>\n"
    "  %w2 = transpose %w1 {perm = [0, 2, 1, 3]} : tensor<2x2x2x16, f32>\n"
    "  %w3 = reshape %w2 {shape = [4, 4, 8]} : tensor<4x4x8, f32>\n"
    "  %qkv = linear %w3, @wqkv, @bqkv : tensor<4x4x24, f32>\n"
    "  %q = slice %qkv {begin = [0, 0, 0], size = [4, 4, 8]} : tensor<4x4x8, f32>\n"
    "  %k = slice %qkv {begin = [0, 0, 8], size = [4, 4, 8]} : tensor<4x4x8, f32>\n"
    "  %v = slice %qkv {begin = [0, 0, 16], size = [4, 4, 8]} : tensor<4x4x8, f32>\n"
    "  %a = attention %q, %k, %v, @mask {heads = 2, scale = 0.5} : tensor<4x4x8, f32>\n"
    "  %o = linear %a, @wo : tensor<4x4x8, f32>\n"
    "  %u1 = reshape %o {shape = [2, 2, 2, 16]} : tensor<2x2x2x16, f32>\n"
    "  %u2 = transpose %u1 {perm = [0, 2, 1, 3]} : tensor<2x2x2x16, f32>\n"
    "  %u3 = reshape %u2 {shape = [1, 4, 4, 8]} : tensor<1x4x4x8, f32>\n"
    "  %c = slice %u3 {begin = [0, 0, 0, 0], size = [1, 3, 3, 8]} : tensor<1x3x3x8, f32>\n"
    "  %r1 = add %r0, %c : tensor<1x3x3x8, f32>\n"
    "  %m = reduce_mean %r1 {axes = [1, 2], keep = false} : tensor<1x8, f32>\n"
    "  %l = layer_norm %m, @g2, @b2 : tensor<1x8, f32>\n"
    "  %y = linear %l, @wh : tensor<1x7, f32>\n"
    "  return %y\n}\n";

static vq_status load(void *user, int64_t i, float *out, vq_diag *diag) {
  (void)user, (void)diag;
  for (int k = 0; k < N_IN; k++)
    out[k] = (float)sin(0.37 * k * (double)(i + 1) + (double)i) * (k % 5 ? 1 : 3);
  return VQ_OK;
}

typedef struct world {
  vq_ctx *ctx;
  vq_diag diag;
  vq_strbuf messages;
  vq_module *m;
} world;

static void begin(world *w, const char *text) {
  *w = (world){.ctx = vq_ctx_create()};
  vq_diag_init(&w->diag, w->ctx, vq_sink_strbuf, &w->messages);
  vq_status st = vq_parse(w->ctx, vq_str_of(text), "t.vq", &w->diag, &w->m);
  ck_assert_msg(st == VQ_OK, "%s", vq_strbuf_z(&w->messages));
}

static void end(world *w) {
  vq_module_destroy(w->m);
  vq_ctx_destroy(w->ctx);
  vq_strbuf_release(&w->messages);
}

static void run(world *w, const char *passes) {
  vq_pipeline *p;
  vq_samples samples = {.n = 8, .load = load};
  vq_exec *exec = vq_exec_interpreter();
  exec->samples = &samples;
  ck_assert_int_eq(vq_pipeline_parse(w->ctx, vq_str_of(passes), &w->diag, &p), VQ_OK);
  vq_instrument ins = {.verify_each = true};
  vq_status st = vq_pipeline_run(p, w->m, &w->diag, &ins, exec, NULL);
  ck_assert_msg(st == VQ_OK, "%s: %s", passes, vq_strbuf_z(&w->messages));
  vq_pipeline_destroy(p);
  exec->ops->destroy(exec);
}

static void outputs(world *w, float (*y)[N_OUT]) {
  const vq_func *f = vq_module_func(w->m, VQ_LIT("main"));
  for (int i = 0; i < 8; i++) {
    float x[N_IN];
    load(NULL, i, x, NULL);
    vq_tensor in = {f->arg[0].type, x}, out = {f->result[0], y[i]};
    ck_assert_int_eq(vq_eval_func(f, &in, &out, &w->diag, NULL, NULL), VQ_OK);
  }
}

static const vq_op *only(const world *w, vq_opcode code) {
  const vq_op *found = NULL;
  vq_each_op(vq_module_func(w->m, VQ_LIT("main")), op) {
    if (op->code != code) continue;
    ck_assert_msg(!found, "more than one %s", vq_op_info(code)->name);
    found = op;
  }
  ck_assert_msg(found != NULL, "no %s", vq_op_info(code)->name);
  return found;
}

static bool is_movement(const vq_op *op) {
  switch ((int)op->code) {
    case VQ_OP_reshape:
    case VQ_OP_transpose:
    case VQ_OP_slice:
    case VQ_OP_concat:
    case VQ_OP_gather_rows:
    case VQ_OP_pad: return true;
    default: return false;
  }
}

// `passes` come first; `all`: they leave no movement of numbers behind.
static void check_codes(const char *passes, bool all) {
  world w;
  float want[8][N_OUT], y[8][N_OUT];
  double error = 0, norm = 0;
  begin(&w, windows);
  outputs(&w, want);
  run(&w, passes);
  run(&w, "insert-quantizers,observe,split-outliers,reparam-layernorm,round-weights,"
          "freeze-quant,lower-int,cse,dce");
  outputs(&w, y);
  for (int i = 0; i < 8; i++)
    for (int k = 0; k < N_OUT; k++) {
      error += pow((double)y[i][k] - (double)want[i][k], 2);
      norm += pow((double)want[i][k], 2);
    }
  ck_assert_double_lt(error, 0.001 * norm);
  vq_each_op(vq_module_func(w.m, VQ_LIT("main")), op)
    if (all && is_movement(op))
      ck_assert_msg(vq_in(op, 0)->type->dtype != VQ_f32, "a %s of numbers",
                    vq_op_info(op->code)->name);
  ck_assert_int_eq(vq_in(only(&w, VQ_OP_reduce_mean), 0)->type->dtype, VQ_i16);
  ck_assert_int_eq(vq_in(only(&w, VQ_OP_attention_int), 0)->type->dtype, VQ_u8);
  end(&w);
}

START_TEST(test_windows_of_codes) {
  check_codes("rows", true);
  check_codes("dce", false);  // as exporters spell it
}
END_TEST

// The first of three tokens, as a classifier reads it.
static const char token[] =
    "vq 1\nmodule \"t\"\n"
    "const @wqkv : tensor<72x24, f32> = random<seed = 3, std = 0.3>\n"
    "const @wo : tensor<24x24, f32> = random<seed = 5, std = 0.3>\n"
    "const @wh : tensor<7x24, f32> = random<seed = 9, std = 0.5>\n"
    "const @first : tensor<1, i32> = dense<[0]>\n"
    "func @main(%x: tensor<1x3x24, f32>) -> (y: tensor<1x7, f32>) {\n"
    "  %r0 = add %x, %x : tensor<1x3x24, f32>\n"
    "  %n = layer_norm %r0 : tensor<1x3x24, f32>\n"
    "  %qkv = linear %n, @wqkv : tensor<1x3x72, f32>\n"
    "  %q = slice %qkv {begin = [0, 0, 0], size = [1, 3, 24]} : tensor<1x3x24, f32>\n"
    "  %k = slice %qkv {begin = [0, 0, 24], size = [1, 3, 24]} : tensor<1x3x24, f32>\n"
    "  %v = slice %qkv {begin = [0, 0, 48], size = [1, 3, 24]} : tensor<1x3x24, f32>\n"
    "  %a = attention %q, %k, %v {heads = 2, scale = 0.5} : tensor<1x3x24, f32>\n"
    "  %o = linear %a, @wo : tensor<1x3x24, f32>\n"
    "  %r1 = add %r0, %o : tensor<1x3x24, f32>\n"
    "  %c = gather_rows %r1, @first : tensor<1x24, f32>\n"
    "  %l = layer_norm %c : tensor<1x24, f32>\n"
    "  %y = linear %l, @wh : tensor<1x7, f32>\n"
    "  return %y\n}\n";

// drop-rows behind calibration: the same bits, of one query, which has a product of its
// own; k and v become codes in one requantize still.
START_TEST(test_rows_of_codes) {
  static const char calibrate[] =
      "insert-quantizers,observe,split-outliers,reparam-layernorm,round-weights";
  static const char lower[] = "freeze-quant,lower-int,cse,dce";
  world all, one;
  float want[8][N_OUT], y[8][N_OUT];
  begin(&all, token);
  begin(&one, token);
  run(&all, calibrate);
  run(&all, lower);
  run(&one, calibrate);
  run(&one, "drop-rows");
  run(&one, lower);
  outputs(&all, want);
  outputs(&one, y);
  ck_assert_mem_eq(y, want, sizeof y);
  const vq_op *attention = only(&one, VQ_OP_attention_int);
  ck_assert_int_eq(attention->out->type->dim[1], 1);
  const vq_op *q = vq_in(attention, 0)->def;
  ck_assert_int_eq(q->code, VQ_OP_requantize);
  ck_assert_int_eq(vq_in(q, 0)->def->code, VQ_OP_linear);
  ck_assert_int_eq(vq_type_count(q->out->type), 24);
  for (unsigned i = 1; i < 3; i++) {
    const vq_op *slice = vq_in(attention, i)->def;
    ck_assert_int_eq(slice->code, VQ_OP_slice);
    ck_assert_ptr_eq(vq_in(slice, 0), vq_in(vq_in(attention, 1)->def, 0));
    ck_assert_int_eq(vq_type_count(vq_in(slice, 0)->type), 3 * 48);
  }
  end(&all);
  end(&one);
}
END_TEST

// What reads what is a graph, not a tree: 2^90 ways lead through this one.
START_TEST(test_sums_of_sums) {
  world w;
  vq_strbuf text = {0};
  vq_strbuf_puts(&text, "vq 1\nmodule \"t\"\n"
                 "const @w : tensor<8x8, f32> = random<seed = 1, std = 1>\n"
                 "func @main(%x: tensor<1x8, f32>) -> (y: tensor<1x8, f32>) {\n"
                 "  %a0 = linear %x, @w : tensor<1x8, f32>\n");
  for (int i = 0; i < 90; i++)
    vq_strbuf_printf(&text, "  %%a%d = add %%a%d, %%a%d : tensor<1x8, f32>\n", i + 1, i, i);
  vq_strbuf_puts(&text, "  return %a90\n}\n");
  begin(&w, vq_strbuf_z(&text));
  run(&w, "lower-int,insert-quantizers");
  ck_assert(vq_in(only(&w, VQ_OP_linear), 1)->def->code == VQ_OP_fake_quant);
  end(&w);
  vq_strbuf_release(&text);
}
END_TEST

int main(void) {
  Suite *s = suite_create("quant_moves");
  TCase *t = tcase_create("all");
  tcase_set_timeout(t, 0);  // sanitizers are slow; ctest has a limit
  suite_add_tcase(s, t);
  tcase_add_test(t, test_windows_of_codes);
  tcase_add_test(t, test_rows_of_codes);
  tcase_add_test(t, test_sums_of_sums);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_ENV);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
