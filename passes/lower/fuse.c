// fuse: an anchor op and the elementwise ops behind it become one kernel.
//
// Anchors are the ops with a kernel of their own: linear and patch_embed with
// packed weights, attention (with the slices that only it reads, and with the
// attention_softmax of the same operands), layer_norm
// and softmax along the last dimension. linear and layer_norm take the
// gather_rows with them that only they read, seen through a reshape. From the
// anchor the group grows along values with a single user as long as that user
// is elementwise and keeps the shape; its other operands may be anything, since
// nothing of the group but the last value is visible outside, so they cannot
// depend on it. A sum of what two anchors make is the later one's. A dequantize of such an operand comes along, so that a residual
// is read as codes. What is elementwise and left over then forms groups of its own
// the same way, with the elementwise ops on floats that make their other operands: a
// whole expression becomes one kernel. A gelu and its slope, of one operand, are a kernel
// with two results.
#include "passes.h"
#include "vq/rewrite.h"
#include "vq/strbuf.h"

#define MAX_GROUP 24

typedef struct group {
  vq_op *op[MAX_GROUP];
  unsigned n, anchor;  // op[anchor] is the anchor or the first elementwise op
} group;

static bool is_anchor(const vq_op *op) {
  switch (op->code) {
    case VQ_OP_linear:
      return !vq_str_is(VQ_ATTRS(op, linear)->layout, "oi");
    case VQ_OP_patch_embed:
      return !vq_str_is(VQ_ATTRS(op, patch_embed)->layout, "oi");
    case VQ_OP_softmax: {
      int64_t axis = VQ_ATTRS(op, softmax)->axis;
      return axis == -1 || axis == op->out->type->rank - 1;
    }
    case VQ_OP_attention:
    case VQ_OP_attention_softmax:
    case VQ_OP_attention_grad:
    case VQ_OP_attention_int:
    case VQ_OP_layer_norm:
      return true;
    default:
      return false;
  }
}

static bool is_byte_sized(const vq_type *t) {
  return vq_dtype_bits(t->dtype) >= 8;
}

// Elementwise, and no operand or result shares bytes between elements.
static bool is_chainable(const vq_op *op) {
  if (!vq_has_trait(op, VQ_TRAIT_ELTWISE) || !is_byte_sized(op->out->type))
    return false;
  for (unsigned i = 0; i < op->n_in; i++)
    if (!is_byte_sized(vq_in(op, i)->type)) return false;
  return true;
}

static bool same_shape(const vq_type *a, const vq_type *b) {
  return a->rank == b->rank &&
         memcmp(a->dim, b->dim, a->rank * sizeof *a->dim) == 0;
}

// The only op that uses `v`, or NULL.
static vq_op *only_user(const vq_value *v) {
  vq_op *user = v->uses ? v->uses->user : NULL;
  vq_each_use(v, u)
    if (u->user != user) return NULL;
  return user;
}

static bool has(const group *g, const vq_op *op) {
  for (unsigned i = 0; i < g->n; i++)
    if (g->op[i] == op) return true;
  return false;
}

// Moves a dequantize of codes that only `op` reads in front of it. Sums (i32)
// stay with the kernel that computes them.
static void take_codes(group *g, vq_op *op) {
  for (unsigned i = 0; i < op->n_in; i++) {
    const vq_value *v = vq_in(op, i);
    vq_op *def = v->kind == VQ_VALUE_RESULT ? v->def : NULL;
    if (!def || def->code != VQ_OP_dequantize || has(g, def) ||
        only_user(v) != op || !same_shape(v->type, op->out->type) ||
        !is_chainable(def) || vq_dtype_bits(vq_in(def, 0)->type->dtype) > 16)
      continue;
    vq_move_op(def, op);
    g->op[g->n++] = def;
  }
}

static bool is_floats(const vq_op *op) {
  bool all = op->out->type->dtype == VQ_f32;
  for (unsigned i = 0; i < op->n_in; i++) all &= vq_in(op, i)->type->dtype == VQ_f32;
  return all;
}

// The op that makes operand `i` of `op`, for it alone and elementwise on floats; else NULL.
static vq_op *maker_of(const group *g, const vq_op *op, unsigned i) {
  const vq_value *v = vq_in(op, i);
  vq_op *def = v->kind == VQ_VALUE_RESULT ? v->def : NULL;
  if (!def || has(g, def) || only_user(v) != op || !same_shape(v->type, op->out->type) ||
      !is_chainable(def) || !is_floats(def))
    return NULL;
  return def;
}

// Moves what makes operands of `op` in front of it, in order, as far as there is room for
// that, for `op` and for the ops that are `waiting` for it.
static void take_makers(group *g, vq_op *op, unsigned waiting) {
  for (unsigned i = 0; i < op->n_in && g->n + waiting + 2 <= MAX_GROUP; i++) {
    vq_op *def = maker_of(g, op, i);
    if (!def) continue;
    vq_move_op(def, op);
    take_makers(g, def, waiting + 1);
    g->op[g->n++] = def;
  }
}

// Whether `v` is what a group to come ends with so far: kernels of anchors before it are calls
// already.
static bool ends_anchor(const vq_value *v, const vq_op *user) {
  while (v->kind == VQ_VALUE_RESULT && only_user(v) == user) {
    user = v->def;
    if (is_anchor(user)) return true;
    if (!is_chainable(user)) return false;
    v = vq_in(user, 0);
  }
  return false;
}

// Whether `next` reads what another anchor behind this one computes. It goes to that kernel:
// this one would have to wait for it, and its operands would have left the caches.
static bool is_of_later(const group *g, const vq_op *next) {
  for (unsigned i = 0; i < next->n_in; i++)
    if (vq_in(next, i) != g->op[g->n - 1]->out && ends_anchor(vq_in(next, i), next))
      return true;
  return false;
}

static void grow(group *g) {
  bool anchored = is_anchor(g->op[g->anchor]);
  while (g->n + 3 <= MAX_GROUP) {
    const vq_value *v = g->op[g->n - 1]->out;
    vq_op *next = only_user(v);
    if (!next || !is_chainable(next) || !same_shape(v->type, next->out->type) ||
        (anchored && is_of_later(g, next)))
      return;
    take_codes(g, next);
    if (!anchored) take_makers(g, next, 0);
    g->op[g->n++] = next;
  }
}

static bool has_unit_steps(const vq_op *slice) {
  vq_ints step = VQ_ATTRS(slice, slice)->step;
  for (unsigned k = 0; k < step.n; k++)
    if (step.p[k] != 1) return false;
  return true;
}

// Of how many operands, the first ones, `op` reads tokens with heads through strides.
static unsigned n_tokens(const vq_op *op) {
  switch (op->code) {
    case VQ_OP_attention:
    case VQ_OP_attention_int:
    case VQ_OP_attention_grad: return 3;
    case VQ_OP_attention_softmax: return 2;
    default: return 0;
  }
}

// The slice that operand `i` is, for `op` alone; NULL if it is none. An attention and its
// gradient read the same slices, so each gets copies, which cost nothing in a kernel.
static vq_op *own_slice(vq_op *op, unsigned i) {
  vq_op *def = vq_in(op, i)->kind == VQ_VALUE_RESULT ? vq_in(op, i)->def : NULL;
  if (!def || def->code != VQ_OP_slice || !has_unit_steps(def)) return NULL;
  if (only_user(def->out) == op) return def;
  vq_each_use(def->out, u)
    if (u->idx >= n_tokens(u->user)) return NULL;
  vq_map map = {0};
  vq_builder b = {op->func, op, def->loc, NULL};
  vq_op *copy = vq_clone_op(&b, def, &map);
  vq_map_release(&map);
  vq_set_operand(op, i, copy->out);
  return copy;
}

static bool same_operand(const vq_op *a, unsigned i, const vq_op *b, unsigned k) {
  return vq_in_opt(a, i) == vq_in_opt(b, k);
}

// The attention whose softmax `op` is, or NULL.
static vq_op *attention_of(const vq_op *op) {
  if (op->code != VQ_OP_attention_softmax) return NULL;
  const vq_attrs_attention_softmax *a = VQ_ATTRS(op, attention_softmax);
  vq_each_use(vq_in(op, 0), u) {
    vq_op *y = u->user;
    if (y->code != VQ_OP_attention || u->idx != 0) continue;
    const vq_attrs_attention *b = VQ_ATTRS(y, attention);
    if (same_operand(op, 1, y, 1) && same_operand(op, 2, y, 3) && a->heads == b->heads &&
        !memcmp(&a->scale, &b->scale, sizeof a->scale))
      return y;
  }
  return NULL;
}

static void take_own_slice(group *g, vq_op *op, unsigned i) {
  vq_op *def = own_slice(op, i);
  if (def && !has(g, def)) g->op[g->n++] = def;
}

// The slices that tokens of `op` are, and what it is the attention of, with its own: in
// program order.
static void take_tokens(group *g, vq_op *op, vq_op *softmax) {
  unsigned n = softmax ? n_tokens(softmax) : 0;
  for (unsigned i = 0; i < n; i++) {
    vq_value *shared = vq_in(op, i);
    take_own_slice(g, softmax, i);
    vq_set_operand(op, i, vq_in(softmax, i));
    if (shared->kind == VQ_VALUE_RESULT && !shared->uses) vq_erase_op(shared->def);
  }
  for (unsigned i = n; i < n_tokens(op); i++) take_own_slice(g, op, i);
  if (softmax) g->op[g->n++] = softmax;
  for (vq_op *d = op->prev; d; d = d->prev)
    for (unsigned k = 0; k < g->n; k++)
      if (g->op[k] == d) {  // later ones are in place behind it already
        memmove(g->op + 1, g->op, k * sizeof *g->op);
        g->op[0] = d;
        break;
      }
}

// gather_rows, and the reshape behind it, that only `op` reads.
static void take_rows(group *g, const vq_op *op) {
  vq_op *def[2] = {NULL, NULL};
  const vq_value *v = vq_in(op, 0);
  for (unsigned i = 0; i < 2; i++) {
    if (v->kind != VQ_VALUE_RESULT || only_user(v) != op ||
        !is_byte_sized(v->type))
      return;
    op = def[i] = v->def;
    if (op->code == VQ_OP_gather_rows) break;
    if (op->code != VQ_OP_reshape || i > 0) return;
    v = vq_in(op, 0);
  }
  if (def[1]) g->op[g->n++] = def[1];
  g->op[g->n++] = def[0];
}

// The gelu whose slope `op` is, or NULL.
static vq_op *gelu_of(const vq_op *op) {
  if (op->code != VQ_OP_gelu_slope) return NULL;
  vq_each_use(vq_in(op, 0), u)
    if (u->user->code == VQ_OP_gelu &&
        vq_str_eq(VQ_ATTRS(u->user, gelu)->form, VQ_ATTRS(op, gelu_slope)->form))
      return u->user;
  return NULL;
}

// ---- names -------------------------------------------------------------------

static int64_t rows_of(const vq_type *t) {
  int64_t n = 1;
  for (unsigned k = 0; k + 1 < t->rank; k++) n *= t->dim[k];
  return n;
}

// "_u8" for an anchor that reads codes; with those of its weights, "_u8i4". "_bf16" for
// weights of these.
static void name_codes(vq_strbuf *s, const vq_op *op) {
  vq_dtype x = vq_in(op, 0)->type->dtype;
  if (x == VQ_f32 && op->n_in > 1 && vq_in(op, 1)->type->dtype == VQ_bf16)
    vq_strbuf_puts(s, "_bf16");
  if (x == VQ_f32) return;
  vq_strbuf_printf(s, "_%s", vq_dtype_name(x));
  if (op->code == VQ_OP_linear || op->code == VQ_OP_patch_embed)
    vq_strbuf_puts(s, vq_dtype_name(vq_in(op, 1)->type->dtype));
}

// "_add", or "_quantize_u8" for an op that makes codes.
static void name_op(vq_strbuf *s, const vq_op *op) {
  vq_strbuf_printf(s, "%s%s", s->n ? "_" : "", vq_op_info(op->code)->name);
  if (op->code == VQ_OP_quantize || op->code == VQ_OP_requantize ||
      op->code == VQ_OP_rescale)
    vq_strbuf_printf(s, "_%s", vq_dtype_name(op->out->type->dtype));
}

// Length of the sums of linear or patch_embed.
static long long depth_of(const vq_op *op) {
  const vq_type *x = vq_in(op, 0)->type;
  if (op->code == VQ_OP_linear) return x->dim[x->rank - 1];
  vq_ints patch = VQ_ATTRS(op, patch_embed)->patch;
  return x->dim[1] * patch.p[0] * patch.p[1];
}

static void name_anchor(vq_strbuf *s, const vq_op *op) {
  const vq_type *t = op->out->type;
  long long rows = rows_of(t), cols = t->rank ? t->dim[t->rank - 1] : 1;
  switch (op->code) {
    case VQ_OP_linear:
    case VQ_OP_patch_embed:
      vq_strbuf_puts(s, op->code == VQ_OP_linear ? "gemm" : "patches");
      name_codes(s, op);
      vq_strbuf_printf(s, "_m%lldn%lldk%lld%s", rows, cols, depth_of(op),
                       op->n_in > 2 ? "_bias" : "");
      break;
    case VQ_OP_attention_grad: {
      const int64_t *q = vq_in(op, 0)->type->dim, *v = vq_in(op, 2)->type->dim;
      long long heads = VQ_ATTRS(op, attention_grad)->heads;
      vq_strbuf_printf(s, "attentiongrad_b%lldh%lldn%lldm%lldd%llde%lld", (long long)q[0],
                       heads, (long long)q[1], (long long)v[1], q[2] / heads, v[2] / heads);
      break;
    }
    case VQ_OP_attention_softmax:
      vq_strbuf_printf(s, "attentionsoftmax_b%lldh%lldn%lldm%lldd%lld%s", (long long)t->dim[0],
                       (long long)t->dim[1], (long long)t->dim[2], cols,
                       (long long)(vq_in(op, 0)->type->dim[2] / t->dim[1]),
                       op->n_in > 2 ? "_bias" : "");
      break;
    case VQ_OP_attention:
    case VQ_OP_attention_int: {
      long long heads = op->code == VQ_OP_attention
                            ? VQ_ATTRS(op, attention)->heads
                            : VQ_ATTRS(op, attention_int)->heads;
      long long n = t->dim[1], m = vq_in(op, 1)->type->dim[1];
      vq_strbuf_puts(s, "attention");
      name_codes(s, op);
      vq_strbuf_printf(s, "_b%lldh%lldn%lld", (long long)t->dim[0], heads, n);
      if (m != n) vq_strbuf_printf(s, "m%lld", m);
      vq_strbuf_printf(s, "d%lld%s", cols / heads, op->n_in > 3 ? "_bias" : "");
      break;
    }
    default:
      vq_strbuf_puts(s, op->code == VQ_OP_layer_norm ? "layernorm" : "softmax");
      name_codes(s, op);
      vq_strbuf_printf(s, "_r%lldc%lld", rows, cols);
  }
}

// "gemm_m197n768k192_bias_gelu"; "add_mul_1x197x192" without an anchor.
static void name_group(vq_strbuf *s, const group *g) {
  bool anchored = is_anchor(g->op[g->anchor]);
  if (anchored) name_anchor(s, g->op[g->anchor]);
  for (unsigned i = 0; i < g->anchor; i++)
    if (g->op[i]->code == VQ_OP_attention_softmax) vq_strbuf_puts(s, "_softmax");
  if (g->op[0]->code == VQ_OP_gather_rows) vq_strbuf_puts(s, "_rows");
  for (unsigned i = g->anchor + anchored; i < g->n; i++) name_op(s, g->op[i]);
  if (anchored) return;
  const vq_type *t = g->op[g->n - 1]->out->type;
  for (unsigned k = 0; k < t->rank; k++)
    vq_strbuf_printf(s, "%c%lld", k ? 'x' : '_', (long long)t->dim[k]);
}

// ---- the pass ----------------------------------------------------------------

// Outlines the group that starts at `op`; returns where to go on, or NULL and
// *status VQ_ERR after a diagnostic.
static vq_op *fuse_at(vq_op *op, vq_pass_ctx *pc, vq_status *status) {
  group g = {.n = 0};
  vq_op *next = op->next, *attention = attention_of(op);
  if (attention)
    take_tokens(&g, attention, op), op = attention;
  else if (n_tokens(op))
    take_tokens(&g, op, NULL);
  if (op->code == VQ_OP_linear || op->code == VQ_OP_layer_norm)
    take_rows(&g, op);
  g.anchor = g.n;
  g.op[g.n++] = op;
  vq_op *gelu = gelu_of(op);
  if (gelu)
    g.op[g.n++] = gelu;
  else if (!attention && op->code != VQ_OP_attention_softmax && op->code != VQ_OP_attention_grad)
    grow(&g);
  while (next && has(&g, next)) next = next->next;
  vq_strbuf name = {0};
  name_group(&name, &g);
  *status = vq_outline(pc->diag, g.op, g.n, vq_strbuf_view(&name)) ? VQ_OK : VQ_ERR;
  vq_strbuf_release(&name);
  vq_stat(pc, "kernels formed", 1);
  vq_stat(pc, "ops fused", g.n - g.anchor - 1);
  return next;
}

static vq_status fuse_all(vq_func *f, vq_pass_ctx *pc,
                          bool (*starts)(const vq_op *op)) {
  vq_status status = VQ_OK;
  for (vq_op *op = f->first; op && !status;)
    op = starts(op) && op->out->uses ? fuse_at(op, pc, &status) : op->next;
  return status;
}

vq_status vq_pass_fuse(vq_module *m, vq_pass_ctx *pc) {
  vq_func *f = vq_module_func(m, VQ_LIT("main"));
  if (!f) return VQ_OK;
  if (fuse_all(f, pc, is_anchor)) return VQ_ERR;
  return fuse_all(f, pc, is_chainable);
}
