// Imports and canonicalises each model named on standard input, in a process
// of its own, and reports what it took:
//
//   each FOLDER < names
//
// One line a model: its name, "exit N" or "signal N", CPU milliseconds, peak
// memory in KiB. What the compiler said goes to FOLDER/NAME.log. Thousands of
// small files are checked this way in seconds; the driver, which loads all of
// LLVM first, sees a sample of them (hostile.py).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pipelines.h"
#include "vq/onnx.h"
#include "vq/pass.h"
#include "vq/strbuf.h"

enum { WALL_SECONDS = 60, CPU_SECONDS = 30 };

static void print(void *user, const vq_ctx *ctx, const vq_message *m) {
  vq_strbuf text = {0};
  (void)user;
  vq_message_render(&text, ctx, m, false);
  fputs(vq_strbuf_z(&text), stderr);
  vq_strbuf_release(&text);
}

// What -O1 does before code is generated.
static int compile(const char *path) {
  const char *missing, *passes = level_pipeline("1", &missing);
  vq_ctx *ctx = vq_ctx_create();
  vq_diag diag;
  vq_module *m = NULL;
  vq_pipeline *p = NULL;
  vq_onnx_options opt = {.batch = 1};
  vq_diag_init(&diag, ctx, print, NULL);
  vq_status s = vq_pipeline_parse(ctx, vq_str_of(passes), &diag, &p);
  if (!s) s = vq_onnx_import(ctx, path, &opt, &diag, &m, NULL);
  if (!s)
    s = vq_pipeline_run(p, m, &diag, &(vq_instrument){.verify_each = true},
                        NULL, NULL);
  if (m) vq_module_destroy(m);
  if (p) vq_pipeline_destroy(p);
  vq_ctx_destroy(ctx);
  return s ? 1 : 0;
}

static int child(const char *folder, const char *name) {
  vq_strbuf path = {0}, log = {0};
  vq_strbuf_printf(&path, "%s/%s", folder, name);
  vq_strbuf_printf(&log, "%s.log", path.p);
  if (!freopen(log.p, "w", stderr)) return 99;
  setrlimit(RLIMIT_CPU, &(struct rlimit){CPU_SECONDS, CPU_SECONDS});
  setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
  alarm(WALL_SECONDS);
  int code = compile(path.p);
  vq_strbuf_release(&path);
  vq_strbuf_release(&log);
  return code;
}

static long milliseconds(struct timeval t) {
  return t.tv_sec * 1000 + t.tv_usec / 1000;
}

int main(int argc, char **argv) {
  char name[256];
  if (argc != 2) return 2;
  while (fgets(name, sizeof name, stdin)) {
    name[strcspn(name, "\n")] = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) exit(child(argv[1], name));
    int status;
    struct rusage use;
    if (pid < 0 || wait4(pid, &status, 0, &use) != pid) return 2;
    bool dead = WIFSIGNALED(status);
    printf("%s %s %d %ld %ld\n", name, dead ? "signal" : "exit",
           dead ? WTERMSIG(status) : WEXITSTATUS(status),
           milliseconds(use.ru_utime) + milliseconds(use.ru_stime),
           use.ru_maxrss);
  }
  return 0;
}
