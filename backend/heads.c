// Operands and tasks of attention. See heads.h.
#include "heads.h"

#include "elt.h"
#include "loop.h"
#include "tile.h"

#define TASK_BLOCKS 4

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static bool view_of(const vq_value *x, vq_view *v) {
  *v = (vq_view){.base = x};
  if (x->kind == VQ_VALUE_RESULT && x->def->code == VQ_OP_slice) {
    const vq_attrs_slice *s = VQ_ATTRS(x->def, slice);
    v->base = vq_in(x->def, 0);
    for (unsigned k = 0; k < s->step.n; k++)
      if (s->step.p[k] != 1) return false;
    int64_t stride[VQ_MAX_RANK];
    vq_type_strides(v->base->type, stride);
    for (unsigned k = 0; k < s->begin.n; k++) v->at += s->begin.p[k] * stride[k];
  }
  v->row = v->base->type->dim[2];
  v->batch = v->base->type->dim[1] * v->row;
  return v->base->kind == VQ_VALUE_ARG;
}

// Ops behind the slices: the softmax of `op`, which follows, and nothing else.
static bool match_both(const vq_func *kernel, const vq_op *soft, vq_heads *s) {
  const vq_op *y = soft->next, *ret = kernel->last;
  while (y->code == VQ_OP_slice) y = y->next;
  if (y->code != VQ_OP_attention || y->next != ret || ret->n_in != 2) return false;
  const vq_attrs_attention_softmax *a = VQ_ATTRS(soft, attention_softmax);
  const vq_attrs_attention *b = VQ_ATTRS(y, attention);
  s->softmax = soft, s->op = y;
  s->y_at = vq_in(ret, 1) == y->out;
  s->softmax_at = !s->y_at;
  return vq_in(ret, s->y_at) == y->out && vq_in(ret, s->softmax_at) == soft->out &&
         vq_in(soft, 0) == vq_in(y, 0) && vq_in(soft, 1) == vq_in(y, 1) &&
         vq_in_opt(soft, 2) == vq_in_opt(y, 3) && a->heads == b->heads &&
         !memcmp(&a->scale, &b->scale, sizeof a->scale);
}

static bool match_op(const vq_func *kernel, vq_opcode code, vq_heads *s) {
  const vq_op *op = kernel->first;
  while (op->code == VQ_OP_slice) op = op->next;
  if (op->code == VQ_OP_attention_softmax && code == VQ_OP_attention)
    return match_both(kernel, op, s);
  s->op = op;
  return op->code == code && vq_chain_match(kernel, op, &s->chain);
}

bool vq_heads_match(const vq_func *kernel, vq_opcode code, vq_heads *s) {
  memset(s, 0, sizeof *s);
  if (!match_op(kernel, code, s)) return false;
  const vq_op *op = s->op;
  const vq_type *q = vq_in(op, 0)->type, *v = vq_in(op, 2)->type;
  if (!view_of(vq_in(op, 0), &s->q) || !view_of(vq_in(op, 1), &s->k) ||
      !view_of(vq_in(op, 2), &s->v))
    return false;
  bool grad = code == VQ_OP_attention_grad;
  if (grad && !view_of(vq_in(op, 3), &s->g)) return false;
  s->bias = grad ? NULL : vq_in_opt(op, 3);
  if (s->bias && s->bias->kind != VQ_VALUE_ARG) return false;
  bool codes = code == VQ_OP_attention_int;
  s->heads = codes  ? VQ_ATTRS(op, attention_int)->heads
             : grad ? VQ_ATTRS(op, attention_grad)->heads
                    : VQ_ATTRS(op, attention)->heads;
  s->batch = q->dim[0], s->n = q->dim[1], s->m = v->dim[1];
  s->d = q->dim[2] / s->heads, s->e = v->dim[2] / s->heads;
  s->m_pad = round_up(s->m, VQ_PANEL), s->e_pad = round_up(s->e, VQ_PANEL);
  int64_t most = codes ? VQ_HEADS_BLOCK_ROWS : VQ_HEADS_FLOAT_ROWS;
  s->n_block = (s->n + most - 1) / most;
  s->n_task = (s->n_block + TASK_BLOCKS - 1) / TASK_BLOCKS;
  int64_t cols = codes ? s->m_pad : s->m;  // tiles of floats may end within a panel
  s->score = (vq_product){.m = s->n, .parts = s->n_block, .n = cols, .codes = codes};
  s->value = (vq_product){.m = s->n, .parts = s->n_block, .n = s->e, .codes = codes};
  return s->m > 0;
}

LLVMValueRef vq_heads_token(const vq_emit *e, const vq_heads *s, const vq_view *v,
                            LLVMValueRef n, int64_t size) {
  LLVMValueRef at = vq_addk(e, vq_mulk(e, s->b, v->batch), v->at);
  at = vq_add(e, at, vq_mulk(e, n, v->row));
  at = vq_add(e, at, vq_mulk(e, s->h, size));
  return vq_at(e, vq_elt_storage(e, v->base->type->dtype), vq_arg_ptr(e, v->base), at);
}

LLVMValueRef vq_heads_softmax(const vq_emit *e, const vq_heads *s, LLVMValueRef p,
                              LLVMValueRef n) {
  LLVMValueRef head = vq_add(e, vq_mulk(e, s->b, s->heads), s->h);
  n = vq_add(e, vq_mulk(e, head, s->n), n);
  return vq_at(e, e->f32, p, vq_mulk(e, n, s->m));
}

LLVMValueRef vq_heads_bias(const vq_emit *e, const vq_heads *s, LLVMValueRef n) {
  if (!s->bias) return NULL;
  const int64_t *dim = s->bias->type->dim;
  LLVMValueRef at = vq_mulk(e, vq_modk(e, s->b, dim[0]), dim[1]);
  at = vq_mulk(e, vq_add(e, at, vq_modk(e, s->h, dim[1])), s->n);
  at = vq_mulk(e, vq_add(e, at, n), s->m);
  return vq_at(e, e->f32, vq_arg_ptr(e, s->bias), at);
}

unsigned vq_heads_width(const vq_emit *e, const vq_product *p) {
  vq_tile_shape s = vq_tile_choose(e->target, p);
  return s.vecs * s.lanes;
}

static void one_block(const vq_emit *e, void *user, LLVMValueRef row,
                      LLVMValueRef rows) {
  const vq_heads_walk *w = user;
  w->block(e, w->user, vq_add(e, w->row0, row), rows);
}

static void amx_block(const vq_emit *e, void *user, const vq_amx_block *b) {
  const vq_heads_walk *w = user;
  w->block(e, w->user, vq_add(e, w->row0, b->row), w->amx->size);
}

// Blocks of queries [lo, hi), whose rows AMX divides anew.
static void amx_blocks(const vq_emit *e, vq_heads_walk *w, LLVMValueRef lo,
                       LLVMValueRef hi) {
  const vq_product *p = &w->s->score;
  LLVMValueRef end;
  vq_part_rows(e, p, lo, &w->row0);
  vq_part_rows(e, p, hi, &end);
  LLVMValueRef rows = LLVMBuildNSWSub(e->b, end, w->row0, "");
  vq_amx x = vq_amx_begin(e, p, rows, w->config);
  w->amx = &x;
  vq_amx_each_block(e, &x, amx_block, NULL, w);
  vq_amx_end(e);
}

static void blocks(const vq_emit *e, vq_heads_walk *w, LLVMValueRef lo,
                   LLVMValueRef hi) {
  vq_loop block;
  vq_loop_begin(e, &block, lo, hi, 1, 0, NULL);
  LLVMValueRef rows = vq_part_rows(e, &w->s->score, block.i, &w->row0);
  vq_each_block(e, &w->s->score, rows, one_block, w);
  vq_loop_end(e, &block);
}

void vq_heads_each(const vq_emit *e, vq_heads_walk *w) {
  vq_heads *s = w->s;
  vq_loop l;
  vq_loop_begin(e, &l, e->begin, e->end, 1, 0, NULL);
  LLVMValueRef head = vq_divk(e, l.i, s->n_task);
  LLVMValueRef lo = vq_mulk(e, vq_modk(e, l.i, s->n_task), TASK_BLOCKS);
  s->b = vq_divk(e, head, s->heads), s->h = vq_modk(e, head, s->heads);
  vq_if pack;
  LLVMValueRef fresh = LLVMBuildOr(
      e->b, LLVMBuildICmp(e->b, LLVMIntEQ, l.i, e->begin, ""),
      LLVMBuildICmp(e->b, LLVMIntEQ, lo, vq_k64(e, 0), ""), "");
  vq_if_begin(e, &pack, fresh);
  w->pack(e, w->user);
  vq_if_end(e, &pack);
  LLVMValueRef hi = vq_min64(e, vq_addk(e, lo, TASK_BLOCKS), vq_k64(e, s->n_block));
  if (w->config)
    amx_blocks(e, w, lo, hi);
  else
    blocks(e, w, lo, hi);
  vq_loop_end(e, &l);
}
