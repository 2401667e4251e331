// The frame around every emitter.
//
// A kernel becomes two functions. The outer one has the uniform signature of
// vitq_kernel_fn: it loads the addresses from `arg` and calls the inner one,
// which takes each address as a noalias parameter. That is the only place
// where LLVM learns that results and operands do not overlap, so the inner
// function is never inlined: scoped metadata would survive less well.
#include "emit_kernel.h"

#include <ctype.h>

#include "amx.h"
#include "bias.h"
#include "loop.h"
#include "tile.h"
#include "vq/strbuf.h"

#define EMITTER(name, loops, help)                                  \
  bool match_##name(const vq_func *kernel, vq_kernel_plan *plan);   \
  vq_status emit_##name(vq_emit *e);
#include "emit.def"
#undef EMITTER

const vq_emitter *vq_emitter_for(const vq_func *kernel, bool generic,
                                 vq_kernel_plan *plan) {
  static const vq_emitter table[] = {
#define EMITTER(name, loops, help) \
  {#name, match_##name, emit_##name, VQ_LOOPS_##loops},
#include "emit.def"
#undef EMITTER
  };
  for (unsigned i = generic ? VQ_COUNT(table) - 1 : 0; i < VQ_COUNT(table); i++) {
    *plan = (vq_kernel_plan){.n_task = 1};
    if (table[i].match(kernel, plan)) return &table[i];
  }
  return NULL;
}

// The next row without instructions for products of codes, whose code `t` can run.
static const vq_target *plainer(const vq_target *t, const vq_target *end) {
  for (const vq_target *p = t; p < end; p++)
    if (!p->vnni && p->amx == VQ_AMX_NONE && !(p->requires & ~t->requires)) return p;
  return t;
}

const vq_target *vq_kernel_target(const vq_layout_kernel *k, const vq_target *t,
                                  const vq_target *end) {
  if (k->minor) return plainer(t, end);
  if (!t->codes_only || t + 1 == end) return t;
  for (unsigned i = 0; i < k->plan.n_product; i++) {
    const vq_product *p = &k->plan.product[i];
    if (t->amx == VQ_AMX_NONE ? p->codes : vq_amx_takes(t, p)) return t;
  }
  return t + 1;
}

bool vq_target_has_code(const vq_layout *l, const vq_target *t, const vq_target *end) {
  if (t + 1 == end) return true;
  for (uint32_t k = 0; k < l->n_kernel; k++)
    if (vq_kernel_target(&l->kernel[k], t, end) == t) return true;
  return false;
}

// Models may be linked into one program, hence the prefix.
void vq_kernel_symbol(vq_strbuf *s, const vq_layout *l, uint32_t kernel,
                      const vq_target *t) {
  vq_strbuf_printf(s, "%s.%.*s.%s", l->symbol,
                   VQ_FMT(l->kernel[kernel].func->name), t->name);
  for (size_t i = 0; i < s->n; i++)
    if (!isalnum((unsigned char)s->p[i]) && s->p[i] != '.') s->p[i] = '_';
}

static LLVMValueRef new_function(vq_llvm *l, const char *name, LLVMTypeRef type,
                                 const vq_target *t) {
  LLVMValueRef fn = LLVMAddFunction(l->mod, name, type);
  vq_llvm_set_target(l, fn, t);
  return fn;
}

// Kernels of little weight are made short: loops are not aligned, for one thing. So is the
// variant that any CPU can run, but not what LLVM vectorises.
static void make_short(vq_llvm *l, const vq_layout_kernel *k, const vq_emit *e) {
  if (k->emitter->loops == VQ_LOOPS_PLAIN || !(k->minor || e->target->requires == 0)) return;
  vq_llvm_attr(l->lc, e->fn, LLVMAttributeFunctionIndex, "optsize", 0);
}

static void mark_pointer(vq_emit *e, unsigned param, int64_t size, bool read_only) {
  vq_llvm_attr(e->lc, e->fn, param, "noalias", 0);
  vq_llvm_attr(e->lc, e->fn, param, "nocapture", 0);
  if (read_only) vq_llvm_attr(e->lc, e->fn, param, "readonly", 0);
  if (size)
    vq_llvm_attr(e->lc, e->fn, param, "dereferenceable", (uint64_t)size);
}

// Addresses that a step passes: results, operands, numbers.
static unsigned n_address(const vq_layout_kernel *k) {
  return k->func->n_result + k->func->n_arg + (k->n_number > 0);
}

static vq_value *kernel_result(const vq_func *f, unsigned i) {
  return vq_in(f->last, i);
}

static int64_t operand_bytes(const vq_layout_kernel *k, unsigned i) {
  const vq_value *v = &k->func->arg[i];
  if (v != k->plan.bias) return vq_type_bytes(v->type);
  return (int64_t)vq_bias_bytes(vq_type_count(v->type), k->plan.bias_bytes);
}

// The inner function: results, operands, numbers, begin, end, scratch.
static vq_status emit_body(vq_llvm *l, const vq_layout_kernel *k, vq_emit *e,
                           const char *name, LLVMTypeRef type) {
  const vq_func *f = k->func;
  unsigned n = n_address(k);
  e->fn = new_function(l, name, type, e->target);
  LLVMSetLinkage(e->fn, LLVMInternalLinkage);
  make_short(l, k, e);
  vq_llvm_attr(l->lc, e->fn, LLVMAttributeFunctionIndex, "noinline", 0);
  e->result = VQ_NEW_N(e->temp, LLVMValueRef, f->n_result);
  e->operand = VQ_NEW_N(e->temp, LLVMValueRef, f->n_arg);
  for (unsigned i = 0; i < f->n_result; i++) {
    e->result[i] = LLVMGetParam(e->fn, i);
    mark_pointer(e, i + 1, vq_type_bytes(kernel_result(f, i)->type), false);
  }
  for (unsigned i = 0; i < f->n_arg; i++) {
    e->operand[i] = LLVMGetParam(e->fn, f->n_result + i);
    mark_pointer(e, f->n_result + i + 1, operand_bytes(k, i), true);
  }
  if (k->n_number) {
    e->numbers = LLVMGetParam(e->fn, n - 1);
    vq_llvm_attr(l->lc, e->fn, n, "noalias", 0);
    vq_llvm_attr(l->lc, e->fn, n, "nocapture", 0);
    vq_llvm_attr(l->lc, e->fn, n, "readonly", 0);
    vq_llvm_attr(l->lc, e->fn, n, "dereferenceable", 4 * (uint64_t)k->n_number);
  }
  e->begin = LLVMGetParam(e->fn, n);
  e->end = LLVMGetParam(e->fn, n + 1);
  e->scratch = LLVMGetParam(e->fn, n + 2);
  vq_llvm_attr(l->lc, e->fn, n + 3, "noalias", 0);
  vq_llvm_attr(l->lc, e->fn, n + 3, "nocapture", 0);
  LLVMPositionBuilderAtEnd(e->b,
                           LLVMAppendBasicBlockInContext(l->lc, e->fn, "entry"));
  if (k->emitter->emit(e)) return VQ_ERR;
  LLVMBuildRetVoid(e->b);
  return VQ_OK;
}

// The outer function: void (ptr arg, i64 begin, i64 end, ptr scratch).
static void emit_wrapper(vq_llvm *l, const vq_layout_kernel *k, vq_emit *e,
                         const char *name, LLVMTypeRef body_type) {
  unsigned n = n_address(k);
  LLVMTypeRef param[] = {e->ptr, e->i64, e->i64, e->ptr};
  LLVMTypeRef type = LLVMFunctionType(e->void_, param, 4, false);
  LLVMValueRef body = e->fn, fn = new_function(l, name, type, e->target);
  LLVMSetVisibility(fn, LLVMHiddenVisibility);
  LLVMPositionBuilderAtEnd(e->b,
                           LLVMAppendBasicBlockInContext(l->lc, fn, "entry"));
  LLVMValueRef *arg = VQ_NEW_N(e->temp, LLVMValueRef, n + 3);
  for (unsigned i = 0; i < n; i++)
    arg[i] = vq_load(e, e->ptr, vq_atk(e, e->ptr, LLVMGetParam(fn, 0), i), 8);
  for (unsigned i = 0; i < 3; i++) arg[n + i] = LLVMGetParam(fn, i + 1);
  LLVMBuildCall2(e->b, body_type, body, arg, n + 3, "");
  LLVMBuildRetVoid(e->b);
}

// Without a function yet. The builder is the caller's to dispose of.
static vq_emit start(vq_llvm *l, const vq_layout *layout, const vq_target *t,
                     vq_arena *temp) {
  return (vq_emit){.lc = l->lc, .mod = l->mod, .target = t, .diag = l->diag,
                   .model = layout->symbol, .temp = temp,
                   .f32 = LLVMFloatTypeInContext(l->lc),
                   .i64 = LLVMInt64TypeInContext(l->lc),
                   .i32 = LLVMInt32TypeInContext(l->lc),
                   .i8 = LLVMInt8TypeInContext(l->lc),
                   .i1 = LLVMInt1TypeInContext(l->lc),
                   .ptr = LLVMPointerTypeInContext(l->lc, 0),
                   .void_ = LLVMVoidTypeInContext(l->lc),
                   .b = LLVMCreateBuilderInContext(l->lc)};
}

static vq_status emit_kernel(vq_llvm *l, const vq_layout *layout,
                             uint32_t kernel, const vq_target *t,
                             vq_arena *temp) {
  const vq_layout_kernel *k = &layout->kernel[kernel];
  const vq_func *f = k->func;
  unsigned n = n_address(k);
  vq_emit e = start(l, layout, t, temp);
  e.kernel = f, e.plan = &k->plan;
  LLVMTypeRef *param = VQ_NEW_N(temp, LLVMTypeRef, n + 3);
  for (unsigned i = 0; i < n + 3; i++)
    param[i] = i == n || i == n + 1 ? e.i64 : e.ptr;
  LLVMTypeRef type = LLVMFunctionType(e.void_, param, n + 3, false);
  vq_strbuf name = {0}, body = {0};
  vq_kernel_symbol(&name, layout, kernel, t);
  vq_strbuf_printf(&body, "%s.body", vq_strbuf_z(&name));
  vq_status st = emit_body(l, k, &e, vq_strbuf_z(&body), type);
  if (!st) emit_wrapper(l, k, &e, vq_strbuf_z(&name), type);
  vq_strbuf_release(&name);
  vq_strbuf_release(&body);
  LLVMDisposeBuilder(e.b);
  return st;
}

vq_status vq_emit_kernel(vq_llvm *l, const vq_layout *layout, uint32_t kernel,
                         const vq_target *t) {
  vq_arena temp = {0};
  vq_status st = emit_kernel(l, layout, kernel, t, &temp);
  vq_arena_release(&temp);
  if (st) return st;
  return vq_llvm_optimize(l, layout->kernel[kernel].emitter->loops);
}

// ---- tiles -----------------------------------------------------------------------

static void add_tile(void *user, vq_tile_id id) {
  vq_tiles *s = user;
  for (unsigned i = 0; i < s->n; i++)
    if (s->id[i].rows == id.rows && s->id[i].vecs == id.vecs &&
        s->id[i].kind == id.kind)
      return;
  assert(s->n < VQ_COUNT(s->id));
  s->id[s->n++] = id;
}

void vq_tiles_of(vq_tiles *s, const vq_layout *l, const vq_target *t,
                 const vq_target *end) {
  s->n = 0;
  for (uint32_t k = 0; k < l->n_kernel; k++) {
    if (vq_kernel_target(&l->kernel[k], t, end) != t) continue;
    for (unsigned i = 0; i < l->kernel[k].plan.n_product; i++)
      vq_tile_shapes(t, &l->kernel[k].plan.product[i], add_tile, s);
  }
}

static void emit_tile(vq_llvm *l, vq_emit *e, vq_tile_id id) {
  vq_strbuf name = {0};
  vq_tile_symbol(&name, e->model, e->target, id);
  e->fn = new_function(l, vq_strbuf_z(&name), vq_tile_type(e, id), e->target);
  LLVMSetVisibility(e->fn, LLVMHiddenVisibility);
  vq_strbuf_release(&name);
  LLVMPositionBuilderAtEnd(e->b,
                           LLVMAppendBasicBlockInContext(l->lc, e->fn, "entry"));
  vq_tile_body(e, id);
  LLVMBuildRetVoid(e->b);
}

vq_status vq_emit_tiles(vq_llvm *l, const vq_layout *layout,
                        const vq_target *t, const vq_target *end) {
  vq_arena temp = {0};
  vq_tiles s;
  vq_tiles_of(&s, layout, t, end);
  vq_emit e = start(l, layout, t, &temp);
  for (unsigned i = 0; i < s.n; i++) emit_tile(l, &e, s.id[i]);
  LLVMDisposeBuilder(e.b);
  vq_arena_release(&temp);
  return vq_llvm_optimize(l, VQ_LOOPS_BLOCKED);
}
