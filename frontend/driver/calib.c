// Calibration samples: pictures at even distances, or noise.
#include "calib.h"

#include <stdlib.h>
#include <unistd.h>

#include "calib_isa.h"
#include "compile.h"
#include "pictures.h"
#include "vq/backend.h"
#include "vq/build.h"

enum { DEFAULT_SIZE = 64 };

static vq_status load_noise(const calibration *c, int64_t i, float *out) {
  vq_ctx *ctx = vq_ctx_create();
  vq_module *m = vq_module_create(ctx, VQ_LIT("noise"));
  const vq_type *t = vq_type_tensor(ctx, VQ_f32, 1, &c->count, NULL);
  uint64_t seed = c->seed * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)i;
  vq_const *k = vq_const_random(m, VQ_LIT("noise"), t, seed, 1);
  memcpy(out, vq_const_bytes(k), (size_t)c->count * sizeof *out);
  vq_module_destroy(m);
  vq_ctx_destroy(ctx);
  return VQ_OK;
}

static vq_status load(void *user, int64_t i, float *out, vq_diag *diag) {
  calibration *c = user;
  bool found;
  if (c->is_noise) return load_noise(c, i, out);
  if (c->is_resumed) return c->store.store.load(c->store.store.user, i, out, &found, diag);
  return source_load(&c->pictures, i * c->stride, out);
}

static vq_status progress(void *user, const char *what, int64_t done, int64_t total) {
  calibration *c = user;
  return driver_progress(c->d, what, done, total);
}

static bool has_pass(const vq_pipeline *p, const char *name) {
  return vq_pipeline_find(p, name) < vq_pipeline_length(p);
}

// A pipeline that goes on behind synthesize takes its pictures from a profile.
static vq_status check_resumed(calibration *c, const vq_pipeline *p) {
  static const char *const need[] = {"observe", "split-outliers", "compensate-weights"};
  for (size_t i = 0; i < VQ_COUNT(need); i++)
    if (has_pass(p, need[i]) && !opt_given(&c->d->opt, OPT_profile))
      return vq_error(&c->d->diag, VQ_E_option, at_path(c->d, "vitqc"),
                      "--start-after leaves out synthesize, whose pictures %s needs: give "
                      "--profile=DIR with what --calib-out=DIR kept", need[i]);
  c->is_resumed = opt_given(&c->d->opt, OPT_profile);
  return VQ_OK;
}

// Pictures of a level's pipeline are kept; --passes says by itself what is made.
static vq_status open_store(calibration *c, const vq_module *m, const vq_pipeline *p) {
  const options *o = &c->d->opt;
  made_plan plan;
  bool made = has_pass(p, "synthesize");
  if (opt_given(o, OPT_passes) || (!made && !opt_given(o, OPT_start_after))) return VQ_OK;
  if (!made && check_resumed(c, p)) return VQ_ERR;
  if (!made && !c->is_resumed) return VQ_OK;
  if (made_plan_read(c->d, &plan)) return VQ_ERR;
  if (!plan.dir) return VQ_OK;
  if (c->is_resumed) c->samples.n = plan.n - plan.held;
  if (picture_store_open(c->d, m, c->type, c->range, plan.made_by, plan.n, plan.dir,
                         plan.use, &c->store) ||
      calib_isa_choose(c->d, &c->store.profile, &c->isa))
    return VQ_ERR;
  c->store.isa = c->isa;
  return VQ_OK;
}

// What makes pictures by descent may have products of bf16.
static vq_status choose_products(calibration *c, const vq_module *m, const vq_pipeline *p) {
  bool descends = has_pass(p, "synthesize") &&
                  strcmp(opt_text(&c->d->opt, OPT_calib), "scenes") != 0;
  if (!descends) return VQ_OK;
  if (calib_isa_probe(c->d, c->store.d ? &c->store.profile : NULL, m, &c->isa)) return VQ_ERR;
  c->store.isa = c->isa;
  return VQ_OK;
}

static vq_status open_source(calibration *c, const char *what, const char *model) {
  sample_shape to = {model, c->type->rank, c->type->dim, c->count, &c->preprocess};
  if (source_open(c->d, &to, what, &c->pictures)) return VQ_ERR;
  c->is_open = true;
  if (c->pictures.n == 0)
    return vq_error(&c->d->diag, VQ_E_picture, at_path(c->d, what), "has no samples");
  if (c->samples.n > c->pictures.n) c->samples.n = c->pictures.n;
  c->stride = c->pictures.n / c->samples.n;
  return VQ_OK;
}

void calibration_mark(const driver *d, vq_module *m) {
  const options *o = &d->opt;
  if (made_wanted(o) && (opt_given(o, OPT_stop_after) || opt_given(o, OPT_print_to)))
    picture_store_mark(m);
}

static bool enough(void *user) {
  const calibration *c = user;
  return c->until > 0 && now_seconds() > c->until;
}

static vq_status read_limit(driver *d, double *out) {
  const char *text = opt_text(&d->opt, OPT_mem_limit);
  *out = 0;
  if (!text || read_bytes(text, out)) return VQ_OK;
  return vq_error(&d->diag, VQ_E_option, at_path(d, "vitqc"),
                  "--mem-limit is '%s', expected a size as in 500MB or 2GiB", text);
}

// The folder that is written to, or NULL.
static const char *folder_of(const options *o) {
  return opt_text(o, opt_given(o, OPT_resume) ? OPT_resume : OPT_calib_out);
}

vq_status calibration_open(driver *d, const vq_module *m, const vq_pipeline *p,
                           const char *model, calibration *out) {
  const options *o = &d->opt;
  const char *what = opt_text(o, OPT_calib);
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  *out = (calibration){.d = d, .stride = 1};
  if (calib_isa_choose(d, NULL, &out->isa) || read_limit(d, &out->mem_limit))
    return VQ_ERR;
  if (strcmp(what, "none") == 0 || !f || f->n_arg != 1) return VQ_OK;
  const vq_type *t = f->arg[0].type;
  if (t->dtype != VQ_f32 || t->rank < 1 || t->dim[0] < 1) return VQ_OK;
  out->type = t;
  out->count = vq_type_count(t) / t->dim[0];
  out->seed = (uint64_t)opt_count(o, OPT_seed);
  int64_t n = opt_given(o, OPT_calib_size) ? opt_count(o, OPT_calib_size) : DEFAULT_SIZE;
  out->samples = (vq_samples){n, load, progress, out, enough};
  if (opt_given(o, OPT_calib_time)) out->until = now_seconds() + made_seconds(o);
  if (vq_preprocess_read(m, &out->preprocess, &d->diag)) return VQ_ERR;
  if (folder_of(o) || opt_given(o, OPT_profile)) {
    out->ranges.d = d;
    picture_store_digest(m, out->ranges.model);
  }
  if (t->rank == 4 && t->dim[1] <= 4) vq_pixel_ranges_assumed(m, t->dim[1], out->range);
  if (made_wanted(o)) {
    out->samples.n = 0;
    return open_store(out, m, p) || choose_products(out, m, p) ? VQ_ERR : VQ_OK;
  }
  out->is_noise = strcmp(what, "noise") == 0;
  return out->is_noise ? VQ_OK : open_source(out, what, model);
}

void calibration_give(calibration *c, vq_exec *exec) {
  exec->n_thread = calibration_threads(&c->d->opt);
  exec->memory_limit = (uint64_t)c->mem_limit;
  exec->samples = c->samples.load ? &c->samples : NULL;
  exec->store = c->store.d ? &c->store.store : NULL;
  c->sink = (vq_range_sink){calib_ranges_keep, &c->ranges};
  exec->ranges = c->ranges.d ? &c->sink : NULL;
}

// What was seen, in the folder's ranges.xml or against it.
static vq_status end_ranges(calibration *c, const vq_exec *exec) {
  const options *o = &c->d->opt;
  if (!c->ranges.d) return VQ_OK;
  c->ranges.isa = c->isa;
  c->ranges.samples = exec->samples ? exec->samples->n : 0;
  if (folder_of(o)) return calib_ranges_write(&c->ranges, folder_of(o));
  return c->store.d ? calib_ranges_compare(&c->ranges, c->store.dir) : VQ_OK;
}

static vq_status write_kept(calibration *c, const vq_exec *exec, const char *folder) {
  vq_samples all = exec->samples ? *exec->samples : (vq_samples){0};
  if (exec->held) all.n += exec->held->n;
  if (c->store.d && picture_store_limit(&c->store, all.n)) return VQ_ERR;
  return write_pictures(c->d, &all, c->type, c->range, folder, !c->store.d);
}

vq_status calibration_write(calibration *c, const vq_exec *exec) {
  const options *o = &c->d->opt;
  const char *folder = folder_of(o);
  if (folder && !opt_given(o, OPT_calib_shard) && write_kept(c, exec, folder))
    return VQ_ERR;
  return end_ranges(c, exec);
}

unsigned calibration_threads(const options *o) {
  enum { MOST = 64 };
  long n = opt_given(o, OPT_compile_threads) ? (long)opt_count(o, OPT_compile_threads)
                                             : sysconf(_SC_NPROCESSORS_ONLN);
  return n < 1 ? 1 : n > MOST ? MOST : (unsigned)n;
}

vq_status calibration_close(calibration *c) {
  if (c->is_open) source_close(&c->pictures);
  return c->store.d ? picture_store_close(&c->store) : VQ_OK;
}
