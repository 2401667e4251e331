// Reading files that were named by an input.
//
// Nothing is ever mapped: a mapped file that another process cuts short raises
// SIGBUS at the next access, whatever was checked before. Reading costs a copy,
// and what is read stays what it was.
#ifndef VQ_FILE_H
#define VQ_FILE_H

#include "vq/base.h"

// NULL when `fd` is a regular file with contents, of *size bytes; else what is
// wrong with it. A large file made mostly of holes is refused: it would cost
// memory that nobody had to store.
const char *vq_fd_check(int fd, uint64_t *size);

// Reads bytes [at, at + n) into `to`. NULL, or why it cannot.
const char *vq_fd_read(int fd, uint64_t at, void *to, size_t n);

// A checked file's whole contents in memory of its own: hand it to
// vq_module_own as mapped. NULL: *why says why.
void *vq_fd_load(int fd, uint64_t max, uint64_t *size, const char **why);

#endif
