// synthesize: calibration pictures made out of the float model itself.
//
// What the passes behind it calibrate with are these pictures. They are rounded to what
// the stated preprocessing (--preprocess) makes of 8-bit pixels; a model that does not
// state any gets a range that normalised pictures have. So a picture file holds all there
// is of one, and where pc->exec has a store, pictures that are in it are not made again.
#include <stdio.h>
#include <stdlib.h>

#include "calib/settle.h"
#include "calib/synthesize.h"
#include "vq/exec.h"
#include "vq/pixels.h"
#include "vq/rewrite.h"

typedef struct making {
  vq_pass_ctx *pc;
  const vq_samples *before;  // whose progress is reported
  vq_pixel_range range[4];
  int64_t channels, count;   // of numbers a picture
  float *data;               // of all pictures
  vq_settle settle;          // closed: all are made
  bool *made;                // by number
  int64_t judged, end;       // pictures, from the first; behind the last wanted one
} making;

static vq_status report(void *user, int64_t done, int64_t total, double loss) {
  const vq_samples *s = ((const making *)user)->before;
  char what[40];
  snprintf(what, sizeof what, "synthesize, loss %.3f", loss);
  return s->progress(s->user, what, done, total);
}

// Judges the pictures in front of which none is missing, in the order of their numbers:
// so it does not matter when which was made. Those to be held back come behind the ones
// that settle it, one for each eight.
static vq_status judge(making *k) {
  const vq_pass_synthesize_opts *o = VQ_OPTS(k->pc, vq_pass_synthesize);
  while (k->settle.pc && k->end == o->count) {
    int64_t to = k->judged + VQ_SETTLE_CYCLE, held;
    bool settled;
    if (to > o->count - o->held) break;
    for (int64_t i = k->judged; i < to; i++)
      if (!k->made[i]) return VQ_OK;
    if (vq_settle_see(&k->settle, k->data + k->judged * k->count, &settled)) return VQ_ERR;
    k->judged = to;
    held = (to + 7) / 8 < o->held ? (to + 7) / 8 : o->held;
    if (settled) k->end = to + held;
  }
  return VQ_OK;
}

static vq_status wants(void *user, int64_t number, bool *yes) {
  making *k = user;
  if (judge(k)) return VQ_ERR;
  *yes = number < k->end;
  return VQ_OK;
}

static bool enough(void *user) {
  const vq_samples *s = ((const making *)user)->before;
  return s->enough(s->user);
}

static vq_status keep(void *user, int64_t number, float *x) {
  making *k = user;
  const vq_sample_store *store = k->pc->exec->store;
  int64_t area = k->count / k->channels;
  for (int64_t i = 0; i < k->count; i++) {
    const vq_pixel_range *r = &k->range[i / area];
    x[i] = vq_pixel_value(r, vq_pixel_nearest(r, x[i]));
  }
  if (k->settle.pc) k->made[number] = true;
  return store ? store->save(store->user, number, x, k->pc->diag) : VQ_OK;
}

// Mixed: every second picture is a scene as it is; the others start as one and come to
// show classes that the model knows, on the surfaces and edges that are there. They move
// by small steps, and a small part of the variation's weight holds noise down: to aim at
// the variation of photographs would roughen them. One: all start as noise, as PSAQ-ViT
// has it.
static void set_styles(const vq_pass_synthesize_opts *o, vq_synthesis *s) {
  vq_style still = {.scene = true, .still = true};
  vq_style noise = {.weight = {o->class_weight, o->variation, o->entropy, o->heads},
                    .rate = 1, .rough = true};
  vq_style scene = noise, plain;
  scene.scene = true, scene.rough = false, scene.rate = 0.3;
  scene.weight[VQ_LOSS_VARIATION] *= 0.1;
  scene.weight[VQ_LOSS_ENTROPY] *= 0.3;
  plain = scene;
  plain.weight[VQ_LOSS_ENTROPY] = 0;
  const vq_style mixed[] = {plain, still, scene, still};
  if (vq_str_is(o->styles, "mixed")) {
    memcpy(s->style, mixed, sizeof mixed);
    s->n_style = VQ_COUNT(mixed);
  } else {
    s->style[0] = vq_str_is(o->styles, "scenes") ? still : noise;
    s->n_style = 1;
  }
}

static vq_synthesis settings(making *k) {
  const vq_pass_synthesize_opts *o = VQ_OPTS(k->pc, vq_pass_synthesize);
  vq_synthesis s = vq_synthesis_default();
  set_styles(o, &s);
  s.kde = vq_str_is(o->form, "kde");
  s.seed = (uint64_t)o->seed, s.steps = o->steps, s.rate = o->rate;
  if (k->before && k->before->progress) s.progress = report;
  if (k->before && k->before->enough) s.enough = enough;
  if (k->settle.pc) s.wants = wants, s.bytes = vq_settle_bytes(&k->settle);
  s.finished = keep, s.user = k;
  for (int64_t c = 0; c < k->channels; c++)
    s.lo[c] = k->range[c].lo, s.hi[c] = k->range[c].hi;
  return s;
}

static vq_status check_options(const vq_pass_synthesize_opts *o, vq_diag *diag) {
  if (o->count < 1 || o->count > 65536 || o->steps < 1 || o->steps > 100000)
    return vq_error(diag, VQ_E_option, (vq_loc){0},
                    "%lld pictures of %lld steps were asked for, expected 1 to 65536 of "
                    "1 to 100000", (long long)o->count, (long long)o->steps);
  if (o->first < 0 || o->every < 1 || o->held < 0)
    return vq_error(diag, VQ_E_option, (vq_loc){0},
                    "pictures start at %lld, %lld apart, %lld held back; expected 0 or more, "
                    "1 or more and 0 or more",
                    (long long)o->first, (long long)o->every, (long long)o->held);
  if (!(o->settled >= 0 && o->settled <= 100))
    return vq_error(diag, VQ_E_option, (vq_loc){0},
                    "ranges are to settle within %g %%, expected 0 to 100", o->settled);
  if (o->settled > 0 && (o->first != 0 || o->every != 1))
    return vq_error(diag, VQ_E_option, (vq_loc){0},
                    "ranges settle by pictures 0, 1, ...: with settled, first is 0 and every 1");
  return VQ_OK;
}

// Reads what the store has and lists the others.
static vq_status load(making *k, vq_wanted *missing, int64_t *n) {
  const vq_pass_synthesize_opts *o = VQ_OPTS(k->pc, vq_pass_synthesize);
  const vq_sample_store *store = k->pc->exec->store;
  *n = 0;
  for (int64_t i = 0; i < o->count; i++) {
    vq_wanted w = {o->first + i * o->every, k->data + i * k->count};
    bool found = false;
    if (store && k->count &&
        store->load(store->user, w.number, w.x, &found, k->pc->diag))
      return VQ_ERR;
    if (!found) missing[(*n)++] = w;
    if (k->settle.pc) k->made[i] = found;
  }
  return VQ_OK;
}

static vq_status open_settle(making *k, const vq_module *m) {
  const vq_pass_synthesize_opts *o = VQ_OPTS(k->pc, vq_pass_synthesize);
  k->end = o->count;
  if (!(o->settled > 0) || !k->count) return VQ_OK;
  k->made = VQ_NEW_N(k->pc->temp, bool, (size_t)o->count);
  return vq_settle_open(&k->settle, m, o->settled, k->pc);
}

// Makes what the store does not have. *count: how many there are in the end, without a
// gap.
static vq_status make_missing(const vq_module *m, making *k, int64_t *count,
                              vq_pass_ctx *pc) {
  const vq_pass_synthesize_opts *o = VQ_OPTS(pc, vq_pass_synthesize);
  vq_wanted *missing = VQ_NEW_N(pc->temp, vq_wanted, (size_t)o->count);
  vq_synthesis s = settings(k);
  int64_t n, n_made;
  if (load(k, missing, &n) || judge(k)) return VQ_ERR;
  vq_stat(pc, "pictures made before", o->count - n);
  while (n > 0 && missing[n - 1].number >= o->first + k->end * o->every) n--;
  *count = k->end;
  if (n == 0) return VQ_OK;
  vq_module *copy = vq_module_clone(m);  // says what is wrong with another input
  vq_status st = vq_synthesize(copy, &s, missing, n, &n_made, pc);
  vq_module_destroy(copy);
  if (!st && n_made < n) *count = (missing[n_made].number - o->first) / o->every;
  if (!st) st = judge(k);
  if (k->end < *count) *count = k->end;
  return st;
}

static vq_status make(const vq_module *m, making *k, int64_t *count, vq_pass_ctx *pc) {
  vq_status st = open_settle(k, m);
  if (!st) st = make_missing(m, k, count, pc);
  if (!st && k->end < VQ_OPTS(pc, vq_pass_synthesize)->count)
    vq_stat(pc, "pictures until ranges settled", k->judged);
  vq_settle_close(&k->settle);
  return st;
}

// How many of `count` pictures are held back. One at least is calibrated with; where
// there are fewer than might have been, one for each eight.
static int64_t held_back(const vq_pass_synthesize_opts *o, int64_t count) {
  int64_t held = o->held, most = o->settled > 0 ? (count + 8) / 9 : count - 1;
  if (held > most) held = most;
  return held < count ? held : count - 1;
}

vq_status vq_pass_synthesize(vq_module *m, vq_pass_ctx *pc) {
  const vq_pass_synthesize_opts *o = VQ_OPTS(pc, vq_pass_synthesize);
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  if (!f || !pc->exec)
    return vq_error(pc->diag, VQ_E_pass, (vq_loc){0}, "nothing here can run the model");
  if (check_options(o, pc->diag)) return VQ_ERR;
  const vq_type *x = f->n_arg == 1 ? f->arg[0].type : NULL;
  making k = {.pc = pc, .before = pc->exec->samples};
  if (x && vq_type_is(x, VQ_f32, 4) && x->dim[0] > 0 && x->dim[1] <= 4) {
    k.channels = x->dim[1], k.count = vq_type_count(x) / x->dim[0];
    vq_pixel_ranges_assumed(m, k.channels, k.range);
  }
  k.data = calloc((size_t)(o->count * k.count) + 1, sizeof *k.data);
  if (!k.data) vq_oom((size_t)(o->count * k.count) * sizeof *k.data);
  int64_t count;
  if (make(m, &k, &count, pc)) {
    free(k.data);
    return VQ_ERR;
  }
  vq_exec_keep_samples(pc->exec, count, k.count, k.data);
  int64_t held = held_back(o, count);
  if (held) vq_exec_hold_back(pc->exec, held, vq_module_clone(m));
  vq_stat(pc, "pictures", count);
  return VQ_OK;
}
