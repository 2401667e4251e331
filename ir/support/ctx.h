// Inside of the context, for the interning files only.
#ifndef VQ_SUPPORT_CTX_H
#define VQ_SUPPORT_CTX_H

#include "vq/arena.h"
#include "vq/diag.h"
#include "vq/map.h"
#include "vq/type.h"
#include "vq/vec.h"

struct vq_ctx {
  vq_arena arena;
  vq_map strings;  // content -> its NUL-terminated copy
  vq_map types;    // struct bytes -> vq_type
  vq_map quants;   // all of an entry -> vq_quant
  vq_map locs;     // key bytes -> index into loc, plus one
  VQ_VEC(vq_loc_info) loc;
  void *attached;  // of a higher layer
  void (*destroy_attached)(void *thing);
};

#endif
