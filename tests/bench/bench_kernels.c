// Time of every kernel of a compiled model, against the CPU's peak: of FMA, or,
// for kernels of codes on a CPU that has it, of vpdpbusd.
//
//   bench_kernels model.so [variant]
//
// Each step is timed alone, all its tasks in one call, on memory that holds
// whatever the steps before it left. The probe runs between the samples, so a
// busy machine lowers both; the smallest of each is compared.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vitq.h"
#include "vitq_abi.h"

#define ROUNDS 30
#define PROBE_STEPS 2000

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Nanoseconds of one FMA operation (2 flops) of a 512- or 256-bit loop.
#define FMA8(op, a) \
  op a "8\n" op a "9\n" op a "10\n" op a "11\n" op a "12\n" op a "13\n" \
  op a "14\n" op a "15\n"
static double probe(int wide) {
  double t = now();
  if (wide)
    __asm__ volatile("mov %0, %%ecx\n1:\n" FMA8("vfmadd231ps %%zmm0, %%zmm1, ", "%%zmm")
                     "dec %%ecx\njnz 1b" ::"i"(PROBE_STEPS)
                     : "ecx", "cc", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
                       "xmm13", "xmm14", "xmm15");
  else
    __asm__ volatile("mov %0, %%ecx\n1:\n" FMA8("vfmadd231ps %%ymm0, %%ymm1, ", "%%ymm")
                     "dec %%ecx\njnz 1b" ::"i"(PROBE_STEPS)
                     : "ecx", "cc", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
                       "xmm13", "xmm14", "xmm15");
  return (now() - t) / (PROBE_STEPS * 8.0 * (wide ? 16 : 8)) * 1e9;
}

// And of one multiply-add of codes.
static double probe_codes(void) {
  double t = now();
  __asm__ volatile("mov %0, %%ecx\n1:\n" FMA8("vpdpbusd %%zmm0, %%zmm1, ", "%%zmm")
                   "dec %%ecx\njnz 1b" ::"i"(PROBE_STEPS)
                   : "ecx", "cc", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
                     "xmm13", "xmm14", "xmm15");
  return (now() - t) / (PROBE_STEPS * 8.0 * 64) * 1e9;
}

// Peaks in nanoseconds: of FMA, of vpdpbusd (0: without).
typedef struct peaks {
  int wide, vnni;
  double fma, codes;
} peaks;

static void take_probes(peaks *p) {
  double t = probe(p->wide);
  if (t < p->fma) p->fma = t;
  if (!p->vnni) return;
  t = probe_codes();
  if (t < p->codes) p->codes = t;
}

static void *zeroed(uint64_t size) {
  void *p = NULL;
  if (posix_memalign(&p, VITQ_ALIGN, size + VITQ_ALIGN)) exit(70);
  return memset(p, 0, size + VITQ_ALIGN);
}

typedef struct memory {
  char *arena, **input, **output;
  const char *constants;
} memory;

static void *resolve(const memory *mem, const vitq_operand *o) {
  switch ((enum vitq_space)o->space) {
    case VITQ_SPACE_INPUT: return mem->input[o->offset];
    case VITQ_SPACE_OUTPUT: return mem->output[o->offset];
    case VITQ_SPACE_ARENA: return mem->arena + o->offset;
    case VITQ_SPACE_CONST: return (char *)mem->constants + o->offset;
  }
  return NULL;
}

static char **buffers(uint32_t n, const vitq_tensor_info *info, uint32_t batch) {
  char **p = calloc(n + 1, sizeof *p);
  for (uint32_t i = 0; i < n; i++)
    p[i] = zeroed(info[i].bytes_per_sample * batch);
  return p;
}

static double time_step(const vitq_model *m, const vitq_variant *v,
                        const vitq_step *s, const memory *mem, peaks *peak) {
  const vitq_kernel *k = &m->kernel[s->kernel];
  void **arg = calloc(s->n_arg, sizeof *arg), *scratch = zeroed(k->scratch_bytes);
  double best = 1e9;
  for (uint32_t i = 0; i < s->n_arg; i++) arg[i] = resolve(mem, &s->arg[i]);
  for (int r = 0; r < ROUNDS; r++) {
    double t = now();
    v->fn[s->kernel](arg, 0, k->n_task, scratch);
    t = now() - t;
    if (t < best) best = t;
    take_probes(peak);
  }
  free(arg), free(scratch);
  return best;
}

int main(int argc, char **argv) {
  vitq_handle *h = NULL;
  if (argc < 2 || vitq_open(argv[1], &h) != VITQ_OK) {
    fprintf(stderr, "usage: bench_kernels model.so [variant]: %s\n",
            argc < 2 ? "no model" : vitq_last_error());
    return 2;
  }
  const vitq_model *m = vitq_describe(h);
  const vitq_variant *v = NULL;
  __builtin_cpu_init();
  peaks peak = {__builtin_cpu_supports("avx512f"),
                (vitq_cpu_isa() & VITQ_ISA_AVX512_VNNI) != 0, 1e9, 1e9};
  for (uint32_t i = m->n_variant; i-- > 0;)
    if (argc > 2 ? !strcmp(m->variant[i].name, argv[2])
                 : (m->variant[i].requires & ~vitq_cpu_isa()) == 0)
      v = &m->variant[i];
  if (!v) return 2;
  memory mem = {zeroed(m->arena_bytes), buffers(m->n_input, m->input, m->batch),
                buffers(m->n_output, m->output, m->batch), m->constants};
  double total = 0, *sum = calloc(m->n_kernel, sizeof *sum);
  uint32_t *n = calloc(m->n_kernel, sizeof *n);
  for (uint32_t i = 0; i < m->n_step; i++) {
    const vitq_step *s = &m->step[i];
    double t = time_step(m, v, s, &mem, &peak);
    sum[s->kernel] += t, n[s->kernel]++, total += t;
  }
  printf("%s, peaks: FMA %.1f, codes %.1f Gop/s\n", v->name, 2 / peak.fma,
         peak.vnni ? 2 / peak.codes : 0);
  for (uint32_t i = 0; i < m->n_kernel; i++) {
    double one = sum[i] / n[i], rate = 2e-9 * (double)m->kernel[i].macs / one;
    const char *of = strchr(m->kernel[i].name, '_');
    int codes = peak.vnni && of && strncmp(of, "_u8", 3) == 0;
    printf("%-32s %3u x %9.1f us %5.1f %% %7.1f Gop/s %5.1f %% of peak\n",
           m->kernel[i].name, n[i], one * 1e6, 100 * sum[i] / total, rate,
           50 * rate * (codes ? peak.codes : peak.fma));
  }
  printf("%.3f ms\n", total * 1e3);
  vitq_close(h);
  return 0;
}
