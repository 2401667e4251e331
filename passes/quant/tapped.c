// The float model on calibration samples, with the inputs of quantizers in view.
#include "quant/tapped.h"

#include "quant/quantizer.h"

static void drop_quantizers(vq_func *f) {
  vq_each_op_safe(f, op)
    if (op->code == VQ_OP_fake_quant && op->out->uses)
      vq_replace_all_uses(op->out, vq_in(op, VQ_FQ_X));
}

// A copy of the model that returns what the taps see; NULL after a diagnostic.
static vq_module *tapped_model(vq_module *original, vq_op *const *fq, unsigned n_tap,
                               vq_pass_ctx *pc) {
  vq_module *m = vq_module_clone(original);
  vq_func *f = vq_quant_main(m);
  vq_value **v = VQ_NEW_N(pc->temp, vq_value *, n_tap);
  unsigned n = 0;
  const vq_op *from = vq_quant_main(original)->first;
  vq_each_op(f, op) {  // a clone has the same ops in the same order
    if (n < n_tap && from == fq[n]) v[n++] = vq_in(op, VQ_FQ_X);
    from = from->next;
  }
  for (unsigned i = 0; i < n; i++) {
    const vq_op *q = vq_quant_def(v[i], VQ_OP_fake_quant);
    if (q) v[i] = vq_in(q, VQ_FQ_X);
  }
  drop_quantizers(f);
  vq_erase_op(f->last);
  vq_builder b = {f, NULL, {0}, pc->diag};
  if (!vq_build_return(&b, n, v, NULL)) return m;
  vq_module_destroy(m);
  return NULL;
}

static vq_status check(const vq_func *f, unsigned n, const char *need,
                       vq_pass_ctx *pc) {
  if (!pc->exec || !pc->exec->samples || pc->exec->samples->n < 1)
    return vq_error(pc->diag, VQ_E_pass, (vq_loc){0},
                    "%u %s: give calibration samples", n, need);
  if (f->n_arg != 1 || f->arg[0].type->dtype != VQ_f32 || f->arg[0].type->rank < 1 ||
      f->arg[0].type->dim[0] < 1)
    return vq_error(pc->diag, VQ_E_unsupported, (vq_loc){0},
                    "calibration needs a model with one f32 input");
  return VQ_OK;
}

static void make_buffers(vq_tapped *t, vq_op *const *fq) {
  const vq_type *in = vq_quant_main(t->m)->arg[0].type;
  t->batch = in->dim[0];
  t->in = vq_arena_alloc(t->pc->temp, (size_t)vq_type_bytes(in), 64);
  t->out = VQ_NEW_N(t->pc->temp, vq_tensor, t->n_tap);
  for (unsigned k = 0; k < t->n_tap; k++) {
    const vq_type *type = vq_in(fq[k], VQ_FQ_X)->type;
    t->out[k] = (vq_tensor){
        type, vq_arena_alloc(t->pc->temp, (size_t)vq_type_bytes(type), 64)};
  }
}

vq_status vq_tapped_open(vq_tapped *t, vq_module *m, vq_op *const *fq, unsigned n,
                         const char *need, vq_pass_ctx *pc) {
  *t = (vq_tapped){.pc = pc, .n_tap = n};
  if (check(vq_quant_main(m), n, need, pc)) return VQ_ERR;
  t->m = tapped_model(m, fq, n, pc);
  if (!t->m) return VQ_ERR;
  make_buffers(t, fq);
  if (!pc->exec->ops->prepare(pc->exec, t->m, VQ_LIT("main"), pc->diag, &t->program))
    return VQ_OK;
  vq_module_destroy(t->m);
  return VQ_ERR;
}

static vq_status load_batch(vq_tapped *t, int64_t first) {
  const vq_samples *s = t->pc->exec->samples;
  int64_t count = vq_type_count(vq_quant_main(t->m)->arg[0].type) / t->batch;
  for (int64_t i = 0; i < t->batch; i++)
    if (s->load(s->user, (first + i) % s->n, t->in + i * count, t->pc->diag))
      return VQ_ERR;
  return VQ_OK;
}

vq_status vq_tapped_sweep(vq_tapped *t, const char *pass, int64_t index,
                          int64_t n_sweep, vq_tapped_see *see, void *user) {
  vq_exec *e = t->pc->exec;
  const vq_samples *s = e->samples;
  vq_tensor in = {vq_quant_main(t->m)->arg[0].type, t->in};
  for (int64_t i = 0; i < s->n; i += t->batch) {
    if (s->progress && s->progress(s->user, pass, i + index * s->n, n_sweep * s->n))
      return VQ_ERR;
    if (load_batch(t, i) || e->ops->run(t->program, &in, t->out, 0, t->pc->diag))
      return VQ_ERR;
    int64_t fresh = s->n - i < t->batch ? s->n - i : t->batch;
    for (unsigned k = 0; k < t->n_tap; k++)
      see(user, k, t->out[k].data, vq_type_count(t->out[k].type) / t->batch * fresh);
  }
  return VQ_OK;
}

void vq_tapped_close(vq_tapped *t) {
  t->pc->exec->ops->release(t->program);
  vq_module_destroy(t->m);
}
