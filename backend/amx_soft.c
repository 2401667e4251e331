// The tile instructions of AMX as functions over memory. See amx.h.
//
// For machines without AMX: everything around the instructions, from the
// configuration to the order of loads, runs and is compared there. Each function has
// the parameters (config, tiles, and three more) and is written down once per
// module.
#include "amx.h"
#include "bf16.h"
#include "loop.h"

typedef LLVMValueRef val;

enum { CONFIG, TILES, X, Y, Z, N_PARAM };

static val param(const vq_emit *e, unsigned i) { return LLVMGetParam(e->fn, i); }

// ---- a tile ----------------------------------------------------------------------

typedef struct shape {
  val rows, bytes;  // i64
} shape;

static void trap_if(const vq_emit *e, val bad) {
  vq_if f;
  vq_if_begin(e, &f, bad);
  vq_intrinsic(e, "llvm.trap", NULL, 0, NULL, 0);
  vq_if_end(e, &f);
}

static void expect(const vq_emit *e, LLVMIntPredicate how, val a, val b) {
  trap_if(e, LLVMBuildNot(e->b, LLVMBuildICmp(e->b, how, a, b, ""), ""));
}

static val config_field(const vq_emit *e, val at, LLVMTypeRef type) {
  val p = vq_at(e, e->i8, param(e, CONFIG), at);
  return LLVMBuildZExt(e->b, vq_load(e, type, p, 1), e->i64, "");
}

// What the configuration says of tile number `tile`, which must not be empty.
static shape shape_of(const vq_emit *e, val tile) {
  val bytes_at = vq_addk(e, vq_mulk(e, tile, 2), VQ_AMX_BYTES_AT(0));
  shape s = {config_field(e, vq_addk(e, tile, VQ_AMX_ROWS_AT(0)), e->i8),
             config_field(e, bytes_at, LLVMInt16TypeInContext(e->lc))};
  val one = vq_k64(e, 1);
  expect(e, LLVMIntULE, LLVMBuildSub(e->b, s.rows, one, ""), vq_k64(e, 15));
  expect(e, LLVMIntULE, LLVMBuildSub(e->b, s.bytes, one, ""), vq_k64(e, 63));
  return s;
}

static val row_of(const vq_emit *e, val tile, val row) {
  val at = vq_add(e, vq_mulk(e, tile, VQ_AMX_TILE_BYTES), vq_mulk(e, row, 64));
  return vq_at(e, e->i8, param(e, TILES), at);
}

// ---- load and store: tile, address, stride -----------------------------------------

static void copy_rows(const vq_emit *e, bool out) {
  shape s = shape_of(e, param(e, X));
  vq_loop r, c;
  vq_loop_begin(e, &r, vq_k64(e, 0), s.rows, 1, 0, NULL);
  val mine = row_of(e, param(e, X), r.i);
  val at = vq_at(e, e->i8, param(e, Y), vq_mul(e, r.i, param(e, Z)));
  vq_loop_begin(e, &c, vq_k64(e, 0), s.bytes, 1, 0, NULL);
  val v = vq_load(e, e->i8, vq_at(e, e->i8, out ? mine : at, c.i), 1);
  vq_store(e, v, vq_at(e, e->i8, out ? at : mine, c.i), 1);
  vq_loop_end(e, &c);
  vq_loop_end(e, &r);
}

static void load_body(const vq_emit *e) { copy_rows(e, false); }
static void store_body(const vq_emit *e) { copy_rows(e, true); }

// ---- products: sums, a, b ----------------------------------------------------------

static val code(const vq_emit *e, val row, val element, unsigned i, bool is_signed) {
  val p = vq_atk(e, e->i8, vq_at(e, e->i32, row, element), i);
  return LLVMBuildIntCast2(e->b, vq_load(e, e->i8, p, 1), e->i32, is_signed, "");
}

// Four codes of row m of A times those of column n of B.
static val four_products(const vq_emit *e, val m, val k, val n) {
  val a = row_of(e, param(e, Y), m), b = row_of(e, param(e, Z), k), sum = NULL;
  for (unsigned i = 0; i < 4; i++) {
    val x = LLVMBuildMul(e->b, code(e, a, k, i, false), code(e, b, n, i, true), "");
    sum = sum ? LLVMBuildAdd(e->b, sum, x, "") : x;
  }
  return sum;
}

// What a product needs of its tiles; *depth: elements of a sum.
static shape sums_of(const vq_emit *e, val *depth) {
  shape s = shape_of(e, param(e, X)), a = shape_of(e, param(e, Y));
  shape b = shape_of(e, param(e, Z));
  expect(e, LLVMIntEQ, s.rows, a.rows);
  expect(e, LLVMIntEQ, s.bytes, b.bytes);
  expect(e, LLVMIntEQ, a.bytes, vq_mulk(e, b.rows, 4));
  *depth = b.rows;
  return s;
}

static void add_body(const vq_emit *e) {
  val depth;
  shape s = sums_of(e, &depth);
  vq_loop m, k, n;
  vq_loop_begin(e, &m, vq_k64(e, 0), s.rows, 1, 0, NULL);
  vq_loop_begin(e, &k, vq_k64(e, 0), depth, 1, 0, NULL);
  vq_loop_begin(e, &n, vq_k64(e, 0), vq_divk(e, s.bytes, 4), 1, 0, NULL);
  val at = vq_at(e, e->i32, row_of(e, param(e, X), m.i), n.i);
  val sum = LLVMBuildAdd(e->b, vq_load(e, e->i32, at, 4),
                         four_products(e, m.i, k.i, n.i), "");
  vq_store(e, sum, at, 4);
  vq_loop_end(e, &n);
  vq_loop_end(e, &k);
  vq_loop_end(e, &m);
}

// Number `i` of the pair, as f32.
static val half(const vq_emit *e, val row, val element, unsigned i) {
  LLVMTypeRef type = LLVMInt16TypeInContext(e->lc);
  return vq_bf16_widen(e, vq_load(e, type, vq_atk(e, type, vq_at(e, e->i32, row, element), i), 2));
}

// The even ones of all pairs are added up, and the odd ones, then both.
static void add_bf16_body(const vq_emit *e) {
  val depth, none[2] = {vq_kf32(e, 0), vq_kf32(e, 0)};
  shape s = sums_of(e, &depth);
  vq_loop m, k, n;
  vq_loop_begin(e, &m, vq_k64(e, 0), s.rows, 1, 0, NULL);
  vq_loop_begin(e, &n, vq_k64(e, 0), vq_divk(e, s.bytes, 4), 1, 0, NULL);
  vq_loop_begin(e, &k, vq_k64(e, 0), depth, 1, 2, none);
  val a = row_of(e, param(e, Y), m.i), b = row_of(e, param(e, Z), k.i);
  for (unsigned i = 0; i < 2; i++)
    k.v[i] = vq_fma(e, half(e, a, k.i, i), half(e, b, n.i, i), k.v[i]);
  vq_loop_end(e, &k);
  val at = vq_at(e, e->f32, row_of(e, param(e, X), m.i), n.i);
  val sum = LLVMBuildFAdd(e->b, k.v[0], k.v[1], "");
  vq_store(e, LLVMBuildFAdd(e->b, vq_load(e, e->f32, at, 4), sum, ""), at, 4);
  vq_loop_end(e, &n);
  vq_loop_end(e, &m);
}

// ---- calls -------------------------------------------------------------------------

// The function of that name, built by `body` if it is the first call.
static val function(const vq_emit *e, const char *name, LLVMTypeRef type,
                    void (*body)(const vq_emit *e)) {
  val fn = LLVMGetNamedFunction(e->mod, name);
  if (fn) return fn;
  fn = LLVMAddFunction(e->mod, name, type);
  LLVMSetLinkage(fn, LLVMInternalLinkage);
  LLVMBasicBlockRef back = LLVMGetInsertBlock(e->b);
  vq_emit inner = *e;
  inner.fn = fn;
  LLVMPositionBuilderAtEnd(e->b, LLVMAppendBasicBlockInContext(e->lc, fn, "entry"));
  body(&inner);
  LLVMBuildRetVoid(e->b);
  LLVMPositionBuilderAtEnd(e->b, back);
  return fn;
}

static void call(const vq_emit *e, const vq_amx_soft *s, const char *name,
                 void (*body)(const vq_emit *e), val x, val y, val z) {
  LLVMTypeRef types[N_PARAM];
  val arg[N_PARAM] = {s->config, s->tiles, x, y, z};
  for (unsigned i = 0; i < N_PARAM; i++) types[i] = LLVMTypeOf(arg[i]);
  LLVMTypeRef type = LLVMFunctionType(e->void_, types, N_PARAM, false);
  LLVMBuildCall2(e->b, type, function(e, name, type, body), arg, N_PARAM, "");
}

void vq_amx_soft_load(const vq_emit *e, const vq_amx_soft *s, unsigned tile, val p,
                      val stride) {
  call(e, s, "vqk_tile_load", load_body, vq_k64(e, tile), p, stride);
}

void vq_amx_soft_store(const vq_emit *e, const vq_amx_soft *s, unsigned tile, val p,
                       val stride) {
  call(e, s, "vqk_tile_store", store_body, vq_k64(e, tile), p, stride);
}

void vq_amx_soft_add(const vq_emit *e, const vq_amx_soft *s, bool bf16, unsigned sums,
                     unsigned a, unsigned b) {
  call(e, s, bf16 ? "vqk_tile_add_bf16" : "vqk_tile_add", bf16 ? add_bf16_body : add_body,
       vq_k64(e, sums), vq_k64(e, a), vq_k64(e, b));
}
