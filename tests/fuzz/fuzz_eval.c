// Fuzzes the evaluator: the bytes choose a graph of constants and index code,
// which is imported (every node is evaluated) and folded. Unlike random bytes
// such graphs get past the decoder. What is checked is the sanitizers' work, and
// that the caps hold: run with a short -timeout and -rss_limit_mb=512.
//
// The bytes are read as nodes: operator, operands, attributes. A node that is
// wrong ends the import, so the useful inputs are those whose every node fits.
#include <stdio.h>

#include "../unit/onnx_writer.h"
#include "vq/onnx.h"
#include "vq/pass.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
  const uint8_t *p, *end;
} input;

static uint8_t byte(input *in) { return in->p < in->end ? *in->p++ : 0; }

// Small numbers mostly, and those at which arithmetic goes wrong.
static int64_t number(input *in) {
  static const int64_t edge[] = {INT64_MAX, INT64_MIN, INT32_MAX, INT32_MIN,
                                 1ll << 40, 1ll << 62, 1 << 20, 65536};
  uint8_t b = byte(in);
  return b < 240 ? b % 16 - 4 : edge[b % 8];
}

typedef struct row {
  const char *op;
  uint8_t n_in, n_out;
  const char *ints, *list;  // attributes: integers, one list of integers
} row;

static const row rows[] = {
  {"Shape", 1, 1, "start end", NULL},
  {"Gather", 2, 1, "axis", NULL},
  {"Slice", 5, 1, "", NULL},
  {"Concat", 2, 1, "axis", NULL},
  {"Concat", 4, 1, "axis", NULL},
  {"Expand", 2, 1, "", NULL},
  {"Tile", 2, 1, "", NULL},
  {"Range", 3, 1, "", NULL},
  {"ConstantOfShape", 1, 1, "", NULL},
  {"Pad", 2, 1, "", NULL},
  {"Resize", 4, 1, "", NULL},
  {"Reshape", 2, 1, "allowzero", NULL},
  {"Transpose", 1, 1, "", "perm"},
  {"Where", 3, 1, "", NULL},
  {"ScatterND", 3, 1, "", NULL},
  {"ScatterElements", 3, 1, "axis", NULL},
  {"GatherND", 2, 1, "batch_dims", NULL},
  {"GatherElements", 2, 1, "axis", NULL},
  {"NonZero", 1, 1, "", NULL},
  {"Cast", 1, 1, "to", NULL},
  {"Add", 2, 1, "", NULL},
  {"Mul", 2, 1, "", NULL},
  {"Div", 2, 1, "", NULL},
  {"Mod", 2, 1, "fmod", NULL},
  {"Less", 2, 1, "", NULL},
  {"Not", 1, 1, "", NULL},
  {"Pow", 2, 1, "", NULL},
  {"MatMul", 2, 1, "", NULL},
  {"ReduceSum", 2, 1, "keepdims", NULL},
  {"ReduceProd", 2, 1, "keepdims", NULL},
  {"ReduceMax", 2, 1, "keepdims", NULL},
  {"OneHot", 3, 1, "axis", NULL},
  {"CumSum", 2, 1, "exclusive reverse", NULL},
  {"Trilu", 2, 1, "upper", NULL},
  {"EyeLike", 1, 1, "k", NULL},
  {"Split", 2, 2, "axis", NULL},
  {"Squeeze", 2, 1, "", NULL},
  {"Unsqueeze", 2, 1, "", NULL},
  {"Flatten", 1, 1, "axis", NULL},
  {"Softmax", 1, 1, "axis", NULL},
  {"LayerNormalization", 2, 1, "axis", NULL},
  {"DepthToSpace", 1, 1, "blocksize", NULL},
  {"Conv", 2, 1, "group", "pads"},
  {"Conv", 2, 1, "", "strides"},
  {"Size", 1, 1, "", NULL},
  {"Sqrt", 1, 1, "", NULL},
};

enum { MAX_NODE = 40, MAX_VALUE = 128, N_CONST = 8 };

static void constants(vq_strbuf *g, input *in) {
  for (unsigned i = 0; i < N_CONST; i++) {
    int64_t v[8], n = byte(in) % 6;
    char name[8];
    snprintf(name, sizeof name, "v%u", i);
    for (int64_t k = 0; k < n; k++) v[k] = number(in);
    float f[8];
    for (int64_t k = 0; k < n; k++) f[k] = (float)v[k];
    if (i < N_CONST / 2)
      init_i64(g, name, n, v);
    else
      init_f32(g, name, 1, &n, f);
  }
}

static void attributes(vq_strbuf *list, const row *r, input *in) {
  for (const char *p = r->ints; *p;) {
    char name[32];
    size_t n = strcspn(p, " ");
    snprintf(name, sizeof name, "%.*s", (int)n, p);
    p += n + (p[n] == ' ');
    if (byte(in) & 1) at_int(list, name, number(in));
  }
  int64_t v[8];
  unsigned n = r->list ? byte(in) % 6 : 0;
  for (unsigned i = 0; i < n; i++) v[i] = number(in);
  if (n) at_ints(list, r->list, n, v);
}

// Appends one node; returns how many values there are afterwards.
static unsigned add_one(vq_strbuf *g, input *in, unsigned n_value) {
  const row *r = &rows[byte(in) % (sizeof rows / sizeof *rows)];
  char ins[64] = "", outs[32] = "";
  size_t at = 0;
  for (unsigned i = 0; i < r->n_in; i++) {
    uint8_t b = byte(in);
    // Recent values are the interesting ones.
    unsigned v = b < 128 && n_value > N_CONST ? n_value - 1 - b % 4 : b % n_value;
    at += (size_t)snprintf(ins + at, sizeof ins - at, i ? ",v%u" : "v%u", v);
  }
  at = 0;
  for (unsigned i = 0; i < r->n_out; i++)
    at += (size_t)snprintf(outs + at, sizeof outs - at, i ? ",v%u" : "v%u",
                           n_value++);
  vq_strbuf a = {0};
  attributes(&a, r, in);
  add_node(g, r->op, ins, outs, &a);
  return n_value;
}

static vq_strbuf build(input *in) {
  vq_strbuf g = {0};
  char last[16];
  value_info(&g, 11, "x", T_F32, "2,3");
  constants(&g, in);
  unsigned n_value = N_CONST;
  for (unsigned i = 0; i < MAX_NODE && in->p < in->end; i++)
    n_value = add_one(&g, in, n_value);
  snprintf(last, sizeof last, "v%u", n_value - 1);
  add_node(&g, "Identity", last, "y", NULL);
  vq_strbuf y = {0};
  pb_str(&y, 1, "y");
  pb_msg(&g, 12, &y);
  return make_model(&g, 18);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  input in = {data, data + size};
  vq_strbuf model = build(&in);
  vq_ctx *ctx = vq_ctx_create();
  vq_diag diag;
  vq_module *m = NULL;
  vq_pipeline *p = NULL;
  // Large constants are slow to make, so only some inputs may.
  vq_onnx_options opt = {.batch = 1, .max_fold_bytes = size % 16 ? 1 << 16 : 0};
  vq_diag_init(&diag, ctx, NULL, NULL);
  bool ok = !vq_onnx_import_bytes(ctx, model.p, model.n, NULL, &opt, &diag, &m,
                                  NULL);
  if (ok == (diag.n_error > 0)) abort();
  if (ok && vq_pipeline_parse(ctx, VQ_LIT("fold,recompose,cse,dce"), &diag, &p))
    abort();
  vq_instrument verify = {.verify_each = true};
  if (ok && vq_pipeline_run(p, m, &diag, &verify, NULL, NULL)) abort();
  if (p) vq_pipeline_destroy(p);
  if (m) vq_module_destroy(m);
  vq_strbuf_release(&model);
  vq_ctx_destroy(ctx);
  return 0;
}
