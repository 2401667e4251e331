// Runs code with instructions of AMX or AVX-VNNI on a machine without them: each raises
// SIGILL, and the handler does what it would have done. Those of AVX-VNNI are many, so the
// handler also puts a jump in their place, to code of AVX2 that does the same to the same
// registers and jumps back: a signal comes once for each place, not for each time.
//
// Only the instructions that the backend emits are known. What the hardware
// refuses with an exception (tiles that do not fit, no configuration) ends the
// test.
#ifndef VQ_TEST_EMULATE_H
#define VQ_TEST_EMULATE_H

#if defined(__x86_64__)
#include <immintrin.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

static struct {
  bool configured;
  uint8_t rows[8];
  uint16_t bytes[8];
  uint8_t data[8][16][64];
  unsigned long count;  // of instructions
} amx;

static inline void emulate_refuse(const char *what) {
  fprintf(stderr, "emulate: %s\n", what);
  abort();
}

// A register by its number in instructions.
static inline int64_t emulate_register(const ucontext_t *uc, unsigned n) {
  static const int at[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                             REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                             REG_R12, REG_R13, REG_R14, REG_R15};
  return uc->uc_mcontext.gregs[at[n]];
}

// A decoded instruction: VEX fields, modrm, and of memory the address without
// index, and index * scale.
typedef struct emulate_insn {
  unsigned prefix, opcode, reg, rm, vvvv, size;
  bool memory, wide;  // wide: ymm
  uint8_t *address;
  int64_t index;
} emulate_insn;

static inline void emulate_decode_memory(emulate_insn *i, const ucontext_t *uc,
                                     const uint8_t *p, unsigned mod, bool x, bool b) {
  unsigned at = 5, base = i->rm;
  int64_t address = 0;
  bool has_base = true, rip = false;
  if (base == 4) {
    unsigned sib = p[at++], index = (sib >> 3 & 7) | (x ? 8 : 0);
    base = sib & 7;
    if (index != 4) i->index = (int64_t)((uint64_t)emulate_register(uc, index) << (sib >> 6));
    has_base = mod != 0 || base != 5;
  } else if (mod == 0 && base == 5) {
    has_base = false, rip = true;
  }
  if (has_base) address = emulate_register(uc, base | (b ? 8 : 0));
  if (mod == 1) {
    address += (int8_t)p[at++];
  } else if (mod == 2 || !has_base) {
    int32_t disp;
    memcpy(&disp, p + at, 4);
    address += disp, at += 4;
  }
  i->size = at;
  if (rip) address += uc->uc_mcontext.gregs[REG_RIP] + at;
  i->address = (uint8_t *)(uintptr_t)address;
}

static inline emulate_insn emulate_decode(const ucontext_t *uc) {
  const uint8_t *p = (const uint8_t *)(uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
  if (p[0] != 0xc4 || (p[1] & 0x1f) != 2 || (p[2] & 0x80))
    emulate_refuse("an illegal instruction that is neither AMX nor AVX-VNNI");
  emulate_insn i = {.prefix = p[2] & 3, .opcode = p[3], .rm = p[4] & 7,
                .reg = (p[4] >> 3 & 7) | (p[1] & 0x80 ? 0 : 8),
                .vvvv = ~p[2] >> 3 & 15, .size = 5, .wide = p[2] & 4};
  unsigned mod = p[4] >> 6;
  i.memory = mod != 3;
  if (!i.memory && !(p[1] & 0x20)) i.rm |= 8;
  if (i.memory) emulate_decode_memory(&i, uc, p, mod, !(p[1] & 0x40), !(p[1] & 0x20));
  return i;
}

static inline void amx_configure(const uint8_t *c) {
  if (c[0] != 1 || c[1] != 0) emulate_refuse("palette");
  amx.configured = true;
  memcpy(amx.bytes, c + 16, sizeof amx.bytes);
  memcpy(amx.rows, c + 48, sizeof amx.rows);
  for (int t = 0; t < 8; t++)
    if (amx.rows[t] > 16 || amx.bytes[t] > 64) emulate_refuse("configuration");
  memset(amx.data, 0, sizeof amx.data);
}

static inline void amx_use(unsigned t) {
  if (!amx.configured || t > 7 || !amx.rows[t] || !amx.bytes[t])
    emulate_refuse("a tile without configuration");
}

static inline void amx_move(const emulate_insn *i, bool store) {
  amx_use(i->reg);
  if (i->rm != 4) emulate_refuse("a tile in memory without a stride");
  if (!store) memset(amx.data[i->reg], 0, sizeof *amx.data);
  for (unsigned r = 0; r < amx.rows[i->reg]; r++) {
    uint8_t *p = i->address + (int64_t)r * i->index, *row = amx.data[i->reg][r];
    memcpy(store ? p : row, store ? row : p, amx.bytes[i->reg]);
  }
}

// AMX is emulated where AVX-512 with VNNI is there, whose instruction is a row of this.
__attribute__((target("avx512f,avx512vnni")))
static inline void amx_tdpbusd(unsigned c, unsigned a, unsigned b) {
  amx_use(c), amx_use(a), amx_use(b);
  if (c == a || c == b || a == b || amx.rows[c] != amx.rows[a] ||
      amx.bytes[c] != amx.bytes[b] || amx.bytes[a] != 4 * amx.rows[b] ||
      amx.bytes[c] % 4)
    emulate_refuse("tiles that do not fit");
  __mmask16 columns = (__mmask16)((1u << amx.bytes[c] / 4) - 1);
  for (unsigned m = 0; m < amx.rows[c]; m++) {
    __m512i sum = _mm512_loadu_si512(amx.data[c][m]);
    for (unsigned k = 0; k < amx.rows[b]; k++) {
      int32_t four;
      memcpy(&four, &amx.data[a][m][4 * k], 4);
      sum = _mm512_mask_dpbusd_epi32(sum, columns, _mm512_set1_epi32(four),
                                     _mm512_loadu_si512(amx.data[b][k]));
    }
    _mm512_storeu_si512(amx.data[c][m], sum);
  }
}

// Half of a ymm register in what the kernel saved of the interrupted code: the low
// halves lie where FXSAVE has xmm, the high ones in XSAVE's standard place.
static inline uint8_t *ymm_half(const ucontext_t *uc, unsigned n, bool high) {
  uint8_t *area = (uint8_t *)uc->uc_mcontext.fpregs;
  uint32_t magic;
  memcpy(&magic, area + 464, sizeof magic);
  if (magic != 0x46505853) emulate_refuse("a signal frame without XSAVE's state");
  area[512] |= 4;  // that ymm is to be restored
  return area + (high ? 576 : 160) + 16 * n;
}

// The sum of one element: u8 times i8 in fours, or i16 times i16 in pairs.
static inline int32_t dot(const uint8_t *a, const uint8_t *b, bool words) {
  int32_t sum = 0;
  for (unsigned k = 0; k < 4 && !words; k++) sum += a[k] * (int8_t)b[k];
  for (unsigned k = 0; k < 2 && words; k++) {
    int16_t x, y;
    memcpy(&x, a + 2 * k, 2), memcpy(&y, b + 2 * k, 2);
    sum += x * y;
  }
  return sum;
}

// vpdpbusd and vpdpwssd in their VEX form, of ymm or xmm; the latter clears the high
// half of the sums.
static inline void vnni_dot(const ucontext_t *uc, const emulate_insn *i, bool words) {
  if (!i->wide) memset(ymm_half(uc, i->reg, true), 0, 16);
  for (unsigned half = 0; half < 1u + i->wide; half++) {
    uint8_t *c = ymm_half(uc, i->reg, half), *a = ymm_half(uc, i->vvvv, half);
    uint8_t *b = i->memory ? i->address + i->index + 16 * half
                           : ymm_half(uc, i->rm, half);
    for (unsigned n = 0; n < 16; n += 4) {
      int32_t sum;
      memcpy(&sum, c + n, 4);
      sum += dot(a + n, b + n, words);
      memcpy(c + n, &sum, 4);
    }
  }
}

// ---- jumps in the place of vpdpbusd and vpdpwssd -----------------------------------

// Code near enough to that under test to be reached by jumps, and what it needs.
enum { PATCH_CODE = 1 << 20, PATCH_ROOM = 256, PATCH_MASK = 0, PATCH_SAVE = 32 };
static struct {
  uint8_t *data, *code, *end;  // a page of data, then code
} patch;

static inline void patch_byte(unsigned b) { *patch.code++ = (uint8_t)b; }

static inline void patch_rel32(const uint8_t *to) {
  int32_t rel = (int32_t)(to - (patch.code + 4));
  memcpy(patch.code, &rel, 4);
  patch.code += 4;
}

// A VEX instruction of ymm (or xmm) registers; map 1 is 0F, 2 is 0F38.
static inline void patch_vex(bool wide, unsigned map, unsigned prefix, unsigned opcode,
                             unsigned reg, unsigned vvvv, unsigned rm) {
  patch_byte(0xc4);
  patch_byte((reg & 8 ? 0 : 0x80) | 0x40 | (rm & 8 ? 0 : 0x20) | map);
  patch_byte((~vvvv & 15) << 3 | (wide ? 4 : 0) | prefix);
  patch_byte(opcode);
  patch_byte(0xc0 | (reg & 7) << 3 | (rm & 7));
}

// The same with 32 bytes of data as its last operand.
static inline void patch_data(bool wide, unsigned prefix, unsigned opcode, unsigned reg,
                              unsigned vvvv, unsigned at) {
  patch_vex(wide, 1, prefix, opcode, reg, vvvv, 0);
  patch.code[-1] = (uint8_t)((reg & 7) << 3 | 5);
  patch_rel32(patch.data + at);
}

// Words of `from` shifted to the right, 0x71 /2 logical, /4 arithmetic, or /6 left.
static inline void patch_shift(bool wide, unsigned to, unsigned how, unsigned from) {
  patch_vex(wide, 1, 1, 0x71, how, to, from);
  patch_byte(8);
}

// t[0] = the sums of products of the operands a and b, with the help of t[1] and t[2].
static inline void patch_products(bool wide, bool words, const unsigned *t, unsigned a,
                                  unsigned b) {
  enum { PAND = 0xdb, PADDD = 0xfe, PMADDWD = 0xf5 };
  if (words) {
    patch_vex(wide, 1, 1, PMADDWD, t[0], a, b);
    return;
  }
  patch_data(wide, 1, PAND, t[0], a, PATCH_MASK);
  patch_shift(wide, t[1], 6, b);
  patch_shift(wide, t[1], 4, t[1]);
  patch_vex(wide, 1, 1, PMADDWD, t[0], t[0], t[1]);
  patch_shift(wide, t[1], 4, b);
  patch_shift(wide, t[2], 2, a);
  patch_vex(wide, 1, 1, PMADDWD, t[1], t[1], t[2]);
  patch_vex(wide, 1, 1, PADDD, t[0], t[0], t[1]);
}

static inline bool patch_reaches(const uint8_t *near) {
  return llabs((intptr_t)near - (intptr_t)patch.data) < 1 << 30;
}

static inline bool patch_begin(uint8_t *near) {
  if (patch.data) return patch.end - patch.code > PATCH_ROOM && patch_reaches(near);
  for (unsigned try = 1; try < 60; try++) {
    uint8_t *want = (uint8_t *)(((uintptr_t)near & ~(uintptr_t)4095) - ((uintptr_t)try << 24));
    patch.data = mmap(want, PATCH_CODE, PROT_READ | PROT_WRITE | PROT_EXEC,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (patch.data == MAP_FAILED || patch_reaches(near)) break;
    munmap(patch.data, PATCH_CODE);
    patch.data = MAP_FAILED;
  }
  if (patch.data == MAP_FAILED) {
    patch.data = NULL;
    return false;
  }
  patch.code = patch.data + 4096, patch.end = patch.data + PATCH_CODE;
  for (unsigned i = 0; i < 32; i++) patch.data[PATCH_MASK + i] = i % 2 ? 0 : 0xff;
  return true;
}

// The operand in memory to a register: the bytes of its address are those of the
// instruction itself.
static inline void patch_load(const emulate_insn *i, const uint8_t *from, unsigned to) {
  patch_byte(0xc4);
  patch_byte((from[1] & 0x60) | (to & 8 ? 0 : 0x80) | 1);
  patch_byte(0x78 | (i->wide ? 4 : 0) | 2);
  patch_byte(0x6f);
  patch_byte((from[4] & 0xc7) | (to & 7) << 3);
  for (unsigned k = 5; k < i->size; k++) patch_byte(from[k]);
}

// Nothing is done where that is not possible; then signals go on.
static inline void patch_vnni(uint8_t *at, const emulate_insn *i) {
  bool rip = (at[4] & 0xc7) == 5;
  uint8_t *page = (uint8_t *)((uintptr_t)at & ~(uintptr_t)4095);
  if (rip || !patch_begin(at) ||
      mprotect(page, (size_t)(at + 5 - page), PROT_READ | PROT_WRITE | PROT_EXEC))
    return;
  unsigned t[4], n = 0;
  for (unsigned r = 0; n < 4; r++)
    if (r != i->reg && r != i->vvvv && (i->memory || r != i->rm)) t[n++] = r;
  uint8_t *stub = patch.code;
  for (unsigned k = 0; k < 4; k++) patch_data(true, 2, 0x7f, t[k], 0, PATCH_SAVE + 32 * k);
  if (i->memory) patch_load(i, at, t[3]);
  patch_products(i->wide, i->opcode == 0x52, t, i->vvvv, i->memory ? t[3] : i->rm);
  patch_vex(i->wide, 1, 1, 0xfe, i->reg, i->reg, t[0]);
  for (unsigned k = 0; k < 4; k++) patch_data(true, 2, 0x6f, t[k], 0, PATCH_SAVE + 32 * k);
  patch_byte(0xe9);
  patch_rel32(at + i->size);
  int32_t rel = (int32_t)(stub - (at + 5));
  at[0] = 0xe9;
  memcpy(at + 1, &rel, 4);
}

enum { AMX_NP, AMX_66, AMX_F3, AMX_F2 };

static inline bool emulate_execute(const ucontext_t *uc, const emulate_insn *i) {
  if ((i->opcode == 0x50 || i->opcode == 0x52) && i->prefix == AMX_66) {
    vnni_dot(uc, i, i->opcode == 0x52);
    return true;
  }
  if (i->wide) return false;
  switch (i->opcode << 4 | i->prefix) {
    case 0x49 << 4 | AMX_NP:
      if (i->memory) amx_configure(i->address);
      else amx.configured = false;
      return true;
    case 0x49 << 4 | AMX_F2:
      amx_use(i->reg);
      memset(amx.data[i->reg], 0, sizeof *amx.data);
      return !i->memory;
    case 0x4b << 4 | AMX_F2:
    case 0x4b << 4 | AMX_F3:
      amx_move(i, i->prefix == AMX_F3);
      return i->memory;
    case 0x5e << 4 | AMX_66:
      amx_tdpbusd(i->reg, i->rm, i->vvvv);
      return !i->memory;
    default:
      return false;
  }
}

static inline void on_illegal(int sig, siginfo_t *info, void *context) {
  (void)sig, (void)info;
  ucontext_t *uc = context;
  emulate_insn i = emulate_decode(uc);
  if (!emulate_execute(uc, &i)) {
    fprintf(stderr, "opcode %02x, prefix %u\n", i.opcode, i.prefix);
    emulate_refuse("an instruction that the test does not know");
  }
  amx.count++;
  uint8_t *at = (uint8_t *)(uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
  if (i.opcode == 0x50 || i.opcode == 0x52) patch_vnni(at, &i);
  uc->uc_mcontext.gregs[REG_RIP] += i.size;
}

// Until emulate_end, which returns how many signals there were.
static struct sigaction emulate_before;
static inline void emulate_begin(void) {
  struct sigaction on = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO};
  memset(&amx, 0, sizeof amx);
  sigaction(SIGILL, &on, &emulate_before);
}

static inline unsigned long emulate_end(void) {
  sigaction(SIGILL, &emulate_before, NULL);
  if (patch.data) munmap(patch.data, PATCH_CODE);
  memset(&patch, 0, sizeof patch);
  return amx.count;
}
#endif

#endif
