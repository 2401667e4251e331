/* Opens a compiled model with vitq.h and runs one sample of zeros. C99 or C++.
 *
 *   use_model MODEL.so
 */
#include <stdio.h>
#include <stdlib.h>

#include "vitq.h"

static char *zeros(size_t size) {
  char *p = (char *)calloc(1, size + VITQ_ALIGN);
  if (!p) exit(1);
  return p + (VITQ_ALIGN - (uintptr_t)p % VITQ_ALIGN) % VITQ_ALIGN;
}

int main(int argc, char **argv) {
  vitq_handle *h;
  if (argc != 2) return 2;
  if (vitq_open(argv[1], &h) != VITQ_OK) {
    fprintf(stderr, "%s\n", vitq_last_error());
    return 1;
  }
  const vitq_model *m = vitq_describe(h);
  if (m->n_input != 1 || m->n_output != 1) return 1;
  size_t bytes = (size_t)m->output[0].bytes_per_sample;
  const void *in[1];
  void *out[1];
  in[0] = zeros((size_t)m->input[0].bytes_per_sample);
  out[0] = zeros(bytes);
  vitq_status s = vitq_run(h, 1, in, out, zeros(vitq_workspace_size(h, 1)), NULL);
  if (s != VITQ_OK) {
    fprintf(stderr, "%s\n", vitq_status_text(s));
    return 1;
  }
  const float *y = (const float *)out[0];
  size_t n = bytes / sizeof *y, n_set = 0;
  for (size_t i = 0; i < n; i++) {
    printf("%.6g\n", y[i]);
    if (!(y[i] - y[i] == 0)) return 1; /* not finite */
    n_set += y[i] != 0;
  }
  vitq_close(h);
  return n > 0 && n_set > 0 ? 0 : 1;
}
