// Reading a command line by the option table.
#include "options.h"

#include <math.h>
#include <stdlib.h>

#include "response.h"
#include "vq/strbuf.h"
#include "vq/suggest.h"

static const opt_row rows[] = {
#define COMPILE CMD_COMPILE
#define RUN CMD_RUN
#define EVAL CMD_EVAL
#define BENCH CMD_BENCH
#define INSPECT CMD_INSPECT
#define DIFF CMD_DIFF
#define VIEW CMD_VIEW
#define REDUCE CMD_REDUCE
#define MERGE CMD_MERGE
#define MODELS CMD_MODELS
#define ALL CMD_ALL
#define OPT(id, spelling, kind, metavar, def, commands, group, help) \
  {OPT_##id, spelling, KIND_##kind, metavar, def, commands, group, help},
#define SET(id, spelling, value, commands, group, help) \
  {OPT_##id, spelling, KIND_SET, NULL, value, commands, group, help},
#include "options.def"
#undef OPT
#undef SET
};

static const command commands[] = {
    {CMD_COMPILE, "", "MODEL.onnx|MODEL.vq [-O0|-O1|-O2|-O3] -o OUT",
     "compile a model"},
    {CMD_RUN, "run", "MODEL.so INPUT...",
     "classify pictures (JPEG, PNG, .npy, folders)"},
    {CMD_EVAL, "eval", "MODEL.so --images=DIR|FILE --labels=FILE",
     "measure accuracy, or agreement with another model"},
    {CMD_BENCH, "bench", "MODEL.so [--against=OTHER.so]", "measure speed"},
    {CMD_INSPECT, "inspect", "FILE", "describe a .onnx, .vq or .so file"},
    {CMD_DIFF, "diff", "A B", "compare two models (.onnx or .vq) op by op"},
    {CMD_VIEW, "view", "MODEL --block=N|--around=%NAME", "print a part of a model"},
    {CMD_REDUCE, "reduce", "MODEL --test=COMMAND -o OUT.vq",
     "make a model small on which a command still succeeds"},
    {CMD_MERGE, "merge-profile", "DIR... -o DIR",
     "put the pictures of --calib-shard runs together"},
};

const opt_row *opt_table(unsigned *n) {
  *n = VQ_COUNT(rows);
  return rows;
}

const command *command_table(unsigned *n) {
  *n = VQ_COUNT(commands);
  return commands;
}

static const opt_row *row_of(opt_id id) {
  for (unsigned i = 0; i < VQ_COUNT(rows); i++)
    if (rows[i].id == id && rows[i].kind != KIND_SET) return &rows[i];
  return NULL;
}

const char *opt_text(const options *o, opt_id id) {
  return o->value[id] ? o->value[id] : row_of(id)->def;
}

int64_t opt_count(const options *o, opt_id id) {
  return strtoll(opt_text(o, id), NULL, 10);
}

double opt_real(const options *o, opt_id id) { return strtod(opt_text(o, id), NULL); }

// ---- parsing ------------------------------------------------------------------

typedef struct parser {
  const char **arg;
  unsigned n, at;
  vq_arena *arena;
  vq_diag *diag;
  vq_loc loc;
  options *out;
} parser;

// How much of `arg` is the spelling of `row`: "--x" or "--x=...", "-o" or
// "-oFILE". 0: none.
static size_t spelled(const opt_row *row, const char *arg) {
  size_t n = strlen(row->spelling);
  if (strncmp(arg, row->spelling, n) != 0) return 0;
  if (arg[n] == '\0') return n;
  if (row->kind == KIND_FLAG || row->kind == KIND_SET) return 0;
  return arg[n] == '=' || n == 2 ? n : 0;
}

static vq_status unknown(parser *p, const char *arg) {
  size_t n = strcspn(arg, "=");
  vq_suggest s = vq_suggest_start((vq_str){arg, n});
  for (unsigned i = 0; i < VQ_COUNT(rows); i++)
    if (rows[i].commands & p->out->command->bit)
      vq_suggest_offer(&s, rows[i].spelling);
  return vq_error(p->diag, VQ_E_option, p->loc, "unknown option '%.*s'%s%s%s",
                  (int)n, arg, s.best ? "; did you mean '" : "",
                  s.best ? s.best : "", s.best ? "'?" : "");
}

static vq_status misplaced(parser *p, const opt_row *row) {
  vq_strbuf where = {0};
  for (unsigned i = 0; i < VQ_COUNT(commands); i++)
    if (row->commands & commands[i].bit)
      vq_strbuf_printf(&where, "%s'vitqc%s%s'", where.n ? " and " : "",
                       *commands[i].name ? " " : "", commands[i].name);
  vq_error(p->diag, VQ_E_option, p->loc, "option '%s' belongs to %s",
           row->spelling, vq_strbuf_z(&where));
  vq_strbuf_release(&where);
  return VQ_ERR;
}

static bool is_choice(const char *choices, const char *value) {
  size_t n = strlen(value);
  for (const char *c = choices; *c; c += strcspn(c, "|"), c += *c == '|')
    if (strcspn(c, "|") == n && memcmp(c, value, n) == 0) return true;
  return false;
}

static bool is_count(const char *value) {
  size_t n = strlen(value);
  return n > 0 && n <= 9 && strspn(value, "0123456789") == n && strtol(value, NULL, 10) >= 1;
}

static bool is_real(const char *value) {
  char *end;
  double v = strtod(value, &end);
  return *value && *end == '\0' && isfinite(v) && v >= 0;
}

static vq_status check_value(parser *p, const opt_row *row, const char *value) {
  const char *expected = NULL;
  if (row->kind == KIND_CHOICE && !is_choice(row->metavar, value))
    expected = row->metavar;
  else if (row->kind == KIND_COUNT && !is_count(value))
    expected = "a whole number from 1 to 999999999";
  else if (row->kind == KIND_REAL && !is_real(value))
    expected = "a number from 0";
  if (!expected) return VQ_OK;
  return vq_error(p->diag, VQ_E_option, p->loc, "option '%s' is '%s', expected %s",
                  row->spelling, value, expected);
}

static void append(vq_arena *arena, const char ***list, unsigned *n, const char *v) {
  const char **more = VQ_NEW_N(arena, const char *, *n + 1);
  if (*n) memcpy(more, *list, *n * sizeof *more);
  more[(*n)++] = v;
  *list = more;
}

void options_append(options *o, vq_arena *arena, opt_id id, const char *value) {
  append(arena, &o->list[id], &o->n_list[id], value);
  o->value[id] = value;
}

static vq_status store(parser *p, const opt_row *row, const char *value) {
  if (check_value(p, row, value)) return VQ_ERR;
  options *o = p->out;
  if (row->kind == KIND_LIST)
    append(p->arena, &o->list[row->id], &o->n_list[row->id], value);
  o->value[row->id] = value;
  return VQ_OK;
}

static vq_status take_option(parser *p, const opt_row *row, size_t used) {
  const char *arg = p->arg[p->at++];
  if (row->kind == KIND_FLAG) return store(p, row, "1");
  if (row->kind == KIND_SET) return store(p, row_of(row->id), row->def);
  if (arg[used] == '=') return store(p, row, arg + used + 1);
  if (arg[used]) return store(p, row, arg + used);
  if (p->at == p->n)
    return vq_error(p->diag, VQ_E_option, p->loc, "option '%s' needs a value %s",
                    row->spelling, row->metavar);
  return store(p, row, p->arg[p->at++]);
}

static vq_status take(parser *p) {
  const char *arg = p->arg[p->at];
  const opt_row *elsewhere = NULL;
  for (unsigned i = 0; i < VQ_COUNT(rows); i++) {
    size_t used = spelled(&rows[i], arg);
    if (!used) continue;
    if (rows[i].commands & p->out->command->bit)
      return take_option(p, &rows[i], used);
    elsewhere = &rows[i];
  }
  if (elsewhere) return misplaced(p, elsewhere);
  return unknown(p, arg);
}

static const command *find_command(const char *word) {
  for (unsigned i = 1; i < VQ_COUNT(commands); i++)
    if (strcmp(commands[i].name, word) == 0) return &commands[i];
  return &commands[0];
}

static vq_status parse(parser *p) {
  options *out = p->out;
  bool only_files = false;
  while (p->at < p->n) {
    const char *arg = p->arg[p->at];
    if (!only_files && strcmp(arg, "--") == 0) {
      only_files = true;
      p->at++;
    } else if (only_files || arg[0] != '-' || arg[1] == '\0') {
      append(p->arena, &out->file, &out->n_file, arg);
      p->at++;
    } else if (take(p)) {
      return VQ_ERR;
    }
  }
  return VQ_OK;
}

vq_status options_read(const char *const *word, size_t n, vq_arena *arena, vq_diag *diag,
                       options *out) {
  *out = (options){.command = &commands[0]};
  parser p = {.n = (unsigned)n, .arena = arena, .diag = diag, .out = out,
              .loc = vq_loc_path(diag->ctx, VQ_LIT("vitqc"))};
  p.arg = VQ_NEW_N(arena, const char *, n + 1);
  for (size_t i = 0; i < n; i++) p.arg[i] = vq_arena_str(arena, vq_str_of(word[i])).p;
  if (parse(&p)) return VQ_ERR;
  if (!out->n_file) return VQ_OK;
  return vq_error(diag, VQ_E_option, p.loc, "expected options alone, found '%s'",
                  out->file[0]);
}

vq_status options_parse(int argc, char **argv, vq_arena *arena, vq_diag *diag,
                        options *out) {
  *out = (options){.command = &commands[0]};
  parser p = {.arena = arena, .diag = diag, .out = out,
              .loc = vq_loc_path(diag->ctx, VQ_LIT("vitqc"))};
  if (response_expand(argc - 1, argv + 1, arena, diag, &p.arg, &p.n))
    return VQ_ERR;
  if (p.n) out->command = find_command(p.arg[0]);
  p.at = *out->command->name ? 1 : 0;
  return parse(&p);
}
