// libvitqc as a program sees it: through vitqc.h alone.
#include <check.h>
#include <dirent.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vitqc.h"

#define FASHION TEST_SOURCE "/tests/models/fashion/fashion_vit.onnx"
#define TINY TEST_SOURCE "/tests/driver/Inputs/tiny.vq"
#define N(array) (sizeof(array) / sizeof *(array))

// Everything that was said, and when to stop.
typedef struct heard {
  unsigned n_error, n_note;
  char code[32], place[256], text[512], path[256], log[4096], out[1 << 16];
  uint32_t line, column;
  size_t n_out;
  const char *stop_at;  // a step to stop at
  unsigned n_step;
  int n_live;           // temporary files and folders
} heard;

static void on_message(void *user, const vitqc_message *m) {
  heard *h = user;
  ck_assert_uint_ge(m->size, sizeof *m);
  ck_assert_ptr_nonnull(strstr(m->rendered, m->text));
  if (m->severity == VITQC_SEVERITY_NOTE) h->n_note++;
  if (m->severity != VITQC_SEVERITY_ERROR || h->n_error++) return;
  snprintf(h->code, sizeof h->code, "%s", m->code);
  snprintf(h->place, sizeof h->place, "%s", m->place);
  snprintf(h->text, sizeof h->text, "%s", m->text);
  snprintf(h->path, sizeof h->path, "%s", m->path);
  h->line = m->line;
  h->column = m->column;
}

static void on_print(void *user, int is_log, const char *text, size_t n) {
  heard *h = user;
  if (is_log) {
    strncat(h->log, text, n < sizeof h->log - strlen(h->log) ? n : 0);
    return;
  }
  ck_assert_uint_lt(h->n_out + n, sizeof h->out);
  memcpy(h->out + h->n_out, text, n);
  h->n_out += n;
}

static int on_progress(void *user, const char *what, int64_t done, int64_t total) {
  heard *h = user;
  h->n_step++;
  ck_assert_int_ge(done, 0);
  ck_assert_int_le(done, total);
  return h->stop_at && strncmp(what, h->stop_at, strlen(h->stop_at)) == 0;
}

static void on_temporary(void *user, const char *path, int live) {
  (void)path;
  ((heard *)user)->n_live += live ? 1 : -1;
}

static vitqc_host host_of(heard *h) {
  return (vitqc_host){sizeof(vitqc_host), 0, h, on_message, on_print, on_progress,
                      on_temporary};
}

static vitqc_source file(const char *path) {
  return (vitqc_source){sizeof(vitqc_source), path, NULL, 0};
}

static vitqc_source bytes(const char *path, const void *data, size_t n) {
  return (vitqc_source){sizeof(vitqc_source), path, data, n};
}

static char *slurp(const char *path, size_t *n) {
  FILE *f = fopen(path, "rb");
  ck_assert_ptr_nonnull(f);
  fseek(f, 0, SEEK_END);
  *n = (size_t)ftell(f);
  rewind(f);
  char *p = malloc(*n + 1);
  ck_assert(p && fread(p, 1, *n, f) == *n);
  fclose(f);
  return p;
}

static bool same(const vitqc_buffer *a, const char *p, size_t n) {
  return a->size == n && memcmp(a->data, p, n) == 0;
}

// ---- compiling --------------------------------------------------------------------

START_TEST(versions) {
  ck_assert_str_eq(vitqc_version(), TEST_VERSION);
  ck_assert_int_eq(strncmp(vitqc_llvm_version(), "19.", 3), 0);
  ck_assert_uint_eq(vitqc_api_version(), VITQC_API_VERSION);
}
END_TEST

// From a file to a file, from memory to memory, as a command: the same bytes.
START_TEST(ways_agree) {
  char path[] = "/tmp/test_library.XXXXXX";
  close(mkstemp(path));
  heard h = {0};
  vitqc_host host = host_of(&h);
  size_t n, n_file;
  char *model = slurp(FASHION, &n);
  const char *option[] = {"-O1", "--emit=obj", "--cpu", "x86-64-v3", "-o", path};
  vitqc_source from = file(FASHION), in_memory = bytes(FASHION, model, n);
  ck_assert_int_eq(vitqc_compile(&from, option, 6, &host, NULL), VITQC_GOOD);
  char *want = slurp(path, &n_file);
  vitqc_buffer out;
  ck_assert_int_eq(vitqc_compile(&in_memory, option, 4, &host, &out), VITQC_GOOD);
  ck_assert(same(&out, want, n_file));
  vitqc_free(&out);
  ck_assert(!out.data && !out.size);
  free(want);
  const char *arg[] = {FASHION, "-O1", "--emit=obj", "--cpu=x86-64-v3", "-o", path};
  ck_assert_int_eq(vitqc_command(arg, N(arg), &host), VITQC_GOOD);
  want = slurp(path, &n_file);
  ck_assert_int_eq(vitqc_compile(&in_memory, option, 4, NULL, &out), VITQC_GOOD);
  ck_assert(same(&out, want, n_file));
  ck_assert(h.n_error == 0 && h.n_live == 0 && h.n_step > 10);
  ck_assert_str_eq(h.log, "");
  vitqc_free(&out);
  free(want);
  free(model);
  unlink(path);
}
END_TEST

START_TEST(shared_object_in_memory) {
  const char *option[] = {"-O1", "--cpu=x86-64"};
  vitqc_source from = file(TINY);
  vitqc_buffer out;
  ck_assert_int_eq(vitqc_compile(&from, option, 2, NULL, &out), VITQC_GOOD);
  ck_assert(out.size > 4 && memcmp(out.data, "\177ELF", 4) == 0);
  vitqc_free(&out);
}
END_TEST

// Text goes where standard output would, or into the buffer.
START_TEST(texts) {
  heard h = {0};
  vitqc_host host = host_of(&h);
  const char *option[] = {"-O1", "--emit=ir"}, *arg[] = {TINY, "-O1", "--emit=ir", "-o", "-"};
  vitqc_source from = file(TINY);
  vitqc_buffer out;
  ck_assert_int_eq(vitqc_command(arg, N(arg), &host), VITQC_GOOD);
  ck_assert(h.n_out > 100 && memcmp(h.out, "vq 1\n", 5) == 0);
  size_t n = h.n_out;
  ck_assert_int_eq(vitqc_compile(&from, option, 2, &host, &out), VITQC_GOOD);
  ck_assert(same(&out, h.out, n) && h.n_out == n);
  // What came out is a model.
  vitqc_source again = bytes("", out.data, out.size);
  vitqc_buffer so;
  const char *rest[] = {"--passes=dce", "--emit=ir", "--stats", "-v"};
  ck_assert_int_eq(vitqc_compile(&again, rest, 4, &host, &so), VITQC_GOOD);
  ck_assert(strstr(h.log, "compiled in"));
  vitqc_free(&so);
  vitqc_free(&out);
}
END_TEST

// ---- what is wrong ----------------------------------------------------------------

static heard fails(const char *path, const char *text, const char *option, int code) {
  heard h = {0};
  vitqc_host host = host_of(&h);
  const char *options[] = {"--emit=ir", "-O1", option};
  vitqc_source from = bytes(path, text, strlen(text));
  vitqc_buffer out = {&out, 1};
  ck_assert_int_eq(vitqc_compile(&from, options, option ? 3 : 2, &host, &out), code);
  ck_assert(!out.data && !out.size && h.n_live == 0 && h.n_error > 0);
  return h;
}

START_TEST(diagnostics) {
  heard h = fails("a/b.vq", "vq 1\nfunc @main(%x: tensor<2xf33>) {\n", NULL, VITQC_ERROR);
  ck_assert_str_eq(h.code, "parse");
  ck_assert_str_eq(h.path, "a/b.vq");
  ck_assert(h.line == 2 && h.column > 10);
  ck_assert_ptr_nonnull(strstr(h.place, "a/b.vq:2:"));
  h = fails(NULL, "vq 1\nnonsense\n", NULL, VITQC_ERROR);
  ck_assert_str_eq(h.path, "model.vq");
  h = fails("", "nothing of ours", NULL, VITQC_ERROR);
  ck_assert_str_eq(h.code, "not-onnx");
  h = fails(NULL, "vq 1\nconst @w : tensor<32, f32> = blob<\"passwd\", offset = 0x0, sha256 = "
            "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\">\n", NULL,
            VITQC_ERROR);
  ck_assert_ptr_nonnull(strstr(h.text, "no file"));
  h = fails(NULL, "vq 1\n", "--emit=jpeg", VITQC_USAGE);
  ck_assert_str_eq(h.code, "option");
  ck_assert_str_eq(h.place, "vitqc");
  h = fails(NULL, "vq 1\n", "other.onnx", VITQC_USAGE);
  ck_assert_ptr_nonnull(strstr(h.text, "other.onnx"));
  h = fails(NULL, "vq 1\n", "@file", VITQC_USAGE);
  h = fails(NULL, "vq 1\n", "-ofile", VITQC_USAGE);
  h = fails(NULL, "vq 1\n", "--run-reproducer=x", VITQC_USAGE);
}
END_TEST

START_TEST(wrong_calls) {
  vitqc_source none = {sizeof none, NULL, NULL, 0}, from = file(TINY);
  vitqc_source missing = file("/nowhere/model.onnx");
  vitqc_buffer out;
  ck_assert_int_eq(vitqc_compile(NULL, NULL, 0, NULL, &out), VITQC_USAGE);
  ck_assert_int_eq(vitqc_compile(&none, NULL, 0, NULL, &out), VITQC_USAGE);
  ck_assert_int_eq(vitqc_compile(&from, NULL, 0, NULL, NULL), VITQC_USAGE);
  ck_assert_int_eq(vitqc_compile(&missing, NULL, 0, NULL, &out), VITQC_ERROR);
  ck_assert_int_eq(vitqc_command(NULL, 0, NULL), VITQC_USAGE);
  vitqc_free(NULL);
}
END_TEST

// A caller that was built when vitqc_host ended with `message`.
START_TEST(older_caller) {
  heard h = {0};
  vitqc_host host = host_of(&h);
  host.size = offsetof(vitqc_host, print);
  const char *arg[] = {"--version"}, *bad[] = {"--vershun"};
  ck_assert_int_eq(vitqc_command(arg, 1, &host), VITQC_GOOD);
  ck_assert_uint_eq(h.n_out, 0);
  ck_assert_int_eq(vitqc_command(bad, 1, &host), VITQC_USAGE);
  ck_assert_uint_eq(h.n_error, 1);
}
END_TEST

// ---- stopping, faults, threads ----------------------------------------------------

static unsigned count_files(const char *folder) {
  unsigned n = 0;
  DIR *dir = opendir(folder);
  while (readdir(dir)) n++;
  closedir(dir);
  return n - 2;
}

START_TEST(stopping) {
  static const char *const at[] = {"recompose", "synthesize", "code"};
  char folder[] = "/tmp/test_library.XXXXXX", path[64];
  ck_assert_ptr_nonnull(mkdtemp(folder));
  snprintf(path, sizeof path, "%s/x.so", folder);
  setenv("TMPDIR", folder, 1);
  for (unsigned i = 0; i < 2 * N(at); i++) {
    heard h = {.stop_at = at[i / 2]};
    vitqc_host host = host_of(&h);
    vitqc_buffer out;
    const char *level = i / 2 == 1 ? "-O2" : "-O1";
    const char *option[] = {level, "--threads=2", "--calib-steps=2", "-o", path};
    vitqc_source from = file(FASHION);
    bool to_file = i % 2;
    ck_assert_int_eq(vitqc_compile(&from, option, to_file ? 5 : 3, &host,
                                   to_file ? NULL : &out), VITQC_INTERRUPTED);
    ck_assert_str_eq(h.code, "interrupted");
    ck_assert(h.n_live == 0 && (to_file || !out.data));
    ck_assert_uint_eq(count_files(folder), 0);
  }
  unsetenv("TMPDIR");
  rmdir(folder);
}
END_TEST

typedef struct worker {
  const char *option[3];
  int code;
  heard h;
  vitqc_buffer out;
} worker;

static void *work(void *user) {
  worker *w = user;
  vitqc_host host = host_of(&w->h);
  vitqc_source from = file(TINY);
  for (int i = 0; i < 3; i++) {
    vitqc_free(&w->out);
    w->code = vitqc_compile(&from, w->option, 3, &host, &w->out);
  }
  return NULL;
}

// Calls side by side know nothing of each other.
START_TEST(threads) {
  static worker w[] = {{.option = {"-O1", "--emit=obj", "--threads=2"}},
                       {.option = {"-O0", "--emit=asm", "--threads=1"}},
                       {.option = {"-O1", "--emit=ir", "--passes=nosuch"}},
                       {.option = {"-O1", "--emit=obj", "--threads=2"}}};
  pthread_t thread[N(w)];
  for (unsigned i = 0; i < N(w); i++)
    ck_assert_int_eq(pthread_create(&thread[i], NULL, work, &w[i]), 0);
  for (unsigned i = 0; i < N(w); i++) pthread_join(thread[i], NULL);
  for (unsigned i = 0; i < N(w); i++) {
    bool bad = i == 2;
    ck_assert_int_eq(w[i].code, bad ? VITQC_ERROR : VITQC_GOOD);
    ck_assert_uint_eq(w[i].h.n_error, bad ? 3 : 0);
    ck_assert_int_eq(w[i].h.n_live, 0);
  }
  ck_assert_str_eq(w[2].h.code, "pass");
  ck_assert(same(&w[0].out, w[3].out.data, w[3].out.size));
  for (unsigned i = 0; i < N(w); i++) vitqc_free(&w[i].out);
}
END_TEST

#ifndef __SANITIZE_ADDRESS__
#if defined __has_feature
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__
#endif
#endif
#endif

#ifndef __SANITIZE_ADDRESS__
static rlim_t memory_in_use(void) {
  unsigned long pages = 0;
  FILE *f = fopen("/proc/self/statm", "r");
  if (!f || fscanf(f, "%lu", &pages) != 1) abort();
  fclose(f);
  return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

// 0, or the number of what was not as expected.
static int starve(void) {
  static heard h;
  vitqc_host host = host_of(&h);
  static const char large[] =
      "vq 1\nconst @w : tensor<4096x4096, f32> = random<seed = 7, std = 0.1>\n"
      "func @main(%x: tensor<1x4096, f32>) -> (y: tensor<1x4096, f32>) {\n"
      "  %y = linear %x, @w : tensor<1x4096, f32>\n  return %y\n}\n";
  const char *option[] = {"-O1", "--emit=ir"};
  vitqc_source from = bytes(NULL, large, sizeof large - 1), small = file(TINY);
  vitqc_buffer out;
  struct rlimit before, limit;
  getrlimit(RLIMIT_AS, &before);
  limit = before;
  limit.rlim_cur = memory_in_use() + (1 << 20);
  setrlimit(RLIMIT_AS, &limit);
  int code = vitqc_compile(&from, option, 2, &host, &out);
  setrlimit(RLIMIT_AS, &before);
  if (code != VITQC_FAULT || out.data) return 1;
  if (h.n_error && strcmp(h.code, "fault") != 0) return 2;
  if (vitqc_compile(&small, option, 2, &host, &out) != VITQC_GOOD) return 3;
  return 0;
}

// Without memory the call ends, not the process.
START_TEST(no_memory) {
  int status;
  pid_t pid = fork();
  if (pid == 0) _exit(starve());
  ck_assert_int_eq(waitpid(pid, &status, 0), pid);
  ck_assert(WIFEXITED(status));
  ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST
#endif

// The process stays what it was.
START_TEST(leaves_no_trace) {
  static const int number[] = {SIGINT, SIGTERM, SIGHUP, SIGABRT, SIGSEGV, SIGCHLD, SIGPIPE};
  const char *option[] = {"-O1", "--cpu=x86-64"};
  struct sigaction before[N(number)], now;
  vitqc_source from = file(TINY);
  vitqc_buffer out;
  for (unsigned i = 0; i < N(number); i++) sigaction(number[i], NULL, &before[i]);
  ck_assert_int_eq(vitqc_compile(&from, option, 2, NULL, &out), VITQC_GOOD);
  vitqc_free(&out);
  for (unsigned i = 0; i < N(number); i++) {
    sigaction(number[i], NULL, &now);
    ck_assert(now.sa_handler == before[i].sa_handler);
  }
  ck_assert_str_eq(setlocale(LC_ALL, NULL), "C");
  ck_assert(uselocale((locale_t)0) == LC_GLOBAL_LOCALE);
}
END_TEST

// Numbers have a point, whatever the caller's locale writes.
START_TEST(other_locale) {
  static const char *const name[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE.utf8"};
  const char *option[] = {"-O1", "--emit=ir", "--preprocess=scale=0.5 mean=0.25 std=1.5"};
  vitqc_source from = file(TINY);
  vitqc_buffer plain, other;
  unsigned i = 0;
  while (i < N(name) && !setlocale(LC_ALL, name[i])) i++;
  if (i == N(name)) {
    puts("skipped: no locale with a decimal comma is installed");
    return;
  }
  int code = vitqc_compile(&from, option, 3, NULL, &other);
  setlocale(LC_ALL, "C");
  ck_assert_int_eq(code, VITQC_GOOD);
  ck_assert_int_eq(vitqc_compile(&from, option, 3, NULL, &plain), VITQC_GOOD);
  ck_assert(same(&plain, other.data, other.size));
  vitqc_free(&plain);
  vitqc_free(&other);
}
END_TEST

int main(void) {
  Suite *s = suite_create("library");
  TCase *t = tcase_create("library");
  tcase_add_test(t, versions);
  tcase_add_test(t, ways_agree);
  tcase_add_test(t, shared_object_in_memory);
  tcase_add_test(t, texts);
  tcase_add_test(t, diagnostics);
  tcase_add_test(t, wrong_calls);
  tcase_add_test(t, older_caller);
  tcase_add_test(t, stopping);
  tcase_add_test(t, threads);
#ifndef __SANITIZE_ADDRESS__
  tcase_add_test(t, no_memory);
#endif
  tcase_add_test(t, leaves_no_trace);
  tcase_add_test(t, other_locale);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
