// A model that runs on calibration samples, and the batches that it is given.
#include "vq/lane.h"

#include <string.h>

#include "vq/build.h"
#include "vq/rewrite.h"

vq_value *vq_lane_twin(const vq_value *v, const vq_func *from, const vq_func *clone) {
  if (v->kind != VQ_VALUE_RESULT) return &clone->arg[v - from->arg];
  const vq_op *a = from->first;
  vq_op *b = clone->first;
  while (a != v->def) a = a->next, b = b->next;
  return &b->out[v - v->def->out];
}

vq_status vq_lane_return(vq_func *f, unsigned n, vq_value *const *v, vq_diag *diag) {
  vq_builder b = {f, NULL, {0}, diag};
  if (f->last && f->last->code == VQ_OP_return) vq_erase_op(f->last);
  return vq_build_return(&b, n, v, NULL);
}

vq_tensor vq_batch_alloc(const vq_type *type, vq_arena *arena) {
  return (vq_tensor){type, vq_arena_alloc(arena, (size_t)vq_type_bytes(type), 64)};
}

vq_status vq_lane_open(vq_lane *l, vq_exec *exec, vq_module *m, vq_arena *arena,
                       vq_diag *diag) {
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  *l = (vq_lane){.exec = exec, .m = m, .n_in = f->n_arg, .n_out = f->n_result};
  l->in = VQ_NEW_N(arena, vq_tensor, l->n_in + 1);
  l->out = VQ_NEW_N(arena, vq_tensor, l->n_out + 1);
  for (unsigned i = 0; i < l->n_out; i++) l->out[i] = vq_batch_alloc(f->result[i], arena);
  return exec->ops->prepare(exec, m, VQ_LIT("main"), diag, &l->program);
}

vq_status vq_lane_run(vq_lane *l, vq_diag *diag) {
  return l->exec->ops->run(l->program, l->in, l->out, 0, diag);
}

void vq_lane_close(vq_lane *l) {
  if (l->program) l->exec->ops->release(l->program);
  if (l->m) vq_module_destroy(l->m);
  *l = (vq_lane){0};
}

vq_status vq_batch_load(const vq_samples *s, int64_t first, int64_t end, vq_tensor batch,
                        int64_t *fresh, vq_diag *diag) {
  int64_t n = batch.type->dim[0], count = vq_type_count(batch.type) / n;
  float *to = batch.data;
  *fresh = end - first < n ? end - first : n;
  for (int64_t i = 0; i < *fresh; i++)
    if (s->load(s->user, first + i, to + i * count, diag)) return VQ_ERR;
  for (int64_t i = *fresh; i < n; i++)
    memcpy(to + i * count, to + (*fresh - 1) * count, (size_t)count * sizeof *to);
  return VQ_OK;
}
