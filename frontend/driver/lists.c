// --help, --version and the lists.
#include "driver.h"

#include "completion.h"
#include "vq/backend.h"
#include "vq/op.h"
#include "vq/pass.h"

static void list_pass(vq_strbuf *out, const vq_pass *p) {
  vq_strbuf_printf(out, "%-14s %s\n", p->name, p->help);
  for (unsigned k = 0; k < p->n_opts; k++)
    vq_strbuf_printf(out, "%-14s   %s=%s: %s\n", "", p->opts[k].name, p->opts[k].def,
                     p->opts[k].help);
}

static void list_passes(const driver *d, vq_strbuf *out) {
  unsigned n;
  const vq_pass *p = vq_pass_list(&n);
  for (unsigned i = 0; i < n; i++) list_pass(out, &p[i]);
  for (unsigned i = 0; (p = vq_plugin_pass_at(d->ctx, i)); i++) list_pass(out, p);
}

static void list_ops(vq_strbuf *out) {
  for (unsigned i = 0; i < VQ_N_OPS; i++) {
    const vq_op_desc *op = vq_op_info((vq_opcode)i);
    vq_strbuf_printf(out, "%-14s %s\n", op->name, op->formula);
  }
}

static void list_targets(vq_strbuf *out) {
  unsigned n;
  const vq_target_info *t = vq_target_list(&n);
  for (unsigned i = 0; i < n; i++)
    vq_strbuf_printf(out, "%-18s %s%s\n", t[i].name, t[i].help,
                     vq_target_runs_here(t[i].requires) ? "; runs here" : "");
}

bool do_lists(driver *d) {
  const options *o = &d->opt;
  vq_strbuf out = {0};
  if (opt_given(o, OPT_help) || opt_given(o, OPT_help_hidden))
    options_help(&out, o->command, opt_given(o, OPT_help_hidden));
  else if (opt_given(o, OPT_version))
    vq_strbuf_printf(&out, "vitqc %s (LLVM %s)\n", VITQC_VERSION,
                     vq_backend_version());
  else if (opt_given(o, OPT_print_man))
    options_man(&out);
  else if (opt_given(o, OPT_print_completion))
    completion_bash(&out);
  else if (opt_given(o, OPT_list_passes))
    list_passes(d, &out);
  else if (opt_given(o, OPT_list_ops))
    list_ops(&out);
  else if (opt_given(o, OPT_list_targets))
    list_targets(&out);
  fputs(vq_strbuf_z(&out), d->out);
  bool done = out.n != 0;
  vq_strbuf_release(&out);
  return done;
}
