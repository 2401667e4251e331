// Names and numbers of quant entries.
#include "quant/entries.h"

#include <math.h>

#include "quant/places.h"

// A quantizer and the name of its entry. Where two have the same scale, as rows beside all
// others do (refine-rows), it is one name.
typedef struct named {
  const vq_op *fq;
  const vq_value *scale;
  vq_str name;
} named;

// The layer that reads codes of `fq`, NULL where it is no such reader.
static const vq_op *reader(const vq_op *fq) {
  vq_each_use(fq->out, u)
    if (u->user->code == VQ_OP_linear || u->user->code == VQ_OP_patch_embed)
      return u->user;
  return NULL;
}

// The role of a layer that may read scaled activations (split-outliers).
static const char *layer_name(const vq_op *layer) {
  const vq_value *x = vq_in(layer, 0);
  while (x->kind == VQ_VALUE_RESULT && vq_quant_moves(x->def)) x = vq_in(x->def, 0);
  const vq_op *fq = vq_quant_def(x, VQ_OP_fake_quant);
  if (fq && vq_quant_is(fq, "o")) return vq_role_name(VQ_ROLE_PROJ);
  if (fq && vq_quant_is(fq, "act")) return vq_role_name(VQ_ROLE_FC2);
  return vq_role_name(vq_quant_layer_role(layer));
}

static bool is_numbered(const vq_op *op) {
  return vq_quant_is(op, "norm") || vq_quant_is(op, "residual");
}

// The block of a quantizer + 1, or 0: weights are where they are read, the residual
// stream is where it is computed, all others where they stand.
static uintptr_t block_of(const vq_places *p, const vq_op *fq) {
  const vq_op *at = vq_quant_is(fq, "weight") ? reader(fq) : fq;
  const vq_value *x = vq_in(fq, VQ_FQ_X);
  if (vq_quant_is(fq, "residual") && x->kind == VQ_VALUE_RESULT) at = x->def;
  return at ? (uintptr_t)vq_map_get(&p->block, VQ_MAP_PTR_KEY(at)) : 0;
}

static void put_name(vq_strbuf *s, const vq_op *fq, uintptr_t block, unsigned number) {
  vq_str role = VQ_ATTRS(fq, fake_quant)->role;
  bool weight = vq_quant_is(fq, "weight");
  const vq_op *layer = weight || vq_quant_is(fq, "linear") ? reader(fq) : NULL;
  vq_strbuf_puts(s, "q.");
  if (block) vq_strbuf_printf(s, "b%u.", (unsigned)block - 1);
  if (layer)
    vq_strbuf_printf(s, "%s.%c", layer_name(layer), weight ? 'w' : 'x');
  else if (!is_numbered(fq))
    vq_strbuf_add(s, role.p, role.n);
  else
    vq_strbuf_puts(s, vq_quant_is(fq, "norm") ? "ln" : "res");
  if (block && is_numbered(fq)) vq_strbuf_printf(s, "%u", number);
}

vq_status vq_entries_open(vq_entries *e, vq_module *m, vq_pass_ctx *pc) {
  *e = (vq_entries){.m = m};
  vq_places places;
  vq_status st = vq_places_open(&places, m, pc->temp, pc->diag);
  unsigned *n = VQ_NEW_N(pc->temp, unsigned, 2 * (size_t)(places.n_block + 1));
  vq_strbuf text = {0};
  vq_map scales = {0};
  vq_each_op(vq_quant_main(m), op) {
    if (st || op->code != VQ_OP_fake_quant) continue;
    uintptr_t block = block_of(&places, op);
    unsigned *number = &n[2 * block + vq_quant_is(op, "norm")];
    named *k = VQ_NEW(pc->temp, named);
    *k = (named){.fq = op, .scale = vq_in(op, VQ_FQ_SCALE)};
    named **like = (named **)vq_map_put(&scales, VQ_MAP_PTR_KEY(k->scale));
    if (*like) {
      k->name = (*like)->name;
    } else {
      *number += is_numbered(op);
      vq_strbuf_clear(&text);
      put_name(&text, op, block, *number);
      k->name = vq_arena_str(pc->temp, vq_strbuf_view(&text)), *like = k;
    }
    *vq_map_put(&e->name, VQ_MAP_PTR_KEY(k->fq)) = k;
  }
  vq_strbuf_release(&text);
  vq_map_release(&scales);
  vq_places_close(&places);
  return st;
}

void vq_entries_close(vq_entries *e) { vq_map_release(&e->name); }

// "norm blocks.0.norm1": the role and the nearest name of what is quantized.
static void put_origin(vq_strbuf *s, const vq_op *fq) {
  const vq_value *x = vq_in(fq, VQ_FQ_X);
  for (unsigned i = 0; i < 4 && !x->name.n && x->kind == VQ_VALUE_RESULT && x->def->n_in; i++)
    x = vq_in(x->def, 0);
  vq_strbuf_printf(s, "%.*s%s%.*s", VQ_FMT(VQ_ATTRS(fq, fake_quant)->role),
                   x->name.n ? " " : "", VQ_FMT(x->name));
}

int16_t vq_entries_zero(vq_value *zero, int64_t i) {
  float z = vq_quant_at(zero, i);
  return (int16_t)(z > INT16_MAX ? INT16_MAX : z < INT16_MIN ? INT16_MIN : z);
}

static vq_status check(const vq_quant *q, const vq_op *fq, vq_diag *diag) {
  vq_str x = vq_in(fq, VQ_FQ_X)->name;
  for (uint32_t i = 0; i < q->n; i++) {
    if (q->scale[i] == 0 || !isfinite(q->scale[i]))
      return vq_error(diag, VQ_E_pass, fq->loc,
                      "scale %u of the quantizer of '%.*s' is %g, expected a finite number "
                      "other than 0", i, VQ_FMT(x), (double)q->scale[i]);
  }
  return VQ_OK;
}

const vq_quant *vq_entries_of(vq_entries *e, const vq_op *fq, vq_dtype store,
                              vq_pass_ctx *pc) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  vq_value *scale = vq_in(fq, VQ_FQ_SCALE), *zero = vq_in(fq, VQ_FQ_ZERO);
  int64_t n = vq_type_count(scale->type);
  vq_quant q = {.store = store, .lo = (int32_t)a->lo, .hi = (int32_t)a->hi, .n = (uint32_t)n};
  q.axis = n == 1 ? VQ_AXIS_NONE : scale->type->rank == 1 ? VQ_AXIS_LAST : 0;
  int32_t *z = VQ_NEW_N(pc->temp, int32_t, (size_t)n);
  float *s = vq_quant_floats(pc, scale);
  for (int64_t i = 0; s && i < n; i++) {
    s[i] = ldexpf(s[i], -(int)a->fine);
    z[i] = vq_quant_is(fq, "weight") ? 0 : vq_entries_zero(zero, i) * (1 << a->fine);
  }
  q.scale = s, q.zero = z;
  if (!q.scale || check(&q, fq, pc->diag)) return NULL;
  const named *k = vq_map_get(&e->name, VQ_MAP_PTR_KEY(fq));
  vq_strbuf of = {0}, name = {0};
  put_origin(&of, fq);
  vq_strbuf_printf(&name, "%.*s%s", VQ_FMT(k->name), a->fine ? ".fine" : "");
  q.name = vq_strbuf_view(&name), q.of = vq_strbuf_view(&of);
  const vq_quant *made = vq_module_quant_like(e->m, &q);
  vq_strbuf_release(&of);
  vq_strbuf_release(&name);
  return made;
}
