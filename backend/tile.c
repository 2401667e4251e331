// The register tile of all matrix products: rows x vectors of sums.
//
// One step of the sum loads `vecs` vectors of B, broadcasts one element of
// each row of A and issues rows * vecs multiply-adds. With 14 x 2 on AVX-512
// that is 16 loads for 28 of them, 30 of 32 registers and no dependence closer
// than 28 instructions. When there are few rows the tile grows in width, so
// that enough independent sums hide the latency.
//
// Row r of A is read at a + r * lda, where lda is known at run time only. With
// the odd multiples of lda in registers, x86 addresses reach each row from one
// pointer, as index * 1, 2, 4 or 8: 7 index registers serve 14 rows. Across, where A is
// transposed, rows lie side by side and lda is from one element to the next.
#include "tile.h"

#include <ctype.h>

#include "amx.h"
#include "bf16.h"
#include "llvm.h"
#include "loop.h"

#define WIDE_ROWS 8  // fewer are not worth widening B for

vq_tile_kind vq_tile_kind_of(const vq_target *t, const vq_product *p) {
  if (p->bf16) return vq_amx_takes(t, p) ? VQ_TILE_AMX_BF16 : VQ_TILE_BF16;
  if (!p->codes) return p->across ? VQ_TILE_ACROSS : VQ_TILE_F32;
  if (vq_amx_takes(t, p)) return VQ_TILE_AMX;
  if (t->vnni) return VQ_TILE_U8;
  if (p->small && t->vector_bits == 256) return VQ_TILE_SMALL;
  return p->small || p->m < WIDE_ROWS || p->k > VQ_WIDE_DEPTH ? VQ_TILE_U8 : VQ_TILE_I16;
}

// Codes and bf16 that are widened in a tile need registers for that.
static unsigned max_sums(const vq_target *t, const vq_product *p) {
  bool widens = p->bf16 && t->bf16 < VQ_BF16_DOT;
  if (t->n_vector_reg == 32) return widens ? 24 : 28;
  if (widens) return 8;
  return vq_tile_kind_of(t, p) == VQ_TILE_U8 && !t->vnni ? 8 : 12;
}

vq_tile_shape vq_tile_choose(const vq_target *t, const vq_product *p) {
  unsigned max_acc = max_sums(t, p);
  vq_tile_shape s = {.lanes = vq_f32_lanes(t), .vecs = 2};
  if (vq_amx_takes(t, p))
    return (vq_tile_shape){s.lanes, VQ_AMX_ROWS, VQ_AMX_COLS / s.lanes};
  unsigned rows = p->m < max_acc / 2 ? (unsigned)p->m : max_acc / 2;
  while (s.vecs * 2 * rows <= max_acc && s.vecs * 2 * s.lanes <= 128 &&
         s.vecs * s.lanes < p->n)
    s.vecs *= 2;
  s.rows = max_acc / s.vecs;
  return s;
}

unsigned vq_tile_width(const vq_target *t, const vq_product *p, unsigned cols) {
  unsigned unit = vq_amx_takes(t, p) ? VQ_PANEL : vq_f32_lanes(t);
  return (cols + unit - 1) / unit * unit;
}

// ---- dividing a product ----------------------------------------------------------

// Of `rows` rows of a part: number of blocks, size of the smaller ones.
typedef struct division {
  int64_t count, size, larger;
} division;

static division divide(int64_t rows, unsigned max) {
  int64_t count = (rows + max - 1) / max;
  return (division){count, rows / count, rows % count};
}

static unsigned max_rows(const vq_target *t, const vq_product *p) {
  return vq_tile_choose(t, p).rows;
}

// A constant of parts of `small` + 1 rows, or of `small`.
static LLVMValueRef pick(const vq_emit *e, const vq_product *p,
                         LLVMValueRef rows, int64_t of_large, int64_t of_small) {
  if (p->m % p->parts == 0 || of_large == of_small) return vq_k64(e, of_small);
  LLVMValueRef large = LLVMBuildICmp(e->b, LLVMIntSGT, rows,
                                     vq_k64(e, p->m / p->parts), "");
  return LLVMBuildSelect(e->b, large, vq_k64(e, of_large), vq_k64(e, of_small),
                         "");
}

// `size`, one more for the first `larger`.
static LLVMValueRef nth_size(const vq_emit *e, LLVMValueRef i,
                             LLVMValueRef larger, LLVMValueRef size) {
  LLVMValueRef more = LLVMBuildICmp(e->b, LLVMIntSLT, i, larger, "");
  return vq_add(e, size, LLVMBuildZExt(e->b, more, e->i64, ""));
}

LLVMValueRef vq_part_rows(const vq_emit *e, const vq_product *p,
                          LLVMValueRef part, LLVMValueRef *first) {
  LLVMValueRef size = vq_k64(e, p->m / p->parts);
  LLVMValueRef larger = vq_k64(e, p->m % p->parts);
  *first = vq_mul(e, part, size);
  if (p->m % p->parts == 0) return size;
  *first = vq_add(e, *first, vq_min64(e, part, larger));
  return nth_size(e, part, larger, size);
}

void vq_each_block(const vq_emit *e, const vq_product *p, LLVMValueRef rows,
                   vq_block_fn body, void *user) {
  unsigned max = max_rows(e->target, p);
  int64_t small = p->m / p->parts;
  division d0 = divide(small, max), d1 = divide(small + 1, max);
  LLVMValueRef size = pick(e, p, rows, d1.size, d0.size);
  LLVMValueRef larger = pick(e, p, rows, d1.larger, d0.larger);
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), pick(e, p, rows, d1.count, d0.count), 1, 0,
                NULL);
  LLVMValueRef row = vq_mul(e, l.i, size);
  row = vq_add(e, row, vq_min64(e, l.i, larger));
  body(e, user, row, nth_size(e, l.i, larger, size));
  vq_loop_end(e, &l);
}

void vq_each_group(const vq_emit *e, LLVMValueRef lo, LLVMValueRef hi,
                   int64_t n, unsigned width, vq_group_fn body, void *user) {
  int64_t whole = n - n % width;
  if (whole) {
    vq_loop l;
    vq_loop_begin(e, &l, lo, vq_min64(e, hi, vq_k64(e, whole)), width, 0, NULL);
    body(e, user, l.i, width);
    vq_loop_end(e, &l);
  }
  if (whole == n) return;
  vq_if last;
  vq_if_begin(e, &last, LLVMBuildICmp(e->b, LLVMIntSGE, hi, vq_k64(e, n), ""));
  body(e, user, vq_k64(e, whole), (unsigned)(n - whole));
  vq_if_end(e, &last);
}

// ---- shapes and names ------------------------------------------------------------

// The different block sizes of a product, at most four. AMX: any up to the largest.
static unsigned row_counts(const vq_target *t, const vq_product *p,
                           unsigned rows[4]) {
  unsigned n = 0, max = max_rows(t, p);
  if (vq_amx_takes(t, p)) return rows[0] = VQ_AMX_ROWS, 1;
  int64_t small = p->m / p->parts;
  for (int64_t part = small + (p->m % p->parts > 0); part >= small; part--) {
    division d = divide(part, max);
    for (int64_t size = d.size; size <= d.size + (d.larger > 0); size++) {
      unsigned k = 0;
      while (k < n && rows[k] != size) k++;
      if (k == n) rows[n++] = (unsigned)size;
    }
  }
  return n;
}

static vq_tile_id id_of(const vq_target *t, const vq_product *p, unsigned rows,
                        unsigned cols) {
  vq_tile_kind kind = vq_tile_kind_of(t, p);
  unsigned unit = vq_amx_takes(t, p) ? VQ_PANEL : vq_f32_lanes(t);
  return (vq_tile_id){rows, vq_tile_width(t, p, cols) / unit, kind};
}

bool vq_tile_is_in_place(const vq_target *t, const vq_product *p) {
  return p->in_place && t->vnni && t->n_vector_reg == 32 && !vq_amx_takes(t, p);
}

void vq_tile_shapes(const vq_target *t, const vq_product *p, vq_tile_fn add,
                    void *user) {
  vq_tile_shape s = vq_tile_choose(t, p);
  unsigned rows[4], n = row_counts(t, p, rows), width = s.vecs * s.lanes;
  unsigned rest = (unsigned)(p->n % width);
  for (unsigned i = 0; i < n; i++) {
    bool calls = !vq_tile_is_in_place(t, p) || p->slabs;
    if (p->n >= width && calls) add(user, id_of(t, p, rows[i], width));
    if (rest) add(user, id_of(t, p, rows[i], rest));
  }
}

void vq_tile_symbol(vq_strbuf *s, const char *model, const vq_target *t,
                    vq_tile_id id) {
  static const char *const kind[] = {[VQ_TILE_F32] = "",     [VQ_TILE_ACROSS] = "_across",
                                     [VQ_TILE_U8] = "_u8",   [VQ_TILE_SMALL] = "_u8i4",
                                     [VQ_TILE_I16] = "_i16", [VQ_TILE_BF16] = "_bf16",
                                     [VQ_TILE_AMX] = "_amx", [VQ_TILE_AMX_BF16] = "_amx_bf16"};
  size_t from = s->n;
  vq_strbuf_printf(s, "%s_tile%s.%ux%u.%s", model, kind[id.kind], id.rows, id.vecs,
                   t->name);
  for (size_t i = from; i < s->n; i++)
    if (!isalnum((unsigned char)s->p[i]) && s->p[i] != '.') s->p[i] = '_';
}

// ---- the functions ---------------------------------------------------------------

enum {
  A = VQ_TILE_A, LDA = VQ_TILE_LDA, B = VQ_TILE_B, PANEL = VQ_TILE_PANEL, K = VQ_TILE_K,
  INIT = VQ_TILE_INIT, LDI = VQ_TILE_LDI, C = VQ_TILE_C, LDC = VQ_TILE_LDC,
  MORE = VQ_TILE_MORE,
  CONFIG = VQ_TILE_CONFIG, FETCH = VQ_TILE_FETCH, STRIDE = VQ_TILE_STRIDE,
  N_PARAM = VQ_TILE_N_PARAM
};

// Whether elements of A and B are f32. Sums are that, too, and those of bf16.
static bool of_floats(vq_tile_kind kind) {
  return kind == VQ_TILE_F32 || kind == VQ_TILE_ACROSS;
}

static bool fetches(const vq_target *t, vq_tile_kind kind) {
  return of_floats(kind) && t->n_vector_reg == 16;
}

bool vq_tile_fetches(const vq_target *t, const vq_product *p) {
  return fetches(t, vq_tile_kind_of(t, p));
}

static bool is_amx(vq_tile_kind kind) {
  return kind == VQ_TILE_AMX || kind == VQ_TILE_AMX_BF16;
}

static unsigned n_param(const vq_target *t, vq_tile_id id) {
  if (is_amx(id.kind)) return CONFIG + 1;
  return fetches(t, id.kind) ? N_PARAM : MORE;
}

LLVMTypeRef vq_tile_type(const vq_emit *e, vq_tile_id id) {
  LLVMTypeRef param[N_PARAM] = {
      [A] = e->ptr,    [LDA] = e->i64, [B] = e->ptr,   [PANEL] = e->i64, [K] = e->i64,
      [INIT] = e->ptr, [LDI] = e->i64, [C] = e->ptr,   [LDC] = e->i64,
      [MORE] = e->ptr, [STRIDE] = e->i64};
  return LLVMFunctionType(e->void_, param, n_param(e->target, id), false);
}

// n * stride as odd * stride * 2^shift.
static unsigned shift_of(unsigned n) {
  unsigned shift = 0;
  while (shift < 3 && n && n % 2 == 0) n /= 2, shift++;
  return shift;
}

// Multiples of `stride` up to `n` that are not reached by a shift.
static void odd_multiples(const vq_emit *e, LLVMValueRef stride, unsigned n,
                          LLVMValueRef *multiple) {
  for (unsigned i = 1; i < n; i++) {
    unsigned odd = i >> shift_of(i);
    multiple[odd] = vq_mulk(e, stride, odd);
  }
}

static LLVMValueRef row_at(const vq_emit *e, LLVMValueRef base,
                           LLVMValueRef const *multiple, unsigned r) {
  unsigned shift = shift_of(r);
  if (r == 0) return base;
  return vq_at(e, LLVMIntTypeInContext(e->lc, 8u << shift), base,
               multiple[r >> shift]);
}

static void mark_params(vq_emit *e) {
  for (unsigned i = 0; i < LLVMCountParams(e->fn); i++) {
    if (i != A && i != B && i != INIT && i != C && i != MORE) continue;
    if (i != INIT && i != C)  // these may be the same
      vq_llvm_attr(e->lc, e->fn, i + 1, "noalias", 0);
    vq_llvm_attr(e->lc, e->fn, i + 1, "nocapture", 0);
    if (i != C) vq_llvm_attr(e->lc, e->fn, i + 1, "readonly", 0);
  }
}

// A tile under construction: strides as multiples, sums, addresses of this step.
typedef struct sums {
  vq_tile_id id;
  unsigned n, lanes;
  LLVMTypeRef type;
  LLVMValueRef lda[VQ_PANEL], panel[VQ_PANEL];
  LLVMValueRef v[VQ_MAX_CARRY];  // n sums, a, b
} sums;

static void begin_sums(const vq_emit *e, sums *s, vq_tile_id id, LLVMValueRef lda,
                       LLVMValueRef panel, LLVMValueRef init, LLVMValueRef ldi) {
  LLVMTypeRef elem = of_floats(id.kind) || id.kind == VQ_TILE_BF16 ? e->f32 : e->i32;
  s->id = id, s->n = id.rows * id.vecs, s->lanes = vq_f32_lanes(e->target);
  s->type = vq_vec_type(elem, s->lanes);
  assert(s->n + 2 <= VQ_MAX_CARRY && id.rows <= VQ_PANEL && id.vecs <= VQ_PANEL);
  odd_multiples(e, lda, id.kind == VQ_TILE_ACROSS ? 2 : id.rows, s->lda);
  odd_multiples(e, panel, id.vecs, s->panel);
  for (unsigned i = 0; i < s->n; i++) {
    s->v[i] = vq_load(e, s->type, vq_atk(e, s->type, init, i % id.vecs), 4);
    if (i % id.vecs == id.vecs - 1) init = vq_at(e, e->i8, init, ldi);
  }
}

// Of elements of A and B.
static LLVMTypeRef elem_of(const vq_emit *e, const sums *s) {
  return of_floats(s->id.kind) ? e->f32 : e->i32;
}

// Vector `j` of the element of B at p.
static LLVMValueRef load_b(const vq_emit *e, const sums *s, LLVMValueRef p, unsigned j) {
  unsigned at = j * s->lanes;
  p = row_at(e, p, s->panel, at / VQ_PANEL);
  return vq_load(e, vq_vec_type(elem_of(e, s), s->lanes),
                 vq_atk(e, e->f32, p, at % VQ_PANEL), 4);
}

// sum[0 .. vecs) += a times b.
static void add_products(const vq_emit *e, const sums *s, LLVMValueRef a,
                         LLVMValueRef const *b, LLVMValueRef *sum) {
  unsigned vecs = s->id.vecs;
  if (s->id.kind == VQ_TILE_BF16) {
    vq_bf16_add(e, a, b, vecs, sum);
  } else if (!of_floats(s->id.kind)) {
    vq_tile_add_codes(e, s->id.kind, a, b, vecs, sum);
  } else {
    for (unsigned j = 0; j < vecs; j++) sum[j] = vq_fma(e, a, b[j], sum[j]);
  }
}

static void sum_step(const vq_emit *e, const sums *s, LLVMValueRef *v) {
  unsigned rows = s->id.rows, vecs = s->id.vecs, n = s->n;
  bool across = s->id.kind == VQ_TILE_ACROSS;
  unsigned align = of_floats(s->id.kind) || s->id.kind == VQ_TILE_BF16 ? 4 : 1;
  LLVMValueRef b[VQ_PANEL];
  for (unsigned j = 0; j < vecs; j++) b[j] = load_b(e, s, v[n + 1], j);
  for (unsigned r = 0; r < rows; r++) {
    LLVMValueRef at = across ? vq_atk(e, e->f32, v[n], r) : row_at(e, v[n], s->lda, r);
    LLVMValueRef a = vq_load(e, elem_of(e, s), at, align);
    add_products(e, s, vq_splat(e, a, s->lanes), b, &v[r * vecs]);
  }
  v[n] = across ? vq_at(e, e->i8, v[n], s->lda[1]) : vq_atk(e, e->f32, v[n], 1);
  v[n + 1] = vq_atk(e, e->f32, v[n + 1], VQ_PANEL);
}

// Spreads the instructions behind `last` among the rows of a step, in their order.
// In one piece they would wait for each other where multiply-adds wait too, and fill
// that queue of the processor.
static void weave(const vq_emit *e, const sums *s, LLVMValueRef const *v,
                  LLVMValueRef last) {
  unsigned n = 0, at = 0, vecs = s->id.vecs;
  LLVMValueRef first = LLVMGetNextInstruction(last), after = NULL, next;
  for (LLVMValueRef i = first; i; i = LLVMGetNextInstruction(i)) n++;
  for (LLVMValueRef i = first; i; i = next, at++) {
    unsigned row = at * s->id.rows / n;
    next = LLVMGetNextInstruction(i);
    if (!after || row != (at - 1) * s->id.rows / n) after = v[row * vecs + vecs - 1];
    LLVMInstructionRemoveFromParent(i);
    LLVMPositionBuilderBefore(e->b, LLVMGetNextInstruction(after));
    LLVMInsertIntoBuilder(e->b, i);
    after = i;
  }
}

// Steps [lo, hi), each with what `side` has for it.
static void sum_loop(const vq_emit *e, sums *s, LLVMValueRef lo, LLVMValueRef hi,
                     const vq_tile_side *side, bool first) {
  vq_loop l;
  vq_loop_begin(e, &l, lo, hi, 1, s->n + 2, s->v);
  sum_step(e, s, l.v);
  if (side) {
    LLVMBasicBlockRef block = LLVMGetInsertBlock(e->b);
    LLVMValueRef last = LLVMGetLastInstruction(block);
    side->each(e, side->user, l.i);
    if (first) side->first(e, side->user, l.i);
    if (LLVMGetInsertBlock(e->b) == block) weave(e, s, l.v, last);
    LLVMPositionBuilderAtEnd(e->b, LLVMGetInsertBlock(e->b));
  }
  vq_loop_end(e, &l);
  memcpy(s->v, l.v, (s->n + 2) * sizeof *s->v);
}

// Steps in one turn of the loop of a tile. One is enough where it is long beside the loop.
// Of codes of i16, two take a tenth less time than one after the other; of three and more
// LLVM adds the products first, for which there are no registers.
static unsigned steps_in_turn(const vq_target *t, vq_tile_kind kind) {
  return kind == VQ_TILE_I16 ? 2 : fetches(t, kind) ? VQ_TILE_STEPS : 1;
}

// All steps of e->fn.
static void sum_all(const vq_emit *e, sums *s) {
  LLVMValueRef k = LLVMGetParam(e->fn, K), done = vq_k64(e, 0);
  unsigned steps = steps_in_turn(e->target, s->id.kind), n = s->n + 2;
  bool fetch = fetches(e->target, s->id.kind), even = s->id.kind == VQ_TILE_I16;
  if (steps > 1) {
    vq_loop l;
    done = even ? k : LLVMBuildNSWSub(e->b, k, vq_modk(e, k, steps), "");
    if (fetch) s->v[n] = LLVMGetParam(e->fn, FETCH);
    vq_loop_begin(e, &l, vq_k64(e, 0), done, steps, n + fetch, s->v);
    if (fetch) {
      vq_prefetch(e, l.v[n], 2);
      l.v[n] = vq_at(e, e->i8, l.v[n], LLVMGetParam(e->fn, STRIDE));
    }
    for (unsigned i = 0; i < steps; i++) sum_step(e, s, l.v);
    vq_loop_end(e, &l);
    memcpy(s->v, l.v, n * sizeof *s->v);
  }
  if (!even) sum_loop(e, s, done, k, NULL, false);
}

static void store_sums(const vq_emit *e, const sums *s, LLVMValueRef c,
                       LLVMValueRef ldc) {
  unsigned vecs = s->id.vecs;
  for (unsigned i = 0; i < s->n; i++) {
    vq_store(e, s->v[i], vq_atk(e, s->type, c, i % vecs), 4);
    if (i % vecs == vecs - 1) c = vq_at(e, e->i8, c, ldc);
  }
}

// ---- tiles of small codes --------------------------------------------------------

// `n` steps from A and B at v[0] and v[1], which then stand behind them, added to
// what is at c.
static void small_steps(const vq_emit *e, const sums *s, unsigned n, LLVMValueRef c,
                        LLVMValueRef ldc, LLVMValueRef *v) {
  unsigned rows = s->id.rows, vecs = s->id.vecs;
  LLVMTypeRef words = LLVMVectorType(LLVMInt16TypeInContext(e->lc), 2 * s->lanes);
  LLVMValueRef b[VQ_PANEL], sum[VQ_MAX_CARRY];
  for (unsigned i = 0; i < s->n; i++) sum[i] = LLVMConstNull(words);
  for (unsigned k = 0; k < n; k++) {
    LLVMValueRef from = vq_atk(e, e->f32, v[1], k * VQ_PANEL), a = vq_atk(e, e->f32, v[0], k);
    for (unsigned j = 0; j < vecs; j++) b[j] = load_b(e, s, from, j);
    for (unsigned r = 0; r < rows; r++) {
      LLVMValueRef x = vq_load(e, e->i32, row_at(e, a, s->lda, r), 1);
      x = vq_splat(e, x, s->lanes);
      for (unsigned j = 0; j < vecs; j++)
        sum[r * vecs + j] = vq_tile_add_small(e, x, b[j], sum[r * vecs + j]);
    }
  }
  for (unsigned i = 0; i < s->n; i++) {
    LLVMValueRef p = vq_atk(e, s->type, c, i % vecs);
    vq_store(e, vq_tile_fold_small(e, sum[i], vq_load(e, s->type, p, 4)), p, 4);
    if (i % vecs == vecs - 1) c = vq_at(e, e->i8, c, ldc);
  }
  v[0] = vq_atk(e, e->f32, v[0], n), v[1] = vq_atk(e, e->f32, v[1], n * VQ_PANEL);
}

// Sums in lanes of i16 need half of the instructions; from time to time they are added
// to those of i32, which wait in the result.
static void small_body(const vq_emit *e, sums *s) {
  LLVMValueRef c = LLVMGetParam(e->fn, C), ldc = LLVMGetParam(e->fn, LDC);
  LLVMValueRef k = LLVMGetParam(e->fn, K);
  store_sums(e, s, c, ldc);
  LLVMValueRef from[] = {s->v[s->n], s->v[s->n + 1]};
  LLVMValueRef rest = vq_modk(e, k, VQ_TILE_SMALL_STEPS);
  LLVMValueRef whole = LLVMBuildNSWSub(e->b, k, rest, "");
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), whole, VQ_TILE_SMALL_STEPS, 2, from);
  small_steps(e, s, VQ_TILE_SMALL_STEPS, c, ldc, l.v);
  vq_loop_end(e, &l);
  from[0] = l.v[0], from[1] = l.v[1];
  vq_loop_begin(e, &l, whole, k, 1, 2, from);
  small_steps(e, s, 1, c, ldc, l.v);
  vq_loop_end(e, &l);
}

void vq_tile_body(vq_emit *e, vq_tile_id id) {
  mark_params(e);
  if (is_amx(id.kind)) {
    vq_amx_body(e, id.vecs, id.kind == VQ_TILE_AMX_BF16);
    return;
  }
  sums s;
  begin_sums(e, &s, id, LLVMGetParam(e->fn, LDA), LLVMGetParam(e->fn, PANEL),
             LLVMGetParam(e->fn, INIT), LLVMGetParam(e->fn, LDI));
  s.v[s.n] = LLVMGetParam(e->fn, A), s.v[s.n + 1] = LLVMGetParam(e->fn, B);
  if (id.kind == VQ_TILE_SMALL) {
    small_body(e, &s);
    return;
  }
  sum_all(e, &s);
  store_sums(e, &s, LLVMGetParam(e->fn, C), LLVMGetParam(e->fn, LDC));
}

static int64_t panel_size(const vq_tile *t) {
  return (t->panel ? t->panel : t->k) * VQ_PANEL;
}

static LLVMValueRef ldi_of(const vq_emit *e, const vq_tile *t) {
  return t->ldi ? vq_mulk(e, t->ldi, 4) : vq_k64(e, 0);
}

// Address of the panel row 0 of the tile's first column.
static LLVMValueRef panel_at(const vq_emit *e, const vq_tile *t) {
  LLVMValueRef panel = vq_divk(e, t->col, VQ_PANEL);
  LLVMValueRef p = vq_at(e, e->f32, t->b, vq_mulk(e, panel, panel_size(t)));
  if (t->vecs * vq_f32_lanes(e->target) >= VQ_PANEL) return p;
  return vq_at(e, e->f32, p, vq_modk(e, t->col, VQ_PANEL));
}

static void call(const vq_emit *e, vq_tile_id id, LLVMValueRef *arg) {
  vq_strbuf name = {0};
  vq_tile_symbol(&name, e->model, e->target, id);
  LLVMValueRef fn = LLVMGetNamedFunction(e->mod, vq_strbuf_z(&name));
  if (!fn) {
    fn = LLVMAddFunction(e->mod, vq_strbuf_z(&name), vq_tile_type(e, id));
    LLVMSetVisibility(fn, LLVMHiddenVisibility);
    vq_llvm_attr(e->lc, fn, LLVMAttributeFunctionIndex, "nounwind", 0);
  }
  vq_strbuf_release(&name);
  LLVMBuildCall2(e->b, vq_tile_type(e, id), fn, arg, n_param(e->target, id), "");
}

void vq_tile_in_place(const vq_emit *e, const vq_product *p, const vq_tile *t,
                      unsigned rows, const vq_tile_side *side) {
  unsigned cols = t->vecs * vq_f32_lanes(e->target);
  sums s;
  begin_sums(e, &s, id_of(e->target, p, rows, cols), vq_k64(e, t->lda * 4),
             vq_k64(e, panel_size(t) * 4), t->init, ldi_of(e, t));
  s.v[s.n] = t->a, s.v[s.n + 1] = panel_at(e, t);
  sum_loop(e, &s, vq_k64(e, 0), side->n, side, true);
  sum_loop(e, &s, side->n, vq_k64(e, t->k), side, false);
  store_sums(e, &s, t->c, vq_k64(e, t->ldc * 4));
}

void vq_tile_call(const vq_emit *e, const vq_product *p, const vq_tile *t,
                  LLVMValueRef rows) {
  LLVMValueRef arg[N_PARAM] = {
      [A] = t->a, [LDA] = vq_k64(e, t->lda * 4), [B] = panel_at(e, t),
      [PANEL] = vq_k64(e, panel_size(t) * 4), [K] = vq_k64(e, t->k),
      [INIT] = t->init, [LDI] = ldi_of(e, t), [C] = t->c, [LDC] = vq_k64(e, t->ldc * 4),
      [MORE] = t->config};
  unsigned count[4], n = row_counts(e->target, p, count);
  unsigned cols = t->vecs * vq_f32_lanes(e->target);
  if (t->config) arg[K] = vq_k64(e, t->k / vq_amx_step(p));
  if (vq_tile_fetches(e->target, p)) {
    arg[FETCH] = t->fetch ? t->fetch : t->init;
    arg[STRIDE] = t->fetch ? t->stride : vq_k64(e, 0);
  }
  vq_if f[4];
  for (unsigned i = 0; i + 1 < n; i++) {
    vq_if_begin(e, &f[i], LLVMBuildICmp(e->b, LLVMIntEQ, rows,
                                        vq_k64(e, count[i]), ""));
    call(e, id_of(e->target, p, count[i], cols), arg);
    vq_if_else(e, &f[i]);
  }
  call(e, id_of(e->target, p, count[n - 1], cols), arg);
  for (unsigned i = n - 1; i-- > 0;) vq_if_end(e, &f[i]);
}
