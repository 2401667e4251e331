// Sums of floats depend on the width of vectors and on fused multiply-adds, so which
// instructions calibration runs on decides about the last bits of ranges and pictures.
#include "calib_isa.h"

#include "vq/backend.h"

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

// The least demanding of the pictures' levels: *out, which is NULL without pictures.
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
    if (!*out || t > *out) *out = t;  // rows are in order
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
