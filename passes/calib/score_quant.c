// score-quant: how near the quantized model is to the float one, without data.
//
// The pictures are made ones that no other pass has seen (synthesize{held=N}), the float
// model is the one that they were made of, the quantized one is the module as it is, its
// codes still between float operations. Both return their logits and the residual stream
// behind each block: what the last sum in front of the next attention, or of the end,
// adds up. Values are found again by their names; where passes have renamed one, its
// block is left out. Without pictures held back there is nothing to compare.
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "vq/compare.h"
#include "vq/lane.h"
#include "vq/rewrite.h"

#include "passes.h"

typedef struct comparison {
  vq_pass_ctx *pc;
  vq_str *name;  // of the streams
  unsigned n;
  vq_lane side[2];  // float, quantized: logits, then the stream behind each block
  vq_tensor in;
  vq_rows logits;
  vq_sums *stream;  // behind each block
  double seconds;   // of the float model for a sample
} comparison;

static vq_func *main_of(const vq_module *m) { return vq_module_func(m, VQ_LIT("main")); }

// A sum of two tensors of its own shape: neither a bias nor an embedding.
static bool adds_to_stream(const vq_op *op) {
  if (op->code != VQ_OP_add || op->out->type->rank < 3 || !op->out->name.n) return false;
  const vq_type *t = op->out->type;
  for (unsigned i = 0; i < 2; i++)
    if (vq_in(op, i)->type != t || vq_const_of(vq_in(op, i))) return false;
  return true;
}

static void find_streams(comparison *c, const vq_func *f, const vq_func *quantized) {
  vq_value *last = NULL;
  unsigned n_attention = 0, n_op = 0;
  vq_each_op(f, op) n_op++;
  c->name = VQ_NEW_N(c->pc->temp, vq_str, n_op);
  vq_each_op(f, op) {
    bool ends = op->code == VQ_OP_attention || op == f->last;
    if (ends && last && n_attention) {
      const vq_value *same = vq_func_value(quantized, last->name);
      if (same && same->type == last->type) c->name[c->n++] = last->name;
    }
    n_attention += op->code == VQ_OP_attention;
    if (ends) last = NULL;
    if (adds_to_stream(op)) last = op->out;
  }
}

static vq_status prepare(comparison *c, vq_lane *l, const vq_module *m) {
  l->m = vq_module_clone(m);
  vq_func *f = main_of(l->m);
  unsigned n = 0;
  vq_value **v = VQ_NEW_N(c->pc->temp, vq_value *, c->n + 1);
  v[n++] = vq_in(f->last, 0);
  for (unsigned k = 0; k < c->n; k++) v[n++] = vq_func_value(f, c->name[k]);
  if (vq_lane_return(f, n, v, c->pc->diag) ||
      vq_lane_open(l, c->pc->exec, l->m, c->pc->temp, c->pc->diag))
    return VQ_ERR;
  l->in[0] = c->in;
  return VQ_OK;
}

// ---- comparing ------------------------------------------------------------------------

// Results of `fresh` samples of `batch`; windows of a stream are of one picture.
static void compare_batch(comparison *c, int64_t batch, int64_t fresh) {
  const vq_tensor *want = c->side[0].out, *got = c->side[1].out;
  int64_t width = vq_type_count(want->type) / batch;
  for (int64_t b = 0; b < fresh; b++)
    vq_rows_add(&c->logits, (const float *)want->data + b * width,
                (const float *)got->data + b * width, width);
  for (unsigned k = 0; k < c->n; k++)
    vq_sums_add(&c->stream[k], want[k + 1].data, got[k + 1].data,
                vq_type_count(want[k + 1].type) / batch * fresh);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// The faster of two runs of the float model.
static vq_status take_time(comparison *c) {
  const vq_exec *e = c->pc->exec;
  for (unsigned i = 0; i < 2; i++) {
    double start = now();
    if (e->ops->run(c->side[0].program, c->side[0].in, c->side[0].out, 1, c->pc->diag))
      return VQ_ERR;
    double seconds = (now() - start) / (double)c->in.type->dim[0];
    if (i == 0 || seconds < c->seconds) c->seconds = seconds;
  }
  return VQ_OK;
}

// Held samples are those behind the ones that are calibrated with.
static vq_status compare(comparison *c, const vq_module *quantized) {
  const vq_held_back *held = c->pc->exec->held;
  const vq_samples *all = c->pc->exec->samples;
  vq_diag *diag = c->pc->diag;
  find_streams(c, main_of(held->model), main_of(quantized));
  c->stream = VQ_NEW_N(c->pc->temp, vq_sums, c->n + 1);
  c->in = vq_batch_alloc(main_of(held->model)->arg[0].type, c->pc->temp);
  if (prepare(c, &c->side[0], held->model) || prepare(c, &c->side[1], quantized))
    return VQ_ERR;
  int64_t batch = c->in.type->dim[0], fresh;
  for (int64_t i = 0; i < held->n; i += batch) {
    if (all->progress && all->progress(all->user, "score-quant", i, held->n)) return VQ_ERR;
    if (vq_batch_load(all, all->n + i, all->n + held->n, c->in, &fresh, diag) ||
        vq_lane_run(&c->side[0], diag) || vq_lane_run(&c->side[1], diag))
      return VQ_ERR;
    compare_batch(c, batch, fresh);
  }
  return take_time(c);
}

// A stream without any error, or without any signal, has the most that is told apart.
static void store_score(const comparison *c, vq_held_back *held) {
  const double most = 150;
  double *block = calloc(c->n + 1, sizeof *block);
  if (!block) vq_oom(c->n * sizeof *block);
  for (unsigned k = 0; k < c->n; k++)
    block[k] = fmax(fmin(vq_sums_sqnr(&c->stream[k]), most), -most);
  free(held->score.block);
  held->score = (vq_score){c->logits.n, c->logits.agree, vq_rows_cosine(&c->logits),
                           c->seconds, c->n, block};
}

vq_status vq_pass_score_quant(vq_module *m, vq_pass_ctx *pc) {
  if (!pc->exec || !pc->exec->held) return VQ_OK;
  const vq_func *f = main_of(m), *before = main_of(pc->exec->held->model);
  if (!f || f->n_result < 1 || f->n_result != before->n_result ||
      f->result[0] != before->result[0] || !vq_type_is(f->result[0], VQ_f32, 2) ||
      f->n_arg != 1 || f->arg[0].type != before->arg[0].type)
    return vq_error(pc->diag, VQ_E_pass, (vq_loc){0},
                    "this is not the model that the pictures were made of");
  comparison c = {.pc = pc};
  vq_status st = compare(&c, m);
  if (!st) store_score(&c, pc->exec->held);
  for (unsigned s = 0; s < 2; s++) vq_lane_close(&c.side[s]);
  vq_stat(pc, "pictures held back", st ? 0 : c.logits.n);
  vq_stat(pc, "of these agree", st ? 0 : c.logits.agree);
  return st;
}
