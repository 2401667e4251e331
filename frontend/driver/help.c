// --help and the man page, from the option table.
#include "options.h"

#include "vq/strbuf.h"

enum { TEXT_COLUMN = 26, WIDTH = 80 };

static const char *const groups[] = {"Output", "Model", "Pipeline",
                                     "Quantization", "Looking",
                                     "Checking", "Measuring", "Running",
                                     "General", "hidden"};

static bool shown(const opt_row *r, const command *c, const char *group) {
  return (r->commands & c->bit) && strcmp(r->group, group) == 0;
}

// "-O 0|1" would read oddly: short options take their value attached or apart.
static void add_spelling(vq_strbuf *out, const opt_row *r) {
  vq_strbuf_puts(out, r->spelling);
  if (!r->metavar) return;
  bool word = r->spelling[1] == '-';
  vq_strbuf_printf(out, "%s%s", word ? "=" : r->kind == KIND_CHOICE ? "" : " ",
                   r->metavar);
}

// Adds `text` from column `at`, broken into lines that start at TEXT_COLUMN.
static void add_wrapped(vq_strbuf *out, const char *text, size_t at) {
  for (bool first = true; *text; first = false) {
    size_t n = strcspn(text, " ");
    if (!first && at + 1 + n > WIDTH) {
      vq_strbuf_printf(out, "\n%*s", TEXT_COLUMN, "");
      at = TEXT_COLUMN;
    } else if (!first) {
      vq_strbuf_putc(out, ' ');
      at++;
    }
    vq_strbuf_add(out, text, n);
    at += n;
    text += n + (text[n] == ' ');
  }
}

static void add_row(vq_strbuf *out, const opt_row *r) {
  vq_strbuf left = {0}, right = {0};
  add_spelling(&left, r);
  vq_strbuf_puts(&right, r->help);
  if (r->def && r->kind != KIND_SET)
    vq_strbuf_printf(&right, " [%s]", r->def);
  vq_strbuf_printf(out, "  %-*s", TEXT_COLUMN - 4, vq_strbuf_z(&left));
  if (left.n > TEXT_COLUMN - 4)
    vq_strbuf_printf(out, "\n%*s", TEXT_COLUMN, "");
  else
    vq_strbuf_puts(out, "  ");
  add_wrapped(out, vq_strbuf_z(&right), TEXT_COLUMN);
  vq_strbuf_putc(out, '\n');
  vq_strbuf_release(&left);
  vq_strbuf_release(&right);
}

static void add_group(vq_strbuf *out, const command *c, const char *group) {
  unsigned n, printed = 0;
  const opt_row *r = opt_table(&n);
  for (unsigned i = 0; i < n; i++) {
    if (!shown(&r[i], c, group)) continue;
    if (printed++ == 0)
      vq_strbuf_printf(out, "\n%s:\n",
                       strcmp(group, "hidden") ? group : "Rarely needed");
    add_row(out, &r[i]);
  }
}

static void add_commands(vq_strbuf *out) {
  unsigned n;
  const command *c = command_table(&n);
  vq_strbuf_puts(out, "\nCommands (vitqc COMMAND --help tells more):\n");
  for (unsigned i = 1; i < n; i++)
    vq_strbuf_printf(out, "  %-*s  %s\n", TEXT_COLUMN - 4, c[i].name, c[i].help);
}

void options_help(vq_strbuf *out, const command *c, bool hidden) {
  bool compile = c->bit == CMD_COMPILE;
  vq_strbuf_printf(out, "usage: vitqc %s%s%s\n", c->name, compile ? "" : " ",
                   c->synopsis);
  if (compile)
    vq_strbuf_puts(out, "       vitqc COMMAND ...\n\n"
                   "Compiles a vision transformer to a native shared object.\n");
  else
    vq_strbuf_printf(out, "\nTo %s.\n", c->help);
  if (compile) add_commands(out);
  for (unsigned i = 0; i < VQ_COUNT(groups); i++)
    if (hidden || strcmp(groups[i], "hidden") != 0) add_group(out, c, groups[i]);
  if (compile)
    vq_strbuf_puts(out, "\nAn argument @FILE stands for the arguments in FILE. "
                   "Exit codes: 0 success,\n1 error, 2 wrong command line, "
                   "70 fault of the compiler, 130 interrupted.\n");
}

// ---- man page -----------------------------------------------------------------

// roff takes a leading dot or quote as a request and '-' as a hyphen.
static void add_roff(vq_strbuf *out, const char *text) {
  for (const char *p = text; *p; p++) {
    if ((*p == '.' || *p == '\'') && (p == text || p[-1] == '\n'))
      vq_strbuf_puts(out, "\\&");
    if (*p == '-' || *p == '\\') vq_strbuf_putc(out, '\\');
    if (*p == '\\')
      vq_strbuf_putc(out, 'e');
    else
      vq_strbuf_putc(out, *p);
  }
}

static void add_man_row(vq_strbuf *out, const opt_row *r) {
  vq_strbuf_puts(out, ".TP\n.B ");
  add_roff(out, r->spelling);
  if (r->metavar) {
    vq_strbuf_puts(out, r->spelling[1] == '-' ? "\\fR=\\fI" : " \\fI");
    add_roff(out, r->metavar);
    vq_strbuf_puts(out, "\\fR");
  }
  vq_strbuf_putc(out, '\n');
  add_roff(out, r->help);
  if (r->def && r->kind != KIND_SET) {
    vq_strbuf_puts(out, " (default: ");
    add_roff(out, r->def);
    vq_strbuf_puts(out, ")");
  }
  vq_strbuf_putc(out, '\n');
}

static void add_man_options(vq_strbuf *out) {
  unsigned n;
  const opt_row *r = opt_table(&n);
  for (unsigned g = 0; g + 1 < VQ_COUNT(groups); g++) {
    vq_strbuf_printf(out, ".SS %s\n", groups[g]);
    for (unsigned i = 0; i < n; i++)
      if (strcmp(r[i].group, groups[g]) == 0) add_man_row(out, &r[i]);
  }
}

void options_man(vq_strbuf *out) {
  unsigned n;
  const command *c = command_table(&n);
  vq_strbuf_puts(out, ".TH VITQC 1 \"\" \"vitqc " VITQC_VERSION "\"\n"
                 ".SH NAME\nvitqc \\- compiler for vision transformers\n"
                 ".SH SYNOPSIS\n");
  for (unsigned i = 0; i < n; i++) {
    vq_strbuf_printf(out, "%s.B vitqc %s\n", i ? ".br\n" : "", c[i].name);
    vq_strbuf_puts(out, ".RI ");
    vq_strbuf_putc(out, '"');
    add_roff(out, c[i].synopsis);
    vq_strbuf_puts(out, " [options]\"\n");
  }
  vq_strbuf_puts(out, ".SH DESCRIPTION\n"
                 "Reads a vision transformer as ONNX or as IR text and writes "
                 "one native shared object,\nwhich the other commands run, "
                 "evaluate, time and describe.\n.SH COMMANDS\n");
  for (unsigned i = 1; i < n; i++) {
    vq_strbuf_printf(out, ".TP\n.B %s\n", c[i].name);
    add_roff(out, c[i].help);
    vq_strbuf_putc(out, '\n');
  }
  vq_strbuf_puts(out, ".SH OPTIONS\n");
  add_man_options(out);
  vq_strbuf_puts(out, ".SH EXIT STATUS\n0 success, 1 a diagnosed error, 2 a wrong "
                 "command line, 70 a fault of the compiler,\n130 interrupted.\n");
}
