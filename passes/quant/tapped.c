// The float model on calibration samples, with the inputs of quantizers in view.
#include "quant/tapped.h"

#include "quant/quantizer.h"

// A copy of the model that returns what the taps see; NULL after a diagnostic.
static vq_module *tapped_model(vq_module *original, vq_op *const *fq, unsigned n_tap,
                               vq_pass_ctx *pc) {
  vq_module *m = vq_module_clone(original);
  vq_func *f = vq_quant_main(m);
  vq_value **v = VQ_NEW_N(pc->temp, vq_value *, n_tap);
  for (unsigned i = 0; i < n_tap; i++)
    v[i] = vq_quant_uncoded(
        vq_lane_twin(vq_in(fq[i], VQ_FQ_X), vq_quant_main(original), f));
  vq_quant_drop(f);
  if (!vq_lane_return(f, n_tap, v, pc->diag)) return m;
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

vq_status vq_tapped_open(vq_tapped *t, vq_module *m, vq_op *const *fq, unsigned n,
                         const char *need, vq_pass_ctx *pc) {
  *t = (vq_tapped){.pc = pc};
  if (check(vq_quant_main(m), n, need, pc)) return VQ_ERR;
  vq_module *copy = tapped_model(m, fq, n, pc);
  if (!copy) return VQ_ERR;
  const vq_type *in = vq_quant_main(copy)->arg[0].type;
  if (!vq_lane_open(&t->lane, pc->exec, copy, pc->temp, pc->diag)) {
    t->lane.in[0] = vq_batch_alloc(in, pc->temp);
    return VQ_OK;
  }
  vq_lane_close(&t->lane);
  return VQ_ERR;
}

vq_status vq_tapped_sweep(vq_tapped *t, const char *pass, int64_t index,
                          int64_t n_sweep, vq_tapped_see *see, void *user) {
  const vq_samples *s = t->pc->exec->samples;
  vq_lane *l = &t->lane;
  int64_t fresh, batch = l->in[0].type->dim[0];
  for (int64_t i = 0; i < s->n; i += batch) {
    if (s->progress && s->progress(s->user, pass, i + index * s->n, n_sweep * s->n))
      return VQ_ERR;
    if (vq_batch_load(s, i, s->n, l->in[0], &fresh, t->pc->diag) ||
        vq_lane_run(l, t->pc->diag))
      return VQ_ERR;
    for (unsigned k = 0; k < l->n_out; k++)
      see(user, k, l->out[k].data, vq_type_count(l->out[k].type) / batch * fresh);
  }
  return VQ_OK;
}

void vq_tapped_close(vq_tapped *t) { vq_lane_close(&t->lane); }
