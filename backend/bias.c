// See bias.h.
#include "bias.h"

#include "loop.h"
#include "tile.h"

// ---- choosing ----------------------------------------------------------------

static int32_t value_at(const void *values, int64_t i) {
  int32_t v;
  memcpy(&v, (const char *)values + i * (int64_t)sizeof v, sizeof v);
  return v;
}

static unsigned width_of_values(vq_const *c) {
  const void *values = vq_const_bytes(c);
  int32_t most = 0;  // v, or -v - 1
  if (!values) return 4;
  for (int64_t i = 0; i < vq_type_count(c->value.type); i++) {
    int32_t v = value_at(values, i);
    most |= v < 0 ? ~v : v;
  }
  return most <= INT16_MAX ? 2 : most < 1 << 23 ? 3 : 4;
}

static vq_kernel_plan *plan_of(const vq_layout *l, const vq_op *call) {
  for (uint32_t i = 0; i < l->n_step; i++)
    if (l->step[i].call == call) return &l->kernel[l->step[i].kernel].plan;
  return NULL;
}

// Bytes that use `u` of a constant expects: 4 where it is no bias.
static unsigned width_of_use(const vq_layout *l, const vq_use *u) {
  const vq_kernel_plan *p = plan_of(l, u->user);
  return p && p->bias && p->bias->idx == u->idx ? p->bias_bytes : 4;
}

static unsigned width_of_uses(const vq_layout *l, const vq_const *c) {
  unsigned width = 0;
  vq_each_use(&c->value, u) {
    if (u->user->func != l->main) continue;
    unsigned w = width_of_use(l, u);
    if (w > width) width = w;
  }
  return width;
}

// What the bias of a step needs, as far as is known; in the first round of its values alone.
static unsigned width_of_step(const vq_layout *l, const vq_layout_step *s, bool values) {
  vq_value *v = vq_in(s->call, l->kernel[s->kernel].plan.bias->idx);
  if (v->kind != VQ_VALUE_CONST) return 4;
  vq_const *c = vq_const_of(v);
  return values ? width_of_values(c) : width_of_uses(l, c);
}

// Widens kernels to what their steps need; false when nothing changed.
static bool widen(vq_layout *l, bool values) {
  bool changed = false;
  for (uint32_t i = 0; i < l->n_step; i++) {
    vq_kernel_plan *p = &l->kernel[l->step[i].kernel].plan;
    unsigned width = p->bias ? width_of_step(l, &l->step[i], values) : 0;
    if (width <= p->bias_bytes) continue;
    p->bias_bytes = width;
    changed = true;
  }
  return changed;
}

void vq_bias_choose(vq_layout *l) {
  widen(l, true);
  while (widen(l, false)) continue;
}

unsigned vq_bias_width(const vq_layout *l, const vq_const *c) {
  return c->value.type->dtype == VQ_i32 ? width_of_uses(l, c) : 4;
}

// ---- storing -----------------------------------------------------------------

enum { MOST_LANES = 2 * VQ_PANEL };

static int64_t padded(int64_t n) { return (n + MOST_LANES - 1) / MOST_LANES * MOST_LANES; }

uint64_t vq_bias_bytes(int64_t n, unsigned width) {
  return (uint64_t)(width == 4 ? n : padded(n)) * width;
}

const void *vq_bias_store(const void *values, int64_t n, unsigned width, vq_arena *arena) {
  if (width == 4) return values;
  uint8_t *to = VQ_NEW_N(arena, uint8_t, vq_bias_bytes(n, width));
  for (int64_t i = 0; i < n; i++) {
    uint32_t v = (uint32_t)value_at(values, i);
    to[2 * i] = (uint8_t)v, to[2 * i + 1] = (uint8_t)(v >> 8);
    if (width == 3) to[2 * padded(n) + i] = (uint8_t)(v >> 16);
  }
  return to;
}

// ---- loading -----------------------------------------------------------------

LLVMValueRef vq_bias_load(const vq_emit *e, const vq_value *b, LLVMValueRef at,
                          unsigned lanes) {
  LLVMTypeRef i16 = LLVMInt16TypeInContext(e->lc), type = vq_vec_type(e->i32, lanes);
  LLVMValueRef from = e->operand[b->idx];
  LLVMValueRef low = vq_load(e, vq_vec_type(i16, lanes), vq_at(e, i16, from, at), 2);
  if (e->plan->bias_bytes == 2) return LLVMBuildSExt(e->b, low, type, "");
  LLVMValueRef bytes = vq_atk(e, i16, from, padded(vq_type_count(b->type)));
  LLVMValueRef high = vq_load(e, vq_vec_type(e->i8, lanes), vq_at(e, e->i8, bytes, at), 1);
  high = LLVMBuildSExt(e->b, high, type, "");
  high = LLVMBuildShl(e->b, high, vq_ki_like(type, 16), "");
  return LLVMBuildOr(e->b, high, LLVMBuildZExt(e->b, low, type, ""), "");
}
