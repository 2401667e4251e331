// The option table and what a command line says by it.
#ifndef VQ_DRIVER_OPTIONS_H
#define VQ_DRIVER_OPTIONS_H

#include "vq/arena.h"
#include "vq/diag.h"

typedef enum opt_id {
#define OPT(id, spelling, kind, metavar, def, commands, group, help) OPT_##id,
#define SET(id, spelling, value, commands, group, help)
#include "options.def"
#undef OPT
#undef SET
  N_OPT
} opt_id;

enum {
  CMD_COMPILE = 1,
  CMD_RUN = 2,
  CMD_EVAL = 4,
  CMD_BENCH = 8,
  CMD_INSPECT = 16,
  CMD_DIFF = 32,
  CMD_VIEW = 64,
  CMD_REDUCE = 128,
  CMD_MERGE = 256,
  CMD_ALL = 511,
  CMD_MODELS = CMD_COMPILE | CMD_EVAL | CMD_DIFF | CMD_VIEW | CMD_REDUCE  // read any model
};

typedef enum opt_kind {
  KIND_FLAG,
  KIND_TEXT,
  KIND_COUNT,
  KIND_REAL,
  KIND_CHOICE,
  KIND_LIST,
  KIND_SET  // a short form: def is the value it gives
} opt_kind;

typedef struct opt_row {
  opt_id id;
  const char *spelling;
  opt_kind kind;
  const char *metavar, *def;
  unsigned commands;
  const char *group, *help;
} opt_row;

const opt_row *opt_table(unsigned *n);

typedef struct command {
  unsigned bit;
  const char *name, *synopsis, *help;  // name "" is compiling
} command;

const command *command_table(unsigned *n);

// A parsed command line. Texts live in the arena given to options_parse.
typedef struct options {
  const command *command;
  const char *value[N_OPT];  // NULL: not given
  const char **list[N_OPT];  // LIST: all values in order
  unsigned n_list[N_OPT];
  const char **file;  // what is not an option
  unsigned n_file;
} options;

// Reads argv[1..argc). Response files (@FILE) are expanded. Every error is
// about usage.
VQ_NODISCARD vq_status options_parse(int argc, char **argv, vq_arena *arena,
                                     vq_diag *diag, options *out);

static inline bool opt_given(const options *o, opt_id id) {
  return o->value[id] != NULL;
}
// Reads options of compiling alone: no commands, files or response files.
VQ_NODISCARD vq_status options_read(const char *const *word, size_t n, vq_arena *arena,
                                    vq_diag *diag, options *out);

// Adds a value as the command line would. It has to live as long as `o`.
void options_append(options *o, vq_arena *arena, opt_id id, const char *value);
// The given value, or the default, which may be NULL.
const char *opt_text(const options *o, opt_id id);
int64_t opt_count(const options *o, opt_id id);  // COUNT with value or default
double opt_real(const options *o, opt_id id);    // REAL

void options_help(vq_strbuf *out, const command *c, bool hidden);
void options_man(vq_strbuf *out);

#endif
