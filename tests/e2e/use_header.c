/* Calls a compiled model through its generated header; linked with the model.
 * C99 or C++. Prints the output for one sample of zeros. */
#include <stdio.h>
#include <stdlib.h>

#include "fashion_vit.h"

static float x[FASHION_VIT_INPUT0_BYTES / sizeof(float)];
static float y[FASHION_VIT_OUTPUT0_BYTES / sizeof(float)];

int main(void) {
  const void *in[FASHION_VIT_INPUTS] = {x};
  void *out[FASHION_VIT_OUTPUTS] = {y};
  size_t n = sizeof y / sizeof *y, i;
  char *memory = (char *)malloc(fashion_vit_workspace() + 64);
  if (!memory) return 1;
  char *workspace = memory + (64 - (uintptr_t)memory % 64) % 64;
  int status = fashion_vit_run(1, in, out, workspace);
  free(memory);
  for (i = 0; i < n; i++) printf("%.6g\n", y[i]);
  return status;
}
