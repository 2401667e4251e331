// The specialised emitters against the interpreter: sizes around every vector
// and tile boundary, every variant that runs here, any division into tasks.
#include "kernel_cases.h"

// epilogue: 0 none, 1 gelu, 2 residual, 3 scale per column, cut at a bool; bf16: weights
// of that
static void add_gemm_of(text *t, int m, int n, int k, bool bias, int epilogue, bool bf16) {
  const char *y = shape("%dx%d, f32", m, n);
  unsigned x = arg(t, shape("%dx%d, f32", m, k));
  unsigned w = arg(t, bf16 ? shape("%dx%dx16x2, bf16", (n + 15) / 16, (k + 1) / 2)
                           : shape("%dx%dx16, f32", (n + 15) / 16, k));
  unsigned c = t->n_case;
  vq_strbuf b = {0};
  if (bias) vq_strbuf_printf(&b, ", %%a%u", arg(t, shape("%d, f32", n)));
  vq_strbuf_printf(&t->body,
                   "  %%%s%u = linear %%a%u, %%a%u%s {layout = \"panel16%s\","
                   " out = %d} : tensor<%s>\n",
                   epilogue ? "g" : "v", c, x, w, vq_strbuf_z(&b), bf16 ? "x2" : "", n, y);
  vq_strbuf_release(&b);
  if (epilogue == 1)
    vq_strbuf_printf(&t->body, "  %%v%u = gelu %%g%u : tensor<%s>\n", c, c, y);
  if (epilogue == 2)
    vq_strbuf_printf(&t->body, "  %%v%u = add %%a%u, %%g%u : tensor<%s>\n", c,
                     arg(t, y), c, y);
  if (epilogue == 3) {
    unsigned s = arg(t, shape("%d, f32", n)), r = arg(t, shape("%dx1, f32", m));
    const char *cut = shape("%dx%d, bool", m, n);
    vq_strbuf_printf(&t->body,
                     "  %%h%u = mul %%g%u, %%a%u : tensor<%s>\n"
                     "  %%v%u = less %%a%u, %%h%u : tensor<%s>\n",
                     c, c, s, y, c, r, c, cut);
    y = cut;
  }
  result(t, y);
}

static void add_gemm(text *t, int m, int n, int k, bool bias, int epilogue) {
  add_gemm_of(t, m, n, k, bias, epilogue, false);
}

// What of q, k and v is in one tensor (then d == e): all (q is the last n of m rows), or
// k and v alone.
enum { APART, PACKED, KV_PACKED };

// `batch_b` 0: no bias. `softmax`: that is a result, too.
static void add_attention(text *t, int batch, int heads, int n, int m, int d,
                          int e, int packed, int batch_b, bool softmax) {
  unsigned c = t->n_case, q = 0, k = 0, v = 0;
  const char *in[3] = {shape("%dx%dx%d, f32", batch, n, heads * d),
                       shape("%dx%dx%d, f32", batch, m, heads * d),
                       shape("%dx%dx%d, f32", batch, m, heads * e)};
  vq_strbuf s = {0}, p = {0};
  if (packed) {
    int first = packed == KV_PACKED;
    unsigned x = arg(t, shape("%dx%dx%d, f32", batch, m, (3 - first) * heads * d));
    for (int i = first; i < 3; i++)
      vq_strbuf_printf(&t->body,
                       "  %%s%u.%d = slice %%a%u {begin = [0, %d, %d], size ="
                       " [%d, %d, %d]} : tensor<%s>\n",
                       c, i, x, i ? 0 : m - n, (i - first) * heads * d, batch, i ? m : n,
                       heads * d, in[i]);
    if (first)
      vq_strbuf_printf(&p, "%%a%u, %%s%u.1", arg(t, in[0]), c);
    else
      vq_strbuf_printf(&p, "%%s%u.0, %%s%u.1", c, c);
    vq_strbuf_printf(&s, "%s, %%s%u.2", vq_strbuf_z(&p), c);
  } else {
    q = arg(t, in[0]), k = arg(t, in[1]), v = arg(t, in[2]);
    vq_strbuf_printf(&p, "%%a%u, %%a%u", q, k);
    vq_strbuf_printf(&s, "%s, %%a%u", vq_strbuf_z(&p), v);
  }
  if (batch_b) {
    unsigned bias = arg(t, shape("%dx%dx%dx%d, f32", batch_b, heads, n, m));
    vq_strbuf_printf(&s, ", %%a%u", bias);
    vq_strbuf_printf(&p, ", %%a%u", bias);
  }
  if (softmax) {
    const char *y = shape("%dx%dx%dx%d, f32", batch, heads, n, m);
    vq_strbuf_printf(&t->body,
                     "  %%v%u = attention_softmax %s {heads = %d, scale = 0.5} : tensor<%s>\n",
                     t->n_case, vq_strbuf_z(&p), heads, y);
    result(t, y);
  }
  const char *y = shape("%dx%dx%d, f32", batch, n, heads * e);
  vq_strbuf_printf(&t->body,
                   "  %%v%u = attention %s {heads = %d, scale = 0.5} :"
                   " tensor<%s>\n",
                   t->n_case, vq_strbuf_z(&s), heads, y);
  vq_strbuf_release(&s);
  vq_strbuf_release(&p);
  result(t, y);
}

// `packed`: q, k and v in one tensor, n == m, d == e.
static void add_attention_grad(text *t, int batch, int heads, int n, int m, int d, int e,
                               bool packed) {
  unsigned c = t->n_case;
  const char *q = shape("%dx%dx%d, f32", batch, n, heads * d);
  vq_strbuf s = {0};
  if (packed) {
    unsigned x = arg(t, shape("%dx%dx%d, f32", batch, n, 3 * heads * d));
    for (int i = 0; i < 3; i++) {
      vq_strbuf_printf(&t->body,
                       "  %%s%u_%d = slice %%a%u {begin = [0, 0, %d], size = [%d, %d, %d]} :"
                       " tensor<%s>\n", c, i, x, i * heads * d, batch, n, heads * d, q);
      vq_strbuf_printf(&s, "%%s%u_%d, ", c, i);
    }
  } else {
    vq_strbuf_printf(&s, "%%a%u, ", arg(t, q));
    vq_strbuf_printf(&s, "%%a%u, ", arg(t, shape("%dx%dx%d, f32", batch, m, heads * d)));
    vq_strbuf_printf(&s, "%%a%u, ", arg(t, shape("%dx%dx%d, f32", batch, m, heads * e)));
  }
  vq_strbuf_printf(&s, "%%a%u", arg(t, shape("%dx%dx%d, f32", batch, n, heads * e)));
  vq_strbuf_printf(&s, ", %%a%u", arg(t, shape("%dx%dx%dx%d, f32", batch, heads, n, m)));
  const char *y = shape("%dx%d, f32", batch, heads * ((n + m) * d + m * e));
  vq_strbuf_printf(&t->body,
                   "  %%v%u = attention_grad %s {heads = %d, scale = 0.5} : tensor<%s>\n", c,
                   vq_strbuf_z(&s), heads, y);
  vq_strbuf_release(&s);
  result(t, y);
}

// Of `batch` x `heads` matrices; `shared`: one of b for all of a batch.
static void add_matmul(text *t, int batch, int heads, int m, int k, int n, bool transpose,
                       bool shared) {
  int rows = transpose ? n : k, cols = transpose ? k : n;
  unsigned a = arg(t, shape("%dx%dx%dx%d, f32", batch, heads, m, k));
  unsigned b = arg(t, shape("%dx%dx%dx%d, f32", batch, shared ? 1 : heads, rows, cols));
  const char *y = shape("%dx%dx%dx%d, f32", batch, heads, m, n);
  vq_strbuf_printf(&t->body, "  %%v%u = matmul %%a%u, %%a%u {transpose_b = %s} : tensor<%s>\n",
                   t->n_case, a, b, transpose ? "true" : "false", y);
  result(t, y);
}

static void add_patches(text *t, int batch, int h, int w, int ph, int pw, int o,
                        bool bf16) {
  int k = 3 * ph * pw;
  const char *y = shape("%dx%dx%d, f32", batch, h / ph * (w / pw), o);
  unsigned x = arg(t, shape("%dx3x%dx%d, f32", batch, h, w));
  unsigned p = arg(t, bf16 ? shape("%dx%dx16x2, bf16", (o + 15) / 16, (k + 1) / 2)
                           : shape("%dx%dx16, f32", (o + 15) / 16, k));
  vq_strbuf_printf(&t->body,
                   "  %%v%u = patch_embed %%a%u, %%a%u {patch = [%d, %d],"
                   " layout = \"panel16%s\", out = %d} : tensor<%s>\n",
                   t->n_case, x, p, ph, pw, bf16 ? "x2" : "", o, y);
  result(t, y);
}

static void add_rows(text *t, const char *op, int rows, int cols, bool gamma) {
  const char *y = shape("%dx%d, f32", rows, cols);
  vq_strbuf s = {0};
  vq_strbuf_printf(&s, "%%a%u", arg(t, y));
  if (gamma)
    for (int i = 0; i < 2; i++)
      vq_strbuf_printf(&s, ", %%a%u", arg(t, shape("%d, f32", cols)));
  vq_strbuf_printf(&t->body, "  %%v%u = %s %s : tensor<%s>\n", t->n_case, op,
                   vq_strbuf_z(&s), y);
  vq_strbuf_release(&s);
  result(t, y);
}

// An anchor whose rows come through a table of constants: `pieces` runs of
// `piece` elements of x make a row; with pad, every seventh run is -2.
static void add_table(text *t, bool norm, int groups, int rows, int pieces,
                      int piece, bool pad, bool bf16) {
  unsigned c = t->n_case, x = arg(t, shape("%dx5x%d, f32", groups, piece));
  int n = rows * pieces, cols = pieces * piece;
  vq_strbuf_printf(&t->constants, "const @t%u : tensor<%d, i32> = dense<[", c, n);
  for (int i = 0; i < n; i++)
    vq_strbuf_printf(&t->constants, "%s%d", i ? ", " : "",
                     pad && i % 7 == 3 ? -1 : i * 3 % 5);
  vq_strbuf_printf(&t->constants, "]>\n");
  vq_strbuf_printf(&t->body,
                   "  %%t%u = gather_rows %%a%u, @t%u {groups = %d%s} :"
                   " tensor<%dx%d, f32>\n",
                   c, x, c, groups, pad ? ", pad = true, value = -2" : "",
                   groups * n, piece);
  vq_strbuf_printf(&t->body,
                   "  %%r%u = reshape %%t%u {shape = [%d, 1, %d]} :"
                   " tensor<%dx1x%d, f32>\n",
                   c, c, groups * rows, cols, groups * rows, cols);
  const char *y = shape("%dx1x%d, f32", groups * rows, norm ? cols : 37);
  if (norm)
    vq_strbuf_printf(&t->body, "  %%g%u = layer_norm %%r%u : tensor<%s>\n", c, c,
                     y);
  else
    vq_strbuf_printf(&t->body,
                     "  %%g%u = linear %%r%u, %%a%u {layout = \"panel16%s\","
                     " out = 37} : tensor<%s>\n",
                     c, c,
                     arg(t, bf16 ? shape("3x%dx16x2, bf16", (cols + 1) / 2)
                                 : shape("3x%dx16, f32", cols)),
                     bf16 ? "x2" : "", y);
  vq_strbuf_printf(&t->body, "  %%v%u = add %%g%u, %%a%u : tensor<%s>\n", c, c,
                   arg(t, y), y);
  result(t, y);
}

static void add_binary(text *t, const char *op, const char *a, const char *b,
                       const char *y) {
  unsigned x = arg(t, a), z = arg(t, b);
  vq_strbuf_printf(&t->body, "  %%v%u = %s %%a%u, %%a%u : tensor<%s>\n",
                   t->n_case, op, x, z, y);
  result(t, y);
}

// A gelu and its slope, which one kernel computes.
static void add_gelu_pair(text *t, const char *form, const char *y) {
  unsigned x = arg(t, y);
  static const char *const op[] = {"gelu_slope", "gelu"};
  for (unsigned i = 0; i < VQ_COUNT(op); i++) {
    vq_strbuf_printf(&t->body, "  %%v%u = %s %%a%u {form = \"%s\"} : tensor<%s>\n",
                     t->n_case, op[i], x, form, y);
    result(t, y);
  }
}

// ---- tests -------------------------------------------------------------------

START_TEST(gemm) {
  // rows, columns, depth: around 1, 4, 6, 8, 14, 16, 32 and 128 in each.
  static const int size[][3] = {
      {1, 1, 1},   {1, 67, 33},  {1, 300, 5},  {2, 17, 7},   {3, 129, 4},
      {5, 33, 16}, {7, 32, 3},   {13, 31, 8},  {14, 16, 2},  {15, 48, 13},
      {29, 15, 1}, {31, 64, 17}, {67, 40, 67}, {113, 65, 9}, {197, 8, 6}};
  text t = {.n_arg = 0};
  for (unsigned i = 0; i < VQ_COUNT(size); i++)
    add_gemm(&t, size[i][0], size[i][1], size[i][2], i % 2, (int)i % 4 % 3);
  add_gemm(&t, 33, 37, 11, true, 3);
  // So deep that it is divided into slabs (blocking.h).
  add_gemm(&t, 97, 40, 2801, true, 1);
  add_gemm(&t, 86, 33, 3072, false, 0);
  add_patches(&t, 2, 32, 24, 8, 4, 33, false);
  add_patches(&t, 1, 15, 21, 5, 7, 16, false);
  check_cases(&t);
}
END_TEST

// Pairs that end in, at and across whole vectors; rows through a table, of a picture, and
// more than the largest block of them.
START_TEST(gemm_bf16) {
  static const int size[][3] = {
      {1, 1, 1},   {1, 67, 33},  {1, 300, 5},   {2, 17, 7},   {3, 129, 4},   {5, 33, 16},
      {7, 32, 3},  {13, 31, 8},  {14, 16, 2},   {15, 48, 13}, {16, 32, 64},  {29, 15, 1},
      {31, 64, 17}, {67, 40, 67}, {113, 65, 9}, {197, 8, 6},  {33, 192, 192}, {40, 33, 95}};
  text t = {.n_arg = 0};
  for (unsigned i = 0; i < VQ_COUNT(size); i++)
    add_gemm_of(&t, size[i][0], size[i][1], size[i][2], i % 2, (int)i % 4 % 3, true);
  for (int k = 60; k < 68; k++) add_gemm_of(&t, 30, 37, k, true, 2, true);
  add_gemm_of(&t, 97, 40, 3073, true, 1, true);
  add_patches(&t, 2, 32, 24, 8, 4, 33, true);
  add_patches(&t, 1, 15, 21, 5, 7, 16, true);
  for (int pad = 0; pad < 2; pad++) add_table(&t, false, 19, 5, 3, 7, pad, true);
  check_cases(&t);
}
END_TEST

START_TEST(attention) {
  text t = {.n_arg = 0};
  add_attention(&t, 1, 1, 1, 1, 1, 1, APART, 0, false);
  add_attention(&t, 2, 3, 17, 17, 8, 8, PACKED, 0, false);
  add_attention(&t, 1, 2, 67, 67, 7, 7, PACKED, 1, false);
  add_attention(&t, 2, 1, 3, 33, 5, 31, APART, 2, false);
  add_attention(&t, 1, 3, 31, 14, 16, 17, APART, 0, false);
  add_attention(&t, 2, 3, 1, 50, 8, 8, PACKED, 2, false);
  add_attention(&t, 2, 3, 1, 50, 8, 8, KV_PACKED, 0, false);
  add_attention(&t, 1, 1, 2, 33, 13, 13, PACKED, 0, false);
  check_cases(&t);
}
END_TEST

START_TEST(attention_softmax) {
  text t = {.n_arg = 0};
  add_attention(&t, 1, 1, 1, 1, 1, 1, APART, 0, true);
  add_attention(&t, 2, 3, 17, 17, 8, 8, PACKED, 0, true);
  add_attention(&t, 1, 2, 67, 67, 7, 7, PACKED, 1, true);
  add_attention(&t, 2, 1, 3, 33, 5, 31, APART, 2, true);
  add_attention(&t, 1, 3, 31, 14, 16, 17, APART, 0, true);
  check_cases(&t);
}
END_TEST

START_TEST(attention_grad) {
  text t = {.n_arg = 0};
  add_attention_grad(&t, 1, 1, 1, 1, 1, 1, false);
  add_attention_grad(&t, 2, 3, 17, 17, 8, 8, true);
  add_attention_grad(&t, 1, 2, 67, 67, 7, 7, true);
  add_attention_grad(&t, 2, 1, 3, 33, 5, 31, false);
  add_attention_grad(&t, 1, 3, 31, 14, 16, 17, false);
  add_attention_grad(&t, 2, 1, 97, 50, 24, 16, false);
  add_attention_grad(&t, 1, 1, 49, 49, 32, 32, true);
  check_cases(&t);
}
END_TEST

// Few rows, one block of them, several.
START_TEST(matmul) {
  text t = {.n_arg = 0};
  static const int size[][5] = {{1, 1, 12, 1, 1},   {2, 3, 13, 5, 17}, {1, 2, 11, 31, 33},
                                {3, 1, 67, 66, 16}, {1, 2, 49, 7, 67}, {2, 2, 96, 64, 48}};
  for (unsigned i = 0; i < VQ_COUNT(size); i++)
    for (unsigned k = 0; k < 4; k++)
      add_matmul(&t, size[i][0], size[i][1], size[i][2], size[i][3], size[i][4], k & 1, k & 2);
  check_cases(&t);
}
END_TEST

START_TEST(rows) {
  text t = {.n_arg = 0};
  static const int size[][2] = {{1, 1}, {9, 7}, {17, 16}, {8, 33}, {3, 67}};
  for (unsigned i = 0; i < VQ_COUNT(size); i++) {
    add_rows(&t, "layer_norm", size[i][0], size[i][1], i % 2);
    add_rows(&t, "softmax", size[i][0], size[i][1], false);
  }
  check_cases(&t);
}
END_TEST

// Rows that end in, at and across whole vectors; more than one block of rows.
START_TEST(tables) {
  text t = {.n_arg = 0};
  static const int size[][4] = {
      {1, 5, 1, 33}, {1, 2, 3, 7}, {2, 14, 1, 16}, {3, 4, 4, 8}, {19, 6, 2, 20}};
  for (unsigned i = 0; i < VQ_COUNT(size); i++)
    for (unsigned k = 0; k < 4; k++)
      add_table(&t, k & 1, size[i][0], size[i][1], size[i][2], size[i][3], k & 2, false);
  check_cases(&t);
}
END_TEST

START_TEST(elementwise) {
  text t = {.n_arg = 0};
  add_binary(&t, "add", "4x5x6, f32", "4x1x6, f32", "4x5x6, f32");
  add_binary(&t, "sub", "4x1x6, f32", "3x1x5x1, f32", "3x4x5x6, f32");
  add_binary(&t, "max", "f32", "10007, f32", "10007, f32");
  add_binary(&t, "mul", "3x67, f32", "3x1, f32", "3x67, f32");
  add_binary(&t, "less", "7x33, f32", "7x33, f32", "7x33, bool");
  add_gelu_pair(&t, "erf", "3x67, f32");
  add_gelu_pair(&t, "tanh", "10007, f32");
  add_gelu_pair(&t, "sigmoid", "2x5x16, f32");
  check_cases(&t);
}
END_TEST

int main(void) {
  TCase *c = tcase_create("kernels");
  tcase_add_test(c, gemm);
  tcase_add_test(c, gemm_bf16);
  tcase_add_test(c, attention);
  tcase_add_test(c, attention_softmax);
  tcase_add_test(c, attention_grad);
  tcase_add_test(c, matmul);
  tcase_add_test(c, rows);
  tcase_add_test(c, tables);
  tcase_add_test(c, elementwise);
  return run_kernel_tests(c, "kernels");
}
