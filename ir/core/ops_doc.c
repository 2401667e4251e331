// The op table as Markdown, for docs/ops.md.
#include <stdio.h>

#include "vq/op.h"
#include "vq/strbuf.h"

static const char *class_words(unsigned classes) {
  static const char *const words[8] = {
      "none",  "float",         "integer",         "float or integer",
      "bool",  "float or bool", "integer or bool", "any type"};
  return words[classes & 7];
}

static void put_default(vq_strbuf *out, const vq_attr_desc *a,
                        const char *defaults) {
  const void *field = defaults + a->offset;
  vq_ints ints;
  switch (a->kind) {
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
      vq_strbuf_printf(out, "\"%.*s\"", VQ_FMT(*(const vq_str *)field));
      break;
    case VQ_ATTR_quant:
      vq_strbuf_puts(out, "none");
      break;
    case VQ_ATTR_ints:
      ints = *(const vq_ints *)field;
      vq_strbuf_putc(out, '[');
      for (uint32_t i = 0; i < ints.n; i++)
        vq_strbuf_printf(out, "%s%lld", i ? ", " : "", (long long)ints.p[i]);
      vq_strbuf_putc(out, ']');
      break;
  }
}

static void put_operands(vq_strbuf *out, const vq_op_desc *d) {
  static const char *const arity[] = {"", ", optional", ", any number"};
  for (unsigned i = 0; i < d->n_in; i++)
    vq_strbuf_printf(out, "- operand `%s`: %s%s%s\n", d->in[i].name,
                     class_words(d->in[i].classes),
                     d->in[i].classes & VQ_CLASS_BF16 ? " or bf16" : "",
                     arity[d->in[i].arity]);
}

static void put_attrs(vq_strbuf *out, const vq_op_desc *d) {
  static const char *const kinds[] = {"integer", "number", "flag", "string",
                                      "list of integers", "quant entry"};
  for (unsigned i = 0; i < d->n_attr; i++) {
    const vq_attr_desc *a = &d->attr[i];
    vq_strbuf_printf(out, "- attribute `%s`: %s, ", a->name, kinds[a->kind]);
    if (a->required) {
      vq_strbuf_puts(out, "required\n");
      continue;
    }
    vq_strbuf_puts(out, "default `");
    put_default(out, a, d->attrs_default);
    vq_strbuf_puts(out, "`\n");
  }
}

static void put_traits(vq_strbuf *out, unsigned traits) {
  static const struct {
    unsigned bit;
    const char *word;
  } names[] = {{VQ_TRAIT_PURE, "pure"},     {VQ_TRAIT_ELTWISE, "elementwise"},
               {VQ_TRAIT_COMM, "commutes"}, {VQ_TRAIT_VIEW, "view"},
               {VQ_TRAIT_CALL, "call"},     {VQ_TRAIT_TERM, "terminator"},
               {VQ_TRAIT_CODES, "codes"}};
  const char *before = "- ";
  for (size_t i = 0; i < VQ_COUNT(names); i++) {
    if (!(traits & names[i].bit)) continue;
    vq_strbuf_printf(out, "%s%s", before, names[i].word);
    before = ", ";
  }
  vq_strbuf_putc(out, '\n');
}

void vq_ops_markdown(vq_strbuf *out) {
  vq_strbuf_printf(
      out, "# The ops\n\nPrinted from `ir/include/vq/ops.def` by `vqopt "
      "--ops-md`; do not edit. Formulas use\nNumPy broadcasting. How ops are "
      "written is in [ir.md](ir.md).\n");
  for (int i = 0; i < VQ_N_OPS; i++) {
    const vq_op_desc *d = vq_op_info((vq_opcode)i);
    vq_strbuf_printf(out, "\n## %s\n\n    %s\n\n", d->name, d->formula);
    put_operands(out, d);
    put_attrs(out, d);
    put_traits(out, d->traits);
  }
}
