// What quantization does to each layer.
//
// The three models are made of two that are given: the float one by dropping the
// quantizers of `before`, so that it returns what layers read and compute; the quantized
// one is `after`; and a function that computes every layer of `after` from arguments, in
// which the float model's values are put. Both have the same ops in the same
// order, only constants differ, so values of one number are the same value.
//
// A first sweep over the samples finds ranges, a second one counts and compares. Codes of
// probabilities are no part of it: fake_quants do not stand for them.
#include "vq/measure.h"

#include <math.h>
#include <stdlib.h>

#include "quant/places.h"
#include "vq/vec.h"

typedef VQ_VEC(vq_value *) values;

typedef struct item {
  vq_op *before, *after;  // linear, patch_embed or attention; a fake_quant: residual
  unsigned in, out, result;  // numbers: input that is looked at, float and quantized result
  unsigned alone;            // of the layer by itself
  const vq_op *fq;           // of that input; NULL: floats
} item;

typedef struct model {
  vq_module *m;
  vq_program *program;
  vq_tensor *in, *out;
  unsigned n_in, n_out;
} model;

typedef struct range {
  float least, most;
  float *lo, *hi;  // of channels
  int64_t n;       // channels
} range;

typedef struct sums {
  double signal, other, dot, noise;
} sums;

typedef struct measurer {
  vq_exec *exec;
  vq_arena *arena;  // of results
  vq_arena temp;
  vq_diag *diag;
  VQ_VEC(item) item;
  values tap;       // of the float model, made of `before`
  model real, coded, alone;
  unsigned *arg;    // of `alone`: number of the tap
  range *range;     // of taps
  sums *net, *own;  // of items
  bool **used;      // codes, of items
  unsigned result;  // number of the tap that is the model's
  int64_t rows, same;
  sums whole;
  vq_measures *out;
} measurer;

static vq_func *main_of(const vq_module *m) { return vq_module_func(m, VQ_LIT("main")); }

static vq_value *without_quantizers(vq_value *v) {
  for (vq_op *op; (op = vq_quant_def(v, VQ_OP_fake_quant));) v = vq_in(op, VQ_FQ_X);
  return v;
}

static bool is_layer(const vq_op *op) {
  return op->code == VQ_OP_linear || op->code == VQ_OP_patch_embed ||
         op->code == VQ_OP_attention;
}

static unsigned number_of(values *list, vq_value *v) {
  for (size_t i = 0; i < list->n; i++)
    if (list->p[i] == v) return (unsigned)i;
  vq_vec_push(list, v);
  return (unsigned)list->n - 1;
}

// ---- models -------------------------------------------------------------------------

// Pairs the layers of both modules.
static vq_status find_items(measurer *s, const vq_module *before, const vq_module *after) {
  vq_op *b = main_of(before)->first, *a = main_of(after)->first;
  for (; a && b; a = a->next, b = b->next) {
    if (a->code != b->code) break;
    if (!is_layer(b) && !vq_quant_is(b, "residual")) continue;
    vq_vec_push(&s->item, ((item){.before = b, .after = a}));
  }
  if (!a && !b) return VQ_OK;
  return vq_error(s->diag, VQ_E_pass, (vq_loc){0},
                  "what is measured before and after differs in more than constants");
}

static vq_status return_values(measurer *s, vq_func *f, const values *v) {
  vq_builder b = {f, NULL, {0}, s->diag};
  if (f->last && f->last->code == VQ_OP_return) vq_erase_op(f->last);
  return vq_build_return(&b, (unsigned)v->n, v->p, NULL);
}

// `v` of `from` in a clone of its function.
static vq_value *cloned(const vq_value *v, const vq_func *from, const vq_func *to) {
  if (v->kind != VQ_VALUE_RESULT) return &to->arg[v - from->arg];
  const vq_op *a = from->first;
  vq_op *b = to->first;
  while (a != v->def) a = a->next, b = b->next;
  return &b->out[v - v->def->out];
}

static vq_status make_real(measurer *s, const vq_module *before) {
  const vq_func *from = main_of(before);
  vq_value *result = without_quantizers(vq_in(from->last, 0));
  for (size_t i = 0; i < s->item.n; i++) {
    item *it = &s->item.p[i];
    bool layer = is_layer(it->before);
    unsigned look = it->before->code == VQ_OP_attention ? 2 : 0;
    it->fq = layer ? vq_quant_def(vq_in(it->after, look), VQ_OP_fake_quant) : it->after;
    for (unsigned k = 0; layer && k < it->before->n_in; k++) {
      vq_value *v = without_quantizers(vq_in(it->before, k));
      if (vq_const_of(v)) continue;
      unsigned n = number_of(&s->tap, v);
      if (k == look) it->in = n;
    }
    it->out = number_of(&s->tap, layer ? it->before->out : vq_in(it->before, VQ_FQ_X));
    if (!layer) it->in = it->out;
  }
  s->result = number_of(&s->tap, result);
  s->real.m = vq_module_clone(before);
  vq_func *f = vq_quant_main(s->real.m);
  values v = {0};
  for (size_t i = 0; i < s->tap.n; i++) vq_vec_push(&v, cloned(s->tap.p[i], from, f));
  vq_each_op_safe(f, op)
    if (op->code == VQ_OP_fake_quant && op->out->uses)
      vq_replace_all_uses(op->out, vq_in(op, VQ_FQ_X));
  vq_status st = return_values(s, f, &v);
  vq_vec_release(&v);
  return st;
}

static vq_status make_coded(measurer *s, const vq_module *after) {
  const vq_func *from = main_of(after);
  values v = {0}, own = {0};
  for (size_t i = 0; i < s->item.n; i++)
    s->item.p[i].result = number_of(&v, s->item.p[i].after->out);
  number_of(&v, vq_in(from->last, 0));
  s->coded.m = vq_module_clone(after);
  vq_func *f = vq_quant_main(s->coded.m);
  for (size_t i = 0; i < v.n; i++) vq_vec_push(&own, cloned(v.p[i], from, f));
  vq_status st = return_values(s, f, &own);
  vq_vec_release(&v);
  vq_vec_release(&own);
  return st;
}

// `v` of the quantized model's layer, computed from the float model's values.
static vq_value *coded_value(measurer *s, vq_builder *b, vq_value *v, vq_value *real) {
  const vq_op *fq = vq_quant_def(v, VQ_OP_fake_quant);
  if (vq_const_of(v)) return v;
  if (!fq) {
    unsigned n = number_of(&s->tap, real);
    for (unsigned k = 0; k < s->alone.n_in; k++)
      if (s->arg[k] == n) return &b->func->arg[k];
    return NULL;
  }
  vq_value *x = coded_value(s, b, vq_in(fq, VQ_FQ_X), real);
  vq_value *in[] = {x, vq_in(fq, VQ_FQ_SCALE), vq_in(fq, VQ_FQ_ZERO)};
  return x ? vq_build1(b, VQ_OP_fake_quant, in, 3, fq->attrs, VQ_LIT("")) : NULL;
}

// Taps that layers read become arguments.
static vq_func *alone_func(measurer *s) {
  size_t n = s->tap.n;
  const vq_type **type = VQ_NEW_N(&s->temp, const vq_type *, n);
  vq_str *name = VQ_NEW_N(&s->temp, vq_str, n);
  s->arg = VQ_NEW_N(&s->temp, unsigned, n);
  for (size_t i = 0; i < s->item.n; i++) {
    const vq_op *op = s->item.p[i].before;
    for (unsigned k = 0; is_layer(op) && k < op->n_in; k++) {
      vq_value *v = without_quantizers(vq_in(op, k));
      unsigned t = vq_const_of(v) ? 0 : number_of(&s->tap, v), a = 0;
      while (a < s->alone.n_in && s->arg[a] != t) a++;
      if (vq_const_of(v) || a < s->alone.n_in) continue;
      type[a] = v->type;
      s->arg[s->alone.n_in++] = t;
    }
  }
  return vq_func_create(s->alone.m, VQ_FUNC, VQ_LIT("alone"), s->alone.n_in, type, name);
}

static vq_status make_alone(measurer *s, const vq_module *after) {
  enum { MOST_OPERANDS = 8 };
  s->alone.m = vq_module_clone(after);
  vq_func *old = vq_quant_main(s->alone.m), *f = alone_func(s);
  vq_builder b = {f, NULL, {0}, s->diag};
  values v = {0};
  vq_op *op = old->first;
  const vq_op *from = main_of(after)->first;
  vq_status st = VQ_OK;
  for (size_t i = 0; i < s->item.n && !st; i++) {
    item *it = &s->item.p[i];
    while (from != it->after) from = from->next, op = op->next;
    if (!is_layer(op)) continue;
    vq_value *in[MOST_OPERANDS];
    for (unsigned k = 0; k < op->n_in && k < MOST_OPERANDS; k++)
      in[k] = coded_value(s, &b, vq_in(op, k), without_quantizers(vq_in(it->before, k)));
    vq_value *y = vq_build1(&b, op->code, in, op->n_in, op->attrs, VQ_LIT(""));
    if (!y) st = VQ_ERR;
    it->alone = (unsigned)v.n;
    vq_vec_push(&v, y);
  }
  if (!st) st = return_values(s, f, &v);
  vq_vec_release(&v);
  if (st) return st;
  vq_erase_func(s->alone.m, old);
  vq_rename_func(s->alone.m, f, VQ_LIT("main"));
  return VQ_OK;
}

static vq_status prepare(measurer *s, model *m) {
  const vq_func *f = vq_quant_main(m->m);
  m->n_in = f->n_arg;
  m->n_out = f->n_result;
  m->in = VQ_NEW_N(&s->temp, vq_tensor, m->n_in);
  m->out = VQ_NEW_N(&s->temp, vq_tensor, m->n_out);
  for (unsigned i = 0; i < m->n_out; i++) {
    size_t size = (size_t)vq_type_bytes(f->result[i]);
    m->out[i] = (vq_tensor){f->result[i], vq_arena_alloc(&s->temp, size, 64)};
  }
  return s->exec->ops->prepare(s->exec, m->m, VQ_LIT("main"), s->diag, &m->program);
}

static void release(const measurer *s, model *m) {
  if (m->program) s->exec->ops->release(m->program);
  if (m->m) vq_module_destroy(m->m);
}

static vq_status open_models(measurer *s, const vq_module *before, const vq_module *after) {
  if (find_items(s, before, after) || make_real(s, before) || make_coded(s, after) ||
      make_alone(s, after))
    return VQ_ERR;
  if (prepare(s, &s->real) || prepare(s, &s->coded) || prepare(s, &s->alone)) return VQ_ERR;
  const vq_type *t = vq_quant_main(s->real.m)->arg[0].type;
  s->real.in[0] = (vq_tensor){t, vq_arena_alloc(&s->temp, (size_t)vq_type_bytes(t), 64)};
  s->coded.in[0] = s->real.in[0];
  for (unsigned k = 0; k < s->alone.n_in; k++) s->alone.in[k] = s->real.out[s->arg[k]];
  return VQ_OK;
}

// ---- values -------------------------------------------------------------------------

static void note_range(range *r, const float *x, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    int64_t c = i % r->n;
    r->lo[c] = fminf(r->lo[c], x[i]), r->hi[c] = fmaxf(r->hi[c], x[i]);
  }
}

static int by_size(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

// Ends of all channels, and the largest over the median channel's.
static void close_range(measurer *s, range *r, double *spread) {
  float *size = VQ_NEW_N(&s->temp, float, (size_t)r->n);
  r->least = INFINITY, r->most = -INFINITY;
  for (int64_t c = 0; c < r->n; c++) {
    size[c] = fmaxf(fabsf(r->lo[c]), fabsf(r->hi[c]));
    r->least = fminf(r->least, r->lo[c]), r->most = fmaxf(r->most, r->hi[c]);
  }
  qsort(size, (size_t)r->n, sizeof *size, by_size);
  float median = size[r->n / 2];
  *spread = median > 0 ? (double)size[r->n - 1] / (double)median : 1;
}

static void note_cell(vq_measured_codes *c, double x) {
  double width = c->most - c->least;
  int k = width > 0 ? (int)((x - c->least) / width * VQ_MEASURE_CELLS) : 0;
  c->cell[k < 0 ? 0 : k < VQ_MEASURE_CELLS ? k : VQ_MEASURE_CELLS - 1]++;
}

static int width_of_codes(const vq_op *fq) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  int bits = 0;
  while ((int64_t)1 << bits <= a->hi - a->lo) bits++;
  return bits;
}

// Counts the code of `x`; channel `c` has its scale.
static void note_code(vq_measured_codes *to, bool *used, const vq_op *fq, double x, int64_t c) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  double scale = (double)vq_quant_at(vq_in(fq, VQ_FQ_SCALE), c);
  double code = nearbyint(x / scale) + (double)vq_quant_at(vq_in(fq, VQ_FQ_ZERO), c);
  bool over = code < (double)a->lo || code > (double)a->hi;
  to->saturated += over;
  code = fmin(fmax(code, (double)a->lo), (double)a->hi);
  used[(int64_t)code - a->lo] = true;
}

static void note_values(measurer *s, size_t i, const float *x, int64_t count) {
  const item *it = &s->item.p[i];
  vq_measured_codes *to = &s->out->layer[i].input;
  int64_t n = s->range[it->in].n;
  for (int64_t k = 0; k < count; k++) {
    note_cell(to, (double)x[k]);
    if (it->fq) note_code(to, s->used[i], it->fq, (double)x[k], k % n);
  }
}

static void compare(sums *s, const float *want, const float *got, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    double a = (double)want[i], b = (double)got[i];
    s->signal += a * a, s->other += b * b, s->dot += a * b, s->noise += (a - b) * (a - b);
  }
}

static double sqnr_of(const sums *s) {
  if (s->noise == 0) return INFINITY;
  return s->signal > 0 ? 10 * log10(s->signal / s->noise) : -INFINITY;
}

static double cosine_of(const sums *s) {
  double n = sqrt(s->signal * s->other);
  return n > 0 ? s->dot / n : 1;
}

static int64_t largest(const float *x, int64_t n) {
  int64_t at = 0;
  for (int64_t i = 1; i < n; i++)
    if (x[i] > x[at]) at = i;
  return at;
}

// ---- sweeps -------------------------------------------------------------------------

static vq_status load_batch(measurer *s, int64_t first) {
  const vq_samples *from = s->exec->samples;
  const vq_type *t = s->real.in[0].type;
  int64_t batch = t->dim[0], count = vq_type_count(t) / batch;
  for (int64_t i = 0; i < batch; i++)
    if (from->load(from->user, (first + i) % from->n, (float *)s->real.in[0].data + i * count,
                   s->diag))
      return VQ_ERR;
  return VQ_OK;
}

static vq_status run(measurer *s, model *m) {
  return s->exec->ops->run(m->program, m->in, m->out, 0, s->diag);
}

static void note_batch(measurer *s, int64_t batch, int64_t fresh) {
  for (size_t i = 0; i < s->item.n; i++) {
    const item *it = &s->item.p[i];
    const vq_tensor *y = &s->real.out[it->out], *x = &s->real.out[it->in];
    int64_t n = vq_type_count(y->type) / batch * fresh;
    compare(&s->net[i], y->data, s->coded.out[it->result].data, n);
    if (is_layer(it->before)) compare(&s->own[i], y->data, s->alone.out[it->alone].data, n);
    note_values(s, i, x->data, vq_type_count(x->type) / batch * fresh);
  }
  const vq_tensor *y = &s->real.out[s->result];
  const float *want = y->data, *got = s->coded.out[s->coded.n_out - 1].data;
  int64_t width = y->type->rank ? y->type->dim[y->type->rank - 1] : 1;
  int64_t n = vq_type_count(y->type) / batch * fresh;
  compare(&s->whole, want, got, n);
  for (int64_t i = 0; i + width <= n; i += width, s->rows++)
    s->same += largest(want + i, width) == largest(got + i, width);
}

static vq_status sweeps(measurer *s, int64_t n_sample) {
  int64_t batch = s->real.in[0].type->dim[0];
  const vq_samples *from = s->exec->samples;
  for (int sweep = 0; sweep < 2; sweep++) {
    for (int64_t i = 0; i < n_sample; i += batch) {
      int64_t fresh = n_sample - i < batch ? n_sample - i : batch;
      if (from->progress &&
          from->progress(from->user, "report", i + sweep * n_sample, 2 * n_sample))
        return VQ_ERR;
      if (load_batch(s, i) || run(s, &s->real)) return VQ_ERR;
      for (unsigned k = 0; k < s->tap.n && !sweep; k++)
        note_range(&s->range[k], s->real.out[k].data,
                   vq_type_count(s->real.out[k].type) / batch * fresh);
      if (sweep && (run(s, &s->coded) || run(s, &s->alone))) return VQ_ERR;
      if (sweep) note_batch(s, batch, fresh);
    }
    for (size_t i = 0; i < s->item.n && !sweep; i++) {
      vq_measured_codes *to = &s->out->layer[i].input;
      close_range(s, &s->range[s->item.p[i].in], &to->spread);
      to->least = (double)s->range[s->item.p[i].in].least;
      to->most = (double)s->range[s->item.p[i].in].most;
    }
  }
  return VQ_OK;
}

// ---- results ------------------------------------------------------------------------

static double dead_share(const bool *used, const vq_op *fq) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  int64_t n = a->hi - a->lo + 1, dead = 0;
  for (int64_t i = 0; i < n; i++) dead += !used[i];
  return (double)dead / (double)n;
}

static bool *new_codes(measurer *s, const vq_op *fq) {
  const vq_attrs_fake_quant *a = VQ_ATTRS(fq, fake_quant);
  return VQ_NEW_N(&s->temp, bool, (size_t)(a->hi - a->lo + 1));
}

static void measure_weights(measurer *s, const item *it, vq_measured *to) {
  vq_const *real = vq_const_of(without_quantizers(vq_in(it->before, 1)));
  vq_const *kept = vq_const_of(without_quantizers(vq_in(it->after, 1)));
  const vq_op *fq = vq_quant_def(vq_in(it->after, 1), VQ_OP_fake_quant);
  if (!real || !kept || real->value.type->dtype != VQ_f32) return;
  int64_t n = vq_type_count(real->value.type), rows = real->value.type->dim[0];
  const float *w = vq_const_bytes(real), *v = vq_const_bytes(kept);
  vq_measured_codes *c = &to->weights;
  range r = {.n = rows, .lo = VQ_NEW_N(&s->temp, float, (size_t)rows),
             .hi = VQ_NEW_N(&s->temp, float, (size_t)rows)};
  to->params = n;
  if (!w || !v || !n) return;
  for (int64_t i = 0; i < n; i++) {
    int64_t row = i / (n / rows);
    r.lo[row] = fminf(r.lo[row], w[i]), r.hi[row] = fmaxf(r.hi[row], w[i]);
  }
  close_range(s, &r, &c->spread);
  c->least = (double)r.least, c->most = (double)r.most;
  for (int64_t i = 0; i < n; i++) note_cell(c, (double)w[i]);
  if (!fq) return;
  vq_measured_codes inside = {0};  // what is kept is not clipped any more
  bool *used = new_codes(s, fq), *of_real = new_codes(s, fq);
  for (int64_t i = 0; i < n; i++) {
    note_code(c, of_real, fq, (double)w[i], i / (n / rows));
    note_code(&inside, used, fq, (double)v[i], i / (n / rows));
  }
  c->bits = width_of_codes(fq);
  c->saturated /= (double)n;
  c->dead = dead_share(used, fq);
}

static void finish(measurer *s) {
  for (size_t i = 0; i < s->item.n; i++) {
    const item *it = &s->item.p[i];
    vq_measured *to = &s->out->layer[i];
    vq_measured_codes *c = &to->input;
    int64_t n = 0, batch = s->real.in[0].type->dim[0];
    for (int k = 0; k < VQ_MEASURE_CELLS; k++) n += c->cell[k];
    if (it->fq && n) {
      c->bits = width_of_codes(it->fq);
      c->saturated /= (double)n;
      c->dead = dead_share(s->used[i], it->fq);
    }
    bool layer = is_layer(it->before);
    to->sqnr_alone = layer ? sqnr_of(&s->own[i]) : INFINITY;
    to->sqnr = sqnr_of(&s->net[i]);
    to->cosine = cosine_of(&s->net[i]);
    to->macs = layer ? vq_op_macs(it->before) / batch : 0;
    if (vq_role_has_weights(to->layer.role)) measure_weights(s, it, to);
  }
  s->out->sqnr = sqnr_of(&s->whole);
  s->out->cosine = cosine_of(&s->whole);
  s->out->agreement = s->rows ? (double)s->same / (double)s->rows : 1;
}

// The layer that rules know: passes in between change what is around it.
static vq_status name_layers(measurer *s, const vq_module *plain) {
  vq_places places;
  if (vq_places_open(&places, plain, &s->temp, s->diag)) return VQ_ERR;
  const vq_op *op = main_of(plain)->first;
  for (size_t i = 0; i < s->item.n; i++) {
    const item *it = &s->item.p[i];
    if (!is_layer(it->before)) continue;
    while (op && !is_layer(op)) op = op->next;
    if (!op || op->code != it->before->code) break;
    vq_role role = op->code == VQ_OP_attention ? VQ_ROLE_ATTN_AV : vq_quant_layer_role(op);
    s->out->layer[i].layer = vq_quant_layer(&places, op, role);
    op = op->next;
  }
  while (op && !is_layer(op)) op = op->next;
  vq_places_close(&places);
  bool all = !op;
  for (size_t i = 0; i < s->item.n; i++)
    all &= !is_layer(s->item.p[i].before) || s->out->layer[i].layer.role != VQ_ROLE_RESIDUAL;
  if (all) return VQ_OK;
  return vq_error(s->diag, VQ_E_pass, (vq_loc){0},
                  "passes between insert-quantizers and compensate-weights changed the layers");
}

// Of residual quantizers, what computes the value.
static vq_status name_residuals(measurer *s, const vq_module *before) {
  vq_places places;
  if (vq_places_open(&places, before, &s->temp, s->diag)) return VQ_ERR;
  for (size_t i = 0; i < s->item.n; i++) {
    const vq_op *op = s->item.p[i].before;
    const vq_value *x = vq_in(op, 0);
    if (!is_layer(op) && x->kind == VQ_VALUE_RESULT) op = x->def;
    s->out->layer[i].layer = vq_quant_layer(&places, op, VQ_ROLE_RESIDUAL);
  }
  vq_places_close(&places);
  return VQ_OK;
}

static void make_sums(measurer *s) {
  size_t n = s->item.n;
  s->net = VQ_NEW_N(&s->temp, sums, n);
  s->own = VQ_NEW_N(&s->temp, sums, n);
  s->used = VQ_NEW_N(&s->temp, bool *, n);
  s->range = VQ_NEW_N(&s->temp, range, s->tap.n);
  for (size_t i = 0; i < n; i++)
    if (s->item.p[i].fq) s->used[i] = new_codes(s, s->item.p[i].fq);
  for (size_t k = 0; k < s->tap.n; k++) {
    const vq_type *t = s->tap.p[k]->type;
    range *r = &s->range[k];
    r->n = t->rank ? t->dim[t->rank - 1] : 1;
    r->lo = VQ_NEW_N(&s->temp, float, (size_t)r->n);
    r->hi = VQ_NEW_N(&s->temp, float, (size_t)r->n);
  }
}

static vq_status find_layers(measurer *s, const vq_measured_model *of) {
  s->out->n = (unsigned)s->item.n;
  s->out->layer = VQ_NEW_N(s->arena, vq_measured, s->item.n);
  if (name_residuals(s, of->before) || name_layers(s, of->plain)) return VQ_ERR;
  for (unsigned i = 0; i < s->out->n; i++) {
    vq_layer *l = &s->out->layer[i].layer;
    l->result = vq_arena_str(s->arena, l->result);
    l->weights = vq_arena_str(s->arena, l->weights);
  }
  make_sums(s);
  return VQ_OK;
}

vq_status vq_measure(const vq_measured_model *of, vq_exec *exec, int64_t n_most,
                     vq_arena *arena, vq_diag *diag, vq_measures *out) {
  measurer s = {.exec = exec, .arena = arena, .diag = diag, .out = out};
  const vq_func *f = main_of(of->before);
  bool all = f && main_of(of->after) && main_of(of->plain);
  *out = (vq_measures){0};
  if (!all || !exec->samples || exec->samples->n < 1 || f->n_arg != 1 ||
      f->arg[0].type->dtype != VQ_f32 || f->arg[0].type->rank < 1)
    return vq_error(diag, VQ_E_pass, (vq_loc){0},
                    "a report needs calibration samples and a model with one f32 input");
  out->n_sample = exec->samples->n < n_most ? exec->samples->n : n_most;
  vq_status st = open_models(&s, of->before, of->after);
  if (!st) st = find_layers(&s, of);
  if (!st) st = sweeps(&s, out->n_sample);
  if (!st) finish(&s);
  release(&s, &s.real);
  release(&s, &s.coded);
  release(&s, &s.alone);
  vq_vec_release(&s.item);
  vq_vec_release(&s.tap);
  vq_arena_release(&s.temp);
  return st;
}
