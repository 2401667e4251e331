// Result types: one row per question, and no op without a good and a bad one.
//
// A row is an op, its operand types and attributes as text, and the expected
// result type or complaint. The last test walks the op table.
#include <check.h>
#include <stdlib.h>

#include "vq/build.h"
#include "vq/strbuf.h"

typedef struct row {
  vq_opcode code;
  const char *in;    // types such as "f32:2x3 i64:" separated by spaces
  const void *attrs;
  const char *want;  // "f32:2x3", or a part of the message
} row;

#define A(op, ...) &(const vq_attrs_##op) { __VA_ARGS__ }
#define GOOD(op, in, attrs, want) {VQ_OP_##op, in, attrs, want}
#define BAD(op, in, attrs, part) {VQ_OP_##op, in, attrs, "!" part}
#define I(...) VQ_INTS(__VA_ARGS__)
#define S(z) VQ_LIT(z)

#define BIG ((int64_t)1 << 40)

#define FLOAT_UNARY(op)                                               \
  GOOD(op, "f32:2x3", NULL, "f32:2x3"), GOOD(op, "f32:", NULL, "f32:"), \
      BAD(op, "i64:2", NULL, "'" #op "' operand x is tensor<2, i64>, expected a float type")
#define NUM_UNARY(op)                                                  \
  GOOD(op, "i32:2x3", NULL, "i32:2x3"), GOOD(op, "f32:0", NULL, "f32:0"), \
      BAD(op, "bool:2", NULL, "operand x is tensor<2, bool>, expected a number type")
#define NUM_BINARY(op, result)                                       \
  GOOD(op, "f32:2x1x3 f32:4x1", NULL, result ":2x4x3"),              \
      BAD(op, "f32:2x3 f32:2", NULL,                                 \
          "'" #op "' operand b is tensor<2, f32>, which does not" \
          " broadcast with a tensor<2x3, f32>"), \
      BAD(op, "f32:2 i32:2", NULL, "operand b is tensor<2, i32>, expected "), \
      BAD(op, "f32:2", NULL, "has 1 operands, expected 2")
#define BOOL_BINARY(op)                                       \
  GOOD(op, "bool:2 bool:2", NULL, "bool:2"),                  \
      BAD(op, "bool:2 f32:2", NULL, "operand b is tensor<2, f32>, expected a bool type")
#define REDUCTION(op)                                                        \
  GOOD(op, "f32:2x3x4", A(op, .axes = I(0, 2), .keep = true), "f32:1x3x1"),  \
      GOOD(op, "f32:2x3x4", A(op, .axes = I(0, 2)), "f32:3"),                \
      GOOD(op, "f32:2x3", A(op, .axes = {0}), "f32:2x3"),                    \
      BAD(op, "f32:2x3", A(op, .axes = I(2)), "axes has entry 2, expected 0 to 1"), \
      BAD(op, "f32:2x3", A(op, .axes = I(-1)), "axes has entry -1, expected 0 to 1"), \
      BAD(op, "f32:2x3", A(op, .axes = I(1, 0)), \
        "axes has 0 after 1, expected ascending order"), \
      BAD(op, "f32:2", A(op, .axes = I(0, 0)), "axes has 2 entries, expected at most 1"), \
      BAD(op, "f32:2", NULL, "attribute axes is missing")

typedef void (*visit_fn)(const row *r, void *user);

// The rows are literals of a function: compound literals may not be static.
static void each_row(visit_fn visit, void *user) {
  const row rows[] = {
    GOOD(return, "f32:2 i64:", NULL, ""),
    BAD(call, "f32:2", A(call, .callee = S("nobody")),
        "'call' names 'nobody', which is not a function"),
    GOOD(call, "f32:2x3 i64:4", A(call, .callee = S("callee")), "f32:2x3"),
    BAD(call, "f32:2x3", A(call, .callee = S("callee")),
        "'call' has 1 operands, expected 2 for 'callee'"),
    BAD(call, "f32:2x3 i64:5", A(call, .callee = S("callee")),
        "operand x[1] is tensor<5, i64>, expected shape 4"),
    BAD(call, "f32:2x3 i32:4", A(call, .callee = S("callee")),
        "operand x[1] is tensor<4, i32>, expected element type i64"),
    GOOD(call, "f32:2x3 i64:4", A(call, .callee = S("callee"), .offsets = I(64)), "f32:2x3"),
    BAD(call, "f32:2x3 i64:4", A(call, .callee = S("callee"), .offsets = I(0, 64)),
        "offsets has 2 entries, expected 1"),

    GOOD(copy, "bool:2", NULL, "bool:2"),
    BAD(copy, "f32: f32:", NULL, "'copy' has 2 operands, expected 1"),
    GOOD(reshape, "f32:2x6", A(reshape, .shape = I(3, 4)), "f32:3x4"),
    GOOD(reshape, "f32:1x1", A(reshape, .shape = {0}), "f32:"),
    BAD(reshape, "f32:2x6", A(reshape, .shape = I(5)), "which has 12 elements, expected 5"),
    BAD(reshape, "f32:2x6", A(reshape, .shape = I(-1)), "shape has entry -1"),
    BAD(reshape, "f32:2", A(reshape, .shape = I(BIG, BIG)), "more than 2^40 elements"),
    BAD(reshape, "f32:", A(reshape, .shape = I(1, 1, 1, 1, 1, 1, 1, 1, 1)),
        "shape has 9 entries, expected at most 8"),
    GOOD(transpose, "f32:2x3x4", A(transpose, .perm = I(2, 0, 1)), "f32:4x2x3"),
    BAD(transpose, "f32:2x3", A(transpose, .perm = I(0)), "perm has 1 entries, expected 2"),
    BAD(transpose, "f32:2x3", A(transpose, .perm = I(1, 1)), "perm names dimension 1 twice"),
    BAD(transpose, "f32:2x3", A(transpose, .perm = I(0, 2)),
        "perm has entry 2, expected 0 to 1"),
    GOOD(slice, "f32:5x6", A(slice, .begin = I(1, 0), .size = I(2, 3), .step = I(3, 2)),
        "f32:2x3"),
    GOOD(slice, "f32:5", A(slice, .begin = I(4), .size = I(5), .step = I(-1)), "f32:5"),
    GOOD(slice, "f32:5", A(slice, .begin = I(5), .size = I(0)), "f32:0"),
    BAD(slice, "f32:5", A(slice, .begin = I(4), .size = I(2)),
        "too small in dimension 0 for begin 4, size 2, step 1"),
    BAD(slice, "f32:5", A(slice, .begin = I(1), .size = I(3), .step = I(-1)), "too small"),
    BAD(slice, "f32:5", A(slice, .begin = I(0), .size = I(2), .step = I(0)),
        "step is 0 in dimension 0"),
    BAD(slice, "f32:5", A(slice, .begin = I(0), .size = I(BIG), .step = I(BIG)), "too small"),
    GOOD(concat, "f32:2x3 f32:2x1", A(concat, .axis = 1), "f32:2x4"),
    BAD(concat, "", A(concat, .axis = 0), "'concat' has 0 operands, expected 1 or more"),
    BAD(concat, "f32:2 f32:2", A(concat, .axis = 1), "axis is 1, expected 0 to 0"),
    BAD(concat, "f32:2 f32:2", A(concat, .axis = -1), "axis is -1"),
    BAD(concat, "f32:2x3 f32:3x3", A(concat, .axis = 1),
        "operand x[1] is tensor<3x3, f32>, expected shape 2x3"),
    BAD(concat, "f32:2 i8:2", A(concat, .axis = 0), "expected element type f32"),
    GOOD(expand, "f32:3x1", A(expand, .shape = I(2, 3, 4)), "f32:2x3x4"),
    BAD(expand, "f32:3x1", A(expand, .shape = I(2, 4)),
        "does not broadcast to attribute shape in dimension 0"),
    BAD(expand, "f32:1x1", A(expand, .shape = I(2)), "does not broadcast"),
    GOOD(gather, "f32:5x6 i64:2x3", A(gather, .axis = 0), "f32:2x3x6"),
    GOOD(gather, "f32:5x6 i32:", A(gather, .axis = 1), "f32:5"),
    GOOD(gather_rows, "i8:2x3x6 i32:4", A(gather_rows, .groups = 3), "i8:12x6"),
    BAD(gather_rows, "f32:5x6 i32:2", A(gather_rows, .groups = 2),
        "'gather_rows' attribute groups is 2, expected a divisor of the 5 rows"),
    BAD(gather_rows, "f32:5x6 i64:2", A(gather_rows, .groups = 1),
        "expected element type i32"),
    BAD(gather, "f32:5x6 f32:2", A(gather, .axis = 0),
        "operand index is tensor<2, f32>, expected an integer type"),
    BAD(gather, "f32: i64:2", A(gather, .axis = 0),
        "operand x is tensor<f32>, expected rank 1 or more"),
    BAD(gather, "f32:1x1x1x1x1 i64:1x1x1x1x1", A(gather, .axis = 0),
        "has rank 9, expected at most 8"),
    GOOD(pad, "f32:2x3", A(pad, .lo = I(1, 0), .hi = I(0, 4)), "f32:3x7"),
    BAD(pad, "f32:2x3", A(pad, .lo = I(1, 0), .hi = I(4)), "hi has 1 entries, expected 2"),
    BAD(pad, "f32:2", A(pad, .lo = I(-1), .hi = I(4)), "lo has entry -1"),
    BAD(pad, "f32:2", A(pad, .lo = I(BIG), .hi = I(4)), "more than 2^40 elements"),
    GOOD(cast, "f32:2", A(cast, .to = S("u4")), "u4:2"),
    GOOD(cast, "f32:2", A(cast, .to = S("bf16")), "bf16:2"),
    GOOD(cast, "bf16:2", A(cast, .to = S("f32")), "f32:2"),
    GOOD(cast, "bf16:2", A(cast, .to = S("bf16")), "bf16:2"),
    BAD(cast, "i32:2", A(cast, .to = S("bf16")), "to is bf16, but bf16 becomes f32 only"),
    BAD(cast, "bf16:2", A(cast, .to = S("bool")), "to is bool, but bf16 becomes f32 only"),
    BAD(cast, "f32:2", A(cast, .to = S("f16")), "to is 'f16', expected an element type"),

    NUM_UNARY(neg), NUM_UNARY(abs), NUM_UNARY(sign), NUM_UNARY(relu),
    FLOAT_UNARY(floor), FLOAT_UNARY(ceil), FLOAT_UNARY(round),
    FLOAT_UNARY(sqrt), FLOAT_UNARY(exp), FLOAT_UNARY(log), FLOAT_UNARY(erf),
    FLOAT_UNARY(tanh), FLOAT_UNARY(sigmoid), FLOAT_UNARY(sin),
    FLOAT_UNARY(cos), FLOAT_UNARY(silu), FLOAT_UNARY(gelu),
    FLOAT_UNARY(gelu_slope),
    GOOD(gelu, "f32:2", A(gelu, .form = S("tanh")), "f32:2"),
    GOOD(gelu_slope, "f32:2", A(gelu_slope, .form = S("sigmoid")), "f32:2"),
    BAD(gelu_slope, "f32:2", A(gelu_slope, .form = S("exact")),
        "form is 'exact', expected erf, tanh or sigmoid"),
    BAD(gelu, "f32:2", A(gelu, .form = S("exact")),
        "form is 'exact', expected erf, tanh or sigmoid"),
    NUM_UNARY(clip),
    BAD(clip, "f32:2", A(clip, .lo = NAN), "lo is not a number"),
    BAD(clip, "f32:2", A(clip, .hi = NAN), "hi is not a number"),
    GOOD(isnan, "f32:2", NULL, "bool:2"),
    BAD(isnan, "i8:2", NULL, "expected a float type"),
    GOOD(not, "bool:2", NULL, "bool:2"),
    BAD(not, "f32:2", NULL, "expected a bool type"),

    NUM_BINARY(add, "f32"), NUM_BINARY(sub, "f32"), NUM_BINARY(mul, "f32"),
    NUM_BINARY(div, "f32"), NUM_BINARY(mod, "f32"), NUM_BINARY(pow, "f32"),
    NUM_BINARY(min, "f32"), NUM_BINARY(max, "f32"),
    NUM_BINARY(equal, "bool"), NUM_BINARY(less, "bool"),
    NUM_BINARY(less_equal, "bool"),
    BAD(add, "f32:1048576x1 f32:1048577", NULL, "more than 2^40 elements"),
    BAD(pow, "i32:2 i32:2", NULL, "expected a float type"),
    BOOL_BINARY(and), BOOL_BINARY(or), BOOL_BINARY(xor),
    GOOD(select, "bool:3x1 f32:2 f32:", NULL, "f32:3x2"),
    BAD(select, "f32:2 f32:2 f32:2", NULL, "operand c is tensor<2, f32>, expected a bool type"),
    BAD(select, "bool:3 f32:2 f32:2", NULL,
        "operand c is tensor<3, bool>, which does not broadcast with a and b"),
    BAD(select, "bool:2 f32:2 f32:3", NULL,
        "operand b is tensor<3, f32>, which does not broadcast with a"),

    REDUCTION(reduce_sum), REDUCTION(reduce_mean), REDUCTION(reduce_max),
    REDUCTION(reduce_min), REDUCTION(reduce_prod),
    GOOD(reduce_mean, "i16:2x3", A(reduce_mean, .axes = I(0), .keep = true), "f32:1x3"),
    GOOD(reduce_sum, "i16:2x3", A(reduce_sum, .axes = I(0), .keep = true), "i16:1x3"),

    GOOD(matmul, "f32:2x1x3x4 f32:5x4x6", NULL, "f32:2x5x3x6"),
    GOOD(matmul, "f32:3x4 f32:6x4", A(matmul, .transpose_b = true), "f32:3x6"),
    BAD(matmul, "f32:3x4 f32:5x6", NULL,
        "operand b is tensor<5x6, f32>, which has k = 5, expected 4 as in a"),
    BAD(matmul, "f32:4 f32:4x6", NULL, "operand a is tensor<4, f32>, expected rank 2 or more"),
    BAD(matmul, "f32:2x3x4 f32:3x4x6", NULL, "whose batch dimensions do not broadcast"),
    BAD(matmul, "f32:3x4 i8:4x6", NULL, "expected element type f32"),
    GOOD(linear, "f32:2x3x4 f32:5x4 f32:5", NULL, "f32:2x3x5"),
    GOOD(linear, "f32:4 f32:5x4", NULL, "f32:5"),
    GOOD(linear, "f32:3x4 f32:2x4x16 f32:17", A(linear, .layout = S("panel16"), .out = 17),
        "f32:3x17"),
    BAD(linear, "f32:3x4 f32:1x4x16", A(linear, .layout = S("panel16"), .out = 17),
        "operand w is tensor<1x4x16, f32>, expected shape 2x4x16"),
    BAD(linear, "f32:3x4 f32:1x4x16", A(linear, .layout = S("panel16")),
        "out is 0, expected 1 or more"),
    BAD(linear, "f32:3x4 f32:5x3", NULL, "operand w is tensor<5x3, f32>, expected shape 5x4"),
    BAD(linear, "f32:3x4 f32:5x4 f32:4", NULL, "operand b is tensor<4, f32>, expected shape 5"),
    BAD(linear, "f32:3x4 f32:5x4", A(linear, .layout = S("io")),
        "layout is 'io', expected oi, panel16, panel16x2, panel16x4 or panel16x8"),
    BAD(linear, "f32:3x4 f32:5x4", A(linear, .layout = S("oi"), .out = 4),
        "out is 4, expected 0 or 5"),
    BAD(linear, "f32: f32:5x4", NULL, "expected rank 1 or more"),
    GOOD(linear, "f32:3x4 bf16:5x4 f32:5", NULL, "f32:3x5"),
    GOOD(linear, "f32:3x5 bf16:2x3x16x2", A(linear, .layout = S("panel16x2"), .out = 20),
         "f32:3x20"),
    BAD(linear, "f32:3x4 i8:5x4", NULL, "expected element type f32 or bf16"),
    BAD(linear, "f32:3x4 bf16:5x4 bf16:5", NULL,
        "operand b is tensor<5, bf16>, expected a number type"),
    BAD(linear, "bf16:3x4 bf16:5x4", NULL,
        "operand x is tensor<3x4, bf16>, expected a number type"),
    BAD(linear, "u8:3x4 bf16:5x4", NULL, "expected element type i8 or i4"),
    BAD(linear, "f32:3x4 bool:5x4", NULL, "expected a number type or bf16"),
    BAD(linear, "f32:4", NULL, "'linear' has 1 operands, expected 2 to 3"),
    GOOD(pack_weight, "f32:17x4", NULL, "f32:2x4x16"),
    GOOD(pack_weight, "bf16:17x5", A(pack_weight, .layout = S("panel16x2")), "bf16:2x3x16x2"),
    BAD(pack_weight, "f32:17", NULL, "expected rank 2"),
    BAD(pack_weight, "f32:17x4", A(pack_weight, .layout = S("panel8")), "layout is 'panel8'"),
#define CONV(...)                                          \
  A(conv2d, .stride = I(2, 1), .pad = I(1, 2, 3, 4),       \
    .dilation = I(1, 2), __VA_ARGS__)
    GOOD(conv2d, "f32:1x4x9x9 f32:6x4x3x2 f32:6", CONV(.groups = 1), "f32:1x6x6x13"),
    GOOD(conv2d, "f32:1x4x9x9 f32:6x2x3x2", CONV(.groups = 2), "f32:1x6x6x13"),
    BAD(conv2d, "f32:1x4x9x9 f32:6x2x3x2", CONV(.groups = 1),
        "operand w is tensor<6x2x3x2, f32>, expected shape 6x4x3x2"),
    BAD(conv2d, "f32:1x4x9x9 f32:6x4x3x2", CONV(.groups = 4),
        "groups is 4, expected a divisor of 4 input and 6 output channels"),
    BAD(conv2d, "f32:1x4x9x9 f32:6x4x3x2", CONV(.groups = 0), "groups is 0"),
    BAD(conv2d, "f32:1x4x9x9 f32:6x4x14x2", CONV(.groups = 1),
        "does not fit the padded input in dimension 2"),
    BAD(conv2d, "f32:1x4x9x9 f32:6x4x0x2", CONV(.groups = 1), "does not fit"),
    BAD(conv2d, "f32:1x4x9x9 f32:6x4x3x2 f32:5", CONV(.groups = 1),
        "operand b is tensor<5, f32>, expected shape 6"),
    BAD(conv2d, "f32:4x9x9 f32:6x4x3x2", CONV(.groups = 1), "expected rank 4"),
    BAD(conv2d, "f32:1x1x9x9 f32:1x1x1x1",
        A(conv2d, .stride = I(0, 1), .pad = I(0, 0, 0, 0), .dilation = I(1, 1), .groups = 1),
        "stride has entry 0"),
    BAD(conv2d, "f32:1x1x9x9 f32:1x1x1x1",
        A(conv2d, .stride = I(1, 1), .pad = I(0, 0), .dilation = I(1, 1), .groups = 1),
        "pad has 2 entries, expected 4"),
    BAD(conv2d, "f32:1x1x9x9 f32:1x1x1x1",
        A(conv2d, .stride = I(1, 1), .pad = I(BIG, BIG, BIG, BIG),
          .dilation = I(1, 1), .groups = 1),
        "more than 2^40 elements"),
    BAD(conv2d, "f32:1x1x9x9 f32:1x1x9x9",
        A(conv2d, .stride = I(1, 1), .pad = I(0, 0, 0, 0), .dilation = I(BIG, BIG), .groups = 1),
        "does not fit"),
    GOOD(patch_embed, "f32:1x3x8x12 f32:5x48 f32:5",
        A(patch_embed, .patch = I(4, 4), .layout = S("oi")),
        "f32:1x6x5"),
    GOOD(patch_embed, "f32:1x3x8x12 f32:1x48x16",
        A(patch_embed, .patch = I(4, 4), .layout = S("panel16"), .out = 5),
        "f32:1x6x5"),
    BAD(patch_embed, "f32:1x3x9x12 f32:5x48",
        A(patch_embed, .patch = I(4, 4), .layout = S("oi")),
        "expected height and width in multiples of 4 and 4"),
    BAD(patch_embed, "f32:1x3x8x12 f32:5x47",
        A(patch_embed, .patch = I(4, 4), .layout = S("oi")),
        "operand w is tensor<5x47, f32>, expected shape 5x48"),
    BAD(patch_embed, "f32:1x3x0x0 f32:5x48",
        A(patch_embed, .patch = I(BIG, BIG), .layout = S("oi")),
        "patch is too large"),
    GOOD(layer_norm, "f32:2x3 f32:3 f32:3", NULL, "f32:2x3"),
    GOOD(layer_norm, "f32:2x3", NULL, "f32:2x3"),
    BAD(layer_norm, "f32:2x3 f32:2", NULL, "operand gamma is tensor<2, f32>, expected shape 3"),
    BAD(layer_norm, "f32:2x3 f32:3 f32:1x3", NULL,
        "operand beta is tensor<1x3, f32>, expected shape 3"),
    BAD(layer_norm, "f32:", NULL, "expected rank 1 or more"),
    BAD(layer_norm, "f32:2x3", A(layer_norm, .eps = -1), "eps is -1, expected 0 or more"),
    GOOD(layer_norm_grad, "f32:2x3 f32:2x3", NULL, "f32:2x3"),
    BAD(layer_norm_grad, "f32:2x3 f32:3", NULL,
        "operand g is tensor<3, f32>, expected shape 2x3"),
    BAD(layer_norm_grad, "f32: f32:", NULL, "expected rank 1 or more"),
    BAD(layer_norm_grad, "f32:3 f32:3", A(layer_norm_grad, .eps = -1),
        "eps is -1, expected 0 or more"),
    GOOD(softmax, "f32:2x3", NULL, "f32:2x3"),
    GOOD(softmax, "f32:2x3", A(softmax, .axis = 0), "f32:2x3"),
    BAD(softmax, "f32:2x3", A(softmax, .axis = 2), "axis is 2, expected -1 to 1"),
    BAD(softmax, "f32:2x3", A(softmax, .axis = -2), "axis is -2"),
#define ATT(h) A(attention, .heads = h, .scale = 0.125f)
    GOOD(linear, "u8:3x4 i8:5x4 i32:5", NULL, "i32:3x5"),
    GOOD(linear, "u8:3x6 i8:2x2x16x4", A(linear, .layout = S("panel16x4"), .out = 20),
         "i32:3x20"),
    BAD(linear, "u8:3x4 f32:5x4", NULL,
        "operand w is tensor<5x4, f32>, expected element type i8 or i4"),
    BAD(linear, "u8:3x4 i8:5x4 f32:5", NULL,
        "operand b is tensor<5, f32>, expected element type i32"),
    BAD(linear, "i32:3x4 i8:5x4", NULL, "expected an integer of at most 16 bits"),
    GOOD(pack_weight, "i8:20x6", A(pack_weight, .layout = S("panel16x4")), "i8:2x2x16x4"),
    GOOD(linear, "u8:3x10 i4:2x2x16x4x2 i32:20", A(linear, .layout = S("panel16x8"), .out = 20),
         "i32:3x20"),
    GOOD(linear, "u8:3x4 i4:5x4", NULL, "i32:3x5"),
    BAD(linear, "u8:3x17 i4:2x2x16x4x2", A(linear, .layout = S("panel16x8"), .out = 20),
        "expected shape 2x3x16x4x2"),
    BAD(linear, "u8:3x4 i4:1x1x16x4x2", A(linear, .layout = S("panel16x8"), .out = INT64_MAX),
        "out is 9223372036854775807, expected 1 or more"),
    BAD(linear, "u8:3x4 u4:5x4", NULL, "expected element type i8 or i4"),
    GOOD(pack_weight, "i4:20x9", A(pack_weight, .layout = S("panel16x8")), "i4:2x2x16x4x2"),
    GOOD(layer_norm, "i16:3x4 f32:4 f32:4", A(layer_norm, .eps = 0), "f32:3x4"),
    BAD(layer_norm, "u8:3x4", A(layer_norm, .eps = 0), "expected element type i16"),
    GOOD(attention_int, "u8:1x3x4 u8:1x5x4 i8:1x5x6",
        A(attention_int, .heads = 2, .scale = 1, .levels = 255),
         "f32:1x3x6"),
    BAD(attention_int, "i16:1x3x4 u8:1x5x4 i8:1x5x6",
        A(attention_int, .heads = 2, .scale = 1, .levels = 255),
        "expected an integer of at most 8 bits"),
    BAD(attention_int, "u8:1x3x4 u8:1x5x4 i8:1x5x6",
        A(attention_int, .heads = 2, .scale = 1, .levels = 8192),
        "levels is 8192, expected 1 to 8191"),
    GOOD(attention_int, "u8:1x3x4 u8:1x5x4 i8:1x5x6",
         A(attention_int, .heads = 2, .scale = 1, .levels = 8191), "f32:1x3x6"),
    BAD(attention_int, "u8:1x3x4 u8:1x5x4 i8:1x5x6", A(attention_int, .heads = 2, .scale = 1,
        .levels = 256, .rate = 2, .table = VQ_INTS(255, 0, 9)),
        "levels is 256, expected 1 to 255"),
    BAD(attention_int, "u8:1x3x4 u8:1x5x4 i8:1x5x6",
        A(attention_int, .heads = 2, .scale = 1, .levels = 255, .k_zero = 256),
        "k_zero is 256, expected -128 to 255"),
    GOOD(attention_int, "u8:1x3x4 u8:1x5x4 i8:1x5x6", A(attention_int, .heads = 2, .scale = 1,
        .levels = 255, .rate = 2, .table = VQ_INTS(255, 0, 9)), "f32:1x3x6"),
    BAD(attention_int, "u8:1x3x4 u8:1x5x4 i8:1x5x6", A(attention_int, .heads = 2, .scale = 1,
        .levels = 255, .table = VQ_INTS(255)), "rate is 0, expected above 0 to 256"),
    BAD(attention_int, "u8:1x3x4 u8:1x5x4 i8:1x5x6", A(attention_int, .heads = 2, .scale = 1,
        .levels = 255, .rate = 1, .table = VQ_INTS(0)),
        "table has 0 as element 0, expected 1 to 255"),
    BAD(attention_int, "u8:1x3x4 u8:1x5x4 i8:1x5x6", A(attention_int, .heads = 2, .scale = 1,
        .levels = 255, .rate = 1, .table = VQ_INTS(1, 256)),
        "table has 256 as element 1, expected 0 to 255"),
    GOOD(linear, "i16:1x4 i8:3x4 i32:3", A(linear, .layout = S("oi"), .fine = 8), "i32:1x3"),
    BAD(linear, "i16:1x4 i8:3x4 i32:3", A(linear, .layout = S("oi"), .fine = 9),
        "fine is 9, expected 0 to 8 for codes of i16"),
    BAD(linear, "u8:1x4 i8:3x4 i32:3", A(linear, .layout = S("oi"), .fine = 1),
        "fine is 1, expected 0 to 0 for codes of u8"),
    GOOD(quantize, "f32:2x3 f32:", A(quantize, .to = S("i16"), .lo = 0, .hi = 4095, .fine = 4),
         "i16:2x3"),
    BAD(quantize, "f32:2x3 f32:", A(quantize, .to = S("u8"), .lo = 0, .hi = 255, .fine = 4),
        "fine is 4, expected 0 to 0 for codes of u8"),
    BAD(dequantize, "i32:2x3 f32:", A(dequantize, .fine = -1),
        "fine is -1, expected 0 to 0 for codes of i32"),
    GOOD(fake_quant, "f32:2x3 f32:2x1 f32:", A(fake_quant, .lo = 0, .hi = 255), "f32:2x3"),
    BAD(fake_quant, "f32:2x3 f32:2x1 f32:", A(fake_quant, .lo = 0, .hi = 255, .fine = 9),
        "fine is 9, expected 0 to 8 for codes of i16"),
    BAD(fake_quant, "f32:2x3 f32:2 f32:", A(fake_quant, .lo = 0, .hi = 255),
        "operand scale is tensor<2, f32>, which does not broadcast with x"),
    BAD(fake_quant, "f32:2 f32: f32:", A(fake_quant, .lo = 0, .hi = 40000),
        "hi is 40000, expected at most 32767"),
    GOOD(quantize, "f32:2x3 f32:3 i16:3", A(quantize, .to = S("u8"), .lo = 0, .hi = 255), "u8:2x3"),
    BAD(quantize, "f32:2 f32:", A(quantize, .to = S("i64"), .lo = 0, .hi = 255),
        "to is 'i64', expected u8, i8 or i16"),
    BAD(quantize, "f32:2 f32:", A(quantize, .to = S("u8"), .lo = 9, .hi = 8),
        "lo is 9, expected 0 to hi"),
    GOOD(requantize, "i32:2x3 f32:3", A(requantize, .to = S("i16"), .lo = -9, .hi = 9), "i16:2x3"),
    BAD(requantize, "i64:2x3 f32:3", A(requantize, .to = S("i16"), .lo = -9, .hi = 9),
        "expected an integer of at most 32 bits"),
    GOOD(dequantize, "u8:2x3 f32: i16:", NULL, "f32:2x3"),
    BAD(dequantize, "u8:2x3 f32: i32:", NULL,
        "operand zero is tensor<i32>, expected element type i16"),
    GOOD(piecewise, "f32:2x3", A(piecewise, .fn = S("silu")), "f32:2x3"),
    BAD(piecewise, "f32:2x3", A(piecewise, .fn = S("sin")), "fn is 'sin', expected gelu"),
    GOOD(piecewise_int, "i16:2x3 i16:3 i16:3 i16:3 i16:", A(piecewise_int, .fn = S("silu"),
        .step = 0.01f), "i16:2x3"),
    BAD(piecewise_int, "i16:2 i16: i16: i16: i16:", A(piecewise_int, .fn = S("sin"), .step = 1),
        "fn is 'sin', expected gelu"),
    BAD(piecewise_int, "i16:2 i16: i16: i16: i16:", A(piecewise_int, .fn = S("gelu"), .step = 1),
        "step is 1, expected 0.000109863 to 0.05625"),
    BAD(piecewise_int, "i16:2 i16: i16: i16: u8:", A(piecewise_int, .fn = S("gelu"),
        .step = 0.01f), "operand gain is tensor<u8>, expected element type i16"),
    GOOD(rescale, "i16:2x3 i16:2x1 i16:3", A(rescale, .shift = 5, .to = S("u8"), .lo = 0,
        .hi = 255), "u8:2x3"),
    BAD(rescale, "i16:2x3 i16:2x1 i16:3", A(rescale, .shift = 16, .to = S("u8"), .lo = 0,
        .hi = 255), "shift is 16, expected 0 to 15"),
    BAD(rescale, "i32:2x3 i16:2x1 i16:3", A(rescale, .to = S("u8"), .lo = 0, .hi = 255),
        "operand x is tensor<2x3, i32>, expected element type i16"),
    GOOD(attention, "f32:4x5x6 f32:4x7x6 f32:4x7x8", ATT(2), "f32:4x5x8"),
    GOOD(attention, "f32:4x5x6 f32:4x7x6 f32:4x7x8 f32:2x1x5x7", ATT(2), "f32:4x5x8"),
    BAD(attention, "f32:4x5x6 f32:4x7x6 f32:4x7x8 f32:3x1x5x7", ATT(2),
        "expected divisors of batch 4 and heads 2 first"),
    BAD(attention, "f32:4x5x6 f32:4x7x6 f32:4x7x8 f32:0x1x5x7", ATT(2), "expected divisors"),
    BAD(attention, "f32:4x5x6 f32:4x7x6 f32:4x7x8 f32:2x1x5x6", ATT(2),
        "operand bias is tensor<2x1x5x6, f32>, expected shape 2x1x5x7"),
    BAD(attention, "f32:4x5x6 f32:4x7x6 f32:4x7x8", ATT(4),
        "heads is 4, expected a divisor of widths 6 and 8"),
    BAD(attention, "f32:4x5x6 f32:4x7x6 f32:4x7x8", ATT(0), "heads is 0"),
    BAD(attention, "f32:4x5x6 f32:4x7x6 f32:4x7x8", A(attention, .heads = 2, .scale = 1,
        .probability = S("log")), "probability is 'log', expected uniform, log2 or log-sqrt2"),
    BAD(attention, "f32:4x5x6 f32:4x7x6 f32:4x7x8", A(attention, .heads = 2, .scale = 1,
        .probability_bits = 14), "probability_bits is 14, expected 0 to 13"),
    BAD(attention, "f32:4x5x6 f32:4x7x8 f32:4x7x8", ATT(2),
        "operand k is tensor<4x7x8, f32>, expected shape 4x7x6"),
    BAD(attention, "f32:4x5x6 f32:4x7x6 f32:4x6x8", ATT(2),
        "operand v is tensor<4x6x8, f32>, expected shape 4x7x8"),
    BAD(attention, "f32:5x6 f32:4x7x6 f32:4x7x8", ATT(2),
        "operand q is tensor<5x6, f32>, expected rank 3"),
    GOOD(variation, "f32:2x3x4x5", NULL, "f32:2x4"),
    BAD(variation, "f32:2x3x4", NULL, "operand x is tensor<2x3x4, f32>, expected rank 4"),
    GOOD(variation_grad, "f32:2x3x4x5 f32:2x4", NULL, "f32:2x3x4x5"),
    BAD(variation_grad, "f32:2x3x4x5 f32:2x3", NULL,
        "operand g is tensor<2x3, f32>, expected shape 2x4"),
#define ATS(h) A(attention_softmax, .heads = h, .scale = 0.125f)
    GOOD(attention_softmax, "f32:4x5x6 f32:4x7x6", ATS(2), "f32:4x2x5x7"),
    GOOD(attention_softmax, "f32:4x5x6 f32:4x7x6 f32:2x1x5x7", ATS(2), "f32:4x2x5x7"),
    BAD(attention_softmax, "f32:4x5x6 f32:4x7x8", ATS(2),
        "operand k is tensor<4x7x8, f32>, expected shape 4x7x6"),
    BAD(attention_softmax, "f32:4x5x6 f32:4x7x6 f32:2x1x5x6", ATS(2),
        "operand bias is tensor<2x1x5x6, f32>, expected shape 2x1x5x7"),
    BAD(attention_softmax, "f32:4x5x6 f32:4x7x6", ATS(4), "heads is 4"),
    BAD(attention_softmax, "f32:1x1x2 f32:1x1x2", A(attention_softmax, .heads = 1, .scale = NAN),
        "scale is not finite"),
#define ATG(h) A(attention_grad, .heads = h, .scale = 0.125f)
    GOOD(attention_grad, "f32:4x5x6 f32:4x7x6 f32:4x7x8 f32:4x5x8 f32:4x2x5x7", ATG(2),
         "f32:4x128"),
    BAD(attention_grad, "f32:4x5x6 f32:4x7x6 f32:4x7x8 f32:4x5x6 f32:4x2x5x7", ATG(2),
        "operand g is tensor<4x5x6, f32>, expected shape 4x5x8"),
    BAD(attention_grad, "f32:4x5x6 f32:4x7x6 f32:4x7x8 f32:4x5x8 f32:4x1x5x7", ATG(2),
        "operand p is tensor<4x1x5x7, f32>, expected shape 4x2x5x7"),
    BAD(attention_grad, "f32:4x5x6 f32:4x7x6 f32:4x7x8 f32:4x5x8 f32:4x2x5x7", ATG(4),
        "heads is 4"),
    BAD(attention, "f32:1x1x2 f32:1x1x2 f32:1x1x2", A(attention, .heads = 1, .scale = NAN),
        "scale is not finite"),
  };
  for (size_t i = 0; i < VQ_COUNT(rows); i++) visit(&rows[i], user);
}

static const vq_type *parse_type(vq_ctx *ctx, const char *z, size_t n) {
  const char *colon = memchr(z, ':', n);
  vq_dtype dtype;
  ck_assert_ptr_nonnull(colon);
  ck_assert(vq_dtype_parse((vq_str){z, (size_t)(colon - z)}, &dtype));
  int64_t dim[VQ_MAX_RANK];
  unsigned rank = 0;
  for (const char *p = colon + 1; p < z + n; p++) {
    char *end;
    dim[rank++] = strtoll(p, &end, 10);
    p = end;
  }
  return vq_type_tensor(ctx, dtype, rank, dim, NULL);
}

// A function whose arguments have the types of `text`.
static vq_func *func_of(vq_module *m, const char *text) {
  const vq_type *type[8];
  unsigned n = 0;
  while (*text) {
    size_t len = strcspn(text, " ");
    type[n] = parse_type(m->ctx, text, len);
    ck_assert_ptr_nonnull(type[n++]);
    text += len + (text[len] == ' ');
  }
  return vq_func_create(m, VQ_FUNC, VQ_LIT("f"), n, type, NULL);
}

typedef struct fixture {
  vq_ctx *ctx;
  vq_module *m;
  vq_strbuf text;
  vq_diag diag;
} fixture;

static void start(fixture *t) {
  *t = (fixture){.ctx = vq_ctx_create()};
  vq_diag_init(&t->diag, t->ctx, vq_sink_strbuf, &t->text);
  t->m = vq_module_create(t->ctx, VQ_LIT("m"));
  vq_func *f = func_of(t->m, "f32:2x3 i64:4");
  const vq_type *type[] = {f->arg[0].type, f->arg[1].type};
  vq_func *callee =
      vq_func_create(t->m, VQ_KERNEL, VQ_LIT("callee"), 2, type, NULL);
  vq_builder b = {.func = callee, .diag = &t->diag};
  vq_value *x = &callee->arg[0];
  ck_assert(vq_build_return(&b, 1, &x, NULL) == VQ_OK);
}

static void stop(fixture *t) {
  vq_module_destroy(t->m);
  vq_ctx_destroy(t->ctx);
  vq_strbuf_release(&t->text);
}

static vq_op *build_row(fixture *t, const row *r, const void *attrs) {
  vq_func *f = func_of(t->m, r->in);
  vq_value *in[8];
  for (unsigned i = 0; i < f->n_arg; i++) in[i] = &f->arg[i];
  vq_builder b = {.func = f, .diag = &t->diag};
  vq_op *op = vq_build(&b, r->code, in, f->n_arg, attrs, VQ_LIT("y"));
  ck_assert_ptr_eq(f->first, op);
  ck_assert_uint_eq(t->diag.n_error, op ? 0 : 1);
  return op;
}

static void check_row(const row *r, void *user) {
  (void)user;
  const char *name = vq_op_info(r->code)->name;
  fixture t;
  start(&t);
  vq_op *op = build_row(&t, r, r->attrs);
  const char *said = vq_strbuf_z(&t.text);
  if (r->want[0] == '!') {
    ck_assert_msg(!op, "%s(%s) is accepted", name, r->in);
    ck_assert_msg(strstr(said, r->want + 1) != NULL,
                  "%s(%s): expected '%s', found '%s'", name, r->in,
                  r->want + 1, said);
  } else {
    ck_assert_msg(op != NULL, "%s(%s): %s", name, r->in, said);
    ck_assert_uint_eq(op->n_out, r->want[0] ? 1 : 0);
    if (op->n_out)
      ck_assert_msg(
          op->out[0].type == parse_type(t.ctx, r->want, strlen(r->want)),
          "%s(%s): expected %s", name, r->in, r->want);
  }
  stop(&t);
}

START_TEST(every_row) { each_row(check_row, NULL); }
END_TEST

typedef struct seen {
  bool good[VQ_N_OPS], bad[VQ_N_OPS];
} seen;

static void mark_row(const row *r, void *user) {
  seen *s = user;
  (r->want[0] == '!' ? s->bad : s->good)[r->code] = true;
}

START_TEST(every_op_has_rows) {
  seen s = {0};
  each_row(mark_row, &s);
  s.bad[VQ_OP_return] = true;  // accepts anything
  for (int i = 0; i < VQ_N_OPS; i++)
    ck_assert_msg(s.good[i] && s.bad[i], "'%s' lacks a good or a bad row",
                  vq_op_info((vq_opcode)i)->name);
}
END_TEST

static void check_required(const row *r, void *user) {
  (void)user;
  const vq_op_desc *d = vq_op_info(r->code);
  bool required = false;
  for (unsigned k = 0; k < d->n_attr; k++) required |= d->attr[k].required;
  if (!required || r->want[0] == '!') return;
  fixture t;
  start(&t);
  ck_assert_ptr_null(build_row(&t, r, NULL));
  ck_assert_ptr_nonnull(
      strstr(vq_strbuf_z(&t.text), "is missing [op-attribute]"));
  stop(&t);
}

START_TEST(required_attributes) { each_row(check_required, NULL); }
END_TEST

int main(void) {
  Suite *s = suite_create("infer");
  TCase *t = tcase_create("infer");
  tcase_add_test(t, every_row);
  tcase_add_test(t, every_op_has_rows);
  tcase_add_test(t, required_attributes);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_ENV);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
