// Runs code with instructions of AMX or AVX-VNNI on a machine without them: each raises
// SIGILL, and the handler does what it would have done.
//
// Only the instructions that the backend emits are known. What the hardware
// refuses with an exception (tiles that do not fit, no configuration) ends the
// test.
#ifndef VQ_TEST_EMULATE_H
#define VQ_TEST_EMULATE_H

#if defined(__x86_64__)
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static inline void amx_tdpbusd(unsigned c, unsigned a, unsigned b) {
  amx_use(c), amx_use(a), amx_use(b);
  if (c == a || c == b || a == b || amx.rows[c] != amx.rows[a] ||
      amx.bytes[c] != amx.bytes[b] || amx.bytes[a] != 4 * amx.rows[b] ||
      amx.bytes[c] % 4)
    emulate_refuse("tiles that do not fit");
  for (unsigned m = 0; m < amx.rows[c]; m++)
    for (unsigned n = 0; n < amx.bytes[c] / 4u; n++) {
      int32_t sum;
      memcpy(&sum, &amx.data[c][m][4 * n], 4);
      for (unsigned k = 0; k < amx.bytes[a]; k++)
        sum += amx.data[a][m][k] * (int8_t)amx.data[b][k / 4][4 * n + k % 4];
      memcpy(&amx.data[c][m][4 * n], &sum, 4);
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
  uc->uc_mcontext.gregs[REG_RIP] += i.size;
}

// Until emulate_end, which returns how many instructions there were.
static struct sigaction emulate_before;
static inline void emulate_begin(void) {
  struct sigaction on = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO};
  memset(&amx, 0, sizeof amx);
  sigaction(SIGILL, &on, &emulate_before);
}

static inline unsigned long emulate_end(void) {
  sigaction(SIGILL, &emulate_before, NULL);
  return amx.count;
}
#endif

#endif
