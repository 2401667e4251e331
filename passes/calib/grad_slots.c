// Sums of gradients.
//
// A value that is read in parts, as a packed projection by the slices q, k and v,
// gets gradients of parts. Where they lie side by side they become one concat,
// which costs no additions; else each is padded with zeros.
#include "calib/grad_slots.h"

#include "vq/rewrite.h"
#include "vq/strbuf.h"

vq_grad_slot *vq_grad_slot_of(const vq_grad *g, vq_value *v) {
  return vq_map_get(&g->slots->map, VQ_MAP_PTR_KEY(v));
}

vq_grad_slot *vq_grad_make_live(vq_grad *g, const vq_value *v) {
  vq_grad_slot *s = VQ_NEW(g->pc->temp, vq_grad_slot);
  s->v = v;
  void **at = vq_map_put(&g->slots->map, VQ_MAP_PTR_KEY(s->v));
  if (!*at) *at = s;
  return *at;
}

bool vq_grad_wants(const vq_grad *g, const vq_op *op, unsigned i) {
  return i < op->n_in && vq_grad_slot_of(g, vq_in(op, i)) != NULL;
}

// `d` in the shape of `to`: summed over what was broadcast, broadcast itself.
static vq_value *fit(vq_grad *g, vq_value *d, const vq_type *to) {
  if (!d || d->type == to) return d;
  const vq_type *t = d->type;
  unsigned axes = 0, lead = t->rank > to->rank ? (unsigned)(t->rank - to->rank) : 0;
  for (unsigned k = 0; k < t->rank; k++)
    if (k < lead || (to->dim[k + to->rank - t->rank] == 1 && t->dim[k] != 1))
      axes |= 1u << k;
  d = SUM(d, axes, true);
  if (!d) return NULL;
  if (lead) d = RESHAPE(d, to->rank, d->type->dim + lead);
  if (!d || d->type == to) return d;
  vq_attrs_expand a = {.shape = {to->dim, to->rank}};
  return vq_build1(&g->b, VQ_OP_expand, &d, 1, &a, VQ_LIT(""));
}

vq_status vq_grad_add_whole(vq_grad *g, vq_grad_slot *s, vq_value *d) {
  d = fit(g, d, s->v->type);
  if (!d) return VQ_ERR;
  s->sum = s->sum ? BINARY(add, s->sum, d) : d;
  return s->sum ? VQ_OK : VQ_ERR;
}

vq_status vq_grad_add(vq_grad *g, const vq_op *op, unsigned i, vq_value *d) {
  return vq_grad_add_whole(g, vq_grad_slot_of(g, vq_in(op, i)), d);
}

vq_status vq_grad_add_part(vq_grad *g, const vq_op *op, unsigned i, vq_value *d,
                           const int64_t *begin) {
  vq_grad_slot *s = vq_grad_slot_of(g, vq_in(op, i));
  if (!d) return VQ_ERR;
  if (d->type == s->v->type) return vq_grad_add_whole(g, s, d);
  vq_grad_part *p = VQ_NEW(g->pc->temp, vq_grad_part);
  p->d = d;
  memcpy(p->begin, begin, d->type->rank * sizeof *begin);
  p->next = s->parts;
  s->parts = p;
  return VQ_OK;
}

// ---- parts -------------------------------------------------------------------------

// The only dimension in which parts are smaller than the value, or -1.
static int cut_of(const vq_grad_slot *s) {
  int axis = -1;
  for (const vq_grad_part *p = s->parts; p; p = p->next)
    for (unsigned k = 0; k < s->v->type->rank; k++) {
      if (p->d->type->dim[k] == s->v->type->dim[k]) continue;
      if (axis >= 0 && axis != (int)k) return -1;
      axis = (int)k;
    }
  return axis;
}

// Sorts by where they begin along `axis`; false if two share an element.
static bool sort_parts(vq_grad_slot *s, unsigned axis) {
  vq_grad_part *sorted = NULL;
  for (vq_grad_part *p = s->parts, *next; p; p = next) {
    vq_grad_part **at = &sorted;
    next = p->next;
    while (*at && (*at)->begin[axis] < p->begin[axis]) at = &(*at)->next;
    p->next = *at;
    *at = p;
  }
  s->parts = sorted;
  for (const vq_grad_part *p = sorted; p && p->next; p = p->next)
    if (p->begin[axis] + p->d->type->dim[axis] > p->next->begin[axis]) return false;
  return true;
}

static vq_value *zeros(vq_grad *g, const vq_type *like, unsigned axis, int64_t n) {
  int64_t dim[VQ_MAX_RANK];
  memcpy(dim, like->dim, sizeof dim);
  dim[axis] = n;
  const vq_type *t = vq_type_tensor(g->m->ctx, like->dtype, like->rank, dim, NULL);
  return &vq_const_fill(g->m, VQ_LIT("zeros"), t, 0)->value;
}

// Sorted parts side by side, with zeros between them.
static vq_value *join(vq_grad *g, const vq_grad_slot *s, unsigned axis) {
  unsigned n = 0, n_part = 0;
  for (const vq_grad_part *p = s->parts; p; p = p->next) n_part++;
  vq_value **in = VQ_NEW_N(g->pc->temp, vq_value *, 2 * n_part + 1);
  int64_t at = 0, end = s->v->type->dim[axis];
  for (const vq_grad_part *p = s->parts; p; p = p->next) {
    if (p->begin[axis] > at)
      in[n++] = zeros(g, s->v->type, axis, p->begin[axis] - at);
    in[n++] = p->d;
    at = p->begin[axis] + p->d->type->dim[axis];
  }
  if (at < end) in[n++] = zeros(g, s->v->type, axis, end - at);
  vq_attrs_concat a = {.axis = axis};
  return vq_build1(&g->b, VQ_OP_concat, in, n, &a, VQ_LIT(""));
}

static vq_status add_padded(vq_grad *g, vq_grad_slot *s, const vq_grad_part *p) {
  int64_t hi[VQ_MAX_RANK];
  const vq_type *t = s->v->type;
  for (unsigned k = 0; k < t->rank; k++)
    hi[k] = t->dim[k] - p->begin[k] - p->d->type->dim[k];
  return vq_grad_add_whole(g, s, PAD(p->d, p->begin, hi));
}

static vq_status add_parts(vq_grad *g, vq_grad_slot *s) {
  int axis = cut_of(s);
  bool many = s->parts && s->parts->next;
  if (many && axis >= 0 && sort_parts(s, (unsigned)axis))
    return vq_grad_add_whole(g, s, join(g, s, (unsigned)axis));
  for (const vq_grad_part *p = s->parts; p; p = p->next)
    if (add_padded(g, s, p)) return VQ_ERR;
  return VQ_OK;
}

vq_status vq_grad_settle(vq_grad *g, vq_grad_slot *s, vq_value **out) {
  if (s->parts && add_parts(g, s)) return VQ_ERR;
  s->parts = NULL;
  *out = s->sum;
  if (!s->sum || s->sum->kind != VQ_VALUE_RESULT || s->sum->name.n || !s->v->name.n)
    return VQ_OK;
  vq_strbuf name = {0};
  vq_strbuf_printf(&name, "%.*s.grad", VQ_FMT(s->v->name));
  vq_rename_value(g->b.func, s->sum, vq_strbuf_view(&name));
  vq_strbuf_release(&name);
  return VQ_OK;
}

