// Spawning the linker, without a shell, and reporting what it says.
#include "link.h"

#include <errno.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>

#include "vq/strbuf.h"

extern char **environ;

// Everything but the query and entry points stays hidden, addresses are bound
// and made read-only at load time, and nothing depends on time or place.
static const char *const shared_args[] = {
    "-Wl,--exclude-libs,libvitq_rt.a", "-Wl,-z,relro", "-Wl,-z,now",
    "-Wl,-z,noexecstack", "-Wl,-z,noseparate-code", "-Wl,--build-id=none", "-Wl,--hash-style=gnu",
    "-Wl,--gc-sections", "-s", "-Wl,--as-needed", "-lm"};

static void describe_job(vq_strbuf *line, const char *const *argv) {
  for (unsigned i = 0; argv[i]; i++) {
    const char *q = argv[i][strcspn(argv[i], " \t\"'\\$`")] ? "'" : "";
    vq_strbuf_printf(line, "%s%s%s%s", i ? " " : "", q, argv[i], q);
  }
}

// Reads `fd` to its end, keeping the beginning.
static void read_all(int fd, vq_strbuf *out) {
  char buf[1024];
  for (;;) {
    ssize_t n = read(fd, buf, sizeof buf);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    if (out->n < 8 * sizeof buf) vq_strbuf_add(out, buf, (size_t)n);
  }
}

// Starts argv with stdout and stderr sent to `fd`; returns an errno code.
static int spawn(const char *const *argv, int fd, pid_t *pid) {
  posix_spawn_file_actions_t act;
  int code = posix_spawn_file_actions_init(&act);
  if (code) return code;
  posix_spawn_file_actions_adddup2(&act, fd, 1);
  posix_spawn_file_actions_adddup2(&act, fd, 2);
  code = posix_spawnp(pid, argv[0], &act, NULL, (char *const *)argv, environ);
  posix_spawn_file_actions_destroy(&act);
  return code;
}

static vq_status cannot_run(const char *program, int code, vq_diag *diag) {
  vq_error(diag, VQ_E_backend, (vq_loc){0}, "cannot run the linker '%s': %s",
           program, strerror(code));
  if (code == ENOENT)
    vq_note(diag, (vq_loc){0},
            "a shared object needs a C compiler driver such as gcc or clang");
  return VQ_ERR;
}

static vq_status failed(const char *program, int status, const vq_strbuf *said,
                        vq_diag *diag) {
  if (WIFSIGNALED(status))
    vq_error(diag, VQ_E_backend, (vq_loc){0}, "the linker '%s' died of signal %d",
             program, WTERMSIG(status));
  else
    vq_error(diag, VQ_E_backend, (vq_loc){0},
             "the linker '%s' ended with exit code %d", program,
             WEXITSTATUS(status));
  if (said->n) vq_note(diag, (vq_loc){0}, "it said: %s", vq_strbuf_z(said));
  return VQ_ERR;
}

static vq_status run(const char *const *argv, vq_diag *diag) {
  int end[2];
  pid_t pid;
  if (pipe2(end, O_CLOEXEC)) return cannot_run(argv[0], errno, diag);
  int code = spawn(argv, end[1], &pid), status = 0;
  close(end[1]);
  vq_strbuf said = {0};
  if (!code) read_all(end[0], &said);
  close(end[0]);
  if (code) return cannot_run(argv[0], code, diag);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  vq_status st = status ? failed(argv[0], status, &said, diag) : VQ_OK;
  vq_strbuf_release(&said);
  return st;
}

vq_status vq_link(vq_emit_kind kind, const char *archive, const char *path,
                  const vq_backend_options *opt, vq_diag *diag) {
  const char *argv[10 + VQ_COUNT(shared_args)];
  unsigned n = 0;
  argv[n++] = opt->linker ? opt->linker : "cc";
  argv[n++] = kind == VQ_EMIT_SO ? "-shared" : "-r";
  argv[n++] = kind == VQ_EMIT_SO ? "-nostartfiles" : "-nostdlib";
  argv[n++] = "-o";
  argv[n++] = path;
  argv[n++] = "-Wl,--whole-archive";
  argv[n++] = archive;
  argv[n++] = "-Wl,--no-whole-archive";
  if (kind == VQ_EMIT_SO) {
    argv[n++] = opt->runtime_lib;
    for (unsigned i = 0; i < VQ_COUNT(shared_args); i++)
      argv[n++] = shared_args[i];
  }
  argv[n] = NULL;
  if ((opt->verbose || opt->dry_run) && opt->job) {
    vq_strbuf line = {0};
    describe_job(&line, argv);
    opt->job(opt->user, vq_strbuf_view(&line));
    vq_strbuf_release(&line);
  }
  return opt->dry_run ? VQ_OK : run(argv, diag);
}
