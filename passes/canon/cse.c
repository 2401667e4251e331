// cse: equal pure ops and equal constants become one.
//
// Ops are equal when opcode, attributes, operands and result type are; the
// operands of a commutative op may be swapped. Constants are equal when type
// and bytes are. The first one stays, so definitions still come before uses.
#include "vq/rewrite.h"
#include "vq/strbuf.h"

#include "passes.h"

typedef struct merger {
  vq_pass_ctx *pc;
  vq_map seen;      // key -> vq_op* or vq_const*
  vq_strbuf key;
  int64_t left;     // merges still allowed; negative: any number
} merger;

// What was inserted first under the current key; if that is `own`, it is new.
static void *first_of(merger *g, void *own) {
  void *found = vq_map_get(&g->seen, vq_strbuf_view(&g->key));
  if (found) return found;
  vq_str key = vq_arena_str(g->pc->temp, vq_strbuf_view(&g->key));
  *vq_map_put(&g->seen, key) = own;
  return own;
}

static bool may_merge(merger *g, const char *what) {
  if (g->left == 0) return false;
  if (g->left > 0) g->left--;
  vq_stat(g->pc, what, 1);
  return true;
}

// ---- constants ----------------------------------------------------------------

#define ADD(buf, x) vq_strbuf_add((buf), &(x), sizeof(x))

// Large data stand in the key by their hash; the bytes are compared later.
static bool const_key(vq_strbuf *key, vq_const *c) {
  vq_strbuf_clear(key);
  ADD(key, c->value.type);
  ADD(key, c->init);
  uint64_t hash;
  switch (c->init) {
    case VQ_INIT_MISSING: return false;
    case VQ_INIT_FILL: ADD(key, c->fill); return true;
    case VQ_INIT_RANDOM:
      ADD(key, c->seed);
      ADD(key, c->std);
      return true;
    case VQ_INIT_BYTES:
      hash = vq_hash_bytes(0, c->bytes, (size_t)vq_type_bytes(c->value.type));
      ADD(key, hash);
      return true;
  }
  return false;
}

static bool same_data(const vq_const *a, const vq_const *b) {
  return a->init != VQ_INIT_BYTES ||
         memcmp(a->bytes, b->bytes, (size_t)vq_type_bytes(a->value.type)) == 0;
}

static void merge_consts(merger *g, vq_module *m) {
  for (vq_const *c = m->first_const, *next; c; c = next) {
    next = c->next;
    if (!const_key(&g->key, c)) continue;
    vq_const *first = first_of(g, c);
    if (first == c || !same_data(first, c)) continue;
    if (!may_merge(g, "constants merged")) return;
    vq_replace_all_uses(&c->value, &first->value);
    vq_erase_const(m, c);
  }
}

// ---- ops ----------------------------------------------------------------------

static void add_attr(vq_strbuf *key, vq_attr_kind kind, const void *field) {
  switch (kind) {
    case VQ_ATTR_i64: vq_strbuf_add(key, field, sizeof(vq_attr_i64)); break;
    case VQ_ATTR_f32: vq_strbuf_add(key, field, sizeof(vq_attr_f32)); break;
    case VQ_ATTR_flag: vq_strbuf_add(key, field, sizeof(vq_attr_flag)); break;
    case VQ_ATTR_str: {
      const vq_attr_str *s = field;
      ADD(key, s->n);
      vq_strbuf_add(key, s->p, s->n);
      break;
    }
    case VQ_ATTR_ints: {
      const vq_attr_ints *v = field;
      ADD(key, v->n);
      vq_strbuf_add(key, v->p, v->n * sizeof *v->p);
      break;
    }
    case VQ_ATTR_quant: vq_strbuf_add(key, field, sizeof(vq_attr_quant)); break;
  }
}

// Values enter by address, for equality only: nothing is ordered by it but the
// two operands of a commutative op, inside the key.
static void op_key(vq_strbuf *key, const vq_op *op) {
  const vq_op_desc *desc = vq_op_info(op->code);
  vq_strbuf_clear(key);
  ADD(key, op->code);
  ADD(key, op->out->type);
  for (unsigned i = 0; i < desc->n_attr; i++)
    add_attr(key, desc->attr[i].kind,
             (const char *)op->attrs + desc->attr[i].offset);
  uintptr_t a = op->n_in > 0 ? (uintptr_t)vq_in(op, 0) : 0;
  uintptr_t b = op->n_in > 1 ? (uintptr_t)vq_in(op, 1) : 0;
  bool swap = vq_has_trait(op, VQ_TRAIT_COMM) && a > b;
  ADD(key, op->n_in);
  vq_strbuf_add(key, swap ? &b : &a, sizeof a);
  vq_strbuf_add(key, swap ? &a : &b, sizeof a);
  for (unsigned i = 2; i < op->n_in; i++) ADD(key, op->in[i].val);
}

static void merge_ops(merger *g, vq_func *f) {
  vq_map_clear(&g->seen);
  vq_each_op_safe(f, op) {
    if (!vq_has_trait(op, VQ_TRAIT_PURE)) continue;
    op_key(&g->key, op);
    vq_op *first = first_of(g, op);
    if (first == op) continue;
    if (!may_merge(g, "ops merged")) return;
    vq_replace_op(op, first->out);
  }
}

vq_status vq_pass_cse(vq_module *m, vq_pass_ctx *pc) {
  merger g = {.pc = pc, .left = VQ_OPTS(pc, vq_pass_cse)->max};
  merge_consts(&g, m);
  vq_each_func(m, f) merge_ops(&g, f);
  vq_map_release(&g.seen);
  vq_strbuf_release(&g.key);
  return VQ_OK;
}
