// vq_exec backed by this backend: the objects go into LLJIT, not to a file.
//
// The code and the tables are those of a shared object for one variant; only
// the constants stay where they are and are given to the linker as an absolute
// symbol. Models run through the same executor as loaded ones.
#include <llvm-c/LLJIT.h>
#include <stdlib.h>

#include "constants.h"
#include "jit_times.h"
#include "target.h"
#include "units.h"
#include "vitq.h"
#include "vq/backend.h"
#include "vq/rewrite.h"

typedef struct jit_exec {
  vq_exec base;
  vq_lower_fn lower;
  void *user;
  const char *cpu;
} jit_exec;

struct vq_program {
  const vq_exec *exec;
  LLVMOrcLLJITRef jit;
  void *blob;  // constants
  vitq_handle *handle;
  vitq_pool *pool;
  void *workspace;
  unsigned n_thread;  // pool and workspace are for
  bool shares;        // jit, constants and handle are another program's
  vq_jit_times *times;  // NULL: nobody asks for them
};

// ---- the module to compile -------------------------------------------------------

// A copy of `m` in which function `name` is @main and no other model function
// is left.
static vq_module *isolate(const vq_module *m, vq_str name, vq_diag *diag) {
  vq_module *copy = vq_module_clone(m);
  vq_func *f = vq_module_func(copy, name);
  if (!f || f->kind != VQ_FUNC) {
    vq_error(diag, VQ_E_name, (vq_loc){0}, "there is no function '%.*s' to run",
             VQ_FMT(name));
    vq_module_destroy(copy);
    return NULL;
  }
  for (vq_func *g = copy->first_func, *next; g; g = next) {
    next = g->next;
    if (g != f && g->kind == VQ_FUNC) vq_erase_func(copy, g);
  }
  vq_rename_func(copy, f, VQ_LIT("main"));
  return copy;
}

// ---- linking ------------------------------------------------------------------------

static vq_status llvm_failed(LLVMErrorRef err, vq_diag *diag) {
  char *message = LLVMGetErrorMessage(err);
  vq_error(diag, VQ_E_backend, (vq_loc){0}, "LLVM: %s", message);
  LLVMDisposeErrorMessage(message);
  return VQ_ERR;
}

static const char *symbol_name(const vq_layout *l, const char *suffix,
                               vq_arena *temp) {
  size_t n = strlen(l->symbol), k = strlen(suffix);
  char *s = vq_arena_alloc(temp, n + k + 1, 1);
  memcpy(s, l->symbol, n);
  memcpy(s + n, suffix, k);
  return s;
}

static LLVMErrorRef define_blob(vq_program *p, const char *name) {
  LLVMOrcCSymbolMapPair pair = {
      LLVMOrcLLJITMangleAndIntern(p->jit, name),
      {(LLVMOrcExecutorAddress)(uintptr_t)p->blob,
       {LLVMJITSymbolGenericFlagsExported, 0}}};
  return LLVMOrcJITDylibDefine(LLVMOrcLLJITGetMainJITDylib(p->jit),
                               LLVMOrcAbsoluteSymbols(&pair, 1));
}

// What kernels may call: memcpy, memset and the like.
static LLVMErrorRef use_process_symbols(vq_program *p) {
  LLVMOrcDefinitionGeneratorRef gen;
  LLVMErrorRef err = LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(
      &gen, LLVMOrcLLJITGetGlobalPrefix(p->jit), NULL, NULL);
  if (!err)
    LLVMOrcJITDylibAddGenerator(LLVMOrcLLJITGetMainJITDylib(p->jit), gen);
  return err;
}

// Takes the buffers of `o` over. *query receives the address of <symbol>_query.
static vq_status link_objects(vq_program *p, const vq_layout *layout,
                             vq_objects *o, vq_arena *temp,
                             vitq_query_fn *query, vq_diag *diag) {
  LLVMErrorRef err = LLVMOrcCreateLLJIT(&p->jit, LLVMOrcCreateLLJITBuilder());
  if (err) return llvm_failed(err, diag);
  LLVMOrcJITDylibRef dylib = LLVMOrcLLJITGetMainJITDylib(p->jit);
  for (unsigned i = 0; i < o->n && !err; i++) {
    err = LLVMOrcLLJITAddObjectFile(p->jit, dylib, o->object[i]);
    o->object[i] = NULL;
  }
  if (!err) err = define_blob(p, symbol_name(layout, "_constants", temp));
  if (!err) err = use_process_symbols(p);
  LLVMOrcExecutorAddress at = 0;
  if (!err)
    err = LLVMOrcLLJITLookup(p->jit, &at, symbol_name(layout, "_query", temp));
  if (err) return llvm_failed(err, diag);
  *query = (vitq_query_fn)(uintptr_t)at;
  return VQ_OK;
}

// ---- preparing ----------------------------------------------------------------------

static void release_code(vq_program *p) {
  vitq_close(p->handle);
  LLVMErrorRef err = p->jit ? LLVMOrcDisposeLLJIT(p->jit) : NULL;
  if (err) LLVMConsumeError(err);
  free(p->blob);
}

static void release(vq_program *p) {
  vq_jit_times_close(p->times);
  vitq_pool_destroy(p->pool);
  if (!p->shares) release_code(p);
  free(p->workspace);
  free(p);
}

static void *aligned(uint64_t size) {
  size = (size + VITQ_ALIGN - 1) & ~(uint64_t)(VITQ_ALIGN - 1);
  if (size == 0) size = VITQ_ALIGN;
  void *p = aligned_alloc(VITQ_ALIGN, size);
  if (!p) vq_oom(size);
  return memset(p, 0, size);
}

static vq_status compile(vq_program *p, const vq_module *m, const char *cpu,
                         vq_arena *temp, vq_diag *diag) {
  vq_layout layout;
  vq_objects objects;
  const vq_target *target;
  unsigned n_target;
  vitq_query_fn query = NULL;
  if (vq_layout_build(&layout, m, NULL, false, temp, diag) ||
      vq_target_select(NULL, cpu, diag, &target, &n_target) ||
      vq_units_compile(&objects, &layout, target, n_target, false, NULL, temp,
                       diag))
    return VQ_ERR;
  p->blob = aligned(layout.constant_bytes);
  vq_constants_fill(&layout, p->blob);
  vq_status linked = link_objects(p, &layout, &objects, temp, &query, diag);
  vq_objects_release(&objects);
  if (linked) return VQ_ERR;
  vitq_status st = vitq_open_model(query(VITQ_ABI_VERSION), &p->handle);
  if (st == VITQ_OK) return VQ_OK;
  return vq_error(diag, VQ_E_backend, (vq_loc){0}, "the compiled function: %s",
                  vitq_last_error());
}

static void memory(const vq_program *p, uint64_t *shared, uint64_t *each) {
  *shared = vitq_describe(p->handle)->constant_bytes;
  *each = vitq_workspace_size(p->handle, 1);
}

static vq_status check_memory(const vq_program *p, vq_diag *diag) {
  uint64_t shared, each, limit = p->exec->memory_limit;
  memory(p, &shared, &each);
  if (!limit || shared + each <= limit) return VQ_OK;
  return vq_error(diag, VQ_E_limit, (vq_loc){0},
                  "running the model takes %.1f MB, the limit is %.1f MB",
                  (double)(shared + each) / 1e6, (double)limit / 1e6);
}

static vq_status prepare(vq_exec *e, const vq_module *m, vq_str func,
                         vq_diag *diag, vq_program **out) {
  jit_exec *x = (jit_exec *)e;
  vq_module *copy = isolate(m, func, diag);
  if (!copy) return VQ_ERR;
  vq_arena temp = {0};
  vq_program *p = calloc(1, sizeof *p);
  if (!p) vq_oom(sizeof *p);
  p->exec = e;
  vq_status st = x->lower(x->user, copy, func, diag);
  if (!st) st = compile(p, copy, x->cpu, &temp, diag);
  if (!st && e->times) p->times = vq_jit_times_open(e->times, func, vitq_describe(p->handle));
  if (!st) st = check_memory(p, diag);
  if (st) {
    release(p);
    p = NULL;
  }
  *out = p;
  vq_arena_release(&temp);
  vq_module_destroy(copy);
  return st;
}

// ---- running ------------------------------------------------------------------------

static vq_status vitq_failed(vitq_status st, vq_diag *diag) {
  return vq_error(diag, VQ_E_backend, (vq_loc){0}, "running compiled code: %s",
                  vitq_status_text(st));
}

// Makes pool and workspace fit `n_thread` threads.
static vq_status set_threads(vq_program *p, unsigned n_thread, vq_diag *diag) {
  if (n_thread == 0) n_thread = p->exec->n_thread;
  if (n_thread == 0) n_thread = 1;
  if (p->n_thread == n_thread) return VQ_OK;
  vitq_pool_destroy(p->pool);
  free(p->workspace);
  p->pool = NULL;
  p->workspace = aligned(vitq_workspace_size(p->handle, n_thread));
  p->n_thread = n_thread;
  vitq_status st = vitq_pool_create(n_thread, &p->pool);
  if (st == VITQ_OK) return VQ_OK;
  p->n_thread = 0;
  return vitq_failed(st, diag);
}

static vq_status run(vq_program *p, const vq_tensor *in, vq_tensor *out,
                     unsigned n_thread, vq_diag *diag) {
  if (set_threads(p, n_thread, diag)) return VQ_ERR;
  const vitq_model *m = vitq_describe(p->handle);
  size_t n = (size_t)m->n_input + m->n_output;
  const void **data = calloc(n ? n : 1, sizeof *data);
  if (!data) vq_oom(n * sizeof *data);
  void **to = (void **)(data + m->n_input);
  for (uint32_t i = 0; i < m->n_input; i++) data[i] = in[i].data;
  for (uint32_t i = 0; i < m->n_output; i++) to[i] = out[i].data;
  vitq_status st = vitq_run_profiled(p->handle, m->batch, data, to, p->workspace, p->pool,
                                     p->times ? vq_jit_times_step : NULL, p->times);
  free(data);
  return st == VITQ_OK ? VQ_OK : vitq_failed(st, diag);
}

static vq_status share(const vq_program *p, unsigned n_thread, vq_diag *diag,
                       vq_program **out) {
  vq_program *s = malloc(sizeof *s);
  if (!s) vq_oom(sizeof *s);
  *s = (vq_program){.exec = p->exec, .handle = p->handle, .shares = true,
                    .times = p->times ? vq_jit_times_share(p->times) : NULL};
  vq_status st = set_threads(s, n_thread, diag);
  if (st) release(s);
  *out = st ? NULL : s;
  return st;
}

static void destroy(vq_exec *e) {
  vq_exec_drop_samples(e);
  free(e);
}

vq_exec *vq_exec_jit(vq_lower_fn lower, void *user, const char *cpu) {
  static const vq_exec_ops ops = {"jit", prepare, run, share, memory, release,
                                   destroy};
  jit_exec *x = calloc(1, sizeof *x);
  if (!x) vq_oom(sizeof *x);
  *x = (jit_exec){{.ops = &ops, .bf16 = vq_target_has_bf16(cpu)}, lower, user, cpu};
  return &x->base;
}
