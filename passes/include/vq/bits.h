// Widths of codes, as --bits and insert-quantizers{bits=...} spell them.
//
//   wNaM[,ROLE=WIDTHS]...    WIDTHS: wN, aM, wNaM or float; N, M: 3 to 8 or float
//
// w is for weights, a for activations: what a layer reads, the operands of
// attention's products, the residual stream. A role is a kind of layer or value;
// what it does not name has the widths that come first, except that patch-embed
// and head keep at least 8 bits and residual has 16. The last word on a role
// holds.
#ifndef VQ_BITS_H
#define VQ_BITS_H

#include "vq/diag.h"

typedef enum vq_bits_role {
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
} vq_bits_role;

enum { VQ_BITS_FLOAT = 32 };  // the width of what is not coded

typedef struct vq_bits {
  int weights, activations;  // of what no role says more about
  int w[VQ_N_ROLES], a[VQ_N_ROLES];
} vq_bits;

// One diagnostic, which names the wrong part and lists what there is.
vq_status vq_bits_parse(vq_str text, vq_diag *diag, vq_bits *out);

#endif
