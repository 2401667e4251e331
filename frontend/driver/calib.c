// Calibration samples: pictures at even distances, or noise.
#include "calib.h"

#include <stdlib.h>
#include <unistd.h>

#include "vq/backend.h"
#include "vq/build.h"

bool calibration_is_made(const options *o) {
  return strcmp(opt_text(o, OPT_calib), "psaq") == 0;
}

// Pictures of one's own cost a run of the model each, made ones a hundred.
static int64_t size(const options *o) {
  if (opt_given(o, OPT_calib_size)) return opt_count(o, OPT_calib_size);
  return calibration_is_made(o) ? 32 : 64;
}

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
  (void)diag;  // the driver's own
  if (c->is_noise) return load_noise(c, i, out);
  return source_load(&c->pictures, i * c->stride, out);
}

// A bar for a person who waits: what is done, how fast, how long it takes yet.
static void show(calibration *c, const char *what, int64_t done, int64_t total) {
  enum { WIDTH = 20 };
  double seconds = now_seconds() - c->since, rate = (double)done / seconds;
  int full = (int)(WIDTH * done / total);
  fprintf(stderr, "\r\033[K[%.*s%*s] %lld/%lld %s", full, "####################",
          WIDTH - full, "", (long long)done, (long long)total, what);
  long left = done ? (long)((double)(total - done) / rate) : 0;
  if (seconds > 1 && done)
    fprintf(stderr, ", %.3g/s, %ld:%02ld left ", rate, left / 60, left % 60);
  fflush(stderr);
  c->shown = now_seconds();
}

static vq_status progress(void *user, const char *what, int64_t done, int64_t total) {
  calibration *c = user;
  if (!c->d->terminal || opt_given(&c->d->opt, OPT_quiet)) return VQ_OK;
  if (done <= c->done) c->since = now_seconds();  // of another pass
  c->done = done;
  if (now_seconds() - c->shown > 0.1) show(c, what, done, total);
  return VQ_OK;
}

vq_status calibration_open(driver *d, const vq_module *m, const char *model,
                           calibration *out) {
  const options *o = &d->opt;
  const char *what = opt_text(o, OPT_calib);
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  *out = (calibration){.d = d, .stride = 1};
  if (strcmp(what, "none") == 0 || !f || f->n_arg != 1) return VQ_OK;
  const vq_type *t = f->arg[0].type;
  if (t->dtype != VQ_f32 || t->rank < 1 || t->dim[0] < 1) return VQ_OK;
  out->type = t;
  out->count = vq_type_count(t) / t->dim[0];
  out->seed = (uint64_t)opt_count(o, OPT_seed);
  out->samples = (vq_samples){size(o), load, progress, out};
  if (vq_preprocess_read(m, &out->preprocess, &d->diag)) return VQ_ERR;
  if (calibration_is_made(o)) {
    out->samples.n = 0;
    return VQ_OK;
  }
  if (strcmp(what, "noise") == 0) {
    out->is_noise = true;
    return VQ_OK;
  }
  sample_shape to = {model, t->rank, t->dim, out->count, &out->preprocess};
  if (source_open(d, &to, what, &out->pictures)) return VQ_ERR;
  out->is_open = true;
  if (out->pictures.n == 0)
    return vq_error(&d->diag, VQ_E_picture, at_path(d, what), "has no samples");
  if (out->samples.n > out->pictures.n) out->samples.n = out->pictures.n;
  out->stride = out->pictures.n / out->samples.n;
  return VQ_OK;
}

const char *calibration_pass(driver *d, const char *pipeline) {
  const options *o = &d->opt;
  const char *at = strstr(pipeline, "rows,fold-pixels");
  if (!at) return pipeline;
  vq_strbuf out = {0};
  vq_strbuf_printf(&out, "%.*ssynthesize{count=%lld seed=%lld steps=%lld},%s",
                   (int)(at - pipeline), pipeline,
                   (long long)size(o),
                   (long long)opt_count(o, OPT_seed),
                   (long long)opt_count(o, OPT_calib_steps), at);
  const char *z = vq_arena_str(&d->arena, vq_strbuf_view(&out)).p;
  vq_strbuf_release(&out);
  return z;
}

unsigned calibration_threads(const options *o) {
  enum { MOST = 64 };
  long n = opt_given(o, OPT_compile_threads) ? (long)opt_count(o, OPT_compile_threads)
                                             : sysconf(_SC_NPROCESSORS_ONLN);
  return n < 1 ? 1 : n > MOST ? MOST : (unsigned)n;
}

void calibration_close(calibration *c) {
  if (c->shown > 0) fputs("\r\033[K", stderr);
  if (c->is_open) source_close(&c->pictures);
}
