// Compiling: load, store facts, run the pipeline, write the result.
#include "compile.h"

#include <libgen.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bisect.h"
#include "calib.h"
#include "latency.h"
#include "load.h"
#include "mixed.h"
#include "pipelines.h"
#include "quantize.h"
#include "recipe.h"
#include "report.h"
#include "reproducer.h"
#include "runtime_library.h"
#include "temporary.h"
#include "times.h"
#include "vq/backend.h"
#include "vq/image.h"
#include "vq/pass.h"
#include "vq/recompose.h"
#include "vq/rewrite.h"
#include "vq/verify.h"
#include "write.h"

#ifndef VITQC_VERIFY_EACH
#define VITQC_VERIFY_EACH 0
#endif

typedef struct compilation {
  driver *d;
  const char *input, *output;
  loaded model;
  vq_pipeline *pipeline;
  vq_pass_report report;
  vq_score score;  // n = 0: there is none
  const char *isa;  // that calibration ran on
  double start, loaded, lowered, emitted;
  bool found;  // --bisect: a pass to blame
  report looked;
  unsigned n_begun;  // passes
} compilation;

// ---- pipeline -------------------------------------------------------------------

static vq_status parse_pipeline(driver *d, const char *text, vq_pipeline **out) {
  return vq_pipeline_parse(d->ctx, vq_str_of(text), &d->diag, out);
}

static vq_status choose_pipeline(driver *d, vq_pipeline **out) {
  const char *given = opt_text(&d->opt, OPT_passes);
  if (given) return parse_pipeline(d, given, out);
  const char *level = opt_text(&d->opt, OPT_level), *missing;
  const char *text = level_pipeline(level, &missing);
  if (text) {
    if (parse_pipeline(d, text, out)) return VQ_ERR;
    return quantize_options(d, *out);
  }
  vq_error(&d->diag, VQ_E_unsupported, at_path(d, "vitqc"),
           "-O%s%s needs %s, which this version does not have", level,
           opt_given(&d->opt, OPT_level) ? "" : " (the default)", missing);
  vq_note(&d->diag, (vq_loc){0},
          "-O1 compiles a fast float model, -O0 the float reference");
  return VQ_ERR;
}

// Index of the first pass called `name`; "cse:2" is the second cse.
static vq_status find_pass(driver *d, const vq_pipeline *p, const char *option,
                           const char *name, unsigned *out) {
  size_t n = strcspn(name, ":");
  long left = name[n] ? strtol(name + n + 1, NULL, 10) : 1;
  for (*out = 0; *out < vq_pipeline_length(p); ++*out) {
    const char *at = vq_pipeline_pass(p, *out)->name;
    if (strlen(at) == n && memcmp(at, name, n) == 0 && --left == 0) return VQ_OK;
  }
  return vq_error(&d->diag, VQ_E_option, at_path(d, "vitqc"),
                  "%s needs '%s', which the pipeline does not contain",
                  option, name);
}

vq_status make_pipeline(driver *d, vq_pipeline **out) {
  *out = NULL;
  if (choose_pipeline(d, out)) return VQ_ERR;
  unsigned first = 0, last = vq_pipeline_length(*out), at = 0;
  if (opt_given(&d->opt, OPT_start_after)) {
    if (find_pass(d, *out, "--start-after",
                  opt_text(&d->opt, OPT_start_after), &at))
      return VQ_ERR;
    first = at + 1;
  }
  if (opt_given(&d->opt, OPT_stop_after)) {
    if (find_pass(d, *out, "--stop-after", opt_text(&d->opt, OPT_stop_after),
                  &at))
      return VQ_ERR;
    last = at + 1;
  }
  if (first > last)
    return vq_error(&d->diag, VQ_E_option, at_path(d, "vitqc"),
                    "--stop-after ends the pipeline before --start-after "
                    "begins it");
  vq_pipeline_trim(*out, first, last);
  if (!opt_given(&d->opt, OPT_require_fused)) return VQ_OK;
  if (find_pass(d, *out, "--require-fused", "recompose", &at)) return VQ_ERR;
  vq_pipeline_insert(*out, at + 1, vq_pass_find(d->ctx, VQ_LIT("require-fused")));
  return VQ_OK;
}

static void print_dump(void *user, vq_str text) {
  const compilation *c = user;
  fwrite(text.p, 1, text.n, c->d->log);
}

static vq_status before_pass(void *user, const vq_pass *pass, const vq_module *m) {
  compilation *c = user;
  if (report_wanted(&c->d->opt)) report_watch(&c->looked, pass, m);
  return driver_progress(c->d, pass->name, c->n_begun++, vq_pipeline_length(c->pipeline));
}

static bool verifies_each(const options *o) {
  if (opt_given(o, OPT_no_verify_each)) return false;
  return opt_given(o, OPT_verify_each) || VITQC_VERIFY_EACH;
}

// The result, when nobody looked after every pass.
static vq_status verify_result(compilation *c, const vq_module *input) {
  driver *d = c->d;
  vq_strbuf passes = {0}, given = {0};
  const char *path = reproducer_path(d, c->output);
  if (!vq_verify(c->model.m, &d->diag)) return VQ_OK;
  vq_note(&d->diag, (vq_loc){0}, "found at the end; --verify-each says after which pass");
  if (!path) return VQ_ERR;
  vq_pipeline_print(&passes, c->pipeline);
  vq_strbuf_printf(&given, "--verify-each %.*s", VQ_FMT(reproducer_options(d)));
  if (vq_reproducer_save(input, path, vq_strbuf_view(&passes),
                         vq_strbuf_view(&given), &d->diag))
    vq_note(&d->diag, (vq_loc){0}, "no reproducer was written");
  vq_strbuf_release(&passes);
  vq_strbuf_release(&given);
  return VQ_ERR;
}

static vq_status run_passes(compilation *c, const vq_instrument *ins, vq_exec *exec) {
  driver *d = c->d;
  if (!opt_given(&d->opt, OPT_bisect))
    return vq_pipeline_run(c->pipeline, c->model.m, &d->diag, ins, exec, &c->report);
  return bisect(d, c->model.m, c->pipeline, exec, &c->found);
}

// The score outlives what made it.
static void take_score(compilation *c, const vq_score *score) {
  c->score = *score;
  c->score.block = VQ_NEW_N(&c->d->arena, double, score->n_block);
  if (score->n_block)
    memcpy(c->score.block, score->block, score->n_block * sizeof *score->block);
}

// --mixed: other widths, which make another pipeline.
static vq_status choose_widths(compilation *c, vq_exec *exec) {
  if (mixed_choose(c->d, c->model.m, exec)) return VQ_ERR;
  vq_pipeline_destroy(c->pipeline);
  return make_pipeline(c->d, &c->pipeline);
}

static vq_status run_pipeline(compilation *c) {
  driver *d = c->d;
  const options *o = &d->opt;
  vq_module *input = verifies_each(o) ? NULL : vq_module_clone(c->model.m);
  vq_instrument ins = {
      .verify_each = verifies_each(o),
      .print_after_all = opt_given(o, OPT_print_after_all),
      .print_changed = opt_given(o, OPT_print_changed),
      .note_changes = opt_given(o, OPT_time_passes),
      .print_before = vq_str_of(opt_text(o, OPT_print_before)),
      .print_after = vq_str_of(opt_text(o, OPT_print_after)),
      .print_locs = opt_given(o, OPT_print_locs),
      .print = print_dump,
      .before = before_pass,
      .user = c,
      .print_to = opt_text(o, OPT_print_to),
      .reproducer = reproducer_path(d, c->output),
      .reproducer_options = reproducer_options(d),
  };
  calibration calib;
  vq_status s = calibration_open(d, c->model.m, c->pipeline, c->input, &calib);
  if (!s) {
    vq_exec *exec = vq_exec_jit(lower_for_jit, d, calib.isa);
    c->isa = calib.isa;
    calibration_give(&calib, exec);
    vq_time_sink times = kernel_times(d);
    if (opt_given(o, OPT_time_kernels)) exec->times = &times;
    bool emits = !opt_given(o, OPT_bisect) && !opt_given(o, OPT_calib_shard);
    if (opt_given(o, OPT_mixed) && emits) s = choose_widths(c, exec);
    if (!s) s = run_passes(c, &ins, exec);
    if (!s && !opt_given(o, OPT_bisect)) s = calibration_write(&calib, exec);
    if (!s && exec->held) take_score(c, &exec->held->score);
    if (!s && report_wanted(o) && emits) s = report_measure(d, &c->looked, exec);
    exec->ops->destroy(exec);
  }
  if (calibration_close(&calib)) s = VQ_ERR;
  if (!s && input) s = verify_result(c, input);
  if (input) vq_module_destroy(input);
  return s;
}

vq_status lower_for_jit(void *user, vq_module *m, vq_str func, vq_diag *diag) {
  const driver *d = user;
  const char *missing;
  vq_pipeline *p;
  // Derivatives are those of a recomposed function: there is nothing to recognise.
  const char *text = vq_str_is(func, "main") ? level_pipeline("1", &missing)
                                             : derivative_pipeline;
  if (vq_pipeline_parse(d->ctx, vq_str_of(text), diag, &p)) return VQ_ERR;
  vq_status s = vq_pipeline_run(p, m, diag, &(vq_instrument){0}, NULL, NULL);
  vq_pipeline_destroy(p);
  return s;
}

// ---- writing --------------------------------------------------------------------

static void print_job(void *user, vq_str line) {
  const driver *d = user;
  fprintf(d->log, "%.*s\n", VQ_FMT(line));
}

static void print_kernel(void *user, vq_str name, const char *emitter, int64_t macs) {
  const driver *d = user;
  fprintf(d->log, "%10lld  emit: %s of %.*s\n", (long long)macs, emitter, VQ_FMT(name));
}

static void watch_temporary(void *user, const char *path, bool live) {
  if (live)
    temporary_add(user, path);
  else
    temporary_drop(user, path);
}

static vq_status code_progress(void *user, int64_t done, int64_t total) {
  return driver_progress(user, "code", done, total);
}

static vq_emit_kind emit_kind(const char *name) {
  static const struct {
    const char *name;
    vq_emit_kind kind;
  } kinds[] = {{"llvm", VQ_EMIT_LLVM},       {"bc", VQ_EMIT_BC},
               {"asm", VQ_EMIT_ASM},         {"obj", VQ_EMIT_OBJ},
               {"archive", VQ_EMIT_ARCHIVE}, {"so", VQ_EMIT_SO},
               {"header", VQ_EMIT_HEADER}};
  for (size_t i = 0; i < VQ_COUNT(kinds); i++)
    if (strcmp(kinds[i].name, name) == 0) return kinds[i].kind;
  return VQ_EMIT_SO;
}

static vq_status emit(compilation *c) {
  driver *d = c->d;
  const options *o = &d->opt;
  const char *kind = opt_text(o, OPT_emit);
  if (strcmp(kind, "ir") == 0) return write_ir(d, c->model.m, c->output);
  if (strcmp(kind, "dot") == 0) return write_dot(d, c->model.m, c->output);
  vq_backend_options b = {.triple = opt_text(o, OPT_target),
                          .cpu = opt_text(o, OPT_cpu),
                          .symbol = opt_text(o, OPT_symbol),
                          .generic = opt_given(o, OPT_generic),
                          .n_thread = opt_given(o, OPT_compile_threads)
                                          ? (unsigned)opt_count(o, OPT_compile_threads)
                                          : 0,
                          .verbose = opt_given(o, OPT_verbose),
                          .dry_run = opt_given(o, OPT_jobs),
                          .job = print_job,
                          .kernel = opt_given(o, OPT_stats) ? print_kernel : NULL,
                          .temp_file = watch_temporary,
                          .progress = code_progress,
                          .user = d};
  if (emit_kind(kind) == VQ_EMIT_SO && !(b.runtime_lib = runtime_library(d)))
    return VQ_ERR;
  if (vq_backend_emit(c->model.m, emit_kind(kind), c->output, &b, &d->diag))
    return VQ_ERR;
  const char *header = opt_text(o, OPT_emit_header);
  if (!header) return VQ_OK;
  return vq_backend_emit(c->model.m, VQ_EMIT_HEADER, header, &b, &d->diag);
}

// ---- reports --------------------------------------------------------------------

static void print_times(const compilation *c) {
  fprintf(c->d->log, "%10.3f ms  load\n", 1e3 * (c->loaded - c->start));
  for (unsigned i = 0; i < c->report.n_record; i++) {
    const vq_pass_record *r = &c->report.record[i];
    fprintf(c->d->log, "%10.3f ms  %s: %u -> %u ops%s\n", 1e3 * r->seconds,
            r->pass->name, r->ops_before, r->ops_after,
            r->changed ? "" : ", unchanged");
  }
  fprintf(c->d->log, "%10.3f ms  emit\n", 1e3 * (c->emitted - c->lowered));
}

static void print_stats(const compilation *c) {
  for (unsigned i = 0; i < c->report.n_stat; i++) {
    const vq_stat_entry *e = &c->report.stat[i];
    fprintf(c->d->log, "%10lld  %s: %s\n", (long long)e->n, e->pass, e->name);
  }
}

static void print_input(const compilation *c) {
  const vq_onnx_summary *s = &c->model.summary;
  if (c->model.kind != FILE_ONNX) return;
  fprintf(c->d->log, "%s: opset %lld, %u nodes", c->input, (long long)s->opset,
          s->n_node);
  if (s->producer.n) fprintf(c->d->log, ", by %.*s", VQ_FMT(s->producer));
  if (s->metadata_bytes)
    fprintf(c->d->log, "; %llu bytes of exporter metadata dropped",
            (unsigned long long)s->metadata_bytes);
  fputc('\n', c->d->log);
}

// What recompose found, and what it left over.
static void print_fused(const compilation *c) {
  const vq_stat_entry *left = NULL;
  for (unsigned i = 0; i < c->report.n_stat; i++) {
    const vq_stat_entry *e = &c->report.stat[i];
    if (!strcmp(e->pass, "recompose") && !strcmp(e->name, VQ_STAT_LEFT_OVER)) left = e;
  }
  if (!left) return;
  fputs("recomposed:", c->d->log);
  for (unsigned i = 0; i < c->report.n_stat; i++) {
    const vq_stat_entry *e = &c->report.stat[i];
    if (!strcmp(e->pass, "recompose") && e != left)
      fprintf(c->d->log, " %lld %s,", (long long)e->n, e->name);
  }
  fprintf(c->d->log, " %lld ops left over\n", (long long)left->n);
}

// Which share of the MACs lower-int made integer, or -1; *left: ops that stayed float.
static double integer_share(const compilation *c, vq_strbuf *left) {
  double macs[2] = {0, 0};  // float, integer
  for (unsigned i = 0; i < c->report.n_stat; i++) {
    const vq_stat_entry *e = &c->report.stat[i];
    if (strcmp(e->pass, "lower-int") != 0) continue;
    bool is_int = strcmp(e->name, VQ_STAT_INT_MACS) == 0;
    if (is_int || strcmp(e->name, VQ_STAT_FLOAT_MACS) == 0)
      macs[is_int] += (double)e->n;
    else
      vq_strbuf_printf(left, "%s%lld %s", left->n ? ", " : "", (long long)e->n, e->name);
  }
  double all = macs[0] + macs[1];
  return all > 0 ? macs[1] / all : -1;
}

static void print_integer(const compilation *c) {
  vq_strbuf left = {0};
  double share = integer_share(c, &left);
  if (share >= 0)
    fprintf(c->d->log, "integer: %.4g %% of the MACs; float ops left: %s\n", 100 * share,
            left.n ? vq_strbuf_z(&left) : "none");
  if (share >= 0 && weights_only(c->d))
    fputs("only weights are codes, activations stay float (--calib=none)\n", c->d->log);
  vq_strbuf_release(&left);
}

// The quantized model next to the float one, on made pictures that were held back.
static void print_score(const compilation *c) {
  const vq_score *s = &c->score;
  for (unsigned i = 0; i < s->n_block && opt_given(&c->d->opt, OPT_verbose); i++)
    fprintf(c->d->log, "%10.1f dB  signal to noise behind block %u\n", s->block[i], i);
}

// Whether the float model was run by the best code there is for this CPU.
static bool isa_is_native(const compilation *c) {
  const vq_target_info *best = vq_target_of_floats("native");
  return c->isa && (vq_target_of_floats(c->isa)->requires & best->requires) == best->requires;
}

// The last line: how good, how much of it integer, how fast, how large.
static void add_result(const compilation *c, vq_strbuf *line) {
  const vq_score *s = &c->score;
  vq_strbuf left = {0};
  double share = integer_share(c, &left);
  if (s->n)
    vq_strbuf_printf(line, "float's class on %lld of %lld held-back pictures, cosine "
                     "%.4f, ", (long long)s->agree, (long long)s->n, s->cosine);
  if (share >= 0) vq_strbuf_printf(line, "%.4g %% integer, ", 100 * share);
  double fast = s->n && s->seconds > 0 && isa_is_native(c) ? latency_of(c->output) : 0;
  if (fast > 0)
    vq_strbuf_printf(line, "%.3g -> %.3g ms on one thread, ", 1e3 * s->seconds, 1e3 * fast);
  struct stat st;
  if (stat(c->output, &st) == 0 && S_ISREG(st.st_mode)) {
    add_bytes(line, (double)st.st_size);
    vq_strbuf_puts(line, ", ");
  }
  vq_strbuf_release(&left);
}

static void print_summary(const compilation *c) {
  const options *o = &c->d->opt;
  if (opt_given(o, OPT_quiet)) return;
  if (!(c->d->host.flags & VITQC_SUMMARY) && !opt_given(o, OPT_verbose)) return;
  print_input(c);
  print_fused(c);
  print_integer(c);
  print_score(c);
  model_size size = measure_module(c->model.m);
  vq_strbuf line = {0};
  vq_strbuf_printf(&line, "%s: ", c->output);
  add_result(c, &line);
  vq_strbuf_printf(&line, "%lld ops, ", (long long)size.n_op);
  add_count(&line, (double)size.n_param);
  vq_strbuf_puts(&line, " parameters, ");
  add_count(&line, (double)size.macs / (double)(size.batch ? size.batch : 1));
  vq_strbuf_printf(&line, " MACs a sample, compiled in %.2f s\n",
                   c->emitted - c->start);
  fputs(line.p, c->d->log);
  vq_strbuf_release(&line);
}

// ---- the command ----------------------------------------------------------------

// A model in memory is no file.
static bool is_input(const compilation *c, const char *path) {
  struct stat x, y;
  if (c->d->memory.data || stat(c->input, &x) != 0 || stat(path, &y) != 0) return false;
  return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

// What is written beside the model, which must be possible before it is compiled.
static vq_status check_more(compilation *c, const char *path, const char *what) {
  driver *d = c->d;
  if (strcmp(path, c->output) == 0)
    return vq_error(&d->diag, VQ_E_io, at_path(d, path),
                    "the %s and the model have the same name", what);
  if (is_input(c, path))
    return vq_error(&d->diag, VQ_E_io, at_path(d, path), "the output is the input");
  const char *folder = dirname((char *)vq_arena_str(&d->arena, vq_str_of(path)).p);
  if (access(folder, F_OK) == 0) return VQ_OK;
  return vq_error(&d->diag, VQ_E_io, at_path(d, path), "there is no folder '%s' for the %s",
                  folder, what);
}

static vq_status check_outputs(compilation *c) {
  static const struct {
    opt_id id;
    const char *what;
  } more[] = {{OPT_emit_header, "header"}, {OPT_emit_recipe, "recipe"},
              {OPT_suggest, "suggestion"}};
  driver *d = c->d;
  const options *o = &d->opt;
  if (is_input(c, c->output))
    return vq_error(&d->diag, VQ_E_io, at_path(d, c->output), "the output is the input");
  for (size_t i = 0; i < VQ_COUNT(more); i++)
    if (opt_given(o, more[i].id) && check_more(c, opt_text(o, more[i].id), more[i].what))
      return VQ_ERR;
  for (unsigned i = 0; i < o->n_list[OPT_report]; i++)
    if (check_more(c, o->list[OPT_report][i], "report")) return VQ_ERR;
  return VQ_OK;
}

static vq_status compile(compilation *c) {
  c->start = now_seconds();
  if (make_pipeline(c->d, &c->pipeline)) return VQ_ERR;
  if (check_outputs(c) || load_model(c->d, c->input, &c->model)) return VQ_ERR;
  if (store_preprocess(c->d, c->model.m) || store_labels(c->d, c->model.m))
    return VQ_ERR;
  calibration_mark(c->d, c->model.m);
  c->loaded = now_seconds();
  if (run_pipeline(c)) return VQ_ERR;
  if (opt_given(&c->d->opt, OPT_bisect)) return c->found ? VQ_ERR : VQ_OK;
  if (opt_given(&c->d->opt, OPT_calib_shard)) return VQ_OK;
  if (recipe_mark(c->d, c->model.m)) return VQ_ERR;
  c->lowered = now_seconds();
  reproducer_arm(c->d, c->model.m, c->output);
  vq_status s = emit(c);
  reproducer_disarm();
  if (s) return s;
  c->emitted = now_seconds();
  c->looked.score = c->score;
  if (report_wanted(&c->d->opt) &&
      report_write(c->d, &c->looked, c->model.m, c->output, &c->report))
    return VQ_ERR;
  const char *recipe = opt_text(&c->d->opt, OPT_emit_recipe);
  return recipe ? recipe_write(c->d, recipe, NULL) : VQ_OK;
}

static int print_pipeline(driver *d) {
  vq_pipeline *p;
  vq_status s = make_pipeline(d, &p);
  vq_strbuf text = {0};
  if (!s) {
    vq_pipeline_print(&text, p);
    fprintf(d->out, "%s\n", vq_strbuf_z(&text));
  }
  if (p) vq_pipeline_destroy(p);
  vq_strbuf_release(&text);
  return exit_code(s);
}

static int check_command_line(driver *d) {
  const options *o = &d->opt;
  const char *kind = opt_text(o, OPT_emit);
  if (o->n_file == 0) return usage_error(d, "no model to compile");
  if (o->n_file > 1)
    return usage_error(d, "one model at a time, found '%s' and '%s'", o->file[0],
                       o->file[1]);
  if (opt_given(o, OPT_bisect)) return EXIT_GOOD;
  if (opt_given(o, OPT_test)) return usage_error(d, "--test needs --bisect");
  if (opt_given(o, OPT_calib_shard)) return EXIT_GOOD;
  if (!opt_given(o, OPT_output)) return usage_error(d, "no output: give -o FILE");
  const char *unknown = report_unknown(o);
  if (unknown) return usage_error(d, "--report is '%s', expected FILE.html or FILE.json", unknown);
  if (opt_given(o, OPT_observer) && weights_only(d))
    return usage_error(d, "--observer needs activations of codes, not --calib=none");
  if (strcmp(opt_text(o, OPT_output), "-") == 0 && strcmp(kind, "ir") && strcmp(kind, "dot"))
    return usage_error(d, "only --emit=ir and --emit=dot can go to standard output");
  return EXIT_GOOD;
}

int do_compile(driver *d) {
  const options *o = &d->opt;
  if (recipe_apply(d)) return EXIT_ERROR;
  int code = made_check(d);
  if (code) return code;
  if (opt_given(o, OPT_print_pipeline)) return print_pipeline(d);
  code = check_command_line(d);
  if (code) return code;
  compilation c = {.d = d, .input = o->file[0], .output = opt_text(o, OPT_output)};
  bool emits = !opt_given(o, OPT_bisect) && !opt_given(o, OPT_calib_shard);
  if (!c.output) c.output = "-";
  vq_status s = compile(&c);
  if (!s && emits && opt_given(o, OPT_time_passes)) print_times(&c);
  if (!s && emits && opt_given(o, OPT_stats)) print_stats(&c);
  if (!s && emits) print_summary(&c);
  vq_pass_report_release(&c.report);
  report_release(&c.looked);
  loaded_release(&c.model);
  if (c.pipeline) vq_pipeline_destroy(c.pipeline);
  return exit_code(s);
}
