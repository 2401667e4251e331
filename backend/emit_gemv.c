// linear of codes of i16, of which there are a row or a few as of class tokens, with packed
// weights of i8 or i4, and an elementwise epilogue.
//
// Each row passes over all weights, which come from a cache or memory: reading them in their
// order, once, is what counts. They are widened to i16 in registers, for pmaddwd. Bytes keep
// their order, so that a sum is two lanes side by side. Nibbles are codes 0 and 2 or 1 and 3
// of an element then. With VNNI nibbles become bytes, c + 8, and the row is split into
// bytes, x = 256 h + l: the sum of x c is 256 times that of h (c + 8), and that of l (c + 8),
// less 8 times that of x. For nibbles, or where its last element is not whole, a row is
// prepared in scratch, in the order that they want and with zeros behind it.
//
// A task is a chunk of columns, all rows. Sums of a chunk wait in scratch for the epilogue,
// which is a loop over vectors: kernels of this kind are many, and each runs little.
#include "bias.h"
#include "chain.h"
#include "elt.h"
#include "gemm.h"
#include "loop.h"
#include "rows.h"
#include "tile.h"

bool match_gemv(const vq_func *kernel, vq_kernel_plan *plan);
vq_status emit_gemv(vq_emit *e);

typedef LLVMValueRef val;

#define UNIT 64  // bytes of a panel that are taken together: an element, or two of nibbles
#define STEPS 4  // units in a turn of the loop, of targets with vectors of 32 bytes or more
#define CHUNK_PANELS (VQ_TASK_COLS / VQ_PANEL)
#define SCRATCH_MAX (4 << 20)
#define MOST_CODES 32  // of i16 in a vector of any target
#define MOST_SUMS 8    // vectors of sums of any target

typedef enum form { BYTES, NIBBLES, SPLIT } form;

typedef struct gemv {
  vq_chain chain;
  vq_rows rows;
  const vq_value *w, *bias;
  int64_t k, n;  // codes of a row, columns
  bool nibbles;
  int64_t units, unit;  // of a panel; codes of a column in one
  int64_t fine, chunks;
  // while emitting
  form form;
  val row, x;  // the row at hand, and where its codes lie
  val start;   // what sums of the first vectors start with
} gemv;

static bool describe(const vq_func *kernel, gemv *g) {
  const vq_op *op = vq_rows_anchor(kernel);
  memset(g, 0, sizeof *g);
  if (op->code != VQ_OP_linear || vq_in(op, 0)->type->dtype != VQ_i16) return false;
  const vq_attrs_linear *a = VQ_ATTRS(op, linear);
  g->w = vq_in(op, 1), g->bias = vq_in_opt(op, 2), g->fine = a->fine;
  g->nibbles = g->w->type->dtype == VQ_i4;
  if (!vq_str_is(a->layout, g->nibbles ? "panel16x8" : "panel16x4") ||
      !vq_chain_match(kernel, op, &g->chain) ||
      !vq_rows_match(kernel, vq_in(op, 0), &g->rows) || !vq_rows_in_place(&g->rows))
    return false;
  for (unsigned i = 1; i < op->n_in; i++)
    if (vq_in(op, i)->kind != VQ_VALUE_ARG) return false;
  g->k = g->rows.cols, g->n = g->chain.cols;
  g->unit = g->nibbles ? 8 : 4;
  g->units = (g->k + g->unit - 1) / g->unit;
  g->chunks = (g->n + VQ_TASK_COLS - 1) / VQ_TASK_COLS;
  return g->k < SCRATCH_MAX / 4;
}

bool match_gemv(const vq_func *kernel, vq_kernel_plan *plan) {
  gemv g;
  if (!describe(kernel, &g)) return false;
  plan->n_task = g.chunks;
  plan->bias = g.bias;
  plan->scratch_bytes = (uint32_t)(VQ_TASK_COLS * 4 + (g.k + MOST_CODES) * 2);
  return true;
}

static LLVMTypeRef word(const vq_emit *e) { return LLVMInt16TypeInContext(e->lc); }

// ---- a row ---------------------------------------------------------------------

// Where each byte of an element comes from.
static const unsigned char order[][8] = {[BYTES] = {0, 1, 2, 3, 4, 5, 6, 7},
                                         [NIBBLES] = {0, 1, 4, 5, 2, 3, 6, 7},
                                         [SPLIT] = {0, 2, 4, 6, 1, 3, 5, 7}};

// Writes whole vectors, so that zeros follow the row. v[0] += sums of pairs of codes.
static void prepare_step(const vq_emit *e, void *user, val col, unsigned lanes, unsigned n,
                         val *v) {
  const gemv *g = user;
  val map[2 * MOST_CODES], from = vq_rows_at(e, &g->rows, g->row);
  for (unsigned i = 0; i < 2 * lanes; i++)
    map[i] = LLVMConstInt(e->i32, i / 8 * 8 + order[g->form][i % 8], false);
  val x = vq_load_n(e, vq_vec_type(word(e), lanes), vq_at(e, word(e), from, col), 2, n);
  if (g->form == SPLIT) v[0] = vq_tile_add_pairs(e, v[0], x, vq_ki_like(LLVMTypeOf(x), 1));
  x = LLVMBuildBitCast(e->b, x, vq_vec_type(e->i8, 2 * lanes), "");
  x = LLVMBuildShuffleVector(e->b, x, x, LLVMConstVector(map, 2 * lanes), "");
  vq_store(e, x, vq_at(e, word(e), g->x, col), 2);
}

static val add_ints(const vq_emit *e, val a, val b) { return LLVMBuildAdd(e->b, a, b, ""); }

static void prepare_row(const vq_emit *e, gemv *g) {
  unsigned lanes = vq_f32_lanes(e->target);
  val sum = LLVMConstNull(vq_vec_type(e->i32, lanes));
  g->start = sum;
  if (g->form == BYTES && g->k % g->unit == 0) {
    g->x = vq_rows_at(e, &g->rows, g->row);
    return;
  }
  g->x = vq_atk(e, e->i32, e->scratch, VQ_TASK_COLS);
  vq_row_each(e, g->k, 2 * lanes, prepare_step, g, g->form == SPLIT, &sum);
  if (g->form != SPLIT) return;
  sum = LLVMBuildMul(e->b, vq_reduce(e, sum, add_ints), LLVMConstInt(e->i32, 8, false), "");
  g->start = vq_splat(e, LLVMBuildNeg(e->b, sum, ""), lanes);
}

// ---- sums ----------------------------------------------------------------------

// Vectors of columns in a panel, and of sums of them: bytes have two lanes for a column,
// split rows two sums.
static unsigned cols_of(const vq_emit *e) { return VQ_PANEL / vq_f32_lanes(e->target); }
static unsigned vecs_of(const vq_emit *e, const gemv *g) {
  return cols_of(e) * (g->form == NIBBLES ? 1 : 2);
}

// Several times those where they are few: one sum alone would wait for what was added last.
static unsigned sums_of(const vq_emit *e, const gemv *g) {
  unsigned vecs = vecs_of(e, g), n = e->target->n_vector_reg / 4;
  return vecs < n ? n : vecs;
}

// Codes of the row at `from`, as many as `type` has, in all lanes.
static val everywhere(const vq_emit *e, LLVMTypeRef type, val from) {
  unsigned bits = type == e->i64 ? 64 : 32;
  val x = vq_splat(e, vq_load(e, type, from, 2), e->target->vector_bits / bits);
  return LLVMBuildBitCast(e->b, x, vq_vec_type(e->i32, vq_f32_lanes(e->target)), "");
}

// sum[0 .. vecs) += the element of bytes at `w` times that of the row.
static void add_bytes(const vq_emit *e, val w, val row, unsigned vecs, val *sum) {
  unsigned n = e->target->vector_bits / 16;
  val x = everywhere(e, e->i64, row);
  for (unsigned v = 0; v < vecs; v++) {
    val codes = vq_load(e, vq_vec_type(e->i8, n), vq_atk(e, e->i8, w, v * n), 1);
    codes = LLVMBuildSExt(e->b, codes, vq_vec_type(word(e), n), "");
    sum[v] = vq_tile_add_pairs(e, sum[v], x, codes);
  }
}

// The same of nibbles. A word holds two of each element, those of the first one in the low
// halves of its bytes: `place` of a nibble counts from the lowest one.
static void add_nibbles(const vq_emit *e, val w, val row, unsigned vecs, val *sum) {
  static const unsigned place[] = {0, 2, 1, 3};
  LLVMTypeRef type = vq_vec_type(word(e), e->target->vector_bits / 16);
  val x[4];
  for (unsigned p = 0; p < 4; p++) x[p] = everywhere(e, e->i32, vq_atk(e, e->i32, row, p));
  for (unsigned v = 0; v < vecs; v++) {
    val words = vq_load(e, type, vq_atk(e, type, w, v), 1);
    for (unsigned p = 0; p < 4; p++) {
      val code = LLVMBuildShl(e->b, words, vq_ki_like(type, 12 - 4 * place[p]), "");
      code = LLVMBuildAShr(e->b, code, vq_ki_like(type, 12), "");
      sum[v] = vq_tile_add_pairs(e, sum[v], x[p], code);
    }
  }
}

// The same with bytes of the row: those of l add to the first half of the sums.
static void add_split(const vq_emit *e, val w, val row, unsigned vecs, val *sum) {
  unsigned n = e->target->vector_bits / 8;
  LLVMTypeRef bytes = vq_vec_type(e->i8, n), words = vq_vec_type(word(e), n / 2);
  LLVMTypeRef type = vq_vec_type(e->i32, n / 4);
  for (unsigned v = 0; v < vecs / 2; v++) {
    val flip = vq_load(e, bytes, vq_atk(e, bytes, w, v), 1);
    flip = LLVMBuildXor(e->b, flip, vq_ki_like(bytes, 0x88), "");
    val up = LLVMBuildLShr(e->b, LLVMBuildBitCast(e->b, flip, words, ""),
                           vq_ki_like(words, 4), "");
    const val of[] = {flip, LLVMBuildBitCast(e->b, up, bytes, "")};
    for (unsigned k = 0; k < 2; k++) {
      val c = LLVMBuildAnd(e->b, of[k], vq_ki_like(bytes, 15), "");
      val l = everywhere(e, e->i32, vq_atk(e, e->i32, row, 2 * k));
      val h = everywhere(e, e->i32, vq_atk(e, e->i32, row, 2 * k + 1));
      c = LLVMBuildBitCast(e->b, c, type, "");
      vq_tile_add_codes(e, VQ_TILE_U8, l, &c, 1, &sum[v]);
      vq_tile_add_codes(e, VQ_TILE_U8, c, &h, 1, &sum[vecs / 2 + v]);
    }
  }
}

// Sums += units [lo, hi) of a panel, `steps` in a turn.
static void add_units(const vq_emit *e, const gemv *g, val panel, int64_t lo, int64_t hi,
                      unsigned steps, val *sum) {
  static void (*const add[])(const vq_emit *, val, val, unsigned, val *) = {
      [BYTES] = add_bytes, [NIBBLES] = add_nibbles, [SPLIT] = add_split};
  unsigned vecs = vecs_of(e, g), n = sums_of(e, g);
  if (lo == hi) return;
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, lo), vq_k64(e, hi), steps, n, sum);
  val w = vq_at(e, e->i8, panel, vq_mulk(e, l.i, UNIT));
  val row = vq_at(e, word(e), g->x, vq_mulk(e, l.i, g->unit));
  for (unsigned s = 0; s < steps; s++)
    add[g->form](e, vq_atk(e, e->i8, w, s * UNIT), vq_atk(e, word(e), row, s * g->unit),
                 vecs, l.v + s * vecs % n);
  vq_loop_end(e, &l);
  memcpy(sum, l.v, n * sizeof *sum);
}

// Lanes side by side of a and b, added.
static val add_sides(const vq_emit *e, val a, val b) {
  unsigned lanes = vq_lanes_of(LLVMTypeOf(a));
  val side[2], map[16];
  for (unsigned s = 0; s < 2; s++) {
    for (unsigned i = 0; i < lanes; i++) map[i] = LLVMConstInt(e->i32, 2 * i + s, false);
    side[s] = LLVMBuildShuffleVector(e->b, a, b, LLVMConstVector(map, lanes), "");
  }
  return LLVMBuildAdd(e->b, side[0], side[1], "");
}

// Vector `i` of columns.
static val total(const vq_emit *e, const gemv *g, val const *sum, unsigned i) {
  if (g->form == NIBBLES) return sum[i];
  if (g->form == BYTES) return add_sides(e, sum[2 * i], sum[2 * i + 1]);
  val high = sum[cols_of(e) + i];
  high = LLVMBuildShl(e->b, high, vq_ki_like(LLVMTypeOf(high), 8), "");
  return LLVMBuildAdd(e->b, high, sum[i], "");
}

// The sums of a panel to `to`.
static void sum_panel(const vq_emit *e, const gemv *g, val panel, val to) {
  unsigned vecs = vecs_of(e, g), n = sums_of(e, g);
  LLVMTypeRef type = vq_vec_type(e->i32, vq_f32_lanes(e->target));
  val sum[MOST_SUMS];
  for (unsigned v = 0; v < n; v++) sum[v] = v < cols_of(e) ? g->start : LLVMConstNull(type);
  unsigned steps = e->target->vector_bits >= 256 ? STEPS : 1;
  int64_t whole = g->units - g->units % steps;
  add_units(e, g, panel, 0, whole, steps, sum);
  add_units(e, g, panel, whole, g->units, 1, sum);
  for (unsigned v = vecs; v < n; v++)
    sum[v % vecs] = LLVMBuildAdd(e->b, sum[v % vecs], sum[v], "");
  for (unsigned i = 0; i < cols_of(e); i++)
    vq_store(e, total(e, g, sum, i), vq_atk(e, type, to, i), 4);
}

static void sum_chunk(const vq_emit *e, const gemv *g, val chunk) {
  int64_t panels = (g->n + VQ_PANEL - 1) / VQ_PANEL;
  val first = vq_mulk(e, chunk, CHUNK_PANELS), w = vq_arg_ptr(e, g->w);
  val last = vq_min64(e, vq_addk(e, first, CHUNK_PANELS), vq_k64(e, panels));
  vq_loop l;
  vq_loop_begin(e, &l, first, last, 1, 0, NULL);
  val to = vq_mulk(e, LLVMBuildNSWSub(e->b, l.i, first, ""), VQ_PANEL);
  sum_panel(e, g, vq_at(e, e->i8, w, vq_mulk(e, l.i, g->units * UNIT)),
            vq_at(e, e->i32, e->scratch, to));
  vq_loop_end(e, &l);
}

// ---- epilogue --------------------------------------------------------------------

// Codes take two vectors at a time, as in emit_gemm.c.
static unsigned finish_lanes(const vq_emit *e) {
  return vq_f32_lanes(e->target) * (e->target->vector_bits >= 256 ? 2 : 1);
}

static val load_bias(const vq_emit *e, const gemv *g, val col, unsigned lanes, unsigned n) {
  if (e->plan->bias_bytes < 4) return vq_bias_load(e, g->bias, col, lanes);
  return vq_elt_load(e, VQ_i32, vq_arg_ptr(e, g->bias), col, lanes, n);
}

// The first `n` of the columns from `col`, which is column `at` of the chunk.
static void finish_vector(const vq_emit *e, const gemv *g, val col, val at, unsigned n) {
  unsigned lanes = finish_lanes(e);
  LLVMTypeRef type = vq_vec_type(e->i32, lanes);
  val v = vq_load(e, type, vq_at(e, e->i32, e->scratch, at), 4);
  if (g->fine) {
    v = LLVMBuildAdd(e->b, v, vq_ki_like(type, INT64_C(1) << (g->fine - 1)), "");
    v = LLVMBuildAShr(e->b, v, vq_ki_like(type, g->fine), "");
  }
  if (g->bias) v = LLVMBuildAdd(e->b, v, load_bias(e, g, col, lanes, n), "");
  vq_chain_store(e, &g->chain, v, g->row, col, lanes, n);
}

static void finish_chunk(const vq_emit *e, const gemv *g, val chunk) {
  unsigned lanes = finish_lanes(e);
  int64_t whole = g->n - g->n % lanes;
  val first = vq_mulk(e, chunk, VQ_TASK_COLS), last = vq_addk(e, first, VQ_TASK_COLS);
  vq_loop l;
  vq_loop_begin(e, &l, first, vq_min64(e, last, vq_k64(e, whole)), lanes, 0, NULL);
  finish_vector(e, g, l.i, LLVMBuildNSWSub(e->b, l.i, first, ""), lanes);
  vq_loop_end(e, &l);
  if (whole == g->n) return;
  vq_if ends;
  vq_if_begin(e, &ends, LLVMBuildICmp(e->b, LLVMIntSGE, last, vq_k64(e, g->n), ""));
  finish_vector(e, g, vq_k64(e, whole), vq_k64(e, whole % VQ_TASK_COLS), (unsigned)(g->n - whole));
  vq_if_end(e, &ends);
}

vq_status emit_gemv(vq_emit *e) {
  gemv g;
  if (!describe(e->kernel, &g)) VQ_BUG("gemv does not take this kernel");
  g.form = !g.nibbles ? BYTES : e->target->vnni ? SPLIT : NIBBLES;
  vq_loop row, chunk;
  vq_loop_range(e, &row, g.chain.rows, 1);
  g.row = row.i;
  prepare_row(e, &g);
  vq_loop_begin(e, &chunk, e->begin, e->end, 1, 0, NULL);
  sum_chunk(e, &g, chunk.i);
  finish_chunk(e, &g, chunk.i);
  vq_loop_end(e, &chunk);
  vq_loop_end(e, &row);
  return VQ_OK;
}
