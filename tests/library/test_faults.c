// Memory that ends on the threads that make calibration pictures: one message, exit code
// 70, no output, no hang, and a library that still works.
#include <check.h>
#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vitqc.h"

#define N(array) (sizeof(array) / sizeof *(array))

// One block of a ViT.
static const char vit[] =
    "vq 1\nmodule \"vit\"\n"
    "const @wp : tensor<8x48, f32> = random<seed = 1, std = 0.2>\n"
    "const @pos : tensor<16x8, f32> = random<seed = 2, std = 0.5>\n"
    "const @wqkv : tensor<24x8, f32> = random<seed = 3, std = 0.5>\n"
    "const @wo : tensor<8x8, f32> = random<seed = 4, std = 0.5>\n"
    "const @wh : tensor<5x8, f32> = random<seed = 7, std = 1>\n"
    "func @main(%image: tensor<1x3x16x16, f32>) -> (logits: tensor<1x5, f32>) {\n"
    "  %p = patch_embed %image, @wp {patch = [4, 4]} : tensor<1x16x8, f32>\n"
    "  %x = add %p, @pos : tensor<1x16x8, f32>\n"
    "  %n = layer_norm %x : tensor<1x16x8, f32>\n"
    "  %qkv = linear %n, @wqkv : tensor<1x16x24, f32>\n"
    "  %q = slice %qkv {begin = [0, 0, 0], size = [1, 16, 8]} : tensor<1x16x8, f32>\n"
    "  %k = slice %qkv {begin = [0, 0, 8], size = [1, 16, 8]} : tensor<1x16x8, f32>\n"
    "  %v = slice %qkv {begin = [0, 0, 16], size = [1, 16, 8]} : tensor<1x16x8, f32>\n"
    "  %a = attention %q, %k, %v {heads = 2, scale = 0.5} : tensor<1x16x8, f32>\n"
    "  %o = linear %a, @wo : tensor<1x16x8, f32>\n"
    "  %r = add %x, %o : tensor<1x16x8, f32>\n"
    "  %c = slice %r {begin = [0, 0, 0], size = [1, 1, 8]} : tensor<1x1x8, f32>\n"
    "  %l = linear %c, @wh : tensor<1x1x5, f32>\n"
    "  %logits = reshape %l {shape = [1, 5]} : tensor<1x5, f32>\n"
    "  return %logits\n}\n";

// ---- memory that ends ---------------------------------------------------------------

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
// In place of the C library's, also for libvitqc.
__attribute__((visibility("default"))) void *malloc(size_t n);
__attribute__((visibility("default"))) void *calloc(size_t n, size_t size);

// The next `left` allocations of this thread succeed, the one after them does not.
static _Thread_local struct {
  bool armed;
  unsigned left;
} memory;

static bool ends(void) {
  if (!memory.armed) return false;
  if (memory.left-- > 0) return false;
  memory.armed = false;
  return true;
}

void *malloc(size_t n) { return ends() ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return ends() ? NULL : __libc_calloc(n, size); }

// ---- a compilation ------------------------------------------------------------------

typedef struct heard {
  pthread_t main;
  bool on_main, struck;  // where memory shall end; that it was armed
  unsigned left, n_error;
  char code[32], text[256];
  int n_live;
} heard;

static void on_message(void *user, const vitqc_message *m) {
  heard *h = user;
  if (m->severity != VITQC_SEVERITY_ERROR || h->n_error++) return;
  snprintf(h->code, sizeof h->code, "%s", m->code);
  snprintf(h->text, sizeof h->text, "%s", m->text);
}

// Pictures that are painted come first, on the calling thread; later steps belong to
// those that are descended.
static int on_progress(void *user, const char *what, int64_t done, int64_t total) {
  heard *h = user;
  (void)total;
  bool on_main = pthread_equal(pthread_self(), h->main);
  if (h->struck || strncmp(what, "synthesize", 10) != 0) return 0;
  if (on_main && !h->on_main) usleep(2000);  // another thread is to get a picture
  if (on_main != h->on_main) return 0;
  if (h->on_main && done < 4) return 0;
  h->struck = memory.armed = true;
  memory.left = h->left;
  return 0;
}

static void on_temporary(void *user, const char *path, int live) {
  (void)path;
  ((heard *)user)->n_live += live ? 1 : -1;
}

static bool anything_but(const char *folder, const char *name) {
  DIR *dir = opendir(folder);
  bool found = false;
  for (struct dirent *e; (e = readdir(dir));)
    found |= e->d_name[0] != '.' && strcmp(e->d_name, name) != 0;
  closedir(dir);
  return found;
}

static void remove_pictures(const char *folder) {
  char path[512];
  DIR *dir = opendir(folder);
  if (!dir) return;
  for (struct dirent *e; (e = readdir(dir));) {
    ck_assert_msg(!strstr(e->d_name, ".tmp"), "%s is left", e->d_name);
    snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    unlink(path);
  }
  closedir(dir);
  rmdir(folder);
}

// What `left` allocations before the end lead to; n_thread: that make pictures.
static heard starve(unsigned n_thread, unsigned left, int *code) {
  char folder[] = "/tmp/test_faults.XXXXXX", out[64], made[64], threads[32];
  heard h = {.main = pthread_self(), .on_main = n_thread == 1, .left = left};
  ck_assert_ptr_nonnull(mkdtemp(folder));
  snprintf(out, sizeof out, "%s/x.so", folder);
  snprintf(made, sizeof made, "--calib-out=%s/made", folder);
  snprintf(threads, sizeof threads, "--threads=%u", n_thread);
  const char *option[] = {threads, made, "--calib-size=12", "--calib-steps=3",
                          "--preprocess=scale=1/255", "-o", out};
  vitqc_host host = {sizeof host, 0, &h, on_message, NULL, on_progress, on_temporary};
  vitqc_source model = {sizeof model, NULL, vit, sizeof vit - 1};
  *code = vitqc_compile(&model, option, N(option), &host, NULL);
  bool ended = !memory.armed;
  memory.armed = false;
  ck_assert_msg(ended, "nothing was allocated there");
  ck_assert_int_eq(h.n_live, 0);
  ck_assert_msg(!anything_but(folder, "made"), "%u left: %d: %s", left, *code, h.text);
  snprintf(made, sizeof made, "%s/made", folder);
  remove_pictures(made);
  ck_assert_int_eq(rmdir(folder), 0);
  return h;
}

static void expect_clean_end(unsigned n_thread) {
  unsigned n_fault = 0;
  static const unsigned left_over[] = {0, 1, 4};
  for (unsigned i = 0; i < N(left_over); i++) {
    int code;
    unsigned left = left_over[i];
    heard h = starve(n_thread, left, &code);
    ck_assert_msg(h.struck, "no picture was made on such a thread");
    // What libpng cannot have is an error of writing the picture.
    bool fault = code == VITQC_FAULT;
    ck_assert_msg(fault || code == VITQC_ERROR, "%u left: %d: %s", left, code, h.text);
    ck_assert_msg(h.n_error == 1, "%u left: %u errors, the first: %s", left, h.n_error, h.text);
    if (fault) {
      ck_assert_str_eq(h.code, "fault");
      ck_assert_ptr_nonnull(strstr(h.text, "out of memory ("));
    }
    n_fault += fault;
  }
  ck_assert_uint_gt(n_fault, 0);
}

START_TEST(on_the_calling_thread) { expect_clean_end(1); }
END_TEST

START_TEST(on_another_thread) { expect_clean_end(2); }
END_TEST

START_TEST(afterwards_all_is_well) {
  int code;
  starve(2, 0, &code);
  ck_assert_int_eq(code, VITQC_FAULT);
  const char *option[] = {"--threads=2", "--calib-size=4", "--calib-steps=1",
                          "--preprocess=scale=1/255", "--emit=ir"};
  vitqc_source model = {sizeof model, NULL, vit, sizeof vit - 1};
  vitqc_buffer out;
  ck_assert_int_eq(vitqc_compile(&model, option, N(option), NULL, &out), VITQC_GOOD);
  vitqc_free(&out);
}
END_TEST

int main(void) {
  Suite *s = suite_create("faults");
  TCase *t = tcase_create("faults");
  tcase_add_test(t, on_the_calling_thread);
  tcase_add_test(t, on_another_thread);
  tcase_add_test(t, afterwards_all_is_well);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
