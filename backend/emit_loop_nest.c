// The emitter that takes whatever no other one takes.
//
// Ops are computed one after the other into the kernel's results or into
// scratch memory, light ones inside the loops of their reader (nest.h). A
// kernel that comes down to one such loop nest is divided into tasks, its rows;
// any other is a single task. Innermost loops are contiguous where the tensors
// are and are left to LLVM to vectorise; where a float sum stands in the way of
// that, nest_rows.c and nest_gemm.c write vectors themselves.
#include "elt.h"
#include "loop.h"
#include "nest.h"

#define MAX_SCRATCH (INT64_C(1) << 30)

bool match_loop_nest(const vq_func *kernel, vq_kernel_plan *plan);
vq_status emit_loop_nest(vq_emit *e);

int64_t vq_nest_rows(const vq_op *op) {
  const vq_type *t = op->out[0].type;
  int64_t n = 1;
  for (unsigned k = 0; k + 1 < t->rank; k++) n *= t->dim[k];
  return n;
}

// ---- the ops ---------------------------------------------------------------------

const vq_nest_op *vq_nest_op_of(vq_opcode code) {
  static const vq_nest_op table[] = {
      {VQ_OP_concat, vq_nest_concat_tasks, NULL, vq_nest_concat},
      {VQ_OP_reduce_sum, vq_nest_reduce_tasks, NULL, vq_nest_reduce},
      {VQ_OP_reduce_mean, vq_nest_reduce_tasks, NULL, vq_nest_reduce},
      {VQ_OP_reduce_max, vq_nest_reduce_tasks, NULL, vq_nest_reduce},
      {VQ_OP_reduce_min, vq_nest_reduce_tasks, NULL, vq_nest_reduce},
      {VQ_OP_reduce_prod, vq_nest_reduce_tasks, NULL, vq_nest_reduce},
      {VQ_OP_matmul, vq_nest_rows, NULL, vq_nest_matmul},
      {VQ_OP_linear, vq_nest_rows, NULL, vq_nest_linear},
      {VQ_OP_patch_embed, vq_nest_rows, vq_nest_patch_scratch,
       vq_nest_patch_embed},
      {VQ_OP_conv2d, vq_nest_rows, NULL, vq_nest_conv2d},
      {VQ_OP_layer_norm, vq_nest_rows, NULL, vq_nest_layer_norm},
      {VQ_OP_layer_norm_grad, vq_nest_rows, NULL, vq_nest_layer_norm_grad},
      {VQ_OP_variation, vq_nest_variation_tasks, NULL, vq_nest_variation},
      {VQ_OP_variation_grad, vq_nest_rows, NULL, vq_nest_variation_grad},
      {VQ_OP_softmax, vq_nest_softmax_tasks, NULL, vq_nest_softmax},
      {VQ_OP_attention, vq_nest_rows, vq_nest_attention_scratch,
       vq_nest_attention},
      {VQ_OP_attention_softmax, vq_nest_rows, NULL, vq_nest_attention_softmax},
      {VQ_OP_attention_grad, vq_nest_attention_grad_tasks, vq_nest_attention_grad_scratch,
       vq_nest_attention_grad},
      {VQ_OP_attention_int, vq_nest_rows, vq_nest_attention_int_scratch,
       vq_nest_attention_int},
  };
  for (unsigned i = 0; i < VQ_COUNT(table); i++)
    if (table[i].code == code) return &table[i];
  return NULL;
}

static void emit_light(const vq_emit *e, const vq_op *op, LLVMValueRef task) {
  const vq_value *v = &op->out[0];
  const vq_type *t = v->type;
  LLVMValueRef idx[VQ_MAX_RANK];
  vq_loop l;
  int64_t last = t->rank ? t->dim[t->rank - 1] : 1;
  if (t->rank) vq_nest_unflatten(e, t, t->rank - 1u, task, idx);
  vq_loop_range(e, &l, last, 1);
  if (t->rank) idx[t->rank - 1] = l.i;
  vq_nest_store(e, v, vq_add(e, vq_mulk(e, task, last), l.i),
                vq_nest_value(e, op, idx));
  vq_loop_end(e, &l);
}

static int64_t tasks_of(const vq_op *op) {
  const vq_nest_op *n = vq_nest_op_of(op->code);
  return n ? n->tasks(op) : vq_nest_rows(op);
}

// ---- the plan --------------------------------------------------------------------

static bool has_element_form(const vq_op *op) {
  switch (op->code) {
    case VQ_OP_copy:
    case VQ_OP_reshape:
    case VQ_OP_transpose:
    case VQ_OP_slice:
    case VQ_OP_expand:
    case VQ_OP_gather:
    case VQ_OP_gather_rows:
    case VQ_OP_pad:
    case VQ_OP_pack_weight:
      return true;
    default:
      return vq_has_trait(op, VQ_TRAIT_ELTWISE);
  }
}

// Whether result `i` is written directly by the op that computes it.
static bool in_place(const vq_func *f, unsigned i) {
  const vq_value *v = vq_in(f->last, i);
  if (v->kind != VQ_VALUE_RESULT || vq_dtype_bits(v->type->dtype) < 8) return false;
  for (unsigned k = 0; k < i; k++)
    if (vq_in(f->last, k) == v) return false;
  return true;
}

static bool has_nest(const vq_op *op) {
  return !vq_has_trait(op, VQ_TRAIT_TERM) && !vq_nest_inline(&op->out[0]);
}

// The op whose loop nest is the whole kernel, so that it can be divided into
// tasks; NULL when there are several, or results to copy.
static const vq_op *only_nest(const vq_func *f) {
  const vq_op *only = NULL;
  unsigned n = 0;
  vq_each_op(f, op) {
    if (!has_nest(op)) continue;
    only = op;
    n++;
  }
  for (unsigned i = 0; i < f->n_result; i++)
    if (!in_place(f, i)) return NULL;
  return n == 1 ? only : NULL;
}

bool match_loop_nest(const vq_func *kernel, vq_kernel_plan *plan) {
  int64_t temps = vq_nest_temp_bytes(kernel, NULL), own = 0;
  vq_each_op(kernel, op) {
    if (vq_has_trait(op, VQ_TRAIT_TERM)) continue;
    const vq_nest_op *n = vq_nest_op_of(op->code);
    if (!n && !has_element_form(op)) return false;
    if (n && n->scratch && n->scratch(op) > own) own = n->scratch(op);
  }
  const vq_op *only = only_nest(kernel);
  plan->n_task = only ? tasks_of(only) : 1;
  plan->scratch_bytes = (uint32_t)(temps + own);
  return temps + own <= MAX_SCRATCH;
}

// ---- the code --------------------------------------------------------------------

static void emit_op(const vq_emit *e, const vq_op *op, bool split) {
  const vq_nest_op *n = vq_nest_op_of(op->code);
  vq_loop l;
  if (tasks_of(op) == 0) return;  // an empty tensor
  if (split)
    vq_loop_begin(e, &l, e->begin, e->end, 1, 0, NULL);
  else
    vq_loop_range(e, &l, tasks_of(op), 1);
  if (n)
    n->emit(e, op, l.i,
            vq_atk(e, e->i8, e->scratch, vq_nest_temp_bytes(e->kernel, NULL)));
  else
    emit_light(e, op, l.i);
  vq_loop_end(e, &l);
}

// Two 4-bit codes of `v` to a byte of `to`.
static void pack_nibbles(const vq_emit *e, const vq_value *v, LLVMValueRef to) {
  int64_t n = vq_type_count(v->type);
  LLVMValueRef low_bits = LLVMConstInt(e->i8, 15, false);
  LLVMValueRef four = LLVMConstInt(e->i8, 4, false), last = vq_k64(e, n - 1);
  vq_loop l;
  vq_loop_range(e, &l, (n + 1) / 2, 1);
  LLVMValueRef at = vq_mulk(e, l.i, 2), next = vq_addk(e, at, 1);
  LLVMValueRef low = vq_nest_load(e, v, at);
  LLVMValueRef high = vq_nest_load(e, v, vq_min64(e, next, last));
  LLVMValueRef none = LLVMBuildICmp(e->b, LLVMIntSGT, next, last, "");
  high = LLVMBuildSelect(e->b, none, LLVMConstNull(e->i8), high, "");
  LLVMValueRef byte = LLVMBuildOr(e->b, LLVMBuildAnd(e->b, low, low_bits, ""),
                                  LLVMBuildShl(e->b, high, four, ""), "");
  vq_elt_store(e, VQ_i8, byte, to, l.i, 1);
  vq_loop_end(e, &l);
}

static void copy_result(const vq_emit *e, unsigned i) {
  const vq_value *v = vq_in(e->kernel->last, i);
  if (vq_dtype_bits(v->type->dtype) < 8) {
    pack_nibbles(e, v, e->result[i]);
    return;
  }
  vq_loop l;
  vq_loop_range(e, &l, vq_type_count(v->type), 1);
  vq_elt_store(e, v->type->dtype, vq_nest_load(e, v, l.i), e->result[i], l.i, 1);
  vq_loop_end(e, &l);
}

vq_status emit_loop_nest(vq_emit *e) {
  bool split = only_nest(e->kernel) != NULL;
  vq_each_op(e->kernel, op) {
    if (has_nest(op)) emit_op(e, op, split);
  }
  for (unsigned i = 0; i < e->kernel->n_result; i++)
    if (!in_place(e->kernel, i)) copy_result(e, i);
  return VQ_OK;
}
