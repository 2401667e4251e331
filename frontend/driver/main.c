// vitqc: compiler for vision transformers.
#include <stdlib.h>
#include <unistd.h>

#include "driver.h"
#include "recipe.h"
#include "reproducer.h"
#include "temporary.h"
#include "vq/pass.h"

static void print_message(void *user, const vq_ctx *ctx, const vq_message *m) {
  const driver *d = user;
  if (m->severity == VQ_WARNING && opt_given(&d->opt, OPT_quiet)) return;
  vq_strbuf text = {0};
  vq_message said = *m;
  said.loc = recipe_place(d, m->loc);
  vq_message_render(&text, ctx, &said, d->color);
  fputs(vq_strbuf_z(&text), stderr);
  vq_strbuf_release(&text);
}

static bool wants_color(bool terminal) {
  const char *term = getenv("TERM");
  return terminal && !getenv("NO_COLOR") && term && strcmp(term, "dumb") != 0;
}

static vq_status load_plugins(driver *d) {
  for (unsigned i = 0; i < d->opt.n_list[OPT_plugin]; i++)
    if (vq_plugin_load(d->ctx, d->opt.list[OPT_plugin][i], &d->diag)) return VQ_ERR;
  return VQ_OK;
}

static int run_command(driver *d) {
  if (load_plugins(d)) return EXIT_ERROR;
  if (do_lists(d)) return EXIT_GOOD;
  if (opt_given(&d->opt, OPT_run_reproducer) && reproducer_take(d)) return EXIT_ERROR;
  switch (d->opt.command->bit) {
    case CMD_RUN: return do_run(d);
    case CMD_EVAL: return do_eval(d);
    case CMD_BENCH: return do_bench(d);
    case CMD_INSPECT: return do_inspect(d);
    case CMD_DIFF: return do_diff(d);
    case CMD_VIEW: return do_view(d);
    case CMD_REDUCE: return do_reduce(d);
    case CMD_MERGE: return do_merge(d);
    default: return do_compile(d);
  }
}

int main(int argc, char **argv) {
  driver d = {.ctx = vq_ctx_create(), .terminal = isatty(STDERR_FILENO)};
  d.color = wants_color(d.terminal);
  vq_diag_init(&d.diag, d.ctx, print_message, &d);
  d.diag.max_error = 20;
  temporary_on_signals();
  int code = EXIT_USAGE;
  if (!options_parse(argc, argv, &d.arena, &d.diag, &d.opt))
    code = run_command(&d);
  if (fflush(stdout) != 0 && code == EXIT_GOOD) {
    perror("vitqc: cannot write to standard output");
    code = EXIT_ERROR;
  }
  vq_arena_release(&d.arena);
  vq_ctx_destroy(d.ctx);
  return code;
}
