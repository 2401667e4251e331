// See numbers.h.
#include "numbers.h"

#include <float.h>

#include "loop.h"

static float scale_of(const vq_op *op) { return VQ_ATTRS(op, attention_int)->scale; }

// How many words `op` has. The order of scores is that of their sums if the scale is a
// positive number, which code may rely on.
static unsigned words_of(const vq_op *op) {
  switch ((int)op->code) {
    case VQ_OP_attention_int: return scale_of(op) > 0 && scale_of(op) <= FLT_MAX;
    case VQ_OP_layer_norm: return vq_in(op, 0)->type->dtype == VQ_i16;
    case VQ_OP_piecewise_int: return VQ_CURVE_WORDS;
    default: return 0;
  }
}

static float number_of(const vq_op *op) {
  return op->code == VQ_OP_attention_int ? scale_of(op) : VQ_ATTRS(op, layer_norm)->eps;
}

static void get_words(const vq_op *op, uint32_t *word) {
  if (op->code != VQ_OP_piecewise_int) {
    float number = number_of(op);
    memcpy(word, &number, sizeof *word);
    return;
  }
  vq_curve c;
  const vq_attrs_piecewise_int *a = VQ_ATTRS(op, piecewise_int);
  if (!vq_curve_of(a->fn, a->step, &c)) VQ_BUG("piecewise_int without a table");
  memset(word, 0, VQ_CURVE_WORDS * sizeof *word);
  memcpy(word, c.c, sizeof c.c);
}

unsigned vq_numbers_of(const vq_func *kernel, uint32_t *number) {
  unsigned n = 0;
  vq_each_op(kernel, op) {
    unsigned own = words_of(op);
    if (n + own > VQ_MAX_NUMBERS) return 0;
    if (own && number) get_words(op, number + n);
    n += own;
  }
  return n;
}

// ---- comparing ---------------------------------------------------------------------

static unsigned position(const vq_op *op) {
  unsigned n = 0;
  while ((op = op->prev)) n++;
  return n;
}

static bool same_operand(const vq_value *a, const vq_value *b) {
  if (a->kind != b->kind || a->type != b->type) return false;
  switch (a->kind) {
    case VQ_VALUE_ARG: return a->idx == b->idx;
    case VQ_VALUE_CONST: return a == b;
    case VQ_VALUE_RESULT: break;
  }
  return a->idx == b->idx && position(a->def) == position(b->def);
}

static bool same_attrs(const vq_op *a, const vq_op *b) {
  if (!words_of(a) || !words_of(b))
    return vq_op_attrs_equal(a->code, a->attrs, b->attrs);
  if (a->code == VQ_OP_piecewise_int) return true;  // the words say all
  if (a->code == VQ_OP_attention_int) {
    vq_attrs_attention_int x = *VQ_ATTRS(b, attention_int);
    x.scale = scale_of(a);
    return vq_op_attrs_equal(a->code, a->attrs, &x);
  }
  vq_attrs_layer_norm x = *VQ_ATTRS(b, layer_norm);
  x.eps = number_of(a);
  return vq_op_attrs_equal(a->code, a->attrs, &x);
}

static bool same_op(const vq_op *a, const vq_op *b) {
  if (a->code != b->code || a->n_in != b->n_in || a->n_out != b->n_out ||
      !same_attrs(a, b))
    return false;
  for (unsigned i = 0; i < a->n_in; i++)
    if (!same_operand(vq_in(a, i), vq_in(b, i))) return false;
  for (unsigned i = 0; i < a->n_out; i++)
    if (a->out[i].type != b->out[i].type) return false;
  return true;
}

bool vq_numbers_apart(const vq_func *a, const vq_func *b) {
  unsigned n = vq_numbers_of(a, NULL);
  if (!n || n != vq_numbers_of(b, NULL) || a->n_arg != b->n_arg ||
      a->n_result != b->n_result)
    return false;
  for (unsigned i = 0; i < a->n_arg; i++)
    if (a->arg[i].type != b->arg[i].type) return false;
  const vq_op *x = a->first, *y = b->first;
  for (; x && y; x = x->next, y = y->next)
    if (!same_op(x, y)) return false;
  return x == y;
}

// ---- in code -----------------------------------------------------------------------

// The words of `op` in the module, for a kernel that has more than a step passes.
static LLVMValueRef own_memory(const vq_emit *e, const vq_op *op) {
  uint32_t word[VQ_MAX_NUMBERS];
  LLVMValueRef c[VQ_MAX_NUMBERS];
  unsigned n = words_of(op);
  get_words(op, word);
  for (unsigned i = 0; i < n; i++) c[i] = LLVMConstInt(e->i32, word[i], false);
  LLVMValueRef init = LLVMConstArray2(e->i32, c, n);
  LLVMValueRef g = LLVMAddGlobal(e->mod, LLVMTypeOf(init), "vqk_numbers");
  LLVMSetInitializer(g, init);
  LLVMSetGlobalConstant(g, true);
  LLVMSetLinkage(g, LLVMInternalLinkage);
  return g;
}

LLVMValueRef vq_numbers_at(const vq_emit *e, const vq_op *op) {
  unsigned n = 0;
  if (!e->numbers) return own_memory(e, op);
  for (const vq_op *p = op->prev; p; p = p->prev) n += words_of(p);
  return vq_atk(e, e->i32, e->numbers, n);
}

LLVMValueRef vq_number(const vq_emit *e, const vq_op *op) {
  if (!e->numbers || !words_of(op)) return vq_kf32(e, number_of(op));
  return vq_load(e, e->f32, vq_numbers_at(e, op), 4);
}
