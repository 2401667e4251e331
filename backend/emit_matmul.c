// matmul of floats, both of whose operands are activations.
//
// A task is a block of rows of one matrix of the result. When the matrix changes, the right
// operand is copied into panels, transposed where the op says so; then it is the product of
// a linear without an epilogue. Few rows do not pay for that and are left to the loop nest.
#include "heads.h"
#include "loop.h"
#include "nest.h"
#include "panels.h"

#define SCRATCH_MAX (4 << 20)
#define TASK_ROWS 48
#define FEW_ROWS 12

bool match_matmul(const vq_func *kernel, vq_kernel_plan *plan);
vq_status emit_matmul(vq_emit *e);

typedef struct matmul {
  const vq_op *op;
  const vq_value *a, *b, *y;
  int64_t batch, k;  // batch: matrices of the result
  vq_product product;
  int64_t panels;    // elements of b in scratch
} matmul;

static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

static int64_t scratch_bytes(const matmul *m) {
  return (m->panels + VQ_TILE_FLOATS + VQ_TILE_COLS) * (int64_t)sizeof(float);
}

static bool describe(const vq_func *kernel, matmul *m) {
  const vq_op *op = kernel->first;
  if (op->code != VQ_OP_matmul || op->next != kernel->last || kernel->last->n_in != 1)
    return false;
  *m = (matmul){.op = op, .a = vq_in(op, 0), .b = vq_in(op, 1), .y = &op->out[0]};
  const vq_type *t = m->y->type, *a = m->a->type;
  if (t->dtype != VQ_f32 || m->a->kind != VQ_VALUE_ARG || m->b->kind != VQ_VALUE_ARG)
    return false;
  int64_t rows = t->dim[t->rank - 2], cols = t->dim[t->rank - 1];
  m->k = a->dim[a->rank - 1];
  if (rows < FEW_ROWS || cols < 1 || m->k < 1) return false;
  m->batch = vq_type_count(t) / (rows * cols);
  m->product = (vq_product){.m = rows, .parts = (rows + TASK_ROWS - 1) / TASK_ROWS, .n = cols};
  m->panels = m->k * round_up(cols, VQ_PANEL);
  return scratch_bytes(m) <= SCRATCH_MAX;
}

bool match_matmul(const vq_func *kernel, vq_kernel_plan *plan) {
  matmul m;
  if (!describe(kernel, &m)) return false;
  plan->n_task = m.batch * m.product.parts;
  plan->scratch_bytes = (uint32_t)scratch_bytes(&m);
  plan->n_product = 1;
  plan->product[0] = m.product;
  return true;
}

// The right operand's matrix that begins at element `at`.
static void pack(const vq_emit *e, const matmul *m, LLVMValueRef at) {
  bool across = VQ_ATTRS(m->op, matmul)->transpose_b;
  int64_t n = m->product.n;
  vq_view view = {.base = m->b, .batch = 1, .row = across ? m->k : n};
  vq_heads one = {.b = at, .h = vq_k64(e, 0)};
  if (across)
    vq_heads_pack_across(e, &one, (vq_tokens){&view, n, m->k, 1}, e->scratch);
  else
    vq_heads_pack_rows(e, &one, (vq_tokens){&view, m->k, n, 1}, e->scratch);
}

static void emit_task(const vq_emit *e, const matmul *m, LLVMValueRef task) {
  const vq_product *p = &m->product;
  LLVMValueRef matrix = vq_divk(e, task, p->parts), part = vq_modk(e, task, p->parts);
  LLVMValueRef idx[VQ_MAX_RANK], row;
  unsigned lead = m->y->type->rank - 2u;
  vq_nest_unflatten(e, m->y->type, lead, matrix, idx);
  vq_if fresh;
  vq_if_begin(e, &fresh, LLVMBuildOr(
      e->b, LLVMBuildICmp(e->b, LLVMIntEQ, task, e->begin, ""),
      LLVMBuildICmp(e->b, LLVMIntEQ, part, vq_k64(e, 0), ""), ""));
  pack(e, m, vq_nest_matrix(e, m->b, idx, lead));
  vq_if_end(e, &fresh);
  vq_panels x = {.p = p, .rows = vq_part_rows(e, p, part, &row), .b = e->scratch,
                 .lda = m->k, .ldc = p->n, .k = m->k, .exact = true};
  LLVMValueRef a = vq_add(e, vq_nest_matrix(e, m->a, idx, lead), vq_mulk(e, row, m->k));
  LLVMValueRef y = vq_mulk(e, vq_add(e, vq_mulk(e, matrix, p->m), row), p->n);
  x.a = vq_at(e, e->f32, vq_arg_ptr(e, m->a), a);
  x.c = vq_at(e, e->f32, e->result[0], y);
  x.tile = vq_atk(e, e->f32, e->scratch, m->panels);
  x.zeros = vq_atk(e, e->f32, x.tile, VQ_TILE_FLOATS);
  vq_panels_multiply(e, &x);
}

vq_status emit_matmul(vq_emit *e) {
  matmul m;
  if (!describe(e->kernel, &m)) VQ_BUG("matmul does not take this kernel");
  vq_panels_clear(e, vq_atk(e, e->f32, e->scratch, m.panels + VQ_TILE_FLOATS));
  vq_loop l;
  vq_loop_begin(e, &l, e->begin, e->end, 1, 0, NULL);
  emit_task(e, &m, l.i);
  vq_loop_end(e, &l);
  return VQ_OK;
}
