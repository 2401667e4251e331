// Elementwise ops over one shape, without anything before them.
//
// The dimensions in which every operand is one run (or one element) form a row;
// rows are walked in vectors. A task is a stretch of at least 4096 elements:
// whole rows, or, when there is one long row only, a piece of it.
#include "chain.h"
#include "loop.h"

#define TASK_SIZE 4096

bool match_elementwise(const vq_func *kernel, vq_kernel_plan *plan);
vq_status emit_elementwise(vq_emit *e);

typedef struct elementwise {
  vq_chain chain;
  int64_t task_rows;  // rows of a task, or 0: TASK_SIZE columns of one row
  LLVMValueRef row;   // while emitting
} elementwise;

static bool describe(const vq_func *kernel, elementwise *p) {
  memset(p, 0, sizeof *p);
  if (!kernel->first->next || !vq_chain_match(kernel, NULL, &p->chain))
    return false;
  if (p->chain.rows > 1)
    p->task_rows = (TASK_SIZE + p->chain.cols - 1) / p->chain.cols;
  return true;
}

bool match_elementwise(const vq_func *kernel, vq_kernel_plan *plan) {
  elementwise p;
  if (!describe(kernel, &p)) return false;
  plan->n_task = p.task_rows
                     ? (p.chain.rows + p.task_rows - 1) / p.task_rows
                     : (p.chain.cols + TASK_SIZE - 1) / TASK_SIZE;
  return true;
}

static void step(const vq_emit *e, void *user, LLVMValueRef col, unsigned lanes,
                 unsigned n, LLVMValueRef *v) {
  const elementwise *p = user;
  (void)v;
  vq_chain_store(e, &p->chain, NULL, p->row, col, lanes, n);
}

// Columns of the tasks [begin, end) of a single row; TASK_SIZE is a multiple
// of every vector length, so only the row's own end is ragged.
static void emit_pieces(vq_emit *e, elementwise *p, unsigned lanes) {
  int64_t cols = p->chain.cols, whole = cols - cols % lanes;
  LLVMValueRef hi = vq_mulk(e, e->end, TASK_SIZE);
  p->row = vq_k64(e, 0);
  vq_loop l;
  vq_loop_begin(e, &l, vq_mulk(e, e->begin, TASK_SIZE),
                vq_min64(e, hi, vq_k64(e, whole)), lanes, 0, NULL);
  step(e, p, l.i, lanes, lanes, NULL);
  vq_loop_end(e, &l);
  if (whole == cols) return;
  vq_if last;
  vq_if_begin(e, &last,
              LLVMBuildICmp(e->b, LLVMIntSGE, hi, vq_k64(e, cols), ""));
  step(e, p, vq_k64(e, whole), lanes, (unsigned)(cols - whole), NULL);
  vq_if_end(e, &last);
}

vq_status emit_elementwise(vq_emit *e) {
  elementwise p;
  if (!describe(e->kernel, &p)) VQ_BUG("elementwise does not take this kernel");
  unsigned lanes = vq_f32_lanes(e->target);
  if (!p.task_rows) {
    emit_pieces(e, &p, lanes);
    return VQ_OK;
  }
  vq_loop l;
  vq_loop_begin(e, &l, vq_mulk(e, e->begin, p.task_rows),
                vq_min64(e, vq_mulk(e, e->end, p.task_rows),
                         vq_k64(e, p.chain.rows)), 1, 0, NULL);
  p.row = l.i;
  vq_row_each(e, p.chain.cols, lanes, step, &p, 0, NULL);
  vq_loop_end(e, &l);
  return VQ_OK;
}
