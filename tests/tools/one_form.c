// one_form: recorded models must recompose completely, to one form per network,
// and keep computing what was recorded.
//
// usage: one_form [FOLDER [PART_OF_NAME]]     (VITQC_DATA/fixtures without)
//
// For every FOLDER/NAME.onnx, at batch 1 and 3 (1 only, where the model fixes
// its batch): import, recompose, and
//   - nothing may be left over;
//   - the interpreter must give NAME.out.npy for NAME.in.npy, within 1e-4 of
//     the largest value (the first output; recorded samples repeat as needed);
//   - models of one network (see network_of) must have one structural hash and
//     weights equal to 1e-6 of the largest.
// NAME.open beside a model: it is expected to leave something over.
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../unit/npy.h"
#include "vq/eval.h"
#include "vq/onnx.h"
#include "vq/pass.h"
#include "vq/recompose.h"
#include "vq/strbuf.h"
#include "vq/vec.h"

typedef VQ_VEC(double) numbers;

// The first model of a network: what the others must equal.
typedef struct network {
  char name[128];
  int64_t batch;
  uint64_t hash;
  numbers weights;
} network;

typedef struct state {
  VQ_VEC(network) known;
  unsigned n_model, n_bad;
} state;

typedef struct job {
  const char *path;  // without .onnx
  const char *name;
  int64_t batch;
  vq_strbuf said;
  bool may_leave, baked;
  unsigned n_left;
} job;

static void complain(job *j, const char *fmt, ...) VQ_PRINTF(2, 3);

static void complain(job *j, const char *fmt, ...) {
  char text[512];
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  vq_strbuf_printf(&j->said, "  %s\n", text);
}

// One network in one codebase: the name up to what tells spellings apart. The
// ViT fixtures share weights over codebases.
static void network_of(const char *name, char *out, size_t size) {
  static const char *const ends[] = {"__",    "_ts",    "_dy",
                                     "_sdpa", "_eager", "_manual"};
  snprintf(out, size, "%s", name);
  for (unsigned i = 0; i < VQ_COUNT(ends); i++) {
    char *p = strstr(out, ends[i]);
    if (p) *p = 0;
  }
  if (!strstr(name, "__") && !strncmp(out, "vit_", 4)) out[3] = 0;
}

static bool recompose(vq_module *m, vq_diag *diag) {
  vq_pipeline *p = NULL;
  vq_instrument ins = {.verify_each = true};
  vq_str passes = VQ_LIT("fold,recompose,cse,dce");
  bool ok = vq_pipeline_parse(m->ctx, passes, diag, &p) == VQ_OK &&
            vq_pipeline_run(p, m, diag, &ins, NULL, NULL) == VQ_OK;
  vq_pipeline_destroy(p);
  return ok;
}

static void name_leftover(void *user, const vq_op *op, const char *construct) {
  job *j = user;
  vq_loc_info at = vq_loc_decode(op->func->module->ctx, op->loc);
  j->n_left++;
  if (!j->may_leave)
    complain(j, "left over: %s (%s) at #%llu %.*s", vq_op_info(op->code)->name,
             construct, (unsigned long long)at.a, VQ_FMT(at.name));
}

// The weights that `op` depends on, operands first: the order of the hash.
// Independent ops may stand in any order.
static void collect(vq_op *op, numbers *out) {
  if (op->scratch) return;
  op->scratch = op;
  for (unsigned i = 0; i < op->n_in; i++)
    if (vq_in(op, i)->kind == VQ_VALUE_RESULT) collect(vq_in(op, i)->def, out);
  if (op->code != VQ_OP_linear && op->code != VQ_OP_layer_norm &&
      op->code != VQ_OP_patch_embed)
    return;
  for (unsigned i = 1; i < op->n_in; i++) {
    vq_const *c = vq_const_of(vq_in(op, i));
    for (int64_t k = 0; c && k < vq_type_count(c->value.type); k++)
      vq_vec_push(out, vq_const_f64(c, k));
  }
}

static double farthest(const numbers *a, const numbers *b) {
  double most = 0, top = 1;
  for (size_t i = 0; i < a->n; i++) {
    most = fmax(most, fabs(a->p[i] - b->p[i]));
    top = fmax(top, fabs(a->p[i]));
  }
  return most / top;
}

static void check_network(state *s, job *j, const vq_module *m) {
  network k = {.batch = j->batch, .hash = vq_module_hash(m, false)};
  network_of(j->name, k.name, sizeof k.name);
  vq_func *f = vq_module_func(m, VQ_LIT("main"));
  vq_each_op(f, op) op->scratch = NULL;
  collect(f->last, &k.weights);
  vq_each_op(f, op) op->scratch = NULL;
  for (size_t i = 0; i < s->known.n; i++) {
    const network *first = &s->known.p[i];
    if (strcmp(first->name, k.name) || first->batch != k.batch) continue;
    if (first->hash != k.hash || first->weights.n != k.weights.n)
      complain(j, "another form than the first %s", k.name);
    else if (farthest(&first->weights, &k.weights) > 1e-6)
      complain(j, "weights differ by %g", farthest(&first->weights, &k.weights));
    vq_vec_release(&k.weights);
    return;
  }
  vq_vec_push(&s->known, k);
}

// `count` elements from the recorded ones, which repeat.
static float *repeat(const npy *a, int64_t count) {
  float *x = malloc((size_t)count * sizeof *x);
  for (int64_t i = 0; x && i < count; i++) x[i] = a->data[i % a->n];
  return x;
}

static void check_output(job *j, const vq_module *m, vq_diag *diag) {
  char path[4096];
  npy in = {0}, want = {0};
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  snprintf(path, sizeof path, "%s.in.npy", j->path);
  bool ok = npy_read(path, &in);
  snprintf(path, sizeof path, "%s.out.npy", j->path);
  if (!ok || !npy_read(path, &want) || f->n_arg != 1) {
    complain(j, "no recorded input and output for one argument");
    return;
  }
  vq_tensor out[16] = {{0}};
  vq_tensor arg = {f->arg[0].type, repeat(&in, vq_type_count(f->arg[0].type))};
  for (unsigned i = 0; i < f->n_result && i < 16; i++)
    out[i] = (vq_tensor){f->result[i],
                         malloc((size_t)vq_type_bytes(f->result[i]) + 1)};
  double most = 0, top = 1e-30;
  if (f->n_result <= 16 && !vq_eval_func(f, &arg, out, diag, NULL, NULL)) {
    const float *got = out[0].data;
    for (int64_t i = 0; i < vq_type_count(f->result[0]); i++) {
      double w = want.data[i % want.n], d = fabs(got[i] - w);
      most = d <= most ? most : d;  // a NaN stays
      top = fmax(top, fabs(w));
    }
    if (!(most / top < 1e-4)) complain(j, "output differs by %g", most / top);
  }
  for (unsigned i = 0; i < 16; i++) free(out[i].data);
  free(arg.data);
  free(in.data);
  free(want.data);
}

static void run_job(state *s, job *j) {
  vq_ctx *ctx = vq_ctx_create();
  vq_diag diag;
  vq_module *m = NULL;
  char path[4096];
  vq_onnx_options opt = {.batch = j->batch};
  vq_onnx_summary summary = {0};
  vq_diag_init(&diag, ctx, vq_sink_strbuf, &j->said);
  snprintf(path, sizeof path, "%s.onnx", j->path);
  if (vq_onnx_import(ctx, path, &opt, &diag, &m, &summary) == VQ_OK) {
    // A model with a batch of its own warns when asked for another one.
    j->baked = summary.batch_baked;
    if (diag.n_error == 0) vq_strbuf_clear(&j->said);
    j->batch = summary.batch;
    if (recompose(m, &diag)) {
      vq_recompose_leftovers(m, name_leftover, j);
      check_output(j, m, &diag);
      check_network(s, j, m);
    }
  }
  if (m) vq_module_destroy(m);
  vq_ctx_destroy(ctx);
}

static void run_model(state *s, const char *folder, const char *name) {
  char path[4000], open_mark[4096];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  snprintf(open_mark, sizeof open_mark, "%s.open", path);
  bool good = true, baked = false;
  unsigned n_left = 0;
  for (int64_t batch = 1; batch <= 3 && !baked; batch += 2) {
    job j = {.path = path, .name = name, .batch = batch};
    j.may_leave = access(open_mark, F_OK) == 0;
    run_job(s, &j);
    baked = j.baked;
    n_left = j.n_left;
    if (j.may_leave && n_left == 0) complain(&j, "nothing is left over");
    if (j.said.n)
      printf("%s, batch %lld:\n%s", name, (long long)j.batch,
             vq_strbuf_z(&j.said));
    good &= j.said.n == 0;
    vq_strbuf_release(&j.said);
  }
  printf("%-40s %s", name, good ? "good" : "FAILED");
  if (n_left) printf(", %u left over", n_left);
  putchar('\n');
  fflush(stdout);
  s->n_model++;
  s->n_bad += !good;
}

static int by_name(const struct dirent **a, const struct dirent **b) {
  return strcmp((*a)->d_name, (*b)->d_name);
}

int main(int argc, char **argv) {
  enum { SKIPPED = 77 };
  struct dirent **entry = NULL;
  state s = {0};
  char folder[2048];
  const char *data = getenv("VITQC_DATA");
  snprintf(folder, sizeof folder, "%s%s", argc > 1 ? argv[1] : data ? data : "",
           argc > 1 ? "" : "/fixtures");
  int n = scandir(folder, &entry, NULL, by_name);
  for (int i = 0; i < n; i++) {
    char *dot = strrchr(entry[i]->d_name, '.');
    bool model = dot && strcmp(dot, ".onnx") == 0;
    if (model && (argc < 3 || strstr(entry[i]->d_name, argv[2]))) {
      *dot = 0;
      run_model(&s, folder, entry[i]->d_name);
    }
    free(entry[i]);
  }
  free(entry);
  for (size_t i = 0; i < s.known.n; i++) vq_vec_release(&s.known.p[i].weights);
  vq_vec_release(&s.known);
  if (s.n_model == 0) {
    printf("skipped: no models in %s; VITQC_DATA names no folder with fixtures/\n",
           folder);
    return SKIPPED;
  }
  printf("%u of %u models recompose to the form of their network\n",
         s.n_model - s.n_bad, s.n_model);
  return s.n_bad != 0;
}
