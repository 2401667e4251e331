// Passes: descriptors, what a pass is given, and the pipeline that runs them.
#ifndef VQ_PASS_H
#define VQ_PASS_H

#include "vq/diag.h"
#include "vq/exec.h"
#include "vq/ir.h"

typedef struct vq_pass_ctx vq_pass_ctx;

// One option of a pass, `name{key=value}` in a pipeline. The value is stored at
// `offset` in the pass's option struct before `run`, as int64_t, double, bool
// or vq_str. A pass has at most 64 options.
typedef enum vq_opt_kind { VQ_OPT_I64, VQ_OPT_F64, VQ_OPT_FLAG, VQ_OPT_STR } vq_opt_kind;
typedef struct vq_opt_desc {
  const char *name, *help;
  vq_opt_kind kind;
  uint32_t offset;
  const char *def;  // default, as text
  const char *choices;  // STR: "a|b|c" or NULL for anything
} vq_opt_desc;

typedef struct vq_pass {
  const char *name, *help;
  vq_status (*run)(vq_module *m, vq_pass_ctx *pc);
  unsigned needs, gives, kills;  // vq_prop masks
  const vq_opt_desc *opts;
  uint32_t n_opts;
  size_t opts_size;
} vq_pass;

// What a running pass may use. A pass prints nothing and keeps no statics.
struct vq_pass_ctx {
  vq_ctx *ctx;
  vq_diag *diag;
  vq_arena *temp;      // emptied after the pass
  const vq_pass *pass;
  const void *opts;    // its option struct, filled
  vq_exec *exec;       // for passes that run graphs
  struct vq_stats *stats;
  bool broken;         // set by a pass that fails because it found the module invalid
};

// Adds `n` to the running pass's statistic `name` (a string literal); nowhere when no
// pipeline runs it.
void vq_stat(vq_pass_ctx *pc, const char *name, int64_t n);

// All built-in passes, in passes.def order.
const vq_pass *vq_pass_list(unsigned *n);
// A built-in pass or one of the context's plugins; NULL: none.
const vq_pass *vq_pass_find(const vq_ctx *ctx, vq_str name);

// Loads a plugin (vq/plugin.h), whose passes then are found and run like others. It
// stays loaded as long as the context lives.
VQ_NODISCARD vq_status vq_plugin_load(vq_ctx *ctx, const char *path, vq_diag *diag);
// Pass `i` of all plugins in order of loading; NULL: there are fewer.
const vq_pass *vq_plugin_pass_at(const vq_ctx *ctx, unsigned i);

// Appends the tables of passes and of their options (docs/passes.md).
void vq_passes_markdown(vq_strbuf *out);

// ---- pipelines ---------------------------------------------------------------
// Grammar: pass[{key=value ...}] separated by commas; spaces are free; a value
// may stand in single or double quotes.
typedef struct vq_pipeline vq_pipeline;

VQ_NODISCARD vq_status vq_pipeline_parse(vq_ctx *ctx, vq_str text, vq_diag *diag,
                                         vq_pipeline **out);
void vq_pipeline_destroy(vq_pipeline *p);
void vq_pipeline_print(vq_strbuf *out, const vq_pipeline *p);
unsigned vq_pipeline_length(const vq_pipeline *p);
const vq_pass *vq_pipeline_pass(const vq_pipeline *p, unsigned i);
void vq_pipeline_print_pass(vq_strbuf *out, const vq_pipeline *p, unsigned i);
// Keeps the passes [first, last); for --start-after and --stop-after.
void vq_pipeline_trim(vq_pipeline *p, unsigned first, unsigned last);
// Adds `pass` with default options; it becomes pass number `at`.
void vq_pipeline_insert(vq_pipeline *p, unsigned at, const vq_pass *pass);
// Number of the first pass called `name`; the length when there is none.
unsigned vq_pipeline_find(const vq_pipeline *p, const char *name);
// Gives pass number `at` these options, "key=value ..."; others stay as they are.
VQ_NODISCARD vq_status vq_pipeline_set(vq_pipeline *p, unsigned at, vq_str options,
                                       vq_diag *diag);

typedef struct vq_pass_record {
  const vq_pass *pass;
  double seconds;
  bool changed;        // some function or constant prints differently; known
                       // only with note_changes or print_changed
  uint32_t ops_before, ops_after;  // all functions
} vq_pass_record;

// What lower-int counts, besides the float ops that it left.
#define VQ_STAT_INT_MACS "integer MACs"
#define VQ_STAT_FLOAT_MACS "float MACs"

typedef struct vq_stat_entry {
  const char *pass, *name;
  int64_t n;
} vq_stat_entry;

// How to watch a pipeline. Zero means: quiet, no verification between passes.
typedef struct vq_instrument {
  bool verify_each;
  bool note_changes;  // fill in vq_pass_record.changed: prints before and after
  bool print_before_all, print_after_all, print_changed;
  vq_str print_before, print_after;  // comma-separated pass names
  bool print_locs;
  void (*print)(void *user, vq_str text);  // receives dumps with banners
  // `pass` runs on `m` next, unless this returns VQ_ERR, after a diagnostic.
  vq_status (*before)(void *user, const vq_pass *pass, const vq_module *m);
  void *user;
  const char *print_to;   // directory for numbered dumps, or NULL
  // Path written when a module is invalid after a pass or a pass finds a fault of
  // the compiler, or NULL; further options that its first line states.
  const char *reproducer;
  vq_str reproducer_options;
} vq_instrument;

typedef struct vq_pass_report {
  vq_pass_record *record;
  unsigned n_record;
  vq_stat_entry *stat;
  unsigned n_stat;
} vq_pass_report;

// Runs every pass on `m`. `exec` may be NULL (a pass that needs it then fails
// with a diagnostic). `report` may be NULL, else release it afterwards.
VQ_NODISCARD vq_status vq_pipeline_run(const vq_pipeline *p, vq_module *m,
                                       vq_diag *diag, const vq_instrument *ins,
                                       vq_exec *exec, vq_pass_report *report);
void vq_pass_report_release(vq_pass_report *r);

// Saves `m` with a first line from which vitqc --run-reproducer runs `passes` on it
// again: "// vitqc: --passes='...' OPTIONS". The module itself is not verified.
VQ_NODISCARD vq_status vq_reproducer_save(const vq_module *m, const char *path,
                                          vq_str passes, vq_str options, vq_diag *diag);

#endif
