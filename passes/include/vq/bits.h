// Widths of codes, as --bits and insert-quantizers{bits=...} spell them.
//
//   wNaM[,SELECTOR=WIDTHS]...   WIDTHS: wN, aM, wNaM or float; N, M: 3 to 8 or float
//
// w is for weights, a for activations: what a layer reads, the operands of
// attention's products, the residual stream. Selectors are those of vq/rules.h. What
// none is about has the widths that come first, except that patch-embed and head keep
// at least 8 bits and residual has 16. Only a selector with the role residual is about
// the residual stream.
#ifndef VQ_BITS_H
#define VQ_BITS_H

#include "vq/rules.h"

enum { VQ_BITS_FLOAT = 32 };  // the width of what is not coded

typedef struct vq_widths {
  int w, a;  // 0: not said
} vq_widths;

typedef struct vq_bits {
  vq_widths all;
  vq_rules rules;
  vq_widths *of;  // of each rule
} vq_bits;

// One diagnostic, which names the wrong part and says what was expected. `text` has to
// live as long as the result.
VQ_NODISCARD vq_status vq_bits_parse(vq_arena *arena, vq_str text, vq_diag *diag,
                                     vq_bits *out);
vq_widths vq_bits_of(const vq_bits *b, const vq_layer *l);

#endif
