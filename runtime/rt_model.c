// Handles: loading a model, checking its description, running it.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rt.h"

struct vitq_handle {
  const vitq_model *model;
  const vitq_variant *variant;
  void *library;  // NULL when the model was in the process already
};

// ---- checks -----------------------------------------------------------------
// A model is generated code and trusted as such; the checks are there to refuse
// another version's layout and a broken build before it is executed.

static vitq_status bad(const char *what) {
  return rt_fail(VITQ_ERR_NOT_MODEL, "the model's description is broken: %s",
                 what);
}

static vitq_status check_tensors(const vitq_tensor_info *t, uint32_t n) {
  if (n == 0 || !t) return bad("no inputs or no outputs");
  for (uint32_t i = 0; i < n; i++)
    if (!t[i].name || t[i].rank > VITQ_MAX_RANK || t[i].dtype > VITQ_BF16)
      return bad("a tensor has no name, rank or type");
  return VITQ_OK;
}

// An empty tensor may lie just past the end.
static vitq_status check_operand(const vitq_model *m, const vitq_operand *o) {
  uint64_t limit = 0;
  switch ((enum vitq_space)o->space) {
    case VITQ_SPACE_INPUT: limit = m->n_input; break;
    case VITQ_SPACE_OUTPUT: limit = m->n_output; break;
    case VITQ_SPACE_ARENA: limit = m->arena_bytes + 1; break;
    case VITQ_SPACE_CONST: limit = m->constant_bytes + 1; break;
  }
  return o->offset < limit ? VITQ_OK : bad("an operand is out of range");
}

static vitq_status check_steps(const vitq_model *m) {
  if ((m->n_step && !m->step) || (m->n_kernel && !m->kernel))
    return bad("no steps or no kernels");
  for (uint32_t i = 0; i < m->n_step; i++) {
    const vitq_step *s = &m->step[i];
    if (s->kernel >= m->n_kernel || s->n_arg != m->kernel[s->kernel].n_arg ||
        (s->n_arg && !s->arg))
      return bad("a step does not fit its kernel");
    for (uint32_t j = 0; j < s->n_arg; j++)
      if (check_operand(m, &s->arg[j])) return VITQ_ERR_NOT_MODEL;
  }
  return VITQ_OK;
}

static vitq_status check_variants(const vitq_model *m) {
  if (m->n_variant == 0 || !m->variant) return bad("no variants");
  for (uint32_t i = 0; i < m->n_variant; i++) {
    const vitq_variant *v = &m->variant[i];
    if (!v->name || (m->n_kernel && !v->fn)) return bad("an empty variant");
    for (uint32_t k = 0; k < m->n_kernel; k++)
      if (!v->fn[k]) return bad("a variant lacks a kernel");
  }
  return VITQ_OK;
}

static vitq_status check_texts(const char *const *text, uint64_t n) {
  if (n && !text) return bad("labels or facts are missing");
  for (uint64_t i = 0; i < n; i++)
    if (!text[i]) return bad("a label or fact is missing");
  return VITQ_OK;
}

static vitq_status check_model(const vitq_model *m) {
  if (m->abi_version != VITQ_ABI_VERSION || m->size < sizeof *m)
    return rt_fail(VITQ_ERR_VERSION,
                   "made for ABI version %u, this runtime has version %u",
                   m->abi_version, VITQ_ABI_VERSION);
  if (!m->name || !m->compiler || m->batch == 0 || !m->preprocess)
    return bad("no name, compiler, batch or preprocessing");
  if (m->constant_bytes && !m->constants) return bad("no constants");
  vitq_status s = check_tensors(m->input, m->n_input);
  if (!s) s = check_tensors(m->output, m->n_output);
  if (!s) s = check_steps(m);
  if (!s) s = check_variants(m);
  if (!s) s = check_texts(m->label, m->n_label);
  if (!s) s = check_texts(m->meta, 2ull * m->n_meta);
  return s;
}

// ---- opening ----------------------------------------------------------------

vitq_status vitq_open_model(const vitq_model *model, vitq_handle **out) {
  rt_clear_error();
  if (out) *out = NULL;
  if (!model || !out) return rt_fail(VITQ_ERR_ARGUMENT, "model or out is NULL");
  vitq_status s = check_model(model);
  if (s) return s;
  const vitq_variant *v = rt_pick_variant(model, vitq_cpu_isa());
  if (!v)
    return rt_fail(VITQ_ERR_ISA, "no variant of '%s' runs on this CPU; the "
                   "least demanding is '%s'", model->name,
                   model->variant[model->n_variant - 1].name);
  vitq_handle *h = malloc(sizeof *h);
  if (!h) return rt_fail(VITQ_ERR_MEMORY, "no memory for a handle");
  *h = (vitq_handle){model, v, NULL};
  *out = h;
  return VITQ_OK;
}

// dlopen looks a name without a slash up in the system's library path.
static void *load(const char *path) {
  if (strchr(path, '/')) return dlopen(path, RTLD_NOW | RTLD_LOCAL);
  size_t n = strlen(path) + 3;
  char *here = malloc(n);
  if (!here) return NULL;
  snprintf(here, n, "./%s", path);
  void *library = dlopen(here, RTLD_NOW | RTLD_LOCAL);
  free(here);
  return library;
}

static vitq_status open_library(void *library, vitq_handle **out) {
  void *symbol = dlsym(library, VITQ_QUERY_SYMBOL);
  if (!symbol)
    return rt_fail(VITQ_ERR_NOT_MODEL, "it exports no " VITQ_QUERY_SYMBOL);
  vitq_query_fn query;
  memcpy(&query, &symbol, sizeof query);
  const vitq_model *m = query(VITQ_ABI_VERSION);
  if (!m)
    return rt_fail(VITQ_ERR_VERSION, "made for an ABI newer than version %u",
                   VITQ_ABI_VERSION);
  return vitq_open_model(m, out);
}

vitq_status vitq_open(const char *path, vitq_handle **out) {
  rt_clear_error();
  if (out) *out = NULL;
  if (!path || !out) return rt_fail(VITQ_ERR_ARGUMENT, "path or out is NULL");
  if (!rt_file_is_whole(path))
    return rt_fail(VITQ_ERR_OPEN, "%s: the file is cut off", path);
  void *library = load(path);
  if (!library) {
    const char *why = dlerror();
    return rt_fail(VITQ_ERR_OPEN, "%s", why ? why : "out of memory");
  }
  vitq_status s = open_library(library, out);
  if (s)
    dlclose(library);
  else
    (*out)->library = library;
  return s;
}

void vitq_close(vitq_handle *h) {
  if (!h) return;
  if (h->library) dlclose(h->library);
  free(h);
}

// ---- using ------------------------------------------------------------------

const vitq_model *vitq_describe(const vitq_handle *h) { return h->model; }

const char *vitq_variant_name(const vitq_handle *h) { return h->variant->name; }

vitq_status vitq_select(vitq_handle *h, const char *variant) {
  rt_clear_error();
  if (!h || !variant) return rt_fail(VITQ_ERR_ARGUMENT, "h or variant is NULL");
  const vitq_model *m = h->model;
  for (uint32_t i = 0; i < m->n_variant; i++) {
    if (strcmp(m->variant[i].name, variant) != 0) continue;
    if (m->variant[i].requires & ~vitq_cpu_isa())
      return rt_fail(VITQ_ERR_ISA, "this CPU cannot run '%s'", variant);
    h->variant = &m->variant[i];
    return VITQ_OK;
  }
  return rt_fail(VITQ_ERR_ISA, "'%s' has no variant '%s'", m->name, variant);
}

size_t vitq_workspace_size(const vitq_handle *h, unsigned n_thread) {
  return rt_workspace(h->model, n_thread ? n_thread : 1);
}

vitq_status vitq_run_profiled(const vitq_handle *h, int64_t n,
                              const void *const *inputs, void *const *outputs,
                              void *workspace, vitq_pool *pool,
                              vitq_step_fn fn, void *user) {
  if (!h) return VITQ_ERR_ARGUMENT;
  rt_job job = {h->model, h->variant, n, inputs, outputs, workspace,
                NULL, fn, user};
  if (vitq_pool_threads(pool) == 1) return rt_execute(&job);
  rt_team team = rt_pool_team(pool);
  job.team = &team;
  return rt_execute(&job);
}

vitq_status vitq_run(const vitq_handle *h, int64_t n, const void *const *inputs,
                     void *const *outputs, void *workspace, vitq_pool *pool) {
  return vitq_run_profiled(h, n, inputs, outputs, workspace, pool, NULL, NULL);
}
