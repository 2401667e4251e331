// Parts of @main: blocks of a transformer, the surroundings of a value, and a module
// of such a part alone.
//
// Blocks are found by dataflow, so that they are at hand before and after any pass. An
// attention is an op of that kind, a call of a kernel that has one, or the product
// behind a softmax. The residual stream enters block k as the last value before
// attention k that all operands of the attention are computed from and that leads past
// it, too; from there to where the next block begins lies the block. The last one ends
// with the last sum of a value with something that products made of it, the head being
// what follows.
#include "vq/inspect.h"
#include "vq/build.h"
#include "vq/pass.h"
#include "vq/rewrite.h"
#include "vq/suggest.h"
#include "vq/text.h"
#include "vq/vec.h"
#include "vq/verify.h"

void vq_op_list_release(vq_op_list *l) { vq_vec_release(l); }

// @main, its ops numbered in program order.
typedef struct graph {
  const vq_func *f;
  vq_op **op;
  uint32_t n;
  vq_map number;  // op -> number + 1
  vq_arena arena;
} graph;

static vq_status graph_open(graph *g, const vq_module *m, vq_diag *diag) {
  *g = (graph){.f = vq_module_func(m, VQ_LIT("main"))};
  if (!g->f)
    return diag ? vq_error(diag, VQ_E_structure, (vq_loc){0}, "the module has no @main")
                : VQ_ERR;
  vq_each_op(g->f, op) g->n++;
  g->op = VQ_NEW_N(&g->arena, vq_op *, g->n);
  uint32_t i = 0;
  vq_each_op(g->f, op) {
    g->op[i] = op;
    *vq_map_put(&g->number, VQ_MAP_PTR_KEY(g->op[i])) = (void *)(uintptr_t)(i + 1);
    i++;
  }
  return VQ_OK;
}

static void graph_close(graph *g) {
  vq_map_release(&g->number);
  vq_arena_release(&g->arena);
}

static uint32_t number(const graph *g, const vq_op *op) {
  return (uint32_t)(uintptr_t)vq_map_get(&g->number, VQ_MAP_PTR_KEY(op)) - 1;
}

// ---- reachability -----------------------------------------------------------
// Sets of ops are arrays of flags, one for each op.

static bool *new_set(graph *g) { return VQ_NEW_N(&g->arena, bool, g->n + 1); }

// What op `i` depends on, with it.
static bool *ancestors(graph *g, uint32_t i) {
  bool *set = new_set(g);
  set[i] = true;
  for (uint32_t k = i + 1; k-- > 0;)
    for (uint32_t n = 0; set[k] && n < g->op[k]->n_in; n++) {
      const vq_value *v = vq_in(g->op[k], n);
      if (v->kind == VQ_VALUE_RESULT) set[number(g, v->def)] = true;
    }
  return set;
}

// What depends on op `i`, without it.
static bool *descendants(graph *g, uint32_t i) {
  bool *set = new_set(g);
  for (uint32_t k = i + 1; k < g->n; k++)
    for (uint32_t n = 0; n < g->op[k]->n_in && !set[k]; n++) {
      const vq_value *v = vq_in(g->op[k], n);
      if (v->kind != VQ_VALUE_RESULT) continue;
      uint32_t from = number(g, v->def);
      set[k] = from == i || set[from];
    }
  return set;
}

// ---- blocks -----------------------------------------------------------------

static bool has_attention(const vq_func *f) {
  vq_each_op(f, op)
    if (op->code == VQ_OP_attention || op->code == VQ_OP_attention_int) return true;
  return false;
}

// The product that the weights of a softmax go into, if any.
static const vq_op *product_behind(const vq_op *op) {
  for (unsigned steps = 0; steps < 8 && op->n_out == 1 && op->out->uses; steps++) {
    op = op->out->uses->user;
    if (op->code == VQ_OP_matmul) return op;
    if (!vq_has_trait(op, VQ_TRAIT_ELTWISE | VQ_TRAIT_VIEW)) return NULL;
  }
  return NULL;
}

static const vq_op *attention_of(const vq_op *op) {
  const vq_func *callee;
  switch ((int)op->code) {
    case VQ_OP_attention:
    case VQ_OP_attention_int: return op;
    case VQ_OP_softmax: return product_behind(op);
    case VQ_OP_call:
      callee = vq_module_func(op->func->module, VQ_ATTRS(op, call)->callee);
      return callee && has_attention(callee) ? op : NULL;
    default: return NULL;
  }
}

// Numbers of the attentions, ascending; returns how many.
static unsigned find_attentions(graph *g, uint32_t *out) {
  unsigned n = 0;
  for (uint32_t i = 0; i < g->n; i++) {
    const vq_op *at = attention_of(g->op[i]);
    if (at && at->func == g->f) out[n++] = number(g, at);
  }
  return n;
}

// Ops above an attention, in `set`, that something else depends on, too.
static bool *read_past(graph *g, uint32_t attention, const bool *set) {
  bool *past = new_set(g);
  for (uint32_t i = attention; i-- > 0;) {
    if (!set[i]) continue;
    for (uint32_t n = 0; n < g->op[i]->n_out; n++)
      vq_each_use(&g->op[i]->out[n], u) {
        uint32_t k = number(g, u->user);
        past[i] |= !set[k] || (k != attention && past[k]);
      }
  }
  return past;
}

// Whether all operands of the attention are computed from op `i`, tables apart.
static bool feeds_all(graph *g, uint32_t i, uint32_t attention, const bool *tables) {
  const bool *below = descendants(g, i);
  for (uint32_t n = 0; n < g->op[attention]->n_in; n++) {
    const vq_value *v = vq_in(g->op[attention], n);
    if (v->kind != VQ_VALUE_RESULT) continue;
    uint32_t k = number(g, v->def);
    if (k != i && !below[k] && !tables[k]) return false;
  }
  return true;
}

// Ops that depend on no argument: a table that is computed belongs to its reader.
static bool *without_arguments(graph *g) {
  bool *set = new_set(g);
  for (uint32_t i = 0; i < g->n; i++) {
    set[i] = true;
    for (uint32_t n = 0; n < g->op[i]->n_in; n++) {
      const vq_value *v = vq_in(g->op[i], n);
      if (v->kind == VQ_VALUE_ARG || (v->def && !set[number(g, v->def)])) set[i] = false;
    }
  }
  return set;
}

// The op whose result the residual stream enters with; g->n: none, an argument.
static uint32_t entry_of(graph *g, uint32_t attention) {
  const bool *set = ancestors(g, attention), *tables = without_arguments(g);
  const bool *past = read_past(g, attention, set);
  for (uint32_t i = attention; i-- > 0;)
    if (past[i] && !tables[i] && feeds_all(g, i, attention, tables)) return i;
  return g->n;
}

static bool is_product(const vq_op *op) {
  if (op->code != VQ_OP_call) return vq_op_macs(op) > 0;
  const vq_func *f = vq_module_func(op->func->module, VQ_ATTRS(op, call)->callee);
  for (const vq_op *k = f ? f->first : NULL; k; k = k->next)
    if (vq_op_macs(k) > 0) return true;
  return false;
}

// What depends on op `i` through a matrix product.
static bool *behind_products(graph *g, uint32_t i) {
  bool *below = descendants(g, i), *set = new_set(g);
  for (uint32_t k = i + 1; k < g->n; k++) {
    set[k] = below[k] && is_product(g->op[k]);
    for (uint32_t n = 0; n < g->op[k]->n_in; n++) {
      const vq_value *v = vq_in(g->op[k], n);
      set[k] |= v->kind == VQ_VALUE_RESULT && set[number(g, v->def)];
    }
  }
  return set;
}

// Reads a value and something computed from it by products, so that the parts of a
// norm that stands in pieces are none.
static bool is_sum(graph *g, uint32_t i) {
  const vq_op *op = g->op[i];
  if (attention_of(op) || op->code == VQ_OP_return) return false;
  for (uint32_t n = 0; n < op->n_in; n++) {
    const vq_value *v = vq_in(op, n);
    if (v->kind != VQ_VALUE_RESULT || vq_has_one_use(v)) continue;
    const bool *below = behind_products(g, number(g, v->def));
    for (uint32_t k = 0; k < op->n_in; k++)
      if (vq_in(op, k)->kind == VQ_VALUE_RESULT && below[number(g, vq_in(op, k)->def)])
        return true;
  }
  return false;
}

static uint32_t last_sum(graph *g, uint32_t from, uint32_t to) {
  for (uint32_t i = to; --i > from;)
    if (is_sum(g, i)) return i;
  return from;
}

// Where block `k` begins. Pooling by attention reads the stream to its end.
static uint32_t border(graph *g, const uint32_t *at, unsigned n, unsigned k) {
  uint32_t i = k < n ? entry_of(g, at[k]) : g->n;
  return i == g->n && k > 0 ? last_sum(g, at[k - 1], k < n ? at[k] : g->n) : i;
}

static void collect(graph *g, uint32_t entry, uint32_t end, vq_op_list *out) {
  const bool *above = ancestors(g, end), *tables = without_arguments(g);
  const bool *below = entry < g->n ? descendants(g, entry) : above;
  bool *set = new_set(g);
  for (uint32_t i = 0; i <= end; i++) set[i] = above[i] && below[i];
  for (uint32_t i = end + 1; i-- > 0;)
    for (uint32_t n = 0; set[i] && n < g->op[i]->n_in; n++) {
      const vq_value *v = vq_in(g->op[i], n);
      if (v->kind == VQ_VALUE_RESULT && tables[number(g, v->def)])
        set[number(g, v->def)] = true;
    }
  for (uint32_t i = 0; i < g->n; i++)
    if (set[i]) vq_vec_push(out, g->op[i]);
}

unsigned vq_block_count(const vq_module *m) {
  graph g;
  if (graph_open(&g, m, NULL)) return 0;
  unsigned n = find_attentions(&g, VQ_NEW_N(&g.arena, uint32_t, g.n));
  graph_close(&g);
  return n;
}

vq_status vq_select_block(const vq_module *m, unsigned block, vq_diag *diag,
                          vq_op_list *out) {
  graph g;
  *out = (vq_op_list){0};
  if (graph_open(&g, m, diag)) return VQ_ERR;
  uint32_t *at = VQ_NEW_N(&g.arena, uint32_t, g.n);
  unsigned n = find_attentions(&g, at);
  if (block < n) {
    uint32_t entry = border(&g, at, n, block), end = border(&g, at, n, block + 1);
    if (end < at[block]) end = last_sum(&g, at[block], g.n);  // a side branch
    collect(&g, entry, end, out);
  }
  graph_close(&g);
  if (block < n) return VQ_OK;
  if (n)
    return vq_error(diag, VQ_E_option, (vq_loc){0},
                    "there is no block %u: the network has blocks 0 to %u", block, n - 1);
  return vq_error(diag, VQ_E_option, (vq_loc){0},
                  "the network has no blocks: none of its ops is an attention");
}

// ---- surroundings -----------------------------------------------------------

static vq_value *find_value(const graph *g, vq_str name) {
  vq_value *v = vq_func_value(g->f, name);
  vq_const *c = v ? NULL : vq_module_const(g->f->module, name);
  if (v || c) return v ? v : &c->value;
  for (uint32_t i = 0; i < g->n; i++)  // unnamed ones print as numbers
    for (uint32_t k = 0; k < g->op[i]->n_out; k++) {
      vq_strbuf text = {0};
      vq_value *w = &g->op[i]->out[k];
      if (!w->name.n) vq_print_value(&text, w);
      bool same = text.n && vq_str_eq((vq_str){text.p + 1, text.n - 1}, name);
      vq_strbuf_release(&text);
      if (same) return w;
    }
  return NULL;
}

static vq_status no_value(const graph *g, vq_str name, vq_diag *diag) {
  vq_suggest s = vq_suggest_start(name);
  for (uint32_t i = 0; i < g->n; i++)
    for (uint32_t k = 0; k < g->op[i]->n_out; k++)
      vq_suggest_offer(&s, vq_intern(g->f->module->ctx, g->op[i]->out[k].name).p);
  return vq_error(diag, VQ_E_option, (vq_loc){0}, "@main has no value '%.*s'%s%s%s",
                  VQ_FMT(name), s.best ? "; did you mean '" : "", s.best ? s.best : "",
                  s.best ? "'?" : "");
}

// Marks the readers of `v` and what computes it with `depth`, unless they have more.
static void mark(const graph *g, uint32_t *left, const vq_value *v, uint32_t depth) {
  if (v->kind == VQ_VALUE_RESULT && left[number(g, v->def)] < depth)
    left[number(g, v->def)] = depth;
  vq_each_use(v, u)
    if (u->user->func == g->f && u->user->code != VQ_OP_return &&
        left[number(g, u->user)] < depth)
      left[number(g, u->user)] = depth;
}

static void spread(const graph *g, uint32_t *left, const vq_value *from, unsigned depth) {
  mark(g, left, from, depth);
  for (uint32_t d = depth; d > 1; d--)
    for (uint32_t i = 0; i < g->n; i++) {
      const vq_op *op = g->op[i];
      if (left[i] != d) continue;
      for (uint32_t n = 0; n < op->n_in; n++)
        if (!vq_const_of(vq_in(op, n))) mark(g, left, vq_in(op, n), d - 1);
      for (uint32_t n = 0; n < op->n_out; n++) mark(g, left, &op->out[n], d - 1);
    }
}

vq_status vq_select_around(const vq_module *m, vq_str name, unsigned depth, vq_diag *diag,
                           vq_op_list *out) {
  graph g;
  *out = (vq_op_list){0};
  if (graph_open(&g, m, diag)) return VQ_ERR;
  const vq_value *v = find_value(&g, name);
  uint32_t *left = VQ_NEW_N(&g.arena, uint32_t, g.n);
  vq_status s = v ? VQ_OK : no_value(&g, name, diag);
  if (v) spread(&g, left, v, depth);
  for (uint32_t i = 0; i < g.n; i++)
    if (left[i] && g.op[i]->code != VQ_OP_return) vq_vec_push(out, g.op[i]);
  graph_close(&g);
  return s;
}

// ---- a module of a part -----------------------------------------------------

typedef struct cutter {
  vq_module *m;
  vq_arena arena;
  vq_map map;   // value -> what stands for it, itself until the function is made
  vq_map kept;  // op -> itself
  VQ_VEC(vq_value *) arg;
  VQ_VEC(vq_value *) result;
} cutter;

static void map_to(cutter *c, vq_value *from, vq_value *to) {
  vq_value **key = VQ_NEW(&c->arena, vq_value *);
  *key = from;
  *vq_map_put(&c->map, VQ_MAP_PTR_KEY(*key)) = to;
}

// Values that cross the border of the part, in order of first use.
static void find_border(cutter *c, const vq_op_list *keep) {
  for (size_t i = 0; i < keep->n; i++)
    *vq_map_put(&c->kept, VQ_MAP_PTR_KEY(keep->p[i])) = keep->p[i];
  for (size_t i = 0; i < keep->n; i++) {
    const vq_op *op = keep->p[i];
    for (uint32_t n = 0; n < op->n_in; n++) {
      vq_value *v = vq_in(op, n);
      if (vq_const_of(v) || vq_map_get(&c->map, VQ_MAP_PTR_KEY(v))) continue;
      if (v->def && vq_map_get(&c->kept, VQ_MAP_PTR_KEY(v->def))) continue;
      map_to(c, v, v);
      vq_vec_push(&c->arg, v);
    }
    for (uint32_t n = 0; n < op->n_out; n++) {
      bool leaves = false;
      vq_each_use(&op->out[n], u)
        leaves |= !vq_map_get(&c->kept, VQ_MAP_PTR_KEY(u->user));
      if (leaves) vq_vec_push(&c->result, &op->out[n]);
    }
  }
}

static vq_func *make_func(cutter *c) {
  const vq_type **type = VQ_NEW_N(&c->arena, const vq_type *, c->arg.n + 1);
  vq_str *name = VQ_NEW_N(&c->arena, vq_str, c->arg.n + 1);
  for (size_t i = 0; i < c->arg.n; i++) {
    vq_strbuf text = {0};
    vq_print_value(&text, c->arg.p[i]);  // an unnamed one gets its number for a name
    name[i] = c->arg.p[i]->name;
    if (!name[i].n) {
      text.p[0] = 'v';
      name[i] = vq_arena_str(&c->arena, vq_strbuf_view(&text));
    }
    vq_strbuf_release(&text);
    type[i] = c->arg.p[i]->type;
  }
  vq_func *f = vq_func_create(c->m, VQ_FUNC, VQ_LIT("main"), (unsigned)c->arg.n, type, name);
  for (size_t i = 0; i < c->arg.n; i++) map_to(c, c->arg.p[i], &f->arg[i]);
  return f;
}

static vq_status make_return(cutter *c, vq_builder *b) {
  size_t n = c->result.n;
  vq_value **v = VQ_NEW_N(&c->arena, vq_value *, n + 1);
  vq_str *name = VQ_NEW_N(&c->arena, vq_str, n + 1);
  for (size_t i = 0; i < n; i++) {
    vq_value *from = c->result.p[i];
    v[i] = vq_map_get(&c->map, VQ_MAP_PTR_KEY(from));
    name[i] = from->name;
    if (from->name.n) continue;
    vq_strbuf text = {0};
    vq_strbuf_printf(&text, "y%zu", i);
    name[i] = vq_arena_str(&c->arena, vq_strbuf_view(&text));
    vq_strbuf_release(&text);
  }
  return vq_build_return(b, (unsigned)n, v, name);
}

static vq_status run_dce(vq_module *m, vq_diag *diag) {
  vq_pipeline *p;
  if (vq_pipeline_parse(m->ctx, VQ_LIT("dce"), diag, &p)) return VQ_ERR;
  vq_status s = vq_pipeline_run(p, m, diag, NULL, NULL, NULL);
  vq_pipeline_destroy(p);
  return s;
}

// Whether the module still is what it was known to be.
static void drop_properties(vq_module *m) {
  m->props &= ~(unsigned)VQ_PROP_PLANNED;
  m->arena_size = 0;
  vq_func *f = vq_module_func(m, VQ_LIT("main"));
  vq_each_op(f, op)
    if (op->code == VQ_OP_call) {
      vq_attrs_call a = *VQ_ATTRS(op, call);
      a.offsets = VQ_NO_INTS;
      vq_set_attrs(op, &a);
    }
  vq_diag quiet;
  vq_diag_init(&quiet, m->ctx, NULL, NULL);
  if ((m->props & VQ_PROP_OUTLINED) && vq_verify_prop(m, VQ_PROP_OUTLINED, &quiet))
    m->props &= ~(unsigned)VQ_PROP_OUTLINED;
}

vq_status vq_keep_only(vq_module *m, const vq_op_list *keep, vq_diag *diag) {
  cutter c = {.m = m};
  vq_func *old = vq_module_func(m, VQ_LIT("main"));
  find_border(&c, keep);
  vq_func *f = make_func(&c);
  vq_builder b = {.func = f, .diag = diag};
  for (size_t i = 0; i < keep->n; i++) vq_clone_op(&b, keep->p[i], &c.map);
  vq_status s = make_return(&c, &b);
  vq_erase_func(m, old);
  vq_rename_func(m, f, VQ_LIT("main"));
  vq_map_release(&c.map);
  vq_map_release(&c.kept);
  vq_vec_release(&c.arg);
  vq_vec_release(&c.result);
  vq_arena_release(&c.arena);
  if (s || run_dce(m, diag)) return VQ_ERR;
  drop_properties(m);
  return VQ_OK;
}
