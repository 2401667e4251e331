// Probes that are printed beside every measurement, because a shared machine's
// speed changes from minute to minute.
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "vitq.h"

enum { BURSTS = 15, CHAINS = 12 };

void probe_cpu_name(vq_strbuf *out) {
  FILE *f = fopen("/proc/cpuinfo", "r");
  char line[512];
  bool found = false;
  while (f && !found && fgets(line, sizeof line, f)) {
    char *name = strstr(line, ": ");
    if (strncmp(line, "model name", 10) != 0 || !name) continue;
    name[strcspn(name, "\n")] = '\0';
    vq_strbuf_escaped(out, vq_str_of(name + 2));
    found = true;
  }
  if (f) fclose(f);
  if (!found) vq_strbuf_puts(out, "unknown CPU");
}

// Twelve independent chains keep two FMA units of latency 4 to 6 busy. Each
// burst_* runs `n` rounds and returns a value that depends on all of them.
#if defined(__x86_64__)
#include <immintrin.h>

#define DEFINE_BURST(name, features, vec, set1, madd, add, first)   \
  __attribute__((target(features))) static float name(int64_t n) {  \
    vec acc[CHAINS], a = set1(0.999f), b = set1(0.001f);            \
    for (int k = 0; k < CHAINS; k++) acc[k] = set1((float)k);       \
    for (int64_t i = 0; i < n; i++)                                 \
      for (int k = 0; k < CHAINS; k++) acc[k] = madd(acc[k], a, b); \
    for (int k = 1; k < CHAINS; k++) acc[0] = add(acc[0], acc[k]);  \
    return first(acc[0]);                                           \
  }
#define SSE_MADD(x, a, b) _mm_add_ps(_mm_mul_ps(x, a), b)
DEFINE_BURST(burst_sse, "sse2", __m128, _mm_set1_ps, SSE_MADD, _mm_add_ps,
             _mm_cvtss_f32)
DEFINE_BURST(burst_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps,
             _mm256_add_ps, _mm256_cvtss_f32)
DEFINE_BURST(burst_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps,
             _mm512_add_ps, _mm512_cvtss_f32)

static float burst(int64_t n, int *lanes, const char **unit) {
  uint64_t isa = vitq_cpu_isa();
  if (isa & VITQ_ISA_X86_64_V4) {
    *lanes = 16, *unit = "AVX-512 FMA";
    return burst_avx512(n);
  }
  if (isa & VITQ_ISA_X86_64_V3) {
    *lanes = 8, *unit = "AVX2 FMA";
    return burst_avx2(n);
  }
  *lanes = 4, *unit = "SSE2";
  return burst_sse(n);
}
#else
static float burst(int64_t n, int *lanes, const char **unit) {
  float acc[CHAINS] = {0}, sum = 0;
  *lanes = 1, *unit = "scalar";
  for (int64_t i = 0; i < n; i++)
    for (int k = 0; k < CHAINS; k++) acc[k] = acc[k] * 0.999f + 0.001f;
  for (int k = 0; k < CHAINS; k++) sum += acc[k];
  return sum;
}
#endif

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double probe_peak(const char **unit) {
  double rate[BURSTS];
  int lanes = 1;
  volatile float keep = 0;
  int64_t n = 1000;
  for (int i = 0; i < BURSTS; i++) {
    double start = seconds();
    keep += burst(n, &lanes, unit);
    double t = seconds() - start;
    if (t < 5e-4 && n < (int64_t)1 << 40) {
      n *= 2;
      i--;
      continue;
    }
    rate[i] = 2.0 * CHAINS * lanes * (double)n / t * 1e-9;
  }
  qsort(rate, BURSTS, sizeof *rate, by_value);
  return rate[BURSTS / 2];
}
