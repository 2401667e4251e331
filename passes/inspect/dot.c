// A module as a graph in Graphviz's language.
//
// Each function is a cluster. A node is an op: its name, attributes, results with
// their types, and the constants that it reads, which have no nodes of their own. A
// dashed edge leads from a call to the cluster of its kernel. Labels are quoted
// strings, in which only the backslash and the quote mean something; bytes that are
// not plain ASCII appear as \xHH.
#include "vq/inspect.h"
#include "vq/strbuf.h"
#include "vq/text.h"

typedef struct drawing {
  vq_strbuf *out;
  vq_map number;  // op -> number of its node + 1
  vq_map func;    // function's name -> number of its cluster + 1
  vq_arena arena;
  unsigned n_op, n_func;
} drawing;

static void add_quoted(vq_strbuf *out, vq_str s) {
  for (size_t i = 0; i < s.n; i++) {
    unsigned char c = (unsigned char)s.p[i];
    if (c == '\n')
      vq_strbuf_puts(out, "\\l");
    else if (c < ' ' || c > '~')
      vq_strbuf_printf(out, "\\\\x%02x", c);
    else
      vq_strbuf_printf(out, "%s%c", c == '"' || c == '\\' ? "\\" : "", c);
  }
}

// A label of lines of text.
static void add_label(drawing *d, const vq_strbuf *text) {
  vq_strbuf_puts(d->out, "label=\"");
  add_quoted(d->out, vq_strbuf_view(text));
  vq_strbuf_putc(d->out, '"');
}

static unsigned number(drawing *d, const vq_op *op) {
  return (unsigned)(uintptr_t)vq_map_get(&d->number, VQ_MAP_PTR_KEY(op)) - 1;
}

// ---- labels -----------------------------------------------------------------

static void add_value(vq_strbuf *text, const vq_value *v) {
  vq_print_value(text, v);
  vq_strbuf_puts(text, ": ");
  vq_type_print(text, v->type);
  vq_strbuf_putc(text, '\n');
}

static void add_attrs(vq_strbuf *text, const vq_op *op) {
  const vq_op_desc *info = vq_op_info(op->code);
  const char *attrs = op->attrs, *def = info->attrs_default;
  for (unsigned i = 0; i < info->n_attr; i++) {
    const vq_attr_desc *a = &info->attr[i];
    if (!a->required && vq_attr_equal(a->kind, attrs + a->offset, def + a->offset))
      continue;
    vq_strbuf_printf(text, "%s = ", a->name);
    vq_print_attr(text, a->kind, attrs + a->offset);
    vq_strbuf_putc(text, '\n');
  }
}

static void add_op(drawing *d, const vq_op *op) {
  vq_strbuf text = {0};
  vq_strbuf_printf(&text, "%s\n", vq_op_info(op->code)->name);
  add_attrs(&text, op);
  for (uint32_t i = 0; i < op->n_out; i++) add_value(&text, &op->out[i]);
  for (uint32_t i = 0; i < op->n_in; i++)
    if (vq_const_of(vq_in(op, i))) add_value(&text, vq_in(op, i));
  vq_strbuf_printf(d->out, "    n%u [", number(d, op));
  add_label(d, &text);
  vq_strbuf_puts(d->out, "];\n");
  vq_strbuf_release(&text);
}

// ---- functions --------------------------------------------------------------

static void count(drawing *d, const vq_func *f) {
  *vq_map_put(&d->func, f->name) = (void *)(uintptr_t)++d->n_func;
  vq_each_op(f, op) {
    const vq_op **key = VQ_NEW(&d->arena, const vq_op *);
    *key = op;
    *vq_map_put(&d->number, VQ_MAP_PTR_KEY(*key)) = (void *)(uintptr_t)++d->n_op;
  }
}

static unsigned cluster(const drawing *d, vq_str func) {
  return (unsigned)(uintptr_t)vq_map_get(&d->func, func) - 1;
}

static void add_arg(drawing *d, const vq_func *f, uint32_t i) {
  vq_strbuf text = {0};
  add_value(&text, &f->arg[i]);
  vq_strbuf_printf(d->out, "    a%u_%u [shape=ellipse, ", cluster(d, f->name), i);
  add_label(d, &text);
  vq_strbuf_puts(d->out, "];\n");
  vq_strbuf_release(&text);
}

static void add_edges(drawing *d, const vq_op *op) {
  for (uint32_t i = 0; i < op->n_in; i++) {
    const vq_value *v = vq_in(op, i);
    switch (v->kind) {
      case VQ_VALUE_CONST: break;
      case VQ_VALUE_ARG:
        vq_strbuf_printf(d->out, "    a%u_%u -> n%u;\n", cluster(d, v->func->name), v->idx,
                         number(d, op));
        break;
      case VQ_VALUE_RESULT:
        vq_strbuf_printf(d->out, "    n%u -> n%u;\n", number(d, v->def), number(d, op));
        break;
    }
  }
}

static void add_func(drawing *d, const vq_func *f) {
  vq_strbuf text = {0};
  vq_strbuf_printf(&text, "%s ", f->kind == VQ_KERNEL ? "kernel" : "func");
  vq_print_name(&text, '@', f->name);
  vq_strbuf_printf(d->out, "  subgraph cluster_%u {\n    ", cluster(d, f->name));
  add_label(d, &text);
  vq_strbuf_puts(d->out, ";\n");
  for (uint32_t i = 0; i < f->n_arg; i++) add_arg(d, f, i);
  vq_each_op(f, op) add_op(d, op);
  vq_each_op(f, op) add_edges(d, op);
  vq_strbuf_puts(d->out, "  }\n");
  vq_strbuf_release(&text);
}

static void add_calls(drawing *d, const vq_func *f) {
  vq_each_op(f, op) {
    const vq_func *to = op->code == VQ_OP_call
                            ? vq_module_func(f->module, VQ_ATTRS(op, call)->callee)
                            : NULL;
    if (to && to->first)
      vq_strbuf_printf(d->out, "  n%u -> n%u [style=dashed, lhead=cluster_%u];\n",
                       number(d, op), number(d, to->first), cluster(d, to->name));
  }
}

void vq_dot(vq_strbuf *out, const vq_module *m) {
  drawing d = {.out = out};
  vq_strbuf_puts(out, "digraph \"");
  add_quoted(out, m->name);
  vq_strbuf_puts(out, "\" {\n  compound=true;\n"
                 "  node [shape=box, fontname=\"monospace\", fontsize=10];\n");
  vq_each_func(m, f) count(&d, f);
  vq_each_func(m, f) add_func(&d, f);
  vq_each_func(m, f) add_calls(&d, f);
  vq_strbuf_puts(out, "}\n");
  vq_map_release(&d.number);
  vq_map_release(&d.func);
  vq_arena_release(&d.arena);
}
