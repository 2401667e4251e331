// Containers, strings, diagnostics and source locations.
#include <check.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include "vq/arena.h"
#include "vq/diag.h"
#include "vq/elementary.h"
#include "vq/map.h"
#include "vq/strbuf.h"
#include "vq/type.h"
#include "vq/vec.h"

static void expect_text(const vq_strbuf *b, const char *want) {
  ck_assert_str_eq(vq_strbuf_z(b), want);
}

START_TEST(arena_aligns_and_zeroes) {
  vq_arena a = {0};
  for (int round = 0; round < 2; round++) {
    size_t total = 0;
    for (size_t i = 0; i < 3000; i++) {
      size_t size = i * 37 % 1500 + (i % 500 == 0 ? 100000 : 0);
      size_t align = (size_t)1 << (i % 7);
      unsigned char *p = vq_arena_alloc(&a, size, align);
      ck_assert_uint_eq((uintptr_t)p % align, 0);
      size_t n_zero = 0;
      for (size_t k = 0; k < size; k++) n_zero += p[k] == 0;
      ck_assert_uint_eq(n_zero, size);
      if (size) memset(p, 0xa5, size);
      total += size ? size : 1;
    }
    ck_assert_uint_eq(a.total, total);
    vq_arena_reset(&a);
    ck_assert_uint_eq(a.total, 0);
  }
  ck_assert_ptr_ne(vq_arena_alloc(&a, 0, 1), vq_arena_alloc(&a, 0, 1));
  vq_arena_release(&a);
  vq_str s = vq_arena_str(&a, VQ_LIT("again"));
  ck_assert_str_eq(s.p, "again");
  vq_arena_release(&a);
}
END_TEST

START_TEST(vec_grows) {
  VQ_VEC(int64_t) v = {0};
  for (int64_t i = 0; i < 100000; i++) vq_vec_push(&v, i * i);
  ck_assert_uint_eq(v.n, 100000);
  int64_t n_right = 0;
  for (int64_t i = 0; i < 100000; i++) n_right += v.p[i] == i * i;
  ck_assert_int_eq(n_right, 100000);
  vq_vec_clear(&v);
  ck_assert_uint_eq(v.n, 0);
  vq_vec_release(&v);
  ck_assert_ptr_null(v.p);
}
END_TEST

START_TEST(map_keeps_order) {
  enum { N = 20000 };
  static char key[N][16];
  vq_map m = {0};
  ck_assert_ptr_null(vq_map_find(&m, VQ_LIT("x")));
  for (size_t i = 0; i < N; i++) {
    int n = snprintf(key[i], sizeof key[i], "key%zu", i * 7919);
    void **slot = vq_map_put(&m, (vq_str){key[i], (size_t)n});
    ck_assert_ptr_null(*slot);
    *slot = key[i];
  }
  ck_assert_uint_eq(m.n, N);
  for (size_t i = 0; i < N; i++) {
    ck_assert_ptr_eq(vq_map_get(&m, vq_str_of(key[i])), key[i]);
    ck_assert_ptr_eq(m.entry[i].value, key[i]);
  }
  ck_assert_ptr_eq(*vq_map_put(&m, vq_str_of(key[5])), key[5]);
  ck_assert_uint_eq(m.n, N);
  ck_assert_ptr_null(vq_map_get(&m, VQ_LIT("key1")));
  vq_map_clear(&m);
  ck_assert_ptr_null(vq_map_find(&m, vq_str_of(key[5])));
  *vq_map_put(&m, VQ_LIT("")) = &m;
  ck_assert_ptr_eq(vq_map_get(&m, VQ_LIT("")), &m);
  vq_map_release(&m);
}
END_TEST

START_TEST(map_of_pointers) {
  int a, b, *pa = &a, *pb = &b, *again = &a;
  vq_map m = {0};
  *vq_map_put(&m, VQ_MAP_PTR_KEY(pa)) = pb;
  ck_assert_ptr_eq(vq_map_get(&m, VQ_MAP_PTR_KEY(again)), pb);
  ck_assert_ptr_null(vq_map_get(&m, VQ_MAP_PTR_KEY(pb)));
  vq_map_release(&m);
}
END_TEST

START_TEST(hash_depends_on_every_byte) {
  unsigned char data[67] = {0};
  for (size_t n = 1; n <= sizeof data; n++) {
    uint64_t h = vq_hash_bytes(1, data, n);
    ck_assert_uint_ne(h, vq_hash_bytes(1, data, n - 1));
    ck_assert_uint_ne(h, vq_hash_bytes(2, data, n));
    for (size_t i = 0; i < n; i++) {
      data[i] ^= 0x10;
      ck_assert_uint_ne(h, vq_hash_bytes(1, data, n));
      data[i] ^= 0x10;
    }
  }
}
END_TEST

// The value of the printed text, read as the text form reads it.
static float read_back(const char *z) {
  if (strncmp(z, "0x", 2)) return strtof(z, NULL);
  uint32_t bits = (uint32_t)strtoul(z, NULL, 16);
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

static void check_f32(vq_strbuf *b, uint32_t bits) {
  float f, back;
  memcpy(&f, &bits, sizeof f);
  vq_strbuf_clear(b);
  vq_strbuf_f32(b, f);
  back = read_back(vq_strbuf_z(b));
  if (memcmp(&back, &f, sizeof f))
    ck_abort_msg("0x%08x prints as %s", bits, vq_strbuf_z(b));
}

START_TEST(f32_reads_back) {
  vq_strbuf b = {0};
  uint32_t bits = 0;
  for (int i = 0; i < 300000; i++, bits += 2654435761u) check_f32(&b, bits);
  for (uint32_t e = 0; e < 512; e++)  // around every power of two
    for (uint32_t d = 0; d < 3; d++) check_f32(&b, (e << 23) + d - 1);
  vq_strbuf_release(&b);
}
END_TEST

START_TEST(f32_is_short) {
  static const struct {
    float f;
    const char *text;
  } row[] = {{0, "0"},         {-0.0f, "-0"},      {1, "1"},
             {-100, "-100"},   {65535, "65535"},   {999999, "999999"},
             {1e6f, "1e+06"},  {0.1f, "0.1"},      {1e-5f, "1e-05"},
             {0.125f, "0.125"}, {1.0f / 3, "0.33333334"},
             {3.4028235e38f, "3.4028235e+38"},     {1e-45f, "1e-45"},
             {INFINITY, "0x7f800000"}, {-INFINITY, "0xff800000"}};
  vq_strbuf b = {0};
  for (size_t i = 0; i < VQ_COUNT(row); i++) {
    vq_strbuf_clear(&b);
    vq_strbuf_f32(&b, row[i].f);
    expect_text(&b, row[i].text);
  }
  vq_strbuf_release(&b);
}
END_TEST

START_TEST(strbuf_grows_and_escapes) {
  vq_strbuf b = {0};
  expect_text(&b, "");
  for (int i = 0; i < 1000; i++) vq_strbuf_printf(&b, "%d,", i);
  ck_assert_uint_eq(b.n, 10 * 2 + 90 * 3 + 900 * 4);
  ck_assert_uint_eq(strlen(b.p), b.n);
  vq_strbuf_clear(&b);
  vq_strbuf_escaped(&b, VQ_LIT("a\n\t\"\\\x1b[31m\0\x7f\xc3\xa4"));
  expect_text(&b, "a\\n\\t\\\"\\\\\\x1b[31m\\x00\\x7f\xc3\xa4");
  vq_strbuf_release(&b);
  ck_assert_ptr_null(b.p);
}
END_TEST

START_TEST(strings_are_interned) {
  vq_ctx *ctx = vq_ctx_create();
  char text[] = "name";
  vq_str a = vq_intern(ctx, vq_str_of(text));
  text[0] = 'N';
  ck_assert_str_eq(a.p, "name");
  ck_assert_ptr_eq(vq_intern(ctx, VQ_LIT("name")).p, a.p);
  ck_assert_ptr_ne(vq_intern(ctx, VQ_LIT("nam")).p, a.p);
  vq_ctx_destroy(ctx);
}
END_TEST

// ---- diagnostics ---------------------------------------------------------------

typedef struct fixture {
  vq_ctx *ctx;
  vq_strbuf text;
  vq_diag diag;
} fixture;

static fixture start(void) {
  fixture f = {.ctx = vq_ctx_create()};
  return f;
}

static void stop(fixture *f) {
  vq_strbuf_release(&f->text);
  vq_ctx_destroy(f->ctx);
}

START_TEST(codes_print_with_dashes) {
  ck_assert_str_eq(vq_code_name(VQ_E_shape), "shape");
  ck_assert_str_eq(vq_code_name(VQ_E_not_constant), "not-constant");
  for (int i = 0; i < VQ_N_CODES; i++) {
    ck_assert_ptr_null(strchr(vq_code_name((vq_code)i), '_'));
    ck_assert_uint_gt(strlen(vq_code_help((vq_code)i)), 0);
  }
}
END_TEST

START_TEST(places_render) {
  fixture f = start();
  vq_diag_init(&f.diag, f.ctx, vq_sink_strbuf, &f.text);
  vq_str path = VQ_LIT("m.onnx");
  vq_diag *d = &f.diag;
  ck_assert(vq_error(d, VQ_E_shape, vq_loc_onnx(f.ctx, path, 41, VQ_LIT("/a\"b")),
                     "rank %d", 3) == VQ_ERR);
  vq_note(d, vq_loc_onnx(f.ctx, path, 2, VQ_LIT("")), "made here");
  vq_error(d, VQ_E_wire, vq_loc_byte(f.ctx, path, 0x1a2f), "cut off");
  ck_assert(vq_warn(d, VQ_E_metadata, vq_loc_path(f.ctx, path), "odd") == VQ_OK);
  vq_error(d, VQ_E_io, (vq_loc){0}, "bad name '%s'", "a\033[31m\nb");
  vq_error(d, VQ_E_parse, vq_loc_text(f.ctx, path, 7, 3, VQ_LIT("")), "no");
  expect_text(&f.text,
              "m.onnx:#41(/a\"b): error: rank 3 [shape]\n"
              "m.onnx:#2: note: made here\n"
              "m.onnx:0x1a2f: error: cut off [wire]\n"
              "m.onnx: warning: odd [metadata]\n"
              "error: bad name 'a\\x1b[31m\\nb' [io]\n"
              "m.onnx:7:3: error: no [parse]\n");
  ck_assert_uint_eq(d->n_error, 4);
  ck_assert_uint_eq(d->n_warning, 1);
  stop(&f);
}
END_TEST

static void render_line(fixture *f, uint32_t col, const char *line) {
  vq_strbuf_clear(&f->text);
  vq_error(&f->diag, VQ_E_parse,
           vq_loc_text(f->ctx, VQ_LIT("x.vq"), (uint32_t)strlen(line), col,
                       vq_str_of(line)),
           "no");
}

START_TEST(carets_point) {
  fixture f = start();
  vq_diag_init(&f.diag, f.ctx, vq_sink_strbuf, &f.text);
  render_line(&f, 3, "abcdef");
  expect_text(&f.text, "x.vq:6:3: error: no [parse]\nabcdef\n  ^\n");
  render_line(&f, 5, "\t\xc3\xa4 b");
  expect_text(&f.text, "x.vq:5:5: error: no [parse]\n\t\xc3\xa4 b\n\t  ^\n");
  render_line(&f, 4, "a\033b");
  expect_text(&f.text, "x.vq:3:4: error: no [parse]\na?b\n   ^\n");
  render_line(&f, 9, "abc");
  expect_text(&f.text, "x.vq:3:9: error: no [parse]\n");
  char line[1001];
  memset(line, '.', 1000);
  line[1000] = '\0';
  line[699] = 'X';
  render_line(&f, 700, line);
  const char *shown = strchr(vq_strbuf_z(&f.text), '\n') + 1;
  ck_assert_uint_eq(strcspn(shown, "\n"), 160);
  const char *below = strchr(shown, '\n') + 1;
  ck_assert_int_eq(shown[strcspn(below, "^")], 'X');
  stop(&f);
}
END_TEST

START_TEST(colors_wrap_words) {
  fixture f = start();
  vq_message m = {VQ_WARNING, VQ_E_metadata, {0}, VQ_LIT("odd")};
  vq_message_render(&f.text, f.ctx, &m, true);
  expect_text(&f.text, "\033[1m\033[1;35mwarning: \033[0modd [metadata]\n");
  stop(&f);
}
END_TEST

START_TEST(limits_mute) {
  fixture f = start();
  vq_diag_init(&f.diag, f.ctx, vq_sink_strbuf, &f.text);
  f.diag.max_error = 2;
  for (int i = 0; i < 4; i++) {
    vq_error(&f.diag, VQ_E_name, (vq_loc){0}, "%d", i);
    vq_note(&f.diag, (vq_loc){0}, "n%d", i);
  }
  vq_warn(&f.diag, VQ_E_name, (vq_loc){0}, "w");
  expect_text(&f.text, "error: 0 [name]\nnote: n0\nerror: 1 [name]\nnote: n1\n"
                       "warning: w [name]\n");
  ck_assert_uint_eq(f.diag.n_error, 4);
  f.diag.max_error = 0;
  f.diag.werror = true;
  vq_strbuf_clear(&f.text);
  ck_assert(vq_warn(&f.diag, VQ_E_name, (vq_loc){0}, "w") == VQ_ERR);
  expect_text(&f.text, "error: w [name]\n");
  ck_assert_uint_eq(f.diag.n_error, 5);
  f.diag.sink = NULL;
  vq_error(&f.diag, VQ_E_name, (vq_loc){0}, "dropped");
  ck_assert_uint_eq(f.diag.n_error, 6);
  stop(&f);
}
END_TEST

START_TEST(locations_are_interned) {
  fixture f = start();
  vq_str path = VQ_LIT("a");
  vq_loc one = vq_loc_text(f.ctx, path, 1, 2, VQ_LIT("line"));
  ck_assert_uint_eq(vq_loc_text(f.ctx, path, 1, 2, VQ_LIT("line")).id, one.id);
  ck_assert_uint_ne(vq_loc_text(f.ctx, path, 2, 1, VQ_LIT("line")).id, one.id);
  vq_loc node = vq_loc_onnx(f.ctx, path, 9, VQ_LIT("n"));
  vq_loc_info at = vq_loc_decode(f.ctx, node);
  ck_assert(at.kind == VQ_LOC_ONNX && at.a == 9);
  ck_assert(vq_str_is(at.path, "a") && vq_str_is(at.name, "n"));
  ck_assert(vq_loc_decode(f.ctx, (vq_loc){0}).kind == VQ_LOC_NONE);
  ck_assert(vq_loc_decode(f.ctx, (vq_loc){999}).kind == VQ_LOC_NONE);
  stop(&f);
}
END_TEST

// ---- dying -----------------------------------------------------------------------

static jmp_buf escape;

static void leave(void *user) {
  *(int *)user += 1;
  longjmp(escape, 1);
}

START_TEST(bug_runs_its_hook) {
  int n = 0;
  vq_bug_hook(leave, &n);
  if (!setjmp(escape)) VQ_BUG("expected by a %s", "test");
  ck_assert_int_eq(n, 1);
  vq_bug_hook(NULL, NULL);
}
END_TEST

static void expect_near(double is, double want) {
  ck_assert_msg(fabs(is - want) <= 1e-15 * (fabs(want) + 1e-300), "%a, expected %a", is, want);
}

START_TEST(elementary_functions) {
  for (int i = -500; i <= 500; i++) {
    double x = i * 1.37 / (i % 3 ? 7 : 1);
    expect_near(vq_exp(x), exp(x));
    ck_assert(fabs(vq_cos(x) - cos(x)) < 1e-15);
    if (i <= 0) continue;
    expect_near(vq_log(x), log(x));
    expect_near(vq_log(1 / x), log(1 / x));
    ck_assert(fabs(vq_pow(x, 0.4) / pow(x, 0.4) - 1) < 4e-15);
  }
  ck_assert(vq_exp(0) == 1 && vq_log(1) == 0 && vq_cos(0) == 1);
  ck_assert(vq_exp(-701) == 0 && isinf(vq_exp(710)) && isinf(vq_log(0)));
  ck_assert(vq_pow(0, 0.4) == 0 && vq_pow(0, 0) == 1 && isnan(vq_exp(NAN)));
  // a value, not only nearness: these are the bits everywhere
  ck_assert(vq_exp(1) == 0x1.5bf0a8b14576ap+1 && vq_log(10) == 0x1.26bb1bbb55516p+1);
}
END_TEST

typedef struct fallen {
  vq_fault kind;
  int n, hooks;
  char text[128];
} fallen;

static void tell(void *user, vq_fault kind, const char *text) {
  fallen *f = user;
  f->kind = kind;
  f->n++;
  snprintf(f->text, sizeof f->text, "%s", text);
  if (f->n == 1 && kind == VQ_FAULT_MEMORY) vq_oom(2);  // leaves at once
}

static void count_hook(void *user) { ((fallen *)user)->hooks++; }

static void find_bug(void *user) {
  vq_bug_hook(count_hook, user);
  VQ_BUG("%d is odd", 2);
}

static void eat(void *user) {
  (void)user;
  vq_oom(123);
}

static void nest(void *user) {
  fallen *outer = user, inner = {0};
  vq_bug_hook(count_hook, outer);  // not called by what an inner guard catches
  ck_assert(!vq_guarded(find_bug, &inner, tell));
  ck_assert_int_eq(inner.n, 1);
  ck_assert_int_eq(inner.hooks, 1);
  ck_assert_int_eq(outer->hooks, 0);
  VQ_BUG("outer");
}

START_TEST(guard_catches_faults) {
  fallen f = {0};
  ck_assert(!vq_guarded(find_bug, &f, tell));
  ck_assert(f.kind == VQ_FAULT_BUG && f.n == 1 && f.hooks == 1);
  ck_assert(strstr(f.text, "internal error at ") && strstr(f.text, ": 2 is odd"));
  f = (fallen){0};
  ck_assert(!vq_guarded(eat, &f, tell));
  ck_assert(f.kind == VQ_FAULT_MEMORY && f.n == 1);
  ck_assert_str_eq(f.text, "out of memory (123 bytes)");
  f = (fallen){0};
  ck_assert(!vq_guarded(nest, &f, tell));
  ck_assert(f.n == 1 && f.hooks == 1);
}
END_TEST

int main(void) {
  Suite *s = suite_create("support");
  TCase *t = tcase_create("support");
  tcase_add_test(t, arena_aligns_and_zeroes);
  tcase_add_test(t, vec_grows);
  tcase_add_test(t, map_keeps_order);
  tcase_add_test(t, map_of_pointers);
  tcase_add_test(t, hash_depends_on_every_byte);
  tcase_add_test(t, f32_reads_back);
  tcase_add_test(t, f32_is_short);
  tcase_add_test(t, strbuf_grows_and_escapes);
  tcase_add_test(t, strings_are_interned);
  tcase_add_test(t, codes_print_with_dashes);
  tcase_add_test(t, places_render);
  tcase_add_test(t, carets_point);
  tcase_add_test(t, colors_wrap_words);
  tcase_add_test(t, limits_mute);
  tcase_add_test(t, locations_are_interned);
  tcase_add_test(t, bug_runs_its_hook);
  tcase_add_test(t, elementary_functions);
  tcase_add_test(t, guard_catches_faults);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_ENV);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
