// Is a shared object complete?
//
// The dynamic loader maps what the program headers promise and touches it: a
// file that was cut off ends the process with SIGBUS instead of an error. So
// the promise is compared with the file's size first. Anything that is no ELF
// file of this kind is left to the loader, which says so.
#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rt.h"

enum { MAX_HEADERS = 64 };

static bool read_at(int fd, void *out, size_t n, uint64_t at) {
  return pread(fd, out, n, (off_t)at) == (ssize_t)n;
}

static bool is_whole(int fd) {
  struct stat st;
  Elf64_Ehdr e;
  Elf64_Phdr p[MAX_HEADERS];
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return true;
  uint64_t size = (uint64_t)st.st_size;
  if (!read_at(fd, &e, sizeof e, 0) || memcmp(e.e_ident, ELFMAG, SELFMAG) != 0 ||
      e.e_ident[EI_CLASS] != ELFCLASS64 || e.e_phentsize != sizeof *p ||
      e.e_phnum > MAX_HEADERS)
    return true;
  if (e.e_phoff > size || !read_at(fd, p, e.e_phnum * sizeof *p, e.e_phoff))
    return false;
  for (unsigned i = 0; i < e.e_phnum; i++)
    if (p[i].p_type == PT_LOAD &&
        (p[i].p_offset > size || p[i].p_filesz > size - p[i].p_offset))
      return false;
  return true;
}

bool rt_file_is_whole(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return true;
  bool whole = is_whole(fd);
  close(fd);
  return whole;
}
