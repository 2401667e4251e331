// Gathers and scatters whose indices lie in one of zmm16 to zmm31: Bochs 2.7 refuses them,
// CPUs do not. Loaded before a program there (LD_PRELOAD), this executes them in the
// handler of SIGILL.
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

// A decoded instruction, EVEX.66.0F38 with an index.
typedef struct gather {
  bool scatter;
  unsigned reg, index, mask, scale;
  unsigned n, element, index_bytes;  // elements, their bytes and those of an index
  unsigned size;                     // of the instruction
  int64_t address;                   // without index
} gather;

static bool decode(const uint8_t *p, const greg_t *gregs, gather *g) {
  static const int at[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                             REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                             REG_R12, REG_R13, REG_R14, REG_R15};
  unsigned op = p[4] & 0xfc, mod = p[5] >> 6, base = p[6] & 7;
  if (p[0] != 0x62 || (p[1] & 15) != 2 || (p[2] & 7) != 5 || (p[5] & 7) != 4 || mod == 3)
    return false;
  if (op != 0x90 && op != 0xa0) return false;
  g->scatter = op == 0xa0;
  g->element = p[2] & 0x80 ? 8 : 4, g->index_bytes = p[4] & 1 ? 8 : 4;
  g->n = (16u << (p[3] >> 5 & 3)) / (g->element > g->index_bytes ? g->element : g->index_bytes);
  g->reg = (p[5] >> 3 & 7) | (p[1] & 0x80 ? 0 : 8) | (p[1] & 0x10 ? 0 : 16);
  g->index = (p[6] >> 3 & 7) | (p[1] & 0x40 ? 0 : 8) | (p[3] & 8 ? 0 : 16);
  g->mask = p[3] & 7, g->scale = 1u << (p[6] >> 6), g->size = 7, g->address = 0;
  bool has_base = mod != 0 || base != 5;
  if (has_base) g->address = gregs[at[base | (p[1] & 0x20 ? 0 : 8)]];
  if (mod == 1) {
    g->address += (int8_t)p[7] * (int)g->element, g->size = 8;
  } else if (mod == 2 || !has_base) {
    int32_t disp;
    memcpy(&disp, p + 7, 4);
    g->address += disp, g->size = 11;
  }
  return true;
}

// Copies a zmm register from, or to, what the kernel saved, in XSAVE's standard places.
static void move_vector(uint8_t *area, unsigned n, uint8_t *v, bool store) {
  static const struct { unsigned at, from, bytes; } low[] = {
      {160, 0, 16}, {576, 16, 16}, {1152, 32, 32}};
  for (unsigned i = 0; i < (n < 16 ? 3 : 1); i++) {
    unsigned bytes = n < 16 ? low[i].bytes : 64, from = n < 16 ? low[i].from : 0;
    uint8_t *saved = area + (n < 16 ? low[i].at + bytes * n : 1664 + bytes * (n - 16));
    memcpy(store ? saved : v + from, store ? v + from : saved, bytes);
  }
}

// Components whose bit is clear are all zero, whatever lies in their place.
static void want_components(uint8_t *area) {
  static const struct { unsigned bit, at, bytes; } part[] = {
      {2, 160, 256}, {4, 576, 256}, {32, 1088, 64}, {64, 1152, 512}, {128, 1664, 1024}};
  for (unsigned i = 0; i < sizeof part / sizeof *part; i++)
    if (!(area[512] & part[i].bit)) memset(area + part[i].at, 0, part[i].bytes);
  area[512] |= 2 | 4 | 32 | 64 | 128;
}

static void execute(const gather *g, uint8_t *area) {
  uint8_t index[64], v[64], *mask = area + 1088 + 8 * g->mask;
  uint64_t bits;
  want_components(area);
  memcpy(&bits, mask, 8);
  move_vector(area, g->index, index, false);
  move_vector(area, g->reg, v, false);
  for (unsigned i = 0; i < g->n; i++) {
    int64_t offset = 0;
    int32_t narrow;
    memcpy(&offset, index + 8 * i % 64, 8);
    memcpy(&narrow, index + 4 * i, 4);
    if (g->index_bytes == 4) offset = narrow;
    uint8_t *p = (uint8_t *)(intptr_t)(g->address + offset * g->scale), *e = v + g->element * i;
    if (bits >> i & 1) memcpy(g->scatter ? p : e, g->scatter ? e : p, g->element);
  }
  memset(mask, 0, 8);
  if (g->scatter) return;
  memset(v + g->n * g->element, 0, sizeof v - g->n * g->element);
  move_vector(area, g->reg, v, true);
}

static void on_illegal(int sig, siginfo_t *info, void *context) {
  (void)info;
  ucontext_t *uc = context;
  greg_t *gregs = uc->uc_mcontext.gregs;
  gather g;
  if (!decode((const uint8_t *)gregs[REG_RIP], gregs, &g)) {
    signal(sig, SIG_DFL);  // and once more
    return;
  }
  execute(&g, (uint8_t *)uc->uc_mcontext.fpregs);
  gregs[REG_RIP] += g.size;
}

__attribute__((constructor)) static void begin(void) {
  struct sigaction on = {.sa_sigaction = on_illegal, .sa_flags = SA_SIGINFO};
  sigaction(SIGILL, &on, NULL);
}
