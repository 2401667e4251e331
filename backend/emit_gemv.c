// linear of codes of i16, of which there are a row or a few as of class tokens, with packed
// weights of i8 or i4, and an elementwise epilogue.
//
// Each row passes over all weights, which come from a cache or memory: reading them in their
// order, once, is what counts. A row is prepared in scratch, its codes in the order in which
// the weights of a vector are widened: codes 0 and 2 of an element, then 1 and 3, as pairs for
// pmaddwd; the rest is zeros. A task is a chunk of columns, all rows. Sums of a chunk wait
// in scratch for the epilogue, which is a loop over vectors: kernels of this kind are many,
// and each runs little.
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
#define CHUNK_PANELS (VQ_TASK_COLS / VQ_PANEL)
#define SCRATCH_MAX (4 << 20)
#define MOST_CODES 32  // of i16 in a vector of any target
#define STEPS 4        // units in a turn of the loop
#define SUMS 4         // vectors of sums, at least those of a panel

typedef struct gemv {
  vq_chain chain;
  vq_rows rows;
  const vq_value *w, *bias;
  int64_t k, n;    // codes of a row, columns
  int64_t units;   // of a panel
  unsigned pairs;  // of codes of a column in a unit: 2, of nibbles 4
  int64_t fine, chunks;
} gemv;

static bool describe(const vq_func *kernel, gemv *g) {
  const vq_op *op = vq_rows_anchor(kernel);
  memset(g, 0, sizeof *g);
  if (op->code != VQ_OP_linear || vq_in(op, 0)->type->dtype != VQ_i16) return false;
  const vq_attrs_linear *a = VQ_ATTRS(op, linear);
  g->w = vq_in(op, 1), g->bias = vq_in_opt(op, 2), g->fine = a->fine;
  bool nibbles = g->w->type->dtype == VQ_i4;
  if (!vq_str_is(a->layout, nibbles ? "panel16x8" : "panel16x4") ||
      !vq_chain_match(kernel, op, &g->chain) ||
      !vq_rows_match(kernel, vq_in(op, 0), &g->rows) || !vq_rows_in_place(&g->rows))
    return false;
  for (unsigned i = 1; i < op->n_in; i++)
    if (vq_in(op, i)->kind != VQ_VALUE_ARG) return false;
  g->k = g->rows.cols, g->n = g->chain.cols;
  g->pairs = nibbles ? 4 : 2;
  g->units = (g->k + 2 * g->pairs - 1) / (2 * g->pairs);
  g->chunks = (g->n + VQ_TASK_COLS - 1) / VQ_TASK_COLS;
  return g->k < SCRATCH_MAX / 4;
}

bool match_gemv(const vq_func *kernel, vq_kernel_plan *plan) {
  gemv g;
  if (!describe(kernel, &g)) return false;
  plan->n_task = g.chunks;
  plan->scratch_bytes = (uint32_t)(VQ_TASK_COLS * 4 + (g.k + MOST_CODES) * 2);
  return true;
}

// ---- a row ---------------------------------------------------------------------

static val pairs_at(const vq_emit *e) { return vq_atk(e, e->i32, e->scratch, VQ_TASK_COLS); }

// Writes whole vectors, so that zeros follow the row.
static void prepare_step(const vq_emit *e, void *user, val col, unsigned lanes, unsigned n,
                         val *v) {
  LLVMTypeRef word = LLVMInt16TypeInContext(e->lc);
  val map[MOST_CODES];
  (void)v;
  for (unsigned i = 0; i < lanes; i++)
    map[i] = LLVMConstInt(e->i32, i / 4 * 4 + i % 4 / 2 + i % 2 * 2, false);
  val x = vq_load_n(e, vq_vec_type(word, lanes), vq_at(e, word, user, col), 2, n);
  x = LLVMBuildShuffleVector(e->b, x, x, LLVMConstVector(map, lanes), "");
  vq_store(e, x, vq_at(e, word, pairs_at(e), col), 2);
}

// ---- sums ----------------------------------------------------------------------

static unsigned vecs_of(const vq_emit *e) { return VQ_PANEL / vq_f32_lanes(e->target); }

// Pair `p` of the codes in each lane of words, as i16: of four bits they are nibbles 0 and
// 2, 1 and 3 of the word, by its place.
static val widened(const vq_emit *e, const gemv *g, val words, unsigned p) {
  LLVMTypeRef type = LLVMTypeOf(words);
  unsigned bits = 16 / g->pairs;
  unsigned place = g->pairs == 2 ? p : p / 2 + p % 2 * 2;
  val up = vq_ki_like(type, 16 - bits * (place + 1)), down = vq_ki_like(type, 16 - bits);
  return LLVMBuildAShr(e->b, LLVMBuildShl(e->b, words, up, ""), down, "");
}

// sum[0 .. vecs) += unit `i` of a panel.
static void add_unit(const vq_emit *e, const gemv *g, val panel, val i, val *sum) {
  unsigned lanes = vq_f32_lanes(e->target);
  LLVMTypeRef words = vq_vec_type(LLVMInt16TypeInContext(e->lc), 2 * lanes);
  val w = vq_at(e, e->i8, panel, vq_mulk(e, i, UNIT)), x[4];
  val from = vq_at(e, e->i32, pairs_at(e), vq_mulk(e, i, g->pairs));
  for (unsigned p = 0; p < g->pairs; p++)
    x[p] = vq_splat(e, vq_load(e, e->i32, vq_atk(e, e->i32, from, p), 4), lanes);
  for (unsigned v = 0; v < vecs_of(e); v++) {
    val codes = vq_load(e, words, vq_atk(e, words, w, v), 1);
    for (unsigned p = 0; p < g->pairs; p++)
      sum[v] = vq_tile_add_pairs(e, sum[v], x[p], widened(e, g, codes, p));
  }
}

// sum[0 .. SUMS) += units [lo, hi) of a panel, `steps` in a turn.
static void add_units(const vq_emit *e, const gemv *g, val panel, int64_t lo, int64_t hi,
                      unsigned steps, val *sum) {
  if (lo == hi) return;
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, lo), vq_k64(e, hi), steps, SUMS, sum);
  for (unsigned s = 0; s < steps; s++)
    add_unit(e, g, panel, vq_addk(e, l.i, s), l.v + s * vecs_of(e) % SUMS);
  vq_loop_end(e, &l);
  memcpy(sum, l.v, SUMS * sizeof *sum);
}

// The sums of a panel to `to`. Several vectors of them for a column, where a panel has few:
// one alone waits for what was added last.
static void sum_panel(const vq_emit *e, const gemv *g, val panel, val to) {
  unsigned vecs = vecs_of(e);
  LLVMTypeRef type = vq_vec_type(e->i32, vq_f32_lanes(e->target));
  val sum[SUMS];
  for (unsigned v = 0; v < SUMS; v++) sum[v] = LLVMConstNull(type);
  int64_t whole = g->units - g->units % STEPS;
  add_units(e, g, panel, 0, whole, STEPS, sum);
  add_units(e, g, panel, whole, g->units, 1, sum);
  for (unsigned v = vecs; v < SUMS; v++)
    sum[v % vecs] = LLVMBuildAdd(e->b, sum[v % vecs], sum[v], "");
  for (unsigned v = 0; v < vecs; v++) vq_store(e, sum[v], vq_atk(e, type, to, v), 4);
}

static void sum_chunk(const vq_emit *e, const gemv *g, val chunk) {
  int64_t panels = (g->n + VQ_PANEL - 1) / VQ_PANEL;
  val first = vq_mulk(e, chunk, CHUNK_PANELS);
  val last = vq_min64(e, vq_addk(e, first, CHUNK_PANELS), vq_k64(e, panels));
  val w = vq_arg_ptr(e, g->w);
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

// The first `n` of the columns from `col`, which is column `at` of the chunk.
static void finish_vector(const vq_emit *e, const gemv *g, val row, val col, val at,
                          unsigned n) {
  unsigned lanes = finish_lanes(e);
  LLVMTypeRef type = vq_vec_type(e->i32, lanes);
  val v = vq_load(e, type, vq_at(e, e->i32, e->scratch, at), 4);
  if (g->fine) {
    v = LLVMBuildAdd(e->b, v, vq_ki_like(type, INT64_C(1) << (g->fine - 1)), "");
    v = LLVMBuildAShr(e->b, v, vq_ki_like(type, g->fine), "");
  }
  if (g->bias)
    v = LLVMBuildAdd(e->b, v, vq_elt_load(e, VQ_i32, vq_arg_ptr(e, g->bias), col, lanes, n),
                     "");
  vq_chain_store(e, &g->chain, v, row, col, lanes, n);
}

static void finish_chunk(const vq_emit *e, const gemv *g, val chunk, val row) {
  unsigned lanes = finish_lanes(e);
  int64_t whole = g->n - g->n % lanes;
  val first = vq_mulk(e, chunk, VQ_TASK_COLS), last = vq_addk(e, first, VQ_TASK_COLS);
  vq_loop l;
  vq_loop_begin(e, &l, first, vq_min64(e, last, vq_k64(e, whole)), lanes, 0, NULL);
  finish_vector(e, g, row, l.i, LLVMBuildNSWSub(e->b, l.i, first, ""), lanes);
  vq_loop_end(e, &l);
  if (whole == g->n) return;
  vq_if ends;
  vq_if_begin(e, &ends, LLVMBuildICmp(e->b, LLVMIntSGE, last, vq_k64(e, g->n), ""));
  finish_vector(e, g, row, vq_k64(e, whole), vq_k64(e, whole % VQ_TASK_COLS),
                (unsigned)(g->n - whole));
  vq_if_end(e, &ends);
}

vq_status emit_gemv(vq_emit *e) {
  gemv g;
  if (!describe(e->kernel, &g)) VQ_BUG("gemv does not take this kernel");
  vq_loop row, chunk;
  vq_loop_range(e, &row, g.chain.rows, 1);
  vq_row_each(e, g.k, e->target->vector_bits / 16, prepare_step,
              vq_rows_at(e, &g.rows, row.i), 0, NULL);
  vq_loop_begin(e, &chunk, e->begin, e->end, 1, 0, NULL);
  sum_chunk(e, &g, chunk.i);
  finish_chunk(e, &g, chunk.i, row.i);
  vq_loop_end(e, &chunk);
  vq_loop_end(e, &row);
  return VQ_OK;
}
