// What a plugin may ask and do (vq/plugin.h): reports, walks, and the table itself.
#include <stdarg.h>

#include "plugin/host.h"
#include "plugin/loaded.h"

#include "vq/strbuf.h"

int vq_host_error(vq_call *c, const vq_op *op, const char *fmt, ...) {
  vq_strbuf text = {0};
  va_list ap;
  va_start(ap, fmt);
  vq_strbuf_vprintf(&text, fmt, ap);
  va_end(ap);
  vq_error(c->pc->diag, VQ_E_pass, op ? op->loc : (vq_loc){0}, "plugin '%s': %s",
           vq_plugin_of(c->pc->pass)->name, vq_strbuf_z(&text));
  vq_strbuf_release(&text);
  return 0;
}

// ---- options and reports ------------------------------------------------------

static const void *option(vq_call *c, const char *name, vq_opt_kind kind) {
  const vq_pass *p = c->pc->pass;
  for (uint32_t i = 0; i < p->n_opts; i++)
    if (!strcmp(p->opts[i].name, name) && p->opts[i].kind == kind)
      return (const char *)c->pc->opts + p->opts[i].offset;
  vq_host_error(c, NULL, "pass '%s' has no option '%s' of this kind", p->name, name);
  return NULL;
}

static int64_t option_int(vq_call *c, const char *name) {
  const int64_t *v = option(c, name, VQ_OPT_I64);
  return v ? *v : 0;
}

static double option_real(vq_call *c, const char *name) {
  const double *v = option(c, name, VQ_OPT_F64);
  return v ? *v : 0;
}

static int option_flag(vq_call *c, const char *name) {
  const bool *v = option(c, name, VQ_OPT_FLAG);
  return v ? *v : 0;
}

static vq_text option_text(vq_call *c, const char *name) {
  const vq_str *v = option(c, name, VQ_OPT_STR);
  return v ? (vq_text){v->p, v->n} : (vq_text){"", 0};
}

static void report(vq_call *c, vq_level level, const vq_op *op, const char *text) {
  vq_loc loc = op ? op->loc : (vq_loc){0};
  vq_diag *diag = c->pc->diag;
  switch (level) {
    case VQ_LEVEL_NOTE: vq_note(diag, loc, "%s", text); break;
    case VQ_LEVEL_WARNING: vq_warn(diag, VQ_E_pass, loc, "%s", text); break;
    case VQ_LEVEL_ERROR: vq_error(diag, VQ_E_pass, loc, "%s", text); break;
  }
}

static void count(vq_call *c, const char *name, int64_t n) { vq_stat(c->pc, name, n); }

static void *memory(vq_call *c, size_t bytes) {
  return vq_arena_alloc(c->pc->temp, bytes, 64);
}

// ---- walking ------------------------------------------------------------------

static vq_text text_of(vq_str s) { return (vq_text){s.p, s.n}; }

static vq_func *function(vq_call *c, const char *name) {
  return vq_module_func(c->m, vq_str_of(name));
}

static vq_func *first_function(vq_call *c) { return c->m->first_func; }
static vq_func *next_function(vq_func *f) { return f->next; }
static vq_text function_name(const vq_func *f) { return text_of(f->name); }
static size_t arguments(const vq_func *f) { return f->n_arg; }

static vq_value *argument(vq_func *f, size_t i) {
  return i < f->n_arg ? &f->arg[i] : NULL;
}

static vq_op *first_op(vq_func *f) { return f ? f->first : NULL; }
static vq_op *next_op(vq_op *op) { return op->next; }
static vq_op *previous_op(vq_op *op) { return op->prev; }
static const char *op_name(const vq_op *op) { return vq_op_info(op->code)->name; }
static vq_func *function_of(const vq_op *op) { return op->func; }
static size_t operands(const vq_op *op) { return op->n_in; }

static vq_value *operand(const vq_op *op, size_t i) {
  return i < op->n_in ? vq_in(op, (unsigned)i) : NULL;
}

static size_t results(const vq_op *op) { return op->n_out; }

static vq_value *result(const vq_op *op, size_t i) {
  return i < op->n_out ? &op->out[i] : NULL;
}

static vq_op *definition(const vq_value *v) {
  return v->kind == VQ_VALUE_RESULT ? v->def : NULL;
}

static size_t uses(const vq_value *v) { return vq_use_count(v); }

static vq_op *user(const vq_value *v, size_t i, size_t *operand_index) {
  vq_each_use(v, u) {
    if (i--) continue;
    if (operand_index) *operand_index = u->idx;
    return u->user;
  }
  return NULL;
}

static vq_text value_name(const vq_value *v) { return text_of(v->name); }
static const char *dtype(const vq_value *v) { return vq_dtype_name(v->type->dtype); }
static size_t rank(const vq_value *v) { return v->type->rank; }

static int64_t dim(const vq_value *v, size_t i) {
  return i < v->type->rank ? v->type->dim[i] : 0;
}

static int64_t elements(const vq_value *v) { return vq_type_count(v->type); }
static int is_constant(const vq_value *v) { return v->kind == VQ_VALUE_CONST; }

const vq_host vq_plugin_host = {
    .abi = VQ_PLUGIN_ABI,
    .size = sizeof(vq_host),
    .option_int = option_int,
    .option_real = option_real,
    .option_flag = option_flag,
    .option_text = option_text,
    .report = report,
    .count = count,
    .memory = memory,
    .function = function,
    .first_function = first_function,
    .next_function = next_function,
    .function_name = function_name,
    .arguments = arguments,
    .argument = argument,
    .first_op = first_op,
    .next_op = next_op,
    .previous_op = previous_op,
    .op_name = op_name,
    .function_of = function_of,
    .operands = operands,
    .operand = operand,
    .results = results,
    .result = result,
    .definition = definition,
    .uses = uses,
    .user = user,
    .value_name = value_name,
    .dtype = dtype,
    .rank = rank,
    .dim = dim,
    .elements = elements,
    .is_constant = is_constant,
    .read_constant = vq_host_read_constant,
    .constant = vq_host_constant,
    .get_attr = vq_host_get_attr,
    .set_attr = vq_host_set_attr,
    .build = vq_host_build,
    .set_operand = vq_host_set_operand,
    .replace = vq_host_replace,
    .erase = vq_host_erase,
    .rename = vq_host_rename,
    .prepare = vq_host_prepare,
    .run = vq_host_run,
    .release = vq_host_release,
    .samples = vq_host_samples,
    .sample = vq_host_sample,
};
