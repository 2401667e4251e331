// The specialised emitters of codes against the interpreter, for equality: sizes
// around every vector and tile boundary, every variant that runs here, any
// division into tasks.
#include "kernel_cases.h"

// A constant of numbers of about `size`; returns its number.
static unsigned numbers_of(text *t, const char *dims, double size) {
  static unsigned at;
  vq_strbuf_printf(&t->constants, "const @n%u : tensor<%s, f32> = random<seed = %u, std = %g>\n",
                   at, dims, at, size);
  return at++;
}

static unsigned numbers(text *t, int n, double size) {
  return numbers_of(t, shape("%d", n), size);
}

// One for each row of a tensor of two dimensions.
static unsigned row_numbers(text *t, const char *dims, double size) {
  return numbers_of(t, shape("%dx1", atoi(dims)), size);
}

// Weights of n rows as a constant, which the pass pack lays out; every second one has
// four bits.
static void weights(text *t, int n, int k) {
  bool small = t->n_case % 2;
  vq_strbuf_printf(&t->constants, "const @w%u : tensor<%dx%d, %s> = random<seed = %u,"
                   " std = %d>\n", t->n_case, n, k, small ? "i4" : "i8", t->n_case,
                   small ? 4 : 60);
}

enum epilogue {
  SUMS, REQUANTIZE, FLOATS, SILU, GELU, RESIDUAL,
  GELU_ROWS, RESIDUAL_ROWS,  // rows have scales, too
  FINE, FINE_GELU,           // codes have bits behind the point
  N_EPILOGUE
};

// Words as a constant, of about `size`.
static const char *words(text *t, int n, int size) {
  static unsigned at;
  vq_strbuf_printf(&t->constants, "const @z%u : tensor<%d, i16> = random<seed = %u, std = %d>\n",
                   at, n, at, size);
  return shape("@z%u", at++);
}

// The name of the sums: those without epilogue are the result.
static char name_of(enum epilogue what) { return what == SUMS ? 'v' : 'g'; }

// Sums of about `most` to words, GELU in fixed point, codes.
static void add_gelu(text *t, const char *shape_of, int n, double most, bool rows, bool fine) {
  unsigned c = t->n_case, s = numbers(t, n, 9000 / most), word[6];
  char dims[64];
  snprintf(dims, sizeof dims, "%s", shape_of);
  for (unsigned i = 0; i < VQ_COUNT(word); i++)
    word[i] = arg(t, i == 4 && rows ? shape("%dx1, i16", atoi(dims)) : shape("%d, i16", n));
  vq_strbuf *b = &t->body;
  vq_strbuf_printf(b, "  %%d%u = requantize %%g%u, @n%u {to = \"i16\", lo = -32768, hi = 32767} :"
                   " tensor<%s, i16>\n", c, c, s, dims);
  vq_strbuf_printf(b, "  %%e%u = piecewise_int %%d%u, %%a%u, %%a%u, %%a%u, %%a%u {fn = \"gelu\","
                   " step = %g} : tensor<%s, i16>\n", c, c, word[0], word[1], word[2], word[3],
                   c % 2 ? 1.5e-4 : 2e-3, dims);
  const char *type = fine ? "i16" : "u8", *to = fine ? "shift = 1, fine = 4" : "shift = 5";
  vq_strbuf_printf(b, "  %%v%u = rescale %%e%u, %%a%u, %%a%u {%s, to = \"%s\", lo = 0,"
                   " hi = %d} : tensor<%s, %s>\n", c, c, word[4], word[5], to, type,
                   fine ? 4095 : 255, dims, type);
  result(t, shape("%s, %s", dims, type));
}

// Ops behind %g<case>, sums of the given shape whose size is about `most`.
static void add_epilogue(text *t, enum epilogue what, const char *dims, int n,
                         double most) {
  unsigned c = t->n_case, s = numbers(t, n, 3 / most);
  vq_strbuf *b = &t->body;
  switch (what) {
    case SUMS:
      result(t, shape("%s, i32", dims));
      return;
    case REQUANTIZE:
      vq_strbuf_printf(b, "  %%v%u = requantize %%g%u, @n%u, %%a%u {to = \"u8\", lo = 0,"
                       " hi = 255} : tensor<%s, u8>\n", c, c, numbers(t, n, 200 / most),
                       arg(t, shape("%d, i16", n)), dims);
      result(t, shape("%s, u8", dims));
      return;
    case FLOATS: case SILU: case GELU: case RESIDUAL: case GELU_ROWS: case RESIDUAL_ROWS:
    case FINE: case FINE_GELU: case N_EPILOGUE:
      break;
  }
  bool gelu = what == GELU || what == GELU_ROWS || what == FINE_GELU;
  bool residual = what == RESIDUAL || what == RESIDUAL_ROWS;
  if (gelu) {
    add_gelu(t, dims, n, most, what == GELU_ROWS, what == FINE_GELU);
    return;
  }
  vq_strbuf_printf(b, "  %%%c%u = dequantize %%g%u, @n%u : tensor<%s, f32>\n",
                   what == RESIDUAL_ROWS ? 'u' : 'd', c, c, s, dims);
  if (what == RESIDUAL_ROWS)
    vq_strbuf_printf(b, "  %%d%u = mul %%u%u, @n%u : tensor<%s, f32>\n", c, c,
                     row_numbers(t, dims, 1), dims);
  if (residual)
    vq_strbuf_printf(b, "  %%r%u = dequantize %%a%u, @n%u : tensor<%s, f32>\n"
                     "  %%e%u = add %%d%u, %%r%u : tensor<%s, f32>\n"
                     "  %%v%u = quantize %%e%u, @n%u {to = \"i16\", lo = -32768,"
                     " hi = 32767} : tensor<%s, i16>\n",
                     c, arg(t, shape("%s, i16", dims)), numbers(t, n, 1e-4), dims, c, c, c,
                     dims, c, c, numbers(t, n, 9000), dims);
  else if (what == FINE)
    vq_strbuf_printf(b, "  %%v%u = quantize %%d%u, @n%u, %s {fine = 4, to = \"i16\", lo = -4000,"
                     " hi = 4095} : tensor<%s, i16>\n", c, c, numbers(t, n, 60),
                     words(t, n, 60), dims);
  else if (what == SILU)
    vq_strbuf_printf(b, "  %%e%u = piecewise %%d%u {fn = \"silu\"} : tensor<%s, f32>\n"
                     "  %%v%u = add %%e%u, %%e%u : tensor<%s, f32>\n", c, c, dims, c, c, c, dims);
  else
    vq_strbuf_printf(b, "  %%v%u = add %%d%u, %%d%u : tensor<%s, f32>\n", c, c, c, dims);
  result(t, shape("%s, %s", dims, residual || what == FINE ? "i16" : "f32"));
}

// A bias of `n` columns, %a of the function or constants that are stored in two bytes, in
// three or in four.
static void add_bias(text *t, vq_strbuf *to, int n) {
  static const char *const std[] = {"9e3", "9e4", "9e7"};
  unsigned c = t->n_case;
  if (c % 4 == 3) {
    vq_strbuf_printf(to, ", %%a%u", arg(t, shape("%d, i32", n)));
    return;
  }
  vq_strbuf_printf(&t->constants, "const @b%u : tensor<%d, i32> = random<seed = %u, std = %s>\n",
                   c, n, c + 7, std[c % 4]);
  vq_strbuf_printf(to, ", @b%u", c);
}

// Rows of `type`, with `fine` bits behind the point, the largest of which are about `size`.
static void add_linear(text *t, const char *type, int fine, double size, int m, int n, int k,
                       bool bias, enum epilogue what) {
  unsigned x = arg(t, shape("%dx%d, %s", m, k, type));
  weights(t, n, k);
  const char *dims = shape("%dx%d", m, n);
  vq_strbuf b = {0};
  if (bias) add_bias(t, &b, n);
  unsigned c = t->n_case;
  vq_strbuf_printf(&t->body,
                   "  %%%c%u = linear %%a%u, @w%u%s {fine = %d} : tensor<%s, i32>\n",
                   name_of(what), c, x, c, vq_strbuf_z(&b), fine, dims);
  vq_strbuf_release(&b);
  add_epilogue(t, what, dims, n, ldexp(40 * sqrt(k) * size, -fine));
}

static void add_gemm(text *t, int m, int n, int k, bool bias, enum epilogue what) {
  add_linear(t, "u8", 0, 128, m, n, k, bias, what);
}

// Every product of words is as large as it gets, and sums wrap.
static void add_wrap(text *t, int k, int fine, bool small) {
  unsigned c = t->n_case;
  vq_strbuf_printf(&t->constants,
                   "const @x%u : tensor<1x%d, i16> = fill<-32768>\n"
                   "const @w%u : tensor<33x%d, %s> = fill<%d>\n",
                   c, k, c, k, small ? "i4" : "i8", small ? -8 : -128);
  vq_strbuf_printf(&t->body, "  %%v%u = linear @x%u, @w%u, %%a%u {fine = %d} :"
                   " tensor<1x33, i32>\n", c, c, c, arg(t, "33, i32"), fine);
  add_epilogue(t, SUMS, "1x33", 33, 1);
}

// Every product is as large as it gets, with one sign.
static void add_extreme(text *t, int k, int weight) {
  unsigned c = t->n_case;
  vq_strbuf_printf(&t->constants,
                   "const @x%u : tensor<3x%d, u8> = fill<255>\n"
                   "const @w%u : tensor<2x%dx16x4, i8> = fill<%d>\n",
                   c, k, c, k / 4, weight);
  vq_strbuf_printf(&t->body,
                   "  %%v%u = linear @x%u, @w%u {layout = \"panel16x4\", out = 32} :"
                   " tensor<3x32, i32>\n", c, c, c);
  add_epilogue(t, SUMS, "3x32", 32, 1);
}

static void add_patches(text *t, int batch, int h, int w, int ph, int pw, int o) {
  int k = 3 * ph * pw;
  const char *dims = shape("%dx%dx%d", batch, h / ph * (w / pw), o);
  unsigned x = arg(t, shape("%dx3x%dx%d, u8", batch, h, w)), c = t->n_case;
  weights(t, o, k);
  vq_strbuf_printf(&t->body,
                   "  %%g%u = patch_embed %%a%u, @w%u {patch = [%d, %d]} :"
                   " tensor<%s, i32>\n", c, x, c, ph, pw, dims);
  add_epilogue(t, FLOATS, dims, o, 40 * sqrt(k) * 128);
}

// %g<case> times a number as codes, the result.
static void add_codes_of(text *t, const char *dims, unsigned mult, bool fine) {
  unsigned c = t->n_case;
  const char *type = fine ? "i16" : "u8";
  vq_strbuf_printf(&t->body, "  %%v%u = quantize %%g%u, @n%u, ", c, c, mult);
  if (fine)
    vq_strbuf_printf(&t->body, "%s {fine = 4, ", words(t, 1, 60));
  else
    vq_strbuf_printf(&t->body, "%%a%u {", arg(t, "1, i16"));
  vq_strbuf_printf(&t->body, "to = \"%s\", lo = 0, hi = %d} : tensor<%s, %s>\n", type,
                   fine ? 4095 : 255, dims, type);
  result(t, shape("%s, %s", dims, type));
}

// gamma and beta, and codes for the next product.
static void add_norm(text *t, int rows, int cols, const char *from) {
  unsigned c = t->n_case, x = 0;
  if (!from) x = arg(t, shape("%dx%d, i16", rows, cols));
  const char *of = from ? from : shape("%%a%u", x);
  vq_strbuf_printf(&t->body,
                   "  %%g%u = layer_norm %s, %%a%u, %%a%u {eps = %u} : tensor<%dx%d, f32>\n",
                   c, of, arg(t, shape("%d, f32", cols)), arg(t, shape("%d, f32", cols)),
                   20 + 1000 * c, rows, cols);
  add_codes_of(t, shape("%dx%d", rows, cols), numbers(t, 1, 40), c % 3 == 2);
}

// Rows through a table: `pieces` runs of `piece` elements of x make a row; with
// pad, every seventh run is `value`.
static unsigned add_table(text *t, const char *type, int groups, int rows, int pieces,
                          int piece, bool pad, int value) {
  unsigned c = t->n_case, x = arg(t, shape("%dx5x%d, %s", groups, piece, type));
  int n = rows * pieces, cols = pieces * piece;
  vq_strbuf_printf(&t->constants, "const @t%u : tensor<%d, i32> = dense<[", c, n);
  for (int i = 0; i < n; i++)
    vq_strbuf_printf(&t->constants, "%s%d", i ? ", " : "",
                     pad && i % 7 == 3 ? -1 : i * 3 % 5);
  vq_strbuf_printf(&t->constants, "]>\n");
  vq_strbuf_printf(&t->body,
                   "  %%t%u = gather_rows %%a%u, @t%u {groups = %d%s} : tensor<%dx%d, %s>\n"
                   "  %%s%u = reshape %%t%u {shape = [%d, %d]} : tensor<%dx%d, %s>\n",
                   c, x, c, groups, pad ? shape(", pad = true, value = %d", value) : "",
                   groups * n, piece, type, c, c, groups * rows, cols, groups * rows, cols,
                   type);
  return c;
}

static void add_table_linear(text *t, const char *type, int fine, int groups, int rows,
                             int pieces, int piece, bool pad) {
  int k = pieces * piece;
  unsigned c = add_table(t, type, groups, rows, pieces, piece, pad, 131);
  const char *dims = shape("%dx37", groups * rows);
  weights(t, 37, k);
  vq_strbuf_printf(&t->body, "  %%g%u = linear %%s%u, @w%u {fine = %d} : tensor<%s, i32>\n", c,
                   c, c, fine, dims);
  add_epilogue(t, REQUANTIZE, dims, 37, 40 * sqrt(k) * (fine ? 2e3 : 128));
}

static void add_table_gemm(text *t, int groups, int rows, int pieces, int piece, bool pad) {
  add_table_linear(t, "u8", 0, groups, rows, pieces, piece, pad);
}

// Codes of probabilities: levels, and tables that vectors of some variant hold or not.
static const char *const probability[] = {
      "levels = 100", "levels = 255",
      "rate = 2, table = ["
      "255, 180, 127, 90, 64, 45, 32, 23, 16, 11, 8, 6, 4, 3, 2, 1"
      "]",
      "rate = 4.5, table = ["
      "255, 219, 187, 161, 138, 118, 101, 87, 74, 64, 55, 47, 40, 34, 30, 25, "
      "22, 19, 16, 14, 200, 10, 9, 7, 6, 5, 5, 4, 3, 3, 3, 2, 2, 2, 1, 1, 1, "
      "1, 1, 77"
      "]"};

// What of q, k and v is in one tensor (then d == e): all (q is the last n of m rows), or
// k and v alone.
enum { APART, PACKED, KV_PACKED };

// q, k and v are of type `t`; `batch_b` 0: no bias; `zero` of k and v.
static void add_attention(text *t, const char *type, int zero, int batch, int heads, int n,
                          int m, int d, int e, int packed, int batch_b) {
  unsigned c = t->n_case;
  const char *in[3] = {shape("%dx%dx%d, %s", batch, n, heads * d, type),
                       shape("%dx%dx%d, %s", batch, m, heads * d, type),
                       shape("%dx%dx%d, %s", batch, m, heads * e, type)};
  vq_strbuf s = {0};
  if (packed) {
    int first = packed == KV_PACKED;
    unsigned x = arg(t, shape("%dx%dx%d, %s", batch, m, (3 - first) * heads * d, type));
    for (int i = first; i < 3; i++)
      vq_strbuf_printf(&t->body,
                       "  %%s%u.%d = slice %%a%u {begin = [0, %d, %d], size ="
                       " [%d, %d, %d]} : tensor<%s>\n",
                       c, i, x, i ? 0 : m - n, (i - first) * heads * d, batch, i ? m : n,
                       heads * d, in[i]);
    if (first)
      vq_strbuf_printf(&s, "%%a%u", arg(t, in[0]));
    else
      vq_strbuf_printf(&s, "%%s%u.0", c);
    vq_strbuf_printf(&s, ", %%s%u.1, %%s%u.2", c, c);
  } else {
    for (int i = 0; i < 3; i++)
      vq_strbuf_printf(&s, "%s%%a%u", i ? ", " : "", arg(t, in[i]));
  }
  bool table = c % 4 > 1;
  if (batch_b)
    vq_strbuf_printf(&s, ", @n%u", numbers_of(t, shape("%dx%dx%dx%d", batch_b, heads, n, m),
                                              table ? 1 : 2000));
  const char *y = shape("%dx%dx%d", batch, n, heads * e);
  vq_strbuf_printf(&t->body,
                   "  %%g%u = attention_int %s {heads = %d, scale = %s%u, %s,"
                   " q_zero = %d, k_zero = %d, v_zero = %d} : tensor<%s, f32>\n",
                   c, vq_strbuf_z(&s), heads, table ? "0.0002" : "0.4", c, probability[c % 4],
                   zero ? 117 : 5, zero, zero, y);
  vq_strbuf_release(&s);
  add_codes_of(t, y, numbers(t, heads * e, 2), c % 5 == 4);
}

// Floats, of which one code more or less changes the last bits: differences of scores as
// spread as `spread` says, or without bias so many of nearly the largest code.
static void add_codes(text *t, int n, int m, int levels, double spread) {
  unsigned c = t->n_case, in[3];
  const char *y = shape("1x%dx16, f32", n);
  for (int i = 0; i < 3; i++) in[i] = arg(t, shape("1x%dx16, i8", i ? m : n));
  vq_strbuf_printf(&t->body, "  %%v%u = attention_int %%a%u, %%a%u, %%a%u", c, in[0], in[1],
                   in[2]);
  if (spread > 0)
    vq_strbuf_printf(&t->body, ", @n%u", numbers_of(t, shape("1x1x%dx%d", n, m), spread));
  vq_strbuf_printf(&t->body, " {heads = 1, scale = 1e-4, levels = %d} : tensor<%s>\n",
                   levels, y);
  result(t, y);
}

START_TEST(gemm) {
  // rows, columns, depth: around 1, 4, 8, 14, 16, 32 and 128 in each.
  static const int size[][3] = {
      {1, 1, 1},   {1, 67, 33},  {1, 300, 5},  {2, 17, 7},   {3, 129, 4},
      {5, 33, 16}, {7, 32, 3},   {13, 31, 8},  {14, 16, 2},  {15, 48, 13},
      {29, 15, 1}, {31, 64, 17}, {67, 40, 67}, {113, 65, 12}, {197, 8, 6},
      // Long enough that tiles overlap with epilogues.
      {85, 64, 96}, {96, 33, 99}, {97, 65, 93}, {108, 32, 130}};
  text t = {.n_arg = 0};
  for (unsigned i = 0; i < VQ_COUNT(size); i++)
    add_gemm(&t, size[i][0], size[i][1], size[i][2], i % 2, (enum epilogue)(i % N_EPILOGUE));
  for (unsigned i = 0; i < N_EPILOGUE; i++)
    add_gemm(&t, 33, 37, 11, true, (enum epilogue)i);
  for (unsigned i = 0; i < N_EPILOGUE; i++)
    add_gemm(&t, 86, 64, 97, true, (enum epilogue)i);
  add_extreme(&t, 3072, -128);
  add_extreme(&t, 3072, 127);
  add_patches(&t, 2, 32, 24, 8, 4, 33);
  add_patches(&t, 1, 15, 21, 5, 7, 16);
  add_patches(&t, 2, 48, 64, 8, 8, 64);
  check_cases(&t);
}
END_TEST

// Rows of words: around what a vector holds of codes, a panel of columns, a task of panels;
// sums with bits behind the point, and without.
START_TEST(rows_of_words) {
  static const int size[][3] = {
      {1, 1, 1},    {1, 16, 4},   {1, 17, 7},   {1, 33, 8},  {1, 31, 16}, {1, 128, 33},
      {1, 129, 31}, {1, 300, 5},  {2, 48, 12},  {1, 64, 48}, {3, 40, 96}, {1, 257, 130},
      {5, 100, 63}, {1, 768, 192}, {2, 10, 36}, {1, 144, 61}, {17, 35, 21}};
  text t = {.n_arg = 0};
  for (int i = 0; i < 2 * (int)VQ_COUNT(size); i++) {
    const int *s = size[i % VQ_COUNT(size)];
    add_linear(&t, "i16", i * 4 % 9, 2e4, s[0], s[1], s[2], i % 2,
               (enum epilogue)(i % N_EPILOGUE));
  }
  for (unsigned i = 0; i < 2 * N_EPILOGUE; i++)
    add_linear(&t, "i16", 4, 2e4, 1 + (int)i % 2, 37, 11, true, (enum epilogue)(i / 2));
  for (int i = 0; i < 4; i++) add_wrap(&t, 3072 - i, 2 * i, i % 2);
  add_table_linear(&t, "i16", 4, 2, 4, 1, 60, false);  // read in place
  add_table_linear(&t, "i16", 4, 1, 4, 2, 20, true);
  check_cases(&t);
}
END_TEST

// So many rows of such depth that it is divided into slabs (blocking.h): every epilogue with
// weights of eight bits and of four, slabs of equal size and not, half a group at the end.
START_TEST(slabs) {
  text t = {.n_arg = 0};
  for (int i = 0; i < 2 * N_EPILOGUE; i++)
    add_gemm(&t, 252 + 5 * i, 24 + 8 * i, 1025 + 31 * i, i % 2, (enum epilogue)(i % N_EPILOGUE));
  add_gemm(&t, 300, 64, 2048, true, GELU);
  add_gemm(&t, 300, 64, 2048, true, GELU);
  add_gemm(&t, 97, 33, 6000, true, REQUANTIZE);
  check_cases(&t);
}
END_TEST

// Rows, columns and depth around what tiles of AMX hold: 16, 32, 16 * 4 and 12 * 4.
START_TEST(tiles) {
  static const int size[][3] = {
      {16, 16, 64},  {17, 32, 4},  {31, 33, 48},  {32, 1, 96},   {33, 47, 128},
      {49, 64, 40},  {63, 17, 60}, {64, 130, 63}, {65, 15, 8},   {67, 67, 192},
      {97, 31, 61},  {98, 300, 20}, {99, 36, 129}, {197, 48, 12}, {300, 20, 3072}};
  text t = {.n_arg = 0};
  for (unsigned i = 0; i < VQ_COUNT(size); i++)
    add_gemm(&t, size[i][0], size[i][1], size[i][2], i % 2 == 0,
             (enum epilogue)(i % N_EPILOGUE));
  for (unsigned i = 0; i < N_EPILOGUE; i++)
    add_gemm(&t, 43, 49, 64, true, (enum epilogue)i);
  add_patches(&t, 1, 32, 40, 8, 4, 33);
  add_table_gemm(&t, 5, 8, 2, 32, true);
  check_cases(&t);
}
END_TEST

START_TEST(attention) {
  text t = {.n_arg = 0};
  for (int i = 0; i < 2; i++) {
    const char *type = i ? "i8" : "u8";
    int zero = i ? 0 : 128;
    add_attention(&t, type, zero, 1, 1, 1, 1, 4, 1, APART, 0);
    add_attention(&t, type, zero, 2, 3, 17, 17, 8, 8, PACKED, 0);
    add_attention(&t, type, zero, 1, 2, 67, 67, 12, 12, PACKED, 1);
    add_attention(&t, type, zero, 2, 1, 3, 33, 20, 31, APART, 2);
    add_attention(&t, type, zero, 1, 3, 31, 14, 64, 17, APART, 0);
    add_attention(&t, type, zero, 1, 2, 15, 50, 36, 40, APART, 0);
    add_attention(&t, type, zero, 1, 1, 65, 67, 64, 64, APART, 0);
    add_attention(&t, type, zero, 1, 2, 197, 33, 32, 33, APART, 1);
    add_attention(&t, type, zero, 2, 3, 1, 50, 8, 8, PACKED, 2);
    add_attention(&t, type, zero, 2, 3, 1, 50, 8, 8, KV_PACKED, 0);
    add_attention(&t, type, zero, 1, 1, 2, 33, 20, 20, PACKED, 0);
    for (int n = 0; n < 4; n++)  // every second one: equal but for the scale
      add_attention(&t, type, zero, 1, 2, 5, 17, 8, 8, PACKED, 0);
  }
  check_cases(&t);
}
END_TEST

// Few queries: keys around whole groups of 4, 8 and 16, all widths of vectors of keys and of
// values, keys and values apart and not, every kind of probabilities; and what packs after all.
START_TEST(few_queries) {
  static const int width[][2] = {{64, 64}, {32, 32}, {16, 16}, {48, 80}, {80, 48}, {192, 16},
                                 {16, 192}, {96, 160}, {64, 128}, {20, 16}, {16, 20}};
  for (int part = 0; part < 4; part++) {
    text t = {.n_arg = 0};
    const char *type = part % 2 ? "i8" : "u8";
    int zero = part % 2 ? 0 : 128, n = 1 + part / 2;
    for (int m = 1 + part % 2; m <= 67; m += m < 34 ? 2 : 3) {
      const int *w = width[m % VQ_COUNT(width)];
      int packed = w[0] == w[1] && m >= n ? m / 3 % 3 : APART, batch = 1 + m % 2;
      int bias = m / 5 % 3;
      add_attention(&t, type, zero, batch, 1 + m % 3, n, m, w[0], w[1], packed,
                    bias > batch ? 1 : bias);
    }
    add_attention(&t, type, zero, 2, 3, n, 197, 64, 64, KV_PACKED, 0);
    add_attention(&t, type, zero, 1, 3, n, 197, 64, 64, PACKED, 1);
    add_attention(&t, type, zero, 1, 1, n, 600, 32, 32, KV_PACKED, 0);
    check_cases(&t);
  }
}
END_TEST

// Every exponent and what saturates, with levels of each power of two; rows whose sums no
// word holds.
START_TEST(exponents) {
  text t = {.n_arg = 0};
  for (int levels = 1; levels < 256; levels = 2 * levels + 1)
    add_codes(&t, 3, 1000, levels, 6000);
  add_codes(&t, 80, 1021, 255, 9000);
  add_codes(&t, 80, 1021, 128, 9000);
  add_codes(&t, 17, 261, 181, 500);
  add_codes(&t, 2, 2071, 255, 0);
  add_codes(&t, 2, 8321, 255, 0);
  check_cases(&t);
}
END_TEST

START_TEST(norm) {
  static const int size[][2] = {{1, 1}, {9, 7}, {17, 16}, {8, 33}, {3, 67}, {5, 192}};
  text t = {.n_arg = 0};
  for (unsigned i = 0; i < VQ_COUNT(size); i++)
    add_norm(&t, size[i][0], size[i][1], NULL);
  for (unsigned i = 0; i < 3; i++) add_norm(&t, 3, 67, NULL);  // equal but for eps
  check_cases(&t);
}
END_TEST

START_TEST(tables) {
  static const int size[][4] = {
      {1, 5, 1, 36}, {1, 2, 3, 8}, {2, 14, 1, 16}, {3, 4, 4, 4}, {19, 6, 2, 20}};
  text t = {.n_arg = 0};
  for (unsigned i = 0; i < VQ_COUNT(size); i++)
    for (unsigned k = 0; k < 4; k++) {
      const int *s = size[i];
      if (k & 1) {
        add_table_gemm(&t, s[0], s[1], s[2], s[3], k & 2);
        continue;
      }
      unsigned c = add_table(&t, "i16", s[0], s[1], s[2], s[3], k & 2, -300);
      add_norm(&t, s[0] * s[1], s[2] * s[3], shape("%%s%u", c));
    }
  check_cases(&t);
}
END_TEST

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  TCase *c = tcase_create("kernels of codes");
  tolerance = 0;
  tcase_add_test(c, gemm);
  tcase_add_test(c, rows_of_words);
  tcase_add_test(c, tiles);
  tcase_add_test(c, slabs);
  tcase_add_test(c, attention);
  tcase_add_test(c, few_queries);
  tcase_add_test(c, exponents);
  tcase_add_test(c, norm);
  tcase_add_test(c, tables);
  return run_kernel_tests(c, "kernels of codes");
}
