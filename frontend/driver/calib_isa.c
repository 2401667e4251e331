// Sums of floats depend on the width of vectors and on fused multiply-adds, so which
// instructions calibration runs on decides about the last bits of ranges and pictures.
#include "calib_isa.h"

#include "compile.h"
#include "vq/backend.h"
#include "vq/bf16_probe.h"

static vq_status unknown(driver *d, const char *name) {
  unsigned n;
  const vq_target_info *list = vq_target_list(&n);
  vq_strbuf names = {0};
  for (unsigned i = 0; i < n; i++)
    if (vq_target_of_floats(list[i].name) == &list[i])
      vq_strbuf_printf(&names, "%s, ", list[i].name);
  vq_status s = vq_error(&d->diag, VQ_E_target, at_path(d, "vitqc"),
                         "--calib-isa is '%s', expected one of %snative", name,
                         vq_strbuf_z(&names));
  vq_strbuf_release(&names);
  return s;
}

static vq_status lacking(driver *d, const vq_target_info *t, bool recorded) {
  vq_status s = vq_error(&d->diag, VQ_E_target, at_path(d, "vitqc"),
                         recorded ? "the pictures were made with instructions of '%s', "
                                    "which this CPU lacks"
                                  : "--calib-isa is '%s', which this CPU lacks", t->name);
  if (recorded)
    vq_note(&d->diag, (vq_loc){0},
            "--calib-isa=native calibrates with them all the same; the model then differs "
            "in what hangs on the last bits of ranges");
  return s;
}

static int demands(const vq_target_info *t) { return __builtin_popcountll(t->requires); }

// The least demanding of the pictures' levels, of equal ones the first: *out, which is NULL
// without pictures.
static vq_status find_recorded(driver *d, const calib_profile *p,
                               const vq_target_info **out) {
  *out = NULL;
  for (int64_t i = 0; i < p->n; i++) {
    if (!p->picture[i].listed) continue;
    const vq_target_info *t = vq_target_of_floats(p->picture[i].isa);
    if (!t)
      return vq_error(&d->diag, VQ_E_target, at_path(d, "vitqc"),
                      "picture %lld was made with instructions of '%s', which this "
                      "version does not know", (long long)i, p->picture[i].isa);
    int less = *out ? demands(*out) - demands(t) : 1;
    if (less > 0 || (less == 0 && t < *out)) *out = t;
  }
  return VQ_OK;
}

vq_status calib_isa_choose(driver *d, const calib_profile *p, const char **out) {
  const vq_target_info *t = NULL;
  const char *name = opt_text(&d->opt, OPT_calib_isa);
  if (!opt_given(&d->opt, OPT_calib_isa) && p && find_recorded(d, p, &t)) return VQ_ERR;
  bool recorded = t != NULL;
  if (!t) t = vq_target_of_floats(name);
  if (!t) return unknown(d, name);
  *out = t->name;
  return vq_target_runs_here(t->requires) ? VQ_OK : lacking(d, t, recorded);
}

static vq_status try(driver *d, const vq_module *m, const char *plain, const char *narrow,
                     vq_bf16_gain *gain) {
  vq_exec *e[] = {vq_exec_jit(lower_for_jit, d, plain), vq_exec_jit(lower_for_jit, d, narrow)};
  vq_status s = vq_bf16_probe(m, e[0], e[1], &d->diag, gain);
  for (int i = 0; i < 2; i++) e[i]->ops->destroy(e[i]);
  if (!s && gain->speed > 0 && opt_given(&d->opt, OPT_verbose))
    fprintf(d->log, "%s: %.2f times as fast as %s at %lldx%lldx%lld, error %.1e\n", narrow,
            gain->speed, plain, (long long)gain->m, (long long)gain->n, (long long)gain->k,
            gain->error);
  return s;
}

vq_status calib_isa_probe(driver *d, const calib_profile *p, const vq_module *m,
                          const char **out) {
  unsigned n;
  const vq_target_info *list = vq_target_list(&n), *t = NULL;
  const char *plain = *out;
  double best = 0;
  if (strcmp(opt_text(&d->opt, OPT_calib_isa), "native") != 0) return VQ_OK;
  if (!opt_given(&d->opt, OPT_calib_isa) && p && find_recorded(d, p, &t)) return VQ_ERR;
  for (unsigned i = 0; i < n && !t; i++) {
    vq_bf16_gain gain;
    if (!list[i].bf16 || !vq_target_runs_here(list[i].requires)) continue;
    if (try(d, m, plain, list[i].name, &gain)) return VQ_ERR;
    if (vq_bf16_is_gain(&gain) && gain.speed > best)
      best = gain.speed, *out = list[i].name;
  }
  return VQ_OK;
}
