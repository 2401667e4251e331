// The tables of vitq_abi.h as LLVM constants, and the functions around them.
//
// All data is constant; the few addresses in the tables are relocated at load
// time and read-only afterwards. The weights are no part of any LLVM module.
#include "emit_model.h"

#include "emit_kernel.h"
#include "preprocess.h"
#include "vq/strbuf.h"

#define FIELDS(...) (LLVMValueRef[]){__VA_ARGS__}, \
                    sizeof((LLVMValueRef[]){__VA_ARGS__}) / sizeof(LLVMValueRef)

typedef struct tables {
  vq_llvm *l;
  const vq_layout *layout;
  vq_arena *temp;
  LLVMTypeRef i32, i64, f32, ptr;
  LLVMValueRef blob, model;
} tables;

static LLVMValueRef k32(tables *t, uint64_t v) {
  return LLVMConstInt(t->i32, v, false);
}
static LLVMValueRef k64(tables *t, uint64_t v) {
  return LLVMConstInt(t->i64, v, false);
}
static LLVMValueRef kf(tables *t, float v) { return LLVMConstReal(t->f32, v); }

static LLVMValueRef record(tables *t, LLVMValueRef *field, unsigned n,
                           size_t size) {
  LLVMValueRef v = LLVMConstStructInContext(t->l->lc, field, n, false);
  LLVMTargetDataRef td = LLVMGetModuleDataLayout(t->l->mod);
  if (LLVMABISizeOfType(td, LLVMTypeOf(v)) != size)
    VQ_BUG("a table of vitq_abi.h and its LLVM form differ in size");
  return v;
}

// A constant no other file sees.
static LLVMValueRef hidden(tables *t, LLVMValueRef init, const char *name) {
  LLVMValueRef g = LLVMAddGlobal(t->l->mod, LLVMTypeOf(init), name);
  LLVMSetInitializer(g, init);
  LLVMSetGlobalConstant(g, true);
  LLVMSetLinkage(g, LLVMInternalLinkage);
  return g;
}

static LLVMValueRef text(tables *t, vq_str s) {
  LLVMValueRef init = LLVMConstStringInContext2(t->l->lc, s.p ? s.p : "", s.n, 0);
  LLVMValueRef g = hidden(t, init, "str");
  LLVMSetLinkage(g, LLVMPrivateLinkage);
  LLVMSetAlignment(g, 1);
  LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
  return g;
}

// An array of `n` equal constants; NULL pointer when empty.
static LLVMValueRef array(tables *t, LLVMValueRef *item, unsigned n,
                          const char *name) {
  if (n == 0) return LLVMConstNull(t->ptr);
  return hidden(t, LLVMConstArray2(LLVMTypeOf(item[0]), item, n), name);
}

// ---- the parts -----------------------------------------------------------------

static LLVMValueRef tensor_info(tables *t, vq_str name, const vq_type *type) {
  LLVMValueRef dim[VITQ_MAX_RANK];
  for (unsigned i = 0; i < VITQ_MAX_RANK; i++)
    dim[i] = k64(t, i < type->rank ? (uint64_t)type->dim[i] : 0);
  uint64_t bytes = (uint64_t)(vq_type_bytes(type) / t->layout->batch);
  return record(t,
                FIELDS(text(t, name), k32(t, type->dtype), k32(t, type->rank),
                       LLVMConstArray2(t->i64, dim, VITQ_MAX_RANK),
                       k64(t, bytes)),
                sizeof(vitq_tensor_info));
}

// The name of a parameter or result; unnamed ones are called by number.
static vq_str name_or(tables *t, vq_str name, const char *kind, unsigned i) {
  if (name.n) return name;
  vq_strbuf s = {0};
  vq_strbuf_printf(&s, "%s%u", kind, i);
  name = vq_arena_str(t->temp, vq_strbuf_view(&s));
  vq_strbuf_release(&s);
  return name;
}

static LLVMValueRef inputs(tables *t) {
  const vq_func *f = t->layout->main;
  LLVMValueRef *v = VQ_NEW_N(t->temp, LLVMValueRef, f->n_arg);
  for (unsigned i = 0; i < f->n_arg; i++)
    v[i] = tensor_info(t, name_or(t, f->arg[i].name, "input", i), f->arg[i].type);
  return array(t, v, f->n_arg, "inputs");
}

static LLVMValueRef outputs(tables *t) {
  const vq_func *f = t->layout->main;
  LLVMValueRef *v = VQ_NEW_N(t->temp, LLVMValueRef, f->n_result);
  for (unsigned i = 0; i < f->n_result; i++)
    v[i] = tensor_info(t, name_or(t, f->result_name[i], "output", i),
                       f->result[i]);
  return array(t, v, f->n_result, "outputs");
}

static LLVMValueRef kernels(tables *t) {
  const vq_layout *l = t->layout;
  LLVMValueRef *v = VQ_NEW_N(t->temp, LLVMValueRef, l->n_kernel);
  for (unsigned i = 0; i < l->n_kernel; i++) {
    const vq_layout_kernel *k = &l->kernel[i];
    v[i] = record(t,
                  FIELDS(text(t, k->func->name),
                         k32(t, k->func->n_result + k->func->n_arg + (k->n_number > 0)),
                         k32(t, k->plan.scratch_bytes),
                         k64(t, (uint64_t)k->plan.n_task),
                         k64(t, (uint64_t)k->macs)),
                  sizeof(vitq_kernel));
  }
  return array(t, v, l->n_kernel, "kernels");
}

static LLVMValueRef steps(tables *t) {
  const vq_layout *l = t->layout;
  LLVMValueRef *v = VQ_NEW_N(t->temp, LLVMValueRef, l->n_step);
  for (unsigned i = 0; i < l->n_step; i++) {
    const vq_layout_step *s = &l->step[i];
    LLVMValueRef *arg = VQ_NEW_N(t->temp, LLVMValueRef, s->n_arg);
    for (unsigned k = 0; k < s->n_arg; k++)
      arg[k] = record(t, FIELDS(k64(t, s->arg[k].space), k64(t, s->arg[k].offset)),
                      sizeof(vitq_operand));
    v[i] = record(t,
                  FIELDS(k32(t, s->kernel), k32(t, s->n_arg),
                         array(t, arg, s->n_arg, "args"),
                         text(t, name_or(t, s->name, "step", i))),
                  sizeof(vitq_step));
  }
  return array(t, v, l->n_step, "steps");
}

// A kernel of this module, or a declaration of one in another unit.
static LLVMValueRef kernel_fn(tables *t, uint32_t k, const vq_target *target) {
  vq_strbuf name = {0};
  vq_kernel_symbol(&name, t->layout, k, target);
  LLVMValueRef fn = LLVMGetNamedFunction(t->l->mod, vq_strbuf_z(&name));
  if (!fn) {
    LLVMTypeRef type =
        LLVMFunctionType(LLVMVoidTypeInContext(t->l->lc), NULL, 0, false);
    fn = LLVMAddFunction(t->l->mod, vq_strbuf_z(&name), type);
    LLVMSetVisibility(fn, LLVMHiddenVisibility);
  }
  vq_strbuf_release(&name);
  return fn;
}

// Those of `*n` rows that have code; *n becomes their number.
static LLVMValueRef variants(tables *t, const vq_target *target, unsigned *n) {
  uint32_t n_kernel = t->layout->n_kernel;
  const vq_target *end = target + *n;
  LLVMValueRef *v = VQ_NEW_N(t->temp, LLVMValueRef, *n);
  LLVMValueRef *fn = VQ_NEW_N(t->temp, LLVMValueRef, n_kernel);
  *n = 0;
  for (; target < end; target++) {
    if (!vq_target_has_code(t->layout, target, end)) continue;
    for (uint32_t k = 0; k < n_kernel; k++)
      fn[k] = kernel_fn(t, k, vq_kernel_target(&t->layout->kernel[k], target, end));
    v[(*n)++] = record(t,
                       FIELDS(text(t, vq_str_of(target->name)), k64(t, target->requires),
                              array(t, fn, n_kernel, "kernel_fns")),
                       sizeof(vitq_variant));
  }
  return array(t, v, *n, "variants");
}

static LLVMValueRef preprocess(tables *t, const vitq_preprocess *p) {
  LLVMValueRef mean[4], std[4];
  for (unsigned i = 0; i < 4; i++) {
    mean[i] = kf(t, p->mean[i]);
    std[i] = kf(t, p->std[i]);
  }
  LLVMValueRef v = record(
      t,
      FIELDS(k32(t, p->size), k32(t, p->stated), k32(t, p->resize),
             k32(t, p->crop), k32(t, p->interp), k32(t, p->channels),
             kf(t, p->scale), LLVMConstArray2(t->f32, mean, 4),
             LLVMConstArray2(t->f32, std, 4)),
      sizeof *p);
  return hidden(t, v, "preprocess");
}

static LLVMValueRef labels(tables *t, unsigned n) {
  LLVMValueRef *v = VQ_NEW_N(t->temp, LLVMValueRef, n);
  vq_str rest = vq_meta_get(t->layout->m, "labels");
  for (unsigned i = 0; i < n; i++) v[i] = text(t, vq_label_next(&rest));
  return array(t, v, n, "labels");
}

static LLVMValueRef meta(tables *t, unsigned *n) {
  *n = 0;
  for (vq_meta *e = t->layout->m->meta; e; e = e->next) *n += vq_meta_is_plain(e);
  LLVMValueRef *v = VQ_NEW_N(t->temp, LLVMValueRef, (size_t)*n * 2), *p = v;
  for (vq_meta *e = t->layout->m->meta; e; e = e->next) {
    if (!vq_meta_is_plain(e)) continue;
    *p++ = text(t, e->key);
    *p++ = text(t, e->value);
  }
  return array(t, v, *n * 2, "meta");
}

// ---- constants ------------------------------------------------------------------

// One 64-byte aligned hidden symbol, which another object defines.
static LLVMValueRef constants(tables *t) {
  vq_strbuf name = {0};
  vq_strbuf_printf(&name, "%s_constants", t->layout->symbol);
  LLVMTypeRef i8 = LLVMInt8TypeInContext(t->l->lc);
  LLVMValueRef g = LLVMAddGlobal(
      t->l->mod, LLVMArrayType2(i8, t->layout->constant_bytes),
      vq_strbuf_z(&name));
  vq_strbuf_release(&name);
  LLVMSetGlobalConstant(g, true);
  LLVMSetAlignment(g, VITQ_ALIGN);
  LLVMSetVisibility(g, LLVMHiddenVisibility);
  return g;
}

// ---- functions --------------------------------------------------------------------

typedef struct function {
  LLVMValueRef fn;
  LLVMTypeRef type;
  LLVMBuilderRef b;
} function;

// Starts exported function `<symbol><suffix>`.
static function begin_function(tables *t, const char *suffix, LLVMTypeRef ret,
                               LLVMTypeRef *param, unsigned n) {
  vq_strbuf name = {0};
  vq_strbuf_printf(&name, "%s%s", t->layout->symbol, suffix);
  function f = {.type = LLVMFunctionType(ret, param, n, false)};
  f.fn = LLVMAddFunction(t->l->mod, vq_strbuf_z(&name), f.type);
  vq_strbuf_release(&name);
  vq_llvm_attr(t->l->lc, f.fn, LLVMAttributeFunctionIndex, "nounwind", 0);
  f.b = LLVMCreateBuilderInContext(t->l->lc);
  LLVMPositionBuilderAtEnd(
      f.b, LLVMAppendBasicBlockInContext(t->l->lc, f.fn, "entry"));
  return f;
}

static void end_function(function f, LLVMValueRef value) {
  LLVMBuildRet(f.b, value);
  LLVMDisposeBuilder(f.b);
}

// const vitq_model *<symbol>_query(uint32_t max_version). Its other name is
// weak, so that several models can be linked into one program.
static void emit_query(tables *t, bool alias) {
  function f = begin_function(t, "_query", t->ptr, &t->i32, 1);
  LLVMValueRef known =
      LLVMBuildICmp(f.b, LLVMIntUGE, LLVMGetParam(f.fn, 0),
                    k32(t, VITQ_ABI_VERSION), "");
  end_function(f, LLVMBuildSelect(f.b, known, t->model,
                                  LLVMConstNull(t->ptr), ""));
  if (!alias) return;
  LLVMValueRef a = LLVMAddAlias2(t->l->mod, f.type, 0, f.fn, VITQ_QUERY_SYMBOL);
  LLVMSetLinkage(a, LLVMWeakAnyLinkage);
}

// Starts `<symbol><suffix>`, which forwards its arguments to `callee` of the
// runtime with the model put first.
static void emit_forward(tables *t, const char *suffix, const char *callee,
                         LLVMTypeRef ret, LLVMTypeRef *param, unsigned n) {
  function f = begin_function(t, suffix, ret, param + 1, n - 1);
  LLVMTypeRef type = LLVMFunctionType(ret, param, n, false);
  LLVMValueRef to = LLVMAddFunction(t->l->mod, callee, type);
  LLVMSetVisibility(to, LLVMHiddenVisibility);
  LLVMValueRef arg[8] = {t->model};
  for (unsigned i = 1; i < n; i++) arg[i] = LLVMGetParam(f.fn, i - 1);
  end_function(f, LLVMBuildCall2(f.b, type, to, arg, n, ""));
}

static void emit_entries(tables *t) {
  LLVMTypeRef run[] = {t->ptr, t->i64, t->ptr, t->ptr, t->ptr};
  emit_forward(t, "_run", "vitq_rt_run_model", t->i32, run, 5);
  emit_forward(t, "_workspace", "vitq_rt_workspace", t->i64, run, 1);
}

// ---- the whole ----------------------------------------------------------------------

static vq_status emit_tables(tables *t, const vq_target *target,
                             unsigned n_target, bool entries) {
  const vq_layout *l = t->layout;
  vitq_preprocess p;
  if (vq_preprocess_read(l->m, &p, t->l->diag)) return VQ_ERR;
  t->blob = constants(t);
  unsigned n_label = vq_label_count(l->m), n_meta;
  LLVMValueRef pairs = meta(t, &n_meta);
  LLVMValueRef variant = variants(t, target, &n_target);
  LLVMValueRef model = record(
      t,
      FIELDS(k32(t, VITQ_ABI_VERSION), k32(t, sizeof(vitq_model)),
             text(t, l->m->name), text(t, VQ_LIT("vitqc " VITQC_VERSION)),
             k32(t, l->main->n_arg), k32(t, l->main->n_result), inputs(t),
             outputs(t), k32(t, (uint64_t)l->batch), k32(t, n_target), variant,
             k32(t, l->n_kernel), k32(t, l->n_step), kernels(t), steps(t),
             k64(t, l->arena_bytes),
             t->blob, k64(t, l->constant_bytes), preprocess(t, &p),
             k32(t, n_label), k32(t, n_meta), labels(t, n_label), pairs),
      sizeof(vitq_model));
  t->model = hidden(t, model, "model");
  emit_query(t, entries);
  if (entries) emit_entries(t);
  return VQ_OK;
}

vq_status vq_emit_tables(vq_llvm *l, const vq_layout *layout,
                         const vq_target *target, unsigned n_target,
                         bool entries) {
  vq_arena temp = {0};
  tables t = {.l = l, .layout = layout, .temp = &temp,
              .i32 = LLVMInt32TypeInContext(l->lc),
              .i64 = LLVMInt64TypeInContext(l->lc),
              .f32 = LLVMFloatTypeInContext(l->lc),
              .ptr = LLVMPointerTypeInContext(l->lc, 0)};
  vq_status st = emit_tables(&t, target, n_target, entries);
  vq_arena_release(&temp);
  return st;
}

// Kernels are optimized one by one, as they are in compile units: the text is
// that of the code in a shared object.
vq_status vq_emit_model(vq_llvm *l, const vq_layout *layout,
                        const vq_target *target, unsigned n_target) {
  const vq_target *end = target + n_target;
  for (const vq_target *t = target; t < end; t++)
    for (uint32_t k = 0; k <= layout->n_kernel; k++) {
      bool tiles = k == layout->n_kernel;
      if (!tiles && vq_kernel_target(&layout->kernel[k], t, end) != t) continue;
      vq_llvm one = vq_llvm_sibling(l);
      vq_status st = tiles ? vq_emit_tiles(&one, layout, t, end)
                           : vq_emit_kernel(&one, layout, k, t);
      vq_llvm_join(l, &one);
      if (st) return st;
    }
  return vq_emit_tables(l, layout, target, n_target, true);
}
