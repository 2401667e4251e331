// Operators on handmade models: one short model per form, results by hand.
#define SEED_NAME "ops"
#include "onnx_case.h"

#define I64(...) ((const int64_t[]){__VA_ARGS__})
#define F32(...) ((const float[]){__VA_ARGS__})
#define F64(...) ((const double[]){__VA_ARGS__})
#define N_OF(a) (sizeof(a) / sizeof *(a))

// x is [2, 3] with elements 1 .. 6 unless a test says otherwise.
static const float six[] = {1, 2, 3, 4, 5, 6};

static vq_strbuf new_graph(const char *dims) {
  vq_strbuf g = {0};
  value_info(&g, 11, "x", T_F32, dims);
  return g;
}

static vq_strbuf finish(vq_strbuf *g, int type, int64_t opset) {
  vq_strbuf info = {0}, t = {0}, tensor = {0};
  pb_int(&tensor, 1, type);
  pb_msg(&t, 1, &tensor);
  pb_str(&info, 1, "y");
  pb_msg(&info, 2, &t);
  pb_msg(g, 12, &info);
  return make_model(g, opset);
}

static void expect(vq_strbuf *g, int type, int64_t opset, unsigned rank,
                   const int64_t *dim, const double *want) {
  vq_strbuf model = finish(g, type, opset);
  onnx_case c = try_model(&model, (vq_onnx_options){0});
  expect_result(&c, six, rank, dim, want);
  end_case(&c);
}

static void refuse(vq_strbuf *g, int64_t opset, const char *why) {
  vq_strbuf model = finish(g, T_F32, opset);
  expect_refused(&model, why);
}

START_TEST(reshape_copies_and_infers) {
  vq_strbuf g = new_graph("2,3");
  init_i64(&g, "s", 3, I64(0, -1, 1));
  add_node(&g, "Reshape", "x,s", "y", NULL);
  expect(&g, T_F32, 13, 3, I64(2, 3, 1), F64(1, 2, 3, 4, 5, 6));
  g = new_graph("2,3");
  init_i64(&g, "s", 2, I64(4, -1));
  add_node(&g, "Reshape", "x,s", "y", NULL);
  refuse(&g, 13, "6 elements do not fit");
  g = new_graph("2,3");
  init_i64(&g, "s", 2, I64(0, 6));
  vq_strbuf a = {0};
  at_int(&a, "allowzero", 1);
  add_node(&g, "Reshape", "x,s", "y", &a);
  refuse(&g, 14, "do not fit");
}
END_TEST

START_TEST(slice_backwards) {
  vq_strbuf g = new_graph("2,3");
  init_i64(&g, "b", 1, I64(-1));
  init_i64(&g, "e", 1, I64(INT64_MIN));
  init_i64(&g, "a", 1, I64(1));
  init_i64(&g, "s", 1, I64(-2));
  add_node(&g, "Slice", "x,b,e,a,s", "y", NULL);
  expect(&g, T_F32, 13, 2, I64(2, 2), F64(3, 1, 6, 4));
}
END_TEST

START_TEST(slice_to_the_end) {
  vq_strbuf g = new_graph("2,3");
  init_i64(&g, "b", 1, I64(1));
  init_i64(&g, "e", 1, I64(INT64_MAX));
  init_i64(&g, "a", 1, I64(-1));
  add_node(&g, "Slice", "x,b,e,a", "y", NULL);
  expect(&g, T_F32, 13, 2, I64(2, 2), F64(2, 3, 5, 6));
  g = new_graph("2,3");
  vq_strbuf a = {0};
  at_ints(&a, "starts", 2, I64(0, 1));
  at_ints(&a, "ends", 2, I64(1, 99));
  add_node(&g, "Slice", "x", "y", &a);
  expect(&g, T_F32, 9, 2, I64(1, 2), F64(2, 3));
}
END_TEST

START_TEST(split_forms) {
  vq_strbuf g = new_graph("2,3"), a = {0};
  at_int(&a, "axis", 1);
  at_ints(&a, "split", 2, I64(1, 2));
  add_node(&g, "Split", "x", "z,y", &a);
  expect(&g, T_F32, 11, 2, I64(2, 2), F64(2, 3, 5, 6));
  g = new_graph("2,3");
  at_int(&a, "axis", 1);
  at_int(&a, "num_outputs", 2);
  add_node(&g, "Split", "x", "z,y", &a);
  expect(&g, T_F32, 18, 2, I64(2, 1), F64(3, 6));
  g = new_graph("2,3");
  at_int(&a, "axis", 1);
  init_i64(&g, "s", 2, I64(2, 2));
  add_node(&g, "Split", "x,s", "z,y", &a);
  refuse(&g, 13, "has size 2, but 1 are left");
}
END_TEST

START_TEST(squeeze_forms) {
  vq_strbuf g = new_graph("2,3"), a = {0};
  at_ints(&a, "axes", 2, I64(0, -1));
  add_node(&g, "Unsqueeze", "x", "u", &a);
  at_ints(&a, "axes", 1, I64(0));
  add_node(&g, "Squeeze", "u", "y", &a);
  expect(&g, T_F32, 11, 3, I64(2, 3, 1), F64(1, 2, 3, 4, 5, 6));
  g = new_graph("2,3");
  init_i64(&g, "ax", 1, I64(1));
  add_node(&g, "Squeeze", "x,ax", "y", NULL);
  refuse(&g, 13, "dimension 1 is 3, expected 1");
}
END_TEST

START_TEST(reductions) {
  vq_strbuf g = new_graph("2,3"), a = {0};
  at_ints(&a, "axes", 1, I64(-1));
  at_int(&a, "keepdims", 0);
  add_node(&g, "ReduceMean", "x", "y", &a);
  expect(&g, T_F32, 13, 1, I64(2), F64(2, 5));
  g = new_graph("2,3");
  init_i64(&g, "ax", 1, I64(0));
  add_node(&g, "ReduceL2", "x,ax", "y", NULL);
  expect(&g, T_F32, 18, 2, I64(1, 3),
         F64(sqrt(17), sqrt(29), sqrt(45)));
  g = new_graph("2,3");
  at_int(&a, "noop_with_empty_axes", 1);
  add_node(&g, "ReduceSum", "x", "y", &a);
  expect(&g, T_F32, 18, 2, I64(2, 3), F64(1, 2, 3, 4, 5, 6));
  g = new_graph("2,3");
  add_node(&g, "ReduceMax", "x", "y", NULL);
  expect(&g, T_F32, 18, 2, I64(1, 1), F64(6));
}
END_TEST

START_TEST(softmax_flattens_before_13) {
  vq_strbuf g = new_graph("1,2,3"), a = {0};
  double e[6], sum = 0, rows[6];
  for (int i = 0; i < 6; i++)
    sum += e[i] = exp(i + 1.0);
  for (int i = 0; i < 6; i++)
    rows[i] = e[i] / (e[i / 3 * 3] + e[i / 3 * 3 + 1] + e[i / 3 * 3 + 2]);
  for (int i = 0; i < 6; i++)
    e[i] /= sum;
  add_node(&g, "Softmax", "x", "y", NULL);
  expect(&g, T_F32, 11, 3, I64(1, 2, 3), e);
  g = new_graph("1,2,3");
  at_int(&a, "axis", -1);
  add_node(&g, "Softmax", "x", "y", &a);
  expect(&g, T_F32, 13, 3, I64(1, 2, 3), rows);
}
END_TEST

START_TEST(constant_of_shape_defaults_to_float_zero) {
  vq_strbuf g = new_graph("2,3");
  add_node(&g, "Shape", "x", "s", NULL);
  add_node(&g, "ConstantOfShape", "s", "z", NULL);
  add_node(&g, "Add", "x,z", "y", NULL);
  expect(&g, T_F32, 13, 2, I64(2, 3), F64(1, 2, 3, 4, 5, 6));
}
END_TEST

START_TEST(gather_family) {
  vq_strbuf g = new_graph("2,3"), a = {0};
  init_i64(&g, "i", 2, I64(-1, 0));
  at_int(&a, "axis", 1);
  add_node(&g, "Gather", "x,i", "y", &a);
  expect(&g, T_F32, 13, 2, I64(2, 2), F64(3, 1, 6, 4));
  g = new_graph("2,3");
  init_i64(&g, "i", 1, I64(3));
  at_int(&a, "axis", 1);
  add_node(&g, "Gather", "x,i", "y", &a);
  refuse(&g, 13, "index 3 is outside a dimension of 3");
  g = new_graph("2,3");
  vq_strbuf t = tensor_raw("i", T_I64, 2, I64(2, 1), I64(2, 0), 16);
  pb_msg(&g, 5, &t);
  at_int(&a, "axis", 1);
  add_node(&g, "GatherElements", "x,i", "y", &a);
  expect(&g, T_F32, 13, 2, I64(2, 1), F64(3, 4));
  g = new_graph("2,3");
  t = tensor_raw("i", T_I64, 2, I64(2, 2), I64(0, 1, -1, 2), 32);
  pb_msg(&g, 5, &t);
  add_node(&g, "GatherND", "x,i", "y", NULL);
  expect(&g, T_F32, 13, 1, I64(2), F64(2, 6));
}
END_TEST

START_TEST(scatter_into_runtime_data) {
  vq_strbuf g = new_graph("2,3");
  vq_strbuf t = tensor_raw("i", T_I64, 2, I64(1, 1), I64(1), 8);
  pb_msg(&g, 5, &t);
  init_f32(&g, "u", 2, I64(1, 3), F32(7, 8, 9));
  add_node(&g, "ScatterND", "x,i,u", "y", NULL);
  expect(&g, T_F32, 16, 2, I64(2, 3), F64(1, 2, 3, 7, 8, 9));
}
END_TEST

START_TEST(pads) {
  vq_strbuf g = new_graph("2,3"), a = {0};
  init_i64(&g, "p", 4, I64(0, -1, 0, 1));
  init_f32(&g, "v", 0, NULL, F32(9));
  add_node(&g, "Pad", "x,p,v", "y", NULL);
  expect(&g, T_F32, 13, 2, I64(2, 3), F64(2, 3, 9, 5, 6, 9));
  g = new_graph("2,3");
  init_i64(&g, "p", 4, I64(0, 1, 0, 1));
  at_str(&a, "mode", "reflect");
  add_node(&g, "Pad", "x,p", "y", &a);
  expect(&g, T_F32, 13, 2, I64(2, 5), F64(2, 1, 2, 3, 2, 5, 4, 5, 6, 5));
}
END_TEST

START_TEST(clip_forms) {
  vq_strbuf g = new_graph("2,3"), a = {0};
  at_f32(&a, "min", 2);
  add_node(&g, "Clip", "x", "y", &a);
  expect(&g, T_F32, 10, 2, I64(2, 3), F64(2, 2, 3, 4, 5, 6));
  g = new_graph("2,3");
  init_f32(&g, "hi", 0, NULL, F32(4));
  add_node(&g, "Clip", "x,,hi", "y", NULL);
  expect(&g, T_F32, 13, 2, I64(2, 3), F64(1, 2, 3, 4, 4, 4));
}
END_TEST

START_TEST(gemm_and_matmul) {
  vq_strbuf g = new_graph("2,3"), a = {0};
  init_f32(&g, "w", 2, I64(2, 3), F32(1, 0, 1, 0, 1, 0));
  init_f32(&g, "c", 1, I64(2), F32(10, 20));
  at_int(&a, "transB", 1);
  at_f32(&a, "alpha", 2);
  at_f32(&a, "beta", 0.5f);
  add_node(&g, "Gemm", "x,w,c", "y", &a);
  expect(&g, T_F32, 13, 2, I64(2, 2), F64(13, 14, 25, 20));
  g = new_graph("2,3");
  init_f32(&g, "w", 1, I64(3), F32(1, 2, 3));
  add_node(&g, "MatMul", "x,w", "y", NULL);
  expect(&g, T_F32, 13, 1, I64(2), F64(14, 32));
}
END_TEST

// What ONNX Runtime's optimiser writes: rows in front of the batch dimensions, and
// activations behind Gemm.
START_TEST(fused_products) {
  vq_strbuf g = new_graph("1,2,3"), a = {0};  // two batches of one row
  init_f32(&g, "w", 3, I64(2, 3, 1), F32(1, 0, 0, 0, 0, 1));
  at_int(&a, "transBatchA", 1);
  at_f32(&a, "alpha", 2);
  add_node(&g, "com.microsoft.FusedMatMul", "x,w", "y", &a);
  expect(&g, T_F32, 13, 3, I64(2, 1, 1), F64(2, 12));
  g = new_graph("1,2,3"), a = (vq_strbuf){0};
  init_f32(&g, "w", 3, I64(3, 1, 2), F32(1, 3, 0, 4, 2, 5));
  at_int(&a, "transBatchB", 1);
  add_node(&g, "com.microsoft.FusedMatMul", "x,w", "y", &a);
  expect(&g, T_F32, 13, 3, I64(1, 2, 2), F64(7, 26, 16, 62));
  g = new_graph("2,3"), a = (vq_strbuf){0};
  init_f32(&g, "w", 2, I64(3, 2), F32(1, 0, 0, -1, 0, 0));
  init_f32(&g, "c", 1, I64(2), F32(1, 3));
  at_str(&a, "activation", "Relu");
  add_node(&g, "com.microsoft.FusedGemm", "x,w,c", "y", &a);
  expect(&g, T_F32, 13, 2, I64(2, 2), F64(2, 1, 5, 0));
  g = new_graph("2,3"), a = (vq_strbuf){0};
  init_f32(&g, "w", 2, I64(3, 2), F32(1, 0, 0, -1, 0, 0));
  at_str(&a, "activation", "Softplus");
  add_node(&g, "com.microsoft.FusedGemm", "x,w", "y", &a);
  refuse(&g, 13, "activation 'Softplus' is not accepted");
}
END_TEST

START_TEST(convolution_with_auto_pad) {
  vq_strbuf g = new_graph("1,1,2,3"), a = {0};
  init_f32(&g, "w", 4, I64(1, 1, 1, 2), F32(1, 10));
  at_str(&a, "auto_pad", "SAME_UPPER");
  add_node(&g, "Conv", "x,w", "y", &a);
  expect(&g, T_F32, 13, 4, I64(1, 1, 2, 3), F64(21, 32, 3, 54, 65, 6));
  g = new_graph("1,1,2,3");
  init_f32(&g, "w", 4, I64(1, 2, 1, 2), F32(1, 10, 0, 0));
  add_node(&g, "Conv", "x,w", "y", NULL);
  refuse(&g, 13, "conv2d");
}
END_TEST

START_TEST(layer_norm_over_two_dimensions) {
  vq_strbuf g = new_graph("1,2,3"), a = {0};
  double want[6];
  for (int i = 0; i < 6; i++)
    want[i] = (i - 2.5) / sqrt(35.0 / 12 + 1e-5);
  init_f32(&g, "s", 2, I64(2, 3), F32(1, 1, 1, 1, 1, 1));
  at_int(&a, "axis", 1);
  add_node(&g, "LayerNormalization", "x,s", "y", &a);
  expect(&g, T_F32, 17, 3, I64(1, 2, 3), want);
  g = new_graph("1,2,3");
  init_f32(&g, "s", 1, I64(3), F32(1, 1, 1));
  add_node(&g, "LayerNormalization", "x,s", "z,y", NULL);
  expect(&g, T_F32, 17, 3, I64(1, 2, 1), F64(2, 5));
  g = new_graph("1,2,3");
  init_f32(&g, "s", 1, I64(3), F32(1, 1, 1));
  add_node(&g, "LayerNormalization", "x,s", "z,,y", NULL);
  double inverse = 1 / sqrt(2.0 / 3 + 1e-5);
  expect(&g, T_F32, 17, 3, I64(1, 2, 1), F64(inverse, inverse));
}
END_TEST

START_TEST(einsum) {
  static const char *const wrong[] = {"bij,ik,k", "bij,->b", "bi,ii->b",
                                      "bij,ii->bz", "bij,ii>b", "b...i...,ii"};
  vq_strbuf g = new_graph("1,2,3"), a = {0};
  at_str(&a, "equation", "bij,bkj->kib");
  add_node(&g, "Einsum", "x,x", "y", &a);
  expect(&g, T_F32, 12, 3, I64(2, 2, 1), F64(14, 32, 32, 77));
  g = new_graph("1,2,3");
  at_str(&a, "equation", "...ij, ii -> ...");
  init_f32(&g, "w", 2, I64(2, 2), F32(2, 9, 9, 3));
  add_node(&g, "Einsum", "x,w", "y", &a);
  expect(&g, T_F32, 12, 1, I64(1), F64(57));
  for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    g = new_graph("1,2,3");
    at_str(&a, "equation", wrong[i]);
    init_f32(&g, "w", 2, I64(2, 2), F32(2, 9, 9, 3));
    add_node(&g, "Einsum", "x,w", "y", &a);
    refuse(&g, 12, "Einsum: ");
  }
}
END_TEST

// Halving takes over twice as many elements.
START_TEST(resize_antialiased) {
  vq_strbuf g = new_graph("1,1,1,6"), a = {0};
  at_str(&a, "mode", "linear");
  at_int(&a, "antialias", 1);
  init_i64(&g, "n", 4, I64(1, 1, 1, 3));
  add_node(&g, "Resize", "x,,,n", "y", &a);
  expect(&g, T_F32, 18, 4, I64(1, 1, 1, 3), F64(1.625, 3.5, 5.375));
}
END_TEST

START_TEST(batch_norm_is_two_constants) {
  vq_strbuf g = new_graph("1,2,3");
  init_f32(&g, "s", 1, I64(2), F32(2, 1));
  init_f32(&g, "b", 1, I64(2), F32(0, 1));
  init_f32(&g, "m", 1, I64(2), F32(1, 5));
  init_f32(&g, "v", 1, I64(2), F32(4, 1));
  add_node(&g, "BatchNormalization", "x,s,b,m,v", "y", NULL);
  vq_strbuf model = finish(&g, T_F32, 15);
  onnx_case c = try_model(&model, (vq_onnx_options){0});
  expect_result(&c, six, 3, I64(1, 2, 3), F64(0, 1, 2, 0, 1, 2));
  ck_assert_int_eq(n_ops(&c), 2);
  end_case(&c);
}
END_TEST

START_TEST(resize_cubic_and_linear) {
  vq_strbuf g = new_graph("1,1,1,3"), a = {0};
  vq_strbuf sizes = tensor_raw("n", T_I64, 1, I64(4), I64(1, 1, 1, 6), 32);
  pb_msg(&g, 5, &sizes);
  at_str(&a, "mode", "linear");
  add_node(&g, "Resize", "x,,,n", "y", &a);
  expect(&g, T_F32, 13, 4, I64(1, 1, 1, 6),
         F64(1, 1.25, 1.75, 2.25, 2.75, 3));
  g = new_graph("1,1,1,3");
  sizes = tensor_raw("n", T_I64, 1, I64(4), I64(1, 1, 1, 6), 32);
  pb_msg(&g, 5, &sizes);
  at_str(&a, "mode", "cubic");
  add_node(&g, "Resize", "x,,,n", "y", &a);
  expect(&g, T_F32, 13, 4, I64(1, 1, 1, 6),
         F64(0.89453125, 1.19140625, 1.66796875, 2.33203125, 2.80859375,
             3.10546875));
}
END_TEST

START_TEST(shape_code_disappears) {
  vq_strbuf g = new_graph("batch,3"), a = {0};
  init_i64(&g, "zero", 1, I64(0));
  init_i64(&g, "m1", 1, I64(-1));
  add_node(&g, "Shape", "x", "s", NULL);
  at_int(&a, "axis", 0);
  add_node(&g, "Gather", "s,zero", "n", &a);
  at_int(&a, "axis", 0);
  add_node(&g, "Concat", "n,m1", "t", &a);
  add_node(&g, "Reshape", "x,t", "r", NULL);
  add_node(&g, "Identity", "r", "y", NULL);
  vq_strbuf model = finish(&g, T_F32, 13);
  onnx_case c = try_model(&model, (vq_onnx_options){.batch = 2});
  expect_result(&c, six, 2, I64(2, 3), F64(1, 2, 3, 4, 5, 6));
  ck_assert_int_eq(n_ops(&c), 0);
  ck_assert_int_eq(c.summary.batch, 2);
  end_case(&c);
}
END_TEST

START_TEST(non_zero_range_and_where) {
  vq_strbuf g = new_graph("2,3");
  init_f32(&g, "m", 1, I64(3), F32(0, 5, 6));
  add_node(&g, "NonZero", "m", "nz", NULL);
  init_i64(&g, "ax", 1, I64(0));
  add_node(&g, "Squeeze", "nz,ax", "i", NULL);
  vq_strbuf a = {0};
  at_int(&a, "axis", 1);
  add_node(&g, "Gather", "x,i", "y", &a);
  expect(&g, T_F32, 13, 2, I64(2, 2), F64(2, 3, 5, 6));
  g = new_graph("2,3");
  add_node(&g, "NonZero", "x", "y", NULL);
  refuse(&g, 13, "must be known at compile time");
}
END_TEST

START_TEST(if_takes_one_branch) {
  for (int64_t taken = 0; taken < 2; taken++) {
    vq_strbuf g = new_graph("2,3"), t = {0}, e = {0}, a = {0};
    uint8_t flag = (uint8_t)taken;
    vq_strbuf cond = tensor_raw("c", T_BOOL, 0, NULL, &flag, 1);
    pb_msg(&g, 5, &cond);
    add_node(&t, "Neg", "x", "r", NULL);
    value_info(&t, 12, "r", T_F32, "2,3");
    add_node(&e, "NoSuchOperator", "x", "r", NULL);
    value_info(&e, 12, "r", T_F32, "2,3");
    at_msg(&a, "then_branch", 5, 6, &t);
    at_msg(&a, "else_branch", 5, 6, &e);
    add_node(&g, "If", "c", "y", &a);
    if (taken)
      expect(&g, T_F32, 13, 2, I64(2, 3), F64(-1, -2, -3, -4, -5, -6));
    else
      refuse(&g, 13, "NoSuchOperator: unknown operator");
  }
}
END_TEST

// f(p) = p + k with k an attribute of the call, default 5.
static vq_strbuf function_model(bool pass_k, bool recursive) {
  vq_strbuf g = new_graph("2,3"), a = {0}, f = {0}, k = {0}, ref = {0};
  if (pass_k)
    at_f32(&a, "k", 10);
  add_node(&g, "local.f", "x", "y", &a);
  vq_strbuf model = finish(&g, T_F32, 17);
  add_opset(&model, 8, "local", 1);
  pb_str(&f, 1, "f");
  pb_str(&f, 10, "local");
  pb_str(&f, 4, "p");
  pb_str(&f, 5, "q");
  at_open(&k, "k", 1);
  pb_f32(&k, 2, 5);
  pb_msg(&f, 11, &k);
  pb_str(&ref, 1, "value_float");
  pb_int(&ref, 20, 1);
  pb_str(&ref, 21, "k");
  pb_msg(&a, 5, &ref);
  vq_strbuf n = make_node("Constant", "", "c", &a);
  pb_msg(&f, 7, &n);
  n = make_node(recursive ? "local.f" : "Identity", "p", "p2", NULL);
  pb_msg(&f, 7, &n);
  n = make_node("Add", "p2,c", "q", NULL);
  pb_msg(&f, 7, &n);
  add_opset(&f, 9, "", 17);
  pb_msg(&model, 25, &f);
  return model;
}

START_TEST(functions_are_inlined) {
  for (int pass = 0; pass < 2; pass++) {
    vq_strbuf model = function_model(pass, false);
    onnx_case c = try_model(&model, (vq_onnx_options){0});
    double d = pass ? 10 : 5;
    expect_result(&c, six, 2, I64(2, 3),
                  F64(1 + d, 2 + d, 3 + d, 4 + d, 5 + d, 6 + d));
    end_case(&c);
  }
  vq_strbuf model = function_model(false, true);
  expect_refused(&model, "nested more than");
}
END_TEST

START_TEST(attention_three_dimensions) {
  // One head, q = k = v = x of [1, 2, 3], causal: the first row is x's own.
  vq_strbuf g = new_graph("1,2,3"), a = {0};
  at_int(&a, "is_causal", 1);
  at_int(&a, "q_num_heads", 1);
  at_int(&a, "kv_num_heads", 1);
  at_f32(&a, "scale", 0.1f);
  add_node(&g, "Attention", "x,x,x", "y", &a);
  double p = 1 / (1 + exp(0.1f * (32.0 - 77.0)));
  expect(&g, T_F32, 23, 3, I64(1, 2, 3),
         F64(1, 2, 3, 1 + 3 * p, 2 + 3 * p, 3 + 3 * p));
}
END_TEST

START_TEST(attention_masks_everything) {
  vq_strbuf g = new_graph("1,1,2,3");
  vq_strbuf m = tensor_raw("m", T_BOOL, 2, I64(2, 2), "\0\0\1\0", 4);
  pb_msg(&g, 5, &m);
  add_node(&g, "Attention", "x,x,x,m", "y", NULL);
  expect(&g, T_F32, 23, 4, I64(1, 1, 2, 3), F64(0, 0, 0, 1, 2, 3));
}
END_TEST

START_TEST(weights_in_every_encoding) {
  static const uint8_t half[] = {0, 0x3c, 0, 0xc0, 1, 0};
  static const uint8_t bf[] = {0x80, 0x3f, 0, 0xc0, 0, 0x42};
  static const double dbl[] = {0.5, -2, 3};
  struct { int type; const void *p; size_t n; double v[3]; } rows[] = {
    {T_F16, half, 6, {1, -2, 0x1p-24}},
    {T_BF16, bf, 6, {1, -2, 32}},
    {T_F64, dbl, 24, {0.5, -2, 3}},
  };
  for (size_t i = 0; i < N_OF(rows); i++) {
    vq_strbuf g = new_graph("2,3");
    vq_strbuf t = tensor_raw("w", rows[i].type, 1, I64(3), rows[i].p, rows[i].n);
    pb_msg(&g, 5, &t);
    add_node(&g, "Mul", "x,w", "y", NULL);
    const double *v = rows[i].v;
    expect(&g, T_F32, 13, 2, I64(2, 3), F64(v[0], 2 * v[1], 3 * v[2], 4 * v[0],
                                            5 * v[1], 6 * v[2]));
  }
  vq_strbuf g = new_graph("2,3");
  vq_strbuf t = tensor_head("w", T_F32, 1, I64(3));
  pb_bytes(&t, 4, F32(1, 2, 3), 12);
  pb_msg(&g, 5, &t);
  t = tensor_head("k", T_I32, 0, NULL);
  pb_int(&t, 5, -7);
  pb_msg(&g, 5, &t);
  vq_strbuf a = {0};
  at_int(&a, "to", T_F32);
  add_node(&g, "Cast", "k", "f", &a);
  add_node(&g, "Mul", "x,w", "z", NULL);
  add_node(&g, "Add", "z,f", "y", NULL);
  expect(&g, T_F32, 13, 2, I64(2, 3), F64(-6, -3, 2, -3, 3, 11));
}
END_TEST

START_TEST(integers_divide_toward_zero) {
  vq_strbuf g = new_graph("2,3"), a = {0};
  init_i64(&g, "p", 2, I64(-7, 7));
  init_i64(&g, "q", 1, I64(2));
  add_node(&g, "Div", "p,q", "d", NULL);
  at_int(&a, "to", T_F32);
  add_node(&g, "Cast", "d", "f", &a);
  init_f32(&g, "w", 2, I64(3, 2), F32(1, 0, 0, 0, 0, 1));
  add_node(&g, "MatMul", "x,w", "z", NULL);
  add_node(&g, "Add", "z,f", "y", NULL);
  expect(&g, T_F32, 13, 2, I64(2, 2), F64(-2, 6, 1, 9));
}
END_TEST

START_TEST(sequences) {
  vq_strbuf g = new_graph("2,3"), a = {0};
  at_int(&a, "axis", 1);
  at_int(&a, "keepdims", 0);
  add_node(&g, "SplitToSequence", "x", "s", &a);
  init_i64(&g, "i", 1, I64(-1));
  add_node(&g, "SequenceAt", "s,i", "y", NULL);
  expect(&g, T_F32, 13, 1, I64(2), F64(3, 6));
}
END_TEST

int main(void) {
  Suite *s = suite_create("onnx_ops");
  TCase *t = tcase_create("ops");
  tcase_set_timeout(t, 0);
  tcase_add_test(t, reshape_copies_and_infers);
  tcase_add_test(t, slice_backwards);
  tcase_add_test(t, slice_to_the_end);
  tcase_add_test(t, split_forms);
  tcase_add_test(t, squeeze_forms);
  tcase_add_test(t, reductions);
  tcase_add_test(t, softmax_flattens_before_13);
  tcase_add_test(t, constant_of_shape_defaults_to_float_zero);
  tcase_add_test(t, gather_family);
  tcase_add_test(t, scatter_into_runtime_data);
  tcase_add_test(t, pads);
  tcase_add_test(t, clip_forms);
  tcase_add_test(t, gemm_and_matmul);
  tcase_add_test(t, fused_products);
  tcase_add_test(t, convolution_with_auto_pad);
  tcase_add_test(t, layer_norm_over_two_dimensions);
  tcase_add_test(t, einsum);
  tcase_add_test(t, resize_antialiased);
  tcase_add_test(t, batch_norm_is_two_constants);
  tcase_add_test(t, resize_cubic_and_linear);
  tcase_add_test(t, shape_code_disappears);
  tcase_add_test(t, non_zero_range_and_where);
  tcase_add_test(t, if_takes_one_branch);
  tcase_add_test(t, functions_are_inlined);
  tcase_add_test(t, attention_three_dimensions);
  tcase_add_test(t, attention_masks_everything);
  tcase_add_test(t, weights_in_every_encoding);
  tcase_add_test(t, integers_divide_toward_zero);
  tcase_add_test(t, sequences);
  suite_add_tcase(s, t);
  SRunner *r = srunner_create(s);
  srunner_run_all(r, CK_NORMAL);
  int failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
