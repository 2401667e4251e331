// Runs code with AMX instructions on a machine without AMX: each of them raises
// SIGILL, and the handler does what it would have done.
//
// Only the instructions that the backend emits are known. What the hardware
// refuses with an exception (tiles that do not fit, no configuration) ends the
// test.
#ifndef VQ_TEST_AMX_EMULATE_H
#define VQ_TEST_AMX_EMULATE_H

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

static inline void amx_refuse(const char *what) {
  fprintf(stderr, "amx: %s\n", what);
  abort();
}

// A register by its number in instructions.
static inline int64_t amx_register(const ucontext_t *uc, unsigned n) {
  static const int at[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                             REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                             REG_R12, REG_R13, REG_R14, REG_R15};
  return uc->uc_mcontext.gregs[at[n]];
}

// A decoded instruction: VEX fields, modrm, and of memory the address without
// index, and index * scale.
typedef struct amx_insn {
  unsigned prefix, opcode, reg, rm, vvvv, size;
  bool memory;
  uint8_t *address;
  int64_t index;
} amx_insn;

static inline void amx_decode_memory(amx_insn *i, const ucontext_t *uc,
                                     const uint8_t *p, unsigned mod, bool x, bool b) {
  unsigned at = 5, base = i->rm;
  int64_t address = 0;
  bool has_base = true, rip = false;
  if (base == 4) {
    unsigned sib = p[at++], index = (sib >> 3 & 7) | (x ? 8 : 0);
    base = sib & 7;
    if (index != 4) i->index = (int64_t)((uint64_t)amx_register(uc, index) << (sib >> 6));
    has_base = mod != 0 || base != 5;
  } else if (mod == 0 && base == 5) {
    has_base = false, rip = true;
  }
  if (has_base) address = amx_register(uc, base | (b ? 8 : 0));
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

static inline amx_insn amx_decode(const ucontext_t *uc) {
  const uint8_t *p = (const uint8_t *)(uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
  if (p[0] != 0xc4 || (p[1] & 0x1f) != 2 || (p[2] & 0x84))
    amx_refuse("an illegal instruction that is none of AMX");
  amx_insn i = {.prefix = p[2] & 3, .opcode = p[3], .reg = p[4] >> 3 & 7,
                .rm = p[4] & 7, .vvvv = ~p[2] >> 3 & 15, .size = 5};
  unsigned mod = p[4] >> 6;
  i.memory = mod != 3;
  if (i.memory) amx_decode_memory(&i, uc, p, mod, !(p[1] & 0x40), !(p[1] & 0x20));
  return i;
}

static inline void amx_configure(const uint8_t *c) {
  if (c[0] != 1 || c[1] != 0) amx_refuse("palette");
  amx.configured = true;
  memcpy(amx.bytes, c + 16, sizeof amx.bytes);
  memcpy(amx.rows, c + 48, sizeof amx.rows);
  for (int t = 0; t < 8; t++)
    if (amx.rows[t] > 16 || amx.bytes[t] > 64) amx_refuse("configuration");
  memset(amx.data, 0, sizeof amx.data);
}

static inline void amx_use(unsigned t) {
  if (!amx.configured || t > 7 || !amx.rows[t] || !amx.bytes[t])
    amx_refuse("a tile without configuration");
}

static inline void amx_move(const amx_insn *i, bool store) {
  amx_use(i->reg);
  if (i->rm != 4) amx_refuse("a tile in memory without a stride");
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
    amx_refuse("tiles that do not fit");
  for (unsigned m = 0; m < amx.rows[c]; m++)
    for (unsigned n = 0; n < amx.bytes[c] / 4u; n++) {
      int32_t sum;
      memcpy(&sum, &amx.data[c][m][4 * n], 4);
      for (unsigned k = 0; k < amx.bytes[a]; k++)
        sum += amx.data[a][m][k] * (int8_t)amx.data[b][k / 4][4 * n + k % 4];
      memcpy(&amx.data[c][m][4 * n], &sum, 4);
    }
}

enum { AMX_NP, AMX_66, AMX_F3, AMX_F2 };

static inline bool amx_execute(const amx_insn *i) {
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

static inline void amx_on_illegal(int sig, siginfo_t *info, void *context) {
  (void)sig, (void)info;
  ucontext_t *uc = context;
  amx_insn i = amx_decode(uc);
  if (!amx_execute(&i)) amx_refuse("an instruction that the test does not know");
  amx.count++;
  uc->uc_mcontext.gregs[REG_RIP] += i.size;
}

// Until amx_emulate_end, which returns how many instructions there were.
static struct sigaction amx_before;
static inline void amx_emulate_begin(void) {
  struct sigaction on = {.sa_sigaction = amx_on_illegal, .sa_flags = SA_SIGINFO};
  memset(&amx, 0, sizeof amx);
  sigaction(SIGILL, &on, &amx_before);
}

static inline unsigned long amx_emulate_end(void) {
  sigaction(SIGILL, &amx_before, NULL);
  return amx.count;
}
#endif

#endif
