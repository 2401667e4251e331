// What the steps of a compiled model are for.
//
// A model carries no such names: kernels say what they compute, and their order
// tells the rest. Norms cut the steps into stretches. In one with an attention,
// products before it are its operands and those after it the projection. In
// another, the last of several is fc2 and the others fc1 (or its gate), a single
// one merges patches, say. After the last norm comes the head. A product of i16 behind
// another is that of some rows, computed beside all others.
#include "profile.h"

static bool starts(const char *name, const char *const *prefix) {
  for (; *prefix; prefix++)
    if (strncmp(name, *prefix, strlen(*prefix)) == 0) return true;
  return false;
}

// What the name alone says; ROLE_linear for any matrix product with weights.
static role kind_of(const char *name) {
  static const char *const gemm[] = {"gemm_", "linear_", NULL},
                    *const norm[] = {"layernorm_", "layer_norm_", NULL},
                    *const patch[] = {"patches_", "patch_embed_", NULL},
                    *const attention[] = {"attention_", NULL};
  return starts(name, gemm)        ? ROLE_linear
         : starts(name, norm)      ? ROLE_norm
         : starts(name, patch)     ? ROLE_patch
         : starts(name, attention) ? ROLE_attention
                                   : ROLE_other;
}

// One stretch between norms, out[0..n), of kinds.
static void name_stretch(role *out, uint32_t n, bool last) {
  uint32_t attention = n, final = n, n_linear = 0;
  for (uint32_t i = 0; i < n; i++) {
    if (out[i] == ROLE_attention && attention == n) attention = i;
    if (out[i] == ROLE_linear) final = i, n_linear++;
  }
  for (uint32_t i = 0; i < n; i++) {
    if (out[i] != ROLE_linear) continue;
    if (attention < n)
      out[i] = i < attention ? ROLE_qkv : ROLE_proj;
    else if (last)
      out[i] = ROLE_head;
    else if (n_linear > 1)
      out[i] = i == final ? ROLE_fc2 : ROLE_fc1;
  }
}

static const char *name_of(const vitq_model *m, uint32_t step) {
  return m->kernel[m->step[step].kernel].name;
}

// The product that step `i` computes some rows of beside; `i`: none.
static uint32_t all_rows_of(const vitq_model *m, uint32_t i) {
  static const char *const words[] = {"gemm_i16", NULL};
  if (!starts(name_of(m, i), words)) return i;
  for (uint32_t k = i; k-- > 0;) {
    role kind = kind_of(name_of(m, k));
    if (kind == ROLE_norm || kind == ROLE_attention) break;
    if (kind == ROLE_linear) return starts(name_of(m, k), words) ? i : k;
  }
  return i;
}

void step_roles(const vitq_model *m, role *out) {
  uint32_t begin = 0;
  for (uint32_t i = 0; i < m->n_step; i++)
    out[i] = all_rows_of(m, i) == i ? kind_of(name_of(m, i)) : ROLE_other;
  for (uint32_t i = 0; i <= m->n_step; i++) {
    if (i < m->n_step && out[i] != ROLE_norm) continue;
    name_stretch(out + begin, i - begin, i == m->n_step);
    begin = i + 1;
  }
  for (uint32_t i = 0; i < m->n_step; i++) out[i] = out[all_rows_of(m, i)];
}
