// Helpers of the emitters: constants, addresses, vectors, counted loops.
#include "loop.h"

// ---- constants and types -----------------------------------------------------

LLVMValueRef vq_k64(const vq_emit *e, int64_t v) {
  return LLVMConstInt(e->i64, (unsigned long long)v, true);
}

LLVMValueRef vq_kf32(const vq_emit *e, float v) {
  return LLVMConstReal(e->f32, v);
}

LLVMTypeRef vq_vec_type(LLVMTypeRef elem, unsigned lanes) {
  return lanes == 1 ? elem : LLVMVectorType(elem, lanes);
}

unsigned vq_lanes_of(LLVMTypeRef type) {
  return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetVectorSize(type) : 1;
}

LLVMTypeRef vq_elem_type(LLVMTypeRef type) {
  return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type)
                                                     : type;
}

// `scalar` is a constant: the vector is one too.
static LLVMValueRef const_splat(LLVMValueRef scalar, unsigned lanes) {
  LLVMValueRef v[64];
  assert(lanes <= VQ_COUNT(v));
  if (lanes == 1) return scalar;
  for (unsigned i = 0; i < lanes; i++) v[i] = scalar;
  return LLVMConstVector(v, lanes);
}

LLVMValueRef vq_kf_like(LLVMTypeRef like, double v) {
  return const_splat(LLVMConstReal(vq_elem_type(like), v), vq_lanes_of(like));
}

LLVMValueRef vq_ki_like(LLVMTypeRef like, int64_t v) {
  return const_splat(
      LLVMConstInt(vq_elem_type(like), (unsigned long long)v, true),
      vq_lanes_of(like));
}

unsigned vq_f32_lanes(const vq_target *t) {
  return t->vector_bits / 32;
}

// ---- values ------------------------------------------------------------------

LLVMValueRef vq_add(const vq_emit *e, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildNSWAdd(e->b, a, b, "");
}

LLVMValueRef vq_mul(const vq_emit *e, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildNSWMul(e->b, a, b, "");
}

LLVMValueRef vq_addk(const vq_emit *e, LLVMValueRef a, int64_t k) {
  return k == 0 ? a : vq_add(e, a, vq_k64(e, k));
}

LLVMValueRef vq_mulk(const vq_emit *e, LLVMValueRef a, int64_t k) {
  return k == 1 ? a : vq_mul(e, a, vq_k64(e, k));
}

LLVMValueRef vq_divk(const vq_emit *e, LLVMValueRef a, int64_t k) {
  return k == 1 ? a : LLVMBuildUDiv(e->b, a, vq_k64(e, k), "");
}

LLVMValueRef vq_modk(const vq_emit *e, LLVMValueRef a, int64_t k) {
  return k == 1 ? vq_k64(e, 0) : LLVMBuildURem(e->b, a, vq_k64(e, k), "");
}

LLVMValueRef vq_min64(const vq_emit *e, LLVMValueRef a, LLVMValueRef b) {
  LLVMValueRef less = LLVMBuildICmp(e->b, LLVMIntSLT, a, b, "");
  return LLVMBuildSelect(e->b, less, a, b, "");
}

LLVMValueRef vq_fma(const vq_emit *e, LLVMValueRef a, LLVMValueRef b,
                    LLVMValueRef c) {
  if (!e->target->fma)
    return LLVMBuildFAdd(e->b, LLVMBuildFMul(e->b, a, b, ""), c, "");
  LLVMTypeRef type = LLVMTypeOf(a);
  LLVMValueRef arg[] = {a, b, c};
  return vq_intrinsic(e, "llvm.fma", &type, 1, arg, 3);
}

LLVMValueRef vq_splat(const vq_emit *e, LLVMValueRef scalar, unsigned lanes) {
  if (lanes == 1) return scalar;
  if (LLVMIsConstant(scalar)) return const_splat(scalar, lanes);
  LLVMTypeRef type = LLVMVectorType(LLVMTypeOf(scalar), lanes);
  LLVMValueRef one = LLVMBuildInsertElement(
      e->b, LLVMGetPoison(type), scalar, vq_k64(e, 0), "");
  LLVMValueRef zero = LLVMConstNull(LLVMVectorType(e->i32, lanes));
  return LLVMBuildShuffleVector(e->b, one, LLVMGetPoison(type), zero, "");
}

LLVMValueRef vq_intrinsic(const vq_emit *e, const char *name,
                          LLVMTypeRef const *over, unsigned n_over,
                          LLVMValueRef const *arg, unsigned n_arg) {
  LLVMTypeRef types[4];
  LLVMValueRef args[8];
  assert(n_over <= VQ_COUNT(types) && n_arg <= VQ_COUNT(args));
  for (unsigned i = 0; i < n_over; i++) types[i] = over[i];
  for (unsigned i = 0; i < n_arg; i++) args[i] = arg[i];
  unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
  if (!id) VQ_BUG("no LLVM intrinsic '%s'", name);
  LLVMValueRef fn = LLVMGetIntrinsicDeclaration(e->mod, id, types, n_over);
  LLVMTypeRef type = LLVMIntrinsicGetType(e->lc, id, types, n_over);
  return LLVMBuildCall2(e->b, type, fn, args, n_arg, "");
}

// Lanes [from, from + n) of `v`.
static LLVMValueRef sub_lanes(const vq_emit *e, LLVMValueRef v, unsigned from,
                              unsigned n) {
  LLVMValueRef idx[64];
  if (n == 1) return LLVMBuildExtractElement(e->b, v, vq_k64(e, from), "");
  for (unsigned i = 0; i < n; i++) idx[i] = LLVMConstInt(e->i32, from + i, false);
  return LLVMBuildShuffleVector(e->b, v, LLVMGetPoison(LLVMTypeOf(v)),
                                LLVMConstVector(idx, n), "");
}

LLVMValueRef vq_reduce(const vq_emit *e, LLVMValueRef v, vq_combine f) {
  for (unsigned n = vq_lanes_of(LLVMTypeOf(v)); n > 1; n /= 2)
    v = f(e, sub_lanes(e, v, 0, n / 2), sub_lanes(e, v, n / 2, n / 2));
  return v;
}

LLVMValueRef vq_combine_add(const vq_emit *e, LLVMValueRef a, LLVMValueRef b) {
  return LLVMBuildFAdd(e->b, a, b, "");
}

LLVMValueRef vq_combine_max(const vq_emit *e, LLVMValueRef a, LLVMValueRef b) {
  LLVMValueRef more = LLVMBuildFCmp(e->b, LLVMRealOGT, a, b, "");
  return LLVMBuildSelect(e->b, more, a, b, "");
}

// Lanes of a and b alternately, from the low or the high halves.
static LLVMValueRef interleave(const vq_emit *e, LLVMValueRef a, LLVMValueRef b,
                               unsigned n, unsigned half) {
  LLVMValueRef idx[64];
  for (unsigned i = 0; i < n; i++)
    idx[i] = LLVMConstInt(e->i32, half * (n / 2) + i / 2 + i % 2 * n, false);
  return LLVMBuildShuffleVector(e->b, a, b, LLVMConstVector(idx, n), "");
}

// Each of log2 n rounds interleaves vector i with vector i + n/2: one step of a
// perfect shuffle on row and column number together.
void vq_transpose(const vq_emit *e, LLVMValueRef *v, unsigned n) {
  LLVMValueRef next[64];
  assert(n <= VQ_COUNT(next));
  for (unsigned round = 1; round < n; round *= 2) {
    for (unsigned i = 0; i < n; i++)
      next[i] = interleave(e, v[i / 2], v[i / 2 + n / 2], n, i % 2);
    memcpy(v, next, n * sizeof *v);
  }
}

LLVMValueRef vq_lanes_part(const vq_emit *e, LLVMValueRef v, unsigned from, unsigned n) {
  LLVMValueRef map[64];
  for (unsigned i = 0; i < n; i++) map[i] = LLVMConstInt(e->i32, from + i, false);
  return LLVMBuildShuffleVector(e->b, v, LLVMGetPoison(LLVMTypeOf(v)),
                                LLVMConstVector(map, n), "");
}

LLVMValueRef vq_lanes_join(const vq_emit *e, LLVMValueRef a, LLVMValueRef b) {
  LLVMValueRef map[64];
  unsigned n = 2 * vq_lanes_of(LLVMTypeOf(a));
  for (unsigned i = 0; i < n; i++) map[i] = LLVMConstInt(e->i32, i, false);
  return LLVMBuildShuffleVector(e->b, a, b, LLVMConstVector(map, n), "");
}

// ---- memory ------------------------------------------------------------------

LLVMValueRef vq_at(const vq_emit *e, LLVMTypeRef elem, LLVMValueRef base,
                   LLVMValueRef index) {
  return LLVMBuildInBoundsGEP2(e->b, elem, base, &index, 1, "");
}

LLVMValueRef vq_atk(const vq_emit *e, LLVMTypeRef elem, LLVMValueRef base,
                    int64_t index) {
  return index == 0 ? base : vq_at(e, elem, base, vq_k64(e, index));
}

LLVMValueRef vq_load(const vq_emit *e, LLVMTypeRef type, LLVMValueRef p,
                     unsigned align) {
  LLVMValueRef v = LLVMBuildLoad2(e->b, type, p, "");
  LLVMSetAlignment(v, align);
  return v;
}

LLVMValueRef vq_load_fixed(const vq_emit *e, LLVMTypeRef type, LLVMValueRef p,
                           unsigned align) {
  static const char name[] = "invariant.load";
  LLVMValueRef v = vq_load(e, type, p, align);
  LLVMMetadataRef none = LLVMMDNodeInContext2(e->lc, NULL, 0);
  LLVMSetMetadata(v, LLVMGetMDKindIDInContext(e->lc, name, sizeof name - 1),
                  LLVMMetadataAsValue(e->lc, none));
  return v;
}

void vq_store(const vq_emit *e, LLVMValueRef v, LLVMValueRef p,
              unsigned align) {
  LLVMSetAlignment(LLVMBuildStore(e->b, v, p), align);
}

LLVMValueRef vq_lane_mask(const vq_emit *e, unsigned lanes, unsigned n) {
  LLVMValueRef bit[64];
  assert(lanes <= VQ_COUNT(bit));
  for (unsigned i = 0; i < lanes; i++) bit[i] = LLVMConstInt(e->i1, i < n, false);
  return lanes == 1 ? bit[0] : LLVMConstVector(bit, lanes);
}

void vq_prefetch(const vq_emit *e, LLVMValueRef p, unsigned level) {
  LLVMValueRef arg[] = {p, LLVMConstInt(e->i32, 0, false),
                        LLVMConstInt(e->i32, 4 - level, false),
                        LLVMConstInt(e->i32, 1, false)};
  vq_intrinsic(e, "llvm.prefetch", &e->ptr, 1, arg, 4);
}

LLVMValueRef vq_load_n(const vq_emit *e, LLVMTypeRef type, LLVMValueRef p,
                       unsigned align, unsigned n) {
  unsigned lanes = vq_lanes_of(type);
  if (n >= lanes) return vq_load(e, type, p, align);
  LLVMTypeRef over[] = {type, e->ptr};
  LLVMValueRef arg[] = {p, LLVMConstInt(e->i32, align, false),
                        vq_lane_mask(e, lanes, n), LLVMConstNull(type)};
  return vq_intrinsic(e, "llvm.masked.load", over, 2, arg, 4);
}

void vq_store_n(const vq_emit *e, LLVMValueRef v, LLVMValueRef p,
                unsigned align, unsigned n) {
  LLVMTypeRef type = LLVMTypeOf(v);
  unsigned lanes = vq_lanes_of(type);
  if (n >= lanes) {
    vq_store(e, v, p, align);
    return;
  }
  LLVMTypeRef over[] = {type, e->ptr};
  LLVMValueRef arg[] = {v, p, LLVMConstInt(e->i32, align, false),
                        vq_lane_mask(e, lanes, n)};
  vq_intrinsic(e, "llvm.masked.store", over, 2, arg, 4);
}

// ---- control -----------------------------------------------------------------

static LLVMBasicBlockRef new_block(const vq_emit *e, const char *name) {
  return LLVMAppendBasicBlockInContext(e->lc, e->fn, name);
}

void vq_loop_begin(const vq_emit *e, vq_loop *l, LLVMValueRef lo,
                   LLVMValueRef hi, int64_t step, unsigned n_carry,
                   LLVMValueRef const *init) {
  assert(n_carry <= VQ_MAX_CARRY);
  LLVMBasicBlockRef from = LLVMGetInsertBlock(e->b);
  LLVMBasicBlockRef body;
  l->head = new_block(e, "head");
  body = new_block(e, "body");
  l->exit = new_block(e, "exit");
  l->step = step;
  l->n = n_carry;
  LLVMBuildBr(e->b, l->head);
  LLVMPositionBuilderAtEnd(e->b, l->head);
  l->i = LLVMBuildPhi(e->b, e->i64, "i");
  LLVMAddIncoming(l->i, &lo, &from, 1);
  for (unsigned k = 0; k < n_carry; k++) {
    LLVMValueRef first = init[k];
    l->v[k] = l->phi[k] = LLVMBuildPhi(e->b, LLVMTypeOf(first), "");
    LLVMAddIncoming(l->phi[k], &first, &from, 1);
  }
  LLVMBuildCondBr(e->b, LLVMBuildICmp(e->b, LLVMIntSLT, l->i, hi, ""), body,
                  l->exit);
  LLVMPositionBuilderAtEnd(e->b, body);
}

void vq_loop_end(const vq_emit *e, vq_loop *l) {
  LLVMBasicBlockRef from = LLVMGetInsertBlock(e->b);
  LLVMValueRef next = vq_addk(e, l->i, l->step);
  LLVMAddIncoming(l->i, &next, &from, 1);
  for (unsigned k = 0; k < l->n; k++) {
    LLVMAddIncoming(l->phi[k], &l->v[k], &from, 1);
    l->v[k] = l->phi[k];
  }
  LLVMBuildBr(e->b, l->head);
  LLVMPositionBuilderAtEnd(e->b, l->exit);
}

void vq_loop_range(const vq_emit *e, vq_loop *l, int64_t hi, int64_t step) {
  vq_loop_begin(e, l, vq_k64(e, 0), vq_k64(e, hi), step, 0, NULL);
}

void vq_if_begin(const vq_emit *e, vq_if *f, LLVMValueRef cond) {
  LLVMBasicBlockRef yes = new_block(e, "then");
  f->no = new_block(e, "else");
  f->join = new_block(e, "join");
  f->has_else = false;
  LLVMBuildCondBr(e->b, cond, yes, f->no);
  LLVMPositionBuilderAtEnd(e->b, yes);
}

void vq_if_else(const vq_emit *e, vq_if *f) {
  f->has_else = true;
  LLVMBuildBr(e->b, f->join);
  LLVMPositionBuilderAtEnd(e->b, f->no);
}

void vq_if_end(const vq_emit *e, vq_if *f) {
  LLVMBuildBr(e->b, f->join);
  if (!f->has_else) {
    LLVMPositionBuilderAtEnd(e->b, f->no);
    LLVMBuildBr(e->b, f->join);
  }
  LLVMPositionBuilderAtEnd(e->b, f->join);
}

static void copy_steps(const vq_emit *e, LLVMTypeRef type, LLVMValueRef to,
                       LLVMValueRef from, int64_t lo, int64_t hi) {
  unsigned lanes = vq_lanes_of(type);
  LLVMTypeRef elem = vq_elem_type(type);
  vq_loop l;
  if (lo == hi) return;
  vq_loop_begin(e, &l, vq_k64(e, lo), vq_k64(e, hi), lanes, 0, NULL);
  LLVMValueRef v = vq_load(e, type, vq_at(e, elem, from, l.i), 1);
  vq_store(e, v, vq_at(e, elem, to, l.i), 1);
  vq_loop_end(e, &l);
}

void vq_copy_run(const vq_emit *e, LLVMTypeRef elem, LLVMValueRef to,
                 LLVMValueRef from, int64_t n, unsigned lanes) {
  int64_t done = 0;
  for (; lanes > 0 && done < n; lanes /= 2) {
    int64_t whole = n - (n - done) % lanes;
    copy_steps(e, vq_vec_type(elem, lanes), to, from, done, whole);
    done = whole;
  }
}
