// Compile units: one LLVM context, module and object for each kernel variant.
//
// LLVM compiles a module on one thread, and nearly all of the time of a
// compilation is LLVM's. Kernels know nothing of each other, so each variant of
// each is a unit, as are the tiles that those of a variant call; threads take
// units from a counter. What two variants have in common is compiled once. A
// unit's object depends on nothing but the unit.
#include "units.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "emit_kernel.h"
#include "object.h"
#include "vq/strbuf.h"

typedef struct unit {
  LLVMMemoryBufferRef object;
  vq_status status;
  vq_code code;     // of the first error
  vq_strbuf error;  // its text
  vq_fault fault;   // of the compiler, which ended it; `error` says which
} unit;

typedef struct job {
  const vq_layout *layout;
  const vq_target *target;
  unsigned n_target;
  bool entries;
  vq_ctx *ctx;
  const vq_unit *what;
  unit *unit;
  unsigned n_unit;
  atomic_uint next;
  atomic_bool failed;
  const vq_backend_options *opt;
  bool stopped;  // by opt->progress
} job;

static void keep_first(void *user, const vq_ctx *ctx, const vq_message *m) {
  (void)ctx;
  unit *u = user;
  if (m->severity != VQ_ERROR || u->error.n) return;
  u->code = m->code;
  vq_strbuf_add(&u->error, m->text.p, m->text.n);
}

static bool has_tiles(const vq_layout *l, const vq_target *t, const vq_target *end) {
  for (uint32_t k = 0; k < l->n_kernel; k++)
    if (l->kernel[k].plan.n_product && vq_kernel_target(&l->kernel[k], t, end) == t)
      return true;
  return false;
}

vq_unit *vq_units_of(const vq_layout *l, const vq_target *target, unsigned n_target,
                     unsigned *n, vq_arena *arena) {
  const vq_target *end = target + n_target;
  vq_unit *u = VQ_NEW_N(arena, vq_unit, 1 + n_target * (1 + (size_t)l->n_kernel));
  *n = 0;
  u[(*n)++] = (vq_unit){.kind = VQ_UNIT_TABLES};
  for (const vq_target *t = target; t < end; t++) {
    if (has_tiles(l, t, end)) u[(*n)++] = (vq_unit){VQ_UNIT_TILES, 0, t};
    for (uint32_t k = 0; k < l->n_kernel; k++)
      if (vq_kernel_target(&l->kernel[k], t, end) == t)
        u[(*n)++] = (vq_unit){VQ_UNIT_KERNEL, k, t};
  }
  return u;
}

static vq_status emit(const job *j, unsigned i, vq_llvm *l) {
  vq_unit u = j->what[i];
  switch (u.kind) {
    case VQ_UNIT_TABLES:
      return vq_emit_tables(l, j->layout, j->target, j->n_target, j->entries);
    case VQ_UNIT_KERNEL:
      return vq_emit_kernel(l, j->layout, u.kernel, u.target);
    case VQ_UNIT_TILES:
      return vq_emit_tiles(l, j->layout, u.target, j->target + j->n_target);
  }
  VQ_BUG("unit kind %d", (int)u.kind);
}

static void compile(job *j, unsigned i) {
  unit *u = &j->unit[i];
  vq_diag diag;
  vq_diag_init(&diag, j->ctx, keep_first, u);
  vq_llvm l;
  u->status = vq_llvm_open(&l, j->layout->symbol, &diag);
  if (!u->status) u->status = emit(j, i, &l);
  if (!u->status) u->status = vq_object_emit(&l, VQ_EMIT_OBJ, &u->object);
  if (u->status) atomic_store(&j->failed, true);
  vq_llvm_close(&l);
}

typedef struct task {
  job *j;
  unsigned i;
} task;

static void do_task(void *user) {
  const task *t = user;
  compile(t->j, t->i);
}

static void keep_fault(void *user, vq_fault kind, const char *text) {
  const task *t = user;
  unit *u = &t->j->unit[t->i];
  u->fault = kind;
  u->error.n = 0;
  vq_strbuf_puts(&u->error, text);
}

// False when there is none left.
static bool take_one(job *j) {
  task t = {j, atomic_fetch_add(&j->next, 1)};
  if (t.i >= j->n_unit || atomic_load(&j->failed)) return false;
  if (!vq_guarded(do_task, &t, keep_fault)) atomic_store(&j->failed, true);
  return true;
}

static void *work(void *user) {
  while (take_one(user)) continue;
  return NULL;
}

static void work_and_tell(job *j) {
  while (take_one(j)) {
    unsigned done = atomic_load(&j->next);
    if (done > j->n_unit) done = j->n_unit;
    if (!j->opt->progress || !j->opt->progress(j->opt->user, done, j->n_unit)) continue;
    j->stopped = true;
    atomic_store(&j->failed, true);
  }
}

// A thread that cannot be had is done without.
static void work_on_threads(job *j, unsigned n) {
  enum { MAX = 64 };
  pthread_t thread[MAX];
  unsigned started = 0;
  if (n == 0) {
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    n = online > 0 ? (unsigned)online : 1;
  }
  if (n > j->n_unit) n = j->n_unit;
  if (n > MAX) n = MAX;
  while (started + 1 < n &&
         pthread_create(&thread[started], NULL, work, j) == 0)
    started++;
  work_and_tell(j);
  while (started) pthread_join(thread[--started], NULL);
}

// A fault goes on here, on the thread that knows what to do about it.
static void raise_faults(const job *j) {
  for (unsigned i = 0; i < j->n_unit; i++)
    if (j->unit[i].fault)
      vq_fault_raise(j->unit[i].fault, vq_strbuf_z(&j->unit[i].error));
}

static vq_status report(const job *j, vq_diag *diag) {
  if (j->stopped) return VQ_ERR;
  for (unsigned i = 0; i < j->n_unit; i++) {
    unit *u = &j->unit[i];
    if (u->status)
      return vq_error(diag, u->code, (vq_loc){0}, "%s", vq_strbuf_z(&u->error));
  }
  return VQ_OK;
}

vq_status vq_units_compile(vq_objects *out, const vq_layout *layout,
                           const vq_target *target, unsigned n_target,
                           bool entries, const vq_backend_options *opt,
                           vq_arena *arena, vq_diag *diag) {
  static const vq_backend_options none;
  job j = {.layout = layout, .target = target, .n_target = n_target,
           .entries = entries, .ctx = diag->ctx,
           .opt = opt ? opt : &none};
  j.what = vq_units_of(layout, target, n_target, &j.n_unit, arena);
  j.unit = VQ_NEW_N(arena, unit, j.n_unit);
  work_on_threads(&j, j.opt->n_thread);
  raise_faults(&j);
  vq_status st = report(&j, diag);
  *out = (vq_objects){VQ_NEW_N(arena, LLVMMemoryBufferRef, j.n_unit), j.n_unit};
  for (unsigned i = 0; i < j.n_unit; i++) {
    out->object[i] = j.unit[i].object;
    vq_strbuf_release(&j.unit[i].error);
  }
  if (st) vq_objects_release(out);
  return st;
}

void vq_objects_release(vq_objects *o) {
  for (unsigned i = 0; i < o->n; i++)
    if (o->object[i]) LLVMDisposeMemoryBuffer(o->object[i]);
  o->n = 0;
}
