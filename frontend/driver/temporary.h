// Output files, and the removal of half-written ones.
#ifndef VQ_DRIVER_TEMPORARY_H
#define VQ_DRIVER_TEMPORARY_H

#include "driver.h"

// Files and empty folders that are to go should the compilation end in between. Whoever
// runs the driver hears of each.
void temporary_add(driver *d, const char *path);
void temporary_drop(driver *d, const char *path);
void temporary_remove_all(driver *d);

// Makes a folder, which is one of them.
VQ_NODISCARD vq_status temporary_folder(driver *d, vq_strbuf *out);

// A file that appears complete or not at all.
typedef struct out_file {
  FILE *file;
  char *temp;
  const char *path;  // borrowed
  driver *d;
} out_file;

VQ_NODISCARD vq_status out_open(out_file *o, const char *path, driver *d);
VQ_NODISCARD vq_status out_commit(out_file *o);
void out_abort(out_file *o);

// All of it at once.
VQ_NODISCARD vq_status out_write(const char *path, const void *p, size_t n, driver *d);

#endif
