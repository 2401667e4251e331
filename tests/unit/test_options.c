// The option table, parsing by it, response files, help and man page.
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "options.h"
#include "pipelines.h"
#include "vq/pass.h"
#include "vq/strbuf.h"

static vq_ctx *ctx;
static vq_arena arena;
static vq_diag diag;
static vq_strbuf said;
static options opt;

static void setup(void) {
  ctx = vq_ctx_create();
  vq_diag_init(&diag, ctx, vq_sink_strbuf, &said);
}

static void teardown(void) {
  vq_strbuf_release(&said);
  vq_arena_release(&arena);
  vq_ctx_destroy(ctx);
}

#define PARSE(...)                                             \
  options_parse((int)VQ_COUNT(((char *[]){"vitqc", __VA_ARGS__})), \
                (char *[]){"vitqc", __VA_ARGS__}, &arena, &diag, &opt)

START_TEST(values_and_defaults) {
  ck_assert_int_eq(PARSE("m.onnx", "-O1", "-o", "m.so", "--batch=8", "-q"), VQ_OK);
  ck_assert_uint_eq(opt.command->bit, CMD_COMPILE);
  ck_assert_uint_eq(opt.n_file, 1);
  ck_assert_str_eq(opt.file[0], "m.onnx");
  ck_assert_str_eq(opt_text(&opt, OPT_level), "1");
  ck_assert_str_eq(opt_text(&opt, OPT_output), "m.so");
  ck_assert_int_eq(opt_count(&opt, OPT_batch), 8);
  ck_assert(opt_given(&opt, OPT_quiet));
  ck_assert(!opt_given(&opt, OPT_emit));
  ck_assert_str_eq(opt_text(&opt, OPT_emit), "so");
  ck_assert_ptr_null(opt_text(&opt, OPT_passes));
}
END_TEST

START_TEST(spellings) {
  ck_assert_int_eq(PARSE("--emit", "ir", "-ox", "-c", "--batch", "2"), VQ_OK);
  ck_assert_str_eq(opt_text(&opt, OPT_emit), "obj");
  ck_assert_str_eq(opt_text(&opt, OPT_output), "x");
  ck_assert_int_eq(opt_count(&opt, OPT_batch), 2);
  ck_assert_int_eq(PARSE("--input-shape=a:1", "--input-shape", "b:2"), VQ_OK);
  ck_assert_uint_eq(opt.n_list[OPT_input_shape], 2);
  ck_assert_str_eq(opt.list[OPT_input_shape][1], "b:2");
  ck_assert_int_eq(PARSE("--", "-q", "run"), VQ_OK);
  ck_assert_uint_eq(opt.n_file, 2);
  ck_assert(!opt_given(&opt, OPT_quiet));
}
END_TEST

START_TEST(one_spelling_two_meanings) {
  ck_assert_int_eq(PARSE("eval", "m.so", "--labels=x"), VQ_OK);
  ck_assert_uint_eq(opt.command->bit, CMD_EVAL);
  ck_assert_str_eq(opt_text(&opt, OPT_truth), "x");
  ck_assert_int_eq(PARSE("m.onnx", "--labels=x"), VQ_OK);
  ck_assert_str_eq(opt_text(&opt, OPT_labels), "x");
}
END_TEST

static const struct {
  const char *arg, *error;
} wrong[] = {
    {"--emti=so", "unknown option '--emti'; did you mean '--emit'?"},
    {"-Ox", "option '-O' is 'x', expected 0|1|2|3"},
    {"--batch=0", "option '--batch' is '0'"},
    {"--batch=9999999999", "expected a whole number from 1"},
    {"--batch=", "option '--batch' is ''"},
    {"--emit=i", "option '--emit' is 'i'"},
    {"--emit=", "option '--emit' is ''"},
    {"--quiet", "unknown option '--quiet'"},
    {"-q=1", "unknown option '-q'"},
    {"--json=x", "option '--json' belongs to 'vitqc "},
    {"--passes", "option '--passes' needs a value PIPELINE"},
    {"@/no/such/file", "cannot open"},
};

START_TEST(wrong_options) {
  ck_assert_int_eq(PARSE((char *)wrong[_i].arg), VQ_ERR);
  ck_assert_msg(strstr(vq_strbuf_z(&said), wrong[_i].error), "%s",
                vq_strbuf_z(&said));
  ck_assert_uint_eq(diag.n_error, 1);
}
END_TEST

START_TEST(response_files) {
  char path[] = "/tmp/vq-options-XXXXXX", at[64];
  static const char text[] = "m.onnx -O1\n  -o 'a b'\t\"c d\"\\ e x\\\"y\n";
  int fd = mkstemp(path);
  ck_assert_int_eq(write(fd, text, sizeof text - 1), (int)sizeof text - 1);
  snprintf(at, sizeof at, "@%s", path);
  ck_assert_int_eq(PARSE(at, "last"), VQ_OK);
  ck_assert_str_eq(opt_text(&opt, OPT_output), "a b");
  ck_assert_uint_eq(opt.n_file, 4);
  ck_assert_str_eq(opt.file[1], "c d e");
  ck_assert_str_eq(opt.file[2], "x\"y");
  ck_assert_str_eq(opt.file[3], "last");
  ck_assert_int_eq(pwrite(fd, at, strlen(at), 0), (int)strlen(at));
  ck_assert_int_eq(ftruncate(fd, (off_t)strlen(at)), 0);
  ck_assert_int_eq(PARSE(at), VQ_ERR);
  ck_assert_ptr_nonnull(strstr(vq_strbuf_z(&said), "nested more than 8 deep"));
  close(fd);
  remove(path);
}
END_TEST

START_TEST(table_is_sound) {
  unsigned n;
  const opt_row *r = opt_table(&n);
  for (unsigned i = 0; i < n; i++) {
    ck_assert(r[i].spelling[0] == '-');
    ck_assert(r[i].commands != 0);
    ck_assert(r[i].help[0] != '\0' && r[i].help[strlen(r[i].help) - 1] != '.');
    ck_assert((r[i].kind == KIND_FLAG || r[i].kind == KIND_SET) ==
              (r[i].metavar == NULL));
    for (unsigned k = 0; k < i; k++)
      if (strcmp(r[i].spelling, r[k].spelling) == 0)
        ck_assert_uint_eq(r[i].commands & r[k].commands, 0);
  }
}
END_TEST

START_TEST(help_and_man_name_every_option) {
  unsigned n, n_command;
  const opt_row *r = opt_table(&n);
  const command *c = command_table(&n_command);
  vq_strbuf man = {0};
  options_man(&man);
  for (unsigned k = 0; k < n_command; k++) {
    vq_strbuf help = {0};
    options_help(&help, &c[k], true);
    for (unsigned i = 0; i < n; i++)
      if (r[i].commands & c[k].bit)
        ck_assert_ptr_nonnull(strstr(help.p, r[i].spelling));
    vq_strbuf_release(&help);
  }
  for (unsigned i = 0; i < n; i++) {
    if (strcmp(r[i].group, "hidden") == 0) continue;
    vq_strbuf roff = {0};
    for (const char *p = r[i].spelling; *p; p++)
      vq_strbuf_printf(&roff, "%s%c", *p == '-' ? "\\" : "", *p);
    ck_assert_ptr_nonnull(strstr(man.p, roff.p));
    vq_strbuf_release(&roff);
  }
  vq_strbuf_release(&man);
}
END_TEST

START_TEST(levels_are_pipelines) {
  static const char *const level[] = {"0", "1", "2", "3"};
  for (int i = 0; i < 4; i++) {
    const char *missing, *text = level_pipeline(level[i], &missing);
    ck_assert((text == NULL) == (missing != NULL));
    if (!text) continue;
    vq_pipeline *p;
    ck_assert_int_eq(vq_pipeline_parse(ctx, vq_str_of(text), &diag, &p), VQ_OK);
    ck_assert_uint_gt(vq_pipeline_length(p), 2);
    vq_pipeline_destroy(p);
  }
}
END_TEST

int main(void) {
  Suite *s = suite_create("options");
  TCase *c = tcase_create("options");
  tcase_add_checked_fixture(c, setup, teardown);
  tcase_add_test(c, values_and_defaults);
  tcase_add_test(c, spellings);
  tcase_add_test(c, one_spelling_two_meanings);
  tcase_add_loop_test(c, wrong_options, 0, (int)VQ_COUNT(wrong));
  tcase_add_test(c, response_files);
  tcase_add_test(c, table_is_sound);
  tcase_add_test(c, help_and_man_name_every_option);
  tcase_add_test(c, levels_are_pipelines);
  suite_add_tcase(s, c);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
