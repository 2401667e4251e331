// Pass "plan-memory": arena offsets for every result of every call in @main.
//
// A tensor lives from the call that writes it to the last call that reads it,
// itself or through a view. Tensors alive at the same call must not overlap.
// They are placed largest first, each into the smallest gap it fits in between
// the placed tensors it is alive together with, or behind them all. Offsets are
// multiples of 64. Tensors that are model outputs live in the caller's buffers
// (offset -1).
#include "passes.h"
#include "vq/rewrite.h"
#include "vq/vec.h"

#define ALIGN 64

typedef struct block {
  const vq_value *v;
  int64_t size, offset;   // size is rounded up to ALIGN
  uint32_t first, last;   // calls, numbered in program order
  bool output, placed;
} block;

typedef struct plan {
  VQ_VEC(block) block;      // in program order
  VQ_VEC(uint32_t) order;   // by placement
  int64_t size;
} plan;

// The last call that reads `v` or a view of it; returns of it set *output.
// Calls carry their number in `scratch`.
static uint32_t last_read(const vq_value *v, uint32_t last, bool *output) {
  vq_each_use(v, u) {
    const vq_op *user = u->user;
    if (vq_has_trait(user, VQ_TRAIT_TERM)) {
      *output = true;
    } else if (vq_has_trait(user, VQ_TRAIT_VIEW)) {
      last = last_read(&user->out[0], last, output);
    } else {
      uint32_t at = (uint32_t)(uintptr_t)user->scratch;
      if (at > last) last = at;
    }
  }
  return last;
}

static void find_blocks(plan *p, vq_func *f) {
  uint32_t n = 0;
  vq_each_op(f, op)
    op->scratch = vq_has_trait(op, VQ_TRAIT_CALL) ? (void *)(uintptr_t)++n : NULL;
  vq_each_op(f, op) {
    if (!vq_has_trait(op, VQ_TRAIT_CALL)) continue;
    for (unsigned i = 0; i < op->n_out; i++) {
      block b = {.v = &op->out[i], .first = (uint32_t)(uintptr_t)op->scratch};
      b.size = (vq_type_bytes(b.v->type) + ALIGN - 1) & -(int64_t)ALIGN;
      b.last = last_read(b.v, b.first, &b.output);
      vq_vec_push(&p->block, b);
    }
  }
  vq_each_op(f, op) op->scratch = NULL;
}

// Largest first; of equal ones the earlier first, so that the order is total.
static void sort_blocks(plan *p) {
  vq_vec_reserve(&p->order, p->block.n);
  for (uint32_t i = 0; i < p->block.n; i++) {
    if (p->block.p[i].output) continue;
    size_t k = p->order.n;
    vq_vec_push(&p->order, i);
    for (; k && p->block.p[p->order.p[k - 1]].size < p->block.p[i].size; k--)
      p->order.p[k] = p->order.p[k - 1];
    p->order.p[k] = i;
  }
}

static bool together(const block *a, const block *b) {
  return a->first <= b->last && b->first <= a->last;
}

// Blocks already placed and alive together with `b`, sorted by offset.
static unsigned neighbours(const plan *p, const block *b, const block **out) {
  unsigned n = 0;
  for (size_t i = 0; i < p->order.n; i++) {
    const block *c = &p->block.p[p->order.p[i]];
    if (!c->placed) break;
    if (!together(b, c)) continue;
    unsigned k = n++;
    for (; k && out[k - 1]->offset > c->offset; k--) out[k] = out[k - 1];
    out[k] = c;
  }
  return n;
}

static void place(plan *p, block *b, const block **near) {
  unsigned n = neighbours(p, b, near);
  int64_t end = 0, best = -1, best_gap = INT64_MAX;
  for (unsigned i = 0; i < n; i++) {
    int64_t gap = near[i]->offset - end;
    if (gap >= b->size && gap < best_gap) {
      best = end;
      best_gap = gap;
    }
    if (near[i]->offset + near[i]->size > end)
      end = near[i]->offset + near[i]->size;
  }
  b->offset = best >= 0 ? best : end;
  b->placed = true;
  if (b->offset + b->size > p->size) p->size = b->offset + b->size;
}

static void set_offsets(const plan *p, vq_func *f, vq_arena *temp) {
  const block *b = p->block.p;
  vq_each_op(f, op) {
    if (!vq_has_trait(op, VQ_TRAIT_CALL)) continue;
    int64_t *offset = VQ_NEW_N(temp, int64_t, op->n_out);
    for (unsigned i = 0; i < op->n_out; i++, b++)
      offset[i] = b->output ? -1 : b->offset;
    vq_attrs_call a = *VQ_ATTRS(op, call);
    a.offsets = (vq_ints){offset, op->n_out};
    vq_set_attrs(op, &a);
  }
}

vq_status vq_pass_plan_memory(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_module_func(m, VQ_LIT("main"));
  if (!f)
    return vq_error(pc->diag, VQ_E_structure, (vq_loc){0},
                    "the module has no @main");
  plan p = {0};
  int64_t total = 0;
  find_blocks(&p, f);
  sort_blocks(&p);
  const block **near = VQ_NEW_N(pc->temp, const block *, p.block.n);
  for (size_t i = 0; i < p.order.n; i++) {
    block *b = &p.block.p[p.order.p[i]];
    place(&p, b, near);
    total += b->size;
  }
  set_offsets(&p, f, pc->temp);
  m->arena_size = (uint64_t)p.size;
  vq_stat(pc, "arena bytes", p.size);
  vq_stat(pc, "bytes without sharing", total);
  vq_vec_release(&p.block);
  vq_vec_release(&p.order);
  return VQ_OK;
}
