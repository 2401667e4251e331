// Watching a pipeline: dumps to a callback, dumps to a folder, reproducers.
//
// Every dump is valid input: banners are comments. Dumps for reading elide
// large constants; dumps to a folder share one side file, in which constants
// that did not change are stored once.
#include <errno.h>
#include <sys/stat.h>

#include "vq/rewrite.h"

#include "manager.h"

// ---- lists of pass names ------------------------------------------------------

// Takes the next name off a comma-separated list; false at its end.
static bool next_name(vq_str *list, vq_str *name) {
  if (!list->n) return false;
  const char *comma = memchr(list->p, ',', list->n);
  size_t n = comma ? (size_t)(comma - list->p) : list->n;
  *name = (vq_str){list->p, n};
  n += comma != NULL;
  *list = (vq_str){list->p + n, list->n - n};
  return true;
}

static bool list_has(vq_str list, const vq_pass *pass) {
  vq_str name;
  while (next_name(&list, &name))
    if (vq_str_is(name, pass->name)) return true;
  return false;
}

// A misspelt pass would silently print nothing.
static vq_status check_names(vq_watch *w, vq_str list) {
  vq_str name;
  while (next_name(&list, &name))
    if (!vq_pass_find(w->m->ctx, name))
      return vq_pass_unknown(w->diag, (vq_loc){0}, name);
  return VQ_OK;
}

// ---- dumps --------------------------------------------------------------------

static unsigned print_flags(const vq_watch *w) {
  return w->ins->print_locs ? VQ_PRINT_LOCS : 0;
}

static vq_status print_dump(vq_watch *w, const char *when) {
  if (!w->ins->print) return VQ_OK;
  vq_strbuf out = {0};
  vq_strbuf_printf(&out, "// ----- %s %s (%u) -----\n", when,
                   w->pipeline->item[w->at].pass->name, w->at + 1);
  vq_status st =
      vq_print(&out, w->m, print_flags(w) | VQ_PRINT_ELIDE, NULL);
  if (st == VQ_OK) w->ins->print(w->ins->user, vq_strbuf_view(&out));
  vq_strbuf_release(&out);
  return st;
}

// DIR/03-fold.vq, and 00-input.vq before the first pass.
static vq_status save_dump(vq_watch *w, unsigned number, const char *name) {
  vq_strbuf path = {0};
  vq_strbuf_printf(&path, "%s/%02u-%s.vq", w->ins->print_to, number, name);
  vq_status st = vq_save(w->m, vq_strbuf_z(&path), (vq_str){NULL, 0},
                         print_flags(w), w->blobs, w->diag);
  vq_strbuf_release(&path);
  return st;
}

static vq_status open_folder(vq_watch *w) {
  const char *dir = w->ins->print_to;
  if (mkdir(dir, 0777) != 0 && errno != EEXIST)
    return vq_error(w->diag, VQ_E_io,
                    vq_loc_path(w->m->ctx, vq_str_of(dir)),
                    "cannot make this folder: %s", strerror(errno));
  vq_strbuf path = {0};
  vq_strbuf_printf(&path, "%s/weights.vqw", dir);
  w->blobs = vq_blob_open(w->m->ctx, w->diag, vq_strbuf_z(&path),
                          VQ_LIT("weights.vqw"));
  vq_strbuf_release(&path);
  return w->blobs ? save_dump(w, 0, "input") : VQ_ERR;
}

// ---- reproducers --------------------------------------------------------------

vq_status vq_reproducer_save(const vq_module *m, const char *path, vq_str passes,
                             vq_str options, vq_diag *diag) {
  vq_strbuf head = {0};
  vq_strbuf_puts(&head, "// vitqc: --passes='");
  for (size_t i = 0; i < passes.n; i++) {
    char c = passes.p[i];
    if (c == '\'' || c == '\\') vq_strbuf_putc(&head, '\\');
    vq_strbuf_putc(&head, c == '\n' || c == '\r' ? ' ' : c);
  }
  vq_strbuf_printf(&head, "'%s%.*s\n", options.n ? " " : "", VQ_FMT(options));
  vq_status st = vq_save(m, path, vq_strbuf_view(&head), 0, NULL, diag);
  vq_strbuf_release(&head);
  if (st == VQ_OK)
    vq_note(diag, (vq_loc){0}, "to see this again: vitqc --run-reproducer=%s", path);
  return st;
}

static void write_reproducer(vq_watch *w) {
  vq_strbuf item = {0};
  vq_pass_item_print(&item, &w->pipeline->item[w->at]);
  if (vq_reproducer_save(w->before, w->ins->reproducer, vq_strbuf_view(&item),
                         w->ins->reproducer_options, w->diag))
    vq_note(w->diag, (vq_loc){0}, "no reproducer was written");
  vq_strbuf_release(&item);
}

// vq_bug comes here on its way out.
static void on_bug(void *user) {
  write_reproducer(user);
}

static void forget_before(vq_watch *w) {
  if (!w->before) return;
  vq_bug_hook(NULL, NULL);
  vq_module_destroy(w->before);
  w->before = NULL;
}

// ---- events -------------------------------------------------------------------

vq_status vq_watch_open(vq_watch *w) {
  if (check_names(w, w->ins->print_before) ||
      check_names(w, w->ins->print_after))
    return VQ_ERR;
  return w->ins->print_to ? open_folder(w) : VQ_OK;
}

vq_status vq_watch_before(vq_watch *w) {
  const vq_instrument *ins = w->ins;
  const vq_pass *pass = w->pipeline->item[w->at].pass;
  if (ins->reproducer) {
    w->before = vq_module_clone(w->m);
    vq_bug_hook(on_bug, w);
  }
  if (ins->before && ins->before(ins->user, pass, w->m)) return VQ_ERR;
  if (ins->print_before_all || list_has(ins->print_before, pass))
    return print_dump(w, "before");
  return VQ_OK;
}

vq_status vq_watch_after(vq_watch *w, bool changed) {
  const vq_instrument *ins = w->ins;
  const vq_pass *pass = w->pipeline->item[w->at].pass;
  forget_before(w);
  if (ins->print_after_all || list_has(ins->print_after, pass) ||
      (ins->print_changed && changed))
    if (print_dump(w, "after")) return VQ_ERR;
  return w->blobs ? save_dump(w, w->at + 1, pass->name) : VQ_OK;
}

void vq_watch_failed(vq_watch *w) {
  if (w->before) write_reproducer(w);
}

vq_status vq_watch_close(vq_watch *w) {
  forget_before(w);
  return w->blobs ? vq_blob_commit(w->blobs) : VQ_OK;
}
