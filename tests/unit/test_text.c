// The text form: every op of the table, every prefix of a text, exact numbers,
// side files, checksums.
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../ir/text/sha256_block.h"
#include "../../ir/text/sha256.h"
#include "vq/build.h"
#include "vq/ir.h"
#include "vq/strbuf.h"
#include "vq/text.h"

static vq_ctx *ctx;
static vq_diag diag;
static vq_strbuf messages;

static void setup(void) {
  ctx = vq_ctx_create();
  vq_diag_init(&diag, ctx, vq_sink_strbuf, &messages);
}

static void teardown(void) {
  vq_strbuf_release(&messages);
  vq_ctx_destroy(ctx);
}

static vq_strbuf read_file(const char *path) {
  vq_strbuf b = {0};
  FILE *f = fopen(path, "rb");
  ck_assert_msg(f != NULL, "no %s", path);
  for (int c; (c = getc(f)) != EOF;) vq_strbuf_putc(&b, (char)c);
  fclose(f);
  return b;
}

static vq_module *must_parse(vq_str text) {
  vq_module *m;
  vq_status st = vq_parse(ctx, text, "t.vq", &diag, &m);
  ck_assert_msg(st == VQ_OK, "%s", vq_strbuf_z(&messages));
  return m;
}

static void must_print(vq_strbuf *out, const vq_module *m) {
  ck_assert_int_eq(vq_print(out, m, VQ_PRINT_ELIDE, NULL), VQ_OK);
}

// ---- the op table -----------------------------------------------------------

// pack_weight knows one layout only.
static bool has_one_value(vq_opcode code) { return code == VQ_OP_pack_weight; }

static void see_op(const vq_op *op, bool (*at_default)[16],
                   bool (*off_default)[16]) {
  const vq_op_desc *d = vq_op_info(op->code);
  for (unsigned i = 0; i < d->n_attr; i++) {
    const vq_attr_desc *a = &d->attr[i];
    bool same = vq_attr_equal(a->kind, (const char *)op->attrs + a->offset,
                              (const char *)d->attrs_default + a->offset);
    (same ? at_default : off_default)[op->code][i] = true;
  }
}

START_TEST(every_op_round_trips) {
  static bool seen[VQ_N_OPS], at_default[VQ_N_OPS][16], off[VQ_N_OPS][16];
  vq_strbuf text = read_file(TEST_DATA_DIR "/ir/ops.vq");
  vq_strbuf once = {0}, twice = {0};
  vq_module *m = must_parse(vq_strbuf_view(&text));
  vq_each_func(m, f) vq_each_op(f, op) {
    seen[op->code] = true;
    see_op(op, at_default, off);
  }
  for (int i = 0; i < VQ_N_OPS; i++) {
    const vq_op_desc *d = vq_op_info((vq_opcode)i);
    ck_assert_msg(seen[i], "tests/ir/ops.vq has no %s", d->name);
    for (unsigned k = 0; k < d->n_attr; k++) {
      ck_assert_msg(off[i][k] || has_one_value((vq_opcode)i),
                    "ops.vq has no %s with %s set", d->name, d->attr[k].name);
      ck_assert_msg(at_default[i][k] || d->attr[k].required,
                    "ops.vq has no %s without %s", d->name, d->attr[k].name);
    }
  }
  must_print(&once, m);
  vq_module *again = must_parse(vq_strbuf_view(&once));
  must_print(&twice, again);
  ck_assert_str_eq(vq_strbuf_z(&once), vq_strbuf_z(&twice));
  ck_assert_uint_eq(vq_module_hash(m, true), vq_module_hash(again, true));
  vq_module_destroy(m);
  vq_module_destroy(again);
  vq_strbuf_release(&text);
  vq_strbuf_release(&once);
  vq_strbuf_release(&twice);
}
END_TEST

START_TEST(one_op_prints_alone) {
  vq_module *m = must_parse(VQ_LIT(
      "vq 1\nfunc @main(%0: tensor<2, f32>) -> (tensor<2, f32>) {\n"
      "  %1 = exp %0 : tensor<2, f32>\n  %2 = clip %1 {hi = 1} : tensor<2, f32>\n"
      "  return %2\n}\n"));
  vq_strbuf b = {0};
  vq_print_op(&b, m->first_func->first->next);
  ck_assert_str_eq(vq_strbuf_z(&b), "%2 = clip %1 {hi = 1} : tensor<2, f32>");
  vq_strbuf_release(&b);
  vq_module_destroy(m);
}
END_TEST

// ---- hostile text -------------------------------------------------------------

START_TEST(every_prefix_is_parsed_or_refused) {
  vq_strbuf text = read_file(TEST_DATA_DIR "/fuzz/corpus/text/locs.vq");
  unsigned n_good = 0;
  for (size_t n = 0; n <= text.n; n++) {
    char *copy = malloc(n + 1);  // reading past the end is found by ASan
    memcpy(copy, text.p, n);
    vq_strbuf_clear(&messages);
    vq_module *m;
    vq_status st = vq_parse(ctx, (vq_str){copy, n}, "t.vq", &diag, &m);
    ck_assert_int_eq(st == VQ_OK, messages.n == 0);
    n_good += st == VQ_OK;
    if (st == VQ_OK) vq_module_destroy(m);
    free(copy);
  }
  ck_assert_uint_gt(n_good, 1);
  ck_assert_uint_lt(n_good, text.n / 2);
  vq_strbuf_release(&text);
}
END_TEST

// ---- numbers ------------------------------------------------------------------

START_TEST(floats_keep_their_bits) {
  const vq_type *type = vq_type_tensor(ctx, VQ_f32, 1, (int64_t[]){16}, NULL);
  uint32_t state = 1, bits[16];
  for (int round = 0; round < 200; round++) {
    vq_module *m = vq_module_create(ctx, VQ_LIT("m"));
    for (int i = 0; i < 16; i++) bits[i] = state = state * 1664525 + 1013904223;
    vq_const_new_copy(m, VQ_LIT("c"), type, bits);
    vq_strbuf b = {0};
    must_print(&b, m);
    vq_module *again = must_parse(vq_strbuf_view(&b));
    ck_assert_mem_eq(vq_const_bytes(again->first_const), bits, sizeof bits);
    vq_strbuf_release(&b);
    vq_module_destroy(m);
    vq_module_destroy(again);
  }
}
END_TEST

// ---- side files -----------------------------------------------------------------

START_TEST(large_constants_survive) {
  char dir[] = "/tmp/vitqc-text-XXXXXX", path[64], side[64];
  ck_assert_ptr_nonnull(mkdtemp(dir));
  snprintf(path, sizeof path, "%s/m.vq", dir);
  snprintf(side, sizeof side, "%s/m.vqw", dir);
  float data[100];
  for (int i = 0; i < 100; i++) data[i] = (float)i / 7;
  const vq_type *t = vq_type_tensor(ctx, VQ_f32, 1, (int64_t[]){100}, NULL);
  vq_module *m = vq_module_create(ctx, VQ_LIT("m"));
  vq_const_new(m, VQ_LIT("a"), t, data);
  vq_const_new(m, VQ_LIT("b"), t, data);
  data[99] = 1;
  vq_const_new_copy(m, VQ_LIT("c"), t, data);
  data[99] = 99.0f / 7;
  ck_assert_int_eq(vq_save(m, path, VQ_LIT("// head\n"), 0, NULL, &diag), VQ_OK);

  vq_strbuf text = read_file(path), bytes = read_file(side);
  ck_assert_uint_eq(bytes.n, 448 + 448);
  vq_module *again;
  ck_assert_int_eq(
      vq_parse(ctx, vq_strbuf_view(&text), path, &diag, &again), VQ_OK);
  vq_const *a = vq_module_const(again, VQ_LIT("a"));
  vq_const *c = vq_module_const(again, VQ_LIT("c"));
  ck_assert_ptr_eq(vq_const_bytes(a),
                   vq_const_bytes(vq_module_const(again, VQ_LIT("b"))));
  ck_assert_mem_eq(vq_const_bytes(a), data, sizeof data);
  ck_assert_mem_eq(vq_const_bytes(c), data, sizeof data - sizeof *data);
  ck_assert_double_eq(vq_const_f64(c, 99), 1);
  vq_module_destroy(again);
  vq_module_destroy(m);
  vq_strbuf_release(&text);
  vq_strbuf_release(&bytes);
  unlink(path);
  unlink(side);
  rmdir(dir);
}
END_TEST

START_TEST(nothing_stored_makes_no_file) {
  vq_blob_writer *w = vq_blob_open(ctx, &diag, "never.vqw", VQ_LIT("never"));
  ck_assert_ptr_nonnull(w);
  ck_assert_int_eq(vq_blob_commit(w), VQ_OK);
  ck_assert_int_ne(access("never.vqw", F_OK), 0);
}
END_TEST

// ---- SHA-256 --------------------------------------------------------------------

START_TEST(sha256_known_answers) {
  char hex[VQ_SHA256_HEX + 1];
  vq_sha256_hex("", 0, hex);
  ck_assert_str_eq(
      hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  vq_sha256_hex("abc", 3, hex);
  ck_assert_str_eq(
      hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  static char a[1000000];
  memset(a, 'a', sizeof a);
  vq_sha256_hex(a, sizeof a, hex);
  ck_assert_str_eq(
      hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}
END_TEST

START_TEST(sha256_variants_agree) {
  uint8_t data[64 * 9];
  for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * i + 3 * i);
  for (size_t n = 0; n <= 9 && vq_sha256_x86_usable(); n++) {
    uint32_t c[8] = {1, 2, 3, 4, 5, 6, 7, 8}, x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    vq_sha256_c(c, data, n);
    vq_sha256_x86(x, data, n);
    ck_assert_mem_eq(c, x, sizeof c);
  }
}
END_TEST

int main(void) {
  Suite *s = suite_create("text");
  TCase *t = tcase_create("text");
  tcase_add_checked_fixture(t, setup, teardown);
  tcase_add_test(t, every_op_round_trips);
  tcase_add_test(t, one_op_prints_alone);
  tcase_add_test(t, every_prefix_is_parsed_or_refused);
  tcase_add_test(t, floats_keep_their_bits);
  tcase_add_test(t, large_constants_survive);
  tcase_add_test(t, nothing_stored_makes_no_file);
  tcase_add_test(t, sha256_known_answers);
  tcase_add_test(t, sha256_variants_agree);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_ENV);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
