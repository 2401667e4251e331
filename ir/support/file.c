// Reading files that were named by an input.
#include "vq/file.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// Below this size holes do not matter.
static const off_t SPARSE_SIZE = (off_t)64 << 20;

// Whether at least half of the file is stored. Where a file system cannot tell,
// everything counts as data.
static bool is_stored(int fd, off_t size) {
  off_t stored = 0, data, hole = 0;
  while (stored < size / 2 && (data = lseek(fd, hole, SEEK_DATA)) >= 0) {
    if ((hole = lseek(fd, data, SEEK_HOLE)) < 0) return true;
    stored += hole - data;
  }
  return stored >= size / 2 || errno != ENXIO;
}

const char *vq_fd_check(int fd, uint64_t *size) {
  struct stat st;
  if (fstat(fd, &st) != 0) return strerror(errno);
  if (S_ISDIR(st.st_mode)) return "is a directory";
  if (!S_ISREG(st.st_mode)) return "is not a regular file";
  if (st.st_size <= 0) return "is empty";
  if (st.st_size > SPARSE_SIZE && !is_stored(fd, st.st_size))
    return "is a sparse file, most of which is not stored";
  *size = (uint64_t)st.st_size;
  return NULL;
}

const char *vq_fd_read(int fd, uint64_t at, void *to, size_t n) {
  for (size_t done = 0; done < n;) {
    ssize_t got = pread(fd, (char *)to + done, n - done, (off_t)(at + done));
    if (got < 0 && errno != EINTR) return strerror(errno);
    if (got == 0) return "became shorter while it was read";
    done += got > 0 ? (size_t)got : 0;
  }
  return NULL;
}

void *vq_fd_load(int fd, uint64_t max, uint64_t *size, const char **why) {
  *why = vq_fd_check(fd, size);
  if (!*why && *size > max) *why = "is too large";
  if (*why) return NULL;
  void *p = mmap(NULL, (size_t)*size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    *why = strerror(errno);
    return NULL;
  }
  (void)madvise(p, (size_t)*size, MADV_HUGEPAGE);
  *why = vq_fd_read(fd, 0, p, (size_t)*size);
  if (!*why) return p;
  munmap(p, (size_t)*size);
  return NULL;
}
