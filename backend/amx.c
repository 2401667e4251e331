// Products of codes or bf16 on the tiles of AMX. See amx.h.
//
// Fixed tile numbers, so that LLVM neither allocates tiles nor configures them:
// a kernel configures them once and calls functions that are a loop of tile
// instructions each. The four sums start as the bias, read as a tile whose rows
// all lie at one address.
#include "amx.h"

#include "loop.h"
#include "tile.h"

typedef LLVMValueRef val;

// Sums of the first and second rows, each in one or two panels; A; B.
enum { SUM, A0 = SUM + 4, A1, B0, B1 };

int64_t vq_amx_step(const vq_product *p) {
  int64_t n = (p->k + VQ_AMX_STEP - 1) / VQ_AMX_STEP;
  if (p->k == 0) return VQ_AMX_STEP;
  while (p->k % n) n++;
  return p->k / n;
}

// Both tiles of rows must have one, and few rows are not worth it.
bool vq_amx_takes(const vq_target *t, const vq_product *p) {
  bool has = p->codes  ? t->amx != VQ_AMX_NONE
             : p->bf16 ? t->bf16 == VQ_BF16_TILES || t->amx == VQ_AMX_SOFT
                       : false;
  if (!has || p->m / p->parts < 8) return false;
  int64_t step = vq_amx_step(p);
  return step >= VQ_AMX_STEP / 2 || step == p->k;
}

// ---- configuration ---------------------------------------------------------------

static val word_at(const vq_emit *e, val config, unsigned byte) {
  return vq_atk(e, e->i8, config, byte);
}

// Eight rows, one byte each; n in the bytes of `where` that are 1.
static val in_bytes(const vq_emit *e, val n, int64_t where) {
  return vq_mulk(e, n, where);
}

// Rows of the tiles 0, 1, 4 of the first half of a block, 2, 3, 5 of the second.
static val rows_word(const vq_emit *e, val size, int64_t step) {
  val low = vq_divk(e, vq_addk(e, size, 1), 2);
  val high = LLVMBuildNSWSub(e->b, size, low, "");
  val w = vq_add(e, in_bytes(e, low, 0x0000000100000101),
                 in_bytes(e, high, 0x0000010001010000));
  return vq_addk(e, w, step << 48 | step << 56);
}

static void write_config(const vq_emit *e, val config, val size, int64_t step) {
  int64_t sums = 0x0040004000400040, operands = 0x0040004000000000;
  operands |= 4 * step | 4 * step << 16;
  val word[8] = {[0] = vq_k64(e, 1), [2] = vq_k64(e, sums), [3] = vq_k64(e, operands),
                 [6] = rows_word(e, size, step)};
  for (unsigned i = 0; i < 8; i++)
    vq_store(e, word[i] ? word[i] : vq_k64(e, 0), word_at(e, config, 8 * i), 8);
}

vq_amx vq_amx_begin(const vq_emit *e, const vq_product *p, val rows, val config) {
  vq_amx x = {.rows = rows, .config = config};
  x.count = vq_divk(e, vq_addk(e, rows, VQ_AMX_ROWS - 1), VQ_AMX_ROWS);
  val up = vq_addk(e, vq_add(e, rows, x.count), -1);
  x.size = LLVMBuildUDiv(e->b, up, x.count, "");
  write_config(e, config, x.size, vq_amx_step(p));
  if (e->target->amx == VQ_AMX_TILES)
    vq_intrinsic(e, "llvm.x86.ldtilecfg", NULL, 0, &config, 1);
  return x;
}

void vq_amx_end(const vq_emit *e) {
  if (e->target->amx == VQ_AMX_TILES)
    vq_intrinsic(e, "llvm.x86.tilerelease", NULL, 0, NULL, 0);
}

// ---- blocks ----------------------------------------------------------------------

static vq_amx_block block_at(const vq_emit *e, const vq_amx *x, val nth) {
  val row = vq_mul(e, nth, x->size);
  val last = LLVMBuildNSWSub(e->b, x->rows, x->size, "");
  vq_amx_block b = {.nth = nth, .row = vq_min64(e, row, last)};
  b.skip = LLVMBuildNSWSub(e->b, row, b.row, "");
  return b;
}

void vq_amx_each_block(const vq_emit *e, const vq_amx *x, vq_amx_fn tile,
                       vq_amx_fn finish, void *user) {
  vq_loop l;
  vq_if f;
  vq_amx_block b;
  if (!finish) {
    vq_loop_begin(e, &l, vq_k64(e, 0), x->count, 1, 0, NULL);
    b = block_at(e, x, l.i);
    tile(e, user, &b);
    vq_loop_end(e, &l);
    return;
  }
  vq_loop_begin(e, &l, vq_k64(e, 0), vq_addk(e, x->count, 1), 1, 0, NULL);
  vq_if_begin(e, &f, LLVMBuildICmp(e->b, LLVMIntSLT, l.i, x->count, ""));
  b = block_at(e, x, l.i);
  tile(e, user, &b);
  vq_if_end(e, &f);
  vq_if_begin(e, &f, LLVMBuildICmp(e->b, LLVMIntSGT, l.i, vq_k64(e, 0), ""));
  b = block_at(e, x, vq_addk(e, l.i, -1));
  finish(e, user, &b);
  vq_if_end(e, &f);
  vq_loop_end(e, &l);
}

// ---- the function of a block -----------------------------------------------------

typedef struct block {
  const vq_emit *e;
  vq_amx_soft soft;
  bool is_soft, bf16;
  val lda, ldc, low;  // low: rows of the first half
} block;

static val number(const vq_emit *e, unsigned tile) {
  return LLVMConstInt(e->i8, tile, false);
}

static void load(const block *b, unsigned tile, val p, val stride) {
  val arg[] = {number(b->e, tile), p, stride};
  if (b->is_soft)
    vq_amx_soft_load(b->e, &b->soft, tile, p, stride);
  else
    vq_intrinsic(b->e, "llvm.x86.tileloadd64", NULL, 0, arg, 3);
}

static void store(const block *b, unsigned tile, val p, val stride) {
  val arg[] = {number(b->e, tile), p, stride};
  if (b->is_soft)
    vq_amx_soft_store(b->e, &b->soft, tile, p, stride);
  else
    vq_intrinsic(b->e, "llvm.x86.tilestored64", NULL, 0, arg, 3);
}

static void add_product(const block *b, unsigned sums, unsigned x, unsigned w) {
  val arg[] = {number(b->e, sums), number(b->e, x), number(b->e, w)};
  if (b->is_soft)
    vq_amx_soft_add(b->e, &b->soft, b->bf16, sums, x, w);
  else
    vq_intrinsic(b->e, b->bf16 ? "llvm.x86.tdpbf16ps" : "llvm.x86.tdpbusd", NULL, 0, arg, 3);
}

static unsigned sum_of(unsigned half, unsigned panel) { return SUM + 2 * half + panel; }

static val byte_of_config(const vq_emit *e, val config, unsigned at) {
  return LLVMBuildZExt(e->b, vq_load(e, e->i8, word_at(e, config, at), 1), e->i64, "");
}

// One step: tiles of A once, tiles of B once, all products.
static void step(const block *b, unsigned panels, val a, val w, val panel) {
  const vq_emit *e = b->e;
  val row = vq_k64(e, 4 * VQ_PANEL);
  for (unsigned j = 0; j < panels; j++) {
    load(b, B0 + j, j ? vq_at(e, e->i8, w, panel) : w, row);
    for (unsigned half = 0; half < 2; half++) {
      val p = half ? vq_at(e, e->i8, a, vq_mul(e, b->low, b->lda)) : a;
      if (j == 0) load(b, A0 + half, p, b->lda);
      add_product(b, sum_of(half, j), A0 + half, B0 + j);
    }
  }
}

void vq_amx_body(vq_emit *e, unsigned panels, bool bf16) {
  val config = LLVMGetParam(e->fn, VQ_TILE_CONFIG), c = LLVMGetParam(e->fn, VQ_TILE_C);
  block b = {.e = e, .is_soft = e->target->amx == VQ_AMX_SOFT, .bf16 = bf16,
             .lda = LLVMGetParam(e->fn, VQ_TILE_LDA),
             .ldc = LLVMGetParam(e->fn, VQ_TILE_LDC)};
  if (b.is_soft) {
    LLVMTypeRef type = LLVMArrayType2(e->i8, VQ_AMX_N_TILE * VQ_AMX_TILE_BYTES);
    b.soft = (vq_amx_soft){config, LLVMBuildAlloca(e->b, type, "tiles")};
  }
  b.low = byte_of_config(e, config, VQ_AMX_ROWS_AT(A0));
  val elements = byte_of_config(e, config, VQ_AMX_ROWS_AT(B0));
  for (unsigned j = 0; j < panels; j++)
    for (unsigned half = 0; half < 2; half++)
      load(&b, sum_of(half, j),
           vq_atk(e, e->i32, LLVMGetParam(e->fn, VQ_TILE_INIT), j * VQ_PANEL),
           vq_k64(e, 0));
  vq_loop l;
  val from[] = {LLVMGetParam(e->fn, VQ_TILE_A), LLVMGetParam(e->fn, VQ_TILE_B)};
  vq_loop_begin(e, &l, vq_k64(e, 0), LLVMGetParam(e->fn, VQ_TILE_K), 1, 2, from);
  step(&b, panels, l.v[0], l.v[1], LLVMGetParam(e->fn, VQ_TILE_PANEL));
  l.v[0] = vq_at(e, e->i32, l.v[0], elements);
  l.v[1] = vq_at(e, e->i32, l.v[1], vq_mulk(e, elements, VQ_PANEL));
  vq_loop_end(e, &l);
  for (unsigned half = 0; half < 2; half++)
    for (unsigned j = 0; j < panels; j++) {
      val p = half ? vq_at(e, e->i8, c, vq_mul(e, b.low, b.ldc)) : c;
      store(&b, sum_of(half, j), vq_atk(e, e->i32, p, j * VQ_PANEL), b.ldc);
    }
}
