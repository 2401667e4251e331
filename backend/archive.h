// Object files in an ar archive.
#ifndef VQ_BACKEND_ARCHIVE_H
#define VQ_BACKEND_ARCHIVE_H

#include "constants.h"

typedef struct vq_member {
  const void *p;  // NULL: the constants, written from the layout
  uint64_t n;
  const char *const *symbol;  // what it defines for other files
  unsigned n_symbol;
} vq_member;

// Writes the archive, its index of symbols first.
VQ_NODISCARD vq_status vq_archive_write(vq_output *o, const vq_member *m,
                                        unsigned n, const vq_layout *l);

#endif
