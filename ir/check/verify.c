// Verifier, structure: lists, definitions before uses, use lists, names.
//
// Nothing is believed before it has been checked, in this order: lists (each
// node's `prev` is the node before it, so a list cannot loop), values (each
// points back at who defines it), operands (each points at a value found that
// way, defined earlier), use lists (no longer than the operands counted). Later
// checks run only on modules that pass all of this.
#include "check/checker.h"
#include "vq/strbuf.h"
#include "vq/text.h"
#include "vq/verify.h"

// What is known about a value that has been found from its definition.
typedef struct vq_fact {
  const vq_value *value;
  const vq_func *func;  // NULL: a constant
  uint32_t order;       // of the defining op in its function, from 1
  uint32_t n_slot;      // operands that are this value
} vq_fact;

void vq_checker_fail(vq_checker *c, vq_code code, vq_loc loc, const char *fmt,
                     ...) {
  if (c->n_error++ >= VQ_CHECKER_MAX_ERROR) return;
  vq_strbuf text = {0};
  va_list ap;
  va_start(ap, fmt);
  vq_strbuf_vprintf(&text, fmt, ap);
  va_end(ap);
  vq_error(c->diag, code, loc, "%s", vq_strbuf_z(&text));
  vq_strbuf_release(&text);
}

const char *vq_checker_z(vq_checker *c, char sigil, vq_str name) {
  vq_strbuf b = {0};
  vq_print_name(&b, sigil, name);
  const char *z = vq_arena_str(&c->temp, vq_strbuf_view(&b)).p;
  vq_strbuf_release(&b);
  return z;
}

const char *vq_checker_op(vq_checker *c, const vq_op *op) {
  vq_strbuf b = {0};
  vq_print_name(&b, '@', op->func->name);
  vq_strbuf_puts(&b, ": ");
  vq_strbuf_puts(&b, vq_op_info(op->code)->name);
  if (op->n_out > 0 && op->out[0].name.n) {
    vq_strbuf_putc(&b, ' ');
    vq_print_name(&b, '%', op->out[0].name);
  }
  const char *z = vq_arena_str(&c->temp, vq_strbuf_view(&b)).p;
  vq_strbuf_release(&b);
  return z;
}

static void fail(vq_checker *c, vq_loc loc, const char *who, const char *what) {
  vq_checker_fail(c, VQ_E_structure, loc, "%s: %s", who, what);
}

// ---- lists ----------------------------------------------------------------

static void check_const_list(vq_checker *c) {
  const vq_const *prev = NULL;
  for (const vq_const *k = c->m->first_const; k; prev = k, k = k->next)
    if (k->prev != prev) {
      fail(c, (vq_loc){0}, "constants", "broken list");
      return;
    }
  if (c->m->last_const != prev)
    fail(c, (vq_loc){0}, "constants", "the list has another end");
}

static void check_op_list(vq_checker *c, const vq_func *f) {
  const char *who = vq_checker_z(c, '@', f->name);
  const vq_op *prev = NULL;
  for (const vq_op *op = f->first; op; prev = op, op = op->next)
    if (op->prev != prev || op->func != f) {
      fail(c, op->loc, who, "broken op list");
      return;
    }
  if (f->last != prev) fail(c, (vq_loc){0}, who, "the op list has another end");
}

static void check_lists(vq_checker *c) {
  const vq_func *prev = NULL;
  check_const_list(c);
  for (const vq_func *f = c->m->first_func; f; prev = f, f = f->next) {
    if (f->prev != prev || f->module != c->m) {
      fail(c, (vq_loc){0}, "functions", "broken list");
      return;
    }
    check_op_list(c, f);
  }
  if (c->m->last_func != prev)
    fail(c, (vq_loc){0}, "functions", "the list has another end");
}

// ---- values ---------------------------------------------------------------

static void add_fact(vq_checker *c, const vq_value *v, const vq_func *func,
                     uint32_t order) {
  vq_fact *fact = VQ_NEW(&c->temp, vq_fact);
  *fact = (vq_fact){v, func, order, 0};
  *vq_map_put(&c->facts, VQ_MAP_PTR_KEY(fact->value)) = fact;
}

// Enters `name` into `names`; complains when it is there already.
static void claim(vq_checker *c, vq_map *names, vq_str name, char sigil,
                  vq_loc loc) {
  if (vq_map_find(names, name))
    vq_checker_fail(c, VQ_E_name, loc, "two things are called %s",
                    vq_checker_z(c, sigil, name));
  vq_map_put(names, name);
}

static void check_const_values(vq_checker *c) {
  vq_map names = {0};
  vq_each_const(c->m, k) {
    const char *who = vq_checker_z(c, '@', k->value.name);
    if (k->value.kind != VQ_VALUE_CONST || !k->value.type)
      fail(c, (vq_loc){0}, who, "not a constant or without a type");
    if (!k->value.name.n) fail(c, (vq_loc){0}, who, "constant without a name");
    claim(c, &names, k->value.name, '@', (vq_loc){0});
    add_fact(c, &k->value, NULL, 0);
  }
  vq_map_release(&names);
}

static void check_args(vq_checker *c, const vq_func *f, vq_map *names) {
  const char *who = vq_checker_z(c, '@', f->name);
  for (uint32_t i = 0; i < f->n_arg; i++) {
    const vq_value *v = &f->arg[i];
    if (v->kind != VQ_VALUE_ARG || v->idx != i || v->func != f || !v->type)
      fail(c, (vq_loc){0}, who, "an argument that is not its own");
    if (v->name.n) claim(c, names, v->name, '%', (vq_loc){0});
    add_fact(c, v, f, 0);
  }
}

static void check_op_values(vq_checker *c, const vq_op *op, uint32_t order,
                            vq_map *names) {
  if ((unsigned)op->code >= VQ_N_OPS) {
    fail(c, op->loc, vq_checker_z(c, '@', op->func->name), "unknown opcode");
    return;
  }
  if (!op->attrs) fail(c, op->loc, vq_checker_op(c, op), "no attributes");
  if (op->scratch)
    fail(c, op->loc, vq_checker_op(c, op), "a pass left its scratch pointer");
  for (uint32_t i = 0; i < op->n_out; i++) {
    const vq_value *v = &op->out[i];
    if (v->kind != VQ_VALUE_RESULT || v->idx != i || v->def != op || !v->type)
      fail(c, op->loc, vq_checker_op(c, op), "a result that is not its own");
    if (v->name.n) claim(c, names, v->name, '%', op->loc);
    add_fact(c, v, op->func, order);
  }
}

static void check_values(vq_checker *c) {
  vq_map funcs = {0};
  check_const_values(c);
  vq_each_func(c->m, f) {
    vq_map names = {0};
    uint32_t order = 0;
    if (!f->name.n)
      fail(c, (vq_loc){0}, "functions", "a function without a name");
    claim(c, &funcs, f->name, '@', (vq_loc){0});
    check_args(c, f, &names);
    vq_each_op(f, op) check_op_values(c, op, ++order, &names);
    vq_map_release(&names);
  }
  vq_map_release(&funcs);
}

// ---- operands and use lists -------------------------------------------------

static void check_operands(vq_checker *c, const vq_op *op, uint32_t order) {
  const char *who = vq_checker_op(c, op);
  for (uint32_t i = 0; i < op->n_in; i++) {
    const vq_use *u = &op->in[i];
    vq_fact *fact = vq_map_get(&c->facts, VQ_MAP_PTR_KEY(u->val));
    if (u->user != op || u->idx != i) {
      fail(c, op->loc, who, "an operand slot that is not its own");
    } else if (!fact || (fact->func && fact->func != op->func)) {
      vq_checker_fail(c, VQ_E_structure, op->loc,
                      "%s: operand %u is no value of this function", who, i);
    } else {
      fact->n_slot++;
      if (fact->func && fact->order >= order)
        vq_checker_fail(c, VQ_E_structure, op->loc,
                        "%s: operand %u is used before it is defined", who, i);
    }
  }
}

static void check_uses(vq_checker *c, const vq_fact *fact) {
  const vq_value *v = fact->value;
  const vq_use *prev = NULL;
  uint32_t n = 0;
  for (const vq_use *u = v->uses; u && n <= fact->n_slot; u = u->next, n++) {
    if (u->val != v || u->prev != prev) break;
    prev = u;
  }
  if (n == fact->n_slot && v->last_use == prev && (!prev || !prev->next))
    return;
  vq_checker_fail(c, VQ_E_structure, (vq_loc){0},
                  "%s: its use list does not hold its %u uses",
                  vq_checker_z(c, fact->func ? '%' : '@', v->name),
                  fact->n_slot);
}

static void check_end(vq_checker *c, const vq_func *f) {
  const char *who = vq_checker_z(c, '@', f->name);
  if (!f->last || f->last->code != VQ_OP_return) {
    fail(c, f->last ? f->last->loc : (vq_loc){0}, who,
         "does not end with 'return'");
    return;
  }
  vq_each_op(f, op)
    if (op->code == VQ_OP_return && op != f->last)
      fail(c, op->loc, who, "'return' is not the last op");
  if (f->n_result == 0) fail(c, f->last->loc, who, "returns nothing");
  if (f->last->n_in != f->n_result) {
    vq_checker_fail(c, VQ_E_structure, f->last->loc,
                    "%s: %u values returned, the function states %u", who,
                    f->last->n_in, f->n_result);
    return;
  }
  for (uint32_t i = 0; i < f->n_result; i++)
    if (vq_in(f->last, i) && vq_in(f->last, i)->type != f->result[i])
      vq_checker_fail(c, VQ_E_type, f->last->loc,
                      "%s: returned value %u has another type than stated",
                      who, i);
}

void vq_check_structure(vq_checker *c) {
  check_lists(c);
  if (c->n_error) return;
  check_values(c);
  if (c->n_error) return;
  vq_each_func(c->m, f) {
    uint32_t order = 0;
    vq_each_op(f, op) check_operands(c, op, ++order);
    check_end(c, f);
  }
  for (uint32_t i = 0; i < c->facts.n; i++)
    check_uses(c, c->facts.entry[i].value);
}

// ---- the whole ----------------------------------------------------------------

static vq_status finish(vq_checker *c) {
  vq_map_release(&c->facts);
  vq_arena_release(&c->temp);
  return c->n_error ? VQ_ERR : VQ_OK;
}

vq_status vq_verify(const vq_module *m, vq_diag *diag) {
  vq_checker c = {.m = m, .diag = diag};
  vq_check_structure(&c);
  if (c.n_error == 0) vq_check_types(&c);
  if (c.n_error == 0) vq_check_quants(&c);
  for (unsigned prop = 1; c.n_error == 0 && vq_prop_name(prop); prop <<= 1)
    if (m->props & prop) vq_check_prop(&c, prop);
  return finish(&c);
}

vq_status vq_verify_prop(const vq_module *m, unsigned prop, vq_diag *diag) {
  vq_checker c = {.m = m, .diag = diag};
  vq_check_prop(&c, prop);
  return finish(&c);
}
