// What the steps of a compiled model are for.
//
// A model carries no such names: kernels say what they compute, and their order
// tells the rest. Norms cut the steps into stretches. In one with an attention,
// products before it are its operands and those after it the projection. In
// another, the last of several is fc2 and the others fc1 (or its gate), a single
// one merges patches, say. After the last norm comes the head.
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

void step_roles(const vitq_model *m, role *out) {
  uint32_t begin = 0;
  for (uint32_t i = 0; i < m->n_step; i++)
    out[i] = kind_of(m->kernel[m->step[i].kernel].name);
  for (uint32_t i = 0; i <= m->n_step; i++) {
    if (i < m->n_step && out[i] != ROLE_norm) continue;
    name_stretch(out + begin, i - begin, i == m->n_step);
    begin = i + 1;
  }
}
