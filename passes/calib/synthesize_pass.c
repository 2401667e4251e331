// synthesize: calibration pictures made out of the float model itself.
//
// What the passes behind it calibrate with are these pictures. Their pixels stay
// within what the stated preprocessing (--preprocess) makes of 8-bit pixels; a model
// that does not state any gets a range that normalised pictures have.
#include <stdio.h>
#include <stdlib.h>

#include "calib/synthesize.h"
#include "vq/exec.h"
#include "vq/rewrite.h"

#include "pixels.h"

static vq_status report(void *user, int64_t done, int64_t total, double loss) {
  const vq_samples *s = user;
  char what[40];
  snprintf(what, sizeof what, "synthesize, loss %.3f", loss);
  return s->progress(s->user, what, done, total);
}

// The given weights; mixed also has pictures seen in changing colours, smooth ones,
// whose variation is not that of pictures but held down a little, and dead leaves.
static void set_styles(const vq_pass_synthesize_opts *o, vq_synthesis *s) {
  vq_style *t = s->style;
  t[0] = (vq_style){.weight = {o->class_weight, o->variation, o->entropy}, .rough = true};
  t[1] = t[2] = t[3] = t[0];
  t[1].colors = true;
  t[3].leaves = true;
  t[2].weight[VQ_LOSS_VARIATION] *= 0.1;
  t[2].rough = false;
  s->n_style = vq_str_is(o->styles, "mixed") ? 4 : 1;
}

static vq_synthesis settings(const vq_module *m, const vq_pass_ctx *pc, int64_t channels) {
  const vq_pass_synthesize_opts *o = VQ_OPTS(pc, vq_pass_synthesize);
  vq_synthesis s = vq_synthesis_default();
  set_styles(o, &s);
  s.kde = vq_str_is(o->form, "kde");
  s.seed = (uint64_t)o->seed, s.steps = o->steps, s.rate = o->rate;
  const vq_samples *given = pc->exec->samples;
  if (given && given->progress) s.progress = report, s.user = (void *)given;
  vq_pixel_range range[4];
  if (channels <= 4 && vq_pixel_ranges(m, channels, range))
    for (int64_t c = 0; c < channels; c++) s.lo[c] = range[c].lo, s.hi[c] = range[c].hi;
  return s;
}

vq_status vq_pass_synthesize(vq_module *m, vq_pass_ctx *pc) {
  const vq_pass_synthesize_opts *o = VQ_OPTS(pc, vq_pass_synthesize);
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  if (!f || !pc->exec)
    return vq_error(pc->diag, VQ_E_pass, (vq_loc){0}, "nothing here can run the model");
  if (o->count < 1 || o->count > 65536 || o->steps < 1 || o->steps > 100000)
    return vq_error(pc->diag, VQ_E_option, (vq_loc){0},
                    "%lld pictures of %lld steps were asked for, expected 1 to 65536 of "
                    "1 to 100000", (long long)o->count, (long long)o->steps);
  const vq_type *x = f->n_arg == 1 ? f->arg[0].type : NULL;
  bool picture = x && vq_type_is(x, VQ_f32, 4) && x->dim[0] > 0;
  int64_t count = picture ? vq_type_count(x) / x->dim[0] : 0;
  vq_synthesis s = settings(m, pc, picture ? x->dim[1] : 0);
  float *data = calloc((size_t)(o->count * count) + 1, sizeof *data);
  if (!data) vq_oom((size_t)(o->count * count) * sizeof *data);
  vq_module *copy = vq_module_clone(m);  // says what is wrong with another input
  vq_status st = vq_synthesize(copy, &s, o->first, o->count, data, pc);
  vq_module_destroy(copy);
  if (st) {
    free(data);
    return VQ_ERR;
  }
  vq_exec_keep_samples(pc->exec, o->count, count, data);
  vq_stat(pc, "pictures", o->count);
  return VQ_OK;
}
