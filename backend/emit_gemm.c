// linear and patch_embed with packed weights, of floats (weights of f32 or bf16) or of codes
// (u8 rows, i8 weights, sums of i32), and their elementwise epilogue.
//
// A task is a block of at most 12 rows, all columns; with few rows it is a
// chunk of 128 columns as well. A range of tasks is walked column group by
// column group, so that one group of B (32 columns) stays in the nearest cache
// while the rows of A pass by; rows are taken a few tasks at a time, or the depth is
// divided, when A is too large for the second-level cache (blocking.h). The blocks of AMX
// take no notice of tasks within such a range. patch_embed, and a linear whose rows
// come through a table (rows.h), first gather the rows of these tasks into
// scratch, after which it is the same product. So are rows of codes that are not
// whole elements of four (tile.h). Rows that meet weights of bf16 are rounded to scratch
// behind that (bf16.h).
//
// Weights of four bits are unpacked to scratch (unpack.h) as a group begins. Where tiles
// want codes of i16 (tile.h), weights are widened to scratch at the same place, and the
// rows of A before the first group.
//
// With VNNI the epilogue of a tile is work for the steps of the next one, of the
// same columns: multiply-adds keep two of four pipes busy, the epilogue needs mostly
// the others. A tile of 12 rows leaves it a few registers.
//
// Without epilogue tiles write to the result. Otherwise, and where columns end
// within a vector, they write to a small tile in scratch, from which a loop
// goes on.
#include "bf16.h"
#include "bias.h"
#include "elt.h"
#include "gemm.h"
#include "loop.h"
#include "quant.h"
#include "unpack.h"
#include "widen.h"

bool match_gemm(const vq_func *kernel, vq_kernel_plan *plan);
vq_status emit_gemm(vq_emit *e);

typedef vq_gemm gemm;

bool match_gemm(const vq_func *kernel, vq_kernel_plan *plan) {
  gemm g;
  if (!vq_gemm_describe(kernel, &g)) return false;
  plan->n_task = g.row_blocks * g.col_chunks;
  plan->scratch_bytes = (uint32_t)g.scratch;
  plan->n_product = 1;
  plan->product[0] = g.product;
  plan->bias = g.product.codes ? g.bias : NULL;
  return true;
}

// ---- rows of A ---------------------------------------------------------------

// Where row `row` of A lies, widened.
static LLVMValueRef wide_row(const vq_emit *e, const gemm *g, LLVMValueRef row) {
  row = LLVMBuildNSWSub(e->b, row, g->row_first, "");
  return vq_at(e, e->i32, vq_atk(e, e->i8, e->scratch, g->wide_at),
               vq_mulk(e, row, 2 * g->deep));
}

// Where it lies, rounded.
static LLVMValueRef bf16_row(const vq_emit *e, const gemm *g, LLVMValueRef row) {
  row = LLVMBuildNSWSub(e->b, row, g->row_first, "");
  return vq_at(e, e->i32, vq_atk(e, e->i8, e->scratch, g->wide_at), vq_mulk(e, row, g->k));
}

// Where the slab of row `row` of A begins.
static LLVMValueRef a_row(const vq_emit *e, const gemm *g, LLVMValueRef row) {
  LLVMValueRef at = vq_atk(e, e->f32, e->scratch, VQ_GEMM_ROWS);
  if (g->gather)
    row = LLVMBuildNSWSub(e->b, row, g->row_first, "");
  else
    at = vq_arg_ptr(e, g->rows.x);
  return vq_at(e, e->f32, at, vq_add(e, vq_mulk(e, row, g->row_k), g->from));
}

// Where the sums of row `row` and of the group wait between slabs: those of a group in one
// piece, g->width columns wide.
static LLVMValueRef part_row(const vq_emit *e, const gemm *g, LLVMValueRef row) {
  row = LLVMBuildNSWSub(e->b, row, g->row_first, "");
  LLVMValueRef group = vq_mulk(e, g->col, g->by.step * VQ_TASK_ROWS);
  return vq_at(e, e->f32, vq_atk(e, e->i8, e->scratch, g->part_at),
               vq_add(e, group, vq_mulk(e, row, g->width)));
}

static LLVMTypeRef x_elem(const vq_emit *e, const gemm *g) {
  return vq_elt_storage(e, g->x_type);
}

static unsigned x_lanes(const vq_emit *e, const gemm *g) {
  return e->target->vector_bits / vq_dtype_bits(g->x_type);
}

// Row `row` of the product, its values in (c, u, v) order, to `to`.
static void gather_patch(const vq_emit *e, const gemm *g, LLVMValueRef row,
                       LLVMValueRef to) {
  const int64_t *d = g->rows.x->type->dim;  // n, c, h, w
  int64_t ph = g->patch[0], pw = g->patch[1];
  int64_t gh = d[2] / ph, gw = d[3] / pw;
  LLVMValueRef n = vq_divk(e, row, gh * gw), p = vq_modk(e, row, gh * gw);
  LLVMValueRef y = vq_mulk(e, vq_divk(e, p, gw), ph * d[3]);
  LLVMValueRef at = vq_add(e, y, vq_mulk(e, vq_modk(e, p, gw), pw));
  at = vq_add(e, at, vq_mulk(e, n, d[1] * d[2] * d[3]));
  LLVMTypeRef elem = x_elem(e, g);
  LLVMValueRef from = vq_at(e, elem, vq_arg_ptr(e, g->rows.x), at);
  vq_loop c, u;
  vq_loop_range(e, &c, d[1], 1);
  vq_loop_range(e, &u, ph, 1);
  LLVMValueRef line = vq_add(e, vq_mulk(e, c.i, ph), u.i);
  LLVMValueRef src = vq_at(e, elem, from,
                           vq_add(e, vq_mulk(e, c.i, d[2] * d[3]),
                                  vq_mulk(e, u.i, d[3])));
  LLVMValueRef dst = vq_at(e, elem, to, vq_mulk(e, line, pw));
  vq_copy_run(e, elem, dst, src, pw, x_lanes(e, g));
  vq_loop_end(e, &u);
  vq_loop_end(e, &c);
}

// ---- one tile ------------------------------------------------------------------

static unsigned valid(const gemm *g, unsigned j) {
  unsigned left = g->cols - j * g->shape.lanes;
  return left < g->shape.lanes ? left : g->shape.lanes;
}

static LLVMTypeRef vector(const vq_emit *e, const gemm *g) {
  return vq_elt_type(e, g->y_type, g->shape.lanes);
}

static void widen_bias(const vq_emit *e, const gemm *g, LLVMValueRef to) {
  unsigned lanes = g->shape.lanes;
  vq_loop l;
  vq_loop_range(e, &l, (int64_t)g->vecs * lanes, lanes);
  LLVMValueRef v = vq_bias_load(e, g->bias, vq_add(e, g->col, l.i), lanes);
  vq_store(e, v, vq_at(e, e->i32, to, l.i), 4);
  vq_loop_end(e, &l);
}

// Bias of the group's columns, whole vectors; other lanes are zero.
static LLVMValueRef start_sums(const vq_emit *e, const gemm *g) {
  LLVMValueRef init = vq_atk(e, e->f32, e->scratch, VQ_GEMM_INIT);
  if (g->bias && g->product.codes && e->plan->bias_bytes < 4) {
    widen_bias(e, g, init);
    return init;
  }
  if (g->bias && g->cols == g->width)
    return vq_at(e, e->f32, vq_arg_ptr(e, g->bias), g->col);
  for (unsigned j = 0; j < g->vecs; j++) {
    LLVMValueRef v = LLVMConstNull(vector(e, g));
    if (g->bias)
      v = vq_elt_load(e, g->y_type, vq_arg_ptr(e, g->bias),
                      vq_addk(e, g->col, j * g->shape.lanes), g->shape.lanes,
                      valid(g, j));
    vq_store(e, v, vq_atk(e, vector(e, g), init, j), 4);
  }
  return init;
}

// Lanes of the epilogue. Codes take two vectors at a time where all are whole: words fill one
// then, and narrowing takes fewer instructions.
static unsigned finish_lanes(const vq_emit *e, const gemm *g) {
  unsigned lanes = g->shape.lanes, width = g->vecs * lanes;
  bool pairs = e->target->vector_bits >= 256 && g->product.codes && g->cols == width &&
               width % (2 * lanes) == 0;
  return pairs ? 2 * lanes : lanes;
}

// Rows [lo, hi) of a tile in scratch to memory, the first of it being row `row`. Of one or
// two rows in all, as class tokens are, code for each vector would be long and run once.
static void finish_sums(const vq_emit *e, const gemm *g, LLVMValueRef tile,
                        LLVMValueRef row, LLVMValueRef lo, LLVMValueRef hi) {
  unsigned lanes = finish_lanes(e, g);
  bool few = g->m <= 2 && g->cols % lanes == 0;
  vq_loop l, k;
  vq_loop_begin(e, &l, lo, hi, 1, 0, NULL);
  if (few) vq_loop_range(e, &k, g->cols, lanes);
  for (unsigned c = 0; c < (few ? lanes : g->cols); c += lanes) {
    LLVMValueRef at = few ? k.i : vq_k64(e, c);
    LLVMValueRef from = vq_at(e, e->f32, tile, vq_add(e, vq_mulk(e, l.i, g->width), at));
    LLVMValueRef v = vq_load(e, vq_elt_type(e, g->y_type, lanes), from, 4);
    vq_chain_store(e, &g->chain, v, vq_add(e, row, l.i), vq_add(e, g->col, at), lanes,
                   g->cols - c < lanes ? g->cols - c : lanes);
  }
  if (few) vq_loop_end(e, &k);
  vq_loop_end(e, &l);
}

// Sums of a slab start where those of the one before ended.
static void use_part(const vq_emit *e, const gemm *g, LLVMValueRef row, vq_tile *t) {
  LLVMValueRef part = part_row(e, g, row), none = vq_k64(e, 0);
  LLVMValueRef is_first = LLVMBuildICmp(e->b, LLVMIntEQ, g->from, none, "");
  t->init = LLVMBuildSelect(e->b, is_first, t->init, part, "");
  t->ldi = LLVMBuildSelect(e->b, is_first, none, vq_k64(e, g->width), "");
  if (!g->last_slab) t->c = part;
}

// The product of rows from `row` and the columns of g->col, in scratch.
static vq_tile tile_of(const vq_emit *e, const gemm *g, LLVMValueRef row) {
  vq_tile t = {.a = a_row(e, g, row), .lda = g->k, .b = vq_arg_ptr(e, g->w),
               .panel = g->k, .k = g->deep, .init = g->init, .c = e->scratch,
               .ldc = g->width, .col = g->col, .vecs = g->vecs};
  if (g->by.n_slab > 1) {
    t.b = vq_at(e, e->f32, t.b, vq_mulk(e, g->from, VQ_PANEL));
    use_part(e, g, row, &t);
  }
  if (g->rounds) t.a = bf16_row(e, g, row);
  if (!g->nibbles && !g->wide) return t;
  if (g->wide) t.a = wide_row(e, g, row), t.lda = t.k = 2 * g->deep;
  t.panel = t.k;
  t.b = vq_atk(e, e->i8, e->scratch, g->w_at);
  t.col = vq_modk(e, g->col, VQ_PANEL);
  return t;
}

// Of `k` elements of a column of w, or where such an element lies: elements of four bytes
// as those of A.
static int64_t w_depth(const gemm *g, int64_t k) { return g->nibbles ? (k + 1) / 2 : k; }

// Where the slab of the columns from `col` lies.
static LLVMValueRef w_at(const vq_emit *e, const gemm *g, LLVMValueRef col) {
  LLVMValueRef from = g->nibbles ? vq_divk(e, g->from, 2) : g->from;
  LLVMValueRef at = vq_mulk(e, col, w_depth(g, g->k));
  return vq_at(e, e->f32, vq_arg_ptr(e, g->w), vq_add(e, at, vq_mulk(e, from, VQ_PANEL)));
}

// B of a group lies behind that of the one before. When a group begins, its first
// tile would wait for every line; and runs are too short for the prefetcher of the
// processor. So the blocks of rows of a group share in fetching the next one, or, where
// tiles fetch, the first few of its tiles.
static int64_t lines_of_group(const gemm *g) {
  return (int64_t)g->shape.vecs * g->shape.lanes * w_depth(g, g->deep) * 4 / VQ_CACHE_LINE;
}

// Byte at which line `i` of a group's slab lies: that of its second panel is elsewhere.
static LLVMValueRef line_at(const vq_emit *e, const gemm *g, LLVMValueRef i) {
  int64_t deep = w_depth(g, g->deep), skip = w_depth(g, g->k) - deep;
  if (skip) i = vq_add(e, i, vq_mulk(e, vq_divk(e, i, deep), skip));
  return vq_mulk(e, i, VQ_CACHE_LINE);
}

static void fetch_ahead(const vq_emit *e, const gemm *g) {
  LLVMValueRef nth = LLVMBuildNSWSub(e->b, g->block, g->first, "");
  LLVMValueRef at = w_at(e, g, vq_addk(e, g->col, g->width));
  LLVMValueRef from = vq_mul(e, nth, g->ahead);
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), g->ahead, 1, 0, NULL);
  vq_prefetch(e, vq_at(e, e->i8, at, line_at(e, g, vq_add(e, from, l.i))), 2);
  vq_loop_end(e, &l);
}

// Blocks have at most two tiles, whose turns are a line each: four of them suffice.
static bool fetches_in_tiles(const vq_emit *e, const gemm *g) {
  return vq_tile_fetches(e->target, &g->product) && g->col_chunks == 1 && g->by.step >= 4;
}

// What a tile fetches, a line in each of its `turns`.
typedef struct lines {
  int64_t turns;
  LLVMValueRef at, stride;
} lines;

// Lines that the results of the next group go to, a row each: the share of tile `nth` of
// those that do this, if it has one.
static void fetch_results(const vq_emit *e, const gemm *g, LLVMValueRef nth, lines *l) {
  LLVMValueRef row = vq_add(e, g->row_first, vq_mulk(e, nth, l->turns)), end;
  vq_part_rows(e, &g->product, g->last, &end);
  LLVMValueRef exists = LLVMBuildICmp(e->b, LLVMIntSLT, row, end, "");
  LLVMValueRef at = vq_add(e, vq_mulk(e, row, g->n), vq_addk(e, g->col, g->width));
  at = vq_at(e, e->f32, e->result[0], at);
  l->at = LLVMBuildSelect(e->b, exists, at, l->at, "");
  l->stride = LLVMBuildSelect(e->b, exists, vq_k64(e, g->n * 4), l->stride, "");
}

// What the tile at row `row` of the block at hand fetches: its share of the next group of
// B; where that is done, of the lines of results; or a line of its own operands again and
// again.
static void choose_fetch(const vq_emit *e, const gemm *g, LLVMValueRef row, vq_tile *t) {
  LLVMValueRef nth = vq_mulk(e, LLVMBuildNSWSub(e->b, g->block, g->first, ""), 2);
  LLVMValueRef second = LLVMBuildICmp(e->b, LLVMIntSGT, row, vq_k64(e, 0), "");
  nth = vq_add(e, nth, LLVMBuildZExt(e->b, second, e->i64, ""));
  lines l = {g->deep / VQ_TILE_STEPS, t->init, vq_k64(e, 0)};
  int64_t most = l.turns ? lines_of_group(g) / l.turns : 0;
  if (g->last_slab) fetch_results(e, g, vq_addk(e, nth, -most), &l);
  LLVMValueRef some = LLVMBuildICmp(e->b, LLVMIntSLT, nth, vq_k64(e, most), "");
  LLVMValueRef at = w_at(e, g, vq_addk(e, g->col, g->width));
  at = vq_at(e, e->i8, at, vq_mulk(e, nth, l.turns * VQ_CACHE_LINE));
  t->fetch = LLVMBuildSelect(e->b, some, at, l.at, "");
  t->stride = LLVMBuildSelect(e->b, some, vq_k64(e, VQ_CACHE_LINE), l.stride, "");
}

// What the epilogue of rows [row, row + rows) will read beside its sums: a line or two of
// each row, which the processor does not see coming.
static void fetch_operands(const vq_emit *e, const gemm *g, LLVMValueRef row,
                           LLVMValueRef rows) {
  vq_loop l;
  vq_loop_begin(e, &l, row, vq_add(e, row, rows), 1, 0, NULL);
  vq_chain_fetch(e, &g->chain, l.i, g->col, g->width);
  vq_loop_end(e, &l);
}

// Rows [row, row + rows) of the block at hand.
static void emit_tile(const vq_emit *e, void *user, LLVMValueRef row,
                      LLVMValueRef rows) {
  gemm *g = user;
  LLVMValueRef at = vq_add(e, g->row0, row);
  bool direct = g->last_slab && vq_chain_empty(&g->chain) && g->cols == g->width;
  LLVMValueRef c = vq_add(e, vq_mulk(e, at, g->n), g->col);
  vq_tile t = tile_of(e, g, at);
  if (fetches_in_tiles(e, g)) choose_fetch(e, g, row, &t);
  if (direct)
    t.c = vq_at(e, e->f32, e->result[0], c), t.ldc = g->n;
  else if (!g->product.codes && g->last_slab)
    fetch_operands(e, g, at, rows);
  vq_tile_call(e, &g->product, &t, rows);
  if (!direct && g->last_slab) finish_sums(e, g, e->scratch, at, vq_k64(e, 0), rows);
}

// The panels of the group, from nibbles or to codes of i16.
static void unpack_group(const vq_emit *e, const gemm *g) {
  LLVMValueRef panel = vq_mulk(e, vq_divk(e, g->col, VQ_PANEL), VQ_PANEL);
  (g->wide ? vq_widen_panels : vq_unpack)(
      e, w_at(e, g, panel), vq_atk(e, e->i8, e->scratch, g->w_at),
      (g->cols + VQ_PANEL - 1) / VQ_PANEL, g->k, g->deep);
}

// ---- tiles that overlap ----------------------------------------------------------

// A tile whose sums wait in scratch.
typedef struct pending {
  const gemm *g;
  LLVMValueRef sums, row;
  LLVMValueRef fetch, stride;  // what the steps of the next tile fetch
} pending;

// Row `i` of them, the vectors of a row together.
static void finish_row(const vq_emit *e, void *user, LLVMValueRef i) {
  const pending *p = user;
  const gemm *g = p->g;
  unsigned lanes = finish_lanes(e, g);
  LLVMValueRef at = vq_at(e, e->i32, p->sums, vq_mulk(e, i, g->width));
  LLVMValueRef v = vq_load(e, vq_elt_type(e, g->y_type, lanes), at, 4);
  vq_chain_store(e, &g->chain, v, vq_add(e, p->row, i), g->col, lanes, lanes);
}

// Two tiles have as many steps as the next group has lines, of nibbles one; each of two
// slabs has one tile. There are more tiles, of which the others fetch one line again and
// again.
static void choose_lines(const vq_emit *e, const gemm *g, pending *p) {
  LLVMValueRef nth = LLVMBuildNSWSub(e->b, g->block, g->first, "");
  int64_t n = (lines_of_group(g) + g->deep - 1) / g->deep, apart = g->deep;
  if (g->by.n_slab > 1)
    n = (g->width + VQ_PANEL - 1) / VQ_PANEL, apart = w_depth(g, g->k);
  LLVMValueRef some = LLVMBuildICmp(e->b, LLVMIntSLT, nth, vq_k64(e, n), "");
  LLVMValueRef at = w_at(e, g, vq_addk(e, g->col, g->width));
  at = vq_at(e, e->f32, at, vq_mulk(e, nth, apart * VQ_PANEL));
  p->fetch = LLVMBuildSelect(e->b, some, at, e->scratch, "");
  p->stride = LLVMBuildSelect(e->b, some, vq_k64(e, VQ_CACHE_LINE), vq_k64(e, 0), "");
}

static void fetch_line(const vq_emit *e, void *user, LLVMValueRef i) {
  const pending *p = user;
  vq_prefetch(e, vq_at(e, e->i8, p->fetch, vq_mul(e, i, p->stride)), 2);
}

// There must be steps for all rows of a tile, of two vectors each.
static bool overlaps(const vq_emit *e, const gemm *g) {
  return vq_tile_is_in_place(e->target, &g->product) && g->last_slab &&
         g->deep >= 2 * VQ_TASK_ROWS && g->cols == 2 * g->shape.lanes &&
         g->shape.vecs == 2;
}

static LLVMValueRef overlap_sums(const vq_emit *e, LLVMValueRef block) {
  LLVMValueRef at = vq_mulk(e, vq_modk(e, block, 2), VQ_AMX_SUMS);
  return vq_at(e, e->i32, e->scratch, at);
}

// The block at hand, and what is left of the one before unless it is the first.
static void overlap_block(const vq_emit *e, gemm *g) {
  fetch_operands(e, g, g->row0, g->rows_here);
  LLVMValueRef none = vq_k64(e, 0);
  LLVMValueRef before = vq_addk(e, g->block, -1);
  LLVMValueRef is_first = LLVMBuildICmp(e->b, LLVMIntEQ, g->block, g->first, "");
  pending p = {.g = g, .sums = overlap_sums(e, vq_addk(e, g->block, 1))};
  LLVMValueRef rows = vq_part_rows(e, &g->product, before, &p.row);
  LLVMValueRef n = LLVMBuildSelect(e->b, is_first, none, rows, "");
  vq_tile t = tile_of(e, g, g->row0);
  t.c = overlap_sums(e, g->block);
  unsigned size = (unsigned)(g->m / g->row_blocks);
  vq_tile_side side = {n, fetch_line, finish_row, &p};
  choose_lines(e, g, &p);
  if (g->m % g->row_blocks == 0) {
    vq_tile_in_place(e, &g->product, &t, size, &side);
    return;
  }
  vq_if larger;
  vq_if_begin(e, &larger, LLVMBuildICmp(e->b, LLVMIntSGT, g->rows_here,
                                        vq_k64(e, size), ""));
  vq_tile_in_place(e, &g->product, &t, size + 1, &side);
  vq_if_else(e, &larger);
  vq_tile_in_place(e, &g->product, &t, size, &side);
  vq_if_end(e, &larger);
}

static void overlap_last(const vq_emit *e, const gemm *g) {
  LLVMValueRef row, last = vq_addk(e, g->last, -1);
  LLVMValueRef rows = vq_part_rows(e, &g->product, last, &row);
  finish_sums(e, g, overlap_sums(e, last), row, vq_k64(e, 0), rows);
}

// ---- blocks of AMX -----------------------------------------------------------

static LLVMValueRef amx_sums(const vq_emit *e, const vq_amx_block *b) {
  return vq_at(e, e->i32, e->scratch, vq_mulk(e, vq_modk(e, b->nth, 2), VQ_AMX_SUMS));
}

static void amx_tile(const vq_emit *e, void *user, const vq_amx_block *b) {
  gemm *g = user;
  vq_tile t = tile_of(e, g, vq_add(e, g->row_first, b->row));
  t.c = amx_sums(e, b), t.config = g->amx.config;
  vq_tile_call(e, &g->product, &t, NULL);
}

static void amx_finish(const vq_emit *e, void *user, const vq_amx_block *b) {
  gemm *g = user;
  finish_sums(e, g, amx_sums(e, b), vq_add(e, g->row_first, b->row), b->skip,
              g->amx.size);
}

static vq_amx amx_begin(const vq_emit *e, const gemm *g) {
  LLVMValueRef end;
  vq_part_rows(e, &g->product, g->last, &end);
  return vq_amx_begin(e, &g->product, LLVMBuildNSWSub(e->b, end, g->row_first, ""),
                      vq_atk(e, e->i32, e->scratch, VQ_GEMM_CONFIG));
}

// ---- tasks -------------------------------------------------------------------

static void block_tiles(const vq_emit *e, gemm *g) {
  if (!fetches_in_tiles(e, g)) fetch_ahead(e, g);
  vq_each_block(e, &g->product, g->rows_here, emit_tile, g);
}

static void block_gather(const vq_emit *e, gemm *g) {
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), g->rows_here, 1, 0, NULL);
  LLVMValueRef row = vq_add(e, g->row0, l.i), at = a_row(e, g, row);
  if (g->x_type == VQ_u8)  // what fills the last element
    vq_store(e, LLVMConstNull(e->i32), vq_atk(e, e->i32, at, g->k - 1), 4);
  if (g->patch[0])
    gather_patch(e, g, row, at);
  else
    vq_rows_copy(e, &g->rows, row, at, x_lanes(e, g));
  vq_loop_end(e, &l);
}

static void block_widen(const vq_emit *e, gemm *g) {
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), g->rows_here, 1, 0, NULL);
  LLVMValueRef row = vq_add(e, g->row0, l.i);
  vq_widen_row(e, a_row(e, g, row), wide_row(e, g, row), g->deep);
  vq_loop_end(e, &l);
}

static void block_round(const vq_emit *e, gemm *g) {
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), g->rows_here, 1, 0, NULL);
  LLVMValueRef row = vq_add(e, g->row0, l.i);
  vq_bf16_row(e, a_row(e, g, row), bf16_row(e, g, row), g->row_k);
  vq_loop_end(e, &l);
}

// Calls `body` for each block of rows of the current step.
static void each_block(const vq_emit *e, gemm *g,
                       void (*body)(const vq_emit *e, gemm *g)) {
  vq_loop l;
  vq_loop_begin(e, &l, g->first, g->last, 1, 0, NULL);
  g->block = l.i;
  g->rows_here = vq_part_rows(e, &g->product, l.i, &g->row0);
  body(e, g);
  vq_loop_end(e, &l);
}

static void emit_group(const vq_emit *e, void *user, LLVMValueRef col,
                       unsigned cols) {
  gemm *g = user;
  g->col = col, g->cols = cols;
  g->vecs = (cols + g->shape.lanes - 1) / g->shape.lanes;
  g->width = vq_tile_width(e->target, &g->product, cols);
  g->init = start_sums(e, g);
  if (g->nibbles || g->wide) unpack_group(e, g);
  if (g->use_amx) {
    vq_amx_each_block(e, &g->amx, amx_tile, amx_finish, g);
  } else if (overlaps(e, g)) {
    each_block(e, g, overlap_block);
    overlap_last(e, g);
  } else {
    each_block(e, g, block_tiles);
  }
}

// `deep` elements of the depth from `from`, columns [lo, hi).
static void emit_slab(const vq_emit *e, gemm *g, LLVMValueRef from, int64_t deep,
                      LLVMValueRef lo, LLVMValueRef hi) {
  g->from = from, g->deep = deep;
  LLVMValueRef n = LLVMBuildNSWSub(e->b, g->last, g->first, "");
  LLVMValueRef up = vq_addk(e, n, lines_of_group(g) - 1);
  g->ahead = LLVMBuildUDiv(e->b, up, n, "");
  if (g->wide) each_block(e, g, block_widen);
  if (g->rounds) each_block(e, g, block_round);
  if (g->use_amx) g->amx = amx_begin(e, g);
  vq_each_group(e, lo, hi, g->n, g->shape.vecs * g->shape.lanes, emit_group, g);
  if (g->use_amx) vq_amx_end(e);
}

// All slabs of the blocks at hand.
static void emit_depth(const vq_emit *e, gemm *g, LLVMValueRef lo, LLVMValueRef hi) {
  int64_t before = (g->by.n_slab - 1) * g->by.slab;
  if (before) {
    vq_loop l;
    g->last_slab = false;
    vq_loop_range(e, &l, before, g->by.slab);
    emit_slab(e, g, l.i, g->by.slab, lo, hi);
    vq_loop_end(e, &l);
  }
  g->last_slab = true;
  emit_slab(e, g, vq_k64(e, before), g->k - before, lo, hi);
}

// Blocks of rows [lo, hi), the columns of a chunk, a step of blocks at a time.
static void emit_rows(const vq_emit *e, gemm *g, LLVMValueRef chunk, LLVMValueRef lo,
                      LLVMValueRef hi) {
  vq_loop l;
  vq_loop_begin(e, &l, lo, hi, g->by.step, 0, NULL);
  g->first = l.i;
  g->last = vq_min64(e, hi, vq_addk(e, l.i, g->by.step));
  vq_part_rows(e, &g->product, g->first, &g->row_first);
  g->from = vq_k64(e, 0);
  if (g->gather) each_block(e, g, block_gather);
  LLVMValueRef from = vq_k64(e, 0), to = vq_k64(e, g->n);
  if (g->col_chunks > 1) {
    from = vq_mulk(e, chunk, VQ_TASK_COLS);
    to = vq_min64(e, to, vq_addk(e, from, VQ_TASK_COLS));
  }
  emit_depth(e, g, from, to);
  vq_loop_end(e, &l);
}

vq_status emit_gemm(vq_emit *e) {
  gemm g;
  if (!vq_gemm_describe(e->kernel, &g)) VQ_BUG("gemm does not take this kernel");
  g.shape = vq_tile_choose(e->target, &g.product);
  g.use_amx = vq_amx_takes(e->target, &g.product);
  g.wide = vq_tile_kind_of(e->target, &g.product) == VQ_TILE_I16;
  g.rounds = g.product.bf16;
  g.by = g.use_amx ? g.undivided : g.wide ? g.widened : g.narrow;
  if (g.col_chunks == 1) {
    emit_rows(e, &g, NULL, e->begin, e->end);
    return VQ_OK;
  }
  vq_loop chunk;
  LLVMValueRef end = vq_divk(e, vq_addk(e, e->end, g.row_blocks - 1), g.row_blocks);
  vq_loop_begin(e, &chunk, vq_divk(e, e->begin, g.row_blocks), end, 1, 0, NULL);
  LLVMValueRef from = vq_mulk(e, chunk.i, g.row_blocks);
  LLVMValueRef lo = LLVMBuildNSWSub(e->b, e->begin, vq_min64(e, e->begin, from), "");
  LLVMValueRef hi = LLVMBuildNSWSub(e->b, e->end, from, "");
  emit_rows(e, &g, chunk.i, lo, vq_min64(e, hi, vq_k64(e, g.row_blocks)));
  vq_loop_end(e, &chunk);
  return VQ_OK;
}
