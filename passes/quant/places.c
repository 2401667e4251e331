// Where layers are.
#include "quant/places.h"

#include "vq/inspect.h"
#include "vq/map.h"

// Channels that the attention among `ops` works on, 0: there is none.
static int64_t width_of(const vq_op_list *ops) {
  for (size_t i = 0; i < ops->n; i++) {
    const vq_op *op = ops->p[i];
    if (op->code != VQ_OP_attention) continue;
    const vq_type *t = vq_in(op, 0)->type;
    return t->dim[t->rank - 1];
  }
  return 0;
}

vq_status vq_places_open(vq_places *p, const vq_module *m, vq_arena *arena, vq_diag *diag) {
  *p = (vq_places){.n_block = vq_block_count(m)};
  p->stage = VQ_NEW_N(arena, int64_t, p->n_block);
  int64_t width = 0, stage = 0;
  for (unsigned b = 0; b < p->n_block; b++) {
    vq_op_list ops;
    if (vq_select_block(m, b, diag, &ops)) return VQ_ERR;
    int64_t w = width_of(&ops);
    stage += width && w && w != width;
    if (w) width = w;
    p->stage[b] = stage;
    vq_op **key = vq_arena_copy(arena, ops.p, ops.n * sizeof *key, _Alignof(vq_op *));
    for (size_t i = 0; i < ops.n; i++) {
      void **at = vq_map_put(&p->block, VQ_MAP_PTR_KEY(key[i]));
      if (!*at) *at = (void *)(uintptr_t)(b + 1);
    }
    vq_op_list_release(&ops);
  }
  return VQ_OK;
}

void vq_places_close(vq_places *p) { vq_map_release(&p->block); }

vq_layer vq_quant_layer(const vq_places *p, const vq_op *op, vq_role role) {
  int64_t block = (int64_t)(uintptr_t)vq_map_get(&p->block, VQ_MAP_PTR_KEY(op)) - 1;
  vq_layer l = {role, block, block < 0 ? -1 : p->stage[block], op->out->name, {0}};
  if (!vq_role_has_weights(role)) return l;
  vq_value *w = vq_in(op, 1);
  const vq_op *fq = vq_quant_def(w, VQ_OP_fake_quant);
  l.weights = (fq ? vq_in(fq, VQ_FQ_X) : w)->name;
  return l;
}
