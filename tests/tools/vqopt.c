// vqopt: reads IR text, optionally runs passes, prints it. For golden tests.
//
// --verify-diagnostics turns the tool into a checker of messages: every one
// must be announced by a comment `// expected-error@+1 {{part of the text}}`
// (error, warning or note; +N and -N are lines relative to the comment, none
// is its own line, `@unknown` is a message without a place in this file), and
// every announced one must come. --split-input treats the parts of a file
// between `// -----` lines as files of their own.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "vq/ir.h"
#include "vq/pass.h"
#include "vq/strbuf.h"
#include "vq/text.h"
#include "vq/vec.h"

typedef struct options {
  const char *input, *output, *passes;
  bool print_locs, verify_diagnostics, split_input, ops_md;
} options;

// A message that came or, as read from a comment, one that must come.
typedef struct note {
  vq_severity severity;
  uint64_t line;  // 0: no place in this file
  char *text;
  bool matched;
} note;
typedef VQ_VEC(note) note_vec;

typedef struct job {
  const options *opt;
  vq_str text;
  uint64_t first_line;  // of `text` in the file, for our own messages
  note_vec want, got;
} job;

static const char *const severity_word[] = {"note", "warning", "error"};

// ---- messages ---------------------------------------------------------------

static void print_sink(void *user, const vq_ctx *ctx, const vq_message *m) {
  vq_strbuf text = {0};
  (void)user;
  vq_message_render(&text, ctx, m, false);
  fputs(vq_strbuf_z(&text), stderr);
  vq_strbuf_release(&text);
}

static void collect_sink(void *user, const vq_ctx *ctx, const vq_message *m) {
  job *j = user;
  vq_loc_info at = vq_loc_decode(ctx, m->loc);
  note n = {.severity = m->severity, .text = strndup(m->text.p, m->text.n)};
  if (at.kind == VQ_LOC_TEXT) n.line = at.a;
  vq_vec_push(&j->got, n);
}

// One `expected-...{{...}}` comment at `p`; returns what is behind it.
static const char *read_expected(job *j, const char *p, uint64_t line) {
  note n = {.line = line};
  unsigned s = 0;
  while (s < VQ_COUNT(severity_word) &&
         strncmp(p, severity_word[s], strlen(severity_word[s])) != 0)
    s++;
  if (s == VQ_COUNT(severity_word)) return p;
  n.severity = (vq_severity)s;
  p += strlen(severity_word[s]);
  if (strncmp(p, "@unknown", 8) == 0) {
    n.line = 0;
    p += 8;
  } else if (*p == '@') {
    char *end;
    n.line = line + (uint64_t)strtoll(p + 1, &end, 10);
    p = end;
  }
  const char *from = strstr(p, "{{"), *to = from ? strstr(from, "}}") : NULL;
  if (!to) return p;
  n.text = strndup(from + 2, (size_t)(to - from - 2));
  vq_vec_push(&j->want, n);
  return to;
}

static void find_expected(job *j) {
  static const char mark[] = "expected-";
  char *z = strndup(j->text.p, j->text.n);
  uint64_t line = 1;
  for (const char *p = z; *p; p++) {
    if (*p == '\n') line++;
    if (strncmp(p, mark, sizeof mark - 1) == 0)
      p = read_expected(j, p + sizeof mark - 1, line) - 1;
  }
  free(z);
}

static bool report_unmatched(const job *j, const note_vec *v,
                             const char *what) {
  bool any = false;
  for (size_t i = 0; i < v->n; i++) {
    const note *n = &v->p[i];
    if (n->matched) continue;
    any = true;
    fprintf(stderr, "%s:%llu: %s %s: %s\n", j->opt->input,
            (unsigned long long)(n->line ? n->line + j->first_line - 1 : 0),
            what, severity_word[n->severity], n->text);
  }
  return any;
}

static bool check_expected(job *j) {
  for (size_t i = 0; i < j->got.n; i++)
    for (size_t k = 0; k < j->want.n && !j->got.p[i].matched; k++) {
      note *got = &j->got.p[i], *want = &j->want.p[k];
      if (want->matched || got->severity != want->severity ||
          got->line != want->line || !strstr(got->text, want->text))
        continue;
      got->matched = want->matched = true;
    }
  bool unexpected = report_unmatched(j, &j->got, "unexpected");
  bool missing = report_unmatched(j, &j->want, "missing");
  return !unexpected && !missing;
}

static void free_notes(note_vec *v) {
  for (size_t i = 0; i < v->n; i++) free(v->p[i].text);
  vq_vec_release(v);
}

// ---- the work ---------------------------------------------------------------

static vq_status run_passes(const char *text, vq_module *m, vq_diag *diag) {
  vq_pipeline *pipeline;
  if (vq_pipeline_parse(m->ctx, vq_str_of(text), diag, &pipeline))
    return VQ_ERR;
  vq_exec *exec = vq_exec_interpreter();
  vq_instrument ins = {.verify_each = true};
  vq_status status = vq_pipeline_run(pipeline, m, diag, &ins, exec, NULL);
  exec->ops->destroy(exec);
  vq_pipeline_destroy(pipeline);
  return status;
}

// To standard output without large constants, or to a file with a side file.
static vq_status print_module(const options *opt, const vq_module *m,
                              vq_diag *diag) {
  unsigned flags = opt->print_locs ? VQ_PRINT_LOCS : 0;
  if (opt->output)
    return vq_save(m, opt->output, VQ_LIT(""), flags, NULL, diag);
  vq_strbuf text = {0};
  vq_status status = vq_print(&text, m, flags | VQ_PRINT_ELIDE, NULL);
  fwrite(text.p, 1, text.n, stdout);
  vq_strbuf_release(&text);
  return status;
}

static bool run_job(job *j) {
  const options *opt = j->opt;
  vq_ctx *ctx = vq_ctx_create();
  vq_diag diag;
  vq_diag_init(&diag, ctx, opt->verify_diagnostics ? collect_sink : print_sink,
               j);
  vq_module *m = NULL;
  vq_status status = vq_parse(ctx, j->text, opt->input, &diag, &m);
  if (status == VQ_OK && opt->passes)
    status = run_passes(opt->passes, m, &diag);
  if (status == VQ_OK && !opt->verify_diagnostics)
    status = print_module(opt, m, &diag);
  bool ok = status == VQ_OK;
  if (opt->verify_diagnostics) {
    find_expected(j);
    ok = check_expected(j);
  }
  free_notes(&j->want);
  free_notes(&j->got);
  vq_module_destroy(m);
  vq_ctx_destroy(ctx);
  return ok;
}

static uint64_t count_lines(vq_str s) {
  uint64_t n = 0;
  for (size_t i = 0; i < s.n; i++) n += s.p[i] == '\n';
  return n;
}

static bool run_all(const options *opt, vq_str text) {
  static const char mark[] = "\n// -----\n";
  bool ok = true;
  uint64_t line = 1;
  while (true) {
    const char *cut = opt->split_input
                          ? memmem(text.p, text.n, mark, sizeof mark - 1)
                          : NULL;
    size_t n = cut ? (size_t)(cut + 1 - text.p) : text.n;
    job j = {.opt = opt, .text = {text.p, n}, .first_line = line};
    ok &= run_job(&j);
    if (!cut) return ok;
    if (!opt->verify_diagnostics) fputs(mark + 1, stdout);
    n += sizeof mark - 2;
    line += count_lines((vq_str){text.p, n});
    text = (vq_str){text.p + n, text.n - n};
  }
}

// ---- command line -------------------------------------------------------------

static bool read_file(const char *path, vq_strbuf *out) {
  FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
  if (!f) return false;
  char block[65536];
  for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
    vq_strbuf_add(out, block, n);
  bool ok = !ferror(f);
  if (f != stdin) fclose(f);
  return ok;
}

static bool parse_options(int argc, char **argv, options *opt) {
  for (int i = 1; i < argc; i++) {
    const char *a = argv[i];
    if (strncmp(a, "--passes=", 9) == 0)
      opt->passes = a + 9;
    else if (strcmp(a, "--print-locs") == 0)
      opt->print_locs = true;
    else if (strcmp(a, "--verify-diagnostics") == 0)
      opt->verify_diagnostics = true;
    else if (strcmp(a, "--split-input") == 0)
      opt->split_input = true;
    else if (strcmp(a, "--ops-md") == 0)
      opt->ops_md = true;
    else if (strcmp(a, "-o") == 0 && i + 1 < argc)
      opt->output = argv[++i];
    else if ((a[0] == '-' && a[1]) || opt->input)
      return false;
    else
      opt->input = a;
  }
  return opt->ops_md || (opt->input && !(opt->output && opt->split_input));
}

int main(int argc, char **argv) {
  options opt = {0};
  if (!parse_options(argc, argv, &opt)) {
    fputs("usage: vqopt FILE.vq [-o OUT.vq] [--passes=P,...] [--print-locs]\n"
          "             [--verify-diagnostics] [--split-input]\n"
          "       vqopt --ops-md\n", stderr);
    return 2;
  }
  vq_strbuf text = {0};
  if (opt.ops_md) {
    vq_ops_markdown(&text);
    fwrite(text.p, 1, text.n, stdout);
    vq_strbuf_release(&text);
    return 0;
  }
  if (!read_file(opt.input, &text)) {
    fprintf(stderr, "vqopt: cannot read %s: %s\n", opt.input, strerror(errno));
    return 1;
  }
  bool ok = run_all(&opt, vq_strbuf_view(&text));
  if (fflush(stdout) != 0) {
    fprintf(stderr, "vqopt: cannot write: %s\n", strerror(errno));
    ok = false;
  }
  vq_strbuf_release(&text);
  return ok ? 0 : 1;
}
