// Importing a model from memory and evaluating it, or seeing why not.
#ifndef ONNX_CASE_H
#define ONNX_CASE_H

#include <check.h>
#include <math.h>
#include <stdio.h>

#include "onnx_writer.h"
#include "vq/eval.h"
#include "vq/onnx.h"

typedef struct onnx_case {
  vq_ctx *ctx;
  vq_module *m;  // NULL: refused
  vq_strbuf text;
  uint32_t n_error;
  vq_onnx_summary summary;
} onnx_case;

// With VITQC_SEEDS=FOLDER every model tried is also written there, which is
// how the fuzz corpus is made.
static inline void save_seed(const vq_strbuf *model) {
  static int n;
  const char *folder = getenv("VITQC_SEEDS"), *name = "x";
  char path[1024];
  if (!folder || model->n > 4096)
    return;
#ifdef SEED_NAME
  name = SEED_NAME;
#endif
  snprintf(path, sizeof path, "%s/%s-%03d.onnx", folder, name, n++);
  FILE *f = fopen(path, "wb");
  if (f) {
    fwrite(model->p, 1, model->n, f);
    fclose(f);
  }
}

static inline onnx_case try_bytes(const void *p, size_t n, const char *path,
                                  vq_onnx_options opt) {
  onnx_case c = {.ctx = vq_ctx_create()};
  vq_diag diag;
  vq_diag_init(&diag, c.ctx, vq_sink_strbuf, &c.text);
  opt.batch = opt.batch ? opt.batch : 1;
  // A block of its own, so that reading past the end is found out.
  void *copy = malloc(n + !n);
  if (n)
    memcpy(copy, p, n);
  vq_status status = vq_onnx_import_bytes(c.ctx, copy, n, path, &opt, &diag,
                                          &c.m, &c.summary);
  free(copy);
  ck_assert((status == VQ_OK) == (c.m != NULL));
  ck_assert((status == VQ_OK) == (diag.n_error == 0));
  c.n_error = diag.n_error;
  return c;
}

// Releases the model.
static inline onnx_case try_model(vq_strbuf *model, vq_onnx_options opt) {
  save_seed(model);
  onnx_case c = try_bytes(model->p, model->n, NULL, opt);
  vq_strbuf_release(model);
  return c;
}

static inline void end_case(onnx_case *c) {
  if (c->m)
    vq_module_destroy(c->m);
  vq_strbuf_release(&c->text);
  vq_ctx_destroy(c->ctx);
}

// The model must be refused with one error whose text contains `why`.
static inline void expect_refused(vq_strbuf *model, const char *why) {
  onnx_case c = try_model(model, (vq_onnx_options){0});
  ck_assert_msg(!c.m, "accepted, expected: %s", why);
  ck_assert_msg(strstr(vq_strbuf_z(&c.text), why), "found: %s\nexpected: %s",
                vq_strbuf_z(&c.text), why);
  ck_assert_uint_eq(c.n_error, 1);
  end_case(&c);
}

static inline int64_t n_ops(const onnx_case *c) {
  int64_t n = 0;
  vq_each_op(c->m->first_func, op) n++;
  return n - 1;  // without return
}

// Evaluates on `x` (f32) and compares the first result, of any type.
static inline void expect_result(onnx_case *c, const float *x, unsigned rank,
                                 const int64_t *dim, const double *want) {
  ck_assert_msg(c->m, "%s", vq_strbuf_z(&c->text));
  const vq_func *f = c->m->first_func;
  const vq_type *t = f->result[0];
  ck_assert_uint_eq(t->rank, rank);
  for (unsigned k = 0; k < rank; k++)
    ck_assert_int_eq(t->dim[k], dim[k]);
  vq_tensor out[8], in = {f->arg[0].type, (void *)(uintptr_t)x};
  ck_assert_uint_le(f->n_result, 8);
  for (uint32_t i = 0; i < f->n_result; i++) {
    size_t n = (size_t)vq_type_bytes(f->result[i]);
    out[i] = (vq_tensor){f->result[i], calloc(1, n + 1)};
  }
  vq_diag diag;
  vq_diag_init(&diag, c->ctx, NULL, NULL);
  ck_assert(!vq_eval_func(f, &in, out, &diag, NULL, NULL));
  for (int64_t i = 0; i < vq_type_count(t); i++) {
    double y = vq_load_f64(t->dtype, out[0].data, i);
    ck_assert_msg(fabs(y - want[i]) <= 1e-5 * (1 + fabs(want[i])) ||
                      (isnan(y) && isnan(want[i])) || y == want[i],
                  "element %d is %g, expected %g", (int)i, y, want[i]);
  }
  for (uint32_t i = 0; i < f->n_result; i++)
    free(out[i].data);
}

#endif
