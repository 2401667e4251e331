// vitqc reduce: the smallest model on which a command still succeeds.
#include "judge.h"
#include "load.h"
#include "vq/inspect.h"
#include "vq/rewrite.h"
#include "write.h"

typedef struct reduction {
  judge judge;
  bool failed;  // to run the command: nothing is interesting any more
} reduction;

static bool interesting(void *user, const vq_module *m) {
  reduction *r = user;
  bool passed = false;
  if (!r->failed) r->failed = judge_module(&r->judge, m, &passed) != VQ_OK;
  return passed && !r->failed;
}

static unsigned count_all(const vq_module *m) {
  unsigned n = 0;
  vq_each_func(m, f) vq_each_op(f, op) n++;
  return n;
}

static vq_status reduce(reduction *r, const vq_module *m, const char *output) {
  driver *d = r->judge.d;
  bool passed;
  if (judge_module(&r->judge, m, &passed)) return VQ_ERR;
  if (!passed)
    return vq_error(&d->diag, VQ_E_option, at_path(d, d->opt.file[0]),
                    "the test command fails on the whole model: it has to succeed on "
                    "what is to be kept");
  unsigned n_test;
  vq_shrink_test test = {interesting, r};
  vq_module *least = vq_shrink(m, &test, &n_test);
  vq_status s = r->failed ? VQ_ERR : write_ir(d, least, output);
  if (!s && !opt_given(&d->opt, OPT_quiet))
    fprintf(d->log, "%u -> %u ops, %u tests\n", count_all(m), count_all(least), n_test + 1);
  vq_module_destroy(least);
  return s;
}

int do_reduce(driver *d) {
  const options *o = &d->opt;
  if (o->n_file != 1) return usage_error(d, "expected one model, found %u", o->n_file);
  if (!opt_given(o, OPT_test)) return usage_error(d, "no test: give --test=COMMAND");
  if (!opt_given(o, OPT_reduced)) return usage_error(d, "no output: give -o FILE");
  loaded l;
  reduction r = {0};
  if (load_model(d, o->file[0], &l)) return EXIT_ERROR;
  vq_status s = VQ_ERR;
  if (!vq_module_func(l.m, VQ_LIT("main")))
    vq_error(&d->diag, VQ_E_structure, at_path(d, o->file[0]), "the module has no @main");
  else
    s = judge_open(d, opt_text(o, OPT_test), &r.judge);
  if (!s) s = reduce(&r, l.m, opt_text(o, OPT_reduced));
  judge_close(&r.judge);
  loaded_release(&l);
  return exit_code(s);
}
