// Movement ops: one canonical chain for each view, pushed out of the way.
//
// A chain of reshape, transpose, slice and constant gather is rewritten at its
// end (the op with a user that computes) to the chain of vq_view_steps over its
// source, so that equal views are equal ops and opposite ones vanish. Plain
// reshapes of leading dimensions, and permutations of whole leading dimensions
// (the sequence-first layout of nn.MultiheadAttention), sink below ops that
// work along the last dimension; there they meet their inverse or the head
// split of attention. Splitting permutations (window partitions) stay.
#include <stdlib.h>

#include "canon/rewriter.h"

#define MAX_CHAIN 24

enum { MAX_INDEX = 1 << 16 };

// The index of a gather as begin + digits (see vq_digits).
static bool regular_index(const vq_op *op, int64_t *begin, vq_atom *digit,
                          unsigned *n_digit) {
  vq_const *k = vq_const_of(vq_in(op, 1));
  if (!k || k->init == VQ_INIT_MISSING) return false;
  int64_t n = vq_type_count(k->value.type);
  if (n < 1 || n > MAX_INDEX) return false;
  int64_t *index = malloc((size_t)n * sizeof *index);
  if (!index) vq_oom((size_t)n * sizeof *index);
  for (int64_t i = 0; i < n; i++) index[i] = vq_const_i64(k, i);
  int got = vq_digits(index, n, digit);
  *begin = index[0];
  *n_digit = got < 0 ? 0 : (unsigned)got;
  free(index);
  return got >= 0;
}

bool vq_is_movement(const vq_op *op) {
  vq_atom digit[VQ_MAX_DIGITS];
  int64_t begin;
  unsigned n;
  return op->code == VQ_OP_reshape || op->code == VQ_OP_transpose ||
         op->code == VQ_OP_slice ||
         (op->code == VQ_OP_gather && regular_index(op, &begin, digit, &n));
}

// A run of an index is a slice, which may also cut several digits at once.
static bool pick(vq_view *v, unsigned axis, int64_t begin,
                 const vq_atom *digit, unsigned n) {
  int64_t from[VQ_MAX_RANK] = {0}, size[VQ_MAX_RANK], step[VQ_MAX_RANK];
  if (n > 1) return vq_view_pick(v, axis, begin, digit, n);
  for (unsigned k = 0; k < v->rank; k++) {
    size[k] = v->dim[k];
    step[k] = 1;
  }
  from[axis] = begin;
  size[axis] = n ? digit[0].size : 1;
  step[axis] = n ? digit[0].stride : 1;
  return vq_view_slice(v, from, size, step);
}

static bool compose_gather(vq_view *v, const vq_op *op) {
  const vq_type *y = op->out[0].type;
  int64_t axis = VQ_ATTRS(op, gather)->axis, begin;
  vq_atom digit[VQ_MAX_DIGITS];
  unsigned n;
  vq_view r = *v;
  if (axis < 0) axis += vq_in(op, 0)->type->rank;
  if (!regular_index(op, &begin, digit, &n) ||
      !pick(&r, (unsigned)axis, begin, digit, n) ||
      !vq_view_reshape(&r, y->rank, y->dim))
    return false;
  *v = r;
  return true;
}

static bool compose(vq_view *v, const vq_op *op) {
  if (op->code == VQ_OP_reshape)
    return vq_view_reshape(v, op->out[0].type->rank, op->out[0].type->dim);
  if (op->code == VQ_OP_transpose)
    return vq_view_transpose(v, VQ_ATTRS(op, transpose)->perm.p);
  if (op->code == VQ_OP_gather) return compose_gather(v, op);
  const vq_attrs_slice *a = VQ_ATTRS(op, slice);
  return vq_view_slice(v, a->begin.p, a->size.p, a->step.n ? a->step.p : NULL);
}

static bool cuts(const vq_op *op) {
  return op->code == VQ_OP_slice || op->code == VQ_OP_gather;
}

// vq_view_root, stopping at cuts unless `through_cuts`.
static vq_value *root_of(vq_value *v, vq_view *view, bool through_cuts) {
  const vq_op *chain[MAX_CHAIN];
  unsigned n = 0;
  vq_value *root = v;
  while (n < MAX_CHAIN && root->kind == VQ_VALUE_RESULT &&
         vq_is_movement(root->def) && (through_cuts || !cuts(root->def))) {
    chain[n++] = root->def;
    root = vq_in(root->def, 0);
  }
  if (!vq_view_identity(view, root->type->rank, root->type->dim)) return NULL;
  while (n-- > 0) {
    if (compose(view, chain[n])) continue;
    root = (vq_value *)&chain[n]->out[0];
    if (!vq_view_identity(view, root->type->rank, root->type->dim)) return NULL;
  }
  return root;
}

vq_value *vq_view_root(vq_value *v, vq_view *view) {
  return root_of(v, view, true);
}

static vq_value *build_step(vq_rw *rw, vq_value *x, const vq_step *s) {
  if (s->kind == VQ_STEP_RESHAPE)
    return vq_build_reshape(&rw->b, x, s->rank, s->a, VQ_LIT(""));
  if (s->kind == VQ_STEP_TRANSPOSE)
    return vq_build_transpose(&rw->b, x, s->a, VQ_LIT(""));
  vq_attrs_slice a = {.begin = {s->a, s->rank}, .size = {s->size, s->rank}};
  for (unsigned k = 0; k < s->rank; k++)
    if (s->step[k] != 1) a.step = (vq_ints){s->step, s->rank};
  return vq_rw_build(rw, VQ_OP_slice, &x, 1, &a);
}

vq_value *vq_rw_view(vq_rw *rw, vq_value *root, const vq_view *view) {
  vq_step step[VQ_VIEW_STEPS];
  int n = vq_view_steps(view, root->type->rank, root->type->dim, step);
  for (int i = 0; i < n; i++) root = build_step(rw, root, &step[i]);
  return n < 0 ? NULL : root;
}

// ---- chains ----------------------------------------------------------------

static bool same_ints(const vq_ints *a, const int64_t *b, unsigned n) {
  return a->n == n && memcmp(a->p, b, n * sizeof *b) == 0;
}

static bool is_step(const vq_op *op, const vq_step *s) {
  if (op->code == VQ_OP_reshape && s->kind == VQ_STEP_RESHAPE)
    return same_ints(&VQ_ATTRS(op, reshape)->shape, s->a, s->rank);
  if (op->code == VQ_OP_transpose && s->kind == VQ_STEP_TRANSPOSE)
    return same_ints(&VQ_ATTRS(op, transpose)->perm, s->a, s->rank);
  if (op->code != VQ_OP_slice || s->kind != VQ_STEP_SLICE) return false;
  const vq_attrs_slice *a = VQ_ATTRS(op, slice);
  bool ones = true;
  for (unsigned k = 0; k < s->rank; k++) ones &= s->step[k] == 1;
  return same_ints(&a->begin, s->a, s->rank) &&
         same_ints(&a->size, s->size, s->rank) &&
         (ones ? a->step.n == 0 : same_ints(&a->step, s->step, s->rank));
}

// True when the chain from `root` to `v` is spelled as `step` says.
static bool is_spelled(const vq_value *v, const vq_value *root,
                       const vq_step *step, int n) {
  for (; n > 0 && v->kind == VQ_VALUE_RESULT; v = vq_in(v->def, 0))
    if (!is_step(v->def, &step[--n])) return false;
  return n == 0 && v == root;
}

// Columns of the source, as the parts of a packed linear.
static bool cuts_columns(const vq_step *s, const vq_type *t) {
  if (s->kind != VQ_STEP_SLICE) return false;
  for (unsigned k = 0; k < s->rank; k++)
    if (s->step[k] != 1 || (k + 1 < s->rank && s->size[k] != t->dim[k]))
      return false;
  return true;
}

// True when a slice would move above a transpose that stays. Columns may: they
// are cut first and moved then, whichever way an exporter split heads.
static bool is_mixed(const vq_step *step, int n, const vq_type *t) {
  bool slice = false, transpose = false;
  if (n > 0 && cuts_columns(step, t)) return false;
  for (int i = 0; i < n; i++) {
    slice |= step[i].kind == VQ_STEP_SLICE;
    transpose |= step[i].kind == VQ_STEP_TRANSPOSE;
  }
  return slice && transpose;
}

// The canonical chain to rewrite `v` to: its source and steps, or n < 0. A
// slice only moves above a transpose when the transpose vanishes: else each
// slice of a transposed tensor would get a transpose of its own.
static vq_value *chain_of(vq_value *v, vq_step *step, int *n) {
  vq_view view;
  vq_value *root = vq_view_root(v, &view);
  *n = -1;
  if (!root || root == v) return NULL;
  *n = vq_view_steps(&view, root->type->rank, root->type->dim, step);
  if (!is_mixed(step, *n, root->type)) return root;
  *n = -1;
  const vq_op *chain[MAX_CHAIN];
  unsigned len = 0;
  for (root = v; len < MAX_CHAIN && root->kind == VQ_VALUE_RESULT &&
                 vq_is_movement(root->def) && (len == 0 || !cuts(root->def));) {
    chain[len++] = root->def;
    root = vq_in(root->def, 0);
    if (cuts(chain[len - 1])) break;
  }
  if (!vq_view_identity(&view, root->type->rank, root->type->dim)) return NULL;
  while (len-- > 0)
    if (!compose(&view, chain[len])) return NULL;
  *n = vq_view_steps(&view, root->type->rank, root->type->dim, step);
  return root;
}

// True when a chain ends here: some user computes, or cuts without merging.
static bool is_chain_end(const vq_op *op) {
  vq_step step[VQ_VIEW_STEPS];
  vq_view view;
  vq_each_use(&op->out[0], u) {
    if (!vq_is_movement(u->user) || u->idx != 0) return true;
    if (!cuts(u->user)) continue;
    vq_value *root = vq_view_root(&u->user->out[0], &view);
    const vq_type *t = root ? root->type : NULL;
    if (t && is_mixed(step, vq_view_steps(&view, t->rank, t->dim, step), t))
      return true;
  }
  return false;
}

bool vq_rule_move(vq_rw *rw, vq_op *op) {
  vq_step step[VQ_VIEW_STEPS];
  int n;
  if (!vq_is_movement(op) || !is_chain_end(op)) return false;
  vq_value *root = chain_of(&op->out[0], step, &n);
  if (n < 0 || vq_const_of(root) || is_spelled(&op->out[0], root, step, n))
    return false;
  for (int i = 0; i < n; i++) root = build_step(rw, root, &step[i]);
  return vq_rw_replace(rw, op, root, NULL);
}

// ---- sinking ----------------------------------------------------------------

// True when the view permutes whole dimensions of its source.
static bool whole_dims(const vq_view *v, const vq_type *t) {
  vq_step step[VQ_VIEW_STEPS];
  int n = vq_view_steps(v, t->rank, t->dim, step);
  return n >= 1 && step[0].kind == VQ_STEP_TRANSPOSE;
}

static bool keeps_last(const vq_view *view, const vq_type *t) {
  vq_view v = *view;
  vq_view_simplify(&v);
  if (v.rank == 0 || t->rank == 0) return false;
  int64_t n = t->dim[t->rank - 1];
  if (v.dim[v.rank - 1] != n) return false;
  unsigned i = v.first[v.rank - 1];
  return n == 1 || (v.first[v.rank] == i + 1 && v.atom[i].stride == 1);
}

static bool may_sink(const vq_view *v, const vq_type *t, bool along_last) {
  int64_t n = vq_type_count(t);
  if (along_last && !keeps_last(v, t)) return false;
  if (vq_view_is_reshape(v, n)) return true;
  return vq_view_count(v) == n && v->offset == 0 && whole_dims(v, t);
}

// What of `op` moves: 1 operand, 2 operands with the same view, 0 none.
static unsigned movable(const vq_op *op, bool *along_last) {
  vq_value *x, *c;
  double s;
  bool swapped;
  *along_last = false;
  switch ((int)op->code) {
    case VQ_OP_linear:
      *along_last = true;
      return vq_str_is(VQ_ATTRS(op, linear)->layout, "oi");
    case VQ_OP_layer_norm:
      *along_last = true;
      return 1;
    case VQ_OP_reduce_sum: {
      const vq_attrs_reduce_sum *a = VQ_ATTRS(op, reduce_sum);
      *along_last = true;
      return a->keep && a->axes.n == 1 &&
             a->axes.p[0] == vq_in(op, 0)->type->rank - 1;
    }
    case VQ_OP_add:
    case VQ_OP_sub:
    case VQ_OP_mul:
    case VQ_OP_div:
      if (!vq_with_const(op, &x, &c, &swapped)) return 2;
      if (x->type != op->out[0].type || x->type->rank == 0) return 0;
      *along_last = !vq_const_uniform(c, &s);
      return vq_is_row(c, x->type->dim[x->type->rank - 1]) ||
             vq_type_count(c->type) == 1;
    default:
      return vq_has_trait(op, VQ_TRAIT_ELTWISE) && op->n_in == 1;
  }
}

// The chain `view` over `x`, whose last dimension may differ from the one the
// view was made for (a linear changes it).
static vq_value *replay(vq_rw *rw, vq_value *x, const vq_type *root,
                        const vq_view *view, const vq_type *want) {
  vq_step step[VQ_VIEW_STEPS];
  int n = vq_view_steps(view, root->rank, root->dim, step);
  int64_t last = x->type->dim[x->type->rank - 1];
  for (int i = 0; i < n && x; i++) {
    vq_step *s = &step[i];
    if (s->kind == VQ_STEP_RESHAPE && last != root->dim[root->rank - 1])
      s->a[s->rank - 1] = last;
    x = build_step(rw, x, s);
  }
  return n >= 0 && x && x->type == want ? x : NULL;
}

// The tensor with heads split, when all behind it is its transpose: norms of
// queries and keys read it in token order.
static vq_value *split_root(vq_value *x, vq_view *view, bool along_last) {
  vq_op *move = vq_def(x, VQ_OP_transpose);
  vq_op *split = move ? vq_def(vq_in(move, 0), VQ_OP_reshape) : NULL;
  if (!split) return NULL;
  const vq_type *t = split->out[0].type, *from = vq_in(split, 0)->type;
  if (t->rank == 0 || from->rank == 0 ||
      t->dim[t->rank - 1] >= from->dim[from->rank - 1] ||
      !vq_view_identity(view, t->rank, t->dim) || !compose(view, move))
    return NULL;
  return may_sink(view, t, along_last) ? &split->out[0] : NULL;
}

// The source of the chain at `x` that may sink: all of it, what stands behind
// the last cut, or a transpose of split heads. NULL when there is none.
static vq_value *sinking_root(vq_value *x, vq_view *view, bool along_last) {
  for (int through_cuts = 1; through_cuts >= 0; through_cuts--) {
    vq_value *root = root_of(x, view, through_cuts);
    if (root && root != x && !vq_const_of(root) && root->type->rank > 0 &&
        may_sink(view, root->type, along_last))
      return root;
  }
  return split_root(x, view, along_last);
}

static bool comes_from(const vq_value *v, const vq_value *x, unsigned *steps) {
  if (v == x) return true;
  if (v->kind != VQ_VALUE_RESULT || !*steps) return false;
  --*steps;
  for (unsigned i = 0; i < v->def->n_in; i++)
    if (comes_from(vq_in(v->def, i), x, steps)) return true;
  return false;
}

// reshape(x) + f(x), of which f is no reshape: the sum takes the shape of x, as
// it does where an exporter wrote x + reshape(f(x)).
static bool sink_residual(vq_rw *rw, vq_op *op, unsigned i) {
  enum { MAX_STEPS = 256 };
  vq_value *x = vq_in(op, i), *y = vq_in(op, 1 - i), *in[2];
  unsigned steps = MAX_STEPS;
  vq_view view;
  vq_value *root = root_of(x, &view, false);
  if (!root || root == x || x->type != y->type || vq_const_of(root) ||
      !vq_view_is_reshape(&view, vq_type_count(root->type)) ||
      !may_sink(&view, root->type, true) || !comes_from(y, root, &steps))
    return false;
  in[i] = root;
  in[1 - i] = vq_rw_reshape(rw, y, root->type->rank, root->type->dim);
  vq_value *sum = vq_rw_build(rw, op->code, in, 2, op->attrs);
  const vq_type *t = op->out[0].type;
  return vq_rw_replace(rw, op, vq_rw_reshape(rw, sum, t->rank, t->dim), NULL);
}

bool vq_rule_residual(vq_rw *rw, vq_op *op) {
  return sink_residual(rw, op, 0) || sink_residual(rw, op, 1);
}

bool vq_rule_sink(vq_rw *rw, vq_op *op) {
  bool along_last, swapped = false;
  unsigned n = movable(op, &along_last);
  if (n == 0) return false;
  vq_value *in[3] = {0}, *x = vq_in(op, 0);
  for (unsigned i = 0; i < op->n_in && i < 3; i++) in[i] = vq_in(op, i);
  if (n == 1 && op->n_in == 2 && vq_const_of(x)) {
    swapped = true;
    x = in[1];
  }
  vq_view view, other;
  vq_value *root = sinking_root(x, &view, along_last);
  if (!root || (op->code == VQ_OP_reduce_sum && root->type->rank != x->type->rank))
    return false;
  if (op->code == VQ_OP_linear) {
    bool reorders = !vq_view_is_reshape(&view, vq_type_count(root->type));
    if (vq_feeds_attention(&op->out[0], reorders)) return false;
  }
  if (n == 2) {
    vq_value *r2 = sinking_root(in[1], &other, along_last);
    if (!r2 || r2->type != root->type || !vq_view_equal(&view, &other))
      return false;
    in[1] = r2;
  } else if (op->n_in == 2 && vq_has_trait(op, VQ_TRAIT_ELTWISE)) {
    // A row constant of higher rank than the source would widen it.
    vq_value **k = swapped ? &in[0] : &in[1];
    int64_t count = vq_type_count((*k)->type);
    if ((*k)->type->rank > 1) *k = vq_rw_recast(rw, *k, 1, &count);
    if (!*k) return false;
  }
  in[swapped] = root;
  vq_value *y = vq_rw_build(rw, op->code, in, op->n_in, op->attrs);
  if (!y) return false;
  y = replay(rw, y, root->type, &view, op->out[0].type);
  return vq_rw_replace(rw, op, y, NULL);
}
