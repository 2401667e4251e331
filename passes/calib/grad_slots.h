// The gradients of values while @main.grad is built.
#ifndef VQ_PASSES_GRAD_SLOTS_H
#define VQ_PASSES_GRAD_SLOTS_H

#include "calib/grad_rule.h"

// A contribution to a part of a value.
typedef struct vq_grad_part {
  vq_value *d;
  int64_t begin[VQ_MAX_RANK];
  struct vq_grad_part *next;  // contributed before this one
} vq_grad_part;

typedef struct vq_grad_slot {
  const vq_value *v;
  vq_value *sum;  // of contributions to the whole; NULL: none
  vq_grad_part *parts;
} vq_grad_slot;

// One slot for each live value: one that gradients may pass.
struct vq_grad_slots {
  vq_map map;
};

vq_grad_slot *vq_grad_make_live(vq_grad *g, const vq_value *v);
vq_grad_slot *vq_grad_slot_of(const vq_grad *g, vq_value *v);  // NULL: not live
VQ_NODISCARD vq_status vq_grad_add_whole(vq_grad *g, vq_grad_slot *s, vq_value *d);

// The gradient of `s`, to which everything has contributed; NULL if nothing did.
VQ_NODISCARD vq_status vq_grad_settle(vq_grad *g, vq_grad_slot *s, vq_value **out);

#endif
