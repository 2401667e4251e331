// What every emitter writes with: constants, addresses, vectors, counted loops.
//
// Nothing here keeps state; every helper builds at the position of e->b. A
// "vector of 1 lane" is the plain scalar, so that the same emitter code serves
// tails and targets without vectors. Float arithmetic is never reassociated:
// no helper sets fast-math flags.
#ifndef VQ_BACKEND_LOOP_H
#define VQ_BACKEND_LOOP_H

#include "emit.h"

// ---- constants and types -----------------------------------------------------
LLVMValueRef vq_k64(const vq_emit *e, int64_t v);
LLVMValueRef vq_kf32(const vq_emit *e, float v);

// `elem` itself for one lane, else a vector of it.
LLVMTypeRef vq_vec_type(LLVMTypeRef elem, unsigned lanes);
// Lanes of a value or type: 1 unless it is a vector.
unsigned vq_lanes_of(LLVMTypeRef type);
// Element type of a vector, or the type itself.
LLVMTypeRef vq_elem_type(LLVMTypeRef type);
// A constant of `like`'s lanes: f32, f64 or iN by like's element type.
LLVMValueRef vq_kf_like(LLVMTypeRef like, double v);
LLVMValueRef vq_ki_like(LLVMTypeRef like, int64_t v);
// f32 lanes of the target's preferred vector.
unsigned vq_f32_lanes(const vq_target *t);

// ---- values ------------------------------------------------------------------
// i64 arithmetic with constant operands folded.
LLVMValueRef vq_add(const vq_emit *e, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef vq_mul(const vq_emit *e, LLVMValueRef a, LLVMValueRef b);
LLVMValueRef vq_addk(const vq_emit *e, LLVMValueRef a, int64_t k);
LLVMValueRef vq_mulk(const vq_emit *e, LLVMValueRef a, int64_t k);
LLVMValueRef vq_divk(const vq_emit *e, LLVMValueRef a, int64_t k);  // a >= 0
LLVMValueRef vq_modk(const vq_emit *e, LLVMValueRef a, int64_t k);  // a >= 0
LLVMValueRef vq_min64(const vq_emit *e, LLVMValueRef a, LLVMValueRef b);

// a * b + c, fused where the target has it.
LLVMValueRef vq_fma(const vq_emit *e, LLVMValueRef a, LLVMValueRef b,
                    LLVMValueRef c);
// Every lane = scalar; the scalar itself for one lane.
LLVMValueRef vq_splat(const vq_emit *e, LLVMValueRef scalar, unsigned lanes);
// Calls an overloaded LLVM intrinsic; `over` are its overload types.
LLVMValueRef vq_intrinsic(const vq_emit *e, const char *name,
                          LLVMTypeRef const *over, unsigned n_over,
                          LLVMValueRef const *arg, unsigned n_arg);

// Combines the lanes of `v` pairwise (halves, then quarters, ...), so the order
// depends on the lane count only.
typedef LLVMValueRef (*vq_combine)(const vq_emit *e, LLVMValueRef a,
                                   LLVMValueRef b);
LLVMValueRef vq_reduce(const vq_emit *e, LLVMValueRef v, vq_combine f);
LLVMValueRef vq_combine_add(const vq_emit *e, LLVMValueRef a, LLVMValueRef b);
// The larger; b when either is NaN (one maxps).
LLVMValueRef vq_combine_max(const vq_emit *e, LLVMValueRef a, LLVMValueRef b);

// Lanes [from, from + n) of a vector, and those of b behind those of a, at most 64 in all.
LLVMValueRef vq_lanes_part(const vq_emit *e, LLVMValueRef v, unsigned from, unsigned n);
LLVMValueRef vq_lanes_join(const vq_emit *e, LLVMValueRef a, LLVMValueRef b);

// Transposes the square of `n` vectors of `n` lanes in place; n a power of two.
void vq_transpose(const vq_emit *e, LLVMValueRef *v, unsigned n);

// ---- memory ------------------------------------------------------------------
// Address of element `index` (i64) of type `elem` from `base`.
LLVMValueRef vq_at(const vq_emit *e, LLVMTypeRef elem, LLVMValueRef base,
                   LLVMValueRef index);
LLVMValueRef vq_atk(const vq_emit *e, LLVMTypeRef elem, LLVMValueRef base,
                    int64_t index);
LLVMValueRef vq_load(const vq_emit *e, LLVMTypeRef type, LLVMValueRef p,
                     unsigned align);
void vq_store(const vq_emit *e, LLVMValueRef v, LLVMValueRef p, unsigned align);
// Of memory that nothing writes to, so that loops need not read it again.
LLVMValueRef vq_load_fixed(const vq_emit *e, LLVMTypeRef type, LLVMValueRef p, unsigned align);

// Fetches the line of `p` into the cache of `level` (1 or 2).
#define VQ_CACHE_LINE 64
void vq_prefetch(const vq_emit *e, LLVMValueRef p, unsigned level);

// The first `n` of the lanes only (1 <= n <= lanes); other lanes read as 0 and
// are neither read nor written. n == lanes is the plain access.
LLVMValueRef vq_load_n(const vq_emit *e, LLVMTypeRef type, LLVMValueRef p,
                       unsigned align, unsigned n);
void vq_store_n(const vq_emit *e, LLVMValueRef v, LLVMValueRef p,
                unsigned align, unsigned n);
// Copies `n` elements of type `elem`, whole vectors of `lanes` first.
void vq_copy_run(const vq_emit *e, LLVMTypeRef elem, LLVMValueRef to,
                 LLVMValueRef from, int64_t n, unsigned lanes);
// <lanes x i1> with the first n set, or i1.
LLVMValueRef vq_lane_mask(const vq_emit *e, unsigned lanes, unsigned n);

// ---- control -----------------------------------------------------------------
// for (i = lo; i < hi; i += step) with values carried from turn to turn.
// Between begin and end, v[k] is the value on entry to the turn; assign the
// next one before end. After end, v[k] is the value when the loop was left.
#define VQ_MAX_CARRY 64
typedef struct vq_loop {
  LLVMValueRef i;
  LLVMValueRef v[VQ_MAX_CARRY];
  // private
  LLVMValueRef phi[VQ_MAX_CARRY];
  LLVMBasicBlockRef head, exit;
  int64_t step;
  unsigned n;
} vq_loop;

void vq_loop_begin(const vq_emit *e, vq_loop *l, LLVMValueRef lo,
                   LLVMValueRef hi, int64_t step, unsigned n_carry,
                   LLVMValueRef const *init);
void vq_loop_end(const vq_emit *e, vq_loop *l);
// A loop from 0 to a constant without carried values.
void vq_loop_range(const vq_emit *e, vq_loop *l, int64_t hi, int64_t step);

// if (cond) { begin .. other } else { other .. end }; `other` may be left out.
typedef struct vq_if {
  LLVMBasicBlockRef no, join;
  bool has_else;
} vq_if;
void vq_if_begin(const vq_emit *e, vq_if *f, LLVMValueRef cond);
void vq_if_else(const vq_emit *e, vq_if *f);
void vq_if_end(const vq_emit *e, vq_if *f);

#endif
