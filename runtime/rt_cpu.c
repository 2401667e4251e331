// What this CPU and its kernel can run.
//
// Three things must agree before vector registers beyond SSE may be used: the
// CPU has the instructions (cpuid), the kernel saves the registers on a task
// switch (xgetbv), and for AMX the process has asked for the tile state, which
// Linux allocates only on request (arch_prctl).
#include "rt.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18

// Bits of XCR0.
#define XCR0_AVX 0x06u     // xmm, ymm
#define XCR0_AVX512 0xe6u  // and opmask, upper halves, zmm16-31
#define XCR0_AMX 0x60000u  // tile configuration and data

static bool has(uint32_t reg, uint32_t mask) { return (reg & mask) == mask; }

static uint64_t xcr0(void) {
  uint32_t lo, hi;
  __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  return (uint64_t)hi << 32 | lo;
}

static bool amx_permitted(void) {
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

uint64_t vitq_cpu_isa(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, bit_OSXSAVE)) return 0;
  uint64_t saved = xcr0();
  const uint32_t v3_1c = bit_AVX | bit_FMA | bit_F16C | bit_MOVBE;
  if ((saved & XCR0_AVX) != XCR0_AVX || !has(c, v3_1c)) return 0;
  if (!__get_cpuid(0x80000001, &a, &b, &c, &d) || !has(c, bit_LZCNT)) return 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  if (!has(b, bit_AVX2 | bit_BMI | bit_BMI2)) return 0;
  uint64_t isa = VITQ_ISA_X86_64_V3;
  uint32_t a1 = 0, b1, c1, d1;
  if (a >= 1) __get_cpuid_count(7, 1, &a1, &b1, &c1, &d1);
  if (has(a1, 1u << 4)) isa |= VITQ_ISA_AVX_VNNI;
  const uint32_t v4_7b = bit_AVX512F | bit_AVX512BW | bit_AVX512CD |
                         bit_AVX512DQ | bit_AVX512VL;
  if ((saved & XCR0_AVX512) != XCR0_AVX512 || !has(b, v4_7b)) return isa;
  isa |= VITQ_ISA_X86_64_V4;
  if (has(c, 1u << 11)) isa |= VITQ_ISA_AVX512_VNNI;
  if (has(c, 1u << 1)) isa |= VITQ_ISA_AVX512_VBMI;
  if (has(a1, 1u << 5)) isa |= VITQ_ISA_AVX512_BF16;
  const uint32_t tile = 1u << 24, tile_int8 = 1u << 25, tile_bf16 = 1u << 22;
  if ((saved & XCR0_AMX) != XCR0_AMX || !has(d, tile) || !amx_permitted())
    return isa;
  if (has(d, tile_int8)) isa |= VITQ_ISA_AMX_INT8;
  if (has(d, tile_bf16)) isa |= VITQ_ISA_AMX_BF16;
  return isa;
}

#else

uint64_t vitq_cpu_isa(void) { return 0; }

#endif

const vitq_variant *rt_pick_variant(const vitq_model *m, uint64_t isa) {
  for (uint32_t i = 0; i < m->n_variant; i++)
    if ((m->variant[i].requires & ~isa) == 0) return &m->variant[i];
  return NULL;
}
