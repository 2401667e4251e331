// Structural hash and equality: what a function computes, not how it is named.
//
// Ops are numbered in the order a depth-first walk from the operands of
// `return` finishes them, constants in the order it meets them. That order
// depends on the dataflow alone, so independent ops may stand in any order and
// dead ops do not count. Each op then hashes as its opcode, attributes, result
// types and the numbers of its operands. The walk keeps its own stack: a graph
// may be deeper than the C stack.
#include "core/core.h"
#include "vq/vec.h"

typedef struct frame {
  const vq_op *op;
  uint32_t next_in;
} frame;

// Functions hashed so far, by name.
typedef struct memo {
  vq_map hash;  // -> uint64_t
  vq_arena arena;
  unsigned depth;
} memo;

typedef struct hasher {
  vq_map number;  // vq_op* or vq_value* of a constant -> number + 1
  memo *known;
  VQ_VEC(frame) stack;
  uint64_t hash;
  uint32_t n;
  bool with_data;
} hasher;

static uint64_t hash_func(const vq_func *f, bool with_data, memo *known);

static void add(hasher *h, const void *p, size_t n) {
  h->hash = vq_hash_bytes(h->hash, p, n);
}

static void add_u64(hasher *h, uint64_t v) { add(h, &v, sizeof v); }

static void add_type(hasher *h, const vq_type *t) {
  add_u64(h, t->dtype);
  add_u64(h, t->rank);
  add(h, t->dim, t->rank * sizeof *t->dim);
  const vq_quant *q = t->q;
  if (!q) return;
  add_u64(h, q->store);
  add_u64(h, (uint64_t)(int64_t)q->axis);
  add(h, q->scale, q->n * sizeof *q->scale);
  add(h, q->zero, q->n * sizeof *q->zero);
}

// Gives the object at *key (which must stay where it is) the next number.
static void number(hasher *h, vq_str key) {
  *vq_map_put(&h->number, key) = (void *)(uintptr_t)++h->n;
}

static void add_const(hasher *h, vq_value *const *v) {
  vq_const *c = vq_const_of(*v);
  vq_str key = VQ_MAP_PTR_KEY(*v);
  void *known = vq_map_get(&h->number, key);
  add_u64(h, known ? (uintptr_t)known : 0);
  if (known) return;
  number(h, key);
  add_type(h, c->value.type);
  const void *bytes = h->with_data ? vq_const_bytes(c) : NULL;
  if (bytes) add(h, bytes, (size_t)vq_type_bytes(c->value.type));
}

static void add_operand(hasher *h, const vq_use *u) {
  const vq_value *v = u->val;
  add_u64(h, v->kind);
  switch (v->kind) {
    case VQ_VALUE_ARG:
      add_u64(h, v->idx);
      break;
    case VQ_VALUE_RESULT:
      add_u64(h, (uintptr_t)vq_map_get(&h->number, VQ_MAP_PTR_KEY(v->def)));
      add_u64(h, v->idx);
      break;
    case VQ_VALUE_CONST:
      add_const(h, &u->val);
      break;
  }
}

static void add_op(hasher *h, const vq_op *op) {
  add_u64(h, op->code);
  if (op->code == VQ_OP_call) {  // the callee by content
    const vq_attrs_call *a = op->attrs;
    const vq_func *f = vq_module_func(op->func->module, a->callee);
    add_u64(h, f ? hash_func(f, h->with_data, h->known) : 0);
    add(h, a->offsets.p, a->offsets.n * sizeof *a->offsets.p);
  } else {
    h->hash = vq_op_attrs_hash(op->code, op->attrs, h->hash);
  }
  add_u64(h, op->n_in);
  for (uint32_t i = 0; i < op->n_in; i++) add_operand(h, &op->in[i]);
  for (uint32_t i = 0; i < op->n_out; i++) add_type(h, op->out[i].type);
}

// Visits every op that `root` depends on, then `root`, operands first.
static void walk(hasher *h, const vq_op *root) {
  vq_vec_push(&h->stack, ((frame){root, 0}));
  while (h->stack.n) {
    frame *top = &h->stack.p[h->stack.n - 1];
    if (top->next_in < top->op->n_in) {
      vq_value *v = top->op->in[top->next_in++].val;
      if (v->kind == VQ_VALUE_RESULT &&
          !vq_map_get(&h->number, VQ_MAP_PTR_KEY(v->def)))
        vq_vec_push(&h->stack, ((frame){v->def, 0}));
      continue;
    }
    const vq_op *op = top->op;
    h->stack.n--;
    add_op(h, op);
    // A key that lives as long as the op: its results know it.
    if (op->n_out) number(h, VQ_MAP_PTR_KEY(op->out[0].def));
  }
}

static uint64_t hash_func(const vq_func *f, bool with_data, memo *known) {
  enum { MAX_DEPTH = 64 };  // calls deeper than that count by signature only
  uint64_t *kept = vq_map_get(&known->hash, f->name);
  if (kept) return *kept;
  kept = VQ_NEW(&known->arena, uint64_t);  // 0 while f is under way
  *vq_map_put(&known->hash, f->name) = kept;
  hasher h = {.known = known, .with_data = with_data};
  add_u64(&h, f->n_arg);
  for (uint32_t i = 0; i < f->n_arg; i++) add_type(&h, f->arg[i].type);
  if (f->last && known->depth < MAX_DEPTH) {
    known->depth++;
    walk(&h, f->last);
    known->depth--;
  }
  vq_map_release(&h.number);
  vq_vec_release(&h.stack);
  return *kept = h.hash;
}

uint64_t vq_func_hash(const vq_func *f, bool with_data) {
  memo known = {0};
  uint64_t hash = hash_func(f, with_data, &known);
  vq_map_release(&known.hash);
  vq_arena_release(&known.arena);
  return hash;
}

uint64_t vq_module_hash(const vq_module *m, bool with_data) {
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  return f ? vq_func_hash(f, with_data) : 0;
}

// ---- equality ------------------------------------------------------------------

// Corresponding values: the same place in functions walked in step.
static bool same_value(vq_map *twin, const vq_use *a, const vq_use *b) {
  vq_value *v = a->val, *w = b->val;
  if (v->kind != w->kind || v->idx != w->idx || v->type != w->type)
    return false;
  switch (v->kind) {
    case VQ_VALUE_ARG:
      return true;
    case VQ_VALUE_RESULT:
      return vq_map_get(twin, VQ_MAP_PTR_KEY(v->def)) == w->def;
    case VQ_VALUE_CONST:
      return v == w;
  }
  return false;
}

static bool same_op(vq_map *twin, const vq_op *a, const vq_op *b) {
  if (a->code != b->code || a->n_in != b->n_in || a->n_out != b->n_out ||
      !vq_op_attrs_equal(a->code, a->attrs, b->attrs))
    return false;
  for (uint32_t i = 0; i < a->n_in; i++)
    if (!same_value(twin, &a->in[i], &b->in[i])) return false;
  for (uint32_t i = 0; i < a->n_out; i++)
    if (a->out[i].type != b->out[i].type) return false;
  if (a->n_out)
    *vq_map_put(twin, VQ_MAP_PTR_KEY(a->out[0].def)) = b->out[0].def;
  return true;
}

bool vq_func_equal(const vq_func *a, const vq_func *b) {
  if (a->n_arg != b->n_arg || a->n_result != b->n_result) return false;
  for (uint32_t i = 0; i < a->n_arg; i++)
    if (a->arg[i].type != b->arg[i].type) return false;
  vq_map twin = {0};  // op of a -> op of b
  const vq_op *p = a->first, *q = b->first;
  while (p && q && same_op(&twin, p, q)) {
    p = p->next;
    q = q->next;
  }
  vq_map_release(&twin);
  return !p && !q;
}
