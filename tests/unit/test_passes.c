// The pass manager: pipelines as text, what passes need and give, watching.
#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "manager.h"
#include "vq/rewrite.h"

typedef struct world {
  vq_ctx *ctx;
  vq_diag diag;
  vq_strbuf messages;
  vq_module *m;
} world;

static void begin(world *w, const char *text) {
  *w = (world){.ctx = vq_ctx_create()};
  vq_diag_init(&w->diag, w->ctx, vq_sink_strbuf, &w->messages);
  if (!text) return;
  vq_status st = vq_parse(w->ctx, vq_str_of(text), "t.vq", &w->diag, &w->m);
  ck_assert_msg(st == VQ_OK, "%s", vq_strbuf_z(&w->messages));
}

static void end(world *w) {
  vq_module_destroy(w->m);
  vq_strbuf_release(&w->messages);
  vq_ctx_destroy(w->ctx);
}

static bool said(const world *w, const char *part) {
  return strstr(vq_strbuf_z(&w->messages), part) != NULL;
}

static vq_pipeline *parse(world *w, const char *text) {
  vq_pipeline *p = NULL;
  vq_status st = vq_pipeline_parse(w->ctx, vq_str_of(text), &w->diag, &p);
  ck_assert_msg(st == VQ_OK, "%s", vq_strbuf_z(&w->messages));
  return p;
}

// Two equal ops, one dead op, one constant that is too large for the text.
static const char program[] =
    "vq 1\nmodule \"t\"\n"
    "const @w : tensor<20, f32> = random<seed = 1, std = 1>\n"
    "func @main(%x: tensor<20, f32>) -> (tensor<20, f32>) {\n"
    "  %n = neg @w : tensor<20, f32>\n"
    "  %a = add %x, %n : tensor<20, f32>\n"
    "  %b = add %n, %x : tensor<20, f32>\n"
    "  %dead = exp %x : tensor<20, f32>\n"
    "  %y = mul %a, %b : tensor<20, f32>\n"
    "  return %y\n"
    "}\n";

// ---- pipelines ------------------------------------------------------------------

START_TEST(test_round_trip) {
  static const char *const text[][2] = {
      {"", ""},
      {" \n ", ""},
      {"fold", "fold"},
      {" fold , cse\t,dce ", "fold,cse,dce"},
      {"cse{max=3}", "cse{max=3}"},
      {"cse { max = '007' } , dce", "cse{max=7},dce"},
      {"cse{}", "cse"},
      {"cse{max=-1}", "cse"},
      {"fold{max-bytes=\"0\"}", "fold{max-bytes=0}"},
      {"plan-memory", "plan-memory"}};
  for (unsigned i = 0; i < VQ_COUNT(text); i++) {
    world w;
    begin(&w, NULL);
    vq_strbuf out = {0};
    vq_pipeline *p = parse(&w, text[i][0]);
    vq_pipeline_print(&out, p);
    ck_assert_str_eq(vq_strbuf_z(&out), text[i][1]);
    vq_pipeline_destroy(p);
    vq_strbuf_release(&out);
    end(&w);
  }
}
END_TEST

START_TEST(test_bad_pipelines) {
  static const char *const text[][2] = {
      {"fodl", "did you mean 'fold'?"},
      {"fold,,dce", "expected the name of a pass, found ','"},
      {"fold,", "expected the name of a pass, found the end"},
      {"fold dce", "expected ',' between passes, found 'd'"},
      {"cse{max}", "expected '=', found '}'"},
      {"cse{max=", "expected a value, found the end"},
      {"cse{max='1}", "this quote is never closed"},
      {"cse{max=1", "expected an option or '}', found the end"},
      {"cse{mxa=1}", "did you mean 'max'?"},
      {"cse{max=1 max=2}", "option 'max' is given twice"},
      {"cse{max=many}", "option 'max' of pass 'cse' is 'many', expected an"},
      {"cse{max=9999999999999999999}", "expected an integer"},
      {"dce{x=1}", "pass 'dce' has no option 'x'"}};
  for (unsigned i = 0; i < VQ_COUNT(text); i++) {
    world w;
    begin(&w, NULL);
    vq_pipeline *p;
    ck_assert_int_eq(
        vq_pipeline_parse(w.ctx, vq_str_of(text[i][0]), &w.diag, &p), VQ_ERR);
    ck_assert_ptr_null(p);
    ck_assert_int_eq(w.diag.n_error, 1);
    ck_assert_msg(said(&w, text[i][1]), "'%s': %s", text[i][0],
                  vq_strbuf_z(&w.messages));
    end(&w);
  }
}
END_TEST

START_TEST(test_options_and_trim) {
  world w;
  begin(&w, NULL);
  vq_pipeline *p = parse(&w, "fold,cse{max=3},cse,dce");
  ck_assert_uint_eq(vq_pipeline_length(p), 4);
  const vq_pass_cse_opts *given = p->item[1].opts, *plain = p->item[2].opts;
  ck_assert_int_eq(given->max, 3);
  ck_assert_int_eq(plain->max, -1);
  vq_pipeline_trim(p, 1, 3);
  vq_strbuf out = {0};
  vq_pipeline_print(&out, p);
  ck_assert_str_eq(vq_strbuf_z(&out), "cse{max=3},cse");
  ck_assert_str_eq(vq_pipeline_pass(p, 1)->name, "cse");
  vq_strbuf_release(&out);
  vq_pipeline_destroy(p);
  end(&w);
}
END_TEST

START_TEST(test_find_and_set) {
  world w;
  begin(&w, NULL);
  vq_pipeline *p = parse(&w, "dce,cse{max=3},fold");
  ck_assert_uint_eq(vq_pipeline_find(p, "cse"), 1);
  ck_assert_uint_eq(vq_pipeline_find(p, "cs"), 3);
  ck_assert_int_eq(vq_pipeline_set(p, 1, VQ_LIT(" max = 5 "), &w.diag), VQ_OK);
  ck_assert_int_eq(vq_pipeline_set(p, 2, VQ_LIT("max-bytes=1 max-steps='2'"), &w.diag), VQ_OK);
  ck_assert_int_eq(vq_pipeline_set(p, 2, VQ_LIT("max-bytes=7"), &w.diag), VQ_OK);
  ck_assert_int_eq(vq_pipeline_set(p, 0, VQ_LIT(""), &w.diag), VQ_OK);
  ck_assert_int_eq(vq_pipeline_set(p, 1, VQ_LIT("mxa=1"), &w.diag), VQ_ERR);
  ck_assert_msg(said(&w, "did you mean 'max'?"), "%s", vq_strbuf_z(&w.messages));
  ck_assert_int_eq(vq_pipeline_set(p, 1, VQ_LIT("max=1 max=2"), &w.diag), VQ_ERR);
  ck_assert_msg(said(&w, "given twice"), "%s", vq_strbuf_z(&w.messages));
  vq_strbuf out = {0};
  vq_pipeline_print(&out, p);
  ck_assert_str_eq(vq_strbuf_z(&out), "dce,cse{max=1},fold{max-bytes=7 max-steps=2}");
  vq_strbuf_release(&out);
  vq_pipeline_destroy(p);
  end(&w);
}
END_TEST

START_TEST(test_option_kinds) {
  typedef struct opts {
    double f;
    bool flag;
    vq_str s;
  } opts;
  static const vq_opt_desc desc[] = {
      {"f", "", VQ_OPT_F64, offsetof(opts, f), "0.5", NULL},
      {"flag", "", VQ_OPT_FLAG, offsetof(opts, flag), "false", NULL},
      {"s", "", VQ_OPT_STR, offsetof(opts, s), "a", "a|bc"}};
  static const vq_pass pass = {.name = "p", .opts = desc, .n_opts = 3,
                               .opts_size = sizeof(opts)};
  opts o = {0};
  vq_str value[3];
  vq_pipeline p = {0};
  vq_pass_item it = {&pass, &o, value};
  ck_assert_ptr_null(vq_pass_option_set(&p, &it, 0, VQ_LIT("2.5")));
  ck_assert_ptr_null(vq_pass_option_set(&p, &it, 1, VQ_LIT("true")));
  ck_assert_ptr_null(vq_pass_option_set(&p, &it, 2, VQ_LIT("bc")));
  ck_assert(o.f == 2.5 && o.flag && vq_str_is(o.s, "bc"));
  ck_assert_str_eq(vq_pass_option_set(&p, &it, 0, VQ_LIT("inf")), "a number");
  ck_assert_str_eq(vq_pass_option_set(&p, &it, 1, VQ_LIT("1")),
                   "true or false");
  ck_assert_str_eq(vq_pass_option_set(&p, &it, 2, VQ_LIT("b")), "a|bc");
  vq_arena_release(&p.arena);
}
END_TEST

// ---- passes made for these tests ----------------------------------------------------

static vq_status do_nothing(vq_module *m, vq_pass_ctx *pc) {
  (void)m;
  vq_stat(pc, "visits", 1);
  return VQ_OK;
}

static vq_status fail_silently(vq_module *m, vq_pass_ctx *pc) {
  (void)m, (void)pc;
  return VQ_ERR;
}

// Moves the last op before return to the front: uses before definitions.
static vq_status break_order(vq_module *m, vq_pass_ctx *pc) {
  (void)pc;
  vq_func *f = vq_module_func(m, VQ_LIT("main"));
  vq_move_op(f->last->prev, f->first);
  return VQ_OK;
}

static vq_status run_one(world *w, vq_pass pass, const vq_instrument *ins) {
  vq_pass_item item = {.pass = &pass};
  vq_pipeline p = {.ctx = w->ctx, .item = &item, .n = 1};
  return vq_pipeline_run(&p, w->m, &w->diag, ins, NULL, NULL);
}

START_TEST(test_needs) {
  world w;
  begin(&w, program);
  vq_pipeline *p = parse(&w, "plan-memory");
  ck_assert_int_eq(vq_pipeline_run(p, w.m, &w.diag, NULL, NULL, NULL), VQ_ERR);
  ck_assert(said(&w, "pass 'plan-memory' needs a module that is outlined"));
  ck_assert(said(&w, "'outline' gives it: run it before 'plan-memory'"));
  vq_pipeline_destroy(p);
  end(&w);
}
END_TEST

START_TEST(test_false_gives) {
  world w;
  begin(&w, program);
  vq_pass liar = {.name = "liar", .run = do_nothing,
                  .gives = VQ_PROP_OUTLINED};
  ck_assert_int_eq(run_one(&w, liar, NULL), VQ_ERR);
  ck_assert(said(&w, "found after pass 'liar' (1)"));
  end(&w);
}
END_TEST

START_TEST(test_kills) {
  world w;
  begin(&w, program);
  w.m->props = VQ_PROP_OUTLINED | VQ_PROP_PLANNED;
  vq_pass killer = {.name = "killer", .run = do_nothing,
                    .kills = VQ_PROP_PLANNED};
  ck_assert_int_eq(run_one(&w, killer, NULL), VQ_OK);
  ck_assert_uint_eq(w.m->props, VQ_PROP_OUTLINED);
  end(&w);
}
END_TEST

START_TEST(test_silent_failure) {
  world w;
  begin(&w, program);
  vq_pass mute = {.name = "mute", .run = fail_silently};
  ck_assert_int_eq(run_one(&w, mute, NULL), VQ_ERR);
  ck_assert(said(&w, "pass 'mute' failed"));
  end(&w);
}
END_TEST

START_TEST(test_report) {
  world w;
  begin(&w, program);
  vq_pipeline *p = parse(&w, "dce,cse,cse,dce");
  vq_pass_report r;
  vq_instrument ins = {.note_changes = true};
  ck_assert_int_eq(vq_pipeline_run(p, w.m, &w.diag, &ins, NULL, &r), VQ_OK);
  ck_assert_uint_eq(r.n_record, 4);
  static const uint32_t before[] = {6, 5, 4, 4};
  static const bool changed[] = {true, true, false, false};
  for (unsigned i = 0; i < 4; i++) {
    ck_assert_uint_eq(r.record[i].ops_before, before[i]);
    ck_assert_int_eq(r.record[i].changed, changed[i]);
    ck_assert(r.record[i].seconds >= 0);
  }
  ck_assert_uint_eq(r.n_stat, 2);
  ck_assert_str_eq(r.stat[0].pass, "dce");
  ck_assert_str_eq(r.stat[0].name, "ops removed");
  ck_assert_int_eq(r.stat[0].n, 1);
  ck_assert_str_eq(r.stat[1].name, "ops merged");
  vq_pass_report_release(&r);
  vq_pipeline_destroy(p);
  end(&w);
}
END_TEST

// ---- watching -------------------------------------------------------------------

static void collect(void *user, vq_str text) {
  vq_strbuf_add(user, text.p, text.n);
}

static unsigned count_of(const char *text, const char *part) {
  unsigned n = 0;
  for (const char *p = text; (p = strstr(p, part)); p++) n++;
  return n;
}

START_TEST(test_print_hooks) {
  static const struct {
    vq_instrument ins;
    const char *banner;
    unsigned n;
  } hook[] = {
      {{.print_before_all = true}, "// ----- before ", 3},
      {{.print_after_all = true}, "// ----- after ", 3},
      {{.print_changed = true}, "// ----- after ", 2},
      {{.print_before = VQ_LIT("dce")}, "// ----- before dce (3) -----\n", 1},
      {{.print_after = VQ_LIT("fold,dce")}, "// ----- after dce (3) -----\n",
       1},
      {{0}, "// -----", 0}};
  for (unsigned i = 0; i < VQ_COUNT(hook); i++) {
    world w;
    begin(&w, program);
    vq_pipeline *p = parse(&w, "cse,cse{max=0},dce");
    vq_strbuf out = {0};
    vq_instrument ins = hook[i].ins;
    ins.print = collect;
    ins.user = &out;
    ck_assert_int_eq(vq_pipeline_run(p, w.m, &w.diag, &ins, NULL, NULL),
                     VQ_OK);
    ck_assert_uint_eq(count_of(vq_strbuf_z(&out), hook[i].banner),
                      hook[i].n);
    ck_assert_uint_eq(count_of(vq_strbuf_z(&out), "// -----"), hook[i].n);
    vq_strbuf_release(&out);
    vq_pipeline_destroy(p);
    end(&w);
  }
}
END_TEST

START_TEST(test_dump_is_input) {
  world w, again;
  begin(&w, program);
  vq_pipeline *p = parse(&w, "cse");
  vq_strbuf out = {0}, text = {0};
  vq_instrument ins = {.print_after_all = true, .print = collect,
                       .user = &out};
  ck_assert_int_eq(vq_pipeline_run(p, w.m, &w.diag, &ins, NULL, NULL), VQ_OK);
  begin(&again, vq_strbuf_z(&out));
  ck_assert_int_eq(vq_print(&text, again.m, VQ_PRINT_ELIDE, NULL), VQ_OK);
  ck_assert_str_eq(vq_strbuf_z(&text), strchr(vq_strbuf_z(&out), '\n') + 1);
  vq_strbuf_release(&out);
  vq_strbuf_release(&text);
  vq_pipeline_destroy(p);
  end(&again);
  end(&w);
}
END_TEST

START_TEST(test_print_unknown_pass) {
  world w;
  begin(&w, program);
  vq_pipeline *p = parse(&w, "dce");
  vq_instrument ins = {.print_after = VQ_LIT("dce,cs")};
  ck_assert_int_eq(vq_pipeline_run(p, w.m, &w.diag, &ins, NULL, NULL), VQ_ERR);
  ck_assert(said(&w, "unknown pass 'cs'") && said(&w, "did you mean 'cse'?"));
  vq_pipeline_destroy(p);
  end(&w);
}
END_TEST

// ---- files ----------------------------------------------------------------------

static void read_text(const char *path, vq_strbuf *out) {
  FILE *f = fopen(path, "rb");
  ck_assert_msg(f != NULL, "%s is absent", path);
  char block[4096];
  for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
    vq_strbuf_add(out, block, n);
  fclose(f);
}

// Parses a written file and checks that it evaluates nothing away: constants
// are there.
static void check_file(const char *path) {
  world w;
  vq_strbuf text = {0};
  read_text(path, &text);
  begin(&w, NULL);
  vq_status st = vq_parse(w.ctx, vq_strbuf_view(&text), path, &w.diag, &w.m);
  ck_assert_msg(st == VQ_OK, "%s", vq_strbuf_z(&w.messages));
  vq_each_const(w.m, c) ck_assert_int_ne(c->init, VQ_INIT_MISSING);
  vq_strbuf_release(&text);
  end(&w);
}

START_TEST(test_print_to) {
  char dir[] = "/tmp/vq-test-XXXXXX";
  ck_assert_ptr_nonnull(mkdtemp(dir));
  world w;
  begin(&w, program);
  vq_pipeline *p = parse(&w, "fold,cse,dce");
  vq_strbuf sub = {0}, path = {0};
  vq_strbuf_printf(&sub, "%s/dumps", dir);
  vq_instrument ins = {.print_to = vq_strbuf_z(&sub)};
  ck_assert_int_eq(vq_pipeline_run(p, w.m, &w.diag, &ins, NULL, NULL), VQ_OK);
  static const char *const name[] = {"00-input.vq", "01-fold.vq", "02-cse.vq",
                                     "03-dce.vq"};
  for (unsigned i = 0; i < VQ_COUNT(name); i++) {
    vq_strbuf_clear(&path);
    vq_strbuf_printf(&path, "%s/%s", vq_strbuf_z(&sub), name[i]);
    check_file(vq_strbuf_z(&path));
    unlink(vq_strbuf_z(&path));
  }
  vq_strbuf_clear(&path);
  vq_strbuf_printf(&path, "%s/weights.vqw", vq_strbuf_z(&sub));
  struct stat st;
  ck_assert_int_eq(stat(vq_strbuf_z(&path), &st), 0);
  ck_assert_int_eq(st.st_size, 128);  // 20 floats, once, in units of 64
  unlink(vq_strbuf_z(&path));
  ck_assert_int_eq(rmdir(vq_strbuf_z(&sub)), 0);
  ck_assert_int_eq(rmdir(dir), 0);
  vq_strbuf_release(&sub);
  vq_strbuf_release(&path);
  vq_pipeline_destroy(p);
  end(&w);
}
END_TEST

START_TEST(test_print_to_refused) {
  world w;
  begin(&w, program);
  vq_pipeline *p = parse(&w, "dce");
  vq_instrument ins = {.print_to = "/dev/null/dumps"};
  ck_assert_int_eq(vq_pipeline_run(p, w.m, &w.diag, &ins, NULL, NULL), VQ_ERR);
  ck_assert(said(&w, "cannot make this folder"));
  vq_pipeline_destroy(p);
  end(&w);
}
END_TEST

START_TEST(test_reproducer) {
  char path[] = "/tmp/vq-test-XXXXXX";
  int fd = mkstemp(path);
  ck_assert_int_ge(fd, 0);
  close(fd);
  world w;
  begin(&w, program);
  vq_pass bad = {.name = "bad", .run = break_order};
  vq_instrument ins = {.verify_each = true, .reproducer = path};
  ck_assert_int_eq(run_one(&w, bad, &ins), VQ_ERR);
  ck_assert(said(&w, "found after pass 'bad' (1)"));
  ck_assert(said(&w, "to see this again: vitqc --run-reproducer="));
  vq_strbuf text = {0};
  read_text(path, &text);
  ck_assert_ptr_eq(strstr(vq_strbuf_z(&text), "// vitqc: --passes='bad'\n"),
                   vq_strbuf_z(&text));
  check_file(path);
  unlink(path);
  vq_strbuf_release(&text);
  end(&w);
}
END_TEST

static vq_status give_up(vq_module *m, vq_pass_ctx *pc) {
  (void)m, (void)pc;
  VQ_BUG("a pass that gives up");
}

// In a process of its own, which ends by SIGABRT after having written the file.
START_TEST(test_reproducer_of_bug) {
  char path[] = "/tmp/vq-test-XXXXXX";
  int fd = mkstemp(path), status = 0;
  ck_assert_int_ge(fd, 0);
  close(fd);
  pid_t child = fork();
  if (child == 0) {
    world w;
    ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
    begin(&w, program);
    vq_pass bad = {.name = "bad", .run = give_up};
    vq_instrument ins = {.reproducer = path,
                         .reproducer_options = VQ_LIT("--seed='it\\'s'")};
    (void)run_one(&w, bad, &ins);
    _exit(0);
  }
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
  vq_strbuf text = {0};
  read_text(path, &text);
  ck_assert_ptr_eq(strstr(vq_strbuf_z(&text), "// vitqc: --passes='bad' --seed='it\\'s'\nvq 1\n"),
                   vq_strbuf_z(&text));
  check_file(path);
  unlink(path);
  vq_strbuf_release(&text);
}
END_TEST

// ---- documentation ----------------------------------------------------------------

START_TEST(test_docs) {
  vq_strbuf text = {0}, table = {0};
  read_text(TEST_DATA_DIR "/../docs/passes.md", &text);
  vq_strbuf_puts(&table, "<!-- passes.def -->\n");
  vq_passes_markdown(&table);
  vq_strbuf_puts(&table, "<!-- end -->\n");
  bool holds = strstr(vq_strbuf_z(&text), vq_strbuf_z(&table)) != NULL;
  if (!holds) fputs(vq_strbuf_z(&table), stderr);  // too long for a message
  ck_assert_msg(holds, "docs/passes.md must hold the table above");
  vq_strbuf_release(&text);
  vq_strbuf_release(&table);
}
END_TEST

int main(void) {
  Suite *s = suite_create("passes");
  TCase *t = tcase_create("passes");
  tcase_set_timeout(t, 0);
  tcase_add_test(t, test_round_trip);
  tcase_add_test(t, test_bad_pipelines);
  tcase_add_test(t, test_options_and_trim);
  tcase_add_test(t, test_find_and_set);
  tcase_add_test(t, test_option_kinds);
  tcase_add_test(t, test_needs);
  tcase_add_test(t, test_false_gives);
  tcase_add_test(t, test_kills);
  tcase_add_test(t, test_silent_failure);
  tcase_add_test(t, test_report);
  tcase_add_test(t, test_print_hooks);
  tcase_add_test(t, test_dump_is_input);
  tcase_add_test(t, test_print_unknown_pass);
  tcase_add_test(t, test_print_to);
  tcase_add_test(t, test_print_to_refused);
  tcase_add_test(t, test_reproducer);
  tcase_add_test(t, test_reproducer_of_bug);
  tcase_add_test(t, test_docs);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
