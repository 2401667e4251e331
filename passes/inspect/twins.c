// Finding out which functions and ops of two modules correspond.
//
// First come ops that compute the same from the same: their hash covers everything
// they depend on, down to the data of constants. Equal ones are paired in program
// order. What is left lies at or behind a change. It is paired from both sides of the
// change, until nothing more is found: upwards, operands of twins that are computed
// by the same kind of op; downwards, ops of the same kind that read the same value as
// the same operand. Only then names count, and whatever they join lets both walks go
// on. Functions are paired by hash, then by name.
#include "inspect/twins.h"

#include "vq/strbuf.h"
#include "vq/text.h"

// ---- values -----------------------------------------------------------------

bool vq_same_type(const vq_type *a, const vq_type *b) {
  return a->dtype == b->dtype && a->rank == b->rank && vq_quant_equal(a->q, b->q) &&
         memcmp(a->dim, b->dim, a->rank * sizeof *a->dim) == 0;
}

static const char *digest_of(vq_twins *t, vq_value *v) {
  const char *known = vq_map_get(&t->digest, VQ_MAP_PTR_KEY(v));
  if (known) return known;
  vq_value **key = vq_arena_copy(&t->arena, &v, sizeof v, _Alignof(vq_value *));
  char *hex = VQ_NEW_N(&t->arena, char, 65);
  vq_const_digest(vq_const_of(v), hex);
  *vq_map_put(&t->digest, VQ_MAP_PTR_KEY(*key)) = hex;
  return hex;
}

bool vq_twins_same_const(vq_twins *t, vq_value *a, vq_value *b) {
  return vq_same_type(a->type, b->type) && !strcmp(digest_of(t, a), digest_of(t, b));
}

static uint32_t number_of(const vq_twin_side *s, const vq_op *op) {
  return (uint32_t)(uintptr_t)vq_map_get(&s->number, VQ_MAP_PTR_KEY(op));
}

// Twins of each other, or 0 for both.
static bool are_twins(const vq_twin_pair *p, const vq_op *a, const vq_op *b) {
  uint32_t i = number_of(&p->a, a), k = number_of(&p->b, b);
  return i && k && p->a.twin[i - 1] == k;
}

bool vq_twins_same_value(vq_twins *t, const vq_twin_pair *p, vq_value *a, vq_value *b) {
  if (a->kind != b->kind) return false;
  switch (a->kind) {
    case VQ_VALUE_ARG: return a->idx == b->idx;
    case VQ_VALUE_CONST: return vq_twins_same_const(t, a, b);
    case VQ_VALUE_RESULT: return a->idx == b->idx && are_twins(p, a->def, b->def);
  }
  return false;
}

static const vq_func *callee(const vq_op *op) {
  return vq_module_func(op->func->module, VQ_ATTRS(op, call)->callee);
}

bool vq_twins_same_callee(const vq_twins *t, const vq_op *a, const vq_op *b) {
  const vq_func *f = callee(a);
  return f && vq_map_get(&t->function, VQ_MAP_PTR_KEY(f)) == callee(b);
}

// ---- hashes -----------------------------------------------------------------

static uint64_t mix(uint64_t h, uint64_t v) { return vq_hash_bytes(h, &v, sizeof v); }

static uint64_t hash_type(uint64_t h, const vq_type *t) {
  h = mix(mix(h, t->dtype), t->rank);
  h = vq_hash_bytes(h, t->dim, t->rank * sizeof *t->dim);
  if (!t->q) return h;
  h = vq_hash_bytes(h, t->q->scale, t->q->n * sizeof *t->q->scale);
  return vq_hash_bytes(h, t->q->zero, t->q->n * sizeof *t->q->zero);
}

static uint64_t hash_value(vq_twins *t, const vq_twin_side *s, vq_value *v) {
  uint64_t h = hash_type(mix(v->kind, v->idx), v->type);
  switch (v->kind) {
    case VQ_VALUE_ARG: break;
    case VQ_VALUE_CONST: return vq_hash_bytes(h, digest_of(t, v), 64);
    case VQ_VALUE_RESULT: return mix(h, s->hash[number_of(s, v->def) - 1]);
  }
  return h;
}

static uint64_t hash_op(vq_twins *t, const vq_twin_side *s, const vq_op *op) {
  uint64_t h = op->code, sum = 0;
  if (op->code == VQ_OP_call) {
    const vq_func *f = callee(op);
    vq_ints at = VQ_ATTRS(op, call)->offsets;
    h = vq_hash_bytes(f ? vq_func_hash(f, true) : 0, at.p, at.n * sizeof *at.p);
  } else {
    h = vq_op_attrs_hash(op->code, op->attrs, h);
  }
  for (uint32_t i = 0; i < op->n_out; i++) h = hash_type(h, op->out[i].type);
  for (uint32_t i = 0; i < op->n_in; i++) {
    uint64_t v = hash_value(t, s, vq_in(op, i));
    if (vq_has_trait(op, VQ_TRAIT_COMM))
      sum += v;
    else
      h = mix(h, v);
  }
  return mix(h, sum);
}

static void open_side(vq_twins *t, vq_twin_side *s, const vq_func *f) {
  s->f = f;
  if (!f) return;
  vq_each_op(f, op) s->n++;
  s->op = VQ_NEW_N(&t->arena, const vq_op *, s->n);
  s->twin = VQ_NEW_N(&t->arena, uint32_t, s->n);
  s->hash = VQ_NEW_N(&t->arena, uint64_t, s->n);
  uint32_t i = 0;
  vq_each_op(f, op) {
    s->op[i] = op;
    s->hash[i] = hash_op(t, s, op);
    *vq_map_put(&s->number, VQ_MAP_PTR_KEY(s->op[i])) = (void *)(uintptr_t)(i + 1);
    i++;
  }
}

// ---- ops --------------------------------------------------------------------

static void join(vq_twin_pair *p, uint32_t i, uint32_t k) {
  p->a.twin[i] = k + 1;
  p->b.twin[k] = i + 1;
}

// Equal hashes, in program order on both sides.
static void join_equal(vq_twin_pair *p) {
  vq_twin_side *a = &p->a, *b = &p->b;
  vq_map first = {0};  // hash -> first op of b that may have it and no twin, + 1
  for (uint32_t k = b->n; k-- > 0;)
    *vq_map_put(&first, (vq_str){(char *)&b->hash[k], sizeof *b->hash}) =
        (void *)(uintptr_t)(k + 1);
  for (uint32_t i = 0; i < a->n; i++) {
    void **slot = vq_map_find(&first, (vq_str){(char *)&a->hash[i], sizeof *a->hash});
    uint32_t k = slot ? (uint32_t)(uintptr_t)*slot - 1 : b->n;
    while (k < b->n && (b->twin[k] || b->hash[k] != a->hash[i])) k++;
    if (slot) *slot = (void *)(uintptr_t)(k + 1);
    if (k < b->n) join(p, i, k);
  }
  vq_map_release(&first);
}

// Whether two ops without twins could be versions of one op.
static bool may_join(const vq_twin_pair *p, uint32_t i, uint32_t k) {
  const vq_op *a = p->a.op[i], *b = p->b.op[k];
  return !p->a.twin[i] && !p->b.twin[k] && a->code == b->code && a->n_out == b->n_out;
}

static bool try_join(vq_twin_pair *p, const vq_op *a, const vq_op *b) {
  uint32_t i = number_of(&p->a, a), k = number_of(&p->b, b);
  if (!i || !k || !may_join(p, i - 1, k - 1)) return false;
  join(p, i - 1, k - 1);
  return true;
}

static bool join_upwards(vq_twin_pair *p) {
  bool found = false;
  for (uint32_t i = p->a.n; i-- > 0;) {
    if (!p->a.twin[i]) continue;
    const vq_op *a = p->a.op[i], *b = p->b.op[p->a.twin[i] - 1];
    for (uint32_t n = 0; n < a->n_in && n < b->n_in; n++) {
      const vq_value *v = vq_in(a, n), *w = vq_in(b, n);
      if (v->kind == VQ_VALUE_RESULT && w->kind == VQ_VALUE_RESULT && v->idx == w->idx)
        found |= try_join(p, v->def, w->def);
    }
  }
  return found;
}

// A reader of `w` as operand `n`, of the other side, that may become the twin of `a`.
static bool join_reader(vq_twins *t, vq_twin_pair *p, const vq_op *a, uint32_t n,
                        const vq_value *w) {
  vq_each_use(w, u)
    if (u->user->func == p->b.f && u->idx == n && u->user->n_in == a->n_in &&
        (a->code != VQ_OP_call || vq_twins_same_callee(t, a, u->user)) &&
        try_join(p, a, u->user))
      return true;
  return false;
}

// A constant of b's module like `v`.
static vq_value *const_like(vq_twins *t, const vq_twin_pair *p, vq_value *v) {
  vq_const *c = vq_module_const(p->b.f->module, v->name);
  if (c && vq_twins_same_const(t, v, &c->value)) return &c->value;
  vq_each_const(p->b.f->module, k)
    if (vq_same_type(v->type, k->value.type) && vq_twins_same_const(t, v, &k->value))
      return &k->value;
  return NULL;
}

static vq_value *value_like(vq_twins *t, const vq_twin_pair *p, vq_value *v) {
  uint32_t i;
  switch (v->kind) {
    case VQ_VALUE_ARG: return v->idx < p->b.f->n_arg ? &p->b.f->arg[v->idx] : NULL;
    case VQ_VALUE_CONST: return const_like(t, p, v);
    case VQ_VALUE_RESULT:
      i = number_of(&p->a, v->def);
      i = i ? p->a.twin[i - 1] : 0;
      return i && v->idx < p->b.op[i - 1]->n_out ? &p->b.op[i - 1]->out[v->idx] : NULL;
  }
  return NULL;
}

static bool join_downwards(vq_twins *t, vq_twin_pair *p) {
  bool found = false;
  for (uint32_t i = 0; i < p->a.n; i++) {
    const vq_op *a = p->a.op[i];
    for (uint32_t n = 0; n < a->n_in && !p->a.twin[i]; n++) {
      const vq_value *w = value_like(t, p, vq_in(a, n));
      if (w) found |= join_reader(t, p, a, n, w);
    }
  }
  return found;
}

static bool join_names(vq_twin_pair *p) {
  bool found = false;
  for (uint32_t i = 0; i < p->a.n; i++) {
    const vq_op *a = p->a.op[i];
    if (p->a.twin[i] || !a->n_out || !a->out->name.n) continue;
    const vq_value *w = vq_func_value(p->b.f, a->out->name);
    if (w && w->kind == VQ_VALUE_RESULT) found |= try_join(p, a, w->def);
  }
  return found;
}

static void match_ops(vq_twins *t, vq_twin_pair *p) {
  join_equal(p);
  try_join(p, p->a.f->last, p->b.f->last);  // return
  bool found;
  do {
    found = join_upwards(p);
    found |= join_downwards(t, p);
    if (!found) found = join_names(p);
  } while (found);
}

// ---- functions --------------------------------------------------------------

static void pair_up(vq_twins *t, const vq_func *a, const vq_func *b) {
  vq_twin_pair *p = &t->pair[t->n++];
  open_side(t, &p->a, a);
  open_side(t, &p->b, b);
  if (a && b) *vq_map_put(&t->function, VQ_MAP_PTR_KEY(p->a.f)) = (void *)b;
}

static bool is_paired(const vq_twins *t, const vq_func *f) {
  for (unsigned i = 0; i < t->n; i++)
    if (t->pair[i].a.f == f || t->pair[i].b.f == f) return true;
  return false;
}

static const vq_func *equal_func(const vq_twins *t, const vq_func *f, const vq_module *b) {
  const vq_func *same = vq_module_func(b, f->name);  // most likely
  uint64_t hash = vq_func_hash(f, true);
  if (same && !is_paired(t, same) && vq_func_hash(same, true) == hash) return same;
  vq_each_func(b, g)
    if (g->kind == f->kind && !is_paired(t, g) && vq_func_hash(g, true) == hash) return g;
  return NULL;
}

static void pair_functions(vq_twins *t, const vq_module *a, const vq_module *b) {
  const vq_str top = VQ_LIT("main");
  vq_each_func(a, f) {
    const vq_func *g = vq_str_eq(f->name, top) ? NULL : equal_func(t, f, b);
    if (g && !vq_str_eq(g->name, top)) pair_up(t, f, g);
  }
  vq_each_func(a, f) {
    const vq_func *g = vq_module_func(b, f->name);
    if (g && !is_paired(t, f) && !is_paired(t, g)) pair_up(t, f, g);
  }
  vq_each_func(a, f)
    if (!is_paired(t, f)) pair_up(t, f, NULL);
  vq_each_func(b, g)
    if (!is_paired(t, g)) pair_up(t, NULL, g);
}

void vq_twins_find(vq_twins *t, const vq_module *a, const vq_module *b) {
  *t = (vq_twins){0};
  unsigned n = 0;
  vq_each_func(a, f) n++;
  vq_each_func(b, f) n++;
  t->pair = VQ_NEW_N(&t->arena, vq_twin_pair, n);
  pair_functions(t, a, b);
  for (unsigned i = 0; i < t->n; i++)
    if (t->pair[i].a.f && t->pair[i].b.f) match_ops(t, &t->pair[i]);
}

void vq_twins_release(vq_twins *t) {
  for (unsigned i = 0; i < t->n; i++) {
    vq_map_release(&t->pair[i].a.number);
    vq_map_release(&t->pair[i].b.number);
  }
  vq_map_release(&t->digest);
  vq_map_release(&t->function);
  vq_arena_release(&t->arena);
}
