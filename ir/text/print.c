// Printer: names, attributes, ops, functions.
//
// Unnamed values are numbered in program order, arguments first, so that equal
// functions print equally. Attributes at their default are left out.
#include "text/printer.h"

#include "text/lex.h"
#include "vq/strbuf.h"

// ---- names ----------------------------------------------------------------

void vq_print_name(vq_strbuf *out, char sigil, vq_str name) {
  bool number = sigil == '%';
  for (size_t i = 0; i < name.n; i++)
    number &= name.p[i] >= '0' && name.p[i] <= '9';
  if (sigil) vq_strbuf_putc(out, sigil);
  if (vq_lex_is_bare(name) && !number) {
    vq_strbuf_add(out, name.p, name.n);
  } else {
    vq_strbuf_putc(out, '"');
    vq_strbuf_escaped(out, name);
    vq_strbuf_putc(out, '"');
  }
}

static void number_value(vq_numbering *n, vq_value *v) {
  if (v->name.n) return;
  vq_numbered *e = VQ_NEW(&n->arena, vq_numbered);
  *e = (vq_numbered){v, n->by_value.n};
  *vq_map_put(&n->by_value, VQ_MAP_PTR_KEY(e->value)) = e;
}

void vq_numbering_init(vq_numbering *n, const vq_func *f) {
  *n = (vq_numbering){0};
  for (uint32_t i = 0; i < f->n_arg; i++) number_value(n, &f->arg[i]);
  vq_each_op(f, op)
    for (uint32_t i = 0; i < op->n_out; i++) number_value(n, &op->out[i]);
}

void vq_numbering_release(vq_numbering *n) {
  vq_map_release(&n->by_value);
  vq_arena_release(&n->arena);
}

static void put_value(vq_strbuf *out, const vq_value *v,
                      const vq_numbering *n) {
  if (v->kind == VQ_VALUE_CONST) {
    vq_print_name(out, '@', v->name);
  } else if (v->name.n) {
    vq_print_name(out, '%', v->name);
  } else {
    const vq_numbered *e = vq_map_get(&n->by_value, VQ_MAP_PTR_KEY(v));
    vq_strbuf_printf(out, "%%%u", e ? e->number : UINT32_MAX);
  }
}

void vq_print_value(vq_strbuf *out, const vq_value *v) {
  vq_numbering n = {0};
  if (v->kind != VQ_VALUE_CONST && !v->name.n)
    vq_numbering_init(&n, v->kind == VQ_VALUE_ARG ? v->func : v->def->func);
  put_value(out, v, &n);
  vq_numbering_release(&n);
}

// ---- attributes -------------------------------------------------------------

static void put_ints(vq_strbuf *out, vq_ints v) {
  vq_strbuf_putc(out, '[');
  for (uint32_t i = 0; i < v.n; i++)
    vq_strbuf_printf(out, "%s%lld", i ? ", " : "", (long long)v.p[i]);
  vq_strbuf_putc(out, ']');
}

void vq_print_attr(vq_strbuf *out, vq_attr_kind kind, const void *field) {
  switch (kind) {
    case VQ_ATTR_i64:
      vq_strbuf_printf(out, "%lld", (long long)*(const int64_t *)field);
      break;
    case VQ_ATTR_f32:
      vq_strbuf_f32(out, *(const float *)field);
      break;
    case VQ_ATTR_flag:
      vq_strbuf_puts(out, *(const bool *)field ? "true" : "false");
      break;
    case VQ_ATTR_str:
      vq_strbuf_putc(out, '"');
      vq_strbuf_escaped(out, *(const vq_str *)field);
      vq_strbuf_putc(out, '"');
      break;
    case VQ_ATTR_ints:
      put_ints(out, *(const vq_ints *)field);
      break;
    case VQ_ATTR_quant: {
      const vq_quant *q = *(const vq_attr_quant *)field;
      if (q)
        vq_print_name(out, '@', q->name);
      else
        vq_strbuf_puts(out, "none");
      break;
    }
  }
}

// ` {name = value, ...}`, or nothing when all are at their default.
static void put_attrs(vq_strbuf *out, const vq_op *op) {
  const vq_op_desc *d = vq_op_info(op->code);
  const char *attrs = op->attrs, *def = d->attrs_default;
  bool any = false;
  for (unsigned i = 0; i < d->n_attr; i++) {
    const vq_attr_desc *a = &d->attr[i];
    if (op->code == VQ_OP_call && a->offset == offsetof(vq_attrs_call, callee))
      continue;
    if (!a->required &&
        vq_attr_equal(a->kind, attrs + a->offset, def + a->offset))
      continue;
    vq_strbuf_printf(out, "%s%s = ", any ? ", " : " {", a->name);
    vq_print_attr(out, a->kind, attrs + a->offset);
    any = true;
  }
  if (any) vq_strbuf_putc(out, '}');
}

// ---- ops and functions --------------------------------------------------------

static void put_operands(vq_strbuf *out, const vq_op *op,
                         const vq_numbering *n) {
  for (uint32_t i = 0; i < op->n_in; i++) {
    if (i) vq_strbuf_puts(out, ", ");
    put_value(out, vq_in(op, i), n);
  }
}

static void put_op(vq_strbuf *out, const vq_op *op, const vq_numbering *n) {
  for (uint32_t i = 0; i < op->n_out; i++) {
    if (i) vq_strbuf_puts(out, ", ");
    put_value(out, &op->out[i], n);
  }
  if (op->n_out) vq_strbuf_puts(out, " = ");
  vq_strbuf_puts(out, vq_op_info(op->code)->name);
  if (op->code == VQ_OP_call) {
    vq_strbuf_putc(out, ' ');
    vq_print_name(out, '@', VQ_ATTRS(op, call)->callee);
    vq_strbuf_putc(out, '(');
    put_operands(out, op, n);
    vq_strbuf_putc(out, ')');
  } else if (op->n_in) {
    vq_strbuf_putc(out, ' ');
    put_operands(out, op, n);
  }
  put_attrs(out, op);
  for (uint32_t i = 0; i < op->n_out; i++) {
    vq_strbuf_puts(out, i ? ", " : " : ");
    vq_type_print(out, op->out[i].type);
  }
}

void vq_print_op(vq_strbuf *out, const vq_op *op) {
  vq_numbering n;
  vq_numbering_init(&n, op->func);
  put_op(out, op, &n);
  vq_numbering_release(&n);
}

static void put_signature(vq_strbuf *out, const vq_func *f,
                          const vq_numbering *n) {
  vq_strbuf_puts(out, f->kind == VQ_KERNEL ? "kernel " : "func ");
  vq_print_name(out, '@', f->name);
  vq_strbuf_putc(out, '(');
  for (uint32_t i = 0; i < f->n_arg; i++) {
    if (i) vq_strbuf_puts(out, ", ");
    put_value(out, &f->arg[i], n);
    vq_strbuf_puts(out, ": ");
    vq_type_print(out, f->arg[i].type);
  }
  vq_strbuf_puts(out, ") -> (");
  for (uint32_t i = 0; i < f->n_result; i++) {
    if (i) vq_strbuf_puts(out, ", ");
    if (f->result_name[i].n) {
      vq_print_name(out, 0, f->result_name[i]);
      vq_strbuf_puts(out, ": ");
    }
    vq_type_print(out, f->result[i]);
  }
  vq_strbuf_puts(out, ") {\n");
}

void vq_print_func_locs(vq_strbuf *out, const vq_func *f, vq_loc_table *locs) {
  vq_numbering n;
  vq_numbering_init(&n, f);
  put_signature(out, f, &n);
  vq_each_op(f, op) {
    vq_strbuf_puts(out, "  ");
    put_op(out, op, &n);
    if (locs) vq_strbuf_printf(out, " loc(#%u)", vq_loc_number(locs, op->loc));
    vq_strbuf_putc(out, '\n');
  }
  vq_strbuf_puts(out, "}\n");
  vq_numbering_release(&n);
}

void vq_print_func(vq_strbuf *out, const vq_func *f) {
  vq_print_func_locs(out, f, NULL);
}
