// rows: chains of movement that only permute, repeat, drop or pad whole rows
// become one gather_rows, and it moves to where a kernel reads through it.
//
// Swin cuts its picture into windows, shifts them and puts them back; patch
// merging lays four neighbours side by side. Spelled as reshape, transpose,
// slice, concat and pad that is up to seven copies in a row. All of them move
// tokens, whole runs of C channels. So for each chain of movement that ends
// (some user computes) this pass
//
// 1. finds the chain backwards: every path must end in one tensor, the root;
// 2. finds the granule, the longest run of elements that no op of the chain
//    divides and that divides the rows of the result;
// 3. follows each granule of the result down to the root. The answers are the
//    table. A chain that moves nothing is a reshape.
//
// Where the root is a layer_norm or a linear that nothing else reads and its
// rows stay whole, the op changes places with the chain: it computes the rows
// in the order they are wanted, and the table is read by its kernel, which
// fuse then forms. The operand's own chain may then be absorbed as well, so
// the pass goes on from there.
//
// Slices that only attention and its gradient read stay: their kernels read through
// strides.
#include "passes.h"
#include "vq/rewrite.h"

#define MAX_CHAIN 64             // ops of a chain
#define MIN_RUN 8                // elements; shorter runs are no rows
#define MAX_WORK (INT64_C(1) << 24)  // table entries times operands

typedef struct chain {
  vq_pass_ctx *pc;
  vq_map *tables;  // bytes -> vq_value*, those made so far
  vq_op *end;
  vq_op *op[MAX_CHAIN];
  unsigned n;
  vq_value *root;
  int64_t run;    // the granule
  int64_t *table;  // a root granule, or -1, for each granule of the result
  int64_t n_table;
  bool pad;
  float value;
} chain;

static bool is_const_index(const vq_op *op) {
  vq_const *c = vq_const_of(vq_in(op, 1));
  return c && vq_const_bytes(c);
}

static bool is_movement(const vq_op *op) {
  switch (op->code) {
    case VQ_OP_copy:
    case VQ_OP_reshape:
    case VQ_OP_transpose:
    case VQ_OP_slice:
    case VQ_OP_concat:
    case VQ_OP_pad:
      return true;
    case VQ_OP_gather:
    case VQ_OP_gather_rows:
      return is_const_index(op);
    default:
      return false;
  }
}

static bool is_moved(const vq_value *v) {
  return v->kind == VQ_VALUE_RESULT && is_movement(v->def);
}

// ---- the chain -----------------------------------------------------------------

// How many operands of `op` it moves; an index is not moved.
static unsigned n_moved(const vq_op *op) {
  return op->code == VQ_OP_concat ? op->n_in : 1;
}

static bool in_chain(const chain *c, const vq_op *op) {
  for (unsigned i = 0; i < c->n; i++)
    if (c->op[i] == op) return true;
  return false;
}

// Collects the ops behind c->end in any order; false when they do not come
// down to one tensor.
static bool collect(chain *c) {
  c->op[c->n++] = c->end;
  for (unsigned at = 0; at < c->n; at++) {
    const vq_op *op = c->op[at];
    for (unsigned i = 0; i < n_moved(op); i++) {
      vq_value *v = vq_in(op, i);
      if (!is_moved(v)) {
        if (c->root && c->root != v) return false;
        c->root = v;
      } else if (!in_chain(c, v->def)) {
        if (c->n == MAX_CHAIN) return false;
        c->op[c->n++] = v->def;
      }
    }
  }
  return c->root->kind != VQ_VALUE_CONST && c->root->type->rank > 0 &&
         vq_type_count(c->root->type) > 0 &&
         vq_type_count(c->end->out->type) > 0;
}

// ---- the granule ----------------------------------------------------------------

static int64_t gcd(int64_t a, int64_t b) {
  while (b) {
    int64_t r = a % b;
    a = b, b = r;
  }
  return a;
}

// Elements of the dimensions behind `k`.
static int64_t inner_of(const vq_type *t, unsigned k) {
  int64_t n = 1;
  while (++k < t->rank) n *= t->dim[k];
  return n;
}

static int64_t run_of_slice(const vq_op *op) {
  const vq_attrs_slice *a = VQ_ATTRS(op, slice);
  const vq_type *x = vq_in(op, 0)->type;
  for (unsigned k = x->rank; k-- > 0;) {
    int64_t step = a->step.n ? a->step.p[k] : 1, inner = inner_of(x, k);
    if (a->size.p[k] == x->dim[k] && (step == 1 || x->dim[k] == 1)) continue;
    if (step != 1 && a->size.p[k] > 1) return inner;
    return inner * gcd(gcd(a->size.p[k], a->begin.p[k]), x->dim[k]);
  }
  return 0;
}

static int64_t run_of_pad(const vq_op *op) {
  const vq_attrs_pad *a = VQ_ATTRS(op, pad);
  const vq_type *x = vq_in(op, 0)->type;
  for (unsigned k = x->rank; k-- > 0;)
    if (a->lo.p[k] || a->hi.p[k])
      return inner_of(x, k) * gcd(gcd(a->lo.p[k], a->hi.p[k]), x->dim[k]);
  return 0;
}

static int64_t run_of_transpose(const vq_op *op) {
  vq_ints perm = VQ_ATTRS(op, transpose)->perm;
  const vq_type *x = vq_in(op, 0)->type;
  for (unsigned k = x->rank; k-- > 0;)
    if (perm.p[k] != k) return inner_of(x, k);
  return 0;
}

// The longest run whose multiples no boundary of `op` divides; 0: any.
static int64_t run_of(const vq_op *op) {
  const vq_type *x = vq_in(op, 0)->type;
  int64_t run = 0;
  switch (op->code) {
    case VQ_OP_transpose: return run_of_transpose(op);
    case VQ_OP_slice: return run_of_slice(op);
    case VQ_OP_pad: return run_of_pad(op);
    case VQ_OP_gather:
      return inner_of(x, (unsigned)VQ_ATTRS(op, gather)->axis);
    case VQ_OP_gather_rows: return x->dim[x->rank - 1];
    case VQ_OP_concat: {
      unsigned axis = (unsigned)VQ_ATTRS(op, concat)->axis;
      for (unsigned i = 0; i < op->n_in; i++)
        run = gcd(run, vq_in(op, i)->type->dim[axis]);
      return run * inner_of(x, axis);
    }
    default: return 0;
  }
}

static void find_run(chain *c) {
  const vq_type *from = c->root->type, *to = c->end->out->type;
  c->run = gcd(from->dim[from->rank - 1],
               to->rank ? to->dim[to->rank - 1] : 1);
  for (unsigned i = 0; i < c->n; i++) c->run = gcd(c->run, run_of(c->op[i]));
}

// ---- the table -------------------------------------------------------------------

static void unflatten(const vq_type *t, int64_t at, int64_t *idx) {
  for (unsigned k = t->rank; k-- > 0; at /= t->dim[k]) idx[k] = at % t->dim[k];
}

static int64_t flatten(const vq_type *t, const int64_t *idx) {
  int64_t at = 0;
  for (unsigned k = 0; k < t->rank; k++) at = at * t->dim[k] + idx[k];
  return at;
}

static int64_t at_gather(const vq_op *op, int64_t at) {
  const vq_type *x = vq_in(op, 0)->type, *index = vq_in(op, 1)->type;
  unsigned axis = (unsigned)VQ_ATTRS(op, gather)->axis;
  int64_t inner = inner_of(x, axis), n = vq_type_count(index);
  int64_t i = vq_const_i64(vq_const_of(vq_in(op, 1)), at / inner % n);
  if (i < 0 || i >= x->dim[axis]) return -1;
  return (at / inner / n * x->dim[axis] + i) * inner + at % inner;
}

static int64_t at_gather_rows(const vq_op *op, int64_t at) {
  const vq_type *x = vq_in(op, 0)->type, *t = vq_in(op, 1)->type;
  int64_t cols = x->dim[x->rank - 1], row = at / cols, n = t->dim[0];
  int64_t m = vq_type_count(x) / cols / VQ_ATTRS(op, gather_rows)->groups;
  int64_t i = vq_const_i64(vq_const_of(vq_in(op, 1)), row % n);
  return i < 0 || i >= m ? -1 : (row / n * m + i) * cols + at % cols;
}

// The element of operand *operand that element `at` of op's result is; -1 for
// a pad.
static int64_t step_down(const vq_op *op, int64_t at, unsigned *operand) {
  const vq_type *x = vq_in(op, 0)->type, *y = op->out->type;
  int64_t to[VQ_MAX_RANK], from[VQ_MAX_RANK];
  *operand = 0;
  if (op->code == VQ_OP_gather) return at_gather(op, at);
  if (op->code == VQ_OP_gather_rows) return at_gather_rows(op, at);
  if (op->code == VQ_OP_reshape || op->code == VQ_OP_copy) return at;
  unflatten(y, at, to);
  memcpy(from, to, sizeof from);
  if (op->code == VQ_OP_concat) {
    unsigned axis = (unsigned)VQ_ATTRS(op, concat)->axis;
    for (; from[axis] >= x->dim[axis]; x = vq_in(op, ++*operand)->type)
      from[axis] -= x->dim[axis];
  }
  for (unsigned k = 0; k < x->rank; k++) {
    if (op->code == VQ_OP_transpose)
      from[VQ_ATTRS(op, transpose)->perm.p[k]] = to[k];
    if (op->code == VQ_OP_slice) {
      const vq_attrs_slice *a = VQ_ATTRS(op, slice);
      from[k] = a->begin.p[k] + to[k] * (a->step.n ? a->step.p[k] : 1);
    }
    if (op->code == VQ_OP_pad) {
      from[k] -= VQ_ATTRS(op, pad)->lo.p[k];
      if (from[k] < 0 || from[k] >= x->dim[k]) return -1;
    }
  }
  return flatten(x, from);
}

// The op's fill; false when it differs from one met before.
static bool note_fill(chain *c, const vq_op *op) {
  float v;
  if (op->code == VQ_OP_pad)
    v = VQ_ATTRS(op, pad)->value;
  else if (op->code == VQ_OP_gather_rows && VQ_ATTRS(op, gather_rows)->pad)
    v = VQ_ATTRS(op, gather_rows)->value;
  else
    return false;  // an index out of range
  if (c->pad && memcmp(&v, &c->value, sizeof v)) return false;
  c->pad = true, c->value = v;
  return true;
}

// Steps that an entry may take: a concat looks for its operand one by one.
static int64_t entry_steps(const chain *c) {
  int64_t n = 0;
  for (unsigned i = 0; i < c->n; i++) n += n_moved(c->op[i]);
  return n;
}

static bool find_table(chain *c) {
  int64_t count = vq_type_count(c->end->out->type);
  if (c->run < 1 || vq_type_count(c->root->type) / c->run > INT32_MAX)
    return false;
  c->n_table = count / c->run;
  if (c->n_table > MAX_WORK / entry_steps(c)) return false;
  c->table = VQ_NEW_N(c->pc->temp, int64_t, (size_t)c->n_table);
  for (int64_t i = 0; i < c->n_table; i++) {
    const vq_value *v = c->end->out;
    int64_t at = i * c->run;
    while (v != c->root && at >= 0) {
      const vq_op *op = v->def;
      unsigned operand;
      at = step_down(op, at, &operand);
      if (at < 0 && !note_fill(c, op)) return false;
      v = vq_in(op, operand);
    }
    c->table[i] = at < 0 ? -1 : at / c->run;
  }
  return true;
}

static bool moves_nothing(const chain *c) {
  if (c->pad || vq_type_count(c->root->type) != c->n_table * c->run)
    return false;
  for (int64_t i = 0; i < c->n_table; i++)
    if (c->table[i] != i) return false;
  return true;
}

// ---- rewriting ---------------------------------------------------------------------

// The model's samples lie one after the other, and so do their rows: a table
// for the first is enough when the others only differ by an offset.
static int64_t groups_of(const chain *c) {
  const vq_func *f = c->end->func;
  if (f->n_arg == 0 || f->arg[0].type->rank == 0) return 1;
  int64_t g = f->arg[0].type->dim[0];
  int64_t rows = vq_type_count(c->root->type) / c->run;
  if (g <= 1 || c->n_table % g || rows % g) return 1;
  int64_t n = c->n_table / g, m = rows / g;
  for (int64_t i = 0; i < n; i++)
    if (c->table[i] >= m) return 1;
  for (int64_t i = n; i < c->n_table; i++) {
    int64_t first = c->table[i % n];
    if (c->table[i] != (first < 0 ? -1 : first + i / n * m)) return 1;
  }
  return g;
}

static vq_value *reshaped(vq_builder *b, vq_value *x, const vq_type *lead,
                          int64_t last) {
  int64_t dim[VQ_MAX_RANK];
  memcpy(dim, lead->dim, sizeof dim);
  dim[lead->rank - 1] = last;
  if (x->type->rank == lead->rank &&
      !memcmp(x->type->dim, dim, lead->rank * sizeof *dim))
    return x;
  return vq_build_reshape(b, x, lead->rank, dim, VQ_LIT(""));
}

static vq_value *table_const(const chain *c, int64_t n) {
  vq_module *m = c->end->func->module;
  const vq_type *t = vq_type_tensor(m->ctx, VQ_i32, 1, &n, NULL);
  size_t bytes = (size_t)vq_type_bytes(t);
  int32_t *data = VQ_NEW_N(c->pc->temp, int32_t, (size_t)n);
  for (int64_t i = 0; i < n; i++) data[i] = (int32_t)c->table[i];
  vq_value **slot =
      (vq_value **)vq_map_put(c->tables, (vq_str){(const char *)data, bytes});
  if (!*slot)
    *slot = &vq_const_new_copy(m, VQ_LIT("rows"), t, data)->value;
  return *slot;
}

// The rows of `x`, `last` elements each, as the table says, in the shape of
// the chain's result.
static vq_value *gathered(vq_builder *b, const chain *c, vq_value *x,
                          int64_t last) {
  const vq_type *to = c->end->out->type;
  if (x->type->dim[x->type->rank - 1] != last)
    x = vq_build_reshape(b, x, 2,
                         (int64_t[]){vq_type_count(x->type) / last, last},
                         VQ_LIT(""));
  vq_attrs_gather_rows a = vq_default_gather_rows();
  a.groups = groups_of(c), a.pad = c->pad, a.value = c->value;
  vq_value *in[] = {x, x ? table_const(c, c->n_table / a.groups) : NULL};
  vq_value *y = x ? vq_build1(b, VQ_OP_gather_rows, in, 2, &a, VQ_LIT("")) : NULL;
  int64_t whole = to->rank ? to->dim[to->rank - 1] : 1;
  return y ? reshaped(b, y, to, whole == c->run ? last : whole) : NULL;
}

// True when only this chain reads its root, and only its end is read outside.
static bool owns_root(const chain *c) {
  vq_each_use(c->root, u)
    if (!in_chain(c, u->user)) return false;
  for (unsigned i = 0; i < c->n; i++) {
    if (c->op[i] == c->end) continue;
    vq_each_use(c->op[i]->out, u)
      if (!in_chain(c, u->user)) return false;
  }
  return true;
}

// True when the op that makes the root may be computed behind the chain.
static bool may_swap(const chain *c) {
  const vq_value *v = c->root;
  const vq_type *from = v->type, *to = c->end->out->type;
  if (v->kind != VQ_VALUE_RESULT || c->pad || to->rank == 0 ||
      (v->def->code != VQ_OP_layer_norm && v->def->code != VQ_OP_linear))
    return false;
  int64_t cols = from->dim[from->rank - 1];
  return c->run == cols && to->dim[to->rank - 1] == cols && owns_root(c) &&
         vq_type_count(to) <= vq_type_count(from);
}

// The root's op over its operand, moved: the chain's result.
static vq_value *swap(vq_builder *b, const chain *c, bool plain) {
  const vq_op *op = c->root->def;
  vq_value *in[3], *x = vq_in(op, 0);
  const vq_type *to = c->end->out->type;
  int64_t last = x->type->dim[x->type->rank - 1];
  for (unsigned i = 0; i < op->n_in; i++) in[i] = vq_in(op, i);
  in[0] = plain ? reshaped(b, x, to, last) : gathered(b, c, x, last);
  if (!in[0]) return NULL;
  b->loc = op->loc;
  return vq_build1(b, op->code, in, op->n_in, op->attrs, VQ_LIT(""));
}

static bool is_settled(const chain *c, bool plain) {
  vq_opcode want = plain ? VQ_OP_reshape : VQ_OP_gather_rows;
  const vq_op *op = c->end;
  if (!plain && op->code == VQ_OP_reshape && is_moved(vq_in(op, 0)))
    op = vq_in(op, 0)->def;
  if (op->code != want) return false;
  const vq_value *x = vq_in(op, 0);
  if (!plain && x != c->root && x->kind == VQ_VALUE_RESULT &&
      x->def->code == VQ_OP_reshape)
    x = vq_in(x->def, 0);
  return x == c->root;
}

// Reads a slice that is its operand `i` where it lies.
static bool reads_slices(const vq_op *op, unsigned i) {
  return op->code == VQ_OP_attention || op->code == VQ_OP_attention_int ||
         (op->code == VQ_OP_attention_softmax && i <= 1) ||
         (op->code == VQ_OP_attention_grad && i <= 2);
}

// True when something besides movement reads the result of `op`.
static bool is_end(const vq_op *op) {
  bool other = false;
  vq_each_use(op->out, u) {
    bool index = u->idx != 0 && u->user->code != VQ_OP_concat;
    if (is_movement(u->user) && !index) continue;
    if (op->code == VQ_OP_slice && reads_slices(u->user, u->idx)) continue;
    other = true;
  }
  return other;
}

// Removes the ops of a replaced chain, and the root's, that nothing reads.
static void erase_dead(chain *c, vq_op *root) {
  for (unsigned left = c->n, before = left + 1; left && left < before;) {
    before = left;
    for (unsigned i = 0; i < left; i++) {
      if (c->op[i]->out->uses) continue;
      vq_erase_op(c->op[i]);
      c->op[i--] = c->op[--left];
    }
  }
  if (root && !root->out->uses) vq_erase_op(root);
}

static vq_value *plain_reshape(vq_builder *b, const chain *c) {
  const vq_type *to = c->end->out->type;
  if (to == c->root->type) return c->root;
  return vq_build_reshape(b, c->root, to->rank, to->dim, VQ_LIT(""));
}

// Rewrites the chain that ends at `op`. *next is where the sweep goes on: the
// first of the new ops.
static vq_status rewrite(vq_op *op, vq_pass_ctx *pc, vq_map *tables,
                         vq_op **next) {
  chain c = {.pc = pc, .tables = tables, .end = op};
  vq_builder b = {op->func, op, op->loc, pc->diag};
  if (!collect(&c)) return VQ_OK;
  find_run(&c);
  if (!find_table(&c)) return VQ_OK;
  bool plain = moves_nothing(&c), hoist = may_swap(&c);
  if (!plain && c.run < MIN_RUN) return VQ_OK;
  if (!hoist && is_settled(&c, plain)) return VQ_OK;
  vq_op *before = op->prev;
  vq_value *y = hoist   ? swap(&b, &c, plain)
                : plain ? plain_reshape(&b, &c)
                        : gathered(&b, &c, c.root, c.run);
  if (!y) return VQ_ERR;
  if (y->type != op->out->type) {  // codes that lose on the way what they mean
    while (op->prev != before) vq_erase_op(op->prev);
    return VQ_OK;
  }
  vq_op *first = before ? before->next : op->func->first;
  if (first != op) *next = first;
  vq_stat(pc, plain ? "chains that move nothing" : "chains of rows", 1);
  if (hoist) vq_stat(pc, "ops moved behind rows", 1);
  vq_replace_all_uses(op->out, y);
  vq_str name = op->out->name;
  erase_dead(&c, hoist ? c.root->def : NULL);
  if (y->kind == VQ_VALUE_RESULT && !y->name.n)
    vq_rename_value(b.func, y, name);
  return VQ_OK;
}

vq_status vq_pass_rows(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_module_func(m, VQ_LIT("main"));
  vq_map tables = {0};
  vq_status status = VQ_OK;
  if (!f) return VQ_OK;
  for (vq_op *op = f->first, *next; op && !status; op = next) {
    next = op->next;
    if (is_movement(op) && is_end(op)) status = rewrite(op, pc, &tables, &next);
  }
  vq_map_release(&tables);
  return status;
}
