// vitqc diff and vitqc view.
#include <stdlib.h>

#include "load.h"
#include "vq/inspect.h"
#include "write.h"

// ---- diff -------------------------------------------------------------------

static void print_count(FILE *out, unsigned n, const char *what, bool first) {
  if (n) fprintf(out, "%s%u %s", first ? "" : ", ", n, what);
}

static void print_difference(const driver *d, const vq_strbuf *text, vq_diff_count n) {
  if (opt_given(&d->opt, OPT_quiet)) return;
  fprintf(d->out, "--- %s\n+++ %s\n%s", d->opt.file[0], d->opt.file[1], vq_strbuf_z(text));
  print_count(d->out, n.removed, "removed", true);
  print_count(d->out, n.added, "added", !n.removed);
  print_count(d->out, n.changed, "changed", !n.removed && !n.added);
  fputc('\n', d->out);
}

// In a context of its own: both may give a name to different things.
static vq_status load_other(const driver *d, driver *other, loaded *out) {
  *other = *d;
  other->ctx = vq_ctx_create();
  other->arena = (vq_arena){0};
  vq_diag_init(&other->diag, other->ctx, d->diag.sink, d->diag.user);
  return load_model(other, d->opt.file[1], out);
}

// 0: the same, 1: not, 2: could not tell, as diff(1) does.
int do_diff(driver *d) {
  if (d->opt.n_file != 2)
    return usage_error(d, "expected two models to compare, found %u", d->opt.n_file);
  loaded a, b;
  if (load_model(d, d->opt.file[0], &a)) return EXIT_USAGE;
  driver other;
  int code = EXIT_USAGE;
  if (!load_other(d, &other, &b)) {
    vq_strbuf text = {0};
    vq_diff_count n = vq_diff(&text, a.m, b.m);
    code = n.removed || n.added || n.changed ? EXIT_ERROR : EXIT_GOOD;
    if (code) print_difference(d, &text, n);
    vq_strbuf_release(&text);
    loaded_release(&b);
  }
  vq_arena_release(&other.arena);
  vq_ctx_destroy(other.ctx);
  loaded_release(&a);
  return code;
}

// ---- view -------------------------------------------------------------------

static vq_status select_part(driver *d, vq_module *m, vq_op_list *out) {
  const options *o = &d->opt;
  if (!opt_given(o, OPT_around))
    return vq_select_block(m, (unsigned)strtoul(opt_text(o, OPT_block), NULL, 10),
                           &d->diag, out);
  const char *name = opt_text(o, OPT_around);
  if (*name == '%' || *name == '@') name++;
  return vq_select_around(m, vq_str_of(name), (unsigned)opt_count(o, OPT_depth), &d->diag,
                          out);
}

static vq_status view(driver *d, vq_module *m) {
  vq_op_list part = {0};
  vq_status s = select_part(d, m, &part);
  if (!s) s = vq_keep_only(m, &part, &d->diag);
  vq_op_list_release(&part);
  if (s) return s;
  const char *path = opt_text(&d->opt, OPT_part);
  bool dot = strcmp(opt_text(&d->opt, OPT_part_emit), "dot") == 0;
  return dot ? write_dot(d, m, path) : write_ir(d, m, path);
}

static bool is_number(const char *text) {
  size_t n = strlen(text);
  return n && n <= 6 && strspn(text, "0123456789") == n;
}

int do_view(driver *d) {
  const options *o = &d->opt;
  if (o->n_file != 1) return usage_error(d, "expected one model, found %u", o->n_file);
  if (opt_given(o, OPT_block) == opt_given(o, OPT_around))
    return usage_error(d, "which part: give either --block or --around");
  if (opt_given(o, OPT_block) && !is_number(opt_text(o, OPT_block)))
    return usage_error(d, "option '--block' is '%s', expected a number from 0",
                       opt_text(o, OPT_block));
  loaded l;
  if (load_model(d, o->file[0], &l)) return EXIT_ERROR;
  vq_status s = view(d, l.m);
  loaded_release(&l);
  return exit_code(s);
}
