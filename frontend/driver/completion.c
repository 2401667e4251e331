// Completion of command lines in bash, from the option table.
//
// The script knows for each command its options and for each option what its value may
// be: the words of a CHOICE, passes, CPU variants, files. It relies on nothing but bash.
// Bash ends words at '=', so "--emit=so" arrives as three of them; what is offered for
// the last one replaces just that.
#include "completion.h"

#include "options.h"
#include "vq/backend.h"
#include "vq/pass.h"

static const char head[] =
    "# Completion of vitqc for bash, printed by vitqc --print-completion.\n"
    "_vitqc() {\n"
    "  local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
    "  local option= command= words= files=\n"
    "  if [[ $cur == = ]]; then\n"
    "    option=$before cur=\n"
    "  elif [[ $before == = ]]; then\n"
    "    option=${COMP_WORDS[COMP_CWORD - 2]}\n"
    "  else\n"
    "    option=$before\n"
    "  fi\n";

static const char tail[] =
    "  COMPREPLY=()\n"
    "  if [[ $files ]]; then\n"
    "    compopt -o filenames 2>/dev/null\n"
    "    mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
    "  else\n"
    "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
    "    [[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null\n"
    "  fi\n"
    "}\n"
    "complete -F _vitqc vitqc\n";

static bool takes_value(const opt_row *r) {
  return r->kind != KIND_FLAG && r->kind != KIND_SET;
}

// "a|b" as "a b", each behind `prefix`.
static void add_choices(vq_strbuf *out, const char *choices, const char *prefix) {
  for (const char *c = choices; *c; c += *c == '|') {
    size_t n = strcspn(c, "|");
    vq_strbuf_printf(out, " %s%.*s", prefix, (int)n, c);
    c += n;
  }
}

static void add_options(vq_strbuf *out, const command *c) {
  unsigned n;
  const opt_row *r = opt_table(&n);
  for (unsigned i = 0; i < n; i++) {
    if (!(r[i].commands & c->bit) || strcmp(r[i].group, "hidden") == 0) continue;
    bool is_long = r[i].spelling[1] == '-';
    if (r[i].kind == KIND_CHOICE && !is_long)
      add_choices(out, r[i].metavar, r[i].spelling);
    else
      vq_strbuf_printf(out, " %s%s", r[i].spelling,
                       is_long && takes_value(&r[i]) ? "=" : "");
  }
}

// What the value of an option may be, by the word that stands for it in --help.
static void add_value(vq_strbuf *out, const opt_row *r) {
  unsigned n;
  vq_strbuf_puts(out, "words=\"");
  if (r->kind == KIND_CHOICE) {
    add_choices(out, r->metavar, "");
  } else if (strncmp(r->metavar, "PASS", 4) == 0 || strcmp(r->metavar, "PIPELINE") == 0) {
    const vq_pass *p = vq_pass_list(&n);
    for (unsigned i = 0; i < n; i++) vq_strbuf_printf(out, " %s", p[i].name);
  } else if (r->id == OPT_cpu) {
    const vq_target_info *t = vq_target_list(&n);
    vq_strbuf_puts(out, " native");
    for (unsigned i = 0; i < n; i++) vq_strbuf_printf(out, " %s", t[i].name);
  }
  bool file = strstr(r->metavar, "FILE") || strstr(r->metavar, "DIR");
  vq_strbuf_printf(out, "\"%s", r->kind != KIND_CHOICE && file ? " files=1" : "");
}

static void add_values(vq_strbuf *out, const command *c) {
  unsigned n;
  const opt_row *r = opt_table(&n);
  for (unsigned i = 0; i < n; i++) {
    if (!(r[i].commands & c->bit) || !takes_value(&r[i])) continue;
    vq_strbuf_printf(out, "    '%s %s') ", c->name, r[i].spelling);
    add_value(out, &r[i]);
    vq_strbuf_puts(out, " ;;\n");
  }
}

void completion_bash(vq_strbuf *out) {
  unsigned n;
  const command *c = command_table(&n);
  vq_strbuf_puts(out, head);
  vq_strbuf_puts(out, "  ((COMP_CWORD > 1)) && case ${COMP_WORDS[1]} in\n    ");
  for (unsigned i = 1; i < n; i++)
    vq_strbuf_printf(out, "%s%s", i > 1 ? " | " : "", c[i].name);
  vq_strbuf_puts(out, ") command=${COMP_WORDS[1]} ;;\n  esac\n"
                 "  case \"$command $option\" in\n");
  for (unsigned i = 0; i < n; i++) add_values(out, &c[i]);
  vq_strbuf_puts(out, "    *) if [[ $cur == -* ]]; then case $command in\n");
  for (unsigned i = 0; i < n; i++) {
    vq_strbuf_printf(out, "        '%s') words=\"", c[i].name);
    add_options(out, &c[i]);
    vq_strbuf_puts(out, "\" ;;\n");
  }
  vq_strbuf_puts(out, "      esac\n    else\n      files=1\n    fi ;;\n  esac\n"
                 "  if ((COMP_CWORD == 1)) && [[ $cur != -* && $cur ]]; then\n"
                 "    words=\"");
  for (unsigned i = 1; i < n; i++) vq_strbuf_printf(out, " %s", c[i].name);
  vq_strbuf_puts(out, "\"\n    [[ $(compgen -W \"$words\" -- \"$cur\") ]] && files=\n  fi\n");
  vq_strbuf_puts(out, tail);
}
