// Two models of one name in one process: each computes what it does alone.
//
//   side_by_side ONE.so TWO.so
//
// Both take and give the same number of bytes; their results must differ.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vitq.h"

enum { LIMIT = 4096 };  // floats of an input or output

static void *must(void *p) {
  if (!p) exit(1);
  return p;
}

static vitq_handle *open_model(const char *path) {
  vitq_handle *h = NULL;
  if (vitq_open(path, &h) == VITQ_OK) return h;
  fprintf(stderr, "side_by_side: %s: %s\n", path, vitq_last_error());
  exit(1);
}

static size_t run(const vitq_handle *h, float *y) {
  const vitq_model *m = vitq_describe(h);
  float x[LIMIT];
  for (int i = 0; i < LIMIT; i++) x[i] = (float)(i % 7) - 3;
  if (m->n_input != 1 || m->input[0].bytes_per_sample > sizeof x ||
      m->n_output != 1 || m->output[0].bytes_per_sample > sizeof x) {
    fputs("side_by_side: the models are too large for this test\n", stderr);
    exit(1);
  }
  size_t size = vitq_workspace_size(h, 1);
  void *workspace = must(aligned_alloc(VITQ_ALIGN, size ? size : VITQ_ALIGN));
  const void *in[] = {x};
  void *out[] = {y};
  vitq_status s = vitq_run(h, 1, in, out, workspace, NULL);
  free(workspace);
  if (s != VITQ_OK) {
    fprintf(stderr, "side_by_side: %s\n", vitq_status_text(s));
    exit(1);
  }
  return (size_t)m->output[0].bytes_per_sample;
}

static size_t run_alone(const char *path, float *y) {
  vitq_handle *h = open_model(path);
  size_t n = run(h, y);
  vitq_close(h);
  return n;
}

int main(int argc, char **argv) {
  static float alone[2][LIMIT], together[2][LIMIT];
  if (argc != 3) {
    fputs("usage: side_by_side ONE.so TWO.so\n", stderr);
    return 2;
  }
  size_t n = run_alone(argv[1], alone[0]);
  if (run_alone(argv[2], alone[1]) != n) return 1;
  vitq_handle *one = open_model(argv[1]), *two = open_model(argv[2]);
  run(one, together[0]);
  run(two, together[1]);
  vitq_close(one);
  run(two, together[1]);
  vitq_close(two);
  int good = 1;
  for (int i = 0; i < 2; i++)
    if (memcmp(alone[i], together[i], n) != 0) {
      fprintf(stderr, "%s computes something else beside the other\n", argv[i + 1]);
      good = 0;
    }
  if (memcmp(alone[0], alone[1], n) == 0) {
    fputs("both models give the same result\n", stderr);
    good = 0;
  }
  return good ? 0 : 1;
}
