// Running a test command on a module.
#include "judge.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "temporary.h"
#include "vq/text.h"

extern char **environ;

vq_status judge_open(driver *d, const char *shell, judge *out) {
  *out = (judge){.d = d, .shell = shell};
  if (temporary_folder(d, &out->folder)) {
    vq_strbuf_release(&out->folder);
    return VQ_ERR;
  }
  vq_strbuf_printf(&out->file, "%s/module.vq", out->folder.p);
  vq_strbuf_printf(&out->data, "%sw", out->file.p);
  temporary_add(d, out->file.p);
  temporary_add(d, out->data.p);
  return VQ_OK;
}

void judge_close(judge *j) {
  if (!j->folder.p) return;
  unlink(j->file.p);
  unlink(j->data.p);
  rmdir(j->folder.p);
  temporary_drop(j->d, j->data.p);
  temporary_drop(j->d, j->file.p);
  temporary_drop(j->d, j->folder.p);
  vq_strbuf_release(&j->data);
  vq_strbuf_release(&j->file);
  vq_strbuf_release(&j->folder);
}

// The file reaches the shell as "$1": its name is not part of the script.
static void add_script(vq_strbuf *out, const char *shell) {
  bool named = false;
  for (const char *p = shell; *p; p++) {
    if (p[0] == '{' && p[1] == '}') {
      vq_strbuf_puts(out, "\"$1\"");
      named = true;
      p++;
    } else {
      vq_strbuf_putc(out, *p);
    }
  }
  if (!named) vq_strbuf_puts(out, " \"$1\"");
}

// Silent unless -v: what the command prints is of no interest a hundred times.
static int spawn_shell(const judge *j, char *script, pid_t *pid) {
  char *argv[] = {"sh", "-c", script, "sh", j->file.p, NULL};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  if (!opt_given(&j->d->opt, OPT_verbose)) {
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  }
  int code = posix_spawn(pid, "/bin/sh", &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  return code;
}

static vq_status run_shell(judge *j, char *script, int *status) {
  enum { NOT_EXECUTABLE = 126, NOT_FOUND = 127 };
  pid_t pid;
  int code = spawn_shell(j, script, &pid);
  if (!code)
    while (waitpid(pid, status, 0) < 0 && errno == EINTR) continue;
  vq_loc loc = at_path(j->d, "vitqc");
  if (code)
    return vq_error(&j->d->diag, VQ_E_io, loc, "cannot run /bin/sh: %s", strerror(code));
  bool absent = WIFEXITED(*status) && (WEXITSTATUS(*status) == NOT_FOUND ||
                                       WEXITSTATUS(*status) == NOT_EXECUTABLE);
  if (!absent) return VQ_OK;
  return vq_error(&j->d->diag, VQ_E_io, loc,
                  "the test command cannot be run (exit code %d): %s", WEXITSTATUS(*status),
                  j->shell);
}

vq_status judge_module(judge *j, const vq_module *m, bool *passed) {
  if (vq_save(m, j->file.p, VQ_LIT(""), 0, NULL, &j->d->diag)) return VQ_ERR;
  vq_strbuf script = {0};
  int status = 0;
  add_script(&script, j->shell);
  vq_status s = run_shell(j, script.p, &status);
  *passed = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  vq_strbuf_release(&script);
  return s;
}
