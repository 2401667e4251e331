// attention_int of few queries: keys and values are read where they lie.
//
// To pack them (emit_attention_int.c) takes longer than a query does. Here the codes of a key
// are multiplied by those of a query, which lie in scratch less their zero point, as words
// (widen.h): pmaddwd adds pairs of products, and the sums of as many keys as a vector has
// lanes are added up together. Keys count as u8 with zero point 128: what that takes away is
// the same for all of them.
//
// Values of two keys are interleaved as words, so that pmaddwd multiplies them by their two
// probabilities. Their zero point is taken away at the end, times the sum of these.
//
// A task is a head of a sample. What it reads of a key or a value is a cache line or two of a
// long row, which no hardware expects: those of the next head are prefetched meanwhile.
#include "heads_int.h"
#include "loop.h"
#include "tile.h"
#include "widen.h"

#define MAX_QUERIES 2
#define UNIT 16   // d and e are multiples of it
#define ZERO 128  // of keys and values as u8
#define GROUP 2   // vectors of values that are summed together
#define SCRATCH_MAX (1 << 20)

bool match_attention_row(const vq_func *kernel, vq_kernel_plan *plan);
vq_status emit_attention_row(vq_emit *e);

typedef struct attention {
  vq_heads_int h;
  LLVMValueRef query, sums;  // parts of scratch: words, sums of values
} attention;

enum { QUERY, SCORES, CODES, SUMS, N_PART };

// As in emit_attention_int.c.
static int64_t scratch_parts(const vq_heads *s, int64_t *part) {
  const int64_t size[N_PART] = {[QUERY] = s->d / 2, [SCORES] = s->m_pad,
                                [CODES] = s->m_pad / 2 + VQ_PANEL, [SUMS] = s->e};
  int64_t at = 0;
  for (unsigned i = 0; i < N_PART; i++) {
    part[i] = at;
    at += (size[i] + VQ_PANEL - 1) / VQ_PANEL * VQ_PANEL;
  }
  return at * 4;
}

static bool describe(const vq_func *kernel, attention *a) {
  memset(a, 0, sizeof *a);
  if (!vq_heads_int_match(kernel, &a->h)) return false;
  const vq_heads *s = &a->h.s;
  return s->n <= MAX_QUERIES && s->d % UNIT == 0 && s->e % UNIT == 0;
}

bool match_attention_row(const vq_func *kernel, vq_kernel_plan *plan) {
  attention a;
  int64_t part[N_PART];
  if (!describe(kernel, &a)) return false;
  int64_t bytes = scratch_parts(&a.h.s, part);
  if (bytes > SCRATCH_MAX) return false;
  plan->n_task = a.h.s.batch * a.h.s.heads;
  plan->scratch_bytes = (uint32_t)bytes;
  return true;
}

// Elements of four codes in the widest vectors of which `size` codes are a multiple.
static unsigned lanes_for(const vq_emit *e, int64_t size) {
  unsigned lanes = vq_f32_lanes(e->target);
  while (size % (4 * lanes)) lanes /= 2;
  return lanes;
}

static LLVMValueRef load_u8(const vq_emit *e, const vq_view *v, LLVMTypeRef type,
                            LLVMValueRef p) {
  return vq_heads_int_as(e, v->base->type->dtype, VQ_u8, vq_load(e, type, p, 1));
}

static LLVMValueRef add_pairs(const vq_emit *e, LLVMValueRef sum, LLVMValueRef a,
                              LLVMValueRef b) {
  vq_tile_add_codes(e, VQ_TILE_I16, a, &b, 1, &sum);
  return sum;
}

static LLVMValueRef add_ints(const vq_emit *e, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildAdd(e->b, a, b, "");
}

// In each `span` lanes: units of `unit` lanes of a and b in turn, from the lower or the upper
// half of either.
static LLVMValueRef mix(const vq_emit *e, LLVMValueRef a, LLVMValueRef b, unsigned span,
                        unsigned unit, bool upper) {
  LLVMValueRef map[64];
  unsigned n = vq_lanes_of(LLVMTypeOf(a));
  for (unsigned i = 0; i < n; i++) {
    unsigned in = i % span, of = in / unit;
    unsigned at = i - in + of / 2 * unit + in % unit + (upper ? span / 2 : 0);
    map[i] = LLVMConstInt(e->i32, of % 2 * n + at, false);
  }
  return LLVMBuildShuffleVector(e->b, a, b, LLVMConstVector(map, n), "");
}

// ---- scores ------------------------------------------------------------------

static LLVMValueRef less_zero(const vq_emit *e, LLVMValueRef x, int64_t zero) {
  LLVMTypeRef type = LLVMTypeOf(x), word = LLVMInt16TypeInContext(e->lc);
  x = LLVMBuildBitCast(e->b, x, LLVMVectorType(word, 2 * vq_lanes_of(type)), "");
  x = LLVMBuildSub(e->b, x, vq_ki_like(LLVMTypeOf(x), zero), "");
  return LLVMBuildBitCast(e->b, x, type, "");
}

typedef struct query_copy {
  const attention *a;
  LLVMValueRef from;
} query_copy;

static void query_step(const vq_emit *e, void *user, LLVMValueRef col, unsigned lanes,
                       unsigned n, LLVMValueRef *v) {
  const query_copy *c = user;
  const vq_view *q = &c->a->h.s.q;
  int64_t zero = c->a->h.attrs->q_zero + (q->base->type->dtype == VQ_u8 ? 0 : 128);
  LLVMTypeRef type = vq_vec_type(e->i32, lanes);
  vq_halves h = vq_halves_u8(e, load_u8(e, q, type, vq_at(e, e->i32, c->from, col)));
  LLVMValueRef to = vq_at(e, e->i32, c->a->query, vq_mulk(e, col, 2));
  LLVMValueRef ones = vq_ki_like(type, 0x00010001);
  (void)n;
  h.even = less_zero(e, h.even, zero), h.odd = less_zero(e, h.odd, zero);
  vq_store(e, h.even, to, 4);
  vq_store(e, h.odd, vq_atk(e, e->i32, to, lanes), 4);
  v[0] = add_pairs(e, add_pairs(e, v[0], h.even, ones), h.odd, ones);
}

// The query to scratch; returns the sum of its codes.
static LLVMValueRef copy_query(const vq_emit *e, const attention *a) {
  const vq_heads *s = &a->h.s;
  unsigned lanes = lanes_for(e, s->d);
  query_copy c = {a, vq_heads_token(e, s, &s->q, a->h.row, s->d)};
  LLVMValueRef sum = LLVMConstNull(vq_vec_type(e->i32, lanes));
  vq_row_each(e, s->d / 4, lanes, query_step, &c, 1, &sum);
  return vq_reduce(e, sum, add_ints);
}

// The sums of the lanes of each of v[0 .. lanes), as one vector.
static LLVMValueRef sums_of_each(const vq_emit *e, LLVMValueRef *v, unsigned lanes) {
  for (unsigned unit = 1; unit < lanes; unit *= 2)
    for (unsigned i = 0; i < lanes / 2 / unit; i++) {
      LLVMValueRef x = v[2 * i], y = v[2 * i + 1];
      unsigned span = unit < 4 ? 4 : lanes;
      v[i] = add_ints(e, mix(e, x, y, span, unit, false), mix(e, x, y, span, unit, true));
    }
  return v[0];
}

// The products of `keys` keys at `from` with the query, one to a lane.
static LLVMValueRef key_group(const vq_emit *e, const attention *a, LLVMValueRef from,
                              unsigned keys, unsigned lanes) {
  const vq_view *k = &a->h.s.k;
  LLVMTypeRef type = vq_vec_type(e->i32, lanes);
  LLVMValueRef sum[VQ_PANEL];
  for (unsigned c = 0; c < lanes; c++) sum[c] = LLVMConstNull(type);
  vq_loop l;
  vq_loop_begin(e, &l, vq_k64(e, 0), vq_k64(e, a->h.s.d / 4), lanes, keys, sum);
  LLVMValueRef q = vq_at(e, e->i32, a->query, vq_mulk(e, l.i, 2));
  LLVMValueRef even = vq_load(e, type, q, 4);
  LLVMValueRef odd = vq_load(e, type, vq_atk(e, e->i32, q, lanes), 4);
  from = vq_at(e, e->i32, from, l.i);
  for (unsigned c = 0; c < keys; c++) {
    vq_prefetch(e, vq_atk(e, e->i8, from, c * k->row + a->h.s.d), 2);
    vq_halves h = vq_halves_u8(e, load_u8(e, k, type, vq_atk(e, e->i8, from, c * k->row)));
    l.v[c] = add_pairs(e, add_pairs(e, l.v[c], h.even, even), h.odd, odd);
  }
  vq_loop_end(e, &l);
  memcpy(sum, l.v, keys * sizeof *sum);
  return sums_of_each(e, sum, lanes);
}

// All scores of a query. The last group ends with the last key and may take some again.
static void scores(const vq_emit *e, const attention *a) {
  const vq_heads *s = &a->h.s;
  unsigned lanes = lanes_for(e, s->d), keys = s->m < lanes ? (unsigned)s->m : lanes;
  LLVMValueRef zero = LLVMConstInt(e->i32, (unsigned long long)-ZERO, true);
  zero = vq_splat(e, LLVMBuildMul(e->b, copy_query(e, a), zero, ""), lanes);
  vq_loop l;
  vq_loop_range(e, &l, s->m, lanes);
  LLVMValueRef at = vq_min64(e, l.i, vq_k64(e, s->m - keys));
  LLVMValueRef sum = key_group(e, a, vq_heads_token(e, s, &s->k, at, s->d), keys, lanes);
  vq_store(e, add_ints(e, sum, zero), vq_at(e, e->i32, a->h.scores, at), 4);
  vq_loop_end(e, &l);
}

// ---- values ------------------------------------------------------------------

// The codes of two keys as pairs of words: of each 16 of them, those of columns 4 i .. to
// pair[i].
static void pair_values(const vq_emit *e, LLVMValueRef x, LLVMValueRef y,
                        LLVMValueRef *pair) {
  LLVMTypeRef bytes = LLVMTypeOf(x);
  LLVMTypeRef type = LLVMVectorType(e->i32, vq_lanes_of(bytes) / 4);
  for (unsigned i = 0; i < 4; i++) {
    LLVMValueRef both = mix(e, x, y, UNIT, 1, i / 2);
    both = mix(e, both, LLVMConstNull(bytes), UNIT, 1, i % 2);
    pair[i] = LLVMBuildBitCast(e->b, both, type, "");
  }
}

// Adds to the sums of `vecs` vectors, four to each, from column `col` on, keys `at` and the
// next one, if there is.
static void add_values(const vq_emit *e, const attention *a, LLVMValueRef at,
                       LLVMValueRef col, bool two, unsigned vecs, LLVMValueRef *sum) {
  const vq_view *v = &a->h.s.v;
  unsigned lanes = vq_lanes_of(LLVMTypeOf(*sum));
  LLVMTypeRef type = LLVMVectorType(e->i8, 4 * lanes);
  LLVMTypeRef word = LLVMInt16TypeInContext(e->lc);
  LLVMValueRef p = vq_load(e, e->i32, vq_at(e, word, a->h.codes, at), 2), pair[4];
  p = vq_splat(e, p, lanes);
  LLVMValueRef from = vq_heads_token(e, &a->h.s, v, at, a->h.s.e);
  from = vq_at(e, e->i8, from, col);
  for (unsigned j = 0; j < (two ? 2u : 1u); j++)
    vq_prefetch(e, vq_atk(e, e->i8, from, j * v->row + a->h.s.e), 2);
  for (unsigned j = 0; j < vecs; j++) {
    LLVMValueRef x = load_u8(e, v, type, vq_atk(e, type, from, j)), y = LLVMConstNull(type);
    if (two) y = load_u8(e, v, type, vq_atk(e, type, vq_atk(e, e->i8, from, v->row), j));
    pair_values(e, x, y, pair);
    for (unsigned i = 0; i < 4; i++) {
      LLVMValueRef *s = &sum[4 * j + i];
      *s = add_pairs(e, *s, pair[i], p);
    }
  }
}

// Four vectors of sums as pair_values divided them, in the order of columns.
static void store_sums(const vq_emit *e, LLVMValueRef *sum, LLVMValueRef to) {
  LLVMTypeRef type = LLVMTypeOf(*sum);
  unsigned lanes = vq_lanes_of(type);
  LLVMValueRef map[64];
  for (unsigned i = 0; i < 4 * lanes; i++) {
    unsigned from = i / 4 % 4 * lanes + i / UNIT * 4 + i % 4;
    map[i] = LLVMConstInt(e->i32, from, false);
  }
  LLVMValueRef low = vq_lanes_join(e, sum[0], sum[1]);
  LLVMValueRef all = vq_lanes_join(e, low, vq_lanes_join(e, sum[2], sum[3]));
  all = LLVMBuildShuffleVector(e->b, all, all, LLVMConstVector(map, 4 * lanes), "");
  for (unsigned i = 0; i < 4; i++)
    vq_store(e, vq_lanes_part(e, all, i * lanes, lanes), vq_atk(e, type, to, i), 4);
}

// Probabilities times values, still with their zero point, to scratch.
static void values(const vq_emit *e, const attention *a) {
  const vq_heads *s = &a->h.s;
  unsigned lanes = lanes_for(e, s->e), vecs = s->e % (4 * GROUP * lanes) ? 1 : GROUP;
  LLVMValueRef sum[4 * GROUP];
  vq_loop c, l;
  vq_loop_range(e, &c, s->e, vecs * 4 * lanes);
  for (unsigned i = 0; i < 4 * vecs; i++)
    sum[i] = LLVMConstNull(vq_vec_type(e->i32, lanes));
  vq_loop_begin(e, &l, vq_k64(e, 0), vq_k64(e, s->m - s->m % 2), 2, 4 * vecs, sum);
  add_values(e, a, l.i, c.i, true, vecs, l.v);
  vq_loop_end(e, &l);
  if (s->m % 2) add_values(e, a, vq_k64(e, s->m - 1), c.i, false, vecs, l.v);
  LLVMValueRef to = vq_at(e, e->i32, a->sums, c.i);
  for (unsigned j = 0; j < vecs; j++)
    store_sums(e, &l.v[4 * j], vq_atk(e, e->i32, to, j * 4 * lanes));
  vq_loop_end(e, &c);
}

typedef struct result {
  const attention *a;
  LLVMValueRef zero, inv;  // what is in each sum too much; 1 / sum of probabilities
} result;

static void result_step(const vq_emit *e, void *user, LLVMValueRef col, unsigned lanes,
                        unsigned n, LLVMValueRef *v) {
  const result *r = user;
  const vq_heads *s = &r->a->h.s;
  LLVMTypeRef ints = vq_vec_type(e->i32, lanes), type = vq_vec_type(e->f32, lanes);
  LLVMValueRef x = vq_load_n(e, ints, vq_at(e, e->i32, r->a->sums, col), 4, n);
  (void)v;
  x = LLVMBuildSub(e->b, x, vq_splat(e, r->zero, lanes), "");
  x = LLVMBuildFMul(e->b, LLVMBuildSIToFP(e->b, x, type, ""), vq_splat(e, r->inv, lanes), "");
  vq_chain_store(e, &s->chain, x, vq_add(e, vq_mulk(e, s->b, s->n), r->a->h.row),
                 vq_add(e, col, vq_mulk(e, s->h, s->e)), lanes, n);
}

// ---- tasks -------------------------------------------------------------------

static void emit_query(const vq_emit *e, attention *a, LLVMValueRef query) {
  LLVMValueRef zero = vq_k64(e, 0);
  a->h.row = query;
  scores(e, a);
  LLVMValueRef sum = vq_heads_int_code(e, &a->h, zero, vq_heads_int_max(e, &a->h, zero));
  LLVMValueRef inv = LLVMBuildSIToFP(e->b, sum, e->f32, "");
  result r = {a, LLVMBuildMul(e->b, sum, LLVMConstInt(e->i32, ZERO, false), ""),
              LLVMBuildFDiv(e->b, vq_kf32(e, 1), inv, "")};
  values(e, a);
  vq_row_each(e, a->h.s.e, a->h.lanes, result_step, &r, 0, NULL);
}

vq_status emit_attention_row(vq_emit *e) {
  attention a;
  int64_t part[N_PART];
  if (!describe(e->kernel, &a)) VQ_BUG("attention_row does not take this kernel");
  vq_heads_int_begin(e, &a.h);
  scratch_parts(&a.h.s, part);
  a.h.wide = true, a.h.code_row = a.h.s.m_pad / 2;
  a.query = vq_atk(e, e->i32, e->scratch, part[QUERY]);
  a.sums = vq_atk(e, e->i32, e->scratch, part[SUMS]);
  a.h.scores = vq_atk(e, e->i32, e->scratch, part[SCORES]);
  a.h.codes = vq_atk(e, e->i32, e->scratch, part[CODES]);
  vq_loop task, query;
  vq_loop_begin(e, &task, e->begin, e->end, 1, 0, NULL);
  a.h.s.b = vq_divk(e, task.i, a.h.s.heads), a.h.s.h = vq_modk(e, task.i, a.h.s.heads);
  vq_loop_range(e, &query, a.h.s.n, 1);
  emit_query(e, &a, query.i);
  vq_loop_end(e, &query);
  vq_loop_end(e, &task);
  return VQ_OK;
}
