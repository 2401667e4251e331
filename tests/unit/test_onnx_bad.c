// What must be refused: broken bytes, contradictions, hostile sizes, external
// data that leads elsewhere. Each with one diagnostic that says what and where.
#define SEED_NAME "bad"
#include "onnx_case.h"

#include <sys/stat.h>
#include <unistd.h>

#define I64(...) ((const int64_t[]){__VA_ARGS__})
#define F32(...) ((const float[]){__VA_ARGS__})

static vq_strbuf new_graph(void) {
  vq_strbuf g = {0};
  value_info(&g, 11, "x", T_F32, "batch,3");
  return g;
}

static vq_strbuf finish(vq_strbuf *g) {
  value_info(g, 12, "y", T_F32, "batch,3");
  return make_model(g, 17);
}

static void refuse(vq_strbuf *g, const char *why) {
  vq_strbuf model = finish(g);
  expect_refused(&model, why);
}

static vq_strbuf good_model(void) {
  vq_strbuf g = new_graph();
  init_f32(&g, "w", 2, I64(3, 3), F32(1, 2, 3, 4, 5, 6, 7, 8, 9));
  init_f32(&g, "b", 1, I64(3), F32(1, 2, 3));
  add_node(&g, "MatMul", "x,w", "z", NULL);
  add_node(&g, "Add", "z,b", "y", NULL);
  return finish(&g);
}

START_TEST(truncated) {
  vq_strbuf m = good_model();
  for (size_t i = 0; i < 64; i++) {
    onnx_case c = try_bytes(m.p, m.n * i / 64, NULL, (vq_onnx_options){0});
    ck_assert(!c.m);
    ck_assert_uint_eq(c.n_error, 1);
    end_case(&c);
  }
  onnx_case c = try_bytes(m.p, m.n, NULL, (vq_onnx_options){0});
  ck_assert(c.m);
  end_case(&c);
  vq_strbuf_release(&m);
}
END_TEST

START_TEST(single_bits_flipped) {
  vq_strbuf m = good_model();
  for (size_t i = 0; i < m.n * 8; i++) {
    m.p[i / 8] = (char)(m.p[i / 8] ^ (1 << i % 8));
    onnx_case c = try_bytes(m.p, m.n, NULL, (vq_onnx_options){0});
    end_case(&c);
    m.p[i / 8] = (char)(m.p[i / 8] ^ (1 << i % 8));
  }
  vq_strbuf_release(&m);
}
END_TEST

START_TEST(not_a_model) {
  static const char *const rows[] = {"", "vq 1\n", "\177ELF\2\1\1", "hello",
                                     "\x89PNG\r\n", "// text"};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    ck_assert(!vq_onnx_sniff(rows[i], strlen(rows[i])));
    vq_strbuf m = {0};
    vq_strbuf_puts(&m, rows[i]);
    expect_refused(&m, "not an ONNX model");
  }
  vq_strbuf m = good_model();
  ck_assert(vq_onnx_sniff(m.p, m.n));
  vq_strbuf_release(&m);
}
END_TEST

START_TEST(wire_errors) {
  vq_strbuf m = good_model();
  pb_int(&m, 7, 3);
  expect_refused(&m, "wrong wire type in field graph");
  m = good_model();
  pb_bytes(&m, 7, "", 0);
  expect_refused(&m, "second value for a single one in field graph");
  m = good_model();
  vq_strbuf_add(&m, "\x93", 1);
  expect_refused(&m, "0x");
  vq_strbuf g = new_graph(), n = {0};
  add_node(&g, "Identity", "x", "y", NULL);
  pb_bytes(&n, 3, "a\0b", 3);
  pb_msg(&g, 1, &n);
  refuse(&g, "NUL byte in field name");
  // 60 graphs inside each other.
  vq_strbuf inner = {0};
  for (int i = 0; i < 20; i++) {
    vq_strbuf a = {0}, outer = {0};
    at_msg(&a, "then_branch", 5, 6, &inner);
    add_node(&outer, "If", "c", "d", &a);
    inner = outer;
  }
  m = make_model(&inner, 17);
  expect_refused(&m, "nested too deeply");
}
END_TEST

START_TEST(names) {
  vq_strbuf g = new_graph();
  add_node(&g, "Neg", "z", "y", NULL);
  add_node(&g, "Neg", "x", "z", NULL);
  refuse(&g, "'z' is defined by the later node #1: the graph has a cycle");
  g = new_graph();
  add_node(&g, "Neg", "q", "y", NULL);
  refuse(&g, "operand 'q' is not defined");
  g = new_graph();
  add_node(&g, "Neg", "x", "y", NULL);
  add_node(&g, "Abs", "x", "y", NULL);
  refuse(&g, "'y' is defined twice");
  g = new_graph();
  add_node(&g, "Neg", "x", "z", NULL);
  refuse(&g, "output 'y' is not defined");
  g = new_graph();
  add_node(&g, "Neg", "\x1b[31mx\n", "y", NULL);
  refuse(&g, "operand '__31mx_' is not defined");
}
END_TEST

START_TEST(operators) {
  vq_strbuf g = new_graph(), a = {0};
  add_node(&g, "Frobnicate", "x", "y", NULL);
  refuse(&g, "Frobnicate: unknown operator (domain ai.onnx, opset 17)");
  g = new_graph();
  add_node(&g, "Gelu", "x", "y", NULL);
  refuse(&g, "opset 17 of domain ai.onnx is too old here, expected at least 20");
  g = new_graph();
  at_int(&a, "colour", 1);
  add_node(&g, "Neg", "x", "y", &a);
  refuse(&g, "attribute 'colour' is unknown");
  g = new_graph();
  at_f32(&a, "axis", 1);
  add_node(&g, "Softmax", "x", "y", &a);
  refuse(&g, "attribute 'axis' has type 1, expected an integer");
  g = new_graph();
  add_node(&g, "Add", "x", "y", NULL);
  refuse(&g, "found 1 operands, expected 2 to 2");
  g = new_graph();
  add_node(&g, "Neg", "x", "y,z", NULL);
  refuse(&g, "names 2 results, which is more than it has here");
  g = new_graph();
  init_i64(&g, "i", 3, I64(1, 2, 3));
  add_node(&g, "Add", "x,i", "y", NULL);
  refuse(&g, "add");
  g = new_graph();
  add_node(&g, "QuantizeLinear", "x,x", "y", NULL);
  refuse(&g, "quantized models are not accepted yet");
}
END_TEST

START_TEST(hostile_sizes) {
  static const int64_t dims[][2] = {
    {-1, 3}, {INT64_MAX, INT64_MAX}, {1ll << 32, 1ll << 32}, {1 << 20, 1 << 20}};
  for (size_t i = 0; i < 4; i++) {
    vq_strbuf g = new_graph();
    vq_strbuf t = tensor_raw("w", T_F32, 2, dims[i], "1234", 4);
    pb_msg(&g, 5, &t);
    add_node(&g, "Add", "x,w", "y", NULL);
    refuse(&g, "tensor 'w'");
  }
  vq_strbuf g = new_graph();
  init_i64(&g, "s", 2, I64(1 << 19, 1 << 19));
  add_node(&g, "ConstantOfShape", "s", "z", NULL);
  add_node(&g, "Add", "x,z", "y", NULL);
  refuse(&g, "ConstantOfShape: the result is a constant of 1099511627776 bytes");
  g = new_graph();
  init_i64(&g, "a", 1, I64(0));
  init_i64(&g, "b", 1, I64(INT64_MAX));
  init_i64(&g, "c", 1, I64(1));
  add_node(&g, "Range", "a,b,c", "y", NULL);
  refuse(&g, "has no end");
  // Doubling 64 times.
  g = new_graph();
  init_i64(&g, "d0", 2, I64(1, 2));
  for (int i = 0; i < 64; i++) {
    char in[32], out[16];
    vq_strbuf a = {0};
    snprintf(in, sizeof in, "d%d,d%d", i, i);
    snprintf(out, sizeof out, "d%d", i + 1);
    at_int(&a, "axis", 0);
    add_node(&g, "Concat", in, out, &a);
  }
  add_node(&g, "Neg", "x", "y", NULL);
  vq_strbuf m = finish(&g);
  onnx_case c = try_model(&m, (vq_onnx_options){0});
  ck_assert(!c.m);
  ck_assert_uint_eq(c.n_error, 1);
  end_case(&c);
}
END_TEST

START_TEST(tensors) {
  vq_strbuf g = new_graph(), t;
  t = tensor_raw("w", T_F32, 1, I64(3), "12345678", 8);
  pb_msg(&g, 5, &t);
  add_node(&g, "Add", "x,w", "y", NULL);
  refuse(&g, "holds 8 raw bytes, the shape needs 12");
  g = new_graph();
  t = tensor_raw("w", T_F32, 1, I64(1), "1234", 4);
  pb_bytes(&t, 4, F32(1), 4);
  pb_msg(&g, 5, &t);
  add_node(&g, "Add", "x,w", "y", NULL);
  refuse(&g, "both raw and typed data");
  g = new_graph();
  t = tensor_head("w", T_STR, 1, I64(1));
  pb_str(&t, 6, "s");
  pb_msg(&g, 5, &t);
  add_node(&g, "Add", "x,w", "y", NULL);
  refuse(&g, "element type is string");
}
END_TEST

START_TEST(symbolic_dimensions) {
  vq_strbuf g = {0};
  value_info(&g, 11, "x", T_F32, "b,c,h,w");
  value_info(&g, 12, "y", T_F32, "b,c,h,w");
  add_node(&g, "Neg", "x", "y", NULL);
  vq_strbuf m = make_model(&g, 17);
  onnx_case c = try_bytes(m.p, m.n, NULL, (vq_onnx_options){0});
  ck_assert(!c.m && strstr(c.text.p, "[1, c, h, w]"));
  ck_assert(strstr(c.text.p, "--input-shape=x:1x3x224x224"));
  end_case(&c);
  const char *shape[] = {"x:2x3x4x5"};
  c = try_bytes(m.p, m.n, NULL, (vq_onnx_options){.shape = shape, .n_shape = 1});
  ck_assert(c.m && c.summary.batch == 2);
  end_case(&c);
  shape[0] = "2x3";
  c = try_bytes(m.p, m.n, NULL, (vq_onnx_options){.shape = shape, .n_shape = 1});
  ck_assert(!c.m && strstr(c.text.p, "has 2 dimensions"));
  end_case(&c);
  c = try_bytes(m.p, m.n, NULL, (vq_onnx_options){.batch = -1});
  ck_assert(!c.m && strstr(c.text.p, "the batch is -1"));
  end_case(&c);
  vq_strbuf_release(&m);
}
END_TEST

// Patch convolution 4x4 with 6 channels and a table of 1 + 9 positions tell
// that the picture is 3x12x12.
START_TEST(picture_size_from_weights) {
  vq_strbuf g = {0}, a = {0};
  static const float zero[6 * 3 * 16];
  value_info(&g, 11, "x", T_F32, "b,c,h,w");
  value_info(&g, 12, "y", T_F32, "b,6,3,3");
  init_f32(&g, "k", 4, I64(6, 3, 4, 4), zero);
  init_f32(&g, "pos", 3, I64(1, 10, 6), zero);
  at_ints(&a, "strides", 2, I64(4, 4));
  add_node(&g, "Conv", "x,k", "y", &a);
  vq_strbuf m = make_model(&g, 17);
  onnx_case c = try_model(&m, (vq_onnx_options){.batch = 5});
  ck_assert_msg(c.m, "%s", vq_strbuf_z(&c.text));
  const vq_type *t = c.m->first_func->arg[0].type;
  ck_assert(t->dim[0] == 5 && t->dim[1] == 3 && t->dim[2] == 12 &&
            t->dim[3] == 12);
  end_case(&c);
}
END_TEST

START_TEST(baked_batch) {
  vq_strbuf g = {0};
  value_info(&g, 11, "x", T_F32, "1,3");
  value_info(&g, 12, "y", T_F32, "1,3");
  add_node(&g, "Neg", "x", "y", NULL);
  vq_strbuf m = make_model(&g, 17);
  onnx_case c = try_model(&m, (vq_onnx_options){.batch = 4});
  ck_assert(c.m && c.summary.batch == 1 && c.summary.batch_baked);
  ck_assert(strstr(c.text.p, "warning: the model fixes its batch to 1"));
  end_case(&c);
}
END_TEST

// The input leaves the batch open, a shape inside does not.
START_TEST(baked_batch_inside) {
  vq_strbuf g = new_graph();
  init_i64(&g, "s", 2, I64(1, 3));
  add_node(&g, "Reshape", "x,s", "y", NULL);
  vq_strbuf m = finish(&g);
  onnx_case c = try_model(&m, (vq_onnx_options){.batch = 4});
  ck_assert(!c.m && c.n_error == 1);
  ck_assert(strstr(c.text.p, "12 elements do not fit the new shape"));
  ck_assert(strstr(c.text.p, "note: the exporter fixed the batch in this shape: "
                             "only --batch=1 fits"));
  end_case(&c);
  g = new_graph();
  init_i64(&g, "s", 3, I64(1, -1, 3));
  init_i64(&g, "back", 2, I64(-1, 3));
  add_node(&g, "Reshape", "x,s", "z", NULL);
  add_node(&g, "Reshape", "z,back", "y", NULL);
  m = finish(&g);
  c = try_model(&m, (vq_onnx_options){.batch = 4});
  ck_assert(c.m != NULL);
  ck_assert_msg(strstr(vq_strbuf_z(&c.text), "warning: Reshape: the new shape "
                       "makes one sample of a batch of 4"), "%s", vq_strbuf_z(&c.text));
  end_case(&c);
}
END_TEST

START_TEST(double_too_large) {
  vq_strbuf g = new_graph(), t = tensor_head("w", T_F64, 1, I64(2));
  static const double value[] = {1, 1e39};
  pb_bytes(&t, 9, value, sizeof value);
  pb_msg(&g, 5, &t);
  add_node(&g, "Add", "x,w", "y", NULL);
  refuse(&g, "tensor 'w': element 1 is too large for f32");
}
END_TEST

// ---- external data -----------------------------------------------------------

static char dir[] = "/tmp/vitqc-test-XXXXXX";

static vq_strbuf external_model(const char *location, const char *offset,
                                const char *length, const char *extra) {
  const char *kv[] = {"location", location, "offset", offset, "length", length,
                      extra, "1"};
  vq_strbuf g = new_graph();
  vq_strbuf t = tensor_head("w", T_F32, 1, I64(3));
  for (int i = 0; i < 8; i += 2) {
    if (!kv[i] || !kv[i + 1])
      continue;
    vq_strbuf e = {0};
    pb_str(&e, 1, kv[i]);
    pb_str(&e, 2, kv[i + 1]);
    pb_msg(&t, 13, &e);
  }
  pb_int(&t, 14, 1);
  pb_msg(&g, 5, &t);
  add_node(&g, "Add", "x,w", "y", NULL);
  return finish(&g);
}

static void write_file(const char *name, size_t n) {
  char path[256];
  static const float v[] = {9, 1, 2, 3};
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "wb");
  ck_assert(f && fwrite(v, 1, n, f) == n);
  fclose(f);
}

static void external(const char *location, const char *offset,
                     const char *length, const char *extra, bool follow,
                     const char *why) {
  char path[256];
  snprintf(path, sizeof path, "%s/m.onnx", dir);
  vq_strbuf m = external_model(location, offset, length, extra);
  onnx_case c = try_bytes(m.p, m.n, path,
                          (vq_onnx_options){.follow_data_symlinks = follow});
  if (!why) {
    const double want[] = {1, 2, 3};
    expect_result(&c, F32(0, 0, 0), 2, I64(1, 3), want);
  } else {
    ck_assert(!c.m);
    ck_assert_msg(strstr(vq_strbuf_z(&c.text), why), "found: %s\nexpected: %s",
                  vq_strbuf_z(&c.text), why);
  }
  end_case(&c);
  vq_strbuf_release(&m);
}

START_TEST(external_data) {
  char a[256], b[256];
  ck_assert(mkdtemp(dir));
  write_file("w.bin", 16);
  snprintf(a, sizeof a, "%s/sub", dir);
  ck_assert(!mkdir(a, 0700));
  write_file("sub/w.bin", 16);
  snprintf(a, sizeof a, "%s/link.bin", dir);
  ck_assert(!symlink("w.bin", a));
  snprintf(a, sizeof a, "%s/up", dir);
  ck_assert(!symlink("..", a));
  snprintf(a, sizeof a, "%s/fifo", dir);
  ck_assert(!mkfifo(a, 0600));
  external("w.bin", "4", "12", NULL, false, NULL);
  external("sub/w.bin", "4", NULL, "checksum", false, NULL);
  external("link.bin", "4", "12", NULL, false, "--follow-data-symlinks");
  external("link.bin", "4", "12", NULL, true, NULL);
  snprintf(b, sizeof b, "up/%s/w.bin", strrchr(dir, '/') + 1);
  external(b, "4", "12", NULL, true, "symbolic link");
  external("../w.bin", "4", "12", NULL, true, "leaves the model's directory");
  external("sub/../w.bin", "4", "12", NULL, true, "leaves the model's");
  external("./w.bin", "4", "12", NULL, true, "leaves the model's");
  external("/etc/passwd", "0", "12", NULL, true, "absolute");
  external("..\\w.bin", "0", "12", NULL, true, "backslash");
  external("", "0", "12", NULL, true, "is empty");
  external("fifo", "0", "12", NULL, true, "not a regular file");
  external("sub", "0", "12", NULL, true, "directory");
  external("gone.bin", "0", "12", NULL, true, "No such file");
  external("w.bin", "8", "12", NULL, false, "of a file of 16");
  external("w.bin", "18446744073709551612", "12", NULL, false, "no number");
  external("w.bin", "9223372036854775800", "12", NULL, false, "no number");
  external("w.bin", "9000000000000000000", "12", NULL, false, "of a file");
  external("w.bin", "-4", "12", NULL, false, "no number");
  external("w.bin", "4", "99999999999", NULL, false, "length is 99999999999");
  external("w.bin", "4", "12", "rm -rf", false, "unknown external data key");
  external("w.bin", "4", "12", "offset", false, "given twice");
  external(NULL, "4", "12", NULL, false, "has no location");
  vq_strbuf m = external_model("w.bin", "4", "12", NULL);
  expect_refused(&m, "model that is not a file");
  const char *const files[] = {"w.bin", "sub/w.bin", "sub", "link.bin", "up",
                               "fifo", ""};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    snprintf(a, sizeof a, "%s/%s", dir, files[i]);
    ck_assert(!remove(a));
  }
}
END_TEST

START_TEST(files) {
  vq_ctx *ctx = vq_ctx_create();
  vq_strbuf text = {0};
  vq_diag diag;
  vq_module *m;
  vq_onnx_options opt = {.batch = 1};
  vq_diag_init(&diag, ctx, vq_sink_strbuf, &text);
  ck_assert(vq_onnx_import(ctx, "/nonexistent/m.onnx", &opt, &diag, &m, NULL));
  ck_assert(strstr(text.p, "cannot open the model"));
  ck_assert(vq_onnx_import(ctx, "/tmp", &opt, &diag, &m, NULL));
  ck_assert(strstr(text.p, "is a directory"));
  ck_assert(vq_onnx_import(ctx, "/dev/zero", &opt, &diag, &m, NULL));
  ck_assert(strstr(text.p, "is not a regular file"));
  vq_strbuf_release(&text);
  vq_ctx_destroy(ctx);
}
END_TEST

int main(void) {
  Suite *s = suite_create("onnx_bad");
  TCase *t = tcase_create("bad");
  tcase_set_timeout(t, 0);
  tcase_add_test(t, truncated);
  tcase_add_test(t, single_bits_flipped);
  tcase_add_test(t, not_a_model);
  tcase_add_test(t, wire_errors);
  tcase_add_test(t, names);
  tcase_add_test(t, operators);
  tcase_add_test(t, hostile_sizes);
  tcase_add_test(t, tensors);
  tcase_add_test(t, symbolic_dimensions);
  tcase_add_test(t, picture_size_from_weights);
  tcase_add_test(t, baked_batch);
  tcase_add_test(t, baked_batch_inside);
  tcase_add_test(t, double_too_large);
  tcase_add_test(t, external_data);
  tcase_add_test(t, files);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
