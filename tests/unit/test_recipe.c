// Recipes: what they say, and where they are wrong; the schema agrees with the reader.
#include <check.h>
#include <libxml/relaxng.h>
#include <stdlib.h>
#include <unistd.h>

#include "recipe.h"
#include "temporary.h"

#define R "<recipe xmlns=\"https://vitqc.dev/ns/recipe/1\" version=\"1\">\n"
#define END "</recipe>\n"

typedef struct world {
  driver d;
  vq_strbuf messages;
  char path[64];
} world;

static void begin(world *w, const char *text, size_t n, const char *option) {
  *w = (world){.d = {.ctx = vq_ctx_create()}};
  vq_diag_init(&w->d.diag, w->d.ctx, vq_sink_strbuf, &w->messages);
  strcpy(w->path, "/tmp/test_recipe.XXXXXX");
  int fd = mkstemp(w->path);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(write(fd, text, n), (ssize_t)n);
  close(fd);
  vq_strbuf recipe = {0};
  vq_strbuf_printf(&recipe, "--recipe=%s", w->path);
  char *argv[] = {(char *)"vitqc", (char *)vq_arena_str(&w->d.arena, vq_strbuf_view(&recipe)).p,
                  (char *)"m.onnx", (char *)"-o", (char *)"m.so", (char *)option};
  vq_strbuf_release(&recipe);
  ck_assert_int_eq(options_parse(option ? 6 : 5, argv, &w->d.arena, &w->d.diag, &w->d.opt),
                   VQ_OK);
}

static void end(world *w) {
  unlink(w->path);
  temporary_remove_all(&w->d);
  vq_arena_release(&w->d.arena);
  vq_ctx_destroy(w->d.ctx);
  vq_strbuf_release(&w->messages);
}

// ---- what recipes say ---------------------------------------------------------------

static const char full[] =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    "<!-- a remark with <layer block='0'/> in it -->\n"
    "<v:recipe xmlns:v=\"https://vitqc.dev/ns/recipe/1\" version='1'>\n"
    "  <v:input name=\"image\" shape=\"1x1x28x28\" batch=\"2\"/><?x y?>\n"
    "  <v:preprocess scale=\"1/255\" mean=\".5\" std=\".25,.5\" resize=\"28\" crop=\"0\"\n"
    "     interp=\"nearest\"/>\n"
    "  <v:calibration from=\"my pictures\" size=\"12\" seed=\"3\"/>\n"
    "  <v:layer role=\"head  fc1\" block=\"0 2..3\" weight-bits=\"8\" act-bits=\"float\"/>\n"
    "  <v:layer name=\"a&amp;b*\" float=\"true\" why=\"d&#xe9;j&#224; vu > 1\"></v:layer>\n"
    "  <v:defaults weight-bits=\"4\" act-bits=\"6\" observer=\"percentile:99.9\" "
    "probability=\"log2\"/>\n"
    "  <v:layer role=\"residual\" act-bits=\"16\"/>\n"
    "  <v:layer stage=\"1\" observer=\"minmax\" probability=\"uniform\"/>\n"
    "</v:recipe>\n";

static void says(const world *w, opt_id id, const char *want) {
  ck_assert_str_eq(opt_text(&w->d.opt, id), want);
}

START_TEST(test_options_of_a_recipe) {
  world w;
  begin(&w, full, strlen(full), NULL);
  ck_assert_msg(recipe_apply(&w.d) == VQ_OK, "%s", vq_strbuf_z(&w.messages));
  says(&w, OPT_bits,
       "w4a6,head+block:0=w8afloat,head+block:2..3=w8afloat,fc1+block:0=w8afloat,"
       "fc1+block:2..3=w8afloat,name:a&b*=float,residual=a16");
  says(&w, OPT_observer, "percentile:99.9,stage:1=minmax");
  says(&w, OPT_probability, "log2,stage:1=uniform");
  says(&w, OPT_calib, "my pictures");
  says(&w, OPT_calib_size, "12");
  says(&w, OPT_seed, "3");
  says(&w, OPT_preprocess,
       "scale=1/255 mean=.5 std=.25,.5 resize=28 crop=0 interp=nearest");
  says(&w, OPT_batch, "2");
  ck_assert_uint_eq(w.d.opt.n_list[OPT_input_shape], 1);
  ck_assert_str_eq(w.d.opt.list[OPT_input_shape][0], "image:1x1x28x28");
  end(&w);
}
END_TEST

START_TEST(test_options_override) {
  static const struct {
    const char *option;
    opt_id id;
    const char *want;
  } row[] = {{"--bits=w8a8,head=w4", OPT_bits, "w8a8,head=w4"},
             {"--observer=mse", OPT_observer, "mse"},
             {"--probability=auto", OPT_probability, "auto"},
             {"--calib=noise", OPT_calib, "noise"},
             {"--calib-size=7", OPT_calib_size, "7"},
             {"--seed=9", OPT_seed, "9"},
             {"--preprocess=scale=2", OPT_preprocess, "scale=2"},
             {"--batch=5", OPT_batch, "5"},
             {"--input-shape=1x1x14x14", OPT_input_shape, "1x1x14x14"}};
  for (size_t i = 0; i < VQ_COUNT(row); i++) {
    world w;
    begin(&w, full, strlen(full), row[i].option);
    ck_assert_int_eq(recipe_apply(&w.d), VQ_OK);
    says(&w, row[i].id, row[i].want);
    if (row[i].id != OPT_observer) says(&w, OPT_observer, "percentile:99.9,stage:1=minmax");
    ck_assert_uint_eq(w.d.opt.n_list[OPT_input_shape], 1);
    end(&w);
  }
}
END_TEST

// What is not said is not given: defaults of options stay.
START_TEST(test_little_is_said) {
  static const char text[] = R "<layer role='fc2' weight-bits='5'/>" END;
  world w;
  begin(&w, text, strlen(text), NULL);
  ck_assert_int_eq(recipe_apply(&w.d), VQ_OK);
  says(&w, OPT_bits, "w8a8,fc2=w5");
  ck_assert(!opt_given(&w.d.opt, OPT_observer) && !opt_given(&w.d.opt, OPT_calib));
  end(&w);
}
END_TEST

START_TEST(test_budgets) {
  static const struct {
    const char *text, *option;
    opt_id id;
    const char *want;
  } row[] = {
      {R "<budget size='4.5MiB'/>" END, NULL, OPT_mixed, "size<=4.5MiB"},
      {R "<budget sqnr='20dB'/>" END, NULL, OPT_mixed, "sqnr>=20dB"},
      {R "<budget sqnr='20dB'/>" END, "--mixed=size<=1MB", OPT_mixed, "size<=1MB"},
      {R "<calibration time='90s'/>" END, NULL, OPT_calib_time, "90s"},
      {R "<calibration time='90s'/>" END, "--calib-time=1.5m", OPT_calib_time, "1.5m"},
      {R "<calibration settled='2.5'/>" END, NULL, OPT_calib_settled, "2.5"},
      {R "<calibration from='scenes' settled='5'/>" END, "--calib-settled=1",
       OPT_calib_settled, "1"}};
  for (size_t i = 0; i < VQ_COUNT(row); i++) {
    world w;
    begin(&w, row[i].text, strlen(row[i].text), row[i].option);
    ck_assert_msg(recipe_apply(&w.d) == VQ_OK, "%s", vq_strbuf_z(&w.messages));
    says(&w, row[i].id, row[i].want);
    end(&w);
  }
  static const char text[] = R "<calibration time='90s' settled='5'/>" END;
  world w;
  begin(&w, text, strlen(text), "--calib=noise");
  ck_assert_int_eq(recipe_apply(&w.d), VQ_OK);
  ck_assert(!opt_given(&w.d.opt, OPT_calib_time));
  ck_assert(!opt_given(&w.d.opt, OPT_calib_settled));
  end(&w);
}
END_TEST

// The places of rules are those of their attributes.
START_TEST(test_places) {
  static const char text[] = R "<layer block='3'\n  role='fc2' weight-bits='5'/>" END;
  world w;
  begin(&w, text, strlen(text), NULL);
  ck_assert_int_eq(recipe_apply(&w.d), VQ_OK);
  says(&w, OPT_bits, "w8a8,fc2+block:3=w5");
  static const struct { uint32_t at; uint64_t line, col; } row[] = {
      {5, 3, 9}, {9, 2, 15}, {17, 3, 27}};
  for (size_t i = 0; i < VQ_COUNT(row); i++) {
    vq_loc loc = vq_loc_text(w.d.ctx, VQ_LIT("bits"), 1, row[i].at + 1, VQ_LIT(""));
    vq_loc_info at = vq_loc_decode(w.d.ctx, recipe_place(&w.d, loc));
    ck_assert_uint_eq(at.a, row[i].line);
    ck_assert_uint_eq(at.b, row[i].col);
    ck_assert(vq_str_is(at.path, w.path));
  }
  end(&w);
}
END_TEST

// ---- what is wrong ------------------------------------------------------------------

typedef struct bad {
  const char *text;
  int line, col;
  const char *message;
  bool schema_accepts;  // it takes more than a schema
} bad;

static const bad wrong[] = {
    // Not XML.
    {"", 1, 1, "not well-formed", false},
    {"recipe", 1, 1, "not well-formed: Start tag expected", false},
    {R "<layer></recipe>", 2, 17, "not well-formed: Opening and ending tag mismatch", false},
    {R "<layer role='fc1' role='fc2'/>" END, 2, 29, "not well-formed: Attribute role redefined",
     false},
    {R "<layer role=fc1/>" END, 2, 13, "not well-formed: AttValue", false},
    {R "<layer role='fc1\xff'/>" END, 2, 17, "not well-formed: Input is not proper UTF-8", false},
    {R "<layer why='a\x01'/>" END, 2, 14, "not well-formed: invalid character", false},
    {R END "<recipe/>", 3, 1, "not well-formed: Extra content", false},
    // Hostile.
    {"<!DOCTYPE recipe>\n" R END, 1, 1, "no document type declaration", true},
    {"<?xml version='1.0'?>\n <!DOCTYPE recipe SYSTEM 'http://127.0.0.1:9/x'>" R END, 2, 2,
     "no document type declaration", true},
    {"<!DOCTYPE r [<!ENTITY a 'aaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;'>]>" R
     "<layer why='&b;'/>" END, 1, 1, "no document type declaration", false},
    {"<!DOCTYPE r [<!ENTITY x SYSTEM '/etc/passwd'>]>" R "&x;" END, 1, 1,
     "no document type declaration", false},
    {R "<layer name='&x;'/>" END, 2, 17, "not well-formed: Entity 'x' not defined", false},
    {R "<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='x'/>" END, 2, 1,
     "no element <include>", false},
    {R "<a><a><a><a><a></a></a></a></a></a>" END, 2, 1, "no element <a>", false},
    // Other elements.
    {"<recipe version='1'/>", 1, 1, "expected <recipe xmlns=", false},
    {"<recipe xmlns='https://vitqc.dev/ns/recipe/2' version='1'/>", 1, 1,
     "expected <recipe xmlns=", false},
    {"<recipe xmlns='https://vitqc.dev/ns/recipe/1'/>", 1, 1, "has no version", false},
    {"<recipe xmlns='https://vitqc.dev/ns/recipe/1' version='2'/>", 1, 56,
     "version of <recipe> is '2', expected 1", false},
    {R "  <!-- <layr/> -->\n <layr block='1'/>" END, 3, 2, "did you mean 'layer'?", false},
    {R "<mixed budget='size&lt;=4MiB'/>" END, 2, 1, "no element <mixed>", false},
    {R "<budget/>" END, 2, 1, "<budget> says nothing", false},
    {R "<budget size='4MiB'/>\n <budget sqnr='20dB'/>" END, 3, 2, "a second <budget>", false},
    {R "<budget size='4MiB'\n sqnr='20dB'/>" END, 3, 8, "not both", false},
    {R "<budget sise='4MiB'/>" END, 2, 9, "did you mean 'size'?", false},
    {R "<budget size='4'/>" END, 2, 15, "expected a size in B, KB", false},
    {R "<budget size='4 MiB'/>" END, 2, 15, "expected a size in B, KB", false},
    {R "<budget size='0MiB'/>" END, 2, 15, "expected a size in B, KB", true},
    {R "<budget size='1e3MB'/>" END, 2, 15, "expected a size in B, KB", false},
    {R "<budget sqnr='-3dB'/>" END, 2, 15, "expected decibels", false},
    {R "<budget sqnr='nandB'/>" END, 2, 15, "expected decibels", false},
    {R "<calibration time='soon'/>" END, 2, 20, "expected a time, as in 90s", false},
    {R "<calibration time='5h'/>" END, 2, 20, "expected a time, as in 90s", false},
    {R "<calibration from='noise' time='9s'/>" END, 2, 33, "take a time to make", false},
    {R "<calibration settled='5%'/>" END, 2, 23, "expected a number above 0, at most 100",
     false},
    {R "<calibration settled='0'/>" END, 2, 23, "expected a number above 0", true},
    {R "<calibration settled='100.5'/>" END, 2, 23, "at most 100", false},
    {R "<calibration from='noise' settled='5'/>" END, 2, 36, "until ranges have settled",
     false},
    {R "<layer block='0' float='true'><layer/></layer>" END, 2, 31,
     "<layer> stands in <layer>, which has no content", false},
    {R "<defaults/>\n\t<defaults/>" END, 3, 2, "a second <defaults>", false},
    {R "<input batch='2'/><input batch='3'/>" END, 2, 33, "a second batch", true},
    {R "  w8a8" END, 2, 3, "no text in recipes", false},
    {R "<defaults/><![CDATA[x]]>" END, 2, 12, "no text in recipes", false},
    // Attributes.
    {R "<layer block='0'\n  wieght-bits='4'/>" END, 3, 3, "did you mean 'weight-bits'?", false},
    {R "<layer xml:base='/' block='0' float='true'/>" END, 2, 8, "no attribute 'xml:base'",
     false},
    {R "<layer role='fc3' weight-bits='4'/>" END, 2, 14, "role of <layer> is 'fc3'", false},
    {R "<layer role='' weight-bits='4'/>" END, 2, 14, "role of <layer> is ''", false},
    {R "<layer block='3-4' weight-bits='4'/>" END, 2, 15, "expected numbers or ranges N..M",
     false},
    {R "<layer block='4..3' weight-bits='4'/>" END, 2, 15, "expected numbers or ranges N..M",
     true},
    {R "<layer block='1' weight-bits='2'/>" END, 2, 31, "weight-bits of <layer> is '2'", false},
    {R "<layer name=\"x' weights-only=true\" weight-bits='4'/>" END, 2, 14, "name of <layer> is",
     false},
    {R "<layer block='1' float='yes'/>" END, 2, 25, "expected true", false},
    {R "<defaults observer='percentile:101'/>" END, 2, 21, "expected mse, minmax", true},
    {R "<preprocess interp='cubic'/>" END, 2, 21, "expected nearest, bilinear or bicubic", false},
    {R "<calibration size='0'/>" END, 2, 20, "expected a whole number", false},
    // Attributes that do not go together.
    {R "<layer weight-bits='4'/>" END, 2, 1, "<layer> selects none", false},
    {R "<layer block='0' why='?'/>" END, 2, 1, "says nothing", false},
    {R "<layer block='0' float='true' act-bits='4'/>" END, 2, 25, "has no other widths", false},
    {R "<layer block='0' act-bits='16'/>" END, 2, 28, "only the residual stream", false},
    {R "<defaults weight-bits='16'/>" END, 2, 24, "only the residual stream", false},
    {R "<layer role='fc1 attn.qk' weight-bits='4'/>" END, 2, 40, "have no weights", false},
    {R "<layer role='residual' observer='minmax'/>" END, 2, 34, "never clipped", false},
    {R "<layer role='fc1' probability='log2'/>" END, 2, 32, "only attn.av", false},
    {R "<calibration from='noise' steps='9'/>" END, 2, 34, "made in steps", false},
    {R "<input name='x'/>" END, 2, 1, "<input> says nothing", false},
};

static void fails(const char *text, size_t n, const char *option, int line, int col,
                  const char *message) {
  world w;
  vq_strbuf want = {0};
  begin(&w, text, n, option);
  vq_status s = recipe_apply(&w.d);
  vq_strbuf_printf(&want, "%s:%d:%d: error: ", w.path, line, col);
  const char *said = vq_strbuf_z(&w.messages);
  ck_assert_msg(s == VQ_ERR && w.d.diag.n_error == 1 && strstr(said, want.p) == said &&
                    strstr(said, message),
                "%s\nexpected %s%s, got %s", text, want.p, message, said);
  vq_strbuf_release(&want);
  end(&w);
}

START_TEST(test_wrong_recipes) {
  for (size_t i = 0; i < VQ_COUNT(wrong); i++)
    fails(wrong[i].text, strlen(wrong[i].text), NULL, wrong[i].line, wrong[i].col,
          wrong[i].message);
}
END_TEST

START_TEST(test_ignored_recipes) {
  static const char text[] = R "\n <layer role='fc2' weight-bits='5'/>" END;
  static const char budget[] = R "<budget size='1MB'/>" END;
  fails(budget, strlen(budget), "-O1", 2, 1, "make no codes");
  fails(text, strlen(text), "-O1", 3, 2, "make no codes");
  fails(text, strlen(text), "--passes=dce", 3, 2, "--passes says");
}
END_TEST

// Other encodings, and too much of it.
START_TEST(test_bytes) {
  static const char utf16[] = "\xff\xfe<\0r\0/\0>\0";
  fails(utf16, sizeof utf16 - 1, NULL, 1, 1, "not well-formed");
  size_t n = (1 << 20) + 1, head = strlen(R);
  char *text = malloc(n);
  memset(text, ' ', n);
  memcpy(text, R, head);
  world w;
  begin(&w, text, n, NULL);
  ck_assert_int_eq(recipe_apply(&w.d), VQ_ERR);
  ck_assert(strstr(vq_strbuf_z(&w.messages), "a recipe has at most 1 MiB"));
  end(&w);
  memcpy(text + n - 1 - strlen(END), END, strlen(END));
  begin(&w, text, n - 1, NULL);
  ck_assert_int_eq(recipe_apply(&w.d), VQ_OK);
  end(&w);
  free(text);
}
END_TEST

// Depth ends where it begins.
START_TEST(test_depth) {
  vq_strbuf text = {0};
  vq_strbuf_puts(&text, R);
  for (int i = 0; i < 30000; i++) vq_strbuf_puts(&text, "<layer block='0' float='true'>");
  fails(text.p, text.n, NULL, 2, 31, "which has no content");
  vq_strbuf_clear(&text);
  for (int i = 0; i < 200000; i++) vq_strbuf_puts(&text, "<a>");
  fails(text.p, text.n, NULL, 1, 1, "expected <recipe");
  vq_strbuf_release(&text);
}
END_TEST

// Lists that multiply: no more rules than can be looked at.
START_TEST(test_rules_are_counted) {
  vq_strbuf text = {0};
  vq_strbuf_puts(&text, R "<layer weight-bits='4' block='");
  for (int i = 0; i < 100; i++) vq_strbuf_printf(&text, " %d", i);
  vq_strbuf_puts(&text, "' stage='");
  for (int i = 0; i < 100; i++) vq_strbuf_printf(&text, " %d", i);
  vq_strbuf_puts(&text, "'/>" END);
  fails(text.p, text.n, NULL, 2, 1, "more than 4096 rules");
  vq_strbuf_release(&text);
}
END_TEST

// ---- the schema ---------------------------------------------------------------------

static void quiet(void *user, const char *format, ...) { (void)user, (void)format; }
static void quiet_structured(void *user, xmlErrorPtr e) { (void)user, (void)e; }

static bool schema_accepts(xmlRelaxNGPtr schema, const char *text) {
  xmlSetStructuredErrorFunc(NULL, quiet_structured);
  xmlDocPtr doc = xmlReadMemory(text, (int)strlen(text), NULL, NULL, XML_PARSE_NONET);
  bool good = false;
  if (doc) {
    xmlRelaxNGValidCtxtPtr v = xmlRelaxNGNewValidCtxt(schema);
    good = xmlRelaxNGValidateDoc(v, doc) == 0;
    xmlRelaxNGFreeValidCtxt(v);
    xmlFreeDoc(doc);
  }
  return good;
}

START_TEST(test_schema_agrees) {
  xmlRelaxNGParserCtxtPtr p = xmlRelaxNGNewParserCtxt(RECIPE_SCHEMA);
  xmlRelaxNGPtr schema = xmlRelaxNGParse(p);
  xmlRelaxNGFreeParserCtxt(p);
  ck_assert_ptr_nonnull(schema);
  xmlSetGenericErrorFunc(NULL, quiet);
  ck_assert(schema_accepts(schema, full));
  ck_assert(schema_accepts(schema, R END));
  ck_assert(schema_accepts(schema, R "<calibration from='mimiq' steps='4'/><preprocess/>" END));
  ck_assert(schema_accepts(schema, R "<layer role='attn.av' block='1' probability='log2' "
                                     "act-bits='4'/>" END));
  for (size_t i = 0; i < VQ_COUNT(wrong); i++)
    ck_assert_msg(schema_accepts(schema, wrong[i].text) == wrong[i].schema_accepts,
                  "the schema and the reader differ on\n%s", wrong[i].text);
  xmlRelaxNGFree(schema);
  xmlCleanupParser();
}
END_TEST

// What is written is accepted by both, and says the same.
START_TEST(test_written_recipe) {
  world w, again;
  begin(&w, full, strlen(full), NULL);
  ck_assert_int_eq(recipe_apply(&w.d), VQ_OK);
  ck_assert_msg(recipe_write(&w.d, w.path, NULL) == VQ_OK, "%s", vq_strbuf_z(&w.messages));
  FILE *f = fopen(w.path, "rb");
  char text[4096];
  size_t n = fread(text, 1, sizeof text - 1, f);
  fclose(f);
  text[n] = '\0';
  begin(&again, text, n, NULL);
  ck_assert_msg(recipe_apply(&again.d) == VQ_OK, "%s", vq_strbuf_z(&again.messages));
  static const opt_id same[] = {OPT_bits, OPT_observer, OPT_probability, OPT_calib,
                                OPT_calib_size, OPT_seed, OPT_preprocess, OPT_batch};
  for (size_t i = 0; i < VQ_COUNT(same); i++)
    ck_assert_str_eq(opt_text(&again.d.opt, same[i]), opt_text(&w.d.opt, same[i]));
  ck_assert_str_eq(again.d.opt.list[OPT_input_shape][0], "image:1x1x28x28");
  xmlRelaxNGParserCtxtPtr p = xmlRelaxNGNewParserCtxt(RECIPE_SCHEMA);
  xmlRelaxNGPtr schema = xmlRelaxNGParse(p);
  xmlRelaxNGFreeParserCtxt(p);
  ck_assert_msg(schema_accepts(schema, text), "%s", text);
  xmlRelaxNGFree(schema);
  end(&again);
  end(&w);
}
END_TEST

int main(void) {
  Suite *s = suite_create("recipe");
  TCase *c = tcase_create("recipe");
  tcase_add_test(c, test_options_of_a_recipe);
  tcase_add_test(c, test_options_override);
  tcase_add_test(c, test_little_is_said);
  tcase_add_test(c, test_budgets);
  tcase_add_test(c, test_places);
  tcase_add_test(c, test_wrong_recipes);
  tcase_add_test(c, test_ignored_recipes);
  tcase_add_test(c, test_bytes);
  tcase_add_test(c, test_depth);
  tcase_add_test(c, test_rules_are_counted);
  tcase_add_test(c, test_written_recipe);
  tcase_add_test(c, test_schema_agrees);
  suite_add_tcase(s, c);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_ENV);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
