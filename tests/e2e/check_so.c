// Runs a compiled model on recorded input and compares with recorded output.
//
//   check_so MODEL.so IN.npy OUT.npy TOLERANCE N_SAMPLES
//
// Every variant this machine can run is tried, with 1, 2 and 3 threads, on
// N_SAMPLES copies of the input. The first output must be within TOLERANCE of
// the recorded one, relative to the largest recorded magnitude, and the same
// bytes for every number of threads. Named are the variant that the runtime chooses
// and those that cannot run.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "vitq.h"
#include "vq/image.h"
#include "vq/strbuf.h"

typedef struct {
  const vitq_handle *handle;
  int64_t n;
  const void **in;
  void **out;
  size_t *out_bytes;
} job;

static void print_message(void *user, const vq_ctx *ctx, const vq_message *m) {
  vq_strbuf text = {0};
  (void)user;
  vq_message_render(&text, ctx, m, false);
  fputs(vq_strbuf_z(&text), stderr);
  vq_strbuf_release(&text);
}

static void *must(void *p) {
  if (!p) {
    fputs("check_so: out of memory\n", stderr);
    exit(1);
  }
  return p;
}

static void run(const job *j, vitq_pool *pool) {
  size_t size = vitq_workspace_size(j->handle, vitq_pool_threads(pool));
  void *workspace = must(aligned_alloc(VITQ_ALIGN, (size + 63) / 64 * 64 + 64));
  vitq_status s = vitq_run(j->handle, j->n, j->in, j->out, workspace, pool);
  free(workspace);
  if (s != VITQ_OK) {
    fprintf(stderr, "check_so: %s\n", vitq_status_text(s));
    exit(1);
  }
}

// Largest |got - want| / max |want| over the copies of the sample.
static double worst(const float *got, const float *want, int64_t count, int64_t n) {
  double top = 0, gap = 0;
  for (int64_t i = 0; i < count; i++) top = fmax(top, fabs(want[i]));
  for (int64_t i = 0; i < count * n; i++) {
    double d = fabs((double)got[i] - want[i % count]);
    gap = d <= gap ? gap : d;  // also takes over NaN
  }
  return gap / top;
}

static bool check_variant(vitq_handle *h, const char *name, job *j,
                          const float *want, int64_t count, double tolerance) {
  if (vitq_select(h, name) != VITQ_OK) {
    printf("  skipped: variant %s does not run on this CPU\n", name);
    return true;
  }
  bool same = true;
  float *single = must(malloc(j->out_bytes[0]));
  for (unsigned threads = 1; threads <= 3; threads++) {
    vitq_pool *pool = NULL;
    if (vitq_pool_create(threads, &pool) != VITQ_OK) exit(1);
    run(j, pool);
    vitq_pool_destroy(pool);
    if (threads == 1) memcpy(single, j->out[0], j->out_bytes[0]);
    same = same && memcmp(single, j->out[0], j->out_bytes[0]) == 0;
  }
  double error = worst(single, want, count, j->n);
  bool good = same && error <= tolerance;
  printf("  %-10s error %.2e%s%s\n", name, error,
         same ? "" : ", threads change the result", good ? "" : " FAILED");
  free(single);
  return good;
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fputs("usage: check_so MODEL.so IN.npy OUT.npy TOLERANCE N\n", stderr);
    return 2;
  }
  vq_ctx *ctx = vq_ctx_create();
  vq_diag diag;
  vq_diag_init(&diag, ctx, print_message, NULL);
  vq_npy in, want;
  if (vq_npy_read(argv[2], &diag, &in) || vq_npy_read(argv[3], &diag, &want))
    return 1;
  vitq_handle *h;
  if (vitq_open(argv[1], &h) != VITQ_OK) {
    fprintf(stderr, "check_so: %s\n", vitq_last_error());
    return 1;
  }
  const vitq_model *m = vitq_describe(h);
  job j = {h, atoll(argv[5]), NULL, NULL, NULL};
  size_t in_bytes = (size_t)m->input[0].bytes_per_sample;
  size_t want_bytes = (size_t)want.count * sizeof(float);
  if ((size_t)in.count * sizeof(float) != in_bytes ||
      want_bytes != (size_t)m->output[0].bytes_per_sample) {
    fputs("check_so: the recorded arrays do not fit the model\n", stderr);
    return 1;
  }
  char *input = must(malloc(in_bytes * (size_t)j.n));
  for (int64_t i = 0; i < j.n; i++)
    memcpy(input + in_bytes * (size_t)i, in.data, in_bytes);
  const void *inputs[1] = {input};
  j.in = inputs;
  j.out = must(calloc(m->n_output, sizeof *j.out));
  j.out_bytes = must(calloc(m->n_output, sizeof *j.out_bytes));
  for (uint32_t i = 0; i < m->n_output; i++) {
    j.out_bytes[i] = (size_t)m->output[i].bytes_per_sample * (size_t)j.n;
    j.out[i] = must(malloc(j.out_bytes[i]));
  }
  float *reference = must(malloc(want_bytes));
  memcpy(reference, want.data, want_bytes);

  printf("  chosen: %s\n", vitq_variant_name(h));
  bool good = true;
  for (uint32_t v = 0; v < m->n_variant; v++)
    good = check_variant(h, m->variant[v].name, &j, reference, want.count,
                         atof(argv[4])) && good;

  for (uint32_t i = 0; i < m->n_output; i++) free(j.out[i]);
  free(j.out);
  free(j.out_bytes);
  free(input);
  free(reference);
  vitq_close(h);
  vq_npy_release(&in);
  vq_npy_release(&want);
  vq_ctx_destroy(ctx);
  return good ? 0 : 1;
}
