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

#include "vq/lane.h"
#include "quant/measure_codes.h"
#include "quant/places.h"
#include "vq/vec.h"

typedef VQ_VEC(vq_value *) values;

typedef struct item {
  vq_op *before, *after;  // linear, patch_embed or attention; a fake_quant: residual
  unsigned in, out, result;  // numbers: input that is looked at, float and quantized result
  unsigned alone;            // of the layer by itself
  const vq_op *fq;           // of that input; NULL: floats
} item;

typedef struct measurer {
  vq_exec *exec;
  vq_arena *arena;  // of results
  vq_arena temp;
  vq_diag *diag;
  VQ_VEC(item) item;
  values tap;       // of the float model, made of `before`
  vq_lane real, coded, alone;
  unsigned *arg, n_arg;  // of `alone`: numbers of the taps
  vq_seen_range *range;  // of taps
  vq_sums *net, *own;    // of items
  bool **used;           // codes, of items
  unsigned result;       // number of the tap that is the model's
  vq_measures *out;
} measurer;

static vq_func *main_of(const vq_module *m) { return vq_module_func(m, VQ_LIT("main")); }

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

// Takes over `m`, whose @main is to return `v`, and the list.
static vq_status open_lane(measurer *s, vq_lane *l, vq_module *m, values *v) {
  l->m = m;
  vq_status st = vq_lane_return(vq_quant_main(m), (unsigned)v->n, v->p, s->diag);
  vq_vec_release(v);
  return st ? VQ_ERR : vq_lane_open(l, s->exec, m, &s->temp, s->diag);
}

static vq_status make_real(measurer *s, const vq_module *before) {
  const vq_func *from = main_of(before);
  vq_value *result = vq_quant_uncoded(vq_in(from->last, 0));
  for (size_t i = 0; i < s->item.n; i++) {
    item *it = &s->item.p[i];
    bool layer = is_layer(it->before);
    unsigned look = it->before->code == VQ_OP_attention ? 2 : 0;
    it->fq = layer ? vq_quant_def(vq_in(it->after, look), VQ_OP_fake_quant) : it->after;
    for (unsigned k = 0; layer && k < it->before->n_in; k++) {
      vq_value *v = vq_quant_uncoded(vq_in(it->before, k));
      if (vq_const_of(v)) continue;
      unsigned n = number_of(&s->tap, v);
      if (k == look) it->in = n;
    }
    it->out = number_of(&s->tap, layer ? it->before->out : vq_in(it->before, VQ_FQ_X));
    if (!layer) it->in = it->out;
  }
  s->result = number_of(&s->tap, result);
  vq_module *m = vq_module_clone(before);
  vq_func *f = vq_quant_main(m);
  values v = {0};
  for (size_t i = 0; i < s->tap.n; i++) vq_vec_push(&v, vq_lane_twin(s->tap.p[i], from, f));
  vq_quant_drop(f);
  return open_lane(s, &s->real, m, &v);
}

static vq_status make_coded(measurer *s, const vq_module *after) {
  const vq_func *from = main_of(after);
  values v = {0}, own = {0};
  for (size_t i = 0; i < s->item.n; i++)
    s->item.p[i].result = number_of(&v, s->item.p[i].after->out);
  number_of(&v, vq_in(from->last, 0));
  vq_module *m = vq_module_clone(after);
  for (size_t i = 0; i < v.n; i++)
    vq_vec_push(&own, vq_lane_twin(v.p[i], from, vq_quant_main(m)));
  vq_vec_release(&v);
  return open_lane(s, &s->coded, m, &own);
}

// `v` of the quantized model's layer, computed from the float model's values.
static vq_value *coded_value(measurer *s, vq_builder *b, vq_value *v, vq_value *real) {
  const vq_op *fq = vq_quant_def(v, VQ_OP_fake_quant);
  if (vq_const_of(v)) return v;
  if (!fq) {
    unsigned n = number_of(&s->tap, real);
    for (unsigned k = 0; k < s->n_arg; k++)
      if (s->arg[k] == n) return &b->func->arg[k];
    return NULL;
  }
  vq_value *x = coded_value(s, b, vq_in(fq, VQ_FQ_X), real);
  vq_value *in[] = {x, vq_in(fq, VQ_FQ_SCALE), vq_in(fq, VQ_FQ_ZERO)};
  return x ? vq_build1(b, VQ_OP_fake_quant, in, 3, fq->attrs, VQ_LIT("")) : NULL;
}

// Taps that layers read become arguments.
static vq_func *alone_func(measurer *s, vq_module *m) {
  size_t n = s->tap.n;
  const vq_type **type = VQ_NEW_N(&s->temp, const vq_type *, n);
  vq_str *name = VQ_NEW_N(&s->temp, vq_str, n);
  s->arg = VQ_NEW_N(&s->temp, unsigned, n);
  for (size_t i = 0; i < s->item.n; i++) {
    const vq_op *op = s->item.p[i].before;
    for (unsigned k = 0; is_layer(op) && k < op->n_in; k++) {
      vq_value *v = vq_quant_uncoded(vq_in(op, k));
      unsigned t = vq_const_of(v) ? 0 : number_of(&s->tap, v), a = 0;
      while (a < s->n_arg && s->arg[a] != t) a++;
      if (vq_const_of(v) || a < s->n_arg) continue;
      type[a] = v->type;
      s->arg[s->n_arg++] = t;
    }
  }
  return vq_func_create(m, VQ_FUNC, VQ_LIT("alone"), s->n_arg, type, name);
}

static vq_status make_alone(measurer *s, const vq_module *after) {
  enum { MOST_OPERANDS = 8 };
  vq_module *m = s->alone.m = vq_module_clone(after);
  vq_func *old = vq_quant_main(m), *f = alone_func(s, m);
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
      in[k] = coded_value(s, &b, vq_in(op, k), vq_quant_uncoded(vq_in(it->before, k)));
    vq_value *y = vq_build1(&b, op->code, in, op->n_in, op->attrs, VQ_LIT(""));
    if (!y) st = VQ_ERR;
    it->alone = (unsigned)v.n;
    vq_vec_push(&v, y);
  }
  if (!st) st = vq_lane_return(f, (unsigned)v.n, v.p, s->diag);
  vq_vec_release(&v);
  if (st) return st;
  vq_erase_func(m, old);
  vq_rename_func(m, f, VQ_LIT("main"));
  return vq_lane_open(&s->alone, s->exec, m, &s->temp, s->diag);
}

static vq_status open_models(measurer *s, const vq_module *before, const vq_module *after) {
  if (find_items(s, before, after) || make_real(s, before) || make_coded(s, after) ||
      make_alone(s, after))
    return VQ_ERR;
  s->real.in[0] = vq_batch_alloc(main_of(before)->arg[0].type, &s->temp);
  s->coded.in[0] = s->real.in[0];
  for (unsigned k = 0; k < s->alone.n_in; k++) s->alone.in[k] = s->real.out[s->arg[k]];
  return VQ_OK;
}

// ---- sweeps -------------------------------------------------------------------------

// Results of layers and of the model, of the samples that are no filling.
static void note_batch(measurer *s, int64_t batch, int64_t fresh) {
  for (size_t i = 0; i < s->item.n; i++) {
    const item *it = &s->item.p[i];
    const vq_tensor *y = &s->real.out[it->out], *x = &s->real.out[it->in];
    int64_t n = vq_type_count(y->type) / batch * fresh;
    vq_sums_add(&s->net[i], y->data, s->coded.out[it->result].data, n);
    if (is_layer(it->before)) vq_sums_add(&s->own[i], y->data, s->alone.out[it->alone].data, n);
    vq_codes_add(&s->out->layer[i].input, s->used[i], it->fq, x->data,
                 vq_type_count(x->type) / batch * fresh, s->range[it->in].n);
  }
  const vq_tensor *y = &s->real.out[s->result];
  const float *want = y->data, *got = s->coded.out[s->coded.n_out - 1].data;
  int64_t width = y->type->rank ? y->type->dim[y->type->rank - 1] : 1;
  int64_t n = vq_type_count(y->type) / batch * fresh;
  for (int64_t i = 0; i + width <= n; i += width)
    vq_rows_add(&s->out->result, want + i, got + i, width);
}

static vq_status sweep(measurer *s, int n_th, int64_t n_sample) {
  const vq_samples *from = s->exec->samples;
  vq_tensor in = s->real.in[0];
  int64_t batch = in.type->dim[0], fresh;
  for (int64_t i = 0; i < n_sample; i += batch) {
    if (from->progress &&
        from->progress(from->user, "report", i + n_th * n_sample, 2 * n_sample))
      return VQ_ERR;
    if (vq_batch_load(from, i, n_sample, in, &fresh, s->diag) ||
        vq_lane_run(&s->real, s->diag))
      return VQ_ERR;
    for (unsigned k = 0; k < s->tap.n && n_th == 0; k++)
      vq_seen_range_add(&s->range[k], s->real.out[k].data,
                        vq_type_count(s->real.out[k].type) / batch * fresh);
    if (n_th == 0) continue;
    if (vq_lane_run(&s->coded, s->diag) || vq_lane_run(&s->alone, s->diag)) return VQ_ERR;
    note_batch(s, batch, fresh);
  }
  return VQ_OK;
}

static vq_status sweeps(measurer *s, int64_t n_sample) {
  if (sweep(s, 0, n_sample)) return VQ_ERR;
  for (size_t i = 0; i < s->item.n; i++)
    vq_seen_range_close(&s->range[s->item.p[i].in], &s->temp, &s->out->layer[i].input);
  return sweep(s, 1, n_sample);
}

// ---- results ------------------------------------------------------------------------

static void finish(measurer *s) {
  int64_t batch = s->real.in[0].type->dim[0];
  for (size_t i = 0; i < s->item.n; i++) {
    const item *it = &s->item.p[i];
    vq_measured *to = &s->out->layer[i];
    bool layer = is_layer(it->before);
    vq_codes_close(&to->input, s->used[i], it->fq);
    to->sqnr_alone = layer ? vq_sums_sqnr(&s->own[i]) : INFINITY;
    to->sqnr = vq_sums_sqnr(&s->net[i]);
    to->cosine = vq_sums_cosine(&s->net[i]);
    to->macs = layer ? vq_op_macs(it->before) / batch : 0;
    if (vq_role_has_weights(to->layer.role))
      vq_measure_weights(it->before, it->after, &s->temp, to);
  }
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
  s->net = VQ_NEW_N(&s->temp, vq_sums, n);
  s->own = VQ_NEW_N(&s->temp, vq_sums, n);
  s->used = VQ_NEW_N(&s->temp, bool *, n);
  s->range = VQ_NEW_N(&s->temp, vq_seen_range, s->tap.n);
  for (size_t i = 0; i < n; i++) s->used[i] = vq_codes_flags(s->item.p[i].fq, &s->temp);
  for (size_t k = 0; k < s->tap.n; k++) {
    const vq_type *t = s->tap.p[k]->type;
    s->range[k] = vq_seen_range_new(t->rank ? t->dim[t->rank - 1] : 1, &s->temp);
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
  vq_lane_close(&s.real);
  vq_lane_close(&s.coded);
  vq_lane_close(&s.alone);
  vq_vec_release(&s.item);
  vq_vec_release(&s.tap);
  vq_arena_release(&s.temp);
  return st;
}
