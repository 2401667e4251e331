// --bisect: the pass after which a model is not what it was.
//
// The module is kept as it was before the first pass and after each one, which costs
// little: constants share their data. Between a good and a bad state the middle one is
// looked at until they are neighbours. Good is a state on which the --test command
// succeeds or, without one, whose results the interpreter finds to be those of the
// input, up to --tolerance times the largest of them, on inputs made from --seed.
#include "bisect.h"

#include <math.h>
#include <stdlib.h>

#include "judge.h"
#include "reproducer.h"
#include "vq/build.h"
#include "vq/eval.h"
#include "vq/rewrite.h"

typedef struct bisection {
  driver *d;
  const vq_pipeline *pipeline;
  vq_module **state;  // [0]: the input; [i]: after pass i - 1
  unsigned n;         // passes that have run
  judge judge;
  vq_tensor *in, *expected, *got;
  uint32_t n_in, n_out;
  double tolerance, worst;  // the largest difference of the last comparison
} bisection;

// ---- results ----------------------------------------------------------------

static vq_tensor *tensors(bisection *b, uint32_t n) {
  return VQ_NEW_N(&b->d->arena, vq_tensor, n + 1);
}

static void allocate(bisection *b, vq_tensor *t, const vq_type *type) {
  t->type = type;
  t->data = vq_arena_alloc(&b->d->arena, (size_t)vq_type_bytes(type), 64);
}

// Floats are normally distributed; integers and truth values, which may be indices of
// anything, are 0.
static void make_input(bisection *b, vq_tensor *t, uint32_t i) {
  uint64_t seed = (uint64_t)opt_count(&b->d->opt, OPT_seed) + i;
  vq_module *m = vq_module_create(b->d->ctx, VQ_LIT("input"));
  vq_const *c = vq_const_random(m, VQ_LIT("input"), t->type, seed, 1);
  if (t->type->dtype == VQ_f32)
    memcpy(t->data, vq_const_bytes(c), (size_t)vq_type_bytes(t->type));
  vq_module_destroy(m);
}

static vq_status evaluate(bisection *b, const vq_module *m, vq_tensor *out) {
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  return vq_eval_func(f, b->in, out, &b->d->diag, NULL, NULL);
}

static vq_status expect(bisection *b) {
  const vq_func *f = vq_module_func(b->state[0], VQ_LIT("main"));
  if (!f)
    return vq_error(&b->d->diag, VQ_E_structure, at_path(b->d, b->d->opt.file[0]),
                    "the module has no @main");
  b->n_in = f->n_arg;
  b->n_out = f->n_result;
  b->in = tensors(b, f->n_arg);
  b->expected = tensors(b, f->n_result);
  b->got = tensors(b, f->n_result);
  for (uint32_t i = 0; i < f->n_arg; i++) {
    allocate(b, &b->in[i], f->arg[i].type);
    make_input(b, &b->in[i], i);
  }
  for (uint32_t i = 0; i < f->n_result; i++) {
    allocate(b, &b->expected[i], f->result[i]);
    allocate(b, &b->got[i], f->result[i]);
  }
  return evaluate(b, b->state[0], b->expected);
}

// The largest difference of two results, as a share of the largest element.
static double distance(const vq_tensor *a, const vq_tensor *b) {
  double largest = 0, apart = 0;
  for (int64_t i = 0, n = vq_type_count(a->type); i < n; i++) {
    double x = vq_load_f64(a->type->dtype, a->data, i);
    double y = vq_load_f64(b->type->dtype, b->data, i);
    if (fabs(x) > largest && isfinite(x)) largest = fabs(x);
    if (x == y || (isnan(x) && isnan(y))) continue;
    if (!(fabs(x - y) <= apart)) apart = isnan(x - y) ? INFINITY : fabs(x - y);
  }
  return apart == 0 ? 0 : largest == 0 ? INFINITY : apart / largest;
}

static vq_status compare(bisection *b, const vq_module *m, bool *good) {
  if (evaluate(b, m, b->got)) return VQ_ERR;
  b->worst = 0;
  for (uint32_t i = 0; i < b->n_out; i++)
    b->worst = fmax(b->worst, distance(&b->expected[i], &b->got[i]));
  *good = b->worst <= b->tolerance;
  return VQ_OK;
}

static vq_status look(bisection *b, unsigned i, bool *good) {
  if (b->judge.shell) return judge_module(&b->judge, b->state[i], good);
  return compare(b, b->state[i], good);
}

// ---- searching --------------------------------------------------------------

static void add_pass(vq_strbuf *out, const bisection *b, unsigned i) {
  vq_strbuf_printf(out, "'%s' (%u of %u)", vq_pipeline_pass(b->pipeline, i)->name, i + 1,
                   vq_pipeline_length(b->pipeline));
}

// The module before the bad pass, as a reproducer, when an output was asked for.
static vq_status save(bisection *b, unsigned bad) {
  const char *path = opt_text(&b->d->opt, OPT_output);
  if (!path) return VQ_OK;
  vq_strbuf pass = {0};
  vq_pipeline_print_pass(&pass, b->pipeline, bad);
  vq_status s = vq_reproducer_save(b->state[bad], path, vq_strbuf_view(&pass),
                                   reproducer_options(b->d), &b->d->diag);
  vq_strbuf_release(&pass);
  return s;
}

static vq_status report(bisection *b, unsigned bad, double worst) {
  vq_strbuf name = {0};
  add_pass(&name, b, bad);
  if (b->judge.shell)
    fprintf(b->d->out, "the test first fails after pass %s\n", name.p);
  else
    fprintf(b->d->out, "pass %s changes the results: by %.3g of the largest, the tolerance "
            "is %.3g\n", name.p, worst, b->tolerance);
  vq_strbuf_release(&name);
  return save(b, bad);
}

// Good at `good`, bad at the end.
static vq_status search(bisection *b, unsigned good) {
  unsigned bad = b->n;
  double worst = b->worst;
  while (bad - good > 1) {
    unsigned middle = good + (bad - good) / 2;
    bool is_good;
    if (look(b, middle, &is_good)) return VQ_ERR;
    if (is_good)
      good = middle;
    else
      bad = middle, worst = b->worst;
  }
  return report(b, bad - 1, worst);
}

static vq_status find(bisection *b, bool *found) {
  bool good = true;
  const char *input = b->d->opt.file[0];
  *found = false;
  if (b->judge.shell) {
    if (look(b, 0, &good)) return VQ_ERR;
    if (!good)
      return vq_error(&b->d->diag, VQ_E_option, at_path(b->d, input),
                      "the test command fails before the first pass");
  } else if (expect(b)) {
    return VQ_ERR;
  }
  if (look(b, b->n, &good)) return VQ_ERR;
  *found = !good;
  if (!good) return search(b, 0);
  if (!b->judge.shell)
    fprintf(b->d->out, "no pass changes the results: by %.3g of the largest at the end, the "
            "tolerance is %.3g\n", b->worst, b->tolerance);
  else
    fprintf(b->d->out, "the test command succeeds after the last pass\n");
  return VQ_OK;
}

// ---- running ----------------------------------------------------------------

// Pass `i` alone, on a copy of the state before it.
static vq_status run_pass(bisection *b, unsigned i, vq_exec *exec) {
  vq_strbuf text = {0};
  vq_pipeline *one;
  vq_pipeline_print_pass(&text, b->pipeline, i);
  vq_status s = vq_pipeline_parse(b->d->ctx, vq_strbuf_view(&text), &b->d->diag, &one);
  b->state[i + 1] = vq_module_clone(b->state[i]);
  vq_instrument ins = {.verify_each = true};
  if (!s) s = vq_pipeline_run(one, b->state[i + 1], &b->d->diag, &ins, exec, NULL);
  if (!s) vq_pipeline_destroy(one);
  vq_strbuf_release(&text);
  return s;
}

// Until a pass fails, which is an answer, too: *failed.
static vq_status run_all(bisection *b, vq_exec *exec, bool *failed) {
  unsigned n = vq_pipeline_length(b->pipeline);
  *failed = false;
  for (; b->n < n && !*failed; b->n++) *failed = run_pass(b, b->n, exec) != VQ_OK;
  if (!*failed) return VQ_OK;
  vq_strbuf name = {0};
  add_pass(&name, b, b->n - 1);
  fprintf(b->d->out, "pass %s fails\n", name.p);
  vq_strbuf_release(&name);
  return save(b, b->n - 1);
}

static vq_status run(bisection *b, vq_exec *exec, bool *found) {
  const char *test = opt_text(&b->d->opt, OPT_test);
  if (run_all(b, exec, found)) return VQ_ERR;
  if (*found) return VQ_OK;
  if (test && judge_open(b->d, test, &b->judge)) return VQ_ERR;
  vq_status s = find(b, found);
  if (test) judge_close(&b->judge);
  return s;
}

vq_status bisect(driver *d, vq_module *m, const vq_pipeline *p, vq_exec *exec, bool *found) {
  unsigned n = vq_pipeline_length(p);
  bisection b = {.d = d, .pipeline = p, .tolerance = opt_real(&d->opt, OPT_tolerance)};
  b.state = VQ_NEW_N(&d->arena, vq_module *, n + 1);
  b.state[0] = m;
  vq_status s = run(&b, exec, found);
  // A state keeps data that later ones share.
  for (unsigned i = n; i > 0; i--)
    if (b.state[i]) vq_module_destroy(b.state[i]);
  return s;
}
