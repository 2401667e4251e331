// What differs between two modules, as text.
//
// Ops of a pair of functions come in the order of the second one; what is gone stands
// where it was. '-' and '+' are ops without a twin; '~' is an op, as it is now, whose
// attributes, result types, operands or constants are others than its twin's, each with
// a line of its own. Operands computed by twins are the same, so one change upstream
// is not repeated downstream.
#include <math.h>

#include "inspect/twins.h"
#include "vq/eval.h"
#include "vq/inspect.h"
#include "vq/strbuf.h"
#include "vq/text.h"
#include "vq/verify.h"

typedef struct differ {
  vq_twins t;
  vq_strbuf *out;
  vq_diff_count n;
  const vq_twin_pair *p;
  bool headed;  // the running function has its heading
} differ;

// ---- one change after the other ---------------------------------------------

static void heading(differ *d) {
  const vq_func *f = d->p->b.f ? d->p->b.f : d->p->a.f;
  if (d->headed) return;
  d->headed = true;
  vq_strbuf_puts(d->out, f->kind == VQ_KERNEL ? "kernel " : "func ");
  vq_print_name(d->out, '@', f->name);
  vq_strbuf_putc(d->out, '\n');
}

static void print_line(differ *d, char mark, const vq_op *op) {
  heading(d);
  vq_strbuf_printf(d->out, "%c   ", mark);
  vq_print_op(d->out, op);
  vq_strbuf_putc(d->out, '\n');
}

// Below an op: what about it differs.
static void detail(differ *d, const char *what) {
  vq_strbuf_printf(d->out, "      %s: ", what);
}

// What codes stand for on both sides.
static void print_quants(vq_strbuf *out, const vq_quant *a, const vq_quant *b) {
  if (a->lo != b->lo || a->hi != b->hi)
    vq_strbuf_printf(out, ", codes %d to %d -> %d to %d", a->lo, a->hi, b->lo, b->hi);
  if (a->n != 1 || b->n != 1) {
    vq_strbuf_puts(out, ", other scales or zeros");
    return;
  }
  vq_strbuf_puts(out, ", scale ");
  vq_strbuf_f32(out, a->scale[0]);
  vq_strbuf_puts(out, " -> ");
  vq_strbuf_f32(out, b->scale[0]);
  vq_strbuf_printf(out, ", zero %d -> %d", a->zero[0], b->zero[0]);
}

static void print_types(differ *d, const char *what, const vq_type *a, const vq_type *b) {
  detail(d, what);
  vq_type_print(d->out, a);
  vq_strbuf_puts(d->out, " -> ");
  vq_type_print(d->out, b);
  if (a->q && b->q && !vq_quant_equal(a->q, b->q)) print_quants(d->out, a->q, b->q);
  vq_strbuf_putc(d->out, '\n');
}

// ---- constants --------------------------------------------------------------

// How far apart the data of two constants of one type are.
static void print_distance(vq_strbuf *out, vq_const *a, vq_const *b) {
  if (!vq_const_bytes(a) || !vq_const_bytes(b)) {
    vq_strbuf_puts(out, ", other data");
    return;
  }
  int64_t n = vq_type_count(a->value.type), n_other = 0;
  double most = 0;
  for (int64_t i = 0; i < n; i++) {
    double x = vq_const_f64(a, i), y = vq_const_f64(b, i), by = fabs(x - y);
    if (x == y || (isnan(x) && isnan(y))) continue;
    n_other++;
    if (!(by <= most)) most = by;
  }
  vq_strbuf_printf(out, ", %lld of %lld elements differ, by at most ", (long long)n_other,
                   (long long)n);
  vq_strbuf_f32(out, (float)most);
}

static void print_consts(differ *d, vq_value *a, vq_value *b) {
  vq_print_value(d->out, a);
  vq_strbuf_puts(d->out, " -> ");
  vq_print_value(d->out, b);
  if (vq_same_type(a->type, b->type)) {
    print_distance(d->out, vq_const_of(a), vq_const_of(b));
  } else {
    vq_strbuf_puts(d->out, ", ");
    vq_type_print(d->out, a->type);
    vq_strbuf_puts(d->out, " -> ");
    vq_type_print(d->out, b->type);
  }
  vq_strbuf_putc(d->out, '\n');
}

// ---- twins ------------------------------------------------------------------

static bool same_operand(differ *d, const vq_op *a, uint32_t i, const vq_op *b, uint32_t k) {
  return vq_twins_same_value(&d->t, d->p, vq_in(a, i), vq_in(b, k));
}

static bool same_operands(differ *d, const vq_op *a, const vq_op *b) {
  if (a->n_in != b->n_in) return false;
  if (vq_has_trait(a, VQ_TRAIT_COMM) && same_operand(d, a, 0, b, 1) &&
      same_operand(d, a, 1, b, 0))
    return true;
  for (uint32_t i = 0; i < a->n_in; i++)
    if (!same_operand(d, a, i, b, i)) return false;
  return true;
}

static void print_operand(differ *d, const vq_op *a, const vq_op *b, uint32_t i) {
  const vq_op_desc *info = vq_op_info(a->code);
  vq_strbuf name = {0};
  if (info->variadic_in)
    vq_strbuf_printf(&name, "operand %u", i);
  else
    vq_strbuf_puts(&name, info->in[i].name);
  detail(d, vq_strbuf_z(&name));
  vq_strbuf_release(&name);
  vq_value *v = vq_in_opt(a, i), *w = vq_in_opt(b, i);
  if (v && w && vq_const_of(v) && vq_const_of(w)) {
    print_consts(d, v, w);
    return;
  }
  if (v) vq_print_value(d->out, v);
  vq_strbuf_puts(d->out, v ? " -> " : "none -> ");
  if (w) vq_print_value(d->out, w);
  vq_strbuf_puts(d->out, w ? "\n" : "none\n");
}

static void print_operands(differ *d, const vq_op *a, const vq_op *b) {
  if (same_operands(d, a, b)) return;
  for (uint32_t i = 0; i < a->n_in || i < b->n_in; i++)
    if (i >= a->n_in || i >= b->n_in || !same_operand(d, a, i, b, i))
      print_operand(d, a, b, i);
}

static bool same_attr(differ *d, const vq_op *a, const vq_op *b, const vq_attr_desc *at) {
  bool is_callee = a->code == VQ_OP_call && at->offset == offsetof(vq_attrs_call, callee);
  if (is_callee && vq_twins_same_callee(&d->t, a, b)) return true;
  if (at->kind == VQ_ATTR_quant) return true;  // the result's type says it
  return vq_attr_equal(at->kind, (const char *)a->attrs + at->offset,
                       (const char *)b->attrs + at->offset);
}

static bool same_types(const vq_op *a, const vq_op *b) {
  for (uint32_t i = 0; i < a->n_out; i++)
    if (!vq_same_type(a->out[i].type, b->out[i].type)) return false;
  return true;
}

static bool same_attrs(differ *d, const vq_op *a, const vq_op *b) {
  const vq_op_desc *info = vq_op_info(a->code);
  for (unsigned i = 0; i < info->n_attr; i++)
    if (!same_attr(d, a, b, &info->attr[i])) return false;
  return true;
}

static void compare_twins(differ *d, const vq_op *a, const vq_op *b) {
  const vq_op_desc *info = vq_op_info(a->code);
  if (same_attrs(d, a, b) && same_types(a, b) && same_operands(d, a, b)) return;
  d->n.changed++;
  print_line(d, '~', b);
  for (unsigned i = 0; i < info->n_attr; i++) {
    const vq_attr_desc *at = &info->attr[i];
    if (same_attr(d, a, b, at)) continue;
    detail(d, at->name);
    vq_print_attr(d->out, at->kind, (const char *)a->attrs + at->offset);
    vq_strbuf_puts(d->out, " -> ");
    vq_print_attr(d->out, at->kind, (const char *)b->attrs + at->offset);
    vq_strbuf_putc(d->out, '\n');
  }
  for (uint32_t i = 0; i < a->n_out; i++)
    if (!vq_same_type(a->out[i].type, b->out[i].type))
      print_types(d, "type", a->out[i].type, b->out[i].type);
  print_operands(d, a, b);
}

// ---- functions and the module -----------------------------------------------

// The interface of a function; names are part of it where callers see them.
static void compare_signature(differ *d) {
  const vq_func *a = d->p->a.f, *b = d->p->b.f;
  bool named = b->kind == VQ_FUNC, same = a->n_arg == b->n_arg && a->n_result == b->n_result;
  for (uint32_t i = 0; same && i < b->n_arg; i++)
    same = vq_same_type(a->arg[i].type, b->arg[i].type) &&
           (!named || vq_str_eq(a->arg[i].name, b->arg[i].name));
  for (uint32_t i = 0; same && i < b->n_result; i++)
    same = vq_same_type(a->result[i], b->result[i]) &&
           (!named || vq_str_eq(a->result_name[i], b->result_name[i]));
  if (same && a->kind == b->kind) return;
  heading(d);
  d->n.changed++;
  const vq_func *both[] = {a, b};
  for (unsigned k = 0; k < 2; k++) {
    vq_strbuf text = {0};
    vq_print_func(&text, both[k]);
    size_t n = (size_t)(strchr(vq_strbuf_z(&text), '\n') - text.p);
    vq_strbuf_printf(d->out, "%s%.*s\n", k ? "   -> " : "~   ", (int)n - 2, text.p);
    vq_strbuf_release(&text);
  }
}

// New ops up to number `end` that were not printed yet.
static uint32_t print_added(differ *d, uint32_t from, uint32_t end) {
  for (; from < end; from++)
    if (!d->p->b.twin[from]) {
      d->n.added++;
      print_line(d, '+', d->p->b.op[from]);
    }
  return from;
}

static void compare_pair(differ *d) {
  const vq_twin_side *a = &d->p->a, *b = &d->p->b;
  uint32_t printed = 0;
  compare_signature(d);
  for (uint32_t i = 0; i < a->n; i++) {
    uint32_t k = a->twin[i];
    if (!k) {
      d->n.removed++;
      print_line(d, '-', a->op[i]);
      continue;
    }
    printed = print_added(d, printed, k - 1);
    compare_twins(d, a->op[i], b->op[k - 1]);
  }
  print_added(d, printed, b->n);
}

static void print_alone(differ *d) {
  const vq_twin_side *s = d->p->a.f ? &d->p->a : &d->p->b;
  unsigned *n = d->p->a.f ? &d->n.removed : &d->n.added;
  vq_strbuf_printf(d->out, "%c %s ", d->p->a.f ? '-' : '+',
                   s->f->kind == VQ_KERNEL ? "kernel" : "func");
  vq_print_name(d->out, '@', s->f->name);
  vq_strbuf_printf(d->out, ", %u ops\n", s->n);
  *n += s->n;
}

static void print_fact(differ *d, vq_str key, vq_str a, vq_str b) {
  d->n.changed++;
  vq_strbuf_puts(d->out, "~ meta \"");
  vq_strbuf_escaped(d->out, key);
  vq_strbuf_puts(d->out, "\": \"");
  vq_strbuf_escaped(d->out, a);
  vq_strbuf_puts(d->out, "\" -> \"");
  vq_strbuf_escaped(d->out, b);
  vq_strbuf_puts(d->out, "\"\n");
}

static const vq_meta *fact(const vq_module *m, vq_str key) {
  for (const vq_meta *e = m->meta; e; e = e->next)
    if (vq_str_eq(e->key, key)) return e;
  return NULL;
}

static void compare_facts(differ *d, const vq_module *a, const vq_module *b) {
  for (const vq_meta *e = a->meta; e; e = e->next) {
    const vq_meta *now = fact(b, e->key);
    vq_str v = now ? now->value : VQ_LIT("");
    if (!now || !vq_str_eq(e->value, v)) print_fact(d, e->key, e->value, v);
  }
  for (const vq_meta *e = b->meta; e; e = e->next)
    if (!fact(a, e->key)) print_fact(d, e->key, VQ_LIT(""), e->value);
  for (unsigned prop = 1; vq_prop_name(prop); prop <<= 1) {
    if (!((a->props ^ b->props) & prop)) continue;
    d->n.changed++;
    vq_strbuf_printf(d->out, "~ %s%s\n", b->props & prop ? "" : "not ", vq_prop_name(prop));
  }
}

vq_diff_count vq_diff(vq_strbuf *out, const vq_module *a, const vq_module *b) {
  differ d = {.out = out};
  compare_facts(&d, a, b);
  vq_twins_find(&d.t, a, b);
  for (unsigned i = 0; i < d.t.n; i++) {
    d.p = &d.t.pair[i];
    d.headed = false;
    if (d.p->a.f && d.p->b.f)
      compare_pair(&d);
    else
      print_alone(&d);
  }
  vq_twins_release(&d.t);
  return d.n;
}
