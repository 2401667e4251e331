// Output files, and the removal of half-written ones when a signal ends us.
#ifndef VQ_DRIVER_TEMPORARY_H
#define VQ_DRIVER_TEMPORARY_H

#include <stdio.h>

#include "vq/diag.h"

// SIGINT, SIGTERM and SIGHUP remove all registered files and empty folders and end
// the process with 128 + the signal's number; a fault of the compiler with 70.
void temporary_on_signals(void);
void temporary_add(const char *path);
void temporary_drop(const char *path);

// A file that appears complete or not at all.
typedef struct out_file {
  FILE *file;
  char *temp;
  const char *path;  // borrowed
  vq_diag *diag;
} out_file;

VQ_NODISCARD vq_status out_open(out_file *o, const char *path, vq_diag *diag);
VQ_NODISCARD vq_status out_commit(out_file *o);
void out_abort(out_file *o);

// All of it at once.
VQ_NODISCARD vq_status out_write(const char *path, const void *p, size_t n,
                                 vq_diag *diag);

#endif
