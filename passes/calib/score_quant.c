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

#include "vq/build.h"
#include "vq/rewrite.h"

#include "passes.h"

typedef struct side {
  vq_module *m;
  vq_program *program;
  vq_tensor *out;  // logits, then the stream behind each block
} side;

typedef struct comparison {
  vq_pass_ctx *pc;
  vq_str *name;  // of the streams
  unsigned n;
  side side[2];  // float, quantized
  vq_tensor in;
  double *signal, *noise;  // sums of squares, per block
  vq_score score;
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

static vq_status prepare(comparison *c, side *s, const vq_module *m) {
  s->m = vq_module_clone(m);
  vq_func *f = main_of(s->m);
  unsigned n = 0;
  vq_value **v = VQ_NEW_N(c->pc->temp, vq_value *, c->n + 1);
  v[n++] = vq_in(f->last, 0);
  for (unsigned k = 0; k < c->n; k++) v[n++] = vq_func_value(f, c->name[k]);
  vq_erase_op(f->last);
  vq_builder b = {f, NULL, {0}, c->pc->diag};
  if (vq_build_return(&b, n, v, NULL)) return VQ_ERR;
  s->out = VQ_NEW_N(c->pc->temp, vq_tensor, n);
  for (unsigned k = 0; k < n; k++) {
    const vq_type *t = f->result[k];
    s->out[k] = (vq_tensor){t, vq_arena_alloc(c->pc->temp, (size_t)vq_type_bytes(t), 64)};
  }
  vq_exec *e = c->pc->exec;
  return e->ops->prepare(e, s->m, VQ_LIT("main"), c->pc->diag, &s->program);
}

// ---- comparing ------------------------------------------------------------------------

static void compare_logits(comparison *c, int64_t at) {
  const vq_type *t = c->side[0].out[0].type;
  int64_t n = vq_type_count(t) / t->dim[0], best[2] = {0, 0};
  const float *y[2];
  double dot = 0, square[2] = {0, 0};
  for (unsigned s = 0; s < 2; s++) y[s] = (const float *)c->side[s].out[0].data + at * n;
  for (int64_t i = 0; i < n; i++) {
    dot += (double)y[0][i] * (double)y[1][i];
    for (unsigned s = 0; s < 2; s++) {
      square[s] += (double)y[s][i] * (double)y[s][i];
      if (y[s][i] > y[s][best[s]]) best[s] = i;
    }
  }
  double length = sqrt(square[0] * square[1]);
  c->score.cosine += length > 0 ? dot / length : 0;
  c->score.agree += best[0] == best[1];
  c->score.n++;
}

static void compare_streams(comparison *c, int64_t at) {
  for (unsigned k = 0; k < c->n; k++) {
    const vq_type *t = c->side[0].out[k + 1].type;
    int64_t n = vq_type_count(t) / c->in.type->dim[0];  // windows are of one picture
    const float *x = (const float *)c->side[0].out[k + 1].data + at * n;
    const float *y = (const float *)c->side[1].out[k + 1].data + at * n;
    for (int64_t i = 0; i < n; i++) {
      double d = (double)x[i] - (double)y[i];
      c->signal[k] += (double)x[i] * (double)x[i];
      c->noise[k] += d * d;
    }
  }
}

// The batch from held sample `first` on; one that they do not fill is filled by the last.
static vq_status run_batch(comparison *c, int64_t first) {
  vq_exec *e = c->pc->exec;
  const vq_samples *all = e->samples;
  int64_t batch = c->in.type->dim[0], count = vq_type_count(c->in.type) / batch;
  int64_t last = e->held->n - 1;
  for (int64_t b = 0; b < batch; b++)
    if (all->load(all->user, all->n + (first + b < last ? first + b : last),
                  (float *)c->in.data + b * count, c->pc->diag))
      return VQ_ERR;
  for (unsigned s = 0; s < 2; s++)
    if (e->ops->run(c->side[s].program, &c->in, c->side[s].out, 0, c->pc->diag))
      return VQ_ERR;
  for (int64_t b = 0; b < batch && first + b <= last; b++) {
    compare_logits(c, b);
    compare_streams(c, b);
  }
  return VQ_OK;
}

static vq_status compare(comparison *c, const vq_module *quantized) {
  const vq_held_back *held = c->pc->exec->held;
  const vq_samples *all = c->pc->exec->samples;
  find_streams(c, main_of(held->model), main_of(quantized));
  c->signal = VQ_NEW_N(c->pc->temp, double, c->n + 1);
  c->noise = VQ_NEW_N(c->pc->temp, double, c->n + 1);
  const vq_type *t = main_of(held->model)->arg[0].type;
  c->in = (vq_tensor){t, vq_arena_alloc(c->pc->temp, (size_t)vq_type_bytes(t), 64)};
  if (prepare(c, &c->side[0], held->model) || prepare(c, &c->side[1], quantized))
    return VQ_ERR;
  for (int64_t i = 0; i < held->n; i += t->dim[0]) {
    if (all->progress && all->progress(all->user, "score-quant", i, held->n)) return VQ_ERR;
    if (run_batch(c, i)) return VQ_ERR;
  }
  return VQ_OK;
}

// A stream without any error, or without any signal, has the most that is told apart.
static void store_score(comparison *c, vq_held_back *held) {
  const double most = 150;
  vq_score *s = &c->score;
  s->cosine /= (double)s->n;
  s->n_block = c->n;
  s->block = calloc(c->n + 1, sizeof *s->block);
  if (!s->block) vq_oom(c->n * sizeof *s->block);
  for (unsigned k = 0; k < c->n; k++) {
    double db = c->noise[k] > 0 ? 10 * log10(c->signal[k] / c->noise[k]) : most;
    s->block[k] = db > most ? most : db < -most ? -most : db;
  }
  free(held->score.block);
  held->score = *s;
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
  for (unsigned s = 0; s < 2; s++) {
    if (c.side[s].program) pc->exec->ops->release(c.side[s].program);
    if (c.side[s].m) vq_module_destroy(c.side[s].m);
  }
  vq_stat(pc, "pictures held back", st ? 0 : c.score.n);
  vq_stat(pc, "of these agree", st ? 0 : c.score.agree);
  return st;
}
