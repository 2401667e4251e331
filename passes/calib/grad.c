// grad: builds @main.grad, reverse-mode derivatives as ordinary IR.
//
// 1. The ops of @main are copied.
// 2. Forwards: a value is live if it is one of those asked for, or a float that
//    an op makes of live ones. Nothing else gets a gradient, so with constant
//    weights no op is built for theirs.
// 3. Backwards: the contributions to an op's result are all known when the op's
//    turn comes, as its users come later in program order. Their sum goes to the
//    op's rule (grad_rules.def), which adds to the gradients of the operands.
//
// Sums are made in the order in which rules contribute, which is that of the
// program: the same module gives the same bytes.
#include "calib/grad_slots.h"

#include "vq/rewrite.h"
#include "vq/strbuf.h"

// ---- the table of rules --------------------------------------------------------------

typedef struct row {
  vq_grad_rule *rule;  // NULL: flat, or refused
  const char *why;
} row;

static const row rows[VQ_N_OPS] = {
#define GRAD(op) [VQ_OP_##op] = {vq_grad_of_##op, NULL},
#define FLAT(op) [VQ_OP_##op] = {NULL, NULL},
#define NONE(op, why) [VQ_OP_##op] = {NULL, why},
#include "calib/grad_rules.def"
#undef GRAD
#undef FLAT
#undef NONE
};

// Two rows for one op are an error already (-Woverride-init).
enum {
  N_ROWS = 0
#define GRAD(op) +1
#define FLAT(op) +1
#define NONE(op, why) +1
#include "calib/grad_rules.def"
#undef GRAD
#undef FLAT
#undef NONE
};
_Static_assert((int)N_ROWS == (int)VQ_N_OPS, "grad_rules.def needs one row for each op");

vq_status vq_grad_refuse(vq_grad *g, const vq_op *op, const char *why) {
  return vq_error(g->b.diag, VQ_E_unsupported, op->loc, "no gradient of '%s': %s",
                  vq_op_info(op->code)->name, why);
}

// ---- the function ------------------------------------------------------------------

static bool is_float(const vq_value *v) { return v->type->dtype == VQ_f32; }

// An empty function with the arguments of `f` and the seeds; `map` leads to them.
static vq_func *declare(vq_func *f, vq_pass_ctx *pc, vq_map *map) {
  unsigned n = f->n_arg + f->n_result;
  const vq_type **type = VQ_NEW_N(pc->temp, const vq_type *, n);
  vq_str *name = VQ_NEW_N(pc->temp, vq_str, n);
  vq_strbuf text = {0};
  for (n = 0; n < f->n_arg; n++) {
    type[n] = f->arg[n].type;
    name[n] = f->arg[n].name;
  }
  for (unsigned i = 0; i < f->n_result; i++) {
    if (f->result[i]->dtype != VQ_f32) continue;
    vq_strbuf_clear(&text);
    vq_strbuf_printf(&text, "%.*s.grad", VQ_FMT(f->result_name[i]));
    type[n] = f->result[i];
    name[n++] = vq_arena_str(pc->temp, vq_strbuf_view(&text));
  }
  vq_strbuf_clear(&text);
  vq_strbuf_printf(&text, "%.*s.grad", VQ_FMT(f->name));
  vq_func *to = vq_func_create(f->module, VQ_FUNC, vq_strbuf_view(&text), n, type, name);
  vq_strbuf_release(&text);
  for (unsigned i = 0; i < f->n_arg; i++) {
    const vq_value **key = VQ_NEW(pc->temp, const vq_value *);
    *key = &f->arg[i];
    *vq_map_put(map, VQ_MAP_PTR_KEY(*key)) = &to->arg[i];
  }
  return to;
}

static vq_value *copy_of(const vq_map *map, vq_value *v) {
  vq_value *to = vq_map_get(map, VQ_MAP_PTR_KEY(v));
  return to ? to : v;  // a constant is its own copy
}

static bool is_in(vq_value *const *list, unsigned n, const vq_value *v) {
  for (unsigned i = 0; i < n; i++)
    if (list[i] == v) return true;
  return false;
}

// Copies the ops and finds what is live.
static vq_status copy_ops(vq_grad *g, vq_func *f, const vq_grad_request *r, vq_map *map) {
  for (unsigned i = 0; i < r->n_wrt; i++)
    if (r->wrt[i]->kind != VQ_VALUE_RESULT) vq_grad_make_live(g, copy_of(map, r->wrt[i]));
  vq_each_op(f, op) {
    if (vq_has_trait(op, VQ_TRAIT_TERM)) continue;
    vq_op *copy = vq_clone_op(&g->b, op, map);
    bool live = false;
    for (unsigned i = 0; i < op->n_in; i++) live |= vq_grad_wants(g, copy, i);
    const row *how = &rows[op->code];
    if (live && how->why) return vq_grad_refuse(g, op, how->why);
    if (live && op->n_out && op->out->type->dtype == VQ_bf16)
      return vq_grad_refuse(g, op, "it makes bf16: differentiate before autocast");
    for (unsigned i = 0; i < op->n_out; i++) {
      live &= how->rule && is_float(&op->out[i]) &&
              !is_in(r->stop, r->n_stop, &op->out[i]);
      if (live || is_in(r->wrt, r->n_wrt, &op->out[i]))
        vq_grad_make_live(g, &copy->out[i]);
    }
  }
  return VQ_OK;
}

static vq_status plant_seeds(vq_grad *g, const vq_func *f, const vq_map *map) {
  vq_value *seed = g->b.func->arg + f->n_arg;
  for (unsigned i = 0; i < f->n_result; i++) {
    if (f->result[i]->dtype != VQ_f32) continue;
    vq_grad_slot *s = vq_grad_slot_of(g, copy_of(map, vq_in(f->last, i)));
    if (s && vq_grad_add_whole(g, s, seed)) return VQ_ERR;
    seed++;
  }
  return VQ_OK;
}

static vq_status go_back(vq_grad *g, vq_op *last) {
  for (vq_op *op = last; op; op = op->prev) {
    vq_grad_slot *s = op->n_out == 1 ? vq_grad_slot_of(g, op->out) : NULL;
    vq_value *dy = NULL;
    if (!s) continue;
    g->b.loc = op->loc;
    if (vq_grad_settle(g, s, &dy)) return VQ_ERR;
    if (dy && rows[op->code].rule && rows[op->code].rule(g, op, dy)) return VQ_ERR;
  }
  return VQ_OK;
}

static vq_status finish(vq_grad *g, vq_func *f, const vq_grad_request *r,
                        const vq_map *map) {
  unsigned n = 0, n_own = r->results ? f->n_result : 0;
  vq_value **v = VQ_NEW_N(g->pc->temp, vq_value *, n_own + r->n_wrt);
  vq_str *name = VQ_NEW_N(g->pc->temp, vq_str, n_own + r->n_wrt);
  for (; n < n_own; n++) {
    v[n] = copy_of(map, vq_in(f->last, n));
    name[n] = f->result_name[n];
  }
  for (unsigned i = 0; i < r->n_wrt; i++, n++) {
    vq_grad_slot *s = vq_grad_slot_of(g, copy_of(map, r->wrt[i]));
    if (vq_grad_settle(g, s, &v[n])) return VQ_ERR;
    if (!v[n]) v[n] = &vq_const_fill(g->m, VQ_LIT("zeros"), s->v->type, 0)->value;
    vq_strbuf text = {0};
    vq_strbuf_printf(&text, "%.*s.grad", VQ_FMT(r->wrt[i]->name));
    name[n] = vq_arena_str(g->pc->temp, vq_strbuf_view(&text));
    vq_strbuf_release(&text);
  }
  g->b.loc = f->last->loc;
  return vq_build_return(&g->b, n, v, name);
}

static vq_status build(vq_grad *g, vq_func *f, const vq_grad_request *r, vq_map *map) {
  if (copy_ops(g, f, r, map)) return VQ_ERR;
  vq_op *last = g->b.func->last;
  if (plant_seeds(g, f, map) || go_back(g, last)) return VQ_ERR;
  return finish(g, f, r, map);
}

vq_func *vq_grad_build(vq_func *f, const vq_grad_request *r, vq_pass_ctx *pc) {
  struct vq_grad_slots slots = {{0}};
  vq_map map = {0};
  vq_func *to = declare(f, pc, &map);
  vq_grad g = {.b = {to, NULL, {0}, pc->diag}, .m = f->module, .pc = pc, .slots = &slots};
  vq_status status = build(&g, f, r, &map);
  vq_map_release(&slots.map);
  vq_map_release(&map);
  if (!status) return to;
  vq_erase_func(f->module, to);
  return NULL;
}

// ---- the pass ----------------------------------------------------------------------

// The value called `name`: "%x" or "x" of @main, or the constant "@w".
static vq_value *find(vq_func *f, vq_str name) {
  vq_str bare = name;
  if (name.n && (name.p[0] == '%' || name.p[0] == '@')) bare.p++, bare.n--;
  if (bare.n == name.n || name.p[0] == '%') return vq_func_value(f, bare);
  vq_const *c = vq_module_const(f->module, bare);
  return c ? &c->value : NULL;
}

// Values by their names, separated by spaces.
static vq_status read_wrt(vq_func *f, vq_str list, vq_value **wrt, unsigned *n,
                          vq_diag *diag) {
  for (*n = 0;;) {
    while (list.n && *list.p == ' ') list.p++, list.n--;
    if (!list.n) return VQ_OK;
    vq_str word = {list.p, 0};
    while (word.n < list.n && word.p[word.n] != ' ') word.n++;
    list.p += word.n, list.n -= word.n;
    vq_value *v = find(f, word);
    if (!v)
      return vq_error(diag, VQ_E_option, (vq_loc){0},
                      "wrt of pass grad: there is no value '%.*s'", VQ_FMT(word));
    if (!is_float(v))
      return vq_error(diag, VQ_E_option, (vq_loc){0},
                      "wrt of pass grad: '%.*s' is of %s, expected f32", VQ_FMT(word),
                      vq_dtype_name(v->type->dtype));
    wrt[(*n)++] = v;
  }
}

vq_status vq_pass_grad(vq_module *m, vq_pass_ctx *pc) {
  const vq_pass_grad_opts *o = VQ_OPTS(pc, vq_pass_grad);
  vq_func *f = vq_module_func(m, VQ_LIT("main"));
  if (!f) return VQ_OK;
  if (vq_module_func(m, VQ_LIT("main.grad")))
    return vq_error(pc->diag, VQ_E_pass, (vq_loc){0}, "there is a @main.grad already");
  vq_value **wrt = VQ_NEW_N(pc->temp, vq_value *, o->wrt.n / 2 + 1 + f->n_arg);
  vq_grad_request r = {.wrt = wrt, .results = o->results};
  if (read_wrt(f, o->wrt, wrt, &r.n_wrt, pc->diag)) return VQ_ERR;
  for (unsigned i = 0; i < f->n_arg && !o->wrt.n; i++)
    if (is_float(&f->arg[i])) wrt[r.n_wrt++] = &f->arg[i];
  if (!vq_grad_build(f, &r, pc)) return VQ_ERR;
  vq_stat(pc, "gradients built", r.n_wrt);
  return VQ_OK;
}
