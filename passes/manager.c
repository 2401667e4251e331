// Runs a pipeline: checks what each pass needs and gives, measures, reports.
//
// The manager, not the pass, keeps the module's properties: `needs` are checked
// before a pass, `kills` are cleared and `gives` set after it, and what is given
// is verified at once, so a wrong claim is found where it was made.
#include <stdlib.h>
#include <time.h>

#include "vq/vec.h"
#include "vq/verify.h"

#include "manager.h"

// ---- statistics ---------------------------------------------------------------

struct vq_stats {
  const char *pass;  // the running one
  VQ_VEC(vq_stat_entry) entry;
};

void vq_stat(vq_pass_ctx *pc, const char *name, int64_t n) {
  struct vq_stats *s = pc->stats;
  if (!s) return;
  for (size_t i = 0; i < s->entry.n; i++) {
    vq_stat_entry *e = &s->entry.p[i];
    if (strcmp(e->pass, s->pass) || strcmp(e->name, name)) continue;
    e->n += n;
    return;
  }
  vq_stat_entry e = {s->pass, name, n};
  vq_vec_push(&s->entry, e);
}

// ---- measuring ----------------------------------------------------------------

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint32_t count_ops(const vq_module *m) {
  uint32_t n = 0;
  vq_each_func(m, f) vq_each_op(f, op) n++;
  return n;
}

// A hash of what the module prints as, less the data of constants, which never
// change under their name.
static uint64_t fingerprint(const vq_module *m) {
  vq_strbuf out = {0};
  vq_each_const(m, c) {
    vq_print_name(&out, '@', c->value.name);
    vq_type_print(&out, c->value.type);
  }
  vq_each_func(m, f) vq_print_func(&out, f);
  uint64_t hash = vq_hash_bytes(m->arena_size, out.p, out.n);
  vq_strbuf_release(&out);
  return hash;
}

// ---- one pass -----------------------------------------------------------------

typedef struct runner {
  vq_watch watch;
  vq_pass_ctx pc;
  vq_arena temp;
  struct vq_stats stats;
  vq_pass_record *record;  // of the running pass
  bool measure;            // somebody asks whether the module changed
} runner;

static const vq_pass *giver_of(unsigned prop) {
  unsigned n;
  const vq_pass *list = vq_pass_list(&n);
  for (unsigned i = 0; i < n; i++)
    if (list[i].gives & prop) return &list[i];
  return NULL;
}

static vq_status check_needs(runner *r, const vq_pass *pass) {
  unsigned missing = pass->needs & ~r->watch.m->props;
  if (!missing) return VQ_OK;
  unsigned prop = missing & -missing;
  vq_status st =
      vq_error(r->pc.diag, VQ_E_property, (vq_loc){0},
               "pass '%s' needs a module that is %s, and this one is not",
               pass->name, vq_prop_name(prop));
  const vq_pass *giver = giver_of(prop);
  if (giver)
    vq_note(r->pc.diag, (vq_loc){0}, "'%s' gives it: run it before '%s'",
            giver->name, pass->name);
  return st;
}

static void check_scratch(const vq_module *m, const vq_pass *pass) {
  vq_each_func(m, f) vq_each_op(f, op)
    if (op->scratch)
      VQ_BUG("pass %s left scratch data on an op %s", pass->name,
             vq_op_info(op->code)->name);
}

// Properties and, on request, everything else.
static vq_status verify_after(runner *r, const vq_pass *pass) {
  vq_module *m = r->watch.m;
  m->props = (m->props & ~pass->kills) | pass->gives;
  vq_status st = VQ_OK;
  for (unsigned rest = pass->gives; rest; rest &= rest - 1)
    if (vq_verify_prop(m, rest & -rest, r->pc.diag)) st = VQ_ERR;
  if (st == VQ_OK && r->watch.ins->verify_each)
    st = vq_verify(m, r->pc.diag);
  if (st == VQ_OK) return VQ_OK;
  vq_note(r->pc.diag, (vq_loc){0}, "found after pass '%s' (%u)", pass->name,
          r->watch.at + 1);
  vq_watch_failed(&r->watch);
  return VQ_ERR;
}

static vq_status run_timed(runner *r, const vq_pass *pass) {
  vq_module *m = r->watch.m;
  uint32_t n_error = r->pc.diag->n_error;
  r->record->ops_before = count_ops(m);
  uint64_t before = r->measure ? fingerprint(m) : 0;
  double start = now();
  vq_status st = pass->run(m, &r->pc);
  r->record->seconds = now() - start;
  r->record->ops_after = count_ops(m);
  r->record->changed = r->measure && fingerprint(m) != before;
  if (st && r->pc.diag->n_error == n_error)
    vq_error(r->pc.diag, VQ_E_pass, (vq_loc){0}, "pass '%s' failed",
             pass->name);
  return st;
}

static vq_status run_one(runner *r, const vq_pass_item *it) {
  const vq_pass *pass = it->pass;
  r->record->pass = pass;
  r->stats.pass = pass->name;
  r->pc.pass = pass;
  r->pc.opts = it->opts;
  if (check_needs(r, pass) || vq_watch_before(&r->watch)) return VQ_ERR;
  vq_status st = run_timed(r, pass);
  vq_arena_reset(&r->temp);
  if (st && r->pc.broken) vq_watch_failed(&r->watch);
  if (st) return VQ_ERR;
  check_scratch(r->watch.m, pass);
  if (verify_after(r, pass)) return VQ_ERR;
  return vq_watch_after(&r->watch, r->record->changed);
}

// ---- the pipeline -------------------------------------------------------------

vq_status vq_pipeline_run(const vq_pipeline *p, vq_module *m, vq_diag *diag,
                          const vq_instrument *ins, vq_exec *exec,
                          vq_pass_report *report) {
  static const vq_instrument quiet;
  runner r = {.measure = ins && (ins->note_changes || ins->print_changed)};
  r.watch = (vq_watch){.ins = ins ? ins : &quiet,
                       .pipeline = p,
                       .m = m,
                       .diag = diag};
  r.pc = (vq_pass_ctx){.ctx = m->ctx, .diag = diag, .temp = &r.temp,
                       .exec = exec, .stats = &r.stats};
  VQ_VEC(vq_pass_record) record = {0};
  vq_status st = vq_watch_open(&r.watch);
  for (unsigned i = 0; st == VQ_OK && i < p->n; i++) {
    vq_vec_push(&record, (vq_pass_record){0});
    r.record = &record.p[i];
    r.watch.at = i;
    st = run_one(&r, &p->item[i]);
  }
  if (vq_watch_close(&r.watch)) st = VQ_ERR;
  vq_arena_release(&r.temp);
  vq_pass_report got = {record.p, (unsigned)record.n, r.stats.entry.p,
                        (unsigned)r.stats.entry.n};
  if (report)
    *report = got;
  else
    vq_pass_report_release(&got);
  return st;
}

void vq_pass_report_release(vq_pass_report *r) {
  free(r->record);
  free(r->stat);
  *r = (vq_pass_report){0};
}
