// Every op in every variant that runs here, as a file and in process, against
// the interpreter.
#include "compiled.h"

#define MAX_IN 5

typedef struct op_case {
  vq_opcode op;
  const void *attrs;
  struct operand {
    int dtype;  // VQ_N_DTYPES: none
    unsigned rank;
    int64_t dim[6];
  } in[MAX_IN];
  double lo, hi;
} op_case;

#define N(...) (sizeof((int[]){__VA_ARGS__}) / sizeof(int))
#define T(type, ...) {VQ_##type, N(__VA_ARGS__), {__VA_ARGS__}}
#define VQ__Bool VQ_bool  // VQ_##bool, once stdbool has had its say
#define S(type) {VQ_##type, 0, {0}}
#define END {VQ_N_DTYPES, 0, {0}}
#define A(op, ...) &(vq_attrs_##op){__VA_ARGS__}

#define UNARY(op, type) {VQ_OP_##op, NULL, {T(type, 3, 1, 37), END}, 0, 0}
#define POSITIVE(op) {VQ_OP_##op, NULL, {T(f32, 3, 37), END}, 0.01, 9}
#define BINARY(op, type) \
  {VQ_OP_##op, NULL, {T(type, 3, 5, 17), T(type, 3, 5, 17), END}, 0, 0}, \
  {VQ_OP_##op, NULL, {T(type, 3, 1, 17), T(type, 5, 1), END}, 0, 0}
#define REDUCE(op, type) \
  {VQ_OP_##op, A(op, .axes = VQ_INTS(2), .keep = true), {T(type, 3, 5, 37), END}, 0, 0}, \
  {VQ_OP_##op, A(op, .axes = VQ_INTS(0, 2), .keep = false), {T(type, 3, 5, 7), END}, 0, 0}, \
  {VQ_OP_##op, A(op, .axes = VQ_INTS(1), .keep = false), {T(type, 3, 5, 7), END}, 0, 0}

typedef vq_module *(*case_fn)(const op_case *c, unsigned n, double (*range)[2]);

// Attribute lists live no longer than this call.
static vq_module *with_cases(case_fn use, double (*limit)[2]) {
  const op_case cases[] = {
    {VQ_OP_copy, NULL, {T(i32, 3, 5), END}, 0, 0},
    {VQ_OP_copy, NULL, {T(i4, 3, 5), END}, 0, 0},
    {VQ_OP_copy, NULL, {S(f32), END}, 0, 0},
    {VQ_OP_reshape, A(reshape, .shape = VQ_INTS(5, 6)), {T(f32, 3, 10), END}, 0, 0},
    {VQ_OP_transpose, A(transpose, .perm = VQ_INTS(2, 0, 1)), {T(f32, 3, 5, 7), END}, 0, 0},
    {VQ_OP_transpose, A(transpose, .perm = VQ_INTS(1, 0)), {T(u4, 3, 5), END}, 0, 0},
    {VQ_OP_slice, A(slice, .begin = VQ_INTS(1, 2), .size = VQ_INTS(2, 7),
        .step = VQ_NO_INTS), {T(f32, 5, 11), END}, 0, 0},
    {VQ_OP_slice, A(slice, .begin = VQ_INTS(4, 1), .size = VQ_INTS(3, 4), .step = VQ_INTS(-2,
        3)), {T(i8, 5, 11), END}, 0, 0},
    {VQ_OP_concat, A(concat, .axis = 1), {T(f32, 3, 1, 7), T(f32, 3, 4, 7), T(f32, 3, 2, 7),
        END}, 0, 0},
    {VQ_OP_concat, A(concat, .axis = 1), {T(i4, 3, 1), T(i4, 3, 4), END}, 0, 0},
    {VQ_OP_expand, A(expand, .shape = VQ_INTS(2, 3, 5)), {T(f32, 3, 1), END}, 0, 0},
    {VQ_OP_gather, A(gather, .axis = 0), {T(f32, 5, 7), T(i64, 4), END}, 0, 5},
    {VQ_OP_gather, A(gather, .axis = 1), {T(f32, 3, 5, 7), T(i32, 2, 2), END}, 0, 5},
    {VQ_OP_gather_rows, A(gather_rows, .groups = 2), {T(f32, 10, 7), T(i32, 4), END}, 0, 5},
    {VQ_OP_gather_rows, A(gather_rows, .groups = 1), {T(u8, 5, 3), T(i32, 9), END}, 0, 5},
    {VQ_OP_gather_rows, A(gather_rows, .groups = 1, .pad = true, .value = -2), {T(i8, 1, 5,
        40), T(i32, 9), END}, -1, 5},
    {VQ_OP_gather, A(gather, .axis = 1), {T(u8, 3, 5), S(i64), END}, 0, 5},
    {VQ_OP_pad, A(pad, .lo = VQ_INTS(1, 0), .hi = VQ_INTS(0, 3), .value = 2.5f), {T(f32, 3,
        5), END}, 0, 0},
    {VQ_OP_pad, A(pad, .lo = VQ_INTS(1, 2), .hi = VQ_INTS(3, 1), .value = -3.0f), {T(i4, 3,
        5), END}, 0, 0},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("i32")), {T(f32, 3, 37), END}, -1e10, 1e10},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("i64")), {T(f32, 3, 37), END}, -100, 100},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("u8")), {T(f32, 3, 37), END}, -100, 400},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("bool")), {T(f32, 3, 37), END}, 0, 0},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("f32")), {T(bool, 3, 37), END}, 0, 0},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("f32")), {T(i64, 3, 37), END}, 0, 0},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("bf16")), {T(f32, 3, 37), END}, 0, 0},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("f32")), {T(bf16, 3, 37), END}, 0, 0},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("bf16")), {T(bf16, 5), END}, 0, 0},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("i4")), {T(i32, 3, 37), END}, -100, 100},
    {VQ_OP_cast, A(cast, .to = VQ_LIT("i16")), {T(u4, 3, 37), END}, 0, 0},
    UNARY(neg, f32), UNARY(neg, i32), UNARY(neg, i4), UNARY(abs, f32),
    UNARY(abs, i64), UNARY(sign, f32), UNARY(sign, i8), UNARY(floor, f32),
    UNARY(ceil, f32), UNARY(round, f32), POSITIVE(sqrt), UNARY(exp, f32),
    POSITIVE(log), UNARY(erf, f32), UNARY(tanh, f32), UNARY(sigmoid, f32),
    UNARY(sin, f32), UNARY(cos, f32), UNARY(relu, f32), UNARY(relu, i16),
    UNARY(gelu, f32), UNARY(gelu_slope, f32),
    {VQ_OP_gelu_slope, A(gelu_slope, .form = VQ_LIT("tanh")), {T(f32, 3, 37), END}, -9, 9},
    {VQ_OP_gelu_slope, A(gelu_slope, .form = VQ_LIT("sigmoid")), {T(f32, 3, 37), END}, -9, 9},
    {VQ_OP_gelu, A(gelu, .form = VQ_LIT("tanh")), {T(f32, 3, 37), END}, -9, 9},
    {VQ_OP_gelu, A(gelu, .form = VQ_LIT("sigmoid")), {T(f32, 3, 37), END}, -9, 9},
    UNARY(silu, f32),
    {VQ_OP_clip, A(clip, .lo = -0.5f, .hi = 1.0f), {T(f32, 3, 37), END}, 0, 0},
    {VQ_OP_clip, A(clip, .lo = -5, .hi = 100.0f), {T(i32, 3, 37), END}, -300, 300},
    UNARY(isnan, f32), UNARY(not, bool),
    BINARY(add, f32), BINARY(add, i32), BINARY(add, u4), BINARY(sub, f32),
    BINARY(sub, i8), BINARY(mul, f32), BINARY(mul, i64), BINARY(div, f32),
    BINARY(div, i32), BINARY(div, u8), BINARY(mod, f32), BINARY(mod, i32),
    {VQ_OP_mod, A(mod, .fmod = true), {T(f32, 3, 7), T(f32, 7), END}, 0, 0},
    {VQ_OP_mod, A(mod, .fmod = true), {T(i8, 3, 7), T(i8, 7), END}, 0, 0},
    {VQ_OP_pow, NULL, {T(f32, 3, 37), T(f32, 37), END}, 0.1, 3},
    BINARY(min, f32), BINARY(min, u8), BINARY(max, f32), BINARY(max, i16),
    BINARY(equal, f32), BINARY(equal, bool), BINARY(equal, i4),
    BINARY(less, f32), BINARY(less, u8), BINARY(less_equal, f32),
    BINARY(less_equal, i64), BINARY(and, bool), BINARY(or, bool),
    BINARY(xor, bool),
    {VQ_OP_select, NULL, {T(bool, 3, 1), T(f32, 17), T(f32, 3, 17), END}, 0, 0},
    {VQ_OP_select, NULL, {T(bool, 3, 17), T(i4, 3, 17), S(i4), END}, 0, 0},
    REDUCE(reduce_sum, f32), REDUCE(reduce_sum, i32), REDUCE(reduce_sum, i4),
    REDUCE(reduce_mean, f32), REDUCE(reduce_mean, i16), REDUCE(reduce_max, f32),
    REDUCE(reduce_max, u8),
    {VQ_OP_reduce_mean, A(reduce_mean, .axes = {0}), {T(u4, 3, 7), END}, 0, 0},
    {VQ_OP_reduce_max, A(reduce_max, .axes = VQ_INTS(0, 2), .keep = true), {T(f32, 2, 3, 5, 37),
        END}, 0, 0},
    REDUCE(reduce_min, f32), REDUCE(reduce_min, i64), REDUCE(reduce_prod, f32),
    REDUCE(reduce_prod, i16),
    {VQ_OP_matmul, NULL, {T(f32, 5, 7), T(f32, 7, 19), END}, 0, 0},
    {VQ_OP_matmul, NULL, {T(f32, 2, 1, 5, 33), T(f32, 3, 33, 19), END}, 0, 0},
    {VQ_OP_matmul, A(matmul, .transpose_b = true), {T(f32, 3, 5, 37), T(f32, 3, 19, 37),
        END}, 0, 0},
    {VQ_OP_matmul, NULL, {T(i32, 5, 7), T(i32, 7, 3), END}, 0, 0},
    {VQ_OP_matmul, A(matmul, .transpose_b = true), {T(i4, 5, 7), T(i4, 3, 7), END}, 0, 0},
    {VQ_OP_linear, NULL, {T(f32, 2, 7, 37), T(f32, 19, 37), T(f32, 19), END}, 0, 0},
    {VQ_OP_linear, NULL, {T(f32, 7, 5), T(f32, 19, 5), END}, 0, 0},
    {VQ_OP_linear, A(linear, .layout = VQ_LIT("panel16"), .out = 35), {T(f32, 7, 37), T(f32,
        3, 37, 16), T(f32, 35), END}, 0, 0},
    {VQ_OP_linear, A(linear, .layout = VQ_LIT("panel16"), .out = 32), {T(f32, 1, 37), T(f32,
        2, 37, 16), END}, 0, 0},
    {VQ_OP_linear, A(linear, .layout = VQ_LIT("panel16x4"), .out = 18), {T(f32, 3, 6),
        T(f32, 2, 2, 16, 4), END}, 0, 0},
    {VQ_OP_linear, NULL, {T(f32, 2, 7, 37), T(bf16, 19, 37), T(f32, 19), END}, 0, 0},
    {VQ_OP_linear, A(linear, .layout = VQ_LIT("panel16"), .out = 35), {T(f32, 7, 37),
        T(bf16, 3, 37, 16), END}, 0, 0},
    {VQ_OP_linear, A(linear, .layout = VQ_LIT("panel16x2"), .out = 35), {T(f32, 7, 37),
        T(bf16, 3, 19, 16, 2), T(f32, 35), END}, 0, 0},
    {VQ_OP_pack_weight, NULL, {T(f32, 35, 7), END}, 0, 0},
    {VQ_OP_pack_weight, A(pack_weight, .layout = VQ_LIT("panel16x2")), {T(bf16, 35, 7), END},
        0, 0},
    {VQ_OP_conv2d, A(conv2d, .stride = VQ_INTS(1, 1), .pad = VQ_INTS(1, 1, 1, 1),
        .dilation = VQ_INTS(1, 1), .groups = 1), {T(f32, 2, 3, 7, 9), T(f32, 5, 3, 3, 3),
        T(f32, 5), END}, 0, 0},
    {VQ_OP_conv2d, A(conv2d, .stride = VQ_INTS(2, 3), .pad = VQ_INTS(2, 0, 1, 3),
        .dilation = VQ_INTS(2, 1), .groups = 2), {T(f32, 1, 4, 11, 13), T(f32, 6, 2, 3, 2),
        END}, 0, 0},
    {VQ_OP_conv2d, A(conv2d, .stride = VQ_INTS(4, 4), .pad = VQ_INTS(0, 0, 0, 0),
        .dilation = VQ_INTS(1, 1), .groups = 1), {T(f32, 1, 3, 12, 16), T(f32, 7, 3, 4, 4),
        END}, 0, 0},
    {VQ_OP_patch_embed, A(patch_embed, .patch = VQ_INTS(4, 2), .layout = VQ_LIT("panel16x2"),
        .out = 19), {T(f32, 2, 3, 8, 6), T(bf16, 2, 12, 16, 2), T(f32, 19), END}, 0, 0},
    {VQ_OP_patch_embed, A(patch_embed, .patch = VQ_INTS(4, 2), .layout = VQ_LIT("oi"),
        .out = 0), {T(f32, 2, 3, 12, 10), T(f32, 7, 24), T(f32, 7), END}, 0, 0},
    {VQ_OP_patch_embed, A(patch_embed, .patch = VQ_INTS(4, 4), .layout = VQ_LIT("panel16"),
        .out = 19), {T(f32, 1, 3, 12, 8), T(f32, 2, 48, 16), END}, 0, 0},
    {VQ_OP_layer_norm, NULL, {T(f32, 2, 5, 37), T(f32, 37), T(f32, 37), END}, 0, 0},
    {VQ_OP_layer_norm, A(layer_norm, .eps = 1e-3f), {T(f32, 7, 3), END}, 0, 0},
    {VQ_OP_layer_norm_grad, NULL, {T(f32, 2, 5, 37), T(f32, 2, 5, 37), END}, 0, 0},
    {VQ_OP_layer_norm_grad, A(layer_norm_grad, .eps = 1e-3f), {T(f32, 7, 3), T(f32, 7, 3),
        END}, 0, 0},
    {VQ_OP_variation, NULL, {T(f32, 2, 3, 5, 37), END}, 0, 0},
    {VQ_OP_variation, NULL, {T(f32, 1, 2, 1, 1), END}, 0, 0},
    {VQ_OP_variation_grad, NULL, {T(f32, 2, 3, 5, 37), T(f32, 2, 4), END}, 0, 0},
    {VQ_OP_variation_grad, NULL, {T(f32, 1, 2, 3, 2), T(f32, 1, 4), END}, 0, 0},
    {VQ_OP_variation_grad, NULL, {T(f32, 1, 2, 1, 1), T(f32, 1, 4), END}, 0, 0},
    {VQ_OP_softmax, A(softmax, .axis = -1), {T(f32, 3, 5, 37), END}, -20, 20},
    {VQ_OP_softmax, A(softmax, .axis = 1), {T(f32, 3, 5, 7), END}, -20, 20},
    {VQ_OP_attention, A(attention, .heads = 3, .scale = 0.5f), {T(f32, 2, 5, 12), T(f32, 2,
        7, 12), T(f32, 2, 7, 15), END}, 0, 0},
    {VQ_OP_attention, A(attention, .heads = 2, .scale = 0.25f), {T(f32, 4, 19, 64), T(f32, 4,
        19, 64), T(f32, 4, 19, 64), T(f32, 2, 1, 19, 19), END}, 0, 0},
    {VQ_OP_attention_softmax, A(attention_softmax, .heads = 3, .scale = 0.5f), {T(f32, 2, 5,
        12), T(f32, 2, 7, 12), END}, 0, 0},
    {VQ_OP_attention_softmax, A(attention_softmax, .heads = 2, .scale = 0.25f), {T(f32, 4, 19,
        64), T(f32, 4, 19, 64), T(f32, 2, 1, 19, 19), END}, 0, 0},
    {VQ_OP_attention_grad, A(attention_grad, .heads = 3, .scale = 0.5f), {T(f32, 2, 5, 12),
        T(f32, 2, 7, 12), T(f32, 2, 7, 15), T(f32, 2, 5, 15), T(f32, 2, 3, 5, 7)}, 0, 0},
    {VQ_OP_attention_grad, A(attention_grad, .heads = 2, .scale = 0.25f), {T(f32, 4, 19, 64),
        T(f32, 4, 19, 64), T(f32, 4, 19, 64), T(f32, 4, 19, 64), T(f32, 4, 2, 19, 19)}, 0, 0},
  };
  return use(cases, VQ_COUNT(cases), limit);
}

#define CODES(op, type, code, lo_, hi_) \
  {VQ_OP_##op, A(op, .to = VQ_LIT(#code), .lo = lo_, .hi = hi_), \
   {T(type, 3, 37), T(f32, 37), T(i16, 37), END}, -60, 60}, \
  {VQ_OP_##op, A(op, .to = VQ_LIT(#code), .lo = lo_, .hi = hi_), \
   {T(type, 3, 37), S(f32), S(i16), END}, -60, 60}, \
  {VQ_OP_##op, A(op, .to = VQ_LIT(#code), .lo = lo_, .hi = hi_), \
   {T(type, 3, 1, 37), T(f32, 5, 1), END}, -60, 60}
#define BACK(type) \
  {VQ_OP_dequantize, NULL, {T(type, 3, 37), T(f32, 37), END}, 0, 0}, \
  {VQ_OP_dequantize, NULL, {T(type, 3, 37), S(f32), S(i16), END}, 0, 0}
#define FINE(bits, lo_, hi_) \
  A(quantize, .to = VQ_LIT("i16"), .lo = lo_, .hi = hi_, .fine = bits)
#define FINE_BACK(bits) \
  {VQ_OP_dequantize, A(dequantize, .fine = bits), {T(i16, 3, 37), T(f32, 37), END}, 0, 0}, \
  {VQ_OP_dequantize, A(dequantize, .fine = bits), {T(i16, 3, 64), S(f32), T(i16, 64), END}, \
   0, 0}
#define FAKE(lo_, hi_) A(fake_quant, .lo = lo_, .hi = hi_)
#define CURVE(name, lo, hi) \
  {VQ_OP_piecewise, A(piecewise, .fn = VQ_LIT(name)), {T(f32, 3, 37), END}, lo, hi}
#define WORDS(n) T(i16, 3, n), T(i16, n), S(i16), T(i16, n), T(i16, n)
#define FIXED(name, n, step_) {VQ_OP_piecewise_int, \
  A(piecewise_int, .fn = VQ_LIT(name), .step = step_), {WORDS(n)}, 0, 0}
#define RESCALE(n, by, code, lo_, hi_) {VQ_OP_rescale, A(rescale, .shift = by, \
  .to = VQ_LIT(#code), .lo = lo_, .hi = hi_), {T(i16, 3, n), T(i16, 3, 1), T(i16, n), END}, 0, 0}
#define FINE_RESCALE(n, by, bits) {VQ_OP_rescale, A(rescale, .shift = by, .fine = bits, \
  .to = VQ_LIT("i16"), .lo = -32768, .hi = 4095), \
  {T(i16, 3, n), T(i16, 3, 1), T(i16, n), END}, 0, 0}
#define X4(n) A(linear, .layout = VQ_LIT("panel16x4"), .out = n)
#define X8(n) A(linear, .layout = VQ_LIT("panel16x8"), .out = n)
#define FINE_SUMS(form, n, bits) A(linear, .layout = VQ_LIT(form), .out = n, .fine = bits)
#define ATT(n, s, lev, qz, kz, vz) A(attention_int, .heads = n, .scale = s, \
  .levels = lev, .q_zero = qz, .k_zero = kz, .v_zero = vz)

// Of codes: results are equal to the last bit.
static vq_module *with_code_cases(case_fn use, double (*limit)[2]) {
  const op_case cases[] = {
    CODES(quantize, f32, u8, 0, 255), CODES(quantize, f32, i16, -32768, 32767),
    CODES(quantize, f32, i8, -7, 7), CODES(requantize, i32, u8, 0, 255),
    CODES(requantize, u8, i8, -128, 127), CODES(requantize, i16, i16, -32767, 32767),
    {VQ_OP_quantize, A(quantize, .to = VQ_LIT("u8"), .lo = 0, .hi = 255), {T(f32, 3, 37),
        T(f32, 37), T(i16, 37), END}, 0, 0},
    {VQ_OP_requantize, A(requantize, .to = VQ_LIT("i16"), .lo = -32768, .hi = 32767),
        {T(i32, 3, 37), T(f32, 37), T(i16, 37), END}, 0, 0},
    BACK(u8), BACK(i8), BACK(i16), BACK(i32), BACK(u4),
    {VQ_OP_fake_quant, FAKE(0, 255), {T(f32, 3, 37), T(f32, 37), T(f32, 37), END}, 0, 0},
    {VQ_OP_fake_quant, FAKE(-8, 7), {T(f32, 3, 37), S(f32), S(f32), END}, -3, 3},
    {VQ_OP_fake_quant, A(fake_quant, .lo = -100, .hi = 4000, .fine = 4), {T(f32, 3, 37),
        T(f32, 37), T(f32, 37), END}, -300, 300},
    {VQ_OP_quantize, FINE(4, 0, 4095), {T(f32, 3, 37), T(f32, 37), T(i16, 37), END}, -60, 60},
    {VQ_OP_quantize, FINE(4, -32768, 32767), {T(f32, 3, 64), T(f32, 64), END}, -60, 60},
    {VQ_OP_quantize, FINE(8, -32768, 32767), {T(f32, 3, 64), S(f32), T(i16, 64), END}, 0, 0},
    {VQ_OP_quantize, FINE(1, -30000, 32000), {T(f32, 3, 37), S(f32), T(i16, 37), END},
        -180, 180},
    {VQ_OP_quantize, FINE(8, -32768, 32767), {T(f32, 3, 37), S(f32), T(i16, 37), END},
        -200, 200},
    FINE_BACK(1), FINE_BACK(4), FINE_BACK(8),
    CURVE("gelu", -5, 5), CURVE("gelu_tanh", -5, 5), CURVE("gelu_sigmoid", -5, 5),
    CURVE("silu", -1e30, 1e30),
    FIXED("gelu", 37, 1e-3f), FIXED("gelu_tanh", 64, 2e-4f), FIXED("gelu_sigmoid", 5, 0.03f),
    FIXED("silu", 8, 3e-4f), RESCALE(37, 5, u8, 0, 255), RESCALE(64, 0, i8, -7, 7),
    RESCALE(5, 15, i16, -32768, 32767), RESCALE(16, 3, u8, 3, 200),
    FINE_RESCALE(37, 1, 4), FINE_RESCALE(64, 0, 8), FINE_RESCALE(64, 12, 4),
    FINE_RESCALE(5, 10, 6), FINE_RESCALE(37, 15, 1), FINE_RESCALE(33, 13, 3),
    FINE_RESCALE(16, 15, 8),
    {VQ_OP_linear, FINE_SUMS("oi", 19, 4), {T(i16, 3, 37), T(i8, 19, 37), T(i32, 19), END},
        0, 0},
    {VQ_OP_linear, FINE_SUMS("panel16", 35, 1), {T(i16, 2, 37), T(i4, 3, 37, 16), END}, 0, 0},
    {VQ_OP_linear, FINE_SUMS("panel16x4", 35, 4), {T(i16, 1, 1, 37), T(i8, 3, 10, 16, 4),
        T(i32, 35), END}, 0, 0},
    {VQ_OP_linear, FINE_SUMS("panel16x4", 300, 3), {T(i16, 1, 1, 9), T(i8, 19, 3, 16, 4),
        T(i32, 300), END}, 0, 0},
    {VQ_OP_linear, FINE_SUMS("panel16x8", 35, 8), {T(i16, 2, 37), T(i4, 3, 5, 16, 4, 2), END},
        0, 0},
    {VQ_OP_linear, NULL, {T(u8, 2, 7, 37), T(i8, 19, 37), T(i32, 19), END}, 0, 0},
    {VQ_OP_linear, NULL, {T(u4, 7, 5), T(i8, 19, 5), END}, 0, 0},
    {VQ_OP_linear, A(linear, .layout = VQ_LIT("panel16"), .out = 35), {T(i16, 7, 37),
        T(i8, 3, 37, 16), T(i32, 35), END}, 0, 0},
    {VQ_OP_linear, X4(35), {T(u8, 7, 37), T(i8, 3, 10, 16, 4), T(i32, 35), END}, 0, 0},
    {VQ_OP_linear, X4(16), {T(u8, 1, 4, 8), T(i8, 1, 2, 16, 4), END}, 0, 0},
    {VQ_OP_linear, X4(20), {T(i8, 3, 6), T(i8, 2, 2, 16, 4), END}, 0, 0},
    {VQ_OP_linear, X4(20), {T(i16, 3, 6), T(i8, 2, 2, 16, 4), END}, 0, 0},
    {VQ_OP_linear, NULL, {T(u8, 7, 5), T(i4, 19, 5), T(i32, 19), END}, 0, 0},
    {VQ_OP_linear, X8(35), {T(u8, 7, 37), T(i4, 3, 5, 16, 4, 2), T(i32, 35), END}, 0, 0},
    {VQ_OP_linear, X8(20), {T(i16, 3, 6), T(i4, 2, 1, 16, 4, 2), END}, 0, 0},
    {VQ_OP_linear, X8(20), {T(u8, 3, 6), T(i8, 2, 1, 16, 4, 2), END}, 0, 0},
    {VQ_OP_linear, X4(20), {T(u8, 3, 6), T(i4, 2, 2, 16, 4), END}, 0, 0},
    {VQ_OP_pack_weight, NULL, {T(i8, 35, 7), END}, 0, 0},
    {VQ_OP_pack_weight, A(pack_weight, .layout = VQ_LIT("panel16x8")), {T(i4, 35, 11),
        END}, 0, 0},
    {VQ_OP_pack_weight, A(pack_weight, .layout = VQ_LIT("panel16x8")), {T(i8, 3, 4),
        END}, 0, 0},
    {VQ_OP_pack_weight, A(pack_weight, .layout = VQ_LIT("panel16x4")), {T(i8, 35, 7),
        END}, 0, 0},
    {VQ_OP_patch_embed, A(patch_embed, .patch = VQ_INTS(4, 2), .layout = VQ_LIT("oi"),
        .out = 0), {T(u8, 2, 3, 12, 10), T(i8, 7, 24), T(i32, 7), END}, 0, 0},
    {VQ_OP_patch_embed, A(patch_embed, .patch = VQ_INTS(3, 5), .layout = VQ_LIT("panel16x4"),
        .out = 19), {T(u8, 2, 1, 12, 10), T(i8, 2, 4, 16, 4), END}, 0, 0},
    {VQ_OP_layer_norm, NULL, {T(i16, 2, 5, 37), T(f32, 37), T(f32, 37), END}, 0, 0},
    {VQ_OP_layer_norm, A(layer_norm, .eps = 40), {T(i16, 7, 3), END}, -9, 9},
    {VQ_OP_attention_int, ATT(3, 2, 255, 120, 128, 128), {T(u8, 2, 5, 12), T(u8, 2,
        7, 12), T(u8, 2, 7, 15), END}, 0, 0},
    {VQ_OP_attention_int, ATT(2, 40, 15, 0, 0, 0), {T(i8, 1, 19, 64), T(i8, 1, 17,
        64), T(i8, 1, 17, 38), END}, -60, 60},
    {VQ_OP_attention_int, ATT(2, 6, 255, 3, 0, 100), {T(u8, 4, 19, 64), T(i8, 4,
        19, 64), T(u8, 4, 19, 64), T(f32, 2, 1, 19, 19), END}, 0, 0},
    {VQ_OP_attention_int, A(attention_int, .heads = 2, .scale = 0.02f, .levels = 255, .rate = 2.5f,
        .table = VQ_INTS(255, 200, 127, 50, 0, 9)), {T(i8, 1, 19, 64), T(i8, 1, 17, 64),
        T(i8, 1, 17, 38), END}, -60, 60},
  };
  return use(cases, VQ_COUNT(cases), limit);
}

// @main computes every case from arguments of its own.
static vq_module *op_module(const op_case *c, unsigned n_case,
                            double (*limit)[2]) {
  const vq_type *type[MAX_CASE * MAX_IN];
  vq_str name[MAX_CASE * MAX_IN] = {{0}}, result[MAX_CASE];
  vq_value *y[MAX_CASE];
  unsigned n = 0, at = 0;
  for (unsigned i = 0; i < n_case; i++)
    for (unsigned k = 0; k < MAX_IN && c[i].in[k].dtype != VQ_N_DTYPES; k++) {
      const struct operand *o = &c[i].in[k];
      type[n] = vq_type_tensor(ctx, (vq_dtype)o->dtype, o->rank, o->dim, NULL);
      bool table = k == 0 && (c[i].op == VQ_OP_gather || c[i].op == VQ_OP_gather_rows);
      limit[n][0] = table ? 0 : c[i].lo;
      limit[n++][1] = table ? 0 : c[i].hi;
    }
  vq_module *m = vq_module_create(ctx, VQ_LIT("ops"));
  vq_func *f = vq_func_create(m, VQ_FUNC, VQ_LIT("main"), n, type, name);
  vq_builder b = {f, NULL, {0}, &diag};
  for (unsigned i = 0; i < n_case; i++) {
    vq_value *in[MAX_IN];
    unsigned k = 0;
    for (; k < MAX_IN && c[i].in[k].dtype != VQ_N_DTYPES; k++) in[k] = &f->arg[at++];
    char text[64];
    snprintf(text, sizeof text, "%s_%u", vq_op_info(c[i].op)->name, i);
    result[i] = vq_intern(ctx, vq_str_of(text));
    y[i] = vq_build1(&b, c[i].op, in, k, c[i].attrs, result[i]);
    ck_assert_msg(y[i] != NULL, "%s: %s", text, vq_strbuf_z(&messages));
  }
  OK(vq_build_return(&b, n_case, y, result));
  return m;
}

static bool covered[VQ_N_OPS];

static vq_module *note_coverage(const op_case *c, unsigned n,
                                double (*limit)[2]) {
  (void)limit;
  for (unsigned i = 0; i < n; i++) covered[c[i].op] = true;
  return NULL;
}

START_TEST(every_op_has_a_case) {
  with_cases(note_coverage, NULL);
  with_code_cases(note_coverage, NULL);
  covered[VQ_OP_return] = covered[VQ_OP_call] = true;
  for (unsigned op = 0; op < VQ_N_OPS; op++)
    ck_assert_msg(covered[op], "no case for %s", vq_op_info((vq_opcode)op)->name);
}
END_TEST

static double range[MAX_CASE * MAX_IN][2];

START_TEST(every_op_is_compiled) {
  vq_module *m = with_cases(op_module, range);
  check_all(m, range);
  vq_module_destroy(m);
}
END_TEST

START_TEST(ops_on_codes_are_exact) {
  vq_module *m = with_code_cases(op_module, range);
  tolerance = 0;
  check_all(m, range);
  tolerance = 1e-5;
  vq_module_destroy(m);
}
END_TEST

int main(void) {
  TCase *t = tcase_create("ops");
  tcase_add_test(t, every_op_has_a_case);
  tcase_add_test(t, every_op_is_compiled);
  tcase_add_test(t, ops_on_codes_are_exact);
  return run_tests(t, "backend ops");
}
