// libvitqc: the entry points, around the driver.
#include <locale.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "driver.h"
#include "recipe.h"
#include "reproducer.h"
#include "temporary.h"
#include "vq/backend.h"
#include "vq/image.h"
#include "vq/pass.h"

const char *vitqc_version(void) { return VITQC_VERSION; }
const char *vitqc_llvm_version(void) { return vq_backend_version(); }
uint32_t vitqc_api_version(void) { return VITQC_API_VERSION; }

void vitqc_free(vitqc_buffer *buffer) {
  if (!buffer) return;
  free(buffer->data);
  *buffer = (vitqc_buffer){0};
}

// ---- what is said ---------------------------------------------------------------

static const char *text_of(const vq_strbuf *s) { return s->p ? s->p : ""; }

static void pass_message(void *user, const vq_ctx *ctx, const vq_message *m) {
  const driver *d = user;
  if (!d->host.message) return;
  if (m->severity == VQ_WARNING && opt_given(&d->opt, OPT_quiet)) return;
  vq_strbuf place = {0}, path = {0}, text = {0}, rendered = {0};
  vq_message said = *m;
  said.loc = recipe_place(d, m->loc);
  vq_loc_info at = vq_loc_decode(ctx, said.loc);
  vq_loc_render(&place, ctx, said.loc);
  vq_strbuf_escaped(&path, at.path);
  vq_message_text(&text, m);
  vq_message_render(&rendered, ctx, &said, d->host.flags & VITQC_COLOR);
  bool is_text = at.kind == VQ_LOC_TEXT;
  vitqc_message out = {.size = sizeof out,
                       .severity = (uint32_t)m->severity,
                       .code = m->severity == VQ_NOTE ? "" : vq_code_name(m->code),
                       .place = text_of(&place),
                       .text = text_of(&text),
                       .path = text_of(&path),
                       .line = is_text ? (uint32_t)at.a : 0,
                       .column = is_text ? (uint32_t)at.b : 0,
                       .rendered = text_of(&rendered)};
  d->host.message(d->host.user, &out);
  vq_strbuf_release(&place);
  vq_strbuf_release(&path);
  vq_strbuf_release(&text);
  vq_strbuf_release(&rendered);
}

static ssize_t write_out(void *user, const char *text, size_t n) {
  const driver *d = user;
  if (d->host.print) d->host.print(d->host.user, 0, text, n);
  return (ssize_t)n;
}

static ssize_t write_log(void *user, const char *text, size_t n) {
  const driver *d = user;
  if (d->host.print) d->host.print(d->host.user, 1, text, n);
  return (ssize_t)n;
}

static FILE *open_stream(driver *d, cookie_write_function_t *fn, int mode) {
  FILE *f = fopencookie(d, "w", (cookie_io_functions_t){.write = fn});
  if (!f) vq_oom(BUFSIZ);
  setvbuf(f, NULL, mode, 0);
  return f;
}

// ---- calls ----------------------------------------------------------------------

// One call of the library.
typedef struct call {
  driver d;
  const char *const *word;
  size_t n_word;
  vitqc_buffer *out;  // NULL: to a file
  FILE *text;         // into *out
  int code;
  bool compiles;      // a model, not a command line
} call;

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

// ---- output to memory -----------------------------------------------------------

static bool is_text(const options *o) {
  const char *kind = opt_text(o, OPT_emit);
  return strcmp(kind, "ir") == 0 || strcmp(kind, "dot") == 0;
}

// Linkers write files: one in a folder of its own.
static vq_status read_back(driver *d, const char *path, vitqc_buffer *out) {
  struct stat st;
  uint8_t *data;
  size_t n;
  if (stat(path, &st) != 0) return VQ_OK;  // options may say that nothing is written
  if (vq_read_file(path, &d->diag, &data, &n)) return VQ_ERR;
  *out = (vitqc_buffer){data, n};
  return VQ_OK;
}

static int through_file(call *c) {
  driver *d = &c->d;
  vq_strbuf folder = {0}, path = {0};
  int code = EXIT_ERROR;
  if (!temporary_folder(d, &folder)) {
    vq_strbuf_printf(&path, "%s/model", folder.p);
    temporary_add(d, path.p);
    options_append(&d->opt, &d->arena, OPT_output, path.p);
    code = run_command(d);
    if (code == EXIT_GOOD && read_back(d, path.p, c->out)) code = EXIT_ERROR;
    unlink(path.p);
    temporary_drop(d, path.p);
    rmdir(folder.p);
    temporary_drop(d, folder.p);
  }
  vq_strbuf_release(&path);
  vq_strbuf_release(&folder);
  return code;
}

static int as_text(call *c) {
  driver *d = &c->d;
  char *text = NULL;
  size_t n = 0;
  d->result = open_memstream(&text, &n);
  if (!d->result) vq_oom(BUFSIZ);
  options_append(&d->opt, &d->arena, OPT_output, "-");
  int code = run_command(d);
  fclose(d->result);
  d->result = d->out;
  if (code == EXIT_GOOD)
    *c->out = (vitqc_buffer){text, n};
  else
    free(text);
  return code;
}

static int compile_model(call *c) {
  driver *d = &c->d;
  if (options_read(c->word, c->n_word, &d->arena, &d->diag, &d->opt)) return EXIT_USAGE;
  if (opt_given(&d->opt, OPT_run_reproducer))
    return usage_error(d, "--run-reproducer names a model, and one is given");
  if (c->out && opt_given(&d->opt, OPT_output))
    return usage_error(d, "-o names a file, but the output goes to memory");
  const char **file = VQ_NEW(&d->arena, const char *);
  bool named = d->memory.path && *d->memory.path;
  if (!named) d->memory.path = NULL;
  *file = named ? d->memory.path : "model.onnx";
  d->opt.file = file;
  d->opt.n_file = 1;
  d->to_memory = c->out != NULL;
  if (!c->out) return run_command(d);
  return is_text(&d->opt) ? as_text(c) : through_file(c);
}

static int parse_and_run(call *c) {
  driver *d = &c->d;
  char **argv = VQ_NEW_N(&d->arena, char *, c->n_word + 2);
  argv[0] = (char *)"vitqc";
  for (size_t i = 0; i < c->n_word; i++)
    argv[i + 1] = (char *)vq_arena_str(&d->arena, vq_str_of(c->word[i])).p;
  if (options_parse((int)c->n_word + 1, argv, &d->arena, &d->diag, &d->opt))
    return EXIT_USAGE;
  return run_command(d);
}

// ---- around all of them ---------------------------------------------------------

static void body(void *user) {
  call *c = user;
  driver *d = &c->d;
  d->ctx = vq_ctx_create();
  vq_diag_init(&d->diag, d->ctx, pass_message, d);
  d->diag.max_error = 20;
  d->out = open_stream(d, write_out, _IOLBF);
  d->log = open_stream(d, write_log, _IONBF);
  d->result = d->out;
  c->code = c->compiles ? compile_model(c) : parse_and_run(c);
}

static void tell_fault(void *user, vq_fault kind, const char *text) {
  driver *d = &((call *)user)->d;
  (void)kind;
  if (d->ctx) vq_error(&d->diag, VQ_E_fault, at_path(d, "vitqc"), "%s", text);
}

static void run_guarded(call *c) {
  driver *d = &c->d;
  bool whole = vq_guarded(body, c, tell_fault);
  if (d->result && d->result != d->out) fclose(d->result);
  if (d->out) fclose(d->out);
  if (d->log) fclose(d->log);
  temporary_remove_all(d);
  if (d->interrupted && c->code != EXIT_GOOD) c->code = VITQC_INTERRUPTED;
  if (!whole) {  // the rest may be in any state
    c->code = VITQC_FAULT;
    return;
  }
  vq_arena_release(&d->arena);
  vq_ctx_destroy(d->ctx);
}

static int run(call *c, const vitqc_host *host) {
  if (host)
    memcpy(&c->d.host, host, host->size < sizeof *host ? host->size : sizeof *host);
  locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  locale_t before = uselocale(plain);
  run_guarded(c);
  uselocale(before);
  if (plain) freelocale(plain);
  if (c->code != EXIT_GOOD) vitqc_free(c->out);
  return c->code;
}

int vitqc_compile(const vitqc_source *model, const char *const *option, size_t n_option,
                  const vitqc_host *host, vitqc_buffer *out) {
  call c = {.word = option, .n_word = n_option, .out = out, .compiles = true};
  if (out) *out = (vitqc_buffer){0};
  if (!model || model->size < sizeof *model || (!model->data && !model->path))
    return VITQC_USAGE;
  c.d.memory = *model;
  return run(&c, host);
}

int vitqc_command(const char *const *arg, size_t n_arg, const vitqc_host *host) {
  call c = {.word = arg, .n_word = n_arg};
  return run(&c, host);
}
