// Runs models on given inputs through importer, interpreter and compiler.
//
//   conform [interpreter] [O0] [O1] < FOLDERS
//
// For every folder named by a line of standard input it imports
// FOLDER/model.onnx, takes inputs from FOLDER/in0, in1, ... (elements in the
// IR's storage format, nothing else) and computes the outputs in the stages named:
// in the interpreter, and compiled in process at -O0 and at -O1. They go into
// FOLDER/interpreter0, O00, O10 and so on. What happened is told in lines, so that a caller knows
// even after a crash how far it came:
//
//   case FOLDER
//   refused CODE TEXT        by the importer, or
//   result 0 f32 2,3         type of each output, then
//   done STAGE               or
//   failed STAGE TEXT        and at last
//   end
#include <stdio.h>
#include <stdlib.h>

#include "pipelines.h"
#include "vq/backend.h"
#include "vq/onnx.h"
#include "vq/pass.h"
#include "vq/strbuf.h"

typedef struct trial {
  const char *folder;
  vq_ctx *ctx;
  vq_diag diag;
  vq_code code;  // of the first error
  vq_strbuf text;
  vq_module *m;
  vq_func *f;  // @main
  vq_tensor *in, *out;
} trial;

static void keep_first(void *user, const vq_ctx *ctx, const vq_message *m) {
  trial *t = user;
  (void)ctx;
  if (m->severity != VQ_ERROR || t->text.n) return;
  t->code = m->code;
  vq_strbuf_add(&t->text, m->text.p, m->text.n);
}

static FILE *open_in(const trial *t, const char *name, unsigned i,
                     const char *mode) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s%u", t->folder, name, i);
  return fopen(path, mode);
}

static bool read_input(trial *t, unsigned i) {
  size_t size = (size_t)vq_type_bytes(t->in[i].type);
  FILE *f = open_in(t, "in", i, "rb");
  bool good = f && fread(t->in[i].data, 1, size, f) == size && fgetc(f) == EOF;
  if (f) fclose(f);
  return good;
}

static bool write_outputs(trial *t, const char *stage) {
  for (unsigned i = 0; i < t->f->n_result; i++) {
    size_t size = (size_t)vq_type_bytes(t->out[i].type);
    FILE *f = open_in(t, stage, i, "wb");
    if (!f) return false;
    size_t n = fwrite(t->out[i].data, 1, size, f);
    if (fclose(f) || n != size) return false;
  }
  return true;
}

static vq_tensor *tensors(unsigned n) {
  vq_tensor *t = calloc(n + 1, sizeof *t);
  if (!t) vq_oom(n);
  return t;
}

static vq_tensor tensor(const vq_type *type) {
  size_t size = (size_t)vq_type_bytes(type) + 64;
  vq_tensor t = {type, calloc(1, size)};
  if (!t.data) vq_oom(size);
  return t;
}

static bool load(trial *t) {
  t->f = vq_module_func(t->m, VQ_LIT("main"));
  t->in = tensors(t->f->n_arg);
  t->out = tensors(t->f->n_result);
  for (unsigned i = 0; i < t->f->n_result; i++) {
    const vq_type *type = t->f->result[i];
    t->out[i] = tensor(type);
    printf("result %u %s ", i, vq_dtype_name(type->dtype));
    for (unsigned k = 0; k < type->rank; k++)
      printf("%s%lld", k ? "," : "", (long long)type->dim[k]);
    printf("\n");
  }
  for (unsigned i = 0; i < t->f->n_arg; i++) {
    t->in[i] = tensor(t->f->arg[i].type);
    if (read_input(t, i)) continue;
    printf("failed input in%u does not fit the model\n", i);
    return false;
  }
  return true;
}

static vq_status lower(void *user, vq_module *m, vq_str name, vq_diag *diag) {
  (void)name;
  const char *missing, *text = level_pipeline(user, &missing);
  vq_pipeline *p;
  if (!text || vq_pipeline_parse(m->ctx, vq_str_of(text), diag, &p))
    return VQ_ERR;
  vq_exec *exec = vq_exec_interpreter();
  vq_instrument ins = {.verify_each = true};
  vq_status status = vq_pipeline_run(p, m, diag, &ins, exec, NULL);
  exec->ops->destroy(exec);
  vq_pipeline_destroy(p);
  return status;
}

static void stage(trial *t, const char *name, vq_exec *e) {
  vq_program *p;
  vq_status status = e->ops->prepare(e, t->m, t->f->name, &t->diag, &p);
  if (!status) {
    status = e->ops->run(p, t->in, t->out, 1, &t->diag);
    e->ops->release(p);
  }
  e->ops->destroy(e);
  if (status)
    printf("failed %s %s\n", name, vq_strbuf_z(&t->text));
  else if (write_outputs(t, name))
    printf("done %s\n", name);
  else
    printf("failed %s cannot write the outputs\n", name);
  fflush(stdout);
}

static void run(const char *folder, char **stages) {
  char path[4096];
  trial t = {.folder = folder, .ctx = vq_ctx_create()};
  vq_diag_init(&t.diag, t.ctx, keep_first, &t);
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  printf("case %s\n", folder);
  fflush(stdout);
  vq_onnx_options opt = {.batch = 1};
  if (vq_onnx_import(t.ctx, path, &opt, &t.diag, &t.m, NULL)) {
    printf("refused %s %s\n", vq_code_name(t.code), vq_strbuf_z(&t.text));
  } else if (load(&t)) {
    for (char **s = stages; *s; s++)
      stage(&t, *s, **s == 'O' ? vq_exec_jit(lower, *s + 1, "native")
                               : vq_exec_interpreter());
  }
  for (unsigned i = 0; t.f && i < t.f->n_arg; i++) free(t.in[i].data);
  for (unsigned i = 0; t.f && i < t.f->n_result; i++) free(t.out[i].data);
  free(t.in);
  free(t.out);
  vq_strbuf_release(&t.text);
  vq_module_destroy(t.m);
  vq_ctx_destroy(t.ctx);
  printf("end\n");
  fflush(stdout);
}

int main(int argc, char **argv) {
  char line[2048];
  (void)argc;
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = '\0';
    run(line, argv + 1);
  }
  return 0;
}
