// Which weights can do with 4 bits.
//
// Every group of layers with one role in one block is measured by itself with the widths
// that --bits gives and with weights of 4 bits (vq_measure). Groups are lowered in the
// order of the noise that this adds, as a share of what they compute, for each byte that
// it saves. A size is reached by as many as it takes. An SQNR of the model's results is
// not a sum of these shares, so it is measured: by bisection, since the more groups are
// lowered the worse it gets, nearly always.
#include "mixed.h"

#include <math.h>
#include <stdlib.h>

#include "compile.h"
#include "recipe.h"
#include "vq/bits.h"
#include "vq/measure.h"
#include "vq/pass.h"
#include "vq/rewrite.h"

enum { LOW = 4, MOST_SAMPLES = 8 };

typedef struct group {
  vq_role role;
  int64_t block;
  double noise, bytes;  // that lowering it adds and saves
} group;

typedef struct chooser {
  driver *d;
  vq_exec *exec;
  vq_module *base;  // in front of insert-quantizers
  const char *bits;  // as given
  bool by_size;
  double target;  // bytes or dB
  group *group;   // in order of lowering
  unsigned n;
  double bytes;   // of all weights as given
  vq_arena arena;
} chooser;

// Where the target was given: in a recipe or on the command line.
static vq_loc target_loc(const driver *d) {
  vq_str text = vq_str_of(opt_text(&d->opt, OPT_mixed));
  vq_loc loc = vq_loc_text(d->ctx, VQ_LIT("mixed"), 1, 1, text), at = recipe_place(d, loc);
  return at.id == loc.id ? at_path(d, "vitqc") : at;
}

static vq_status read_target(chooser *s) {
  const char *text = opt_text(&s->d->opt, OPT_mixed);
  char *end = NULL;
  s->by_size = strncmp(text, "size<=", 6) == 0;
  if (s->by_size && read_bytes(text + 6, &s->target)) return VQ_OK;
  if (strncmp(text, "sqnr>=", 6) == 0) s->target = strtod(text + 6, &end);
  if (end && end > text + 6 && isfinite(s->target) && s->target > 0 && !strcmp(end, "dB"))
    return VQ_OK;
  return vq_error(&s->d->diag, VQ_E_option, target_loc(s->d),
                  "--mixed is '%s', expected size<=N with B, KB, MB, GB, KiB, MiB or GiB, "
                  "or sqnr>=NdB", text);
}

// ---- trials -------------------------------------------------------------------------

static vq_status run(chooser *s, const vq_pipeline *p, vq_module *m) {
  return vq_pipeline_run(p, m, &s->d->diag, NULL, s->exec, NULL);
}

// The passes of the level from `first` (NULL: the beginning) up to `last`, not included.
static vq_status part(chooser *s, const char *first, const char *last, vq_pipeline **out) {
  if (make_pipeline(s->d, out)) return VQ_ERR;
  unsigned n = vq_pipeline_length(*out), from = first ? n : 0, to = n;
  for (unsigned i = n; i-- > 0;) {
    const char *name = vq_pipeline_pass(*out, i)->name;
    if (first && strcmp(name, first) == 0) from = i;
    if (strcmp(name, last) == 0) to = i;
  }
  if (from < n && to < n && from <= to) {
    vq_pipeline_trim(*out, from, to);
    return VQ_OK;
  }
  return vq_error(&s->d->diag, VQ_E_option, at_path(s->d, "vitqc"),
                  "--mixed needs all passes of -O2 up to compensate-weights");
}

static vq_status run_part(chooser *s, const char *first, const char *last, vq_module *m) {
  vq_pipeline *p = NULL;
  vq_status st = part(s, first, last, &p);
  if (!st) st = run(s, p, m);
  if (p) vq_pipeline_destroy(p);
  return st;
}

static const char *with_lowered(chooser *s, unsigned n) {
  vq_strbuf text = {0};
  vq_strbuf_puts(&text, s->bits);
  for (unsigned i = 0; i < n; i++) {
    vq_strbuf_printf(&text, ",%s", vq_role_name(s->group[i].role));
    if (s->group[i].block >= 0)
      vq_strbuf_printf(&text, "+block:%lld", (long long)s->group[i].block);
    vq_strbuf_printf(&text, "=w%d", LOW);
  }
  const char *z = vq_arena_str(&s->d->arena, vq_strbuf_view(&text)).p;
  vq_strbuf_release(&text);
  return z;
}

// The model with the first `n` groups lowered.
static vq_status try_groups(chooser *s, unsigned n, vq_measures *out) {
  s->d->opt.value[OPT_bits] = with_lowered(s, n);
  vq_module *before = vq_module_clone(s->base), *after = NULL;
  vq_pipeline *round = NULL;
  vq_status st = run_part(s, "insert-quantizers", "compensate-weights", before);
  if (!st)
    st = vq_pipeline_parse(s->d->ctx, VQ_LIT("round-weights"), &s->d->diag, &round);
  if (!st) {
    after = vq_module_clone(before);
    st = run(s, round, after);
  }
  vq_measured_model of = {s->base, before, after};
  if (!st)
    st = vq_measure(&of, s->exec, MOST_SAMPLES, &s->arena, &s->d->diag, out);
  if (round) vq_pipeline_destroy(round);
  if (after) vq_module_destroy(after);
  vq_module_destroy(before);
  return st;
}

// ---- order --------------------------------------------------------------------------

static group *group_of(chooser *s, const vq_layer *l) {
  for (unsigned i = 0; i < s->n; i++)
    if (s->group[i].role == l->role && s->group[i].block == l->block) return &s->group[i];
  s->group[s->n] = (group){l->role, l->block, 0, 0};
  return &s->group[s->n++];
}

static bool is_candidate(const vq_measured *l) {
  return vq_role_has_weights(l->layer.role) && l->weights.bits > LOW;
}

static double share(double sqnr) { return pow(10, -sqnr / 10); }

static int by_cost(const void *a, const void *b) {
  const group *x = a, *y = b;
  double l = x->noise * y->bytes, r = y->noise * x->bytes;
  if (l != r) return l < r ? -1 : 1;
  if (x->block != y->block) return x->block < y->block ? -1 : 1;
  return (int)x->role - (int)y->role;
}

static vq_status order_groups(chooser *s, vq_measures *given) {
  vq_measures low;
  if (try_groups(s, 0, given)) return VQ_ERR;
  s->group = VQ_NEW_N(&s->arena, group, given->n + 1);
  for (unsigned i = 0; i < given->n; i++) {
    const vq_measured *l = &given->layer[i];
    s->bytes += (double)l->params * (l->weights.bits ? l->weights.bits : VQ_BITS_FLOAT) / 8;
    if (is_candidate(l)) group_of(s, &l->layer);
  }
  if (try_groups(s, s->n, &low)) return VQ_ERR;
  for (unsigned i = 0; i < given->n; i++) {
    const vq_measured *l = &given->layer[i];
    if (!is_candidate(l)) continue;
    group *g = group_of(s, &l->layer);
    g->noise += fmax(share(low.layer[i].sqnr_alone) - share(l->sqnr_alone), 0);
    g->bytes += (double)(l->params * (l->weights.bits - LOW)) / 8;
  }
  qsort(s->group, s->n, sizeof *s->group, by_cost);
  return VQ_OK;
}

// ---- choosing -----------------------------------------------------------------------

static vq_status for_size(chooser *s, unsigned *out) {
  double bytes = s->bytes;
  for (*out = 0; *out < s->n && bytes > s->target; ++*out) bytes -= s->group[*out].bytes;
  if (bytes <= s->target) return VQ_OK;
  return vq_error(&s->d->diag, VQ_E_option, target_loc(s->d),
                  "--mixed: weights of %d bits still take %.0f bytes, more than %.0f", LOW,
                  bytes, s->target);
}

static vq_status for_sqnr(chooser *s, double given, unsigned *out) {
  unsigned good = 0, bad = s->n + 1;
  if (given < s->target)
    return vq_error(&s->d->diag, VQ_E_option, target_loc(s->d),
                    "--mixed: with --bits=%s the SQNR of the results is %.1f dB, less than "
                    "%.1f dB", s->bits, given, s->target);
  while (good + 1 < bad) {
    unsigned mid = good + (bad - good) / 2;
    vq_measures got;
    if (try_groups(s, mid, &got)) return VQ_ERR;
    if (vq_sums_sqnr(&got.result.all) >= s->target)
      good = mid;
    else
      bad = mid;
  }
  *out = good;
  return VQ_OK;
}

vq_status mixed_choose(driver *d, const vq_module *m, vq_exec *exec) {
  chooser s = {.d = d, .exec = exec, .bits = opt_text(&d->opt, OPT_bits)};
  vq_measures given;
  unsigned n = 0;
  if (read_target(&s)) return VQ_ERR;
  s.base = vq_module_clone(m);
  vq_status st = run_part(&s, NULL, "insert-quantizers", s.base);
  if (!st) st = order_groups(&s, &given);
  if (!st) st = s.by_size ? for_size(&s, &n) : for_sqnr(&s, vq_sums_sqnr(&given.result.all), &n);
  if (!st) d->opt.value[OPT_bits] = with_lowered(&s, n);
  if (!st && opt_given(&d->opt, OPT_verbose))
    fprintf(d->log, "mixed: weights of %d bits in %u of %u groups of layers\n", LOW, n, s.n);
  vq_module_destroy(s.base);
  vq_arena_release(&s.arena);
  return st;
}
