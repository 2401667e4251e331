// Making a module small that still shows something, by delta debugging.
//
// A step makes a copy, changes it, removes what is dead and asks whether the copy,
// verified, is still interesting; if so it takes the place of the original. Each kind
// of change works on a list of things (results, ops, constants, facts) and tries all of
// it, then halves, quarters and so on down to single ones, restarting a size where it
// helped. Kinds are gone through until a whole round has found nothing. The order is
// fixed, so the outcome depends on the module and the test only.
//
// Removing ops of @main keeps the rest as a function of its own (vq_keep_only): what
// the rest reads becomes arguments, what was read off it results, so that the part in
// question can be cut out from both sides. What cannot go may still become simpler: an
// op its operand of the same type, or a constant.
#include "vq/build.h"
#include "vq/inspect.h"
#include "vq/pass.h"
#include "vq/rewrite.h"
#include "vq/vec.h"
#include "vq/verify.h"

typedef struct reducer {
  vq_module *m;  // the smallest one so far
  const vq_shrink_test *test;
  vq_diag quiet;
  unsigned n_test;
} reducer;

// A kind of change: how many things there are, and one that drops [from, to) of them.
// Returns false when that is not possible or changes nothing.
typedef struct change {
  size_t (*count)(const vq_module *m);
  bool (*apply)(reducer *r, vq_module *m, size_t from, size_t to);
} change;

static vq_func *main_of(const vq_module *m) { return vq_module_func(m, VQ_LIT("main")); }

static bool run_dce(reducer *r, vq_module *m) {
  vq_pipeline *p;
  if (vq_pipeline_parse(m->ctx, VQ_LIT("dce"), &r->quiet, &p)) return false;
  vq_status s = vq_pipeline_run(p, m, &r->quiet, NULL, NULL, NULL);
  vq_pipeline_destroy(p);
  return s == VQ_OK;
}

// ---- steps ------------------------------------------------------------------

static bool try(reducer *r, const change *c, size_t from, size_t to) {
  vq_module *m = vq_module_clone(r->m);
  bool good = c->apply(r, m, from, to) && run_dce(r, m) && !vq_verify(m, &r->quiet);
  if (good) {
    r->n_test++;
    good = r->test->interesting(r->test->user, m);
  }
  vq_module_destroy(good ? r->m : m);
  if (good) r->m = m;
  return good;
}

// From the end, where what is needed least stands and what reads of others is.
static bool try_all(reducer *r, const change *c) {
  bool found = false;
  for (size_t size = c->count(r->m); size > 0; size /= 2) {
    size_t end = c->count(r->m);
    while (end > 0) {
      size_t from = end > size ? end - size : 0;
      found |= try(r, c, from, end);
      size_t left = c->count(r->m);
      end = from < left ? from : left;
    }
  }
  return found;
}

// ---- results ----------------------------------------------------------------

static size_t count_results(const vq_module *m) { return main_of(m)->n_result; }

static bool drop_results(reducer *r, vq_module *m, size_t from, size_t to) {
  vq_func *f = main_of(m);
  vq_op *last = f->last;
  uint32_t n = 0;
  if (to - from >= f->n_result) return false;
  vq_value **v = VQ_NEW_N(&m->arena, vq_value *, f->n_result);
  vq_str *name = VQ_NEW_N(&m->arena, vq_str, f->n_result);
  for (uint32_t i = 0; i < f->n_result; i++) {
    if (i >= from && i < to) continue;
    v[n] = vq_in(last, i);
    name[n++] = f->result_name[i];
  }
  vq_erase_op(last);
  vq_builder b = {.func = f, .diag = &r->quiet};
  return vq_build_return(&b, n, v, name) == VQ_OK;
}

// ---- ops of @main -----------------------------------------------------------

static size_t count_main(const vq_module *m) {
  size_t n = 0;
  vq_each_op(main_of(m), op) n++;
  return n - 1;  // less return
}

static bool drop_ops(reducer *r, vq_module *m, size_t from, size_t to) {
  vq_op_list keep = {0};
  size_t i = 0;
  vq_each_op(main_of(m), op) {
    if ((i < from || i >= to) && op->code != VQ_OP_return) vq_vec_push(&keep, op);
    i++;
  }
  bool good = keep.n && vq_keep_only(m, &keep, &r->quiet) == VQ_OK;
  vq_op_list_release(&keep);
  return good;
}

// Arguments that nothing reads any more: all at once, by keeping all ops.
static size_t count_unused(const vq_module *m) {
  const vq_func *f = main_of(m);
  size_t n = 0;
  for (uint32_t i = 0; i < f->n_arg; i++) n += f->arg[i].uses == NULL;
  return n;
}

static bool drop_unused(reducer *r, vq_module *m, size_t from, size_t to) {
  return from < to && drop_ops(r, m, SIZE_MAX, SIZE_MAX);
}

// ---- ops of all functions ---------------------------------------------------

static size_t count_ops(const vq_module *m) {
  size_t n = 0;
  vq_each_func(m, f) vq_each_op(f, op) n++;
  return n;
}

static bool bypass_op(vq_op *op) {
  for (uint32_t i = 0; op->n_out == 1 && i < op->n_in; i++)
    if (vq_in(op, i)->type == op->out->type) {
      vq_replace_op(op, vq_in(op, i));
      return true;
    }
  return false;
}

static bool bypass_ops(reducer *r, vq_module *m, size_t from, size_t to) {
  size_t i = 0;
  bool any = false;
  (void)r;
  vq_each_func(m, f) vq_each_op_safe(f, op) {
    if (i >= from && i < to) any |= bypass_op(op);
    i++;
  }
  return any;
}

static bool zero_ops(reducer *r, vq_module *m, size_t from, size_t to) {
  size_t i = 0;
  bool any = false;
  (void)r;
  vq_each_func(m, f) vq_each_op_safe(f, op) {
    if (i < from || i >= to || op->n_out != 1 || !op->out->uses) {
      i++;
      continue;
    }
    vq_const *zero = vq_const_fill(m, VQ_LIT("zero"), op->out->type, 0);
    vq_replace_op(op, &zero->value);
    any = true;
    i++;
  }
  return any;
}

// ---- constants and facts ----------------------------------------------------

static size_t count_consts(const vq_module *m) {
  size_t n = 0;
  vq_each_const(m, c) n++;
  return n;
}

// Data that stand in a side file, made of something that the text can say.
static bool make_consts(vq_module *m, size_t from, size_t to, bool random) {
  enum { FEW = 16 };  // stand in the text
  size_t i = 0;
  bool any = false;
  for (vq_const *c = m->first_const, *next; c && i < to; c = next, i++) {
    next = c->next;
    bool large = c->init == VQ_INIT_BYTES && vq_type_count(c->value.type) > FEW;
    vq_dtype t = c->value.type->dtype;
    bool is_float = t == VQ_f32 || t == VQ_bf16;
    if (i < from || (!large && (random || c->init == VQ_INIT_FILL))) continue;
    if (random && !is_float) continue;
    vq_str name = c->value.name;
    vq_const *k = random ? vq_const_random(m, name, c->value.type, i + 1, 0.1f)
                         : vq_const_fill(m, name, c->value.type, 0);
    vq_replace_all_uses(&c->value, &k->value);
    any = true;
  }
  return any;
}

static bool fill_consts(reducer *r, vq_module *m, size_t from, size_t to) {
  (void)r;
  return make_consts(m, from, to, false);
}

static bool random_consts(reducer *r, vq_module *m, size_t from, size_t to) {
  (void)r;
  return make_consts(m, from, to, true);
}

static size_t count_facts(const vq_module *m) {
  size_t n = 0;
  for (const vq_meta *e = m->meta; e; e = e->next) n++;
  return n;
}

static bool drop_facts(reducer *r, vq_module *m, size_t from, size_t to) {
  (void)r;
  vq_meta **at = &m->meta;
  for (size_t i = 0; i < to && *at; i++) {
    if (i < from)
      at = &(*at)->next;
    else
      *at = (*at)->next;
  }
  return true;
}

// ---- the whole --------------------------------------------------------------

vq_module *vq_shrink(const vq_module *m, const vq_shrink_test *test, unsigned *n_test) {
  static const change kinds[] = {
      {count_main, drop_ops},      {count_results, drop_results},
      {count_unused, drop_unused},
      {count_ops, bypass_ops},     {count_ops, zero_ops},
      {count_consts, fill_consts}, {count_consts, random_consts},
      {count_facts, drop_facts},
  };
  reducer r = {.m = vq_module_clone(m), .test = test};
  vq_diag_init(&r.quiet, m->ctx, NULL, NULL);
  bool found = true;
  while (found) {
    found = false;
    for (size_t i = 0; i < VQ_COUNT(kinds); i++)
      if (kinds[i].count(r.m)) found |= try_all(&r, &kinds[i]);
  }
  *n_test = r.n_test;
  return r.m;
}
