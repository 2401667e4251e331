// The built-in passes, expanded from passes.def, and their documentation.
#include "vq/strbuf.h"
#include "vq/verify.h"

#include "passes.h"

// vq_pass_x_desc: the option descriptors of each pass, plus one empty row that
// keeps passes without options legal.
#define PASS(name, fn, needs, gives, kills, help) \
  static const vq_opt_desc fn##_desc[] = {
#define OPT(fn, kind, key, field, def, choices, help) \
  {key, help, VQ_OPT_##kind, offsetof(fn##_opts, field), def, choices},
#define END(fn)                             \
  { NULL, NULL, VQ_OPT_I64, 0, NULL, NULL } \
  }                                         \
  ;
#include "passes.def"
#undef PASS
#undef OPT
#undef END

static const vq_pass passes[] = {
#define PASS(name, fn, needs, gives, kills, help)        \
  {name,  help,  fn,        needs,                       \
   gives, kills, fn##_desc, VQ_COUNT(fn##_desc) - 1,     \
   sizeof(fn##_opts)},
#define OPT(fn, kind, key, field, def, choices, help)
#define END(fn)
#include "passes.def"
#undef PASS
#undef OPT
#undef END
};

const vq_pass *vq_pass_list(unsigned *n) {
  *n = VQ_COUNT(passes);
  return passes;
}

const vq_pass *vq_pass_find(const vq_ctx *ctx, vq_str name) {
  for (unsigned i = 0; i < VQ_COUNT(passes); i++)
    if (vq_str_is(name, passes[i].name)) return &passes[i];
  const vq_pass *p;
  for (unsigned i = 0; (p = vq_plugin_pass_at(ctx, i)); i++)
    if (vq_str_is(name, p->name)) return p;
  return NULL;
}

// ---- documentation ------------------------------------------------------------

static void put_props(vq_strbuf *out, unsigned props) {
  const char *comma = "";
  if (!props) vq_strbuf_puts(out, "-");
  for (unsigned bit = 1; props; props &= ~bit, bit <<= 1)
    if (props & bit) {
      vq_strbuf_printf(out, "%s%s", comma, vq_prop_name(bit));
      comma = ", ";
    }
}

static const char *const kind_name[] = {[VQ_OPT_I64] = "integer",
                                        [VQ_OPT_F64] = "number",
                                        [VQ_OPT_FLAG] = "true or false",
                                        [VQ_OPT_STR] = "text"};

static void put_options(vq_strbuf *out, const vq_pass *p) {
  for (unsigned i = 0; i < p->n_opts; i++) {
    const vq_opt_desc *o = &p->opts[i];
    vq_strbuf_printf(out, "| `%s` | `%s` | ", p->name, o->name);
    if (o->choices)  // a bar would end the table's cell
      for (const char *c = o->choices; *c; c++)
        vq_strbuf_puts(out, *c == '|' ? ", " : (char[]){*c, 0});
    else
      vq_strbuf_puts(out, kind_name[o->kind]);
    vq_strbuf_printf(out, " | `%s` | %s |\n", o->def, o->help);
  }
}

void vq_passes_markdown(vq_strbuf *out) {
  vq_strbuf_puts(out, "| pass | what it does | needs | gives | breaks |\n"
                      "|---|---|---|---|---|\n");
  for (unsigned i = 0; i < VQ_COUNT(passes); i++) {
    const vq_pass *p = &passes[i];
    vq_strbuf_printf(out, "| `%s` | %s | ", p->name, p->help);
    put_props(out, p->needs);
    vq_strbuf_puts(out, " | ");
    put_props(out, p->gives);
    vq_strbuf_puts(out, " | ");
    put_props(out, p->kills);
    vq_strbuf_puts(out, " |\n");
  }
  vq_strbuf_puts(out, "\n| pass | option | value | default | meaning |\n"
                      "|---|---|---|---|---|\n");
  for (unsigned i = 0; i < VQ_COUNT(passes); i++)
    put_options(out, &passes[i]);
}
