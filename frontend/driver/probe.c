// Probes that are printed beside every measurement, because a shared machine's
// speed changes from minute to minute.
#include "probe.h"

#include <stdio.h>

#include "driver.h"
#include "quantile.h"
#include "vitq.h"

enum { BURSTS = 41, CHAINS = 12, TILES = 4 };

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

typedef struct unit {
  uint64_t requires;  // vitq_isa mask
  const char *name;
  float (*of_float)(int64_t n);  // one of these
  int (*of_codes)(int64_t n);
  int madds;  // of one round
} unit;

// Twelve independent chains keep two units of latency 4 to 6 busy. Each burst_*
// runs `n` rounds and returns a value that depends on all of them.
#if defined(__x86_64__)
#include <immintrin.h>

#define DEFINE_BURST(name, features, type, vec, set1, madd, add, first) \
  __attribute__((target(features))) static type name(int64_t n) {       \
    volatile type one = 1; /* what no compiler computes with */         \
    vec acc[CHAINS], a = set1(one), b = set1(one);                      \
    for (int k = 0; k < CHAINS; k++) acc[k] = set1((type)k);            \
    for (int64_t i = 0; i < n; i++)                                     \
      for (int k = 0; k < CHAINS; k++) acc[k] = madd(acc[k], a, b);     \
    for (int k = 1; k < CHAINS; k++) acc[0] = add(acc[0], acc[k]);      \
    return first(acc[0]);                                               \
  }
#define SSE_MADD(x, a, b) _mm_add_ps(_mm_mul_ps(x, a), b)
DEFINE_BURST(burst_sse, "sse2", float, __m128, _mm_set1_ps, SSE_MADD, _mm_add_ps,
             _mm_cvtss_f32)
DEFINE_BURST(burst_avx2, "avx2,fma", float, __m256, _mm256_set1_ps,
             _mm256_fmadd_ps, _mm256_add_ps, _mm256_cvtss_f32)
DEFINE_BURST(burst_avx512, "avx512f", float, __m512, _mm512_set1_ps,
             _mm512_fmadd_ps, _mm512_add_ps, _mm512_cvtss_f32)

// Multiply-adds of codes, with the instructions that kernels use. Products of the same
// operands again and again are what compilers compute once, unless they cannot see them.
__attribute__((target("sse2"), always_inline)) static inline __m128i sse_dot(
    __m128i sum, __m128i a, __m128i b) {
  __m128i product;
  __asm__ volatile("movdqa %2, %1; pmaddwd %3, %1; paddd %1, %0"
                   : "+x"(sum), "=&x"(product) : "x"(a), "x"(b));
  return sum;
}
__attribute__((target("avx2"), always_inline)) static inline __m256i avx2_dot(
    __m256i sum, __m256i a, __m256i b) {
  __m256i product;
  __asm__ volatile("vpmaddwd %2, %3, %1; vpaddd %1, %0, %0"
                   : "+x"(sum), "=&x"(product) : "x"(a), "x"(b));
  return sum;
}
#define FIRST_512(x) _mm_cvtsi128_si32(_mm512_castsi512_si128(x))
DEFINE_BURST(codes_sse, "sse2", int, __m128i, _mm_set1_epi32, sse_dot,
             _mm_add_epi32, _mm_cvtsi128_si32)
DEFINE_BURST(codes_avx2, "avx2", int, __m256i, _mm256_set1_epi32, avx2_dot,
             _mm256_add_epi32, _mm256_cvtsi256_si32)
DEFINE_BURST(codes_vnni, "avx512f,avx512vnni", int, __m512i, _mm512_set1_epi32,
             _mm512_dpbusd_epi32, _mm512_add_epi32, FIRST_512)
DEFINE_BURST(codes_vnni256, "avx2,avxvnni", int, __m256i, _mm256_set1_epi32,
             _mm256_dpbusd_avx_epi32, _mm256_add_epi32, _mm256_cvtsi256_si32)

// The blocking of kernels: 2 x 2 tiles of sums from 2 tiles of each operand.
__attribute__((target("amx-tile,amx-int8"))) static int codes_amx(int64_t n) {
  struct {
    uint8_t palette, start, zero[14];
    uint16_t bytes[16];
    uint8_t rows[16];
  } config = {.palette = 1};
  int sum[16 * 16];
  for (int t = 0; t < 8; t++) config.bytes[t] = 64, config.rows[t] = 16;
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (int64_t i = 0; i < n; i++) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  _tile_stored(0, sum, 64);
  _tile_release();
  return sum[0];
}

// Best first.
static const unit float_unit[] = {
    {VITQ_ISA_X86_64_V4, "AVX-512 FMA", burst_avx512, NULL, 16 * CHAINS},
    {VITQ_ISA_X86_64_V3, "AVX2 FMA", burst_avx2, NULL, 8 * CHAINS},
    {0, "SSE2", burst_sse, NULL, 4 * CHAINS}};
static const unit codes_unit[] = {
    {VITQ_ISA_AMX_INT8, "AMX", NULL, codes_amx, TILES * 16 * 16 * 64},
    {VITQ_ISA_AVX512_VNNI, "AVX512-VNNI", NULL, codes_vnni, 64 * CHAINS},
    {VITQ_ISA_AVX_VNNI, "AVX-VNNI", NULL, codes_vnni256, 32 * CHAINS},
    {VITQ_ISA_X86_64_V3, "AVX2 pmaddwd", NULL, codes_avx2, 16 * CHAINS},
    {0, "SSE2 pmaddwd", NULL, codes_sse, 8 * CHAINS}};
#else
static float burst_scalar(int64_t n) {
  float acc[CHAINS] = {0}, sum = 0;
  for (int64_t i = 0; i < n; i++)
    for (int k = 0; k < CHAINS; k++) acc[k] = acc[k] * 0.999f + 0.001f;
  for (int k = 0; k < CHAINS; k++) sum += acc[k];
  return sum;
}

static const unit float_unit[] = {{0, "scalar", burst_scalar, NULL, CHAINS}};
static const unit codes_unit[] = {{0, "scalar", burst_scalar, NULL, CHAINS}};
#endif

// The median burst is one that nobody interrupted; all of them together show how
// much of the time the thread had.
peak probe_peak(probe_kind kind, uint64_t isa) {
  const unit *u = kind == PROBE_FLOAT ? float_unit : codes_unit;
  double rate[BURSTS], ops = 0, spent = 0;
  volatile float keep = 0;
  int64_t n = 1000;
  while (u->requires & ~isa) u++;
  for (int i = 0; i < BURSTS; i++) {
    double start = now_seconds();
    keep += u->of_float ? u->of_float(n) : (float)u->of_codes(n);
    double t = now_seconds() - start;
    if (t < 1e-4 && n < (int64_t)1 << 40) {
      n *= 2;
      i--;
      continue;
    }
    rate[i] = 2e-9 * u->madds * (double)n / t;
    ops += rate[i] * t;
    spent += t;
  }
  peak p = {u->name, quantile(rate, BURSTS, 0.5), 1};
  if (ops / spent < p.gops) p.share = ops / spent / p.gops;
  return p;
}
