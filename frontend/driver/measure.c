// Sizes for people: how big a model is, and numbers with units.
#include <math.h>
#include <stdlib.h>

#include "compile.h"

static void measure_func(const vq_func *f, int64_t *n_op, int64_t *macs) {
  vq_each_op(f, op) {
    if (op->code == VQ_OP_return) continue;
    *macs += vq_op_macs(op);
    if (op->code != VQ_OP_call) {
      ++*n_op;
      continue;
    }
    const vq_func *callee = vq_module_func(f->module, VQ_ATTRS(op, call)->callee);
    if (callee) measure_func(callee, n_op, macs);
  }
}

model_size measure_module(const vq_module *m) {
  model_size s = {.batch = 1};
  const vq_func *f = vq_module_func(m, VQ_LIT("main"));
  if (f) measure_func(f, &s.n_op, &s.macs);
  if (f && f->n_arg && f->arg[0].type->rank) s.batch = f->arg[0].type->dim[0];
  vq_each_const(m, c) {
    if (c->value.type->dtype != VQ_f32) continue;
    s.n_param += vq_type_count(c->value.type);
    s.param_bytes += vq_type_bytes(c->value.type);
  }
  return s;
}

void count_ops(const vq_func *f, int64_t count[VQ_N_OPS]) {
  vq_each_op(f, op) {
    const vq_func *callee =
        op->code == VQ_OP_call
            ? vq_module_func(f->module, VQ_ATTRS(op, call)->callee) : NULL;
    if (callee) count_ops(callee, count);
    else if (op->code != VQ_OP_return) count[op->code]++;
  }
}

static void add_unit(vq_strbuf *out, double n, double base,
                     const char *const *unit) {
  while (n >= base && unit[1]) {
    n /= base;
    unit++;
  }
  int digits = !**unit || n >= 100 ? 0 : n >= 10 ? 1 : 2;
  vq_strbuf_printf(out, "%.*f%s%s", digits, n, **unit ? " " : "", *unit);
}

void add_count(vq_strbuf *out, double n) {
  static const char *const unit[] = {"", "k", "M", "G", "T", NULL};
  add_unit(out, n, 1000, unit);
}

void add_bytes(vq_strbuf *out, double n) {
  static const char *const unit[] = {"B", "KB", "MB", "GB", NULL};
  if (n < 1000)
    vq_strbuf_printf(out, "%.0f B", n);
  else
    add_unit(out, n, 1000, unit);
}

bool read_bytes(const char *text, double *out) {
  static const struct {
    const char *name;
    double bytes;
  } unit[] = {{"B", 1},        {"KB", 1e3},        {"MB", 1e6},       {"GB", 1e9},
              {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
  char *end;
  *out = strtod(text, &end);
  if (end == text || !isfinite(*out) || *out <= 0) return false;
  for (size_t i = 0; i < VQ_COUNT(unit); i++)
    if (strcmp(end, unit[i].name) == 0) {
      *out *= unit[i].bytes;
      return true;
    }
  return false;
}
