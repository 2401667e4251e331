// Verifier, properties: one checker each.
//
// planned: the arena is right when no two results that are live at the same
// time share a byte. A result lives from its call to the last op that uses it
// or a view of it, both included: a kernel never writes over its operands.
#include <inttypes.h>

#include "check/checker.h"
#include "vq/vec.h"
#include "vq/verify.h"

enum { ALIGN = 64 };

const char *vq_prop_name(unsigned prop) {
  switch (prop) {
    case VQ_PROP_OUTLINED:
      return "outlined";
    case VQ_PROP_PLANNED:
      return "planned";
  }
  return NULL;
}

// The value that `v` is a view of, through any number of views.
static const vq_value *view_root(const vq_value *v) {
  while (v->kind == VQ_VALUE_RESULT && vq_has_trait(v->def, VQ_TRAIT_VIEW))
    v = vq_in(v->def, 0);
  return v;
}

// ---- outlined -------------------------------------------------------------

static void check_outlined_op(vq_checker *c, const vq_op *op) {
  if (op->code == VQ_OP_call) {
    const vq_func *f = vq_module_func(c->m, VQ_ATTRS(op, call)->callee);
    if (f && f->kind != VQ_KERNEL)
      vq_checker_fail(c, VQ_E_property, op->loc,
                      "%s: outlined, but the callee is not a kernel",
                      vq_checker_op(c, op));
  } else if (!vq_has_trait(op, VQ_TRAIT_VIEW | VQ_TRAIT_TERM)) {
    vq_checker_fail(c, VQ_E_property, op->loc,
                    "%s: outlined, but neither call, view nor return",
                    vq_checker_op(c, op));
  }
}

static void check_outlined(vq_checker *c, const vq_func *main) {
  vq_map seen = {0};
  vq_each_op(main, op) check_outlined_op(c, op);
  const vq_op *ret = main->last;
  for (uint32_t i = 0; i < ret->n_in; i++) {
    const vq_value *root = view_root(vq_in(ret, i));
    if (root->kind != VQ_VALUE_RESULT || root->def->code != VQ_OP_call)
      vq_checker_fail(c, VQ_E_property, ret->loc,
                      "outlined, but returned value %u is not made by a call",
                      i);
    const vq_value **kept = VQ_NEW(&c->temp, const vq_value *);
    *kept = root;
    if (vq_map_find(&seen, VQ_MAP_PTR_KEY(*kept)))
      vq_checker_fail(c, VQ_E_property, ret->loc,
                      "outlined, but returned value %u is returned twice", i);
    vq_map_put(&seen, VQ_MAP_PTR_KEY(*kept));
  }
  vq_map_release(&seen);
}

// ---- planned ----------------------------------------------------------------

// How long a value must be kept.
typedef struct life {
  const vq_value *value;
  uint32_t last;  // number of the last op that needs it
  bool returned;
} life;

// A result that has its place in the arena.
typedef struct span {
  uint64_t begin, end;
  const life *life;
} span;
typedef VQ_VEC(span) span_vec;

static life *life_of(vq_checker *c, vq_map *lives, const vq_value *v) {
  life *l = vq_map_get(lives, VQ_MAP_PTR_KEY(v));
  if (l) return l;
  l = VQ_NEW(&c->temp, life);
  l->value = v;
  *vq_map_put(lives, VQ_MAP_PTR_KEY(l->value)) = l;
  return l;
}

// Backwards, so that a view's life is known before that of what it shows.
static void find_lives(vq_checker *c, const vq_func *f, vq_map *lives) {
  uint32_t order = 0;
  vq_each_op(f, op) order++;
  for (const vq_op *op = f->last; op; op = op->prev, order--) {
    life through = {.last = order, .returned = op->code == VQ_OP_return};
    if (vq_has_trait(op, VQ_TRAIT_VIEW)) {
      const life *view = life_of(c, lives, &op->out[0]);
      if (view->last > through.last) through.last = view->last;
      through.returned = view->returned;
    }
    for (uint32_t i = 0; i < op->n_in; i++) {
      life *l = life_of(c, lives, vq_in(op, i));
      if (through.last > l->last) l->last = through.last;
      l->returned |= through.returned;
    }
    for (uint32_t i = 0; i < op->n_out; i++) {
      life *l = life_of(c, lives, &op->out[i]);
      if (order > l->last) l->last = order;
    }
  }
}

// Puts a result at `offset` and compares it with all that are live.
static void place(vq_checker *c, span_vec *live, const vq_op *op,
                  const life *l, uint64_t offset) {
  uint64_t size = (uint64_t)vq_type_bytes(l->value->type);
  uint64_t arena = c->m->arena_size;
  if (offset % ALIGN)
    vq_checker_fail(c, VQ_E_property, op->loc,
                    "%s: planned, but offset %" PRIu64
                    " is not a multiple of %d",
                    vq_checker_op(c, op), offset, ALIGN);
  if (size > arena || offset > arena - size) {
    vq_checker_fail(c, VQ_E_property, op->loc,
                    "%s: planned, but %" PRIu64 " bytes at %" PRIu64
                    " are outside the arena of %" PRIu64,
                    vq_checker_op(c, op), size, offset, arena);
    return;
  }
  span s = {offset, offset + size, l};
  for (size_t i = 0; i < live->n; i++) {
    const span *o = &live->p[i];
    if (s.begin < o->end && o->begin < s.end)
      vq_checker_fail(c, VQ_E_property, op->loc,
                      "%s: planned, but [%" PRIu64 ", %" PRIu64
                      ") overlaps a live result at [%" PRIu64 ", %" PRIu64 ")",
                      vq_checker_op(c, op), s.begin, s.end, o->begin, o->end);
  }
  vq_vec_push(live, s);
}

static void check_offsets(vq_checker *c, const vq_op *op, vq_map *lives,
                          span_vec *live) {
  vq_ints offsets = VQ_ATTRS(op, call)->offsets;
  if (offsets.n != op->n_out) {
    vq_checker_fail(c, VQ_E_property, op->loc,
                    "%s: planned, but %u offsets for %u results",
                    vq_checker_op(c, op), offsets.n, op->n_out);
    return;
  }
  for (uint32_t i = 0; i < op->n_out; i++) {
    const life *l = life_of(c, lives, &op->out[i]);
    if (l->returned != (offsets.p[i] == -1))
      vq_checker_fail(c, VQ_E_property, op->loc,
                      "%s: planned, but result %u has offset %" PRId64
                      " and is%s returned",
                      vq_checker_op(c, op), i, offsets.p[i],
                      l->returned ? "" : " not");
    else if (!l->returned && offsets.p[i] < 0)
      vq_checker_fail(c, VQ_E_property, op->loc,
                      "%s: planned, but result %u has offset %" PRId64,
                      vq_checker_op(c, op), i, offsets.p[i]);
    else if (!l->returned)
      place(c, live, op, l, (uint64_t)offsets.p[i]);
  }
}

static void check_planned(vq_checker *c, const vq_func *main) {
  vq_map lives = {0};
  span_vec live = {0};
  uint32_t order = 0;
  find_lives(c, main, &lives);
  vq_each_op(main, op) {
    size_t n = 0;
    order++;
    if (op->code != VQ_OP_call || vq_checker_full(c)) continue;
    for (size_t i = 0; i < live.n; i++)
      if (live.p[i].life->last >= order) live.p[n++] = live.p[i];
    live.n = n;
    check_offsets(c, op, &lives, &live);
  }
  vq_vec_release(&live);
  vq_map_release(&lives);
}

// ---- the table ----------------------------------------------------------------

void vq_check_prop(vq_checker *c, unsigned prop) {
  const vq_func *main = vq_module_func(c->m, VQ_LIT("main"));
  if (!main) {
    vq_checker_fail(c, VQ_E_property, (vq_loc){0},
                    "%s, but the module has no @main", vq_prop_name(prop));
    return;
  }
  switch ((vq_prop)prop) {
    case VQ_PROP_OUTLINED:
      check_outlined(c, main);
      break;
    case VQ_PROP_PLANNED:
      check_planned(c, main);
      break;
  }
}
