// Reading an outlined, planned @main as a step table.
//
// Views (reshape) make no step: their result is another name of their operand.
// So every argument of a call is found by walking views down to a root: an
// input, a constant, or the result of a call, which is either a model output
// (offset -1) or a place in the arena. The offsets come from the IR, which may
// have been edited by hand, so they are checked here once more; the size of
// the arena is computed from them instead of being believed.
#include "layout.h"

#include <ctype.h>

#include "bias.h"
#include "numbers.h"

#define MAX_ARENA (INT64_C(1) << 40)
#define MINOR_PART 256   // of the work of a model: what its minor kernels have at most
#define ELEMENT_MACS 8   // multiply-accumulates that an element takes as long as

typedef struct build {
  vq_layout *l;
  bool generic;
  uint32_t *number;  // of all steps so far, from l->constant_bytes on
  uint32_t n_number;
  vq_arena *arena;
  vq_diag *diag;
} build;

static vq_value *root_of(vq_value *v) {
  while (v->kind == VQ_VALUE_RESULT && vq_has_trait(v->def, VQ_TRAIT_VIEW))
    v = vq_in(v->def, 0);
  return v;
}

// ---- constants --------------------------------------------------------------

static vq_status no_data(build *b, const vq_const *c) {
  return vq_error(b->diag, VQ_E_blob, (vq_loc){0}, "constant '%.*s' has no data",
                  VQ_FMT(c->value.name));
}

static bool used_in(const vq_value *v, const vq_func *f) {
  vq_each_use(v, u) {
    if (u->user->func == f) return true;
  }
  return false;
}

static uint64_t align_up(uint64_t n, uint64_t align) { return (n + align - 1) & -align; }

// A constant smaller than a cache line lies at a multiple of its size, rounded up to a power
// of two: dozens of scales would each take a line otherwise.
static uint64_t constant_align(uint64_t size) {
  uint64_t align = 1;
  while (align < size && align < VITQ_ALIGN) align *= 2;
  return align;
}

static void place_bytes(vq_layout *l, vq_layout_const *p) {
  p->offset = align_up(l->constant_bytes, constant_align(p->size));
  l->constant_bytes = p->offset + p->size;
}

static uint64_t stored_bytes(const vq_layout *l, const vq_const *c) {
  unsigned width = vq_bias_width(l, c);
  return width < 4 ? vq_bias_bytes(vq_type_count(c->value.type), width)
                   : (uint64_t)vq_type_bytes(c->value.type);
}

// Lays out one constant; equal bytes once.
static vq_status place_constant(build *b, vq_const *c, vq_map *seen) {
  vq_layout *l = b->l;
  vq_layout_const *p = &l->constant[l->n_constant++];
  *p = (vq_layout_const){.c = c, .bytes = vq_const_bytes(c), .size = stored_bytes(l, c)};
  if (!p->bytes && p->size) return no_data(b, c);
  p->bytes = vq_bias_store(p->bytes, vq_type_count(c->value.type), vq_bias_width(l, c),
                           b->arena);
  void **slot = vq_map_put(seen, (vq_str){p->bytes, p->size});
  p->shared = *slot != NULL;
  if (p->shared)
    p->offset = ((vq_layout_const *)*slot)->offset;
  else
    *slot = p, place_bytes(l, p);
  return VQ_OK;
}

// A kernel's own constant becomes part of its code.
static bool lacks_data(const vq_const *c) {
  return c->value.uses && vq_type_count(c->value.type) && c->init == VQ_INIT_MISSING;
}

// The constants @main uses, in module order: large ones, then those smaller than a line.
static vq_status place_constants(build *b) {
  vq_layout *l = b->l;
  uint32_t n = 0;
  vq_each_const(l->m, c) n += used_in(&c->value, l->main);
  l->constant = VQ_NEW_N(b->arena, vq_layout_const, n + 1);  // and the numbers
  vq_map seen = {0};
  vq_status st = VQ_OK;
  for (unsigned small = 0; small < 2 && !st; small++)
    vq_each_const(l->m, c) {
      if (st || (stored_bytes(l, c) < VITQ_ALIGN) != small) continue;
      if (used_in(&c->value, l->main))
        st = place_constant(b, c, &seen);
      else if (lacks_data(c))
        st = no_data(b, c);
    }
  vq_map_release(&seen);
  l->constant_bytes = align_up(l->constant_bytes, VITQ_ALIGN);
  return st;
}

// ---- kernels ------------------------------------------------------------------

static vq_status add_kernel(build *b, const vq_op *call, uint32_t *index) {
  vq_layout *l = b->l;
  const vq_func *f = vq_module_func(l->m, VQ_ATTRS(call, call)->callee);
  if (!f || f->kind != VQ_KERNEL)
    return vq_error(b->diag, VQ_E_name, call->loc, "'%.*s' is no kernel",
                    VQ_FMT(VQ_ATTRS(call, call)->callee));
  for (*index = 0; *index < l->n_kernel; ++*index)
    if (l->kernel[*index].func == f || vq_numbers_apart(l->kernel[*index].func, f))
      return VQ_OK;
  vq_layout_kernel *k = &l->kernel[l->n_kernel++];
  k->func = f;
  vq_each_op(f, op) k->macs += vq_op_macs(op);
  k->n_number = vq_numbers_of(f, NULL);
  k->emitter = vq_emitter_for(f, b->generic, &k->plan);
  if (k->emitter) return VQ_OK;
  return vq_error(b->diag, VQ_E_backend, call->loc,
                  "no emitter takes kernel '%.*s'", VQ_FMT(f->name));
}

// ---- minor kernels --------------------------------------------------------------

static int64_t work_of(const vq_func *f) {
  int64_t work = 0;
  vq_each_op(f, op) {
    work += vq_op_macs(op);
    for (unsigned i = 0; i < op->n_out; i++)
      work += ELEMENT_MACS * vq_type_count(op->out[i].type);
  }
  return work;
}

static bool is_integer(const vq_layout *l) {
  for (uint32_t k = 0; k < l->n_kernel; k++)
    for (unsigned i = 0; i < l->kernel[k].plan.n_product; i++)
      if (l->kernel[k].plan.product[i].codes) return true;
  return false;
}

// The kernel of the least work that is not minor yet.
static vq_layout_kernel *least_work(vq_layout *l) {
  vq_layout_kernel *least = NULL;
  for (vq_layout_kernel *k = l->kernel; k < l->kernel + l->n_kernel; k++)
    if (!k->minor && (!least || k->work < least->work)) least = k;
  return least;
}

// Kernels of the least work, until they have MINOR_PART of all: a head, what comes before
// the blocks, the rows of class tokens behind them. Code of integers computes the same in
// every variant; in models of floats vectors of another width add in another order.
static void mark_minor(vq_layout *l) {
  if (!is_integer(l)) return;
  int64_t all = 0, minor = 0;
  for (uint32_t k = 0; k < l->n_kernel; k++) all += l->kernel[k].work;
  for (vq_layout_kernel *k; (k = least_work(l)) && minor + k->work <= all / MINOR_PART;) {
    k->minor = true;
    minor += k->work;
  }
}

// ---- steps --------------------------------------------------------------------

// Finds which output of the model `root` is; false when none.
static bool output_index(const vq_func *main, const vq_value *root,
                         uint64_t *out) {
  const vq_op *ret = main->last;
  for (uint32_t i = 0; i < ret->n_in; i++) {
    *out = i;
    if (root_of(vq_in(ret, i)) == root) return true;
  }
  return false;
}

static vq_status locate_result(build *b, const vq_value *v, vitq_operand *out) {
  const vq_op *call = v->def;
  vq_ints offsets = VQ_ATTRS(call, call)->offsets;
  if (offsets.n != call->n_out)
    return vq_error(b->diag, VQ_E_property, call->loc,
                    "call has %u arena offsets for %u results", offsets.n,
                    call->n_out);
  int64_t at = offsets.p[v->idx];
  bool output = output_index(b->l->main, v, &out->offset);
  if (output != (at == -1))
    return vq_error(b->diag, VQ_E_property, call->loc,
                    "result %u has arena offset %lld but is %s model output",
                    v->idx, (long long)at, output ? "a" : "no");
  out->space = output ? VITQ_SPACE_OUTPUT : VITQ_SPACE_ARENA;
  if (output) return VQ_OK;
  if (at < 0 || at % VITQ_ALIGN || at > MAX_ARENA)
    return vq_error(b->diag, VQ_E_property, call->loc,
                    "arena offset %lld is not a multiple of %u below 2^40",
                    (long long)at, VITQ_ALIGN);
  out->offset = (uint64_t)at;
  uint64_t end = align_up(out->offset + (uint64_t)vq_type_bytes(v->type), VITQ_ALIGN);
  if (end > b->l->arena_bytes) b->l->arena_bytes = end;
  return VQ_OK;
}

static vq_status locate(build *b, vq_value *v, vitq_operand *out) {
  v = root_of(v);
  switch (v->kind) {
    case VQ_VALUE_ARG:
      *out = (vitq_operand){VITQ_SPACE_INPUT, v->idx};
      return VQ_OK;
    case VQ_VALUE_CONST:
      out->space = VITQ_SPACE_CONST;
      for (uint32_t i = 0; i < b->l->n_constant; i++)
        if (&b->l->constant[i].c->value == v)
          out->offset = b->l->constant[i].offset;
      return VQ_OK;
    case VQ_VALUE_RESULT:
      break;
  }
  return locate_result(b, v, out);
}

// Where the numbers of the kernel of a step lie among the constants; equal ones once.
static vitq_operand locate_numbers(build *b, const vq_func *kernel) {
  uint32_t own[VQ_MAX_NUMBERS];
  uint32_t n = vq_numbers_of(kernel, own), at = 0;
  while (at + n <= b->n_number && memcmp(b->number + at, own, n * sizeof *own)) at++;
  if (at + n > b->n_number) {
    memcpy(b->number + b->n_number, own, n * sizeof *own);
    at = b->n_number;
    b->n_number += n;
  }
  return (vitq_operand){VITQ_SPACE_CONST, b->l->constant_bytes + at * sizeof *own};
}

static void place_numbers(build *b) {
  vq_layout *l = b->l;
  if (!b->n_number) return;
  uint64_t size = b->n_number * sizeof *b->number;
  l->constant[l->n_constant++] =
      (vq_layout_const){.bytes = b->number, .offset = l->constant_bytes, .size = size};
  l->constant_bytes = align_up(l->constant_bytes + size, VITQ_ALIGN);
}

static vq_status add_step(build *b, const vq_op *call) {
  vq_layout_step *s = &b->l->step[b->l->n_step++];
  if (add_kernel(b, call, &s->kernel)) return VQ_ERR;
  vq_layout_kernel *k = &b->l->kernel[s->kernel];
  k->work += work_of(k->func);
  s->call = call;
  s->n_arg = call->n_out + call->n_in + (k->n_number > 0);
  s->name = call->n_out ? call->out[0].name : (vq_str){0};
  s->loc = call->loc;
  return VQ_OK;
}

// Steps, with their kernels, but without their arguments.
static vq_status add_steps(build *b) {
  vq_layout *l = b->l;
  uint32_t n = 0;
  vq_each_op(l->main, op) n += vq_has_trait(op, VQ_TRAIT_CALL);
  l->step = VQ_NEW_N(b->arena, vq_layout_step, n);
  l->kernel = VQ_NEW_N(b->arena, vq_layout_kernel, n);
  vq_each_op(l->main, op) {
    if (vq_has_trait(op, VQ_TRAIT_CALL) && add_step(b, op)) return VQ_ERR;
  }
  mark_minor(l);
  vq_bias_choose(l);
  return VQ_OK;
}

static vq_status locate_args(build *b, vq_layout_step *s) {
  const vq_op *call = s->call;
  vitq_operand *arg = VQ_NEW_N(b->arena, vitq_operand, s->n_arg);
  s->arg = arg;
  for (uint32_t i = 0; i < call->n_out; i++)
    if (locate(b, &call->out[i], arg++)) return VQ_ERR;
  for (uint32_t i = 0; i < call->n_in; i++)
    if (locate(b, vq_in(call, i), arg++)) return VQ_ERR;
  if (b->l->kernel[s->kernel].n_number)
    *arg = locate_numbers(b, vq_module_func(b->l->m, VQ_ATTRS(call, call)->callee));
  return VQ_OK;
}

static vq_status locate_all(build *b) {
  vq_layout *l = b->l;
  b->number = VQ_NEW_N(b->arena, uint32_t, (size_t)l->n_step * VQ_MAX_NUMBERS);
  for (uint32_t i = 0; i < l->n_step; i++)
    if (locate_args(b, &l->step[i])) return VQ_ERR;
  place_numbers(b);
  return VQ_OK;
}

// ---- the whole -----------------------------------------------------------------

// Every output must be a call's own result, so that its kernel writes it.
static vq_status check_outputs(const build *b) {
  const vq_op *ret = b->l->main->last;
  for (uint32_t i = 0; i < ret->n_in; i++) {
    vq_value *root = root_of(vq_in(ret, i));
    uint64_t first = 0;
    if (root->kind != VQ_VALUE_RESULT || !vq_has_trait(root->def, VQ_TRAIT_CALL))
      return vq_error(b->diag, VQ_E_property, ret->loc,
                      "result %u of @main is not computed by a kernel", i);
    if (output_index(b->l->main, root, &first) && first != i)
      return vq_error(b->diag, VQ_E_property, ret->loc,
                      "results %u and %u of @main are the same tensor",
                      (unsigned)first, i);
  }
  return VQ_OK;
}

// Samples per run: dimension 0 if all inputs and outputs agree on it, else 1.
static int64_t batch_of(const vq_func *main) {
  int64_t batch = 0;
  for (uint32_t i = 0; i < main->n_arg + main->n_result; i++) {
    const vq_type *t = i < main->n_arg ? main->arg[i].type
                                       : main->result[i - main->n_arg];
    if (t->rank == 0 || t->dim[0] < 1 || (batch && t->dim[0] != batch)) return 1;
    batch = t->dim[0];
    if (vq_type_bytes(t) % batch) return 1;
  }
  return batch ? batch : 1;
}

static const char *identifier(vq_arena *arena, vq_str name) {
  bool prefix = name.n == 0 || isdigit((unsigned char)name.p[0]);
  char *s = vq_arena_alloc(arena, name.n + 2, 1);
  if (prefix) s[0] = 'm';
  for (size_t i = 0; i < name.n; i++)
    s[i + prefix] = isalnum((unsigned char)name.p[i]) ? name.p[i] : '_';
  return s;
}

vq_status vq_layout_build(vq_layout *l, const vq_module *m, const char *symbol,
                          bool generic, vq_arena *arena, vq_diag *diag) {
  *l = (vq_layout){.m = m, .main = vq_module_func(m, VQ_LIT("main"))};
  build b = {.l = l, .generic = generic, .arena = arena, .diag = diag};
  if (!l->main)
    return vq_error(diag, VQ_E_structure, (vq_loc){0}, "the module has no @main");
  if (~m->props & (VQ_PROP_OUTLINED | VQ_PROP_PLANNED))
    return vq_error(diag, VQ_E_property, (vq_loc){0},
                    "the module is not lowered: passes outline and plan-memory "
                    "must come before code generation");
  l->symbol = identifier(arena, symbol ? vq_str_of(symbol) : m->name);
  l->batch = batch_of(l->main);
  if (check_outputs(&b) || add_steps(&b) || place_constants(&b) || locate_all(&b))
    return VQ_ERR;
  return VQ_OK;
}
