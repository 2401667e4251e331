// Reads a float32 .npy file; for tests.
#ifndef NPY_H
#define NPY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct npy {
  float *data;
  int64_t n;
} npy;

static bool npy_read(const char *path, npy *out) {
  FILE *f = fopen(path, "rb");
  uint8_t head[10];
  char text[512];
  bool ok = f && fread(head, 1, 10, f) == 10 && !memcmp(head, "\x93NUMPY", 6);
  size_t n_text = ok ? head[8] | (size_t)head[9] << 8 : 0;
  ok = ok && n_text < sizeof text && fread(text, 1, n_text, f) == n_text;
  text[ok ? n_text : 0] = 0;
  ok = ok && strstr(text, "'<f4'") && strstr(text, "False");
  long begin = ok ? ftell(f) : 0;
  ok = ok && !fseek(f, 0, SEEK_END);
  out->n = ok ? (ftell(f) - begin) / 4 : 0;
  out->data = malloc((size_t)out->n * 4 + 4);
  ok = ok && !fseek(f, begin, SEEK_SET) &&
       fread(out->data, 4, (size_t)out->n, f) == (size_t)out->n;
  if (f)
    fclose(f);
  return ok;
}

#endif
