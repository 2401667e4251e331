// linear and patch_embed with packed weights, of floats or of codes (u8 rows, i8
// weights, sums of i32), and their elementwise epilogue.
//
// A task is a block of at most 12 rows, all columns; with few rows it is a
// chunk of 128 columns as well. A range of tasks is walked column group by
// column group, so that one group of B (32 columns) stays in the nearest cache
// while the rows of A pass by; rows are taken a few tasks at a time when A is
// too large for the second-level cache. The blocks of AMX take no notice of tasks
// within such a range. patch_embed, and a linear whose rows
// come through a table (rows.h), first gather the rows of these tasks into
// scratch, after which it is the same product. So are rows of codes that are not
// whole elements of four (tile.h).
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
#include "amx.h"
#include "chain.h"
#include "elt.h"
#include "loop.h"
#include "rows.h"
#include "tile.h"
#include "unpack.h"
#include "widen.h"

#define TASK_ROWS 12
#define TASK_COLS 128
// Parts of scratch in elements of four bytes: tiles, what sums start with,
// configuration, gathered rows. AMX has two blocks under way.
enum { TILES, INIT = 2 * VQ_AMX_SUMS, CONFIG = INIT + VQ_TILE_COLS,
       ROWS = CONFIG + VQ_AMX_CONFIG };
#define SCRATCH_MAX (4 << 20)
#define CACHE_BYTES (256 << 10)  // of A, in one sweep over the columns
#define WIDE_BYTES (320 << 10)   // of A widened

bool match_gemm(const vq_func *kernel, vq_kernel_plan *plan);
vq_status emit_gemm(vq_emit *e);

typedef struct gemm {
  vq_chain chain;
  vq_rows rows;  // of A; patch_embed: rows.x is the picture
  const vq_value *w, *bias;
  vq_product product;
  vq_dtype x_type, y_type;
  int64_t m, n, k;   // k: elements of four bytes
  bool nibbles;      // w is of i4
  int64_t w_at;      // byte of scratch where it is unpacked or widened
  int64_t wide_at;   // where A is widened
  int64_t scratch;   // its size
  int64_t patch[2];  // 0: linear
  bool gather;       // rows of A are copied to scratch first
  int64_t step;      // blocks for which that is done at a time
  int64_t wide_step; // the same where A is widened, at most `step`
  int64_t row_blocks, col_chunks;
  // while emitting
  vq_tile_shape shape;
  bool use_amx, wide;
  vq_amx amx;
  LLVMValueRef first, last;  // blocks of rows
  LLVMValueRef row_first;    // of `first`
  LLVMValueRef ahead;        // cache lines of B that each block fetches for the next group
  LLVMValueRef col, init;    // the group of columns, what its sums start with
  unsigned cols, vecs, width;  // of the group: width with what fills the last tile
  LLVMValueRef block, row0, rows_here;  // the block at hand, its first row and count
} gemm;

static const char *layout_of(const gemm *g) {
  if (g->x_type != VQ_u8) return "panel16";
  return g->nibbles ? "panel16x8" : "panel16x4";
}

// Length of the sums, in elements.
static int64_t depth(const vq_op *op, bool codes) {
  const vq_type *x = vq_in(op, 0)->type;
  int64_t k = x->dim[x->rank - 1];
  if (op->code == VQ_OP_patch_embed) {
    const int64_t *patch = VQ_ATTRS(op, patch_embed)->patch.p;
    k = x->dim[1] * patch[0] * patch[1];
  }
  return codes ? (k + 3) / 4 : k;
}

// Panels of the widest group on any target.
static int64_t max_panels(const gemm *g) {
  int64_t cols = g->m < 8 ? VQ_TILE_COLS : VQ_AMX_COLS;
  return ((g->n < cols ? g->n : cols) + VQ_PANEL - 1) / VQ_PANEL;
}

// Scratch for what some variants widen: a row block at least, and the widest group of
// those that do, a panel.
static void plan_wide(gemm *g) {
  int64_t block = TASK_ROWS * g->k * 8, n = WIDE_BYTES / block;
  g->wide_step = n < 1 ? 1 : n > g->step ? g->step : n;
  g->wide_at = g->w_at + VQ_PANEL * g->k * 8;
  g->scratch = g->wide_at + g->wide_step * block;
}

static bool describe(const vq_func *kernel, gemm *g) {
  const vq_op *op = vq_rows_anchor(kernel);
  memset(g, 0, sizeof *g);
  vq_str layout;
  if (op->code == VQ_OP_linear) {
    layout = VQ_ATTRS(op, linear)->layout;
  } else if (op->code == VQ_OP_patch_embed && op == kernel->first) {
    layout = VQ_ATTRS(op, patch_embed)->layout;
    memcpy(g->patch, VQ_ATTRS(op, patch_embed)->patch.p, sizeof g->patch);
  } else {
    return false;
  }
  g->w = vq_in(op, 1), g->bias = vq_in_opt(op, 2);
  g->x_type = vq_in(op, 0)->type->dtype, g->y_type = op->out->type->dtype;
  bool codes = g->x_type == VQ_u8;
  g->nibbles = g->w->type->dtype == VQ_i4;
  if (!vq_str_is(layout, layout_of(g)) || (!codes && g->x_type != VQ_f32) ||
      !vq_chain_match(kernel, op, &g->chain) || !vq_rows_match(kernel, vq_in(op, 0), &g->rows))
    return false;
  for (unsigned i = 1; i < op->n_in; i++)
    if (vq_in(op, i)->kind != VQ_VALUE_ARG) return false;
  g->m = g->chain.rows, g->n = g->chain.cols, g->k = depth(op, codes);
  g->row_blocks = (g->m + TASK_ROWS - 1) / TASK_ROWS;
  g->col_chunks = g->row_blocks >= 8 ? 1 : (g->n + TASK_COLS - 1) / TASK_COLS;
  if (g->k <= 0 || g->k > (4 << 20) / 4 / (TASK_ROWS + 1)) return false;
  g->gather = g->patch[0] || g->rows.table || (codes && g->rows.cols % 4);
  g->step = CACHE_BYTES / (TASK_ROWS * g->k * 4);
  if (g->step > g->row_blocks) g->step = g->row_blocks;
  if (g->step < 1) g->step = 1;
  g->w_at = ROWS * 4 + (g->gather ? g->step * TASK_ROWS * g->k * 4 : 0);
  g->w_at = (g->w_at + VQ_CACHE_LINE - 1) / VQ_CACHE_LINE * VQ_CACHE_LINE;
  g->scratch = g->w_at + (g->nibbles ? vq_unpack_bytes(max_panels(g), g->k) : 0);
  if (codes && !g->nibbles && g->k <= VQ_WIDE_DEPTH) plan_wide(g);
  bool in_place = codes && g->col_chunks == 1 && !vq_chain_empty(&g->chain) &&
                  g->k >= 2 * TASK_ROWS;
  g->product = (vq_product){g->m, g->row_blocks, g->n, codes, g->k, in_place, g->nibbles};
  return g->scratch <= SCRATCH_MAX;
}

bool match_gemm(const vq_func *kernel, vq_kernel_plan *plan) {
  gemm g;
  if (!describe(kernel, &g)) return false;
  plan->n_task = g.row_blocks * g.col_chunks;
  plan->scratch_bytes = (uint32_t)g.scratch;
  plan->n_product = 1;
  plan->product[0] = g.product;
  return true;
}

// ---- rows of A ---------------------------------------------------------------

// Where row `row` of A lies, widened.
static LLVMValueRef wide_row(const vq_emit *e, const gemm *g, LLVMValueRef row) {
  row = LLVMBuildNSWSub(e->b, row, g->row_first, "");
  return vq_at(e, e->i32, vq_atk(e, e->i8, e->scratch, g->wide_at),
               vq_mulk(e, row, 2 * g->k));
}

// Where row `row` of A lies.
static LLVMValueRef a_row(const vq_emit *e, const gemm *g, LLVMValueRef row) {
  LLVMValueRef at = vq_atk(e, e->f32, e->scratch, ROWS);
  if (g->gather)
    row = LLVMBuildNSWSub(e->b, row, g->row_first, "");
  else
    at = vq_arg_ptr(e, g->rows.x);
  return vq_at(e, e->f32, at, vq_mulk(e, row, g->k));
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

// Bias of the group's columns, whole vectors; other lanes are zero.
static LLVMValueRef start_sums(const vq_emit *e, const gemm *g) {
  LLVMValueRef init = vq_atk(e, e->f32, e->scratch, INIT);
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

// Lanes of the epilogue. Two vectors of AVX2 at a time take fewer instructions to narrow
// to codes than one after the other.
static unsigned finish_lanes(const vq_emit *e, const gemm *g) {
  unsigned lanes = g->shape.lanes, width = g->vecs * lanes;
  bool pairs = e->target->vector_bits == 256 && !e->target->vnni && g->product.codes &&
               g->cols == width && width % (2 * lanes) == 0;
  return pairs ? 2 * lanes : lanes;
}

// Rows [lo, hi) of a tile in scratch to memory, the first of it being row `row`.
static void finish_sums(const vq_emit *e, const gemm *g, LLVMValueRef tile,
                        LLVMValueRef row, LLVMValueRef lo, LLVMValueRef hi) {
  unsigned lanes = finish_lanes(e, g);
  LLVMTypeRef type = vq_elt_type(e, g->y_type, lanes);
  vq_loop l;
  vq_loop_begin(e, &l, lo, hi, 1, 0, NULL);
  for (unsigned c = 0; c < g->cols; c += lanes) {
    LLVMValueRef i = vq_addk(e, vq_mulk(e, l.i, g->width), c);
    LLVMValueRef v = vq_load(e, type, vq_at(e, e->f32, tile, i), 4);
    vq_chain_store(e, &g->chain, v, vq_add(e, row, l.i), vq_addk(e, g->col, c), lanes,
                   g->cols - c < lanes ? g->cols - c : lanes);
  }
  vq_loop_end(e, &l);
}

// The product of rows from `row` and the columns of g->col, in scratch.
static vq_tile tile_of(const vq_emit *e, const gemm *g, LLVMValueRef row) {
  vq_tile t = {.a = a_row(e, g, row), .lda = g->k, .b = vq_arg_ptr(e, g->w),
               .k = g->k, .init = g->init, .c = e->scratch, .ldc = g->width,
               .col = g->col, .vecs = g->vecs};
  if (!g->nibbles && !g->wide) return t;
  if (g->wide) t.a = wide_row(e, g, row), t.lda = t.k = 2 * g->k;
  t.b = vq_atk(e, e->i8, e->scratch, g->w_at);
  t.col = vq_modk(e, g->col, VQ_PANEL);
  return t;
}

// Elements of a column of w, of four bytes as those of A.
static int64_t w_depth(const gemm *g) { return g->nibbles ? (g->k + 1) / 2 : g->k; }

// B of a group lies behind that of the one before. When a group begins, its first
// tile would wait for every line; and runs are too short for the prefetcher of the
// processor. So the blocks of rows of a group share in fetching the next one, or, where
// tiles fetch, the first few of its tiles.
static int64_t lines_of_group(const gemm *g) {
  return (int64_t)g->shape.vecs * g->shape.lanes * w_depth(g) * 4 / VQ_CACHE_LINE;
}

static void fetch_ahead(const vq_emit *e, const gemm *g) {
  LLVMValueRef group = vq_mulk(e, vq_addk(e, g->col, g->width), w_depth(g));
  LLVMValueRef nth = LLVMBuildNSWSub(e->b, g->block, g->first, "");
  LLVMValueRef at = vq_at(e, e->f32, vq_arg_ptr(e, g->w), group);
  LLVMValueRef from = vq_mulk(e, vq_mul(e, nth, g->ahead), VQ_CACHE_LINE);
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), g->ahead, 1, 0, NULL);
  LLVMValueRef line = vq_add(e, from, vq_mulk(e, l.i, VQ_CACHE_LINE));
  vq_prefetch(e, vq_at(e, e->i8, at, line), 2);
  vq_loop_end(e, &l);
}

// Blocks have at most two tiles, whose turns are a line each: four of them suffice.
static bool fetches_in_tiles(const vq_emit *e, const gemm *g) {
  return vq_tile_fetches(e->target, &g->product) && g->col_chunks == 1 && g->step >= 4;
}

// What the tile at row `row` of the block at hand fetches: its share, or a line of its own
// operands again and again.
static void choose_fetch(const vq_emit *e, const gemm *g, LLVMValueRef row, vq_tile *t) {
  LLVMValueRef nth = vq_mulk(e, LLVMBuildNSWSub(e->b, g->block, g->first, ""), 2);
  LLVMValueRef second = LLVMBuildICmp(e->b, LLVMIntSGT, row, vq_k64(e, 0), "");
  nth = vq_add(e, nth, LLVMBuildZExt(e->b, second, e->i64, ""));
  int64_t turns = g->k / VQ_TILE_STEPS, most = turns ? lines_of_group(g) / turns : 0;
  LLVMValueRef some = LLVMBuildICmp(e->b, LLVMIntSLT, nth, vq_k64(e, most), "");
  LLVMValueRef at = vq_mulk(e, vq_addk(e, g->col, g->width), w_depth(g) * 4);
  at = vq_add(e, at, vq_mulk(e, nth, turns * VQ_CACHE_LINE));
  at = vq_at(e, e->i8, vq_arg_ptr(e, g->w), at);
  t->fetch = LLVMBuildSelect(e->b, some, at, t->init, "");
  t->stride = LLVMBuildSelect(e->b, some, vq_k64(e, VQ_CACHE_LINE), vq_k64(e, 0), "");
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
  bool direct = vq_chain_empty(&g->chain) && g->cols == g->width;
  LLVMValueRef c = vq_add(e, vq_mulk(e, at, g->n), g->col);
  vq_tile t = tile_of(e, g, at);
  if (fetches_in_tiles(e, g)) choose_fetch(e, g, row, &t);
  if (direct)
    t.c = vq_at(e, e->f32, e->result[0], c), t.ldc = g->n;
  else if (!g->product.codes)
    fetch_operands(e, g, at, rows);
  vq_tile_call(e, &g->product, &t, rows);
  if (!direct) finish_sums(e, g, e->scratch, at, vq_k64(e, 0), rows);
}

// The panels of the group, from nibbles or to codes of i16.
static void unpack_group(const vq_emit *e, const gemm *g) {
  LLVMValueRef panel = vq_divk(e, g->col, VQ_PANEL);
  LLVMValueRef from = vq_mulk(e, panel, w_depth(g) * VQ_PANEL);
  (g->wide ? vq_widen_panels : vq_unpack)(
      e, vq_at(e, e->f32, vq_arg_ptr(e, g->w), from),
      vq_atk(e, e->i8, e->scratch, g->w_at), (g->cols + VQ_PANEL - 1) / VQ_PANEL, g->k);
}

// ---- tiles that overlap ----------------------------------------------------------

// A tile whose sums wait in scratch.
typedef struct pending {
  const gemm *g;
  LLVMValueRef sums, row;
  LLVMValueRef fetch, stride;  // what the steps of the next tile fetch
} pending;

// Vector `i` of them, a row being two.
static void finish_vector(const vq_emit *e, void *user, LLVMValueRef i) {
  const pending *p = user;
  const gemm *g = p->g;
  unsigned lanes = g->shape.lanes;
  LLVMValueRef v = vq_load(e, vector(e, g), vq_at(e, vector(e, g), p->sums, i), 4);
  LLVMValueRef col = vq_add(e, g->col, vq_mulk(e, vq_modk(e, i, g->vecs), lanes));
  vq_chain_store(e, &g->chain, v, vq_add(e, p->row, vq_divk(e, i, g->vecs)), col,
                 lanes, lanes);
}

// Two tiles have as many steps as the next group has lines, of nibbles one. There are
// more tiles, of which the others fetch one line again and again.
static void choose_lines(const vq_emit *e, const gemm *g, pending *p) {
  LLVMValueRef nth = LLVMBuildNSWSub(e->b, g->block, g->first, "");
  int64_t n = (lines_of_group(g) + g->k - 1) / g->k;
  LLVMValueRef some = LLVMBuildICmp(e->b, LLVMIntSLT, nth, vq_k64(e, n), "");
  LLVMValueRef at = vq_mulk(e, vq_addk(e, g->col, g->width), w_depth(g));
  at = vq_add(e, at, vq_mulk(e, nth, g->k * VQ_PANEL));
  at = vq_at(e, e->f32, vq_arg_ptr(e, g->w), at);
  p->fetch = LLVMBuildSelect(e->b, some, at, e->scratch, "");
  p->stride = LLVMBuildSelect(e->b, some, vq_k64(e, VQ_CACHE_LINE), vq_k64(e, 0), "");
}

static void fetch_line(const vq_emit *e, void *user, LLVMValueRef i) {
  const pending *p = user;
  vq_prefetch(e, vq_at(e, e->i8, p->fetch, vq_mul(e, i, p->stride)), 2);
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
  LLVMValueRef n = LLVMBuildSelect(e->b, is_first, none, vq_mulk(e, rows, g->vecs), "");
  vq_tile t = tile_of(e, g, g->row0);
  t.c = overlap_sums(e, g->block);
  unsigned size = (unsigned)(g->m / g->row_blocks);
  vq_tile_side side = {n, fetch_line, finish_vector, &p};
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
                      vq_atk(e, e->i32, e->scratch, CONFIG));
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
  vq_widen_row(e, a_row(e, g, row), wide_row(e, g, row), g->k);
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
  } else if (vq_tile_is_in_place(e->target, &g->product) &&
             g->cols == g->shape.vecs * g->shape.lanes) {
    each_block(e, g, overlap_block);
    overlap_last(e, g);
  } else {
    each_block(e, g, block_tiles);
  }
}

// Blocks of rows [lo, hi), the columns of a chunk, `step` blocks at a time.
static void emit_rows(const vq_emit *e, gemm *g, LLVMValueRef chunk, LLVMValueRef lo,
                      LLVMValueRef hi) {
  vq_loop l;
  int64_t step = g->wide ? g->wide_step : g->step;
  vq_loop_begin(e, &l, lo, hi, step, 0, NULL);
  g->first = l.i;
  g->last = vq_min64(e, hi, vq_addk(e, l.i, step));
  vq_part_rows(e, &g->product, g->first, &g->row_first);
  if (g->gather) each_block(e, g, block_gather);
  if (g->wide) each_block(e, g, block_widen);
  LLVMValueRef n = LLVMBuildNSWSub(e->b, g->last, g->first, "");
  LLVMValueRef lines = vq_addk(e, n, lines_of_group(g) - 1);
  g->ahead = LLVMBuildUDiv(e->b, lines, n, "");
  if (g->use_amx) g->amx = amx_begin(e, g);
  LLVMValueRef from = vq_k64(e, 0), to = vq_k64(e, g->n);
  if (g->col_chunks > 1) {
    from = vq_mulk(e, chunk, TASK_COLS);
    to = vq_min64(e, to, vq_addk(e, from, TASK_COLS));
  }
  vq_each_group(e, from, to, g->n, g->shape.vecs * g->shape.lanes, emit_group, g);
  if (g->use_amx) vq_amx_end(e);
  vq_loop_end(e, &l);
}

vq_status emit_gemm(vq_emit *e) {
  gemm g;
  if (!describe(e->kernel, &g)) VQ_BUG("gemm does not take this kernel");
  g.shape = vq_tile_choose(e->target, &g.product);
  g.use_amx = vq_amx_takes(e->target, &g.product);
  g.wide = vq_tile_kind_of(e->target, &g.product) == VQ_TILE_I16;
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
