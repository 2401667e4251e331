// Running compiled models through the runtime, model files through vq_exec.
#include "machine.h"

#include <stdlib.h>

#include "compile.h"
#include "vq/backend.h"

// ---- compiled models ------------------------------------------------------------

static vq_status cannot_open(driver *d, const char *path, vitq_status s) {
  vq_error(&d->diag, VQ_E_model, at_path(d, path), "%s: %s",
           vitq_status_text(s), vitq_last_error());
  if (s == VITQ_ERR_VERSION)
    vq_note(&d->diag, (vq_loc){0},
            "compile the model again with this version of vitqc");
  return VQ_ERR;
}

static vq_status check_tensors(driver *d, machine *m) {
  const vitq_model *v = m->model;
  vq_loc loc = at_path(d, m->path);
  if (v->n_input != 1 || v->input[0].dtype != VITQ_F32 || v->input[0].rank == 0)
    return vq_error(&d->diag, VQ_E_unsupported, loc,
                    "expected a model with one float input, found %u inputs",
                    v->n_input);
  if (v->output[0].dtype != VITQ_F32)
    return vq_error(&d->diag, VQ_E_unsupported, loc,
                    "expected a float output, '%s' is not", v->output[0].name);
  m->batch = v->batch;
  m->rank = v->input[0].rank;
  for (unsigned i = 0; i < m->rank; i++) m->dim[i] = v->input[0].dim[i];
  m->in_count = (int64_t)(v->input[0].bytes_per_sample / sizeof(float));
  m->out_count = (int64_t)(v->output[0].bytes_per_sample / sizeof(float));
  return VQ_OK;
}

static vq_status prepare(driver *d, machine *m) {
  const char *variant = opt_text(&d->opt, OPT_variant);
  unsigned n = (unsigned)opt_count(&d->opt, OPT_threads);
  vitq_status s = variant ? vitq_select(m->handle, variant) : VITQ_OK;
  if (!s && n > 1) s = vitq_pool_create(n, &m->pool);
  if (s) return cannot_open(d, m->path, s);
  size_t size = vitq_workspace_size(m->handle, n);
  m->workspace = aligned_alloc(VITQ_ALIGN, size ? size : VITQ_ALIGN);
  if (!m->workspace) vq_oom(size);
  return check_tensors(d, m);
}

vq_status machine_open(driver *d, const char *path, machine *out) {
  file_kind kind;
  *out = (machine){.path = path, .d = d};
  if (file_sniff(d, path, &kind)) return VQ_ERR;
  if (kind != FILE_ELF) {
    vq_error(&d->diag, VQ_E_model, at_path(d, path),
             "expected a compiled model (.so)");
    vq_note(&d->diag, (vq_loc){0}, "vitqc MODEL.onnx -O1 -o MODEL.so makes one");
    return VQ_ERR;
  }
  vitq_status s = vitq_open(path, &out->handle);
  if (s) return cannot_open(d, path, s);
  out->model = vitq_describe(out->handle);
  if (!prepare(d, out)) return VQ_OK;
  machine_close(out);
  return VQ_ERR;
}

// ---- model files ----------------------------------------------------------------

static vq_status open_source(driver *d, const char *path, machine *m) {
  if (load_model(d, path, &m->source)) return VQ_ERR;
  const vq_func *f = vq_module_func(m->source.m, VQ_LIT("main"));
  if (!f || f->n_arg != 1 || f->n_result == 0 ||
      f->arg[0].type->dtype != VQ_f32 || f->arg[0].type->rank == 0 ||
      f->result[0]->dtype != VQ_f32)
    return vq_error(&d->diag, VQ_E_unsupported, at_path(d, path),
                    "expected a model with one float input and a float output");
  const vq_type *in = f->arg[0].type;
  m->rank = in->rank;
  memcpy(m->dim, in->dim, sizeof in->dim);
  m->batch = in->dim[0];
  if (m->batch == 0)
    return vq_error(&d->diag, VQ_E_shape, at_path(d, path), "the batch is 0");
  m->in_count = vq_type_count(in) / m->batch;
  m->out_count = vq_type_count(f->result[0]) / m->batch;
  m->exec = strcmp(opt_text(&d->opt, OPT_reference), "jit") == 0
                ? vq_exec_jit(lower_for_jit, d, "native")
                : vq_exec_interpreter();
  return m->exec->ops->prepare(m->exec, m->source.m, VQ_LIT("main"), &d->diag,
                               &m->program);
}

vq_status machine_open_any(driver *d, const char *path, machine *out) {
  file_kind kind;
  *out = (machine){.path = path, .d = d};
  if (file_sniff(d, path, &kind)) return VQ_ERR;
  if (kind == FILE_ELF) return machine_open(d, path, out);
  if (!open_source(d, path, out)) return VQ_OK;
  machine_close(out);
  return VQ_ERR;
}

void machine_close(machine *m) {
  if (m->program) m->exec->ops->release(m->program);
  if (m->exec) m->exec->ops->destroy(m->exec);
  loaded_release(&m->source);
  vitq_pool_destroy(m->pool);
  vitq_close(m->handle);
  free(m->workspace);
  *m = (machine){0};
}

const char *machine_variant(const machine *m) {
  return m->handle ? vitq_variant_name(m->handle) : m->exec->ops->name;
}

// ---- running --------------------------------------------------------------------

// Memory for outputs that nobody looks at, after the first.
static vq_status run_compiled(machine *m, int64_t n, const float *in,
                              float *out, vitq_step_fn fn, void *user) {
  const vitq_model *v = m->model;
  void **to = calloc(v->n_output, sizeof *to);
  if (!to) vq_oom(v->n_output * sizeof *to);
  to[0] = out;
  for (uint32_t i = 1; i < v->n_output; i++) {
    size_t size = (size_t)n * v->output[i].bytes_per_sample;
    to[i] = malloc(size + 1);
    if (!to[i]) vq_oom(size);
  }
  const void *from[] = {in};
  vitq_status s = vitq_run_profiled(m->handle, n, from, to, m->workspace,
                                    m->pool, fn, user);
  for (uint32_t i = 1; i < v->n_output; i++) free(to[i]);
  free(to);
  if (!s) return VQ_OK;
  return vq_error(&m->d->diag, VQ_E_model, at_path(m->d, m->path), "%s",
                  vitq_status_text(s));
}

static vq_status run_batch(machine *m, const vq_func *f, const float *in,
                           float *out) {
  vq_tensor x = {f->arg[0].type, (void *)(uintptr_t)in};
  vq_tensor *y = calloc(f->n_result, sizeof *y);
  if (!y) vq_oom(f->n_result * sizeof *y);
  for (uint32_t i = 0; i < f->n_result; i++) {
    size_t size = (size_t)vq_type_bytes(f->result[i]);
    y[i] = (vq_tensor){f->result[i], i ? malloc(size + 1) : out};
    if (!y[i].data) vq_oom(size);
  }
  vq_status s = m->exec->ops->run(
      m->program, &x, y, (unsigned)opt_count(&m->d->opt, OPT_threads),
      &m->d->diag);
  for (uint32_t i = 1; i < f->n_result; i++) free(y[i].data);
  free(y);
  return s;
}

// A short last batch is filled up with zeros.
static vq_status run_source(machine *m, int64_t n, const float *in, float *out) {
  const vq_func *f = vq_module_func(m->source.m, VQ_LIT("main"));
  size_t in_all = (size_t)(m->batch * m->in_count);
  size_t out_all = (size_t)(m->batch * m->out_count);
  float *x = calloc(in_all + out_all, sizeof *x);
  if (!x) vq_oom((in_all + out_all) * sizeof *x);
  float *y = x + in_all;
  vq_status s = VQ_OK;
  for (int64_t at = 0; at < n && !s; at += m->batch) {
    int64_t k = n - at < m->batch ? n - at : m->batch;
    memcpy(x, in + at * m->in_count, (size_t)(k * m->in_count) * sizeof *x);
    s = run_batch(m, f, x, y);
    if (!s)
      memcpy(out + at * m->out_count, y, (size_t)(k * m->out_count) * sizeof *y);
  }
  free(x);
  return s;
}

vq_status machine_run(machine *m, int64_t n, const float *in, float *out) {
  return m->handle ? run_compiled(m, n, in, out, NULL, NULL)
                   : run_source(m, n, in, out);
}

vq_status machine_profile(machine *m, int64_t n, const float *in, float *out,
                          vitq_step_fn fn, void *user) {
  return run_compiled(m, n, in, out, fn, user);
}

sample_shape machine_samples(const machine *m) {
  return (sample_shape){m->path, m->rank, m->dim, m->in_count,
                        m->model ? m->model->preprocess : NULL};
}
