// Inside of the printer: what its files share.
#ifndef VQ_TEXT_PRINTER_H
#define VQ_TEXT_PRINTER_H

#include "vq/ir.h"
#include "vq/text.h"
#include "vq/vec.h"

// Numbers of the unnamed values of one function.
typedef struct vq_numbered {
  const vq_value *value;
  uint32_t number;
} vq_numbered;
typedef struct vq_numbering {
  vq_map by_value;  // -> vq_numbered
  vq_arena arena;
} vq_numbering;

void vq_numbering_init(vq_numbering *n, const vq_func *f);
void vq_numbering_release(vq_numbering *n);

// The locations printed so far, numbered from 1 in order of appearance.
typedef struct vq_loc_table {
  VQ_VEC(vq_loc) loc;
  VQ_VEC(uint32_t) number;  // by loc id; 0: not yet
} vq_loc_table;

uint32_t vq_loc_number(vq_loc_table *t, vq_loc loc);

// `locs` may be NULL.
void vq_print_func_locs(vq_strbuf *out, const vq_func *f, vq_loc_table *locs);

#endif
