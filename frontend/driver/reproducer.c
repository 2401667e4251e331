// Writing and replaying reproducers.
//
// A reproducer is a dump from before the fault. Its first line is a comment with the
// options to run it with. These come from a file that somebody else may have made, so
// only options are taken from it that neither write files nor load code; a plugin has
// to be named on the command line again.
#include "reproducer.h"

#include <stdlib.h>

#include "response.h"
#include "vq/image.h"
#include "vq/pass.h"

static const opt_id kept[] = {OPT_passes, OPT_verify_each, OPT_calib,  OPT_calib_size,
                              OPT_calib_steps, OPT_seed,   OPT_emit,   OPT_cpu,
                              OPT_target, OPT_symbol,      OPT_generic};

static bool is_kept(opt_id id) {
  for (size_t i = 0; i < VQ_COUNT(kept); i++)
    if (kept[i] == id) return true;
  return false;
}

static const opt_row *row_of(opt_id id) {
  unsigned n;
  const opt_row *r = opt_table(&n);
  for (unsigned i = 0; i < n; i++)
    if (r[i].id == id && r[i].kind != KIND_SET) return &r[i];
  return NULL;
}

// ---- writing ----------------------------------------------------------------

const char *reproducer_path(driver *d, const char *output) {
  const char *path = opt_text(&d->opt, OPT_reproducer);
  if (path || d->to_memory) return path;
  vq_strbuf text = {0};
  bool is_file = strcmp(output, "-") != 0 && strncmp(output, "/dev/", 5) != 0;
  vq_strbuf_printf(&text, "%s.repro.vq", is_file ? output : "vitqc");
  path = vq_arena_str(&d->arena, vq_strbuf_view(&text)).p;
  vq_strbuf_release(&text);
  return path;
}

static void add_option(vq_strbuf *out, const opt_row *r, const char *value) {
  vq_strbuf_printf(out, "%s%s", out->n ? " " : "", r->spelling);
  if (r->kind == KIND_FLAG) return;
  vq_strbuf_puts(out, "='");
  for (const char *p = value; *p; p++) {
    if (*p == '\'' || *p == '\\') vq_strbuf_putc(out, '\\');
    vq_strbuf_putc(out, *p == '\n' || *p == '\r' ? ' ' : *p);
  }
  vq_strbuf_putc(out, '\'');
}

vq_str reproducer_options(driver *d) {
  vq_strbuf text = {0};
  for (size_t i = 0; i < VQ_COUNT(kept); i++) {
    const char *value = d->opt.value[kept[i]];
    if (kept[i] == OPT_passes || kept[i] == OPT_emit || !value) continue;
    add_option(&text, row_of(kept[i]), value);
  }
  vq_str s = vq_arena_str(&d->arena, vq_strbuf_view(&text));
  vq_strbuf_release(&text);
  return s;
}

// ---- faults of the backend --------------------------------------------------

typedef struct armed {
  driver *d;
  const vq_module *m;
  const char *path;
} armed;

static void on_bug(void *user) {
  const armed *a = user;
  vq_strbuf words = {0};
  // Linking adds nothing to a fault, and could not go to /dev/null.
  const char *emit = opt_text(&a->d->opt, OPT_emit);
  bool linked = strcmp(emit, "so") == 0 || strcmp(emit, "obj") == 0;
  add_option(&words, row_of(OPT_emit), linked ? "archive" : emit);
  vq_strbuf_printf(&words, " %.*s", VQ_FMT(reproducer_options(a->d)));
  if (vq_reproducer_save(a->m, a->path, VQ_LIT(""), vq_strbuf_view(&words), &a->d->diag))
    vq_note(&a->d->diag, (vq_loc){0}, "no reproducer was written");
  vq_strbuf_release(&words);
}

void reproducer_arm(driver *d, const vq_module *m, const char *output) {
  const char *path = reproducer_path(d, output);
  if (!path) return;
  armed *a = VQ_NEW(&d->arena, armed);
  *a = (armed){d, m, path};
  vq_bug_hook(on_bug, a);
}

void reproducer_disarm(void) { vq_bug_hook(NULL, NULL); }

// ---- replaying --------------------------------------------------------------

static vq_status first_line(driver *d, const char *path, vq_str *out) {
  static const char mark[] = "// vitqc: ";
  uint8_t *text;
  size_t n;
  if (vq_read_file(path, &d->diag, &text, &n)) return VQ_ERR;
  const char *end = memchr(text, '\n', n);
  size_t skip = sizeof mark - 1;
  bool found = end && (size_t)(end - (char *)text) >= skip && !memcmp(text, mark, skip);
  if (found)
    *out = vq_arena_str(&d->arena, (vq_str){(char *)text + skip,
                                            (size_t)(end - (char *)text) - skip});
  free(text);
  if (found) return VQ_OK;
  return vq_error(&d->diag, VQ_E_option, at_path(d, path),
                  "expected a reproducer, whose first line is '%s--passes=...'", mark);
}

// What the file may say of all that can be said.
static vq_status check_options(driver *d, const char *path, const options *o) {
  for (unsigned id = 0; id < N_OPT; id++)
    if (o->value[id] && !is_kept((opt_id)id))
      return vq_error(&d->diag, VQ_E_option, at_path(d, path),
                      "a reproducer cannot give '%s': give it on the command line, if you "
                      "trust the file", row_of((opt_id)id)->spelling);
  if (o->n_file || o->command->bit != CMD_COMPILE)
    return vq_error(&d->diag, VQ_E_option, at_path(d, path),
                    "a reproducer cannot name files or commands");
  return VQ_OK;
}

static vq_status read_options(driver *d, const char *path, options *out) {
  vq_str line;
  unsigned n;
  if (first_line(d, path, &line)) return VQ_ERR;
  const char **word = response_split(line, &d->arena, &n);
  char **argv = VQ_NEW_N(&d->arena, char *, n + 2);
  for (unsigned i = 0; i < n; i++) {
    argv[i + 1] = (char *)word[i];
    if (word[i][0] == '-') continue;  // no response files from here
    return vq_error(&d->diag, VQ_E_option, at_path(d, path),
                    "a reproducer cannot name files or commands, found '%s'", word[i]);
  }
  if (options_parse((int)n + 1, argv, &d->arena, &d->diag, out)) return VQ_ERR;
  return check_options(d, path, out);
}

vq_status reproducer_take(driver *d) {
  const char *path = opt_text(&d->opt, OPT_run_reproducer);
  options from;
  if (d->opt.n_file)
    return vq_error(&d->diag, VQ_E_usage, at_path(d, "vitqc"),
                    "--run-reproducer names the model, found '%s', too", d->opt.file[0]);
  if (read_options(d, path, &from)) return VQ_ERR;
  for (size_t i = 0; i < VQ_COUNT(kept); i++)
    if (!d->opt.value[kept[i]]) d->opt.value[kept[i]] = from.value[kept[i]];
  const char **file = VQ_NEW(&d->arena, const char *);
  *file = path;
  d->opt.file = file;
  d->opt.n_file = 1;
  if (d->opt.value[OPT_output]) return VQ_OK;
  bool code = d->opt.value[OPT_emit] != NULL;
  if (!code) d->opt.value[OPT_emit] = "ir";
  d->opt.value[OPT_output] = code ? "/dev/null" : "-";
  return VQ_OK;
}
