// Runs a fuzz target over files and folders of inputs, so that a corpus is a
// plain test. Each input is also tried cut short and with single bytes flipped.
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned n_run;

static void run(const uint8_t *data, size_t size) {
  // A block of its own, so that reading past the end is found out.
  uint8_t *copy = malloc(size + !size);
  if (!copy) abort();
  if (size) memcpy(copy, data, size);
  LLVMFuzzerTestOneInput(copy, size);
  free(copy);
  n_run++;
}

static void run_file(const char *path) {
  FILE *f = fopen(path, "rb");
  static uint8_t data[1 << 20];
  if (!f) {
    perror(path);
    exit(1);
  }
  size_t size = fread(data, 1, sizeof data, f);
  fclose(f);
  run(data, size);
  for (size_t i = 1; i < 16; i++) run(data, size * i / 16);
  for (size_t i = 0; i < 64 && size; i++) {
    size_t at = (size_t)(i * 2654435761u) % size;
    data[at] ^= (uint8_t)(1u << (i % 8));
    run(data, size);
    data[at] ^= (uint8_t)(1u << (i % 8));
  }
}

static void run_path(const char *path) {
  struct stat st;
  if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
    run_file(path);
    return;
  }
  struct dirent **entry;
  int n = scandir(path, &entry, NULL, alphasort);
  for (int i = 0; i < n; i++) {
    char *name = entry[i]->d_name, *full;
    if (name[0] != '.' && asprintf(&full, "%s/%s", path, name) >= 0) {
      run_path(full);
      free(full);
    }
    free(entry[i]);
  }
  free(entry);
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) run_path(argv[i]);
  printf("%u inputs\n", n_run);
  return n_run == 0;
}
