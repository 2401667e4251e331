// Loading plugins: their tables become passes like the built-in ones.
//
// A plugin may be older or newer than this file. What it describes is copied row by
// row with the sizes that it states, as far as both sides know the fields.
//
// Plugins belong to the context and stay loaded as long as it lives: names and texts
// of their passes are used where they are.
#include <ctype.h>
#include <dlfcn.h>
#include <stdarg.h>
#include <stdlib.h>

#include "plugin/host.h"
#include "plugin/loaded.h"

#include "vq/verify.h"

#include "manager.h"

#define MAX_PASSES 1000
#define MAX_OPTIONS 64

typedef struct loaded {
  void *library;
  vq_plugin plugin;
  const vq_pass **pass;
  struct loaded *next;
} loaded;

// A pass of a plugin; `pass` comes first, so that a vq_pass is one of these.
typedef struct plugin_pass {
  vq_pass pass;
  const vq_plugin *plugin;
  int (*run)(const vq_host *host, vq_call *call);
} plugin_pass;

const vq_plugin *vq_plugin_of(const vq_pass *pass) {
  return ((const plugin_pass *)pass)->plugin;
}

static void unload(void *first) {
  for (loaded *l = first; l; l = l->next) dlclose(l->library);
}

// ---- running ------------------------------------------------------------------

// A plugin cannot say what it breaks, so that is found out.
static void keep_props_that_hold(vq_module *m) {
  vq_diag quiet;
  vq_diag_init(&quiet, m->ctx, NULL, NULL);
  for (unsigned rest = m->props; rest; rest &= rest - 1)
    if (vq_verify_prop(m, rest & -rest, &quiet)) m->props &= ~(rest & -rest);
}

static vq_status run_plugin(vq_module *m, vq_pass_ctx *pc) {
  const plugin_pass *p = (const plugin_pass *)pc->pass;
  vq_call c = {.m = m, .pc = pc};
  uint32_t n_error = pc->diag->n_error;
  int failed = p->run(&vq_plugin_host, &c);
  while (c.prepared) vq_host_release(&c, c.prepared);
  if (failed || pc->diag->n_error > n_error) return VQ_ERR;
  unsigned props = m->props;
  m->props = 0;
  vq_status st = vq_verify(m, pc->diag);
  m->props = props;
  pc->broken = st;
  if (st) return VQ_ERR;
  keep_props_that_hold(m);
  return VQ_OK;
}

// ---- from rows to passes ------------------------------------------------------

typedef struct loader {
  vq_ctx *ctx;
  vq_diag *diag;
  vq_loc loc;
} loader;

static vq_status bad(loader *l, const char *fmt, ...) VQ_PRINTF(2, 3);
static vq_status bad(loader *l, const char *fmt, ...) {
  vq_strbuf text = {0};
  va_list ap;
  va_start(ap, fmt);
  vq_strbuf_vprintf(&text, fmt, ap);
  va_end(ap);
  vq_error(l->diag, VQ_E_plugin, l->loc, "%s", vq_strbuf_z(&text));
  vq_strbuf_release(&text);
  return VQ_ERR;
}

// A row of a plugin's table, `size` bytes there, as far as it is known here.
static void copy_row(void *to, size_t known, const void *table, size_t size, uint32_t i) {
  memset(to, 0, known);
  memcpy(to, (const char *)table + (size_t)i * size, size < known ? size : known);
}

static bool is_name(const char *s) {
  if (!s || !*s) return false;
  for (; *s; s++)
    if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s) && *s != '-')
      return false;
  return true;
}

// An option is stored in a slot of its own, wide enough for every kind.
enum { SLOT = 16 };

static vq_status take_options(loader *l, const vq_plugin *from, const vq_plugin_pass *row,
                              vq_pass *p) {
  static const vq_opt_kind kind[] = {[VQ_OPTION_IS_INT] = VQ_OPT_I64,
                                     [VQ_OPTION_IS_REAL] = VQ_OPT_F64,
                                     [VQ_OPTION_IS_FLAG] = VQ_OPT_FLAG,
                                     [VQ_OPTION_IS_TEXT] = VQ_OPT_STR};
  if (row->n_option > MAX_OPTIONS || (row->n_option && !row->option))
    return bad(l, "pass '%s' has %u options, expected at most %d", row->name,
               row->n_option, MAX_OPTIONS);
  vq_opt_desc *opts = VQ_NEW_N(vq_ctx_arena(l->ctx), vq_opt_desc, row->n_option + 1u);
  for (uint32_t i = 0; i < row->n_option; i++) {
    vq_plugin_option o;
    copy_row(&o, sizeof o, row->option, from->option_size, i);
    if (!is_name(o.name) || !o.help || !o.value || (unsigned)o.kind >= VQ_COUNT(kind))
      return bad(l, "option %u of pass '%s' is not complete: it needs a name of "
                 "[a-z0-9-], help, a kind and a value", i, row->name);
    opts[i] = (vq_opt_desc){o.name, o.help, kind[o.kind], i * SLOT, o.value, o.choices};
    const char *want = vq_pass_option_check(l->ctx, &opts[i], vq_str_of(o.value));
    if (want)
      return bad(l, "option '%s' of pass '%s' is '%s' when not given, expected %s",
                 o.name, row->name, o.value, want);
  }
  p->opts = opts;
  p->n_opts = row->n_option;
  p->opts_size = row->n_option * SLOT;
  return VQ_OK;
}

static vq_status take_pass(loader *l, const vq_plugin *from, uint32_t i, vq_pass **out) {
  vq_plugin_pass row;
  copy_row(&row, sizeof row, from->pass, from->pass_size, i);
  if (!is_name(row.name) || !row.help || !row.run)
    return bad(l, "pass %u of plugin '%s' is not complete: it needs a name of [a-z0-9-], "
               "help and a function", i, from->name);
  if (vq_pass_find(l->ctx, vq_str_of(row.name)))
    return bad(l, "there is a pass '%s' already", row.name);
  plugin_pass *p = VQ_NEW(vq_ctx_arena(l->ctx), plugin_pass);
  *p = (plugin_pass){.pass = {.name = row.name, .help = row.help, .run = run_plugin},
                     .plugin = from, .run = row.run};
  *out = &p->pass;
  return take_options(l, from, &row, &p->pass);
}

// ---- loading ------------------------------------------------------------------

// dlopen looks a name without a slash up in the system's folders.
static void *open_library(const char *path) {
  if (strchr(path, '/')) return dlopen(path, RTLD_NOW | RTLD_LOCAL);
  vq_strbuf here = {0};
  vq_strbuf_printf(&here, "./%s", path);
  void *library = dlopen(vq_strbuf_z(&here), RTLD_NOW | RTLD_LOCAL);
  vq_strbuf_release(&here);
  return library;
}

static vq_status query(loader *l, void *library, vq_plugin *out) {
  vq_plugin_query_fn *ask = (vq_plugin_query_fn *)dlsym(library, "vq_plugin_query");
  if (!ask) return bad(l, "this is no plugin: it does not export vq_plugin_query");
  const vq_plugin *p = ask(VQ_PLUGIN_ABI);
  if (!p) return bad(l, "this plugin does not work with plugin interface %u",
                     VQ_PLUGIN_ABI);
  if (p->abi != VQ_PLUGIN_ABI)
    return bad(l, "this plugin has plugin interface %u, expected %u", p->abi,
               VQ_PLUGIN_ABI);
  copy_row(out, sizeof *out, p, p->size, 0);
  if (p->size < offsetof(vq_plugin, n_pass) + sizeof p->n_pass || !out->name ||
      out->pass_size < offsetof(vq_plugin_pass, n_option) + sizeof(uint32_t) ||
      out->option_size < offsetof(vq_plugin_option, choices) + sizeof(char *) ||
      out->n_pass == 0 || out->n_pass > MAX_PASSES || !out->pass)
    return bad(l, "this plugin's table is not complete");
  return VQ_OK;
}

static vq_status take_all(loader *l, loaded *to) {
  vq_plugin *p = &to->plugin;
  to->pass = VQ_NEW_N(vq_ctx_arena(l->ctx), const vq_pass *, p->n_pass);
  uint32_t n = p->n_pass;
  p->n_pass = 0;  // those that vq_pass_find sees
  for (uint32_t i = 0; i < n; i++) {
    vq_pass *pass = NULL;
    if (take_pass(l, p, i, &pass)) return VQ_ERR;
    to->pass[p->n_pass++] = pass;
  }
  return VQ_OK;
}

vq_status vq_plugin_load(vq_ctx *ctx, const char *path, vq_diag *diag) {
  loader l = {ctx, diag, vq_loc_path(ctx, vq_str_of(path))};
  void *library = open_library(path);
  if (!library) {
    const char *why = dlerror();
    return bad(&l, "cannot load this plugin: %s", why ? why : "unknown reason");
  }
  loaded *to = VQ_NEW(vq_ctx_arena(ctx), loaded);
  to->library = library;
  if (query(&l, library, &to->plugin)) {
    dlclose(library);
    return VQ_ERR;
  }
  to->next = vq_ctx_attached(ctx);
  vq_ctx_attach(ctx, to, unload);
  return take_all(&l, to);
}

const vq_pass *vq_plugin_pass_at(const vq_ctx *ctx, unsigned i) {
  unsigned n = 0;
  for (const loaded *l = vq_ctx_attached(ctx); l; l = l->next) n += l->plugin.n_pass;
  if (i >= n) return NULL;
  i = n - 1 - i;  // the list begins with the last one loaded
  const loaded *l = vq_ctx_attached(ctx);
  for (; i >= l->plugin.n_pass; l = l->next) i -= l->plugin.n_pass;
  return l->pass[l->plugin.n_pass - 1 - i];
}
