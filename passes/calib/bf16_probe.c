// Whether products of bf16 are worth it. See bf16_probe.h.
//
// Instructions for bf16 say nothing about their speed: vdpbf16ps does two multiply-adds a
// lane, but where half as many of it start in a cycle as of fused multiply-adds, nothing is
// gained. So they are tried.
#include "vq/bf16_probe.h"

#include <math.h>
#include <time.h>

#include "passes.h"
#include "vq/build.h"
#include "vq/lane.h"
#include "vq/rng.h"

enum { MOST_ROWS = 256, MOST_DEPTH = 1024, ROUNDS = 7 };
// Multiply-adds that are worth trying, and those between two looks at the clock, in which an
// interrupt or the clock itself is little.
enum { LEAST_MACS = 1 << 20, TIMED_MACS = 1 << 24 };

// Speeds are about 1, 2 or more. Errors of the operands, at most 2^-9 each, add up like
// noise.
static const double least_speed = 1.25, most_error = 0.02;

bool vq_bf16_is_gain(const vq_bf16_gain *g) {
  return g->speed >= least_speed && g->error <= most_error;
}

// ---- the product -------------------------------------------------------------------

static int64_t at_most(int64_t n, int64_t most) { return n < most ? n : most; }

static void find_product(const vq_func *f, vq_bf16_gain *out) {
  int64_t largest = 0;
  vq_each_op(f, op) {
    int64_t macs = vq_op_macs(op);
    if (macs <= largest || (op->code != VQ_OP_matmul && op->code != VQ_OP_linear &&
                            op->code != VQ_OP_patch_embed))
      continue;
    const vq_type *t = op->out->type;
    int64_t count = vq_type_count(t), n = t->dim[t->rank - 1];
    largest = macs;
    out->m = at_most(count / n, MOST_ROWS);
    out->n = at_most(n, MOST_DEPTH), out->k = at_most(macs / count, MOST_DEPTH);
  }
}

static vq_module *build(vq_ctx *ctx, const vq_bf16_gain *g, bool narrow, vq_arena *temp,
                        vq_diag *diag) {
  vq_module *m = vq_module_create(ctx, VQ_LIT("probe"));
  int64_t rows[] = {g->m, g->k}, weight[] = {g->n, g->k};
  const vq_type *x = vq_type_tensor(ctx, VQ_f32, 2, rows, NULL);
  const vq_type *w = vq_type_tensor(ctx, VQ_f32, 2, weight, NULL);
  vq_str name = VQ_LIT("x");
  vq_func *f = vq_func_create(m, VQ_FUNC, VQ_LIT("main"), 1, &x, &name);
  vq_builder b = {f, NULL, {0}, diag};
  vq_value *in[] = {f->arg, &vq_const_random(m, VQ_LIT("w"), w, 1, 1)->value};
  vq_value *y = vq_build1(&b, VQ_OP_linear, in, 2, NULL, VQ_LIT("y"));
  vq_pass_ctx pc = {.ctx = ctx, .diag = diag, .temp = temp};
  if (y && !vq_build_return(&b, 1, &y, NULL) && !(narrow && vq_pass_autocast(m, &pc)))
    return m;
  vq_module_destroy(m);
  return NULL;
}

static vq_status open_lane(vq_lane *l, vq_exec *e, const vq_bf16_gain *g, bool narrow,
                           vq_ctx *ctx, vq_arena *temp, vq_diag *diag) {
  vq_module *m = build(ctx, g, narrow, temp, diag);
  vq_rng rng = {2};
  if (!m || vq_lane_open(l, e, m, temp, diag)) return VQ_ERR;
  l->in[0] = vq_batch_alloc(vq_module_func(m, VQ_LIT("main"))->arg[0].type, temp);
  float *x = l->in[0].data;
  for (int64_t i = 0; i < g->m * g->k; i++) x[i] = (float)vq_rng_normal(&rng);
  return VQ_OK;
}

// ---- trying it -----------------------------------------------------------------------

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static vq_status run(vq_lane *l, int64_t times, double *fastest, vq_diag *diag) {
  double start = now();
  for (int64_t i = 0; i < times; i++)
    if (l->exec->ops->run(l->program, l->in, l->out, 1, diag)) return VQ_ERR;
  *fastest = fmin(*fastest, now() - start);
  return VQ_OK;
}

static int64_t macs_of(const vq_bf16_gain *g) { return g->m * g->n * g->k; }

static vq_status compare(vq_lane lane[2], vq_bf16_gain *out, vq_diag *diag) {
  double seconds[2] = {INFINITY, INFINITY}, most = 0, error = 0;
  int64_t times = (TIMED_MACS + macs_of(out) - 1) / macs_of(out);
  for (int i = 0; i < ROUNDS; i++)
    for (int s = 0; s < 2; s++)
      if (run(&lane[s], times, &seconds[s], diag)) return VQ_ERR;
  const float *y = lane[0].out[0].data, *z = lane[1].out[0].data;
  for (int64_t i = 0; i < out->m * out->n; i++) {
    most = fmax(most, fabs((double)y[i]));
    error = isnan(z[i]) ? INFINITY : fmax(error, fabs((double)y[i] - (double)z[i]));
  }
  out->speed = seconds[0] / fmax(seconds[1], 1e-9);
  out->error = error / fmax(most, 1e-30);
  return VQ_OK;
}

vq_status vq_bf16_probe(const vq_module *m, vq_exec *plain, vq_exec *narrow, vq_diag *diag,
                        vq_bf16_gain *out) {
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  *out = (vq_bf16_gain){0};
  if (f) find_product(f, out);
  if (macs_of(out) < LEAST_MACS) return VQ_OK;
  vq_arena temp = {0};
  vq_lane lane[2] = {{0}, {0}};
  bool failed = open_lane(&lane[0], plain, out, false, m->ctx, &temp, diag) ||
                open_lane(&lane[1], narrow, out, true, m->ctx, &temp, diag) ||
                compare(lane, out, diag);
  for (int s = 0; s < 2; s++) vq_lane_close(&lane[s]);
  vq_arena_release(&temp);
  return failed ? VQ_ERR : VQ_OK;
}
