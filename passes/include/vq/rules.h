// Rules about layers, as options of passes spell them: a value for all layers and
// others for some.
//
//   VALUE[,SELECTOR=VALUE]...
//   SELECTOR: TERM[+TERM]...
//   TERM: a role | block:N | block:N..M | stage:N | stage:N..M | name:GLOB
//
// A selector is about the layers that all its terms are about; the last rule on a
// layer holds. Blocks are numbered as by vq_select_block, a stage is a run of blocks
// that work on as many channels; what lies in front of the first block or behind the
// last one belongs to none. name: is the last term; * stands for any characters, ?
// for one, and the name is that of the layer's result or of its weights.
#ifndef VQ_RULES_H
#define VQ_RULES_H

#include "vq/arena.h"
#include "vq/diag.h"

typedef enum vq_role {
  VQ_ROLE_QKV,
  VQ_ROLE_ATTN_QK,  // operands of q k^T
  VQ_ROLE_ATTN_AV,  // probabilities and v
  VQ_ROLE_PROJ,
  VQ_ROLE_FC1,
  VQ_ROLE_FC2,
  VQ_ROLE_PATCH,
  VQ_ROLE_HEAD,
  VQ_ROLE_RESIDUAL,
  VQ_ROLE_LINEAR,  // any other layer
  VQ_N_ROLES
} vq_role;

const char *vq_role_name(vq_role r);
bool vq_role_has_weights(vq_role r);

// What a rule may be about.
typedef struct vq_layer {
  vq_role role;
  int64_t block, stage;  // -1: none
  vq_str result, weights;  // names; may be empty
} vq_layer;

typedef struct vq_rule {
  bool has_role;
  vq_role role;
  int64_t block[2], stage[2];  // the first and the last; -1: any
  vq_str name;                 // empty: any
  vq_str selector, value;
  size_t at;        // of the selector in the text
  size_t at_value;
} vq_rule;

typedef struct vq_rules {
  const char *what;  // the option, for messages
  vq_str text;
  vq_str all;  // the value of layers that no rule is about
  vq_rule *rule;
  unsigned n;
  bool by_place;  // some rule is about blocks or stages
} vq_rules;

// Values are not looked at. `text` has to live as long as the rules.
VQ_NODISCARD vq_status vq_rules_parse(vq_arena *arena, const char *what, vq_str text,
                                      vq_diag *diag, vq_rules *out);
bool vq_rule_matches(const vq_rule *r, const vq_layer *l);

// Where something in the rules' text is.
vq_loc vq_rules_loc(const vq_rules *r, vq_ctx *ctx, size_t at);

// A rule that is about none of the `n` layers is an error.
VQ_NODISCARD vq_status vq_rules_check(const vq_rules *r, const vq_layer *layer, size_t n,
                                      vq_diag *diag);

#endif
